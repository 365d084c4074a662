"""Whose the state folder is: nobody else's to look into."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import pytest

from edged import instance
from edged.errors import ConfigError
from edged.instance import claim, make_private


def open_to_others(folder: Path) -> dict[str, str]:
    """Path → mode of what others may look at; links have no modes of their own."""
    found = [folder, *folder.rglob("*")]
    modes = {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in found if not path.is_symlink()
    }
    return {name: oct(mode) for name, mode in modes.items() if mode & 0o077}


@pytest.fixture(autouse=True)
def _usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_a_new_folder_is_private(tmp_path: Path) -> None:
    claim(tmp_path / "new" / "state")()
    assert open_to_others(tmp_path / "new" / "state") == {}
    make_private(tmp_path / "other")
    assert open_to_others(tmp_path / "other") == {}


def test_a_folder_in_the_lock_s_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "daemon.lock").mkdir()
    with pytest.raises(ConfigError, match=r"daemon\.lock: is a folder, where edged keeps a file; remove it$"):
        claim(tmp_path)


def test_what_is_open_is_closed_once_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"somebody else's")
    state = tmp_path / "state"
    (state / "images/roses").mkdir(parents=True)
    (state / "images/roses/1.jpg").write_bytes(b"a rose")
    (state / "images/roses/2.jpg").symlink_to(outside)
    (state / "script").write_text("#!/bin/sh")
    (state / "script").chmod(0o755)
    claim(state)()
    assert open_to_others(state) == {}
    assert stat.S_IMODE((state / "script").stat().st_mode) == 0o700
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644, "what a link leads to stays as it is"
    assert "other users may no longer look into it (5 files and folders)" in caplog.text
    caplog.clear()
    claim(state)()
    assert caplog.text == ""


def test_a_folder_that_is_not_edgeds_alone_stays_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sticky, home, shared = tmp_path / "tmp", tmp_path / "home/me", tmp_path / "lib"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(instance, "_SHARED", frozenset([shared]))
    for folder in (sticky, home, shared):
        folder.mkdir(parents=True)
    sticky.chmod(0o1777)
    for folder, mode in ((sticky, 0o1777), (home, 0o755), (home.parent, 0o755), (shared, 0o755)):
        caplog.clear()
        claim(folder)()
        assert stat.S_IMODE(folder.stat().st_mode) == mode
        assert "choose a folder of its own" in caplog.text
