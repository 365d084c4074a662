"""Commands over the wire: each mistake is answered, and what was accepted runs once."""

import json
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from edged.contract.commands import COMMANDS, Args
from edged.contract.messages import Job, timestamp
from edged.errors import CommandError
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
