"""Changes to files that are done or not done: what is flushed when, what stands after a failure, what is deleted."""

from __future__ import annotations

import logging
import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.store import durable
from tests.pinned import Pins


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is flushed and renamed, by name, in order; temporary names as "draft"."""
    taken: list[tuple[str, str]] = []
    fsync, rename, replace = os.fsync, os.rename, os.replace

    def name(path: str) -> str:
        return "draft" if Path(path).name.startswith(durable.TEMPORARY) else Path(path).name

    def recorded_fsync(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        assert status.st_size > 0 or not stat.S_ISREG(status.st_mode), "there is something to flush"
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        draft = path.parent.name.startswith(durable.TEMPORARY)
        taken.append(("flush", f"draft/{path.name}" if draft else name(str(path))))

    def recorded(change: Callable[[str, str], None]) -> Callable[[str, str], None]:
        def changed(source: str, target: str) -> None:
            change(source, target)
            taken.append(("rename", f"{name(source)} → {name(target)}"))

        return changed

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "rename", recorded(rename))
    monkeypatch.setattr(os, "replace", recorded(replace))
    return taken


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_it_is_done(
    folder: Path, steps: list[tuple[str, str]]
) -> None:
    durable.write_file(folder / "one", b"1")
    assert steps == [("flush", "draft"), ("rename", "draft → one"), ("flush", "folder")]
    durable.write_file(folder / "one", b"2")
    assert ((folder / "one").read_bytes(), names(folder)) == (b"2", ["one"])


def test_a_folder_is_on_the_disk_with_all_its_files_before_its_name(folder: Path, steps: list[tuple[str, str]]) -> None:
    durable.write_folder(folder / "one", {"a": b"1", "b": b"2"})
    assert steps == [
        ("flush", "draft/a"),
        ("flush", "draft/b"),
        ("flush", "draft"),
        ("rename", "draft → one"),
        ("flush", "folder"),
    ]
    assert {path.name: path.read_bytes() for path in (folder / "one").iterdir()} == {"a": b"1", "b": b"2"}
    assert names(folder) == ["one"]


def test_a_folder_takes_the_place_of_another_which_is_gone_then(folder: Path, steps: list[tuple[str, str]]) -> None:
    aside = folder / ".old.one"
    durable.write_folder(folder / "one", {"a": b"1"}, aside=aside)
    assert names(folder) == ["one"], "there was none"
    steps.clear()
    durable.write_folder(folder / "one", {"b": b"2"}, aside=aside)
    assert steps[2:4] == [("rename", "one → .old.one"), ("rename", "draft → one")]
    assert steps[-1] == ("flush", "folder")
    assert (names(folder), names(folder / "one")) == (["one"], ["b"])


def test_a_link_has_its_name_on_the_disk_when_it_is_done(folder: Path, steps: list[tuple[str, str]]) -> None:
    durable.link(folder / "current", "versions/a")
    assert steps == [("rename", "draft → current"), ("flush", "folder")]
    durable.link(folder / "current", "versions/b")
    assert ((folder / "current").readlink(), names(folder)) == (Path("versions/b"), ["current"])


def test_a_removed_folder_loses_its_name_first_and_that_is_on_the_disk(
    folder: Path, steps: list[tuple[str, str]]
) -> None:
    (folder / "one" / "deep").mkdir(parents=True)
    (folder / "one" / "deep" / "file").write_text("")
    durable.remove_folder(folder / "one")
    assert steps == [("rename", "one → draft"), ("flush", "folder")]
    assert names(folder) == []


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(folder: Path) -> None:
    (folder / "file").write_bytes(b"old")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            durable.write_file(folder / "file", b"new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    with pytest.raises(OSError, match="File name too long"):
        durable.link(folder / "file", "elsewhere" * 1000)
    assert (folder / "file").read_bytes() == b"old"
    durable.write_folder(folder / "one", {"a": b"1"})
    for aside in (None, folder / ".old.one"):
        with pytest.raises(FileNotFoundError):
            durable.write_folder(folder / "one", {"a": b"2", "no/such/folder": b""}, aside=aside)
        assert (folder / "one" / "a").read_bytes() == b"1"
    assert names(folder) == ["file", "one"]


def test_a_folder_where_a_file_belongs_is_set_aside(folder: Path) -> None:
    for name in ("file", "link", "gone"):
        (folder / name / "deep").mkdir(parents=True)
    durable.write_file(folder / "file", b"new")
    durable.link(folder / "link", "elsewhere")
    durable.remove_file(folder / "gone")
    durable.remove_file(folder / "gone")
    assert (folder / "file").read_bytes() == b"new"
    assert (folder / "link").readlink() == Path("elsewhere")
    assert names(folder) == ["file", "file.corrupt", "gone.corrupt", "link", "link.corrupt"]
    assert all((folder / f"{name}.corrupt" / "deep").is_dir() for name in ("file", "link", "gone"))


def test_a_replacement_whose_last_step_fails_puts_the_old_one_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable.write_folder(folder / "one", {"a": b"1"})
    rename = os.rename

    def fails_for_the_new(source: Path, target: Path) -> None:
        if Path(source).name.startswith(durable.TEMPORARY) and Path(target).name == "one":
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="Input/output"):
        durable.write_folder(folder / "one", {"a": b"2"}, aside=folder / ".old.one")
    assert (folder / "one" / "a").read_bytes() == b"1"
    assert names(folder) == ["one"]


def test_a_file_of_the_draft_s_name_is_never_written_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secrets.token_hex", lambda count: "0" * 2 * count)
    draft = durable.temporary(folder)
    draft.write_bytes(b"of somebody else")
    with pytest.raises(FileExistsError):
        durable.write_file(folder / "one", b"1")
    assert not (folder / "one").exists()


def test_an_interrupted_replacement_ends_with_one_of_the_two(folder: Path) -> None:
    path, aside = folder / "one", folder / ".old.one"
    durable.restore(path, aside)
    assert names(folder) == []
    aside.mkdir()
    (aside / "old").write_text("")
    durable.restore(path, aside)
    assert (names(folder), names(path)) == (["one"], ["old"])
    aside.mkdir()
    durable.restore(path, aside)
    assert (names(folder), names(path)) == (["one"], ["old"])


def test_temporary_names_are_found_again_and_never_the_same(folder: Path) -> None:
    made = [durable.temporary(folder, ".part") for _ in range(50)]
    assert len(set(made)) == 50
    assert all(path.parent == folder and path.name.endswith(".part") for path in made)
    for path in made:
        path.write_text("")
    (folder / "kept").write_text("")
    assert durable.leftovers(folder) == sorted(made)
    durable.clear(folder)
    assert names(folder) == ["kept"]
    assert durable.leftovers(folder / "none") == []


def test_whatever_it_is_it_can_be_deleted(folder: Path) -> None:
    (folder / "file").write_text("")
    (folder / "full" / "deep").mkdir(parents=True)
    (folder / "full" / "deep" / "file").write_text("")
    (folder / "kept").mkdir()
    (folder / "kept" / "file").write_text("")
    (folder / "link").symlink_to("kept")
    for name in ("file", "full", "link", "nothing"):
        assert durable.delete(folder / name)
    assert names(folder) == ["kept"]
    assert names(folder / "kept") == ["file"], "a link is not what it points to"


def test_what_cannot_be_deleted_is_told_once_until_it_is_gone(
    folder: Path, pins: Pins, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "stays").mkdir()
    (folder / "stays" / "file").write_text("")
    pins.pin(folder / "stays" / "file")
    with caplog.at_level(logging.WARNING):
        assert not durable.delete(folder / "stays")
        assert not durable.delete(folder / "stays")
        assert caplog.text.count("stays: it cannot be deleted") == 1
        pins.let_go()
        assert durable.delete(folder / "stays")
        (folder / "stays").mkdir()
        (folder / "stays" / "file").write_text("")
        pins.pin(folder / "stays" / "file")
        assert not durable.delete(folder / "stays")
    assert caplog.text.count("stays: it cannot be deleted") == 2


def test_nothing_stays_open(folder: Path) -> None:
    before = names(Path("/proc/self/fd"))
    for number in range(3):
        durable.write_file(folder / "one", b"%d" % number)
        durable.write_folder(folder / "two", {"a": b"%d" % number}, aside=folder / ".old.two")
        durable.link(folder / "three", "one")
    durable.remove_folder(folder / "two")
    assert len(names(Path("/proc/self/fd"))) == len(before)
