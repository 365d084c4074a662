"""The index by itself: transactions, and what it remembers between them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edged.errors import StorageError
from edged.images.image import Kept, look_at
from edged.images.index import ImageIndex
from edged.images.layout import Layout
from tests.photos import photo


@pytest.fixture
def index(tmp_path: Path) -> Iterator[ImageIndex]:
    opened = ImageIndex(tmp_path / "images.sqlite", Layout(tmp_path / "images", tmp_path / "frames"))
    yield opened
    opened.close()


def enter(index: ImageIndex, seed: int, *, brighter: int = 0) -> str:
    looked = look_at(photo(seed, brighter=brighter))
    index.enter(looked, path=f"images/roses/{looked.id}.jpg", label="roses", by="push")
    return looked.sha256


def remember_many(index: ImageIndex) -> None:
    with index.transaction():
        for number in range(2000):
            index.remember_file(f"images/roses/{number:0200}.jpg", (1, 2), None, "cut off")


def test_a_transaction_that_fails_leaves_nothing(index: ImageIndex) -> None:
    first = enter(index, 0)
    with suppress(RuntimeError), index.transaction():
        enter(index, 1)
        index.remember_file("images/roses/x.jpg", (1, 2), first)
        index.delete([first])
        raise RuntimeError
    assert list(index.paths()) == [first]
    assert index.files() == {}


def test_groups_are_right_after_a_transaction_that_failed(index: ImageIndex) -> None:
    with suppress(RuntimeError), index.transaction():
        enter(index, 1)
        enter(index, 2)  # has seen the row before it, whose number the next image gets
        raise RuntimeError
    enter(index, 3)
    enter(index, 3, brighter=3)
    assert len(index.labeled()) == 2
    assert len({image.group_id for image in index.labeled()}) == 1


def test_an_image_that_loses_its_label_has_nobody_who_gave_it(index: ImageIndex) -> None:
    sha256 = enter(index, 1)
    (before,) = index.beginning_with(sha256)
    assert (before.labeled_by, before.labeled_at is None) == ("push", False)
    index.place(sha256, path="images/tulips/a.jpg", label="roses", by="file")
    (moved,) = index.beginning_with(sha256)
    assert (moved.labeled_by, moved.labeled_at) == ("push", before.labeled_at)  # the label is the same
    index.place(sha256, path="frames/a.jpg", label=None, by="file")
    (frame,) = index.beginning_with(sha256)
    assert (frame.label, frame.labeled_by, frame.labeled_at) == (None, None, None)


def test_another_process_s_images_count_for_groups(index: ImageIndex, tmp_path: Path) -> None:
    other = ImageIndex(tmp_path / "images.sqlite", Layout(tmp_path / "images", tmp_path / "frames"))
    first = enter(other, 5)
    other.close()
    assert index.group_of(look_at(photo(5, brighter=4))) == first
    assert index.group_of(look_at(photo(6))) == look_at(photo(6)).sha256


def test_what_sqlite_says_is_a_storage_error_that_names_the_file(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "images", tmp_path / "frames")
    with pytest.raises(StorageError, match=r"nowhere/images\.sqlite: cannot be opened: unable to open"):
        ImageIndex(tmp_path / "nowhere" / "images.sqlite", layout)
    path = tmp_path / "images.sqlite"
    index = ImageIndex(path, layout)
    database = sqlite3.connect(path)
    database.execute("DROP TABLE embeddings")
    database.close()
    with pytest.raises(StorageError, match=r"images\.sqlite: no such table: embeddings"):
        index.embedded("b" * 64, "crop=1")
    index.close()


def test_sizes_and_the_oldest(index: ImageIndex) -> None:
    labeled = look_at(photo(1))
    frames = [look_at(photo(seed)) for seed in (2, 3)]
    for one in frames:
        index.enter(one, path=f"frames/{one.id}.jpg", label=None, by=None, kept=Kept("random"))
    index.enter(labeled, path="images/roses/a.jpg", label="roses", by="push")
    assert index.sizes() == (labeled.bytes + sum(one.bytes for one in frames), labeled.bytes)
    assert [row[0] for row in index.oldest_unlabeled()] == [one.sha256 for one in frames]


def test_on_a_full_disk_it_goes_on_in_memory_and_back(index: ImageIndex) -> None:
    first = enter(index, 1)
    index._database.execute("PRAGMA max_page_count = 1")  # SQLite's own way to say "database or disk is full"
    with pytest.raises(StorageError, match="full"):
        remember_many(index)
    assert "full" in str(index.trouble)
    assert list(index.paths()) == [first]
    assert index.files() == {}
    second = enter(index, 2)
    assert set(index.paths()) == {first, second}
    assert enter(index, 3)
    assert index.reopen()
    assert index.trouble is None
    assert list(index.paths()) == [first]
    alike = [enter(index, 4), enter(index, 4, brighter=3)]  # their numbers are those of the two that are lost
    assert len({image.group_id for image in index.labeled() if image.sha256 in alike}) == 1
    assert not index.reopen()
