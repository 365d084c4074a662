"""Frames that the device kept, over a real broker: which to label next, which belong together, and a group's label."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.codec import decode
from edged.contract.commands import Command, ImagesGroupsArgs, ImagesSuggestArgs
from edged.contract.messages import UNKNOWN
from edged.daemon.suggestions import Suggestions, _one_of_each, _Reader
from edged.errors import CommandError
from edged.images import Embedding, ImageStore, Kept, variant
from edged.images.image import split_of
from edged.settings import ModelSettings
from edged.store import Bundle, read_bundle
from edged.vision.familiarity import Familiarity
from edged.vision.network import Network
from tests.albums import LABELS, make_album, picture, put
from tests.conftest import REPOSITORY, SHARED_DATA
from tests.daemon.process import Daemon
from tests.waiting import PATIENCE_S, wait_until

Edgectl = Callable[..., "subprocess.Popen[str]"]
RETRAIN = "unknown = 0\n[retrain]\nkeep_frames = false\nbatch = 16\nmin_accuracy = 0.4\ntolerance = 0.2\n"
"""In `[model]`: what is strange follows from why a frame was kept, so that pictures may be drawn."""
KNOWN, STRANGER = ("checks", "stripes"), "discs"


def keep_frames(state_dir: Path, frames: Mapping[bytes, str]) -> dict[str, str]:
    """Put frames, content → reason, into a device's store as it keeps them itself; return id → reason."""
    bundle = read_bundle(REPOSITORY / "models" / "mobilenet_v2")
    crop = bundle.manifest.input.crop
    network = Network(bundle.read_model(), crop=crop)
    scale, zero_point = network.bottleneck_affine
    kept = {}
    with closing(ImageStore(state_dir, images_max_mb=100)) as store:
        for data, reason in frames.items():
            sha256 = store.keep(data, Kept(reason, "something", 0.3))
            assert sha256 is not None
            bottleneck = network.embed(network.prepare(decode(data)))
            dtype: Any = str(bottleneck.dtype)
            row = Embedding(
                sha256, bundle.manifest.backbone_sha256, variant(crop), bottleneck.tobytes(), dtype, scale, zero_point
            )
            store.put_embeddings([row])
            kept[sha256[:16]] = reason
    return kept


@pytest.fixture
def told(edgectl: Edgectl) -> Callable[..., dict[str, Any]]:
    """Run `edgectl images … --json`; return what it told."""

    def call(*args: str) -> dict[str, Any]:
        out, err = edgectl(*args, "--json").communicate(timeout=PATIENCE_S)
        assert err == ""
        return dict(json.loads(out))

    return call


def photos_of_dogs() -> list[Path]:
    """Return ImageNet's photos of the classes 151 to 268."""
    with (SHARED_DATA / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if 151 <= int(row["class_index"]) <= 268]
    return [SHARED_DATA / "imagenet" / row["file"] for row in rows]


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


