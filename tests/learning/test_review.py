"""A review of drawn pictures, with the network that ships."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edged.contract.reports import DoubtfulLabels
from edged.errors import RefusedError
from edged.images import ImageStore
from edged.learning import Progress, ReviewRequest
from edged.learning.pipeline import train
from edged.learning.review import review
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
    again, _ = reviewed(tmp_path, limit=10)
    assert len(again.images) == 10
    assert [image.id for image in again.images][: len(found)] == [image.id for image in report.images]
    confidence = [image.confidence or 0 for image in again.images]
    assert confidence == sorted(confidence, reverse=True)
    assert confidence[len(found)] <= 0.5


def test_a_label_with_one_burst_of_photos_is_not_judged(tmp_path: Path, images: Path) -> None:
    """Without its near duplicates nothing is left of the label, so that each of them would look like another one."""
    for number in range(8):
        put(images / "burst" / f"{number}.jpg", picture("checks", 777) + bytes(number))  # the same pixels
    report, _ = reviewed(tmp_path)
    assert "burst" not in {image.label for image in report.images}
    assert report.left_out == {"burst": "8 images, all of them near duplicates; none can judge another"}
    assert report.judged == 47


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
