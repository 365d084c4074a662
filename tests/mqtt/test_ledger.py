"""The ledger: what makes a command run once, what survives a restart, what a full disk changes, what is forgotten."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edged.contract.messages import Ack, Job
from edged.errors import ConfigError
from edged.mqtt.ledger import Accepted, Answer, Ledger
from tests.full_disk import fill_up
from tests.mqtt.clock import Clock, set_clock

# What is promised; written down here too, so that it is not changed by a slip.
KEEP_S, PROGRESS_S = 30 * 86400.0, 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "er" / "commands.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    made = Ledger(path)
    yield made
    made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch, "ledger")


def record(ledger: Ledger, id_: str, status: Any, payload: bytes, cmd: str = "retrain") -> None:
    ledger.record(Job(id=id_, cmd=cmd, status=status), payload)


def on_disk(path: Path, column: str = "job") -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute(f"SELECT id, {column} FROM command").fetchall())


def test_the_first_answer_to_an_id_stands(ledger: Ledger) -> None:
    assert ledger.answer("a") is None
    ledger.accept("a", "retrain", b"first")
    ledger.accept("a", "snapshot", b"second")
    assert ledger.answer("a") == Answer("retrain", b"first", None)
    assert [one.id for one in ledger.unfinished()] == ["a"]


def test_what_is_done_with_its_ack_is_not_unfinished(ledger: Ledger) -> None:
    ledger.accept("a", "set", b"ack", finished=True)
    ledger.accept("b", "retrain", b"ack")
    assert [(one.id, one.name, one.job) for one in ledger.unfinished()] == [("b", "retrain", None)]


@pytest.mark.parametrize("status", ["succeeded", "rejected", "failed", "cancelled"])
def test_a_job_that_has_ended_is_not_unfinished(ledger: Ledger, status: str) -> None:
    ledger.accept("a", "retrain", b"ack")
    record(ledger, "a", "running", b"half")
    assert [one.job for one in ledger.unfinished()] == [b"half"]
    record(ledger, "a", status, b"end")
    assert ledger.unfinished() == []
    assert ledger.answer("a") == Answer("retrain", b"ack", b"end")


def test_unfinished_commands_come_as_they_were_received(ledger: Ledger, clock: Clock) -> None:
    for id_ in ("c", "a", "b"):
        ledger.accept(id_, "retrain", b"ack")
        clock.pass_s(1)
    record(ledger, "c", "running", b"progress")
    assert [one.id for one in ledger.unfinished()] == ["c", "a", "b"]


def test_a_job_that_no_command_asked_for_is_kept(ledger: Ledger) -> None:
    record(ledger, "own", "running", b"half", cmd="recalibrate")
    assert ledger.answer("own") == Answer("recalibrate", None, b"half")
    assert [one.name for one in ledger.unfinished()] == ["recalibrate"]


def test_progress_is_answered_at_once_and_written_now_and_then(ledger: Ledger, path: Path, clock: Clock) -> None:
    ledger.accept("a", "retrain", b"ack")
    record(ledger, "a", "running", b"0 %")
    assert on_disk(path)["a"] == b"0 %"
    clock.pass_s(PROGRESS_S / 2)
    record(ledger, "a", "running", b"1 %")
    clock.pass_s(PROGRESS_S / 2 - 1)
    record(ledger, "a", "running", b"2 %")
    assert on_disk(path)["a"] == b"0 %"
    assert ledger.answer("a") == Answer("retrain", b"ack", b"2 %")
    assert ledger.jobs({"retrain"}, 5) == [b"2 %"]
    clock.pass_s(1)
    record(ledger, "a", "running", b"3 %")
    assert on_disk(path)["a"] == b"3 %"
    clock.pass_s(-3 * PROGRESS_S)
    record(ledger, "a", "running", b"4 %")
    assert on_disk(path)["a"] == b"4 %", "a clock that was set back keeps nothing from the disk"


def test_a_change_of_status_is_written_at_once(ledger: Ledger, path: Path, clock: Clock) -> None:
    record(ledger, "a", "queued", b"queued")
    record(ledger, "a", "running", b"running")
    assert on_disk(path)["a"] == b"running"
    record(ledger, "b", "running", b"another")
    assert on_disk(path)["b"] == b"another"
    record(ledger, "a", "running", b"more")
    record(ledger, "a", "succeeded", b"end")
    assert on_disk(path)["a"] == b"end"
    assert set(ledger.jobs({"retrain"}, 5)) == {b"end", b"another"}, "not the progress before it"


def test_closing_writes_the_last_progress(path: Path) -> None:
    ledger = Ledger(path)
    for id_ in ("a", "b"):
        record(ledger, id_, "running", b"0 %")
    record(ledger, "a", "running", b"1 %")
    ledger.close()
    assert on_disk(path) == {"a": b"1 %", "b": b"0 %"}


def test_the_last_job_is_the_one_that_changed_last_among_these_commands(ledger: Ledger, clock: Clock) -> None:
    assert ledger.last_job({"retrain"}) is None
    for id_, cmd in (("a", "retrain"), ("b", "retrain"), ("c", "snapshot")):
        ledger.accept(id_, cmd, b"ack")
        record(ledger, id_, "running", id_.encode(), cmd=cmd)
        clock.pass_s(1)
    ledger.accept("d", "retrain", b"no job yet")
    assert ledger.last_job({"retrain"}) == b"b"
    assert ledger.last_job({"retrain", "snapshot"}) == b"c"
    record(ledger, "a", "succeeded", b"a again")
    assert ledger.last_job({"retrain"}) == b"a again"


def test_of_jobs_of_one_moment_the_later_one_is_the_newer(ledger: Ledger, clock: Clock) -> None:
    for id_ in ("z", "a", "m"):
        record(ledger, id_, "succeeded", id_.encode())
    assert ledger.last_job({"retrain"}) == b"m"
    assert ledger.jobs({"retrain"}, 9) == [b"m", b"a", b"z"]


def test_jobs_are_listed_newest_first_by_name_and_beginning(ledger: Ledger, clock: Clock) -> None:
    for id_, cmd in (("x-1", "retrain"), ("y-2", "retrain"), ("x-3", "snapshot"), ("x-4", "retrain")):
        record(ledger, id_, "succeeded", id_.encode(), cmd=cmd)
        clock.pass_s(1)
    ledger.accept("x-5", "retrain", b"no job yet")
    assert ledger.jobs({"retrain"}, 10) == [b"x-4", b"y-2", b"x-1"]
    assert ledger.jobs({"retrain"}, 2) == [b"x-4", b"y-2"]
    assert ledger.jobs({"retrain", "snapshot"}, 10, "x-") == [b"x-4", b"x-3", b"x-1"]
    assert ledger.jobs({"retrain"}, 10, "x_") == []
    assert ledger.jobs({"status"}, 10) == []


def test_what_has_ended_is_forgotten_after_a_month_and_what_has_not_is_not(path: Path, clock: Clock) -> None:
    ledger = Ledger(path)
    for id_ in ("done", "open"):
        ledger.accept(id_, "retrain", b"ack")
    record(ledger, "done", "succeeded", b"end")
    ledger.close()
    clock.pass_s(KEEP_S)
    ledger = Ledger(path)
    assert set(on_disk(path)) == {"done", "open"}
    ledger.close()
    clock.pass_s(1)
    ledger = Ledger(path)
    assert ledger.answer("done") is None
    assert [one.id for one in ledger.unfinished()] == ["open"]
    ledger.close()


def test_only_the_newest_commands_are_kept_at_the_start_and_those_of_the_last_hour(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.mqtt.ledger.KEEP_ROWS", 3)
    ledger = Ledger(path)
    for id_ in "edcba":
        ledger.accept(id_, "status", b"ack", finished=True)
    ledger.close()
    clock.pass_s(3599)
    ledger = Ledger(path)
    assert len(on_disk(path)) == 5
    ledger.close()
    clock.pass_s(1)
    ledger = Ledger(path)
    assert set(on_disk(path)) == {"a", "b", "c"}
    ledger.close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"storage\.state_dir: cannot keep the commands"):
        Ledger(tmp_path / "file" / "commands.sqlite")


def test_a_disk_that_fails_is_not_a_full_one_and_the_command_must_not_run(ledger: Ledger, path: Path) -> None:
    ledger._database.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ledger.accept("a", "retrain", b"ack")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            record(ledger, "b", "running", b"half")
        assert ledger.trouble is None
        holder.execute("ROLLBACK")
    assert ledger.answer("a") is None
    assert ledger.answer("b") is None


def test_on_a_disk_that_fills_up_it_goes_on_with_all_that_it_knows(ledger: Ledger, path: Path) -> None:
    ledger.accept("a", "retrain", b"ack")
    ledger._database.execute("PRAGMA max_page_count = 1")
    ledger.accept("b", "retrain", b"x" * 20_000)
    assert ledger.trouble == "database or disk is full"
    record(ledger, "a", "succeeded", b"end")
    assert ledger.answer("a") == Answer("retrain", b"ack", b"end")
    assert ledger.answer("b") == Answer("retrain", b"x" * 20_000, None)
    assert on_disk(path) == {"a": None}
    ledger.retry()
    assert ledger.trouble is None
    assert on_disk(path) == {"a": b"end", "b": None}
    assert on_disk(path, "finished") == {"a": 1, "b": 0}
    ledger.accept("c", "retrain", b"ack")
    assert set(on_disk(path)) == {"a", "b", "c"}


def test_on_a_disk_that_is_full_at_the_start_it_goes_back_when_there_is_room(small_disk: Any) -> None:
    place = small_disk("4m")
    path = place / "state" / "commands.sqlite"
    earlier = Ledger(path)
    earlier.accept("earlier", "retrain", b"ack")
    earlier.close()
    fill_up(place / "fill")
    ledger = Ledger(path)
    assert ledger.trouble is not None
    assert "full" in ledger.trouble
    ledger.accept("now", "retrain", b"ack", finished=True)
    ledger.retry()
    assert ledger.trouble is not None, "there is no room"
    (place / "fill").unlink()
    ledger.retry()
    assert ledger.trouble is None
    assert set(on_disk(path)) == {"earlier", "now"}
    assert [one.id for one in ledger.unfinished()] == ["earlier"]
    ledger.close()


def test_closing_takes_it_back_to_a_disk_that_has_room(path: Path) -> None:
    ledger = Ledger(path)
    ledger._database.execute("PRAGMA max_page_count = 1")
    record(ledger, "a", "running", b"x" * 20_000)
    record(ledger, "a", "running", b"newer")
    ledger.close()
    assert on_disk(path) == {"a": b"newer"}


def open_files(folder: Path) -> list[str]:
    """What this process holds open below a folder."""
    held = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:  # the one that this loop reads
            continue
        if target.startswith(str(folder)):
            held.append(target)
    return held


def test_a_ledger_that_is_closed_or_in_memory_holds_no_file(path: Path) -> None:
    ledger = Ledger(path)
    assert open_files(path.parent)
    ledger._database.execute("PRAGMA max_page_count = 1")
    record(ledger, "a", "running", b"x" * 20_000)
    assert ledger.trouble is not None
    assert open_files(path.parent) == []
    ledger.retry()
    assert open_files(path.parent)
    ledger.close()
    assert open_files(path.parent) == []


def test_a_ledger_on_disk_has_nothing_to_go_back_to(ledger: Ledger, path: Path) -> None:
    path.rename(path.with_name("moved"))
    ledger.retry()
    assert not path.exists()


def test_a_folder_that_is_gone_meanwhile_is_made_again(path: Path) -> None:
    ledger = Ledger(path)
    ledger._database.execute("PRAGMA max_page_count = 1")
    record(ledger, "a", "succeeded", b"x" * 20_000)
    shutil.rmtree(path.parent.parent)
    ledger.retry()
    assert ledger.trouble is None
    assert set(on_disk(path)) == {"a"}
    ledger.close()


@pytest.mark.parametrize("column", ["name", "id"])
def test_text_that_is_none_costs_the_file_and_no_answer(path: Path, column: str) -> None:
    ledger = Ledger(path)
    ledger.accept("a", "retrain", b"ack")
    record(ledger, "a", "running", b"job")
    ledger.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE command SET {column} = CAST(x'ff' AS TEXT)")
    ledger = Ledger(path)
    assert ledger.answer("a") is None
    assert ledger.unfinished() == []
    ledger.accept("b", "retrain", b"ack")
    assert [one.id for one in ledger.unfinished()] == ["b"]
    assert ledger.trouble is None
    ledger.close()
    assert on_disk(path, "name") == {"b": "retrain"}
    assert path.with_name("commands.sqlite.corrupt").is_file()


def test_damage_inside_the_file_is_found_at_the_start(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(path)
    for number in range(60):
        record(ledger, str(number), "running", b"x" * 3000)
    ledger.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xa5" * (path.stat().st_size - 3 * 4096))
    ledger = Ledger(path)
    assert caplog.text.count("set aside") == 1
    ledger.accept("a", "retrain", b"ack")
    assert set(on_disk(path)) == {"a"}
    ledger.close()


def test_commands_that_are_accepted_together_are_there_together_or_not_at_all(ledger: Ledger, path: Path) -> None:
    ledger.accept_all([Accepted("a", "retrain", b"1"), Accepted("b", "set", b"2", finished=True)])
    assert on_disk(path, "ack") == {"a": b"1", "b": b"2"}
    assert [one.id for one in ledger.unfinished()] == ["a"]
    ledger._database.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            ledger.accept_all([Accepted("c", "retrain", b"3"), Accepted("d", "retrain", b"4")])
        holder.execute("ROLLBACK")
    assert set(on_disk(path)) == {"a", "b"}


def test_the_oldest_commands_are_forgotten_while_it_runs_too(ledger: Ledger, path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("edged.mqtt.ledger.KEEP_ROWS", 3)
    monkeypatch.setattr("edged.mqtt.ledger.PRUNE_ROWS", 5)
    for number in range(4):
        ledger.accept(f"c{number}", "status", b"ack", finished=True)
    assert len(on_disk(path)) == 4
    ledger.accept("c4", "status", b"ack", finished=True)
    assert set(on_disk(path)) == {"c2", "c3", "c4"}


def test_none_is_forgotten_that_must_be_known_however_many_come(
    ledger: Ledger, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.mqtt.ledger.KEEP_ROWS", 3)
    monkeypatch.setattr("edged.mqtt.ledger.PRUNE_ROWS", 5)
    ledger.accept("c0", "status", b"ack", finished=True)
    clock.pass_s(1)
    for number in range(1, 5):
        ledger.accept_all([Accepted(f"c{number}", "status", b"ack", finished=True)], keep_s=2)
    assert len(on_disk(path)) == 5
    clock.pass_s(1)
    for number in range(5, 10):
        ledger.accept_all([Accepted(f"c{number}", "status", b"ack", finished=True)], keep_s=2)
    assert set(on_disk(path)) == {f"c{number}" for number in range(1, 10)}


@pytest.mark.parametrize("damage", [b"\xff{}", 7, "text"])
def test_what_the_disk_has_changed_is_not_repeated(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that has ended is told to have ended; of one that has not, nothing is told but that it was accepted."""
    with closing(Ledger(path)) as ledger:
        for id_ in ("ended", "running"):
            ledger.accept(id_, "retrain", b"ack")
        record(ledger, "running", "running", b"half")
        record(ledger, "ended", "succeeded", b"state")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE command SET job = ?, ack = ?", (damage, damage))
    with closing(Ledger(path)) as ledger:
        told = ledger.answer("ended")
        assert told is not None
        assert told.ack is not None
        assert Ack.model_validate_json(told.ack).status == "accepted"
        last = ledger.last_job(["retrain"])
        for state in (told.job, last, *ledger.jobs(["retrain"], 10)):
            assert state is not None
            job = Job.model_validate_json(state)
            assert (job.id, job.cmd, job.status) == ("ended", "retrain", "failed")
            assert job.error == "it has ended; how is not known, for what was kept of it on disk is damaged"
        going_on = ledger.answer("running")
        assert going_on is not None
        assert going_on.job is None
        assert [one.id for one in ledger.unfinished()] == ["running"]
    assert "job ended (retrain): what was kept of it on disk is damaged" in caplog.text
