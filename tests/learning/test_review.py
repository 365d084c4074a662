"""A review of drawn pictures, with the network that ships."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from edged.contract.reports import DoubtfulImage, DoubtfulLabels, NearDuplicate
from edged.errors import RefusedError
from edged.images import ImageStore, LabeledImage
from edged.learning import Progress, ReviewRequest
from edged.learning.pipeline import train
from edged.learning.review import carried_on, review
from tests.albums import make_album, picture, put
from tests.learning.conftest import SHIPPED, request_for


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Fifteen pictures of each label and two wrong ones; checks that are called discs, and stripes called checks."""
    folder = make_album(tmp_path / "images", 15)
    put(folder / "discs" / "wrong-1.jpg", picture("checks", 91))
    put(folder / "checks" / "wrong-2.jpg", picture("stripes", 92))
    return folder


@pytest.fixture
def store(tmp_path: Path, images: Path) -> Iterator[ImageStore]:
    with closing(ImageStore(tmp_path, images_max_mb=512)) as opened:
        opened.scan()
        yield opened


def reviewed(state_dir: Path, limit: int | None = None) -> tuple[DoubtfulLabels, list[Progress]]:
    told: list[Progress] = []
    return review(ReviewRequest(state_dir, SHIPPED, workers=1, limit=limit), told.append), told


def test_wrong_labels_are_named_with_the_right_ones(tmp_path: Path, images: Path) -> None:
    report, told = reviewed(tmp_path)
    found = {image.file: (image.label, image.looks_like) for image in report.images}
    assert found["wrong-1.jpg"] == ("discs", "checks")
    assert found["wrong-2.jpg"] == ("checks", "stripes")
    assert (report.judged, report.number, report.right) == (47, len(report.images), 0)
    assert len(found) <= 4
    assert [one.fraction for one in told] == sorted(one.fraction for one in told)
    assert (told[0], told[-1]) == (Progress("scan", 0.0), Progress("comparison", 0.9))
    passes = {one.detail["done"]: one.fraction for one in told if one.stage == "bottlenecks" and one.detail}
    assert passes == {done: pytest.approx(0.05 + 0.85 * done / 47) for done in passes} != {}
    again, _ = reviewed(tmp_path, limit=10)
    assert len(again.images) == 10
    assert all(image.confidence == round(image.confidence or 0, 3) for image in again.images)
    assert 0 < (report.share or 0) < 0.3
    assert [image.id for image in again.images][: len(found)] == [image.id for image in report.images]
    confidence = [image.confidence or 0 for image in again.images]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[len(found)] <= 0.5


def test_a_label_with_one_burst_of_photos_is_not_judged(tmp_path: Path, images: Path) -> None:
    """Without its near duplicates nothing is left of the label, so that each of them would look like another one."""
    for number in range(8):
        put(images / "burst" / f"{number}.jpg", picture("checks", 777) + bytes(number))  # the same pixels
    for label, count, seed in (("burst of few", 4, 778), ("burst of five", 5, 779)):
        for number in range(count):
            put(images / label / f"{number}.jpg", picture("stripes", seed) + bytes(number))
    report, _ = reviewed(tmp_path)
    assert "burst" not in {image.label for image in report.images}
    assert report.left_out == {
        "burst": "8 images, all of them near duplicates; none can judge another",
        "burst of few": "4 images; at least 5 of two labels are needed",
        "burst of five": "5 images, all of them near duplicates; none can judge another",
    }
    assert report.judged == 47


def test_a_burst_of_two_things_is_judged_and_so_are_two_labels_alone(tmp_path: Path) -> None:
    """Five images of a label are enough, and so are two labels; near duplicates must leave something over."""
    make_album(tmp_path / "images", 5, ("discs", "stripes"))
    for number in range(4):
        put(tmp_path / "images" / "stripes" / f"{number:04}.jpg", picture("stripes", 0) + bytes(number))
    report, _ = reviewed(tmp_path)
    assert (report.left_out, report.judged) == ({}, 10)


