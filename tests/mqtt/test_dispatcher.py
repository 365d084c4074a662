"""Commands over the wire: each mistake is answered, and what was accepted runs once."""

import json
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from edged.contract.commands import COMMANDS, Args
from edged.contract.messages import Job, timestamp
from edged.errors import CommandError
from edged.mqtt.dispatcher import Dispatcher
from edged.mqtt.events import Received
from edged.mqtt.ledger import Ledger
from tests.mqtt.conftest import wait_for
from tests.waiting import PATIENCE_S


def test_over_the_wire_each_mistake_gets_a_rejected_ack(mosquitto, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    ran = []
    link(broker.url, on_command=ran.append)
    seen.wait_for_online()
    expired = timestamp((datetime.now(timezone.utc) - timedelta(seconds=5)).timestamp())
    wrong = {
        "r1": ("dance", {"id": "r1"}, {}),
        "r2": ("status", {"id": "r2", "expires": expired}, {}),
        "r3": ("set", {"id": "r3", "args": {"fps": "fast"}}, {}),
        "r4": ("status", {"id": "r4"}, {"retain": True}),
        "r5": ("status", {"id": "r5", "args": {"camera": "c" * 70000}}, {}),
        "unknown": ("status", b"{", {}),
    }
    for id_, (name, payload, options) in wrong.items():
        seen.command(name, payload, **options)
        answer = seen.ack(id_)
        assert answer["status"] == "rejected", id_
        assert answer["error"]
    assert ran == []
    seen.command("status", {"id": "good"}, to="all")
    assert seen.ack("good")["status"] == "accepted"
    wait_for(lambda: [command.id for command in ran] == ["good"], "on_command")


def test_a_command_retained_before_we_came_is_refused(mosquitto, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    seen.command("status", {"id": "old"}, retain=True)
    wait_for(lambda: seen.seen, "stored")
    ran = []
    link(broker.url, on_command=ran.append)
    assert "retained" in seen.ack("old")["error"]
    assert ran == []


def test_a_redelivered_command_is_answered_again_and_not_run_again(mosquitto, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    ran = []
    expires = timestamp((datetime.now(timezone.utc) + timedelta(minutes=5)).timestamp())

    def start():
        running = link(broker.url, on_command=ran.append)
        seen.wait_for_online()
        return running

    running = start()
    seen.command("status", {"id": "c1", "expires": expires})
    first = seen.ack("c1")
    running.job(Job(id="c1", cmd="status", status="running"))
    running.job(Job(id="c1", cmd="status", status="succeeded", progress=1, report={"fine": True}))
    wait_for(lambda: len(seen.of("job/c1")) == 2, "the job")
    seen.command("status", {"id": "c1", "expires": expires})
    assert seen.ack("c1", 2) == first
    wait_for(lambda: len(seen.of("job/c1")) == 3, "the job again")
    running.stop(PATIENCE_S)
    wait_for(lambda: seen.of("state")[-1:] == [b"offline"], "offline")  # else the next `online` is the one before
    again = start()
    seen.command("snapshot", {"id": "c1", "expires": "2020-01-01T00:00:00Z"})
    assert seen.ack("c1", 3) == first, "whatever the copy looks like now"
    wait_for(lambda: len(seen.of("job/c1")) == 4, "the job after a restart")
    assert json.loads(seen.of("job/c1")[-1])["report"] == {"fine": True}
    assert [command.id for command in ran] == ["c1"]
    assert again.ledger.unfinished() == []


def test_only_a_lasting_job_stands_on_the_retained_topic(mosquitto, watch, link):
    class LongArgs(Args):
        lasting = True

    broker = mosquitto()
    seen = watch(broker.port)
    running = link(broker.url, on_command=lambda _: None, registry={**COMMANDS, "long": LongArgs})
    seen.wait_for_online()
    running.job(Job(id="l1", cmd="long", status="succeeded"))
    running.job(Job(id="s1", cmd="status", status="succeeded"))
    wait_for(lambda: seen.of("job/s1"), "the quick job")
    assert [json.loads(payload)["id"] for payload in seen.of("job")] == ["l1"]


def test_a_daemon_that_refuses_a_command_and_one_that_trips(mosquitto, watch, link, caplog):
    broker = mosquitto()
    seen = watch(broker.port)

    def on_command(command):
        if command.id == "busy":
            raise CommandError("one training at a time")
        raise RuntimeError("a bug")

    link(broker.url, on_command=on_command)
    seen.wait_for_online()
    seen.command("status", {"id": "trips"})
    seen.command("status", {"id": "busy"})
    wait_for(lambda: seen.of("job/busy") and seen.of("job/trips"), "both jobs")
    assert json.loads(seen.of("job/busy")[0])["status"] == "rejected"
    assert json.loads(seen.of("job/busy")[0])["error"] == "one training at a time"
    assert json.loads(seen.of("job/trips")[0])["status"] == "failed"
    assert "a bug" in caplog.text


def test_the_ledger_knows_what_a_restart_cut_off(tmp_path):
    path = tmp_path / "commands.sqlite"
    ledger = Ledger(path)
    for id_ in ("a", "b", "c"):
        ledger.accept(id_, "snapshot", b"ack")
    for status in ("running", "succeeded"):
        job = Job(id="b", cmd="snapshot", status=status)
        ledger.record(job, job.encode())
    running = Job(id="c", cmd="snapshot", status="running", progress=0.5)
    ledger.record(running, running.encode())
    ledger.close()
    ledger = Ledger(path)
    assert [(one.id, one.job is None) for one in ledger.unfinished()] == [("a", True), ("c", False)]
    assert ledger.answer("a").ack == b"ack"
    assert ledger.answer("nobody") is None
    assert ledger.last_job({"snapshot"}) == running.encode()
    assert ledger.last_job({"retrain"}) is None
    ledger.close()


def test_a_damaged_ledger_is_set_aside(tmp_path, caplog):
    path = tmp_path / "commands.sqlite"
    path.write_bytes(b"not a database, but long enough to look like a file" * 100)
    ledger = Ledger(path)
    ledger.accept("a", "status", b"ack")
    ledger.close()
    assert path.with_name("commands.sqlite.corrupt").exists()
    assert caplog.text.count("set aside") == 1
    with pytest.raises(sqlite3.ProgrammingError):
        ledger.accept("b", "status", b"ack")


class AtOnceArgs(Args):
    command = "now"
    at_once = True


class Direct:
    """A dispatcher without a broker: what it publishes, and the jobs that it tells."""

    def __init__(self, path, on_command):
        self.published = []
        self.jobs = []
        self.ran = []
        self.ledger = Ledger(path)
        self._on_command = on_command

    def run(self, *received):
        """Deliver messages (command name, document or bytes, retained) and wait until all are handled."""

        def on_command(command):
            self.ran.append(command.id)
            self._on_command(command)

        dispatcher = Dispatcher(
            ledger=self.ledger,
            registry={**COMMANDS, "now": AtOnceArgs},
            publish=lambda topic, payload: self.published.append((topic, json.loads(payload))),
            job=self.jobs.append,
            on_command=on_command,
        )
        for name, document, retained in received:
            payload = document if isinstance(document, bytes) else json.dumps(document).encode()
            dispatcher.deliver(Received(f"edged/d1/cmd/{name}", payload, retained))
        dispatcher.start()
        dispatcher.stop(PATIENCE_S)
        return self

    @property
    def acks(self):
        return [(topic, message["status"]) for topic, message in self.published]


@pytest.fixture
def direct(tmp_path):
    made = []

    def make(on_command=lambda _: None):
        made.append(Direct(tmp_path / "commands.sqlite", on_command))
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()


def test_stopping_finishes_what_was_delivered(direct):
    many = [("status", {"id": f"c{number}"}, False) for number in range(50)]
    found = direct().run(*many)
    assert found.ran == [f"c{number}" for number in range(50)]
    assert found.acks == [(f"ack/c{number}", "accepted") for number in range(50)]


def test_a_command_is_remembered_and_acknowledged_before_it_runs(direct):
    def on_command(command):
        assert found.ledger.answer(command.id).name == "status"
        assert found.acks == [("ack/c1", "accepted")]
        assert [one.id for one in found.ledger.unfinished()] == ["c1"]

    found = direct(on_command)
    found.run(("status", {"id": "c1"}, False))
    assert (found.ran, found.jobs) == (["c1"], [])


def test_what_is_done_at_once_has_run_when_its_ack_says_so_and_has_no_job(direct):
    def on_command(command):
        assert found.published == [], "it is not accepted before"
        assert found.ledger.answer(command.id) is None

    found = direct(on_command)
    found.run(("now", {"id": "c1"}, False))
    assert (found.ran, found.acks, found.jobs) == (["c1"], [("ack/c1", "accepted")], [])
    assert found.ledger.unfinished() == []
    found.run(("now", {"id": "c1"}, False))
    assert (found.ran, found.acks) == (["c1"], [("ack/c1", "accepted")] * 2), "answered again, not run again"


@pytest.mark.parametrize(
    ("error", "said"),
    [(CommandError("no such image"), "now: no such image"), (RuntimeError("a bug"), "internal error; see the device")],
)
def test_what_fails_at_once_is_rejected_and_may_be_sent_again(direct, error, said):
    def on_command(_):
        raise error

    found = direct(on_command).run(("now", {"id": "c1"}, False))
    ((topic, message),) = found.published
    assert (topic, message["id"], message["status"]) == ("ack/c1", "c1", "rejected")
    assert message["error"].startswith(said)
    assert (found.jobs, found.ledger.answer("c1")) == ([], None)
    found.run(("now", {"id": "c1"}, False))
    assert found.ran == ["c1", "c1"], "nothing was remembered"


def test_a_job_tells_how_a_command_ended_that_was_refused_or_tripped(direct):
    def on_command(command):
        raise CommandError("busy") if command.id == "c1" else RuntimeError("a bug")

    found = direct(on_command).run(("status", {"id": "c1"}, False), ("set", {"id": "c2"}, False))
    assert [(job.id, job.cmd, job.status, job.error) for job in found.jobs] == [
        ("c1", "status", "rejected", "busy"),
        ("c2", "set", "failed", "internal error; see the device's log"),
    ]
    assert found.acks == [("ack/c1", "accepted"), ("ack/c2", "accepted")]


def test_what_cannot_be_remembered_does_not_run(direct):
    found = direct()
    found.ledger.close()
    found.ledger._database = sqlite3.connect(":memory:", check_same_thread=False)  # has no table
    found.ledger._database.execute("CREATE TABLE command (id TEXT, name TEXT, ack BLOB, job BLOB)")
    found.run(("status", {"id": "c1"}, False))
    ((topic, message),) = found.published
    assert (topic, message["status"], found.ran, found.jobs) == ("ack/c1", "rejected", [], [])
    assert message["error"].startswith("status: cannot be remembered on disk: ")


def test_rejections_are_not_remembered_and_run_nothing(direct):
    late = {"id": "c1", "expires": "2020-01-01T00:00:00Z"}
    found = direct().run(("status", {"id": "c2"}, True), ("status", late, False), ("dance", {"id": "c3"}, False))
    assert found.acks == [("ack/c2", "rejected"), ("ack/c1", "rejected"), ("ack/c3", "rejected")]
    assert "retained" in found.published[0][1]["error"]
    assert [found.ledger.answer(f"c{number}") for number in (1, 2, 3)] == [None] * 3
    found.run(("status", {"id": "c1"}, False))
    assert found.ran == ["c1"], "under the same id it may be sent again"


def test_an_id_that_cannot_be_read_is_never_one_that_was_there(direct):
    found = direct()
    found.ledger.accept("unknown", "status", b"{}")
    found.run(("status", b"{", False), ("status", {"id": "not an id"}, False))
    assert found.acks == [("ack/unknown", "rejected")] * 2


def test_a_known_id_is_answered_with_its_bytes_whatever_the_copy_looks_like(direct):
    found = direct()
    found.ledger.accept("c1", "status", b'{"first": 1}')
    found.run(("dance", {"id": "c1", "args": 3}, True))
    assert (found.published, found.ran) == ([("ack/c1", {"first": 1})], [])
    job = Job(id="own", cmd="recalibrate", status="succeeded")
    found.ledger.record(job, job.encode())
    found.run(("status", {"id": "own"}, False))
    assert [topic for topic, _ in found.published[1:]] == ["job/own"], "it never had an ack"
    found.ledger.record(Job(id="c1", cmd="status", status="running"), b'{"half": 1}')
    found.run(("status", {"id": "c1"}, False))
    assert found.published[2:] == [("ack/c1", {"first": 1}), ("job/c1", {"half": 1})]


def test_one_command_that_breaks_everything_does_not_stop_the_next(direct, caplog):
    found = direct()
    answer = found.ledger.answer

    def breaks_once(id_):
        if id_ == "c1":
            raise RuntimeError("a bug in the ledger")
        return answer(id_)

    found.ledger.answer = breaks_once
    found.run(("status", {"id": "c1"}, False), ("status", {"id": "c2"}, False))
    assert found.ran == ["c2"]
    assert "a bug in the ledger" in caplog.text
