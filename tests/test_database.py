"""Opening SQLite files: what is kept, and what is set aside."""

from __future__ import annotations

import errno
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edged import damage
from edged.database import DatabaseFile, cannot_keep, has_room, is_damage, is_full, why_full
from edged.errors import StorageError


def prepare(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS words (word TEXT NOT NULL)")
    connection.execute("SELECT count(*), total(length(word)) FROM words").fetchone()


def words(connection: sqlite3.Connection) -> list[str]:
    return [word for (word,) in connection.execute("SELECT word FROM words ORDER BY rowid")]


def fill(path: Path, count: int = 2000) -> None:
    connection = DatabaseFile(path, prepare).open_or_renew()
    with connection:
        connection.executemany("INSERT INTO words VALUES (?)", [("x" * 300,)] * count)
    connection.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.sqlite"


@pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1)])
def test_a_good_file_is_kept_and_opened_as_asked(path: Path, synchronous: str, number: int) -> None:
    fill(path, 3)
    connection = DatabaseFile(path, prepare, synchronous=synchronous, shrinks=True).open_or_renew()  # type: ignore[arg-type]  # parametrized
    assert len(words(connection)) == 3
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (number,)
    connection.close()
    assert not path.with_name("words.sqlite.corrupt").exists()


def test_a_file_that_shrinks_gives_its_pages_back(path: Path) -> None:
    connection = DatabaseFile(path, prepare, shrinks=True).open_or_renew()
    with connection:
        connection.executemany("INSERT INTO words VALUES (?)", [("x" * 300,)] * 2000)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    with connection:
        connection.execute("DELETE FROM words")
    connection.executescript("PRAGMA incremental_vacuum")  # execute would stop after the first page
    assert connection.execute("PRAGMA page_count").fetchone()[0] < pages / 10
    connection.close()


@pytest.mark.parametrize("transactions", [True, False])
def test_changes_wait_for_a_commit_or_stand_at_once(path: Path, transactions: bool) -> None:
    connection = DatabaseFile(path, prepare, transactions=transactions).open_or_renew()
    connection.execute("INSERT INTO words VALUES ('one')")
    assert connection.in_transaction is transactions
    connection.close()
    again = DatabaseFile(path, prepare).open_or_renew()
    assert words(again) == ([] if transactions else ["one"])
    again.close()


def test_damage_is_set_aside_and_said_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(path)
    path.with_name("words.sqlite.corrupt").write_bytes(b"of an earlier damage")
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 200_000)
    damaged = path.read_bytes()
    connection = DatabaseFile(path, prepare, renewed="made anew from elsewhere").open_or_renew()
    assert words(connection) == []
    with connection:
        connection.execute("INSERT INTO words VALUES ('new')")
    connection.close()
    assert path.with_name("words.sqlite.corrupt").read_bytes() == damaged
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert str(path) in record.getMessage()
    assert record.getMessage().endswith("set aside as words.sqlite.corrupt and made anew from elsewhere")
    again = DatabaseFile(path, prepare).open_or_renew()
    assert words(again) == ["new"]
    again.close()


@pytest.mark.parametrize(
    "change", ["UPDATE words SET word = CAST(x'ff' AS TEXT)", "ALTER TABLE words RENAME COLUMN word TO w0rd"]
)
def test_text_that_is_none_and_tables_that_are_others_are_damage(path: Path, change: str) -> None:
    fill(path, 3)
    connection = sqlite3.connect(path)
    connection.execute(change)
    connection.commit()
    with pytest.raises(sqlite3.OperationalError) as caught:
        words(connection)
    assert is_damage(caught.value)
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed") as caught_later:
        words(connection)
    assert not is_damage(caught_later.value)


