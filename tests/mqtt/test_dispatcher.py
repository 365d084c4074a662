"""Commands over the wire: each mistake is answered, and what was accepted runs once."""

import json
import sqlite3
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest

from edged.contract.commands import COMMANDS, Args
from edged.contract.messages import Job, timestamp
from edged.contract.replies import Reply, check_reply
from edged.contract.signature import PublicKey
from edged.errors import CommandError
from edged.mqtt.dispatcher import Dispatcher
from edged.mqtt.events import Received
from edged.mqtt.ledger import Ledger
from edged.mqtt.trust import Trust
from tests.mqtt.clock import set_clock
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


# What is promised; written down here too, so that it is not changed by a slip.
WAITING, BATCH, BUSY_PER_S = 200, 64, 200


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
        self.has_room = lambda _: True
        self.answered = []
        self.trust = None

    def run(self, *received):
        """Deliver messages (command name, document or bytes, retained, reply) and wait until all are handled."""

        def on_command(command):
            self.ran.append(command.id)
            self._on_command(command)

        dispatcher = Dispatcher(
            ledger=self.ledger,
            registry={**COMMANDS, "now": AtOnceArgs},
            publish=lambda topic, payload: self.published.append((topic, json.loads(payload))),
            answer=lambda reply, ack: self.answered.append((reply, json.loads(ack))),
            check=partial(check_reply, prefix="edged", device="d1"),
            job=self.jobs.append,
            trust=self.trust,
            on_command=on_command,
            has_room=self.has_room,
        )
        for name, document, retained, *reply in received:
            payload = document if isinstance(document, bytes) else json.dumps(document).encode()
            dispatcher.deliver(Received(f"edged/d1/cmd/{name}", payload, retained, *reply))
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
    found.ledger._database.execute("PRAGMA query_only = ON")  # as on a disk that cannot be written
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


def commits(ledger, monkeypatch):
    """Count what the ledger writes together."""
    together = []
    accept_all = ledger.accept_all

    def counted(commands, *, keep_s):
        commands = list(commands)
        together.append(len(commands))
        accept_all(commands, keep_s=keep_s)

    monkeypatch.setattr(ledger, "accept_all", counted)
    return together


def test_commands_that_wait_together_are_one_write_and_on_disk_before_their_acks(direct, monkeypatch):
    found = direct()
    together = commits(found.ledger, monkeypatch)
    known = []
    published = found.published

    class Looked(list):
        def append(self, message):
            known.append(found.ledger.answer(message[1]["id"]) is not None)
            super().append(message)

    found.published = Looked(published)
    found.run(*(("jobs", {"id": f"c{number}"}, False) for number in range(BATCH + 10)))
    assert together == [BATCH, 10]
    assert known == [True] * (BATCH + 10)
    assert found.ran == [f"c{number}" for number in range(BATCH + 10)]


def test_the_same_id_twice_in_one_write_runs_once(direct):
    found = direct().run(("jobs", {"id": "c1"}, False), ("jobs", {"id": "c1"}, False), ("jobs", {"id": "c2"}, False))
    assert found.ran == ["c1", "c2"]
    assert found.acks == [("ack/c1", "accepted"), ("ack/c1", "accepted"), ("ack/c2", "accepted")]


def test_what_fails_in_one_write_is_rejected_each_by_itself(direct, monkeypatch):
    found = direct()

    def fails(_, *, keep_s):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(found.ledger, "accept_all", fails)
    found.run(("jobs", {"id": "c1"}, False), ("jobs", {"id": "c2"}, False))
    assert found.acks == [("ack/c1", "rejected"), ("ack/c2", "rejected")]
    assert (found.ran, found.jobs) == ([], [])