def test_strangers_come_first_and_a_group_gets_a_name(
    daemon: Callable[..., Daemon], edgectl: Edgectl, told: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    make_album(state_dir / "images", 12, KNOWN)
    frames = {picture(STRANGER, seed): "unknown" for seed in range(12)}
    frames |= {picture(label, seed): "low score" for label in KNOWN for seed in range(100, 104)}
    kept = keep_frames(state_dir, frames)
    device = daemon(RETRAIN)

    before = told("images", "suggest", "-n", "10")
    assert (before["unlabeled"], before["considered"]) == (20, 20)
    assert [image["why"] for image in before["images"]] == ["stranger"] * 5 + ["typical"] * 5
    assert [kept[image["id"]] for image in before["images"]] == ["unknown"] * 5 + ["low score"] * 5
    assert told("retrain", "--wait")["status"] == "succeeded"

    after = told("images", "suggest", "-n", "200")
    assert len({image["id"] for image in after["images"]}) == len(after["images"])
    whys = [image["why"] for image in after["images"]]
    assert set(whys) == {"stranger", "uncertain", "typical"} or set(whys) == {"stranger", "typical"}
    for image in after["images"]:
        first, second = image["likely"]
        assert {first["label"], second["label"]} == set(KNOWN)
        assert (first["score"] - second["score"] < 0.5) == (image["why"] == "uncertain") or image["why"] == "stranger"
    code, out, err = said(edgectl("images", "suggest", "-n", "3"))
    assert (code, err) == (0, "")
    assert "unlike anything taught" in out
    assert "dut: 3 of 20 frames without a label" in out
    assert "edgectl images label ID LABEL" in out

    found = told("images", "groups")
    assert (found["strangers"], found["all"]) == (12, len(found["groups"]))
    assert (found["unlabeled"], found["considered"]) == (20, 20)
    members = [member for group in found["groups"] for member in group["images"]]
    assert sorted(members) == sorted(frame for frame, reason in kept.items() if reason == "unknown")
    sizes = [group["size"] for group in found["groups"]]
    assert sizes == sorted(sizes, reverse=True) == [len(group["images"]) for group in found["groups"]]
    assert all(group["id"] == group["images"][0] for group in found["groups"])
    code, out, _ = said(edgectl("images", "groups", "--limit", "1"))
    assert (code, found["groups"][0]["id"] in out) == (0, True)

    # One frame gets a label by itself, one goes; a group's label reaches the others, and only those that were listed.
    largest = found["groups"][0]
    assert largest["size"] >= 3
    assert said(edgectl("images", "label", largest["images"][1], "bubbles"))[0] == 0
    assert said(edgectl("images", "remove", largest["images"][2]))[0] == 0
    done = told("images", "label", "--group", largest["id"][:8], STRANGER)
    assert (done["group"], done["label"], done["skipped"]) == (largest["id"], STRANGER, 2)
    assert sorted(done["images"]) == sorted(set(largest["images"]) - set(largest["images"][1:3]))
    rest = f"{largest['size']} gone or labeled already"
    again = said(edgectl("images", "label", "--group", largest["id"], STRANGER))
    assert again == (0, f"dut: {largest['id']}  {STRANGER}, 0 frames; {rest}\n", "")
    for group in found["groups"][1:]:
        assert said(edgectl("images", "label", "--group", group["id"], STRANGER))[0] == 0
    counts = told("images", "list")["counts"]
    assert counts == {"bubbles": 1, "checks": 12, STRANGER: 10, "stripes": 12}
    assert told("images", "groups")["groups"] == []

    report = told("retrain", "--wait")["report"]
    assert report["counts"] == {"checks": 12, STRANGER: 10, "stripes": 12}
    assert device.stop() == 0
    assert "Traceback" not in device.log


@pytest.mark.skipif(not (SHARED_DATA / "imagenet").is_dir(), reason="needs the photos of flowers and of ImageNet")
def test_a_stranger_becomes_a_class(
    daemon: Callable[..., Daemon], edgectl: Edgectl, told: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Taught four kinds of flowers, the camera sees dogs: kept as unknown, grouped, named, taught, recognised."""
    state_dir = tmp_path / "state"
    for kind in ("daisy", "roses", "sunflowers", "tulips"):
        for file in sorted((SHARED_DATA / "flowers" / kind).glob("*.jpg"))[:40]:
            put(state_dir / "images" / kind / file.name, file.read_bytes())
    dogs = photos_of_dogs()
    for file in dogs[:60]:
        put(tmp_path / "seen" / file.name, file.read_bytes())
    device = daemon(source=f"dir://{tmp_path / 'seen'}")
    assert told("retrain", "--wait")["report"]["decision"]["promote"]

    def unknown() -> int:
        frames = told("images", "list", "--unlabeled", "--limit", "500")["images"]
        return sum(frame["reason"] == "unknown" for frame in frames)

    wait_until(lambda: unknown() >= 20, what="frames kept because they are unknown")
    told("set", "--fps", "0.01")  # else more strangers are kept while it is taught, the more the longer that takes
    assert told("images", "suggest", "-n", "5")["images"][0]["why"] == "stranger"
    found = told("images", "groups")
    assert found["strangers"] >= 20
    assert found["groups"][0]["size"] >= 5
    for group in found["groups"]:
        told("images", "label", "--group", group["id"], "dogs")
    assert told("images", "list")["counts"]["dogs"] == found["strangers"]

    report = told("retrain", "--wait", "--accept")["report"]
    assert report["decision"]["promote"]
    assert told("images", "groups")["strangers"] <= 3
    assert device.stop() == 0
    assert "Traceback" not in device.log

    # What the camera is said to see: dogs that nobody has labeled.
    for file in dogs[60:]:
        put(tmp_path / "fresh" / file.name, file.read_bytes())
    device = daemon(source=f"dir://{tmp_path / 'fresh'}", fps=20)
    count = len(dogs[60:])
    out, err = edgectl("watch", "--json", "--count", str(count)).communicate(timeout=PATIENCE_S)
    assert err == ""
    results = [json.loads(line) for line in out.splitlines()]
    assert {result["model"] for result in results} == {report["model"]}
    labels = Counter(result["label"] for result in results)
    # Twenty dogs and a few more were kept and taught, as many as came in the time. After ten, 30 of 64 were named.
    assert labels["dogs"] > count / 2 > 30, labels
    assert labels["dogs"] + labels[UNKNOWN] >= 0.95 * count, labels
    assert device.stop() == 0
    assert "Traceback" not in device.log


def test_frames_that_would_only_judge_are_not_suggested_and_it_says_how_many(
    daemon: Callable[..., Daemon], edgectl: Edgectl, told: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    state_dir = tmp_path / "state"
    make_album(state_dir / "images", 60, KNOWN)
    kept = keep_frames(state_dir, {picture(label, seed): "low score" for label in KNOWN for seed in range(100, 115)})
    judging = {frame for frame in kept if split_of(frame.ljust(64, "0")) == "test"}
    assert len(judging) > 1
    device = daemon(RETRAIN)
    report = told("images", "suggest", "-n", "200")
    assert {image["id"] for image in report["images"]} == set(kept) - judging
    assert report["judging"] == len(judging)
    _, out, _ = said(edgectl("images", "suggest", "-n", "3"))
    assert f"{len(judging)} are never suggested: labeled, they would judge and teach nothing" in out
    assert device.stop() == 0


def test_near_duplicates_of_labeled_images_are_not_suggested(
    daemon: Callable[..., Daemon], told: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """A frame whose twin got a label tells nothing new; neither do twins among the frames themselves."""
    state_dir = tmp_path / "state"
    kept = keep_frames(state_dir, {picture(label, seed): "low score" for label in LABELS for seed in range(4)})
    device = daemon(RETRAIN)
    some, *others = kept
    sha256 = told("images", "list", "--unlabeled")["images"][0]["sha256"]
    assert sha256[:16] in kept
    for frame in others[:3]:
        told("images", "label", frame, "x")
    suggested = {image["id"] for image in told("images", "suggest", "-n", "100")["images"]}
    assert some in suggested
    assert suggested == {some, *others[3:]}
    assert device.stop() == 0


def test_what_there_is_to_say_without_any_frame(
    daemon: Callable[..., Daemon], edgectl: Edgectl, told: Callable[..., dict[str, Any]]
) -> None:
    device = daemon(RETRAIN)
    assert said(edgectl("images", "suggest")) == (0, "dut: 0 of 0 frames without a label\n", "")
    none = "dut: 0 of 0 frames without a label show something unknown\n"
    assert said(edgectl("images", "groups")) == (0, none, "")
    code, out, err = said(edgectl("images", "label", "--group", "abc", "discs"))
    assert (code, out) == (1, "")
    assert "none that was listed begins so; ask for the groups again" in err
    assert err.count("\n") == 1
    assert told("images", "suggest")["images"] == []
    assert device.stop() == 0


# -- without a broker: every part of an answer, by numbers that the network itself gives -------------------------------


@pytest.fixture
def bundle() -> Bundle:
    return read_bundle(REPOSITORY / "models" / "mobilenet_v2")


@pytest.fixture
def network(bundle: Bundle) -> Network:
    return Network(bundle.read_model(), crop=bundle.manifest.input.crop)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    with closing(ImageStore(tmp_path, images_max_mb=100)) as opened:
        yield opened


def ask(count: int = 200) -> Command[ImagesSuggestArgs]:
    return Command("asked", ImagesSuggestArgs(count=count))


def ask_groups(limit: int = 200) -> Command[ImagesGroupsArgs]:
    return Command("asked", ImagesGroupsArgs(limit=limit))


def test_a_frame_counts_once_newest_first_with_what_the_network_says_of_it(
    tmp_path: Path, store: ImageStore, bundle: Bundle, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames without a bottleneck of this network, and near duplicates of labeled images, only wait."""
    frames = {picture(STRANGER, seed): "unknown" for seed in range(4)}
    frames |= {picture("checks", seed): "low score" for seed in range(4)}
    kept = keep_frames(tmp_path, frames)
    unseen = picture("stripes", 50)
    assert store.keep(unseen, Kept("low score", "something", 0.3))
    put(tmp_path / "images" / "checks" / "labeled.jpg", picture("checks", 0) + b"\0")  # the same to look at
    suggestions = Suggestions(store, lambda: bundle, ModelSettings(unknown=0))
    report = suggestions.suggest(ask())
    assert (report["unlabeled"], report["considered"], report["judging"]) == (9, 7, 0)
    twin = hashlib.sha256(picture("checks", 0)).hexdigest()[:16]
    assert {image["id"] for image in report["images"]} <= kept.keys() - {twin}
    content = {hashlib.sha256(data).hexdigest()[:16]: data for data in frames}
    for image in report["images"]:
        scores = network.infer(network.prepare(decode(content[image["id"]]))).scores
        best = np.argsort(-scores, kind="stable")[:2]
        assert image["likely"] == [{"label": bundle.labels[n], "score": round(float(scores[n]), 4)} for n in best]
        assert (image["why"] == "stranger") == (kept[image["id"]] == "unknown")
        assert image["reason"] == kept[image["id"]]
    assert len(suggestions.suggest(ask(3))["images"]) == 3
    monkeypatch.setattr("edged.daemon.suggestions.CONSIDERED", 4)
    newest = [image.id for image in store.newest(unlabeled=True, limit=4)]
    few = suggestions.suggest(ask())
    assert few["considered"] == sum(one in kept for one in newest) == 3
    assert {image["id"] for image in few["images"]} <= set(newest)


def test_what_lies_on_a_labeled_image_tells_nothing_new(tmp_path: Path, store: ImageStore, bundle: Bundle) -> None:
    labeled, alike, other = (picture(label, 1) for label in LABELS)
    keep_frames(tmp_path, dict.fromkeys((labeled, other), "low score"))
    backbone, crop = bundle.manifest.backbone_sha256, variant(bundle.manifest.input.crop)
    (bottleneck,) = {
        data
        for sha256, data in store.plain_embeddings(backbone, crop).items()
        if sha256 == hashlib.sha256(labeled).hexdigest()
    }
    sha256 = store.keep(alike, Kept("low score", "something", 0.3))
    assert sha256 is not None
    store.put_embeddings([Embedding(sha256, backbone, crop, bottleneck, "int8", 1.0, 0)])
    suggestions = Suggestions(store, lambda: bundle, ModelSettings(unknown=0))
    named = []
    for _ in range(2):
        named.append({image["sha256"] for image in suggestions.suggest(ask())["images"]})
        store.label(hashlib.sha256(labeled).hexdigest(), LABELS[0])
    kept = {hashlib.sha256(data).hexdigest() for data in (labeled, alike, other)}
    assert hashlib.sha256(other).hexdigest() in named[0] < kept, "one of the two that are alike will do"
    assert named[1] == {hashlib.sha256(other).hexdigest()}


def test_doubts_count_only_with_a_model_that_was_taught_here(tmp_path: Path, store: ImageStore, bundle: Bundle) -> None:
    keep_frames(tmp_path, {picture("checks", seed): "low score" for seed in range(12)})
    taught = replace(bundle, manifest=bundle.manifest.model_copy(update={"training": {"run": "r"}}))
    whys = {}
    for name, one in (("shipped", bundle), ("taught", taught)):
        report = Suggestions(store, lambda one=one: one, ModelSettings(unknown=0)).suggest(ask())
        whys[name] = {image["why"] for image in report["images"]}
    assert whys["shipped"] == {"typical"}
    assert "uncertain" in whys["taught"]


def test_frames_that_would_judge_are_named_until_there_are_enough_judges(
    tmp_path: Path, store: ImageStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = {picture("checks", seed): "low score" for seed in range(40)}
    judging = {sha for data in frames if split_of(sha := hashlib.sha256(data).hexdigest()) == "test"}
    make_album(tmp_path / "images", 40, ("stripes",))
    keep_frames(tmp_path, frames)
    store.scan()
    judges = sum(image.split == "test" for image in store.labeled())
    assert judges >= 2
    assert 0 < len(judging) < 40
    suggestions = Suggestions(store, lambda: bundle, ModelSettings(unknown=0))
    named = {}
    for missing in (1, 0):
        monkeypatch.setattr("edged.daemon.suggestions.JUDGES", judges + missing)
        report = suggestions.suggest(ask())
        named[missing] = {image["sha256"] for image in report["images"]}, report["judging"]
    assert named[1][0] & judging
    assert named[1][1] == 0
    assert named[0] == (named[0][0] - judging, len(judging))
    assert named[0][0]


def test_what_is_strange_is_said_by_the_model_that_answers_below_the_limit(
    tmp_path: Path, store: ImageStore, bundle: Bundle, network: Network
) -> None:
    known = Familiarity.decode(bundle.read_familiarity() or b"", network.features)
    frames = [picture(label, seed) for label in LABELS for seed in range(8)]
    keep_frames(tmp_path, dict.fromkeys(frames, "low score"))
    found = {
        hashlib.sha256(data).hexdigest()[:16]: known.familiarity(
            float(known.score(network.infer(network.prepare(decode(data))).embedding))
        )
        for data in frames
    }
    limit = sorted(found.values())[len(found) // 2]  # one of them lies on it, and is not below it
    below = {id_ for id_, familiarity in found.items() if familiarity < limit}
    assert 0 < len(below) < len(found) - 1
    report = Suggestions(store, lambda: bundle, ModelSettings(unknown=limit)).groups(ask_groups())
    assert {id_ for group in report["groups"] for id_ in group["images"]} == below
    assert (report["strangers"], report["considered"], report["unlabeled"]) == (len(below), 24, 24)


def test_groups_of_the_newest_strangers_and_how_one_is_named(
    tmp_path: Path, store: ImageStore, bundle: Bundle, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = {picture(label, seed): "unknown" for label in (STRANGER, "stripes") for seed in range(5)}
    frames |= {picture("checks", seed): "low score" for seed in range(3)}
    keep_frames(tmp_path, frames)
    content = {hashlib.sha256(data).hexdigest()[:16]: data for data in frames}
    suggestions = Suggestions(store, lambda: bundle, ModelSettings(unknown=0))
    with pytest.raises(CommandError, match="none that was listed begins so"):
        suggestions.members("0")
    report = suggestions.groups(ask_groups())
    assert (report["strangers"], report["all"]) == (10, len(report["groups"]))
    assert report["all"] >= 2
    for group in report["groups"]:
        scores = network.infer(network.prepare(decode(content[group["id"]]))).scores
        assert group["likely"][0] == {
            "label": bundle.labels[int(scores.argmax())],
            "score": round(float(scores.max()), 4),
        }
        assert group["size"] == len(group["images"])
        id_, members = suggestions.members(group["id"].upper())
        assert id_ == group["id"]
        assert [sha256[:16] for sha256 in members] == group["images"]
    with pytest.raises(CommandError, match="more than one id begins so"):
        suggestions.members("")
    first = suggestions.groups(ask_groups(1))
    assert (first["groups"], first["all"]) == (report["groups"][:1], report["all"])
    monkeypatch.setattr("edged.daemon.suggestions.GROUPED", 4)
    few = suggestions.groups(ask_groups())
    newest = [image.id for image in store.newest(unlabeled=True, limit=13) if image.reason == "unknown"][:4]
    assert sorted(id_ for group in few["groups"] for id_ in group["images"]) == sorted(newest)
    assert few["strangers"] == 4


def test_of_near_duplicates_that_wait_the_newest_stands_for_all(
    tmp_path: Path, store: ImageStore, bundle: Bundle
) -> None:
    old, *_ = keep_frames(tmp_path, {picture("checks", 1): "unknown", picture("stripes", 2): "unknown"})
    image = store.get(old)
    later = replace(image, sha256="f" * 64, id="f" * 16)
    assert _one_of_each([later, image], []) == [later]
    assert _one_of_each([image, later], []) == [image]


def test_a_model_is_read_once_until_another_one_answers(
    tmp_path: Path, store: ImageStore, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its labels and its head are those of the one that answers now."""
    keep_frames(tmp_path, {picture("checks", seed): "low score" for seed in range(2)})
    read: list[str] = []
    of = _Reader.of

    def counted(one: Bundle, settings: ModelSettings) -> _Reader:
        read.append(one.id)
        return of(one, settings)

    monkeypatch.setattr(_Reader, "of", counted)
    other = replace(bundle, id="0" * 12, labels=tuple(f"number {n}" for n in range(len(bundle.labels))))
    running = [bundle]
    suggestions = Suggestions(store, lambda: running[0], ModelSettings(unknown=0))
    for _ in range(2):
        suggestions.suggest(ask())
    assert read == [bundle.id]
    running[0] = other
    told = suggestions.suggest(ask())["images"]
    assert read == [bundle.id, other.id]
    assert told
    assert all(one["label"].startswith("number ") for image in told for one in image["likely"])
