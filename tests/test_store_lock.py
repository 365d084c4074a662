"""One writer at a time, and what a killed one has left."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from pathlib import Path

import pytest

from edged.errors import ModelError
from edged.store.lock import Lock, aside
from tests.pinned import Pins


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def lock(state: Path) -> Lock:
    return Lock(state, (state / "models", state / "versions"))


def may(state: Path, kind: int) -> bool:
    """Whether another one could take the lock now."""
    with (state / "store.lock").open("rb") as file:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def write(lock: Lock) -> None:
    with lock.writing():
        pass


def test_a_writer_is_alone_and_readers_are_together(lock: Lock, state: Path) -> None:
    with lock.writing():
        assert not may(state, fcntl.LOCK_SH)
        assert not may(state, fcntl.LOCK_EX)
    assert may(state, fcntl.LOCK_EX), "it is over"
    with lock.reading():
        assert may(state, fcntl.LOCK_SH)
        assert not may(state, fcntl.LOCK_EX)
    assert may(state, fcntl.LOCK_EX)
    with pytest.raises(KeyError), lock.writing():
        raise KeyError
    assert may(state, fcntl.LOCK_EX), "also where it ends with an error"


def test_the_first_writer_makes_the_folders_and_readers_make_nothing(lock: Lock, state: Path) -> None:
    with lock.reading():
        pass
    assert not state.exists()
    write(lock)
    assert sorted(path.name for path in state.iterdir()) == ["models", "store.lock", "versions"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_a_lock_of_another_user_is_waited_for_and_left_as_it_is(lock: Lock, state: Path) -> None:
    write(lock)
    (state / "store.lock").chmod(0o444)
    os.chown(state / "store.lock", 12345, 12345)
    before = (state / "store.lock").stat().st_mtime_ns
    with lock.writing():
        assert not may(state, fcntl.LOCK_SH)
    assert (state / "store.lock").stat().st_mtime_ns == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_a_state_folder_is_ours_or_another_user_s(lock: Lock, state: Path) -> None:
    assert not lock.is_ours(), "there is none"
    state.mkdir()
    assert lock.is_ours()
    os.chown(state, 12345, 12345)
    assert not lock.is_ours()


def test_a_state_folder_of_this_user_is_ours(lock: Lock, state: Path) -> None:
    state.mkdir()
    assert lock.is_ours()


@pytest.mark.parametrize("left", [".tmp.0", ".old.a", "models/.tmp.0", "versions/.old.a", "models/main/.tmp.0"])
def test_what_a_killed_writer_has_left_is_seen_and_cleared_by_the_next_one(lock: Lock, state: Path, left: str) -> None:
    write(lock)
    (state / "models" / "main").mkdir()
    assert not lock.interrupted()
    (state / left).parent.mkdir(parents=True, exist_ok=True)
    (state / left).mkdir()
    (state / left).with_name("a").mkdir()
    assert lock.interrupted()
    with lock.reading():
        assert (state / left).exists(), "who reads changes nothing"
    with lock.writing():
        assert not (state / left).exists(), "before its own change"
    assert not lock.interrupted()
    assert (state / left).with_name("a").is_dir()


def test_what_was_put_aside_comes_back_where_nothing_took_its_place(lock: Lock, state: Path) -> None:
    write(lock)
    for name, replaced in (("lost", False), ("done", True)):
        path = state / "models" / name
        old = aside(path)
        assert old.parent == path.parent
        old.mkdir()
        (old / "old").write_text("")
        if replaced:
            path.mkdir()
    write(lock)
    assert sorted(path.name for path in (state / "models").iterdir()) == ["done", "lost"]
    assert (state / "models" / "lost" / "old").exists()
    assert not (state / "models" / "done" / "old").exists()


def test_a_hidden_folder_is_no_bundle(lock: Lock, state: Path) -> None:
    write(lock)
    (state / "models" / ".git" / ".tmp.0").mkdir(parents=True)
    assert not lock.interrupted()


def test_what_cannot_be_moved_back_is_told_and_the_change_goes_on(
    lock: Lock, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(lock)
    (state / "models" / ".old.main").mkdir()
    (state / "versions" / ".tmp.0").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "rename", refuse)
    with caplog.at_level(logging.WARNING):
        write(lock)
    assert ".old.main stays: it cannot be moved: Operation not permitted" in caplog.text
    assert not (state / "versions" / ".tmp.0").exists()


def test_what_cannot_be_deleted_keeps_nobody_from_writing(lock: Lock, state: Path, pins: Pins) -> None:
    write(lock)
    left = state / "models" / ".tmp.0"
    left.mkdir()
    (left / "file").write_text("")
    pins.pin(left / "file")
    done = False
    with lock.writing():
        done = True
    assert done
    assert lock.interrupted()


def test_a_failed_change_is_one_line_that_names_the_place(lock: Lock, state: Path) -> None:
    with (
        pytest.raises(ModelError, match=rf"{state}: the model store cannot be changed: Is a directory"),
        lock.writing(),
    ):
        state.write_text("")
    with pytest.raises(ModelError, match=rf"{state}: the model store cannot be changed: No space"), lock.writing():
        raise OSError(errno.ENOSPC, "No space left on device")