def test_photos_of_one_thing_under_two_judged_labels_come_first_with_how_likely_it_is(
    tmp_path: Path, images: Path
) -> None:
    for number in range(5):
        put(images / "discs" / f"twin-{number}.jpg", picture("checks", 3) + bytes(number + 1))
    everything, _ = reviewed(tmp_path, limit=52)
    twins = [image for image in everything.images if image.near]
    assert [image.file for image in twins] == [image.file for image in everything.images[: len(twins)]]
    for image in twins:
        assert image.confidence is not None
        assert 0.5 < image.confidence <= 1
        assert image.confidence == round(image.confidence, 3)
        assert {one.label for one in image.near} == {image.looks_like}
        assert image.id not in {one.id for one in image.near}
        assert 0 < len(image.near) <= 3
    assert max(len(image.near) for image in twins) == 3 or {image.label for image in twins} == {"discs"}
    only, _ = reviewed(tmp_path, limit=len(twins))
    assert only.images == everything.images[: len(twins)]
    assert only.number == everything.number
    one, _ = reviewed(tmp_path, limit=1)
    assert one.images == everything.images[:1]


def test_what_is_confirmed_is_named_no_more(tmp_path: Path, store: ImageStore) -> None:
    first, _ = reviewed(tmp_path)
    (wrong,) = [image for image in first.images if image.file == "wrong-1.jpg"]
    store.label(wrong.id or "", "discs", confirmed=True)
    second, _ = reviewed(tmp_path, limit=47)
    assert (second.right, len(second.images)) == (1, 46)
    assert wrong.id not in [image.id for image in second.images]


def test_labels_with_few_images_are_not_judged_but_their_near_duplicates_are_told(tmp_path: Path, images: Path) -> None:
    put(images / "rare" / "twin.jpg", picture("discs", 3) + b"\0")
    put(images / "rare" / "other.jpg", picture("stripes", 70))
    report, _ = reviewed(tmp_path)
    assert report.left_out == {"rare": "2 images; at least 5 of two labels are needed"}
    twin = report.images[0]
    assert (twin.file, twin.looks_like, twin.confidence) == ("twin.jpg", "discs", None)
    assert [one.label for one in twin.near] == ["discs"]
    found = {image.file: image.looks_like for image in report.images}
    assert "other.jpg" not in found
    assert found["wrong-2.jpg"] == "stripes"  # a label after the one that is left out


def test_with_one_label_nothing_is_judged_and_without_any_image_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="no labeled image"):
        reviewed(tmp_path)
    make_album(tmp_path / "images", 6, ("discs",))
    report, _ = reviewed(tmp_path)
    assert (report.images, report.number, report.judged, report.share) == ((), 0, 0, None)
    assert list(report.left_out) == ["discs"]


def test_a_file_that_cannot_be_read_any_more_is_counted(tmp_path: Path, images: Path, store: ImageStore) -> None:
    lost = images / "discs" / "0003.jpg"
    status = lost.stat()
    lost.write_bytes(b"\xff\xd8" + bytes(status.st_size - 2))
    os.utime(lost, ns=(status.st_atime_ns, status.st_mtime_ns))  # the scan takes it for the file that it knows
    report, _ = reviewed(tmp_path)
    assert (report.unreadable, report.judged) == (1, 46)


def test_a_training_reports_them_too(tmp_path: Path, images: Path) -> None:
    report = train(request_for(tmp_path, images=15, workers=1), lambda _: None).report.doubtful
    assert report is not None
    assert {"wrong-1.jpg", "wrong-2.jpg"} <= {image.file for image in report.images}


# -- after a few more images: numbers by hand --------------------------------------------------------------------------

LABELS = ("cat", "dog", "owl")


def labeled(number: int, label: str, *, group: str = "", confirmed: bool = False) -> LabeledImage:
    id_ = f"{number:016x}"
    return LabeledImage(
        id_ * 4, id_, f"/images/{label}/{number}.jpg", label, "train", group or id_ * 4, 8, 8, 1, confirmed=confirmed
    )


def named(image: LabeledImage) -> DoubtfulImage:
    return DoubtfulImage(
        id=image.id, file=image.path.name, label=image.label, looks_like="owl", confidence=0.9, near=()
    )


def continued(
    before: DoubtfulLabels, images: list[LabeledImage], rows: list[int], odds: list[list[float]], known: list[bool]
) -> DoubtfulLabels:
    return carried_on(before, images, LABELS, rows, np.array(odds, float).reshape(len(rows), 3), np.array(known, bool))