def test_of_a_flood_so_many_are_accepted_so_many_refused_and_the_rest_is_counted(direct, caplog, monkeypatch):
    set_clock(monkeypatch, "dispatcher")  # all within one second
    found = direct()
    found.run(
        *(("images_list", {"id": f"f{number}"}, False) for number in range(WAITING + BUSY_PER_S + 50)),
        ("jobs", {"id": "other"}, False),
        ("cancel", {"id": "own"}, False),
    )
    assert found.acks[0] == ("ack/own", "accepted"), "it passes"
    accepted = [topic for topic, status in found.acks if status == "accepted"]
    assert accepted[1:] == [f"ack/f{number}" for number in range(WAITING)] + ["ack/other"]
    refused = [message for _, message in found.published if message["status"] == "rejected"]
    assert [message["id"] for message in refused] == [f"f{number}" for number in range(WAITING, WAITING + BUSY_PER_S)]
    (error,) = {message["error"] for message in refused}
    assert error == "busy: too many images_list commands wait; send it again later"
    assert "too many commands: 50 were dropped unanswered" in caplog.text
    assert found.ledger.answer(f"f{WAITING}") is None, "it may be sent again"
    found.published.clear()
    found.run(("images_list", {"id": f"f{WAITING}"}, False))
    assert found.acks == [(f"ack/f{WAITING}", "accepted")]


def test_a_copy_of_what_was_accepted_is_answered_again_also_where_there_is_no_room(direct):
    found = direct()
    found.ledger.accept("c1", "images_list", b'{"first": 1}')
    flood = [("images_list", {"id": f"f{number}"}, False) for number in range(WAITING)]
    found.run(*flood, ("images_list", {"id": "c1"}, False))
    assert ("ack/c1", {"first": 1}) in found.published


def test_what_the_daemon_has_no_room_for_is_refused_and_not_remembered(direct):
    found = direct()
    found.has_room = lambda args: args.command != "images_list"
    found.run(("images_list", {"id": "c1"}, False), ("jobs", {"id": "c2"}, False))
    assert sorted(found.acks) == [("ack/c1", "rejected"), ("ack/c2", "accepted")]
    assert (found.ran, found.ledger.answer("c1")) == (["c2"], None)


def test_names_that_a_sender_thinks_up_are_one_name(direct, monkeypatch):
    set_clock(monkeypatch, "dispatcher")
    found = direct().run(*((f"name{number}", {"id": f"c{number}"}, False) for number in range(WAITING + 1)))
    errors = [message["error"] for _, message in found.published]
    assert sum("unknown command" in error for error in errors) == WAITING
    assert sum(error.startswith("busy: ") for error in errors) == 1


def test_the_bytes_that_wait_are_bounded_and_too_large_ones_do_not_wait_at_all(direct, monkeypatch):
    set_clock(monkeypatch, "dispatcher")
    monkeypatch.setattr("edged.mqtt.dispatcher.WAITING_BYTES", 100_000)
    monkeypatch.setattr("edged.mqtt.dispatcher.ALL_WAITING_BYTES", 150_000)
    padded = {"x": "y" * 40_000}
    found = direct().run(
        *(("jobs", {"id": f"j{number}", "args": padded}, False) for number in range(3)),
        *(("set", {"id": f"s{number}", "args": padded}, False) for number in range(2)),
        ("cancel", {"id": "own"}, False),
        ("set", {"id": "large", "args": {"x": "y" * 200_000}}, False),
    )
    errors = {message["id"]: message.get("error", "") for _, message in found.published}
    assert [id_ for id_, error in errors.items() if error.startswith("busy: ")] == ["j2", "s1"]
    assert errors["own"] == ""
    assert "bytes; at most 65536 are allowed" in errors["large"]


