"""The image store on real files and a real SQLite."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edged.contract.messages import UNKNOWN
from edged.errors import CommandError, StorageError
from edged.images import Embedding, ImageStore, Kept, open_images, variant
from edged.images.store import INDEX
from tests.conftest import MADE_AND_REAL, SHARED_DATA
from tests.photos import photo
from tests.pinned import Pins
from tests.waiting import PATIENCE_S

BACKBONE = "b" * 64


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ImageStore]:
    opened = ImageStore(tmp_path, images_max_mb=10)
    yield opened
    opened.close()


def put(folder: Path, label: str, name: str, data: bytes) -> Path:
    """Put a file as rsync -a would: with a time of long ago."""
    path = folder / "images" / label / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    past = time.time() - 3600
    os.utime(path, (past, past))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for area in ("images", "frames")
        for path in (folder / area).rglob("*")
        if path.is_file()
    }


def embedding(sha256: str, fill: int = 7, view: str = "crop=0.875") -> Embedding:
    return Embedding(sha256, BACKBONE, view, bytes([fill]) * 64, "int8", 0.1, -3)


def test_a_pushed_image_is_a_file_in_its_label_s_folder(store: ImageStore, tmp_path: Path) -> None:
    data = photo(1)
    sha256 = store.add(data, "roses")
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert files(tmp_path) == {f"images/roses/{sha256[:16]}.jpg": data}
    (image,) = store.labeled()
    assert (image.sha256, image.id, image.label) == (sha256, sha256[:16], "roses")
    assert (image.width, image.height, image.bytes) == (96, 72, len(data))
    assert image.path.read_bytes() == data
    assert store.add(data, "roses") == sha256
    assert store.counts() == {"roses": 1}
    report = store.scan(settle_s=0)
    assert (report.added, report.moved, report.removed) == (0, 0, 0)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp"])
def test_other_kinds_keep_their_suffix(store: ImageStore, suffix: str) -> None:
    store.add(photo(1, suffix=suffix), "roses")
    (image,) = store.labeled()
    assert image.path.suffix == suffix


def test_what_is_no_image_is_refused(store: ImageStore, tmp_path: Path) -> None:
    whole = photo(1)
    for data, reason in ((b"", "empty"), (b"hello", "not an image"), (whole[: len(whole) // 2], "cut off")):
        with pytest.raises(CommandError, match=reason):
            store.add(data, "roses")
    with pytest.raises(CommandError, match="slash"):
        store.add(whole, "a/b")
    assert files(tmp_path) == {}


def test_scan_takes_in_files_moves_and_deletions(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path, "roses", "a.jpg", photo(1))
    put(tmp_path, "roses", "B.JPEG", photo(2))
    put(tmp_path, "tulips", "c.png", photo(3, suffix=".png"))
    assert store.scan().added == 3
    assert store.counts() == {"roses": 2, "tulips": 1}
    before = {image.sha256: image.split for image in store.labeled()}

    (tmp_path / "images/roses/a.jpg").rename(tmp_path / "images/tulips/a.jpg")
    (tmp_path / "images/tulips/c.png").unlink()
    report = store.scan()
    assert (report.added, report.moved, report.removed) == (0, 1, 1)
    assert store.counts() == {"roses": 1, "tulips": 1}
    after = {image.sha256: image.split for image in store.labeled()}
    assert after.items() <= before.items()


def test_a_label_s_folder_counts_more_than_a_later_copy_among_the_frames(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path, "roses", "a.jpg", photo(1))
    store.scan()
    copy = tmp_path / "frames" / "b.jpg"
    copy.write_bytes(photo(1))
    for _ in range(2):
        store.scan(settle_s=0)
        assert store.counts() == {"roses": 1}
        assert store.unlabeled() == 0


def test_files_that_are_being_written_wait(store: ImageStore, tmp_path: Path) -> None:
    fresh = put(tmp_path, "roses", "a.jpg", photo(1))
    os.utime(fresh)
    put(tmp_path, "roses", ".b.jpg.X81hZq", photo(2))  # rsync's temporary name
    report = store.scan(settle_s=PATIENCE_S)
    assert (report.added, report.deferred, report.skipped) == (0, ["images/roses/a.jpg"], [])
    future = time.time() + 86400  # a clock that was set back since
    os.utime(fresh, (future, future))
    assert store.scan().added == 1


def test_who_looks_once_waits_for_what_was_put_there_just_now(store: ImageStore, tmp_path: Path) -> None:
    os.utime(put(tmp_path, "roses", "a.jpg", photo(1)))
    report = store.scan_settled()
    assert (report.added, report.deferred) == (1, [])
    broken = put(tmp_path, "roses", "b.jpg", b"no image")
    os.utime(put(tmp_path, "roses", "c.jpg", photo(2)))
    os.utime(broken, (1e9, 1e9))
    report = store.scan_settled()
    assert [one.file for one in report.skipped] == ["images/roses/b.jpg"], "once, though both scans have seen it"
    assert store.counts() == {"roses": 2}


def test_unusable_files_are_named_once_read_and_read_again_when_they_change(store: ImageStore, tmp_path: Path) -> None:
    whole = photo(1)
    bad = put(tmp_path, "roses", "cut.jpg", whole[:300])
    put(tmp_path, "roses", "notes.txt", b"hello")
    put(tmp_path, "roses", "fake.jpg", b"hello")
    put(tmp_path, "..x", "a.jpg", whole)
    put(tmp_path, "a\nb", "a.jpg", whole)
    put(tmp_path, "roses/deeper", "a.jpg", whole)
    (tmp_path / "images/stray.jpg").write_bytes(whole)
    for _ in range(2):
        report = store.scan()
        reasons = {skipped.file: skipped.reason for skipped in report.skipped}
        assert set(reasons) == {
            "images/a\nb",
            "images/roses/cut.jpg",
            "images/roses/notes.txt",
            "images/roses/fake.jpg",
            "images/roses/deeper",
            "images/stray.jpg",
        }
        assert "cut off" in reasons["images/roses/cut.jpg"]
        assert store.labeled() == []
    put(tmp_path, "roses", "cut.jpg", whole)
    assert store.scan().added == 1
    assert [image.path for image in store.labeled()] == [bad]


def test_a_photo_of_a_gigapixel_is_not_decoded(store: ImageStore, tmp_path: Path) -> None:
    png = bytearray(photo(1, suffix=".png"))
    png[16:24] = (40_000).to_bytes(4, "big") * 2
    put(tmp_path, "roses", "bomb.png", bytes(png))
    (skipped,) = store.scan().skipped
    assert "megapixels" in skipped.reason


def test_the_later_of_two_labels_wins_and_the_other_is_named(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path, "roses", "a.jpg", photo(1))
    store.scan()
    put(tmp_path, "tulips", "b.jpg", photo(1))
    for _ in range(2):
        report = store.scan()
        assert store.counts() == {"tulips": 1}
        ((name, reason),) = [(skipped.file, skipped.reason) for skipped in report.skipped]
        assert name == "images/roses/a.jpg"
        assert "images/tulips/b.jpg" in reason
    (image,) = store.labeled()
    store.label(image.id, "asters")  # a person has decided: no copy may bring another label back
    assert store.scan().skipped == []
    assert store.counts() == {"asters": 1}


def test_label_unlabel_remove(store: ImageStore, tmp_path: Path) -> None:
    sha256 = store.keep(photo(1), Kept("low score", "tabby", 0.31))
    assert sha256 is not None
    store.put_embeddings([embedding(sha256)])
    (frame,) = store.newest(unlabeled=True)
    assert (frame.label, frame.reason, frame.predicted, frame.score) == (None, "low score", "tabby", 0.31)
    assert list(files(tmp_path)) == [f"frames/{frame.id}.jpg"]

    labeled = store.label(frame.id[:6], "  caf\u0065\u0301 ", by="tester")
    assert (labeled.label, labeled.labeled_by, labeled.split) == ("café", "tester", frame.split)
    assert list(files(tmp_path)) == [f"images/café/{frame.id}.jpg"]
    assert (store.unlabeled(), store.counts()) == (0, {"café": 1})

    assert store.unlabel(frame.id).label is None
    assert list(files(tmp_path)) == [f"frames/{frame.id}.jpg"]
    assert store.embeddings(BACKBONE, "crop=0.875") == {sha256: bytes([7]) * 64}

    store.remove(sha256)
    assert files(tmp_path) == {}
    assert store.embeddings(BACKBONE, "crop=0.875") == {}
    for wrong, reason in ((sha256, "none"), ("xyz", "hex"), ("", "hex")):
        with pytest.raises(CommandError, match=reason):
            store.remove(wrong)


def test_an_ambiguous_id_asks_for_more_digits(store: ImageStore) -> None:
    shas = [store.add(photo(seed), "roses") for seed in range(17)]  # two begin with the same digit
    firsts = [sha256[0] for sha256 in shas]
    twice = next(digit for digit in firsts if firsts.count(digit) > 1)
    with pytest.raises(CommandError, match="more digits"):
        store.get(twice)


def test_names_that_meet_in_a_folder_do_not_overwrite(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path, "roses", "1.jpg", photo(1))
    put(tmp_path, "tulips", "1.jpg", photo(2))
    store.scan()
    rose = next(image for image in store.labeled() if image.label == "roses")
    store.label(rose.id, "tulips")
    assert store.counts() == {"tulips": 2}
    assert sorted(files(tmp_path).values()) == sorted([photo(1), photo(2)])


def test_near_duplicates_share_a_split_and_are_not_kept_twice(store: ImageStore) -> None:
    for seed in range(30):
        store.add(photo(seed, brighter=0), f"class {seed % 2}")
        store.add(photo(seed, brighter=3), f"class {seed % 2}")
        assert store.keep(photo(seed, brighter=6), Kept("random")) is None
    images = store.labeled()
    groups: dict[str, set[str]] = {}
    for image in images:
        groups.setdefault(image.group_id, set()).add(image.split)
    assert len(images) == 60
    assert len(groups) == 30
    assert all(len(splits) == 1 for splits in groups.values())


def test_only_unlabeled_frames_make_room_the_oldest_first(tmp_path: Path) -> None:
    size = len(photo(0))
    store = ImageStore(tmp_path, images_max_mb=5.5 * size / 1e6)
    labeled = [store.add(photo(seed), "roses") for seed in (0, 1)]
    kept = [store.keep(photo(seed), Kept("random")) for seed in range(10, 16)]
    left = [image.sha256 for image in store.newest(unlabeled=True)]
    assert left == kept[-len(left) :][::-1]
    assert 0 < len(left) < 5
    labeled += [store.add(photo(seed), "roses") for seed in (2, 3)]
    large = photo(4, width=192, height=144)
    with pytest.raises(CommandError, match="images_max_mb"):
        store.add(large + bytes(2 * size), "roses")
    with pytest.raises(CommandError, match="images_max_mb"):
        store.keep(large + bytes(2 * size), Kept("random"))
    labeled.append(store.add(photo(5), "roses"))
    assert store.unlabeled() == 0
    assert sorted(image.sha256 for image in store.labeled()) == sorted(labeled)
    assert len(files(tmp_path)) == len(labeled)
    store.close()


def test_frames_of_something_unknown_make_room_last(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, images_max_mb=3.5 * len(photo(0)) / 1e6)
    unknown = [store.keep(photo(seed), Kept(UNKNOWN)) for seed in range(2)]
    store.keep(photo(2), Kept("random"))
    newer = store.keep(photo(3), Kept("low score"))
    assert {image.sha256 for image in store.newest(unlabeled=True)} == {*unknown, newer}
    store.keep(photo(4), Kept(UNKNOWN))
    newest = store.keep(photo(5), Kept(UNKNOWN))
    left = [image.sha256 for image in store.newest(unlabeled=True)]
    assert newest in left
    assert unknown[0] not in left
    store.close()


def test_a_frame_that_cannot_be_deleted_leaves_the_next_one_to_make_room(tmp_path: Path, pins: Pins) -> None:
    size = len(photo(0))
    store = ImageStore(tmp_path, images_max_mb=3.5 * size / 1e6)
    kept = [store.keep(photo(seed), Kept("random")) for seed in (10, 11, 12)]
    oldest = store.get(str(kept[0])).path
    oldest.unlink()
    oldest.mkdir()  # closing `frames` itself would keep new frames out
    (oldest / "file").touch()
    pins.pin(oldest / "file")
    sha256 = store.keep(photo(13), Kept("random"))
    assert [image.sha256 for image in store.newest(unlabeled=True)] == [sha256, kept[2], kept[0]]
    assert oldest.exists()
    store.close()


def test_a_stale_temporary_file_that_cannot_be_deleted_stays(store: ImageStore, tmp_path: Path, pins: Pins) -> None:
    put(tmp_path, "roses", "1.jpg", photo(1))
    folder = put(tmp_path, "tulips", ".tmp.0123/file", b"").parent
    past = time.time() - 7200
    os.utime(folder, (past, past))
    pins.pin(folder / "file")
    assert store.scan().added == 1
    assert store.scan().skipped == []
    assert (folder / "file").exists()


def test_a_label_s_folder_that_is_closed_leaves_the_others(store: ImageStore, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    put(tmp_path, "roses", "1.jpg", photo(1))
    closed = put(tmp_path, "tulips", "2.jpg", photo(2)).parent
    closed.chmod(0)
    try:
        report = store.scan()
    finally:
        closed.chmod(0o755)
    assert (report.added, [one.file for one in report.skipped]) == (1, ["images/tulips"])
    assert "Permission denied" in report.skipped[0].reason


def spoil(index: Path) -> None:
    """Make one byte of the first image's path what is no UTF-8."""
    with closing(sqlite3.connect(index)) as database, database:
        database.execute("UPDATE images SET path = CAST(x'ff' || CAST(substr(path, 2) AS BLOB) AS TEXT)")