def test_new_images_are_doubtful_by_what_the_model_says_and_the_share_of_wrong_labels() -> None:
    """wrong = s (1 − p) / (c − 1) / ((1 − s) p + …): half of it lies at p = 1 / 199 for a share of 1 % and 3 labels."""
    images = [labeled(number, "cat") for number in range(5)]
    surely, nearly = [1 / 250, 0.9, 1 - 0.9 - 1 / 250], [1 / 150, 0.1, 0.9 - 1 / 150]
    odds = [nearly, surely, surely, [0.5, 0.5, 0.0], [0.001, 0.1, 0.899]]
    told = continued(DoubtfulLabels(), images, [0, 1, 2, 3, 4], odds, [False, False, True, False, False])
    assert [(one.file, one.looks_like) for one in told.images] == [("4.jpg", "owl"), ("1.jpg", "dog")]
    wrong = 0.01 * (1 - 1 / 250) / 2
    assert told.images[1].confidence == round(wrong / (0.99 / 250 + wrong), 3) > 0.5
    assert (told.number, told.right) == (2, 0)
    more = continued(DoubtfulLabels(share=0.02), images, [0, 1, 2, 3, 4], odds, [False, False, True, False, False])
    assert [one.file for one in more.images] == ["4.jpg", "1.jpg", "0.jpg"], "of more wrong labels more is believed"
    confirmed = [labeled(1, "cat", confirmed=True), labeled(4, "cat")]
    rest = continued(DoubtfulLabels(), confirmed, [0, 1], [surely, odds[4]], [False, False])
    assert ([one.file for one in rest.images], rest.right) == (["4.jpg"], 1)


def test_what_was_named_stands_until_it_is_judged_anew_or_confirmed() -> None:
    images = [labeled(0, "cat"), labeled(1, "cat"), labeled(2, "dog", confirmed=True), labeled(3, "dog")]
    before = DoubtfulLabels(images=tuple(map(named, images)), number=9, judged=4, share=0.01)
    told = continued(before, images, [1], [[0.0001, 0.9999, 0.0]], [False])
    assert [(one.file, one.looks_like) for one in told.images] == [("1.jpg", "dog"), ("0.jpg", "owl"), ("3.jpg", "owl")]
    assert (told.number, told.right, told.judged) == (9 - 2 + 1, 1, 4)
    settled = continued(before, images, [1], [[1.0, 0.0, 0.0]], [False])
    assert [one.file for one in settled.images] == ["0.jpg", "3.jpg"]
    assert settled.number == 9 - 2
    for number in (None, 1):
        none = continued(before.model_copy(update={"number": number}), images, [1], [[1.0, 0.0, 0.0]], [False])
        assert none.number == 0, "never fewer than none"
    one = DoubtfulLabels(number=0)
    assert continued(one, images, [1], [[0.0001, 0.9999, 0.0]], [False]).number == 1


def test_near_duplicates_under_two_labels_are_told_with_three_of_the_others_and_how_sure_it_is() -> None:
    images = [labeled(number, "dog", group="a" * 64) for number in range(5)]
    images += [labeled(5, "cat", group="a" * 64), labeled(6, "owl")]
    odds = [[0.2, 0.6, 0.2]] * 6
    told = continued(DoubtfulLabels(), images, list(range(6)), odds, [True] * 6)
    assert told.images == (
        DoubtfulImage(
            id=images[5].id,
            file="5.jpg",
            label="cat",
            looks_like="dog",
            confidence=0.75,
            near=tuple(NearDuplicate(id=one.id, label="dog") for one in images[:3]),
        ),
    )
    assert told.number == 1
    for unjudged in ([0.0, 1.0, 0.0], [0.0, 0.0, 1.0]):  # nobody knows how likely it is
        (only,) = continued(DoubtfulLabels(), images, list(range(6)), [unjudged] * 6, [True] * 6).images
        assert (only.file, only.confidence, only.looks_like) == ("5.jpg", None, "dog")
    (once,) = continued(DoubtfulLabels(), images, list(range(6)), [[0.001, 0.999, 0.0]] * 6, [False] * 6).images
    assert (once.file, once.confidence, len(once.near)) == ("5.jpg", 0.999, 3)


def test_a_report_names_five_hundred_at_most() -> None:
    images = [labeled(number, "cat") for number in range(600)]
    before = DoubtfulLabels(images=tuple(map(named, images[:499])), number=499)
    rows = [598, 599]
    told = continued(before, images, rows, [[0.0001, 0.9999, 0.0]] * 2, [False] * 2)
    assert len(told.images) == 500
    assert [one.file for one in told.images[:3]] == ["598.jpg", "599.jpg", "0.jpg"]
    assert told.number == 501
