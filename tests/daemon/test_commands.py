"""Every command has one handler; a stop finishes the command at hand and no other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from edged.contract.commands import (
    COMMANDS,
    Command,
    ImageArgs,
    ImagesListArgs,
    ModelsAddArgs,
    SetArgs,
    SnapshotArgs,
    StatusArgs,
)
from edged.daemon.commands import CommandWorker, Handlers
from edged.errors import CommandError
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto


class RecordingLink:
    """Remembers the jobs that are published."""

    def __init__(self) -> None:
        self.jobs = []

    def job(self, job) -> None:
        self.jobs.append(job)


def test_a_command_without_a_handler_and_one_with_two():
    handlers = Handlers()
    handlers.add(StatusArgs, lambda _: None)
    with pytest.raises(ValueError, match="status has two handlers"):
        handlers.add(StatusArgs, lambda _: None)
    with pytest.raises(ValueError, match=r"no handler for the command\(s\) bottlenecks_get, bottlenecks_part, "):
        handlers.check()
    for args in COMMANDS.values():
        if args is not StatusArgs:
            handlers.add(args, lambda _: None)
    handlers.check()


def test_stop_finishes_the_command_at_hand_and_fails_those_that_wait():
    begun, go_on, done = threading.Event(), threading.Event(), []

    def snapshot(command):
        begun.set()
        assert go_on.wait(60)
        done.append(command.id)
        return {}

    handlers = Handlers()
    handlers.add(SnapshotArgs, snapshot)
    link = RecordingLink()
    worker = CommandWorker(link, handlers)
    worker.start()
    for number in range(3):
        worker.accept(Command(f"c{number}", SnapshotArgs()))
    assert begun.wait(60)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    while not worker._stopping.is_set():
        pass
    go_on.set()
    stopping.join(60)
    assert not stopping.is_alive()
    assert done == ["c0"]
    assert [(job.id, job.status, job.error) for job in link.jobs] == [
        ("c0", "succeeded", None),
        ("c1", "failed", "the daemon stopped"),
        ("c2", "failed", "the daemon stopped"),
    ]


def test_what_is_done_with_its_ack_runs_at_once_and_tells_its_caller():
    handlers, link, order = Handlers(), RecordingLink(), []

    def image(command):
        order.append(threading.current_thread())
        raise CommandError("no room")

    handlers.add(ImageArgs, image)
    handlers.add(SetArgs, lambda _: {})
    worker = CommandWorker(link, handlers)
    with pytest.raises(CommandError, match="no room"):
        worker.accept(Command("i1", ImageArgs(label="mug", sha256="0" * 64)))
    assert order == [threading.current_thread()]
    assert not link.jobs


def test_urgent_commands_pass_those_that_wait_and_the_others_come_as_they_came():
    done, last = [], threading.Event()
    handlers = Handlers()
    for args in (StatusArgs, SetArgs, SnapshotArgs):
        handlers.add(args, lambda command: done.append(command.id) or {})
    handlers.add(ImagesListArgs, lambda command: done.append(command.id) or last.set() or {})
    worker = CommandWorker(RecordingLink(), handlers)
    for id_, args in (("a", SnapshotArgs()), ("b", SetArgs()), ("c", StatusArgs()), ("d", ImagesListArgs())):
        worker.accept(Command(id_, args))
    worker.start()
    assert last.wait(60)
    worker.stop()
    assert done == ["c", "a", "b", "d"]


def test_so_many_of_one_command_may_wait():
    handlers = Handlers()
    worker = CommandWorker(RecordingLink(), handlers)
    for args, limit in ((SnapshotArgs, 128), (ModelsAddArgs, 4)):
        waiting = 0
        while worker.has_room(args):
            worker.accept(Command(f"c{waiting}", args.model_construct()))
            waiting += 1
        assert waiting == limit
    assert worker.has_room(SetArgs), "of each command by itself"
    assert worker.has_room(ImageArgs), "that one never waits"


def test_jobs_that_the_disk_has_changed_are_left_out_or_told_as_ended(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen, device = watch(broker), run(broker.url)
    seen.wait_for_state("online")
    ids = [seen.command("images_list")[2] for _ in range(3)]
    assert device.stop() == 0
    with closing(sqlite3.connect(device.state_dir / "commands.sqlite")) as database, database:
        for id_, state in ((ids[0], b'{"id": '), (ids[1], b"\xff")):
            database.execute("UPDATE command SET job = ?, name = 'retrain' WHERE id = ?", (state, id_))
        database.execute("UPDATE command SET name = 'retrain', updated = updated - 100 WHERE id = ?", (ids[2],))
    device.start()
    seen.wait_for_state("online", "offline", "online")
    (job,) = seen.wait("job")
    assert (job["id"], job["status"]) == (ids[1], "failed")
    _, job, _ = seen.command("jobs")
    assert job is not None
    assert job["status"] == "succeeded", job
    assert [(one["id"], one["status"]) for one in job["report"]["jobs"]] == [(ids[1], "failed"), (ids[2], "succeeded")]
    assert device.stop() == 0