def test_text_in_the_index_that_is_none_is_damage_at_the_start_and_later(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, images_max_mb=100)
    sha256 = store.add(photo(1), "roses")
    store.close()
    spoil(tmp_path / "images.sqlite")
    store = ImageStore(tmp_path, images_max_mb=100)
    assert store.scan(settle_s=0).added == 1
    assert [image.sha256 for image in store.labeled()] == [sha256]
    spoil(tmp_path / "images.sqlite")
    with pytest.raises(StorageError, match="made anew from the files: ask again"):
        store.labeled()
    assert store.scan(settle_s=0).added == 1
    assert [image.sha256 for image in store.labeled()] == [sha256]
    store.close()


@pytest.mark.parametrize("name", ["images", "frames"])
def test_a_file_in_a_folder_s_place_is_set_aside_and_a_link_to_a_disk_that_is_away_stays(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("no folder")
    with closing(ImageStore(tmp_path, images_max_mb=100)) as store:
        store.add(photo(1), "roses")
    assert (tmp_path / f"{name}.corrupt").read_text() == "no folder"
    shutil.rmtree(tmp_path / name)
    (tmp_path / name).symlink_to(tmp_path / "away")
    with pytest.raises(StorageError, match="cannot be made"):
        ImageStore(tmp_path, images_max_mb=100)
    assert (tmp_path / name).is_symlink()


def test_a_damaged_index_is_set_aside_and_made_anew_with_the_same_splits(tmp_path: Path) -> None:
    store = ImageStore(tmp_path, images_max_mb=10)
    for seed in range(20):
        store.add(photo(seed), "roses")
    before = store.labeled()
    store.close()
    index = tmp_path / "images.sqlite"
    index.write_bytes(b"not a database" * 1000)
    again = ImageStore(tmp_path, images_max_mb=10)
    assert again.labeled() == []
    assert again.scan(settle_s=0).added == 20
    assert again.labeled() == before
    assert (tmp_path / "images.sqlite.corrupt").exists()
    again.close()


def test_an_index_of_a_newer_edged_is_left_alone(tmp_path: Path) -> None:
    ImageStore(tmp_path, images_max_mb=10).close()
    with closing(sqlite3.connect(tmp_path / "images.sqlite")) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer edged"):
        ImageStore(tmp_path, images_max_mb=10)
    assert not (tmp_path / "images.sqlite.corrupt").exists()


def test_a_frame_that_comes_again_keeps_its_label(store: ImageStore) -> None:
    sha256 = store.keep(photo(1), Kept("low score", "cat", 0.3))
    assert sha256 is not None
    labeled = store.label(sha256, "roses")
    assert store.keep(photo(1), Kept("new prediction", "dog", 0.6)) == sha256
    assert store.get(sha256) == labeled
    assert labeled.path.exists()
    assert store.unlabeled() == 0


def test_embeddings_are_per_backbone_and_view(store: ImageStore) -> None:
    shas = [store.add(photo(seed), "roses") for seed in range(3)]
    assert store.embedded(BACKBONE, variant(0.875)) == set()
    store.put_embeddings(embedding(sha256, fill) for fill, sha256 in enumerate(shas[:2]))
    assert store.embedded(BACKBONE, variant(0.875)) == set(shas[:2])
    assert store.embeddings(BACKBONE, variant(0.875), shas[1:]) == {shas[1]: bytes([1]) * 64}
    assert store.embeddings(BACKBONE, variant(1.0)) == {}
    assert store.embeddings("c" * 64, variant(0.875)) == {}


def test_the_plain_view_of_whatever_crop(store: ImageStore) -> None:
    """A frame was seen with the live model's crop, a training looks at all of it; augmented views are others."""
    one, two, three = (store.add(photo(seed), "roses") for seed in range(3))
    store.put_embeddings(
        [
            embedding(one, 1, "crop=0.875"), embedding(one, 2, "crop=1"), embedding(one, 3, "crop=1,flip"),
            embedding(two, 4, "crop=0.875"), embedding(three, 5, "crop=1,flip"),
        ]
    )  # fmt: skip
    assert store.plain_embeddings(BACKBONE, "crop=1") == {one: bytes([2]) * 64, two: bytes([4]) * 64}
    assert store.plain_embeddings(BACKBONE, "crop=0.875") == {one: bytes([1]) * 64, two: bytes([4]) * 64}
    assert store.plain_embeddings("c" * 64, "crop=1") == {}


def test_what_a_crash_left_between_file_and_row_is_healed(store: ImageStore, tmp_path: Path) -> None:
    data = photo(1)
    put(tmp_path, "roses", f"{hashlib.sha256(data).hexdigest()[:16]}.jpg", data)  # written, the row was not
    moved = store.get(store.add(photo(2), "roses"))
    (tmp_path / "images/tulips").mkdir()
    moved.path.rename(tmp_path / "images/tulips" / moved.path.name)  # moved, the row was not
    stale = put(tmp_path, "roses", ".tmp.0123456789ab", b"half")
    os.utime(stale, (0, 0))
    store.scan(settle_s=0)
    assert store.counts() == {"roses": 1, "tulips": 1}
    assert not stale.exists()


def test_two_processes_write_at_the_same_time(store: ImageStore, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from edged.images import ImageStore; from tests.photos import *\n"
        "store = ImageStore(Path(sys.argv[1]), images_max_mb=10)\n"
        "for seed in range(100, 130): store.add(photo(seed), 'theirs')\n"
        "store.scan(settle_s=0); store.close()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as other:
        for seed in range(30):
            store.add(photo(seed), "ours")
            store.scan(settle_s=0)
    assert other.returncode == 0
    store.scan(settle_s=0)
    assert store.counts() == {"ours": 30, "theirs": 30}


def test_sigkill_at_any_moment_loses_no_image_that_add_returned_for(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from edged.images import ImageStore; from tests.photos import *\n"
        "store = ImageStore(Path(sys.argv[1]), images_max_mb=100)\n"  # more than it can add while nobody reads
        "for seed in range(int(sys.argv[2]), 10**6):\n"
        "    sha256 = store.add(photo(seed), 'roses'); print(sha256, flush=True)\n"
        "    if seed % 3 == 0: store.label(sha256, 'tulips')\n"
        "    if seed % 5 == 0: store.unlabel(sha256)\n"
    )
    told: list[str] = []
    for attempt in range(4):
        command = [sys.executable, "-c", script, str(tmp_path), str(1000 * attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(7 + attempt):
                told.append(process.stdout.readline().strip())
            process.send_signal(signal.SIGKILL)
            told += [line.strip() for line in process.stdout if len(line) == 65]
    store = ImageStore(tmp_path, images_max_mb=10)
    store.scan(settle_s=0)
    have = {image.sha256 for image in store.newest(limit=10**6)}
    assert set(told) <= have
    assert {hashlib.sha256(data).hexdigest() for data in files(tmp_path).values() if data} >= set(told)
    store.close()


def test_a_full_disk_is_one_line_and_leaves_nothing_half(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from edged.images import ImageStore; from edged.errors import EdgedError\n"
        "from tests.photos import *\n"
        "store = ImageStore(Path(sys.argv[1]), images_max_mb=10); store.add(photo(1), 'roses')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (500, -1))\n"
        "try: store.add(photo(2), 'roses')\n"
        "except EdgedError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert "cannot be written: File too large" in done.stdout
    store = ImageStore(tmp_path, images_max_mb=10)
    store.scan(settle_s=0)
    assert store.counts() == {"roses": 1}
    assert len(files(tmp_path)) == 1
    store.close()


@pytest.mark.parametrize("kind", MADE_AND_REAL)
def test_different_photos_have_no_false_groups(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "images"
    for number, label in enumerate(("roses", "tulips")):
        if kind == "real":
            (folder / label).mkdir(parents=True)
            for path in sorted((SHARED_DATA / "flowers" / label).glob("*.jpg"))[:100]:
                (folder / label / path.name).symlink_to(path)
        else:
            for seed in range(100 * number, 100 * number + 100):
                put(tmp_path, label, f"{seed:03}.jpg", photo(seed))
    store = ImageStore(tmp_path / "state", images_max_mb=100, folder=folder)
    assert store.scan().skipped == []
    images = store.labeled()
    assert [image.label for image in images] == ["roses"] * 100 + ["tulips"] * 100
    assert len({image.group_id for image in images}) >= 198
    splits = Counter((image.label, image.split) for image in images)
    assert all(splits[label, "train"] > splits[label, "test"] > 0 for label in ("roses", "tulips"))
    store.close()


def test_a_label_that_somebody_found_right_is_so_until_it_is_another_one(store: ImageStore, tmp_path: Path) -> None:
    sha256 = store.add(photo(1), "roses")
    assert not store.labeled()[0].confirmed
    assert store.label(sha256, "roses", confirmed=True).confirmed
    store.add(photo(1), "roses")  # pushed again
    store.scan(settle_s=0)
    assert store.labeled()[0].confirmed
    assert not store.label(sha256, "tulips").confirmed
    assert not store.label(sha256, "roses").confirmed
    assert store.label(sha256, "tulips", confirmed=True).confirmed
    assert not store.label(sha256, "tulips", confirmed=False).confirmed
    store.label(sha256, "tulips", confirmed=True)
    path = store.get(sha256).path
    moved = tmp_path / "images" / "roses" / path.name
    path.rename(moved)  # by hand
    store.scan(settle_s=0)
    assert (store.get(sha256).label, store.labeled()[0].confirmed) == ("roses", False)


def test_an_index_of_the_version_before_keeps_what_it_has(tmp_path: Path) -> None:
    with closing(ImageStore(tmp_path, images_max_mb=10)) as store:
        store.add(photo(1), "roses")
        index = tmp_path / INDEX
    with closing(sqlite3.connect(index)) as database:
        database.execute("ALTER TABLE images DROP COLUMN confirmed")
        database.execute("PRAGMA user_version = 1")
        database.commit()
    with closing(ImageStore(tmp_path, images_max_mb=10)) as store:
        assert [(image.label, image.confirmed) for image in store.labeled()] == [("roses", False)]


class TestLinks:
    """What people link into the folders is read; nothing beyond the links is ever written or deleted."""

    def test_a_linked_file_is_an_image_and_only_the_link_moves(self, store: ImageStore, tmp_path: Path) -> None:
        outside = tmp_path / "elsewhere" / "rose.jpg"
        outside.parent.mkdir()
        outside.write_bytes(photo(1))
        os.utime(outside, (0, 0))
        before = outside.read_bytes(), outside.stat().st_mtime_ns, outside.stat().st_ino
        link = tmp_path / "images/roses/one.jpg"
        link.parent.mkdir()
        link.symlink_to("../../elsewhere/rose.jpg")
        assert store.scan().added == 1
        (image,) = store.labeled()
        assert store.read(store.get(image.id)) == before[0]
        for label in ("tulips", None, "roses"):
            moved = store.unlabel(image.id) if label is None else store.label(image.id, label)
            assert moved.path.is_symlink(), "the link has moved"
            assert moved.path.read_bytes() == before[0], "and leads to the same file"
            assert not [path for path in (tmp_path / "images").glob("*/*") if path != moved.path]
            assert store.scan().added == 0
        store.remove(image.id)
        assert not list((tmp_path / "images").glob("*/*"))
        assert (outside.read_bytes(), outside.stat().st_mtime_ns, outside.stat().st_ino) == before

    def test_a_link_to_nothing_is_not_overwritten_through(self, store: ImageStore, tmp_path: Path) -> None:
        image = store.get(store.add(photo(1), "roses"))
        target = tmp_path / "images/tulips" / image.path.name
        target.parent.mkdir()
        target.symlink_to(tmp_path / "never.jpg")
        assert store.label(image.id, "tulips").path.read_bytes() == photo(1)
        store.add(photo(1), "roses")
        assert not (tmp_path / "never.jpg").exists()

    def test_a_linked_label_folder_is_refused_at_every_door(self, store: ImageStore, tmp_path: Path) -> None:
        """Linked before the scan, and after it, where the index still knows the images that were there."""
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "0.jpg").write_bytes(photo(3))
        os.utime(outside / "0.jpg", (0, 0))
        (tmp_path / "images/linked").symlink_to(outside)
        (skipped,) = store.scan().skipped
        assert (skipped.file, "is a link; a label's folder must be a real one" in skipped.reason) == (
            "images/linked",
            True,
        )
        assert store.labeled() == []

        inside = store.get(store.add(photo(1), "roses"))
        with pytest.raises(StorageError, match=r"images/linked: is a link"):
            store.add(photo(2), "linked")
        with pytest.raises(StorageError, match=r"images/linked: is a link"):
            store.label(inside.id, "linked")

        (tmp_path / "images/roses").rename(tmp_path / "moved")
        (tmp_path / "images/roses").symlink_to(tmp_path / "moved")
        for door in (
            lambda: store.read(store.get(inside.id)),
            lambda: store.remove(inside.id),
            lambda: store.label(inside.id, "tulips"),
            lambda: store.unlabel(inside.id),
            lambda: store.add(photo(4), "roses"),
        ):
            with pytest.raises(StorageError, match=r"images/roses: is a link") as caught:
                door()
            assert "\n" not in str(caught.value)
        assert [path.name for path in (tmp_path / "moved").iterdir()] == [inside.path.name]
        assert [path.name for path in outside.iterdir()] == ["0.jpg"]
        store.scan()
        assert store.labeled() == []
        assert (tmp_path / "moved" / inside.path.name).read_bytes() == photo(1)

    def test_what_has_taken_an_images_place_is_not_handed_out(self, store: ImageStore, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("password")
        image = store.get(store.add(photo(1), "roses"))
        image.path.unlink()
        image.path.symlink_to(secret)
        with pytest.raises(CommandError, match="has changed"):
            store.read(image)
        image.path.unlink()
        with pytest.raises(CommandError, match="is gone"):
            store.read(image)

    def test_somebodys_own_folder_is_only_read_and_may_hold_links(self, tmp_path: Path) -> None:
        data = tmp_path / "data/roses"
        data.mkdir(parents=True)
        (data / "0.jpg").write_bytes(photo(1))
        os.utime(data / "0.jpg", (0, 0))
        (tmp_path / "album").mkdir()
        (tmp_path / "album/roses").symlink_to(data)
        theirs = open_images(tmp_path / "state", tmp_path / "album", 10)
        assert theirs.scan().added == 1
        theirs.close()


def test_a_folder_named_unknown_is_left_out_and_told(store: ImageStore, tmp_path: Path) -> None:
    put(tmp_path, "roses", "0.jpg", photo(0))
    by_hand = put(tmp_path, "Unknown", "1.jpg", photo(1))
    report = store.scan()
    assert [image.label for image in store.labeled()] == ["roses"]
    assert [(one.file, "choose another word" in one.reason) for one in report.skipped] == [("images/Unknown", True)]
    by_hand.parent.rename(tmp_path / "images/other")
    assert store.scan().added == 1
    assert [image.label for image in store.labeled()] == ["other", "roses"]