@pytest.mark.parametrize("name", ["words.sqlite", "words.sqlite-wal", "words.sqlite-shm"])
def test_a_folder_in_a_file_s_place_is_set_aside_with_what_is_in_it(
    path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = path.with_name(name)
    for text in ("first", "second"):
        folder.mkdir()
        (folder / "inside").write_text(text)
        connection = DatabaseFile(path, prepare).open_or_renew()
        assert words(connection) == []
        connection.close()
        path.unlink()
    assert path.with_name(f"{name}.corrupt").joinpath("inside").read_text() == "first"
    assert path.with_name(f"{name}.corrupt-2").joinpath("inside").read_text() == "second"
    told = [
        f"{folder}: unusable (no file, where one belongs); set aside as {name}.corrupt{number} and begun anew"
        for number in ("", "-2")
    ]
    assert caplog.messages == list(damage.told()[-2:]) == told


def test_damage_is_set_aside_where_a_folder_has_taken_the_name_for_it(path: Path) -> None:
    path.with_name("words.sqlite.corrupt").mkdir()
    path.write_bytes(b"noise" * 1000)
    connection = DatabaseFile(path, prepare).open_or_renew()
    assert words(connection) == []
    connection.close()
    assert path.with_name("words.sqlite.corrupt-2").read_bytes() == b"noise" * 1000


def test_a_locked_file_and_one_that_cannot_be_opened_are_left_alone(path: Path, tmp_path: Path) -> None:
    fill(path, 1)
    before = path.read_bytes()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
        DatabaseFile(path, prepare, busy_s=0.1).open_or_renew()
    assert not is_damage(caught.value)
    holder.execute("ROLLBACK")
    holder.close()
    assert path.read_bytes() == before
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        DatabaseFile(tmp_path / "nowhere" / "words.sqlite", prepare).open_or_renew()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["words.sqlite"]


def test_what_preparing_raises_closes_the_file_and_is_passed_on(path: Path) -> None:
    opened: list[sqlite3.Connection] = []

    def refuse(connection: sqlite3.Connection) -> None:
        opened.append(connection)
        raise StorageError("made by a newer edged")

    with pytest.raises(StorageError, match="newer"):
        DatabaseFile(path, refuse).open_or_renew()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_what_cannot_be_kept_asks_for_another_folder() -> None:
    path = Path("/var/lib/edged/outbox.sqlite")
    for error, reason in (
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (sqlite3.OperationalError("unable to open database file"), "unable to open database file"),
    ):
        told = cannot_keep("the outbox", path, error)
        assert str(told) == f"storage.state_dir: cannot keep the outbox in {path}: {reason}"


def test_a_full_disk_does_not_sound_like_a_broken_one() -> None:
    assert why_full(sqlite3.OperationalError("disk I/O error")) == "database or disk is full"
    assert why_full(OSError(errno.ENOSPC, "No space left on device")) == "[Errno 28] No space left on device"


def test_a_full_disk_is_told_from_other_trouble(tmp_path: Path) -> None:
    assert is_full(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert is_full(OSError(errno.EDQUOT, "Disk quota exceeded"), tmp_path)
    assert is_full(sqlite3.OperationalError("database or disk is full"), tmp_path)
    assert not is_full(PermissionError(errno.EACCES, "Permission denied"), tmp_path)
    assert not is_full(sqlite3.OperationalError("disk I/O error"), tmp_path)  # this folder takes a file
    assert list(tmp_path.iterdir()) == []
    assert has_room(tmp_path)
    assert has_room(tmp_path / "not" / "there" / "yet")


def test_in_memory_nothing_of_the_file_is_there_and_nothing_gets_into_it(path: Path) -> None:
    fill(path, 3)
    file = DatabaseFile(path, prepare)
    memory = file.open_in_memory()
    assert words(memory) == []
    with memory:
        memory.execute("INSERT INTO words VALUES ('new')")
    memory.close()
    connection = file.open_or_renew()
    assert len(words(connection)) == 3
    connection.close()


def test_a_disk_has_room_from_a_megabyte_on(small_disk: Callable[[str], Path]) -> None:
    place = small_disk("3m")
    (place / "fill").write_bytes(bytes(2**20))
    assert has_room(place)
    assert has_room(place / "not" / "there" / "yet")
    (place / "fill").write_bytes(bytes(2**21 + 4096))
    assert not has_room(place)
    assert not has_room(place / "not" / "there" / "yet")