@pytest.mark.parametrize(
    ("topic", "fault"),
    [
        ("", "is empty"),
        ("r" * 257, "is longer than 256 bytes"),
        ("é" * 129, "is longer than 256 bytes"),
        ("replies/+", "holds a wildcard"),
        ("replies/#", "holds a wildcard"),
        ("replies/\0", "holds what cannot be printed"),
        ("replies/\u202e", "holds what cannot be printed"),
        ("$SYS/broker", "begins with $, which is the broker's"),
        ("$share/g/edged/d2/cmd/set", "begins with $, which is the broker's"),
        ("$CONTROL/dynamic-security/v1", "begins with $, which is the broker's"),
        ("edged/d2/cmd/rollback", "is one of commands"),
        ("edged/all/cmd/rollback", "is one of commands"),
        ("edged/d1/cmd/rollback", "is one of commands"),
        ("plant/d2/cmd/rollback", "is one of commands"),
        ("/plant/d2/CMD/rollback", "is one of commands"),
        ("plant.d2.cmd.rollback", "is one of commands"),  # RabbitMQ makes slashes of the dots
        ("edged/d1/response/cmd/x", "is one of commands"),
        ("cmd", "is one of commands"),
        ("edged", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged/d1/state", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged/d1/job/c0", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged/d1/ack/c0", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged/d2/response/x", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged/d1/response/", "is one of edged's own; below edged/ use edged/d1/response/…"),
        ("edged.d1.state", "is one of edged's own; below edged/ use edged/d1/response/…"),
    ],
)
def test_a_response_topic_that_could_do_harm_is_refused_and_nothing_published_there(direct, topic, fault):
    found = direct().run(("jobs", {"id": "c1"}, False, Reply(topic)))
    ((at, ack),) = found.published
    assert (at, ack["error"]) == ("ack/c1", f"jobs: response topic {topic[:80]!a} {fault}")
    assert (found.ran, found.answered, found.ledger.answer("c1")) == ([], [], None)


@pytest.mark.parametrize(
    "topic", ["replies", "a/b/c", "edged/d1/response/x", "edged/d1/ack/c1", "edgedness/x", "command/x"]
)
def test_an_ack_goes_to_a_harmless_response_topic_too(direct, topic):
    reply = Reply(topic, b"\x00\xff")
    found = direct().run(("jobs", {"id": "c1"}, False, reply), ("jobs", {"id": "c1"}, False, Reply("again")))
    assert found.acks == [("ack/c1", "accepted"), ("ack/c1", "accepted")]
    assert found.answered == [(reply, found.published[0][1]), (Reply("again"), found.published[0][1])]


def test_a_rejection_and_a_busy_device_answer_there_too(direct, monkeypatch):
    set_clock(monkeypatch, "dispatcher")
    found = direct()
    found.has_room = lambda args: args.command != "images_list"
    large = {"id": "c4", "args": {"x": "y" * 70_000}}
    flood = [("jobs", {"id": f"f{number}"}, False) for number in range(WAITING)]
    found.run(
        ("images_list", {"id": "c1"}, False, Reply("r1")),
        ("jobs", {"id": "c2", "args": {"x": 1}}, False, Reply("r2")),
        ("now", {"id": "c3"}, False, Reply("r3")),
        ("set", large, False, Reply("r4")),
        *flood,
        ("jobs", {"id": "c5"}, False, Reply("r5")),
        ("jobs", {"id": "c6"}, False, Reply("edged/d2/cmd/set")),
    )
    told = {reply.topic: (ack["id"], ack["status"]) for reply, ack in found.answered}
    rejected = {f"r{number}": (f"c{number}", "rejected") for number in (1, 2, 4, 5)}
    assert told == {**rejected, "r3": ("c3", "accepted")}
    assert ("ack/c6", "rejected") in found.acks


def test_correlation_data_is_bounded_and_counts_among_what_waits(direct, monkeypatch):
    set_clock(monkeypatch, "dispatcher")
    monkeypatch.setattr("edged.mqtt.dispatcher.WAITING_BYTES", 100_000)
    found = direct().run(
        ("jobs", {"id": "c1"}, False, Reply("r", bytes(1025))),
        ("jobs", {"id": "c2"}, False, Reply("r", bytes(1024))),
        ("jobs", {"id": "c3"}, False, Reply("r", bytes(99_000))),
    )
    errors = {message["id"]: message.get("error") for _, message in found.published}
    assert errors["c1"] == "jobs: correlation data of 1025 bytes; at most 1024 are allowed"
    assert errors["c2"] is None
    assert errors["c3"].startswith("busy: ")
    assert [(reply.correlation, ack["id"]) for reply, ack in found.answered] == [(bytes(1024), "c2")]


def test_what_nobody_trusted_has_signed_is_not_answered_on_a_response_topic(direct):
    found = direct()
    found.trust = Trust([f"{PublicKey(bytes(32)).text} ours"])
    flood = [("jobs", {"id": f"f{number}"}, False) for number in range(WAITING - 1)]
    found.run(("jobs", {"id": "c1"}, False, Reply("r1")), *flood, ("jobs", {"id": "c2"}, False, Reply("r2")))
    assert {("ack/c1", "rejected"), ("ack/c2", "rejected")} <= set(found.acks)
    assert found.answered == []
