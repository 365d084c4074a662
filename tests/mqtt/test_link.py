"""The link against a real Mosquitto that comes, goes, and is killed."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edged.contract.messages import Job
from edged.ctl.client import Client
from edged.ctl.errors import RejectedError
from edged.ctl.upload import Upload
from edged.errors import CommandError
from edged.mqtt.broker import brokers
from edged.mqtt.ledger import Ledger
from edged.mqtt.link import Link
from edged.mqtt.outbox import Outbox
from edged.settings import MqttSettings
from tests.mosquitto import free_port
from tests.mqtt.conftest import wait_for
from tests.waiting import PATIENCE_S

PROCESS = Path(__file__).with_name("process.py")


def numbers(watcher) -> list[int]:
    return [int(payload) for payload in watcher.of("result/main")]


def first_arrivals(watcher) -> list[int]:
    return list(dict.fromkeys(numbers(watcher)))


def rows(path: Path) -> int:
    """Count the messages in an outbox that another process or thread has open."""
    with closing(sqlite3.connect(path, timeout=PATIENCE_S)) as database:
        return int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])


def publisher(url: str, state_dir: Path, first: int, last: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(PROCESS), url, str(state_dir), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    deadline = time.monotonic() + PATIENCE_S
    while process.stdout.readline().strip() != wanted:
        assert time.monotonic() < deadline, wanted


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)


def test_online_while_it_runs_and_offline_when_it_stops(mosquitto, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    running = link(broker.url)
    running.retained("info", b"old")
    running.retained("info", b"new")
    wait_for(lambda: seen.of("state") == [b"online"] and b"new" in seen.of("info"), "online and info")
    assert running.connected
    assert running.last_error is None
    for seq in range(500):
        running.publish("result/main", str(seq).encode())
    running.stop(PATIENCE_S)
    wait_for(lambda: seen.of("state") == [b"online", b"offline"], "offline")
    assert numbers(seen) == list(range(500)), "each once, and before offline"
    assert not running.connected
    late = watch(broker.port)
    wait_for(lambda: late.of("state") == [b"offline"], "offline was retained")


def test_the_last_will_speaks_for_a_killed_process(mosquitto, watch, tmp_path):
    broker = mosquitto()
    seen = watch(broker.port)
    process = publisher(broker.url, tmp_path, 0, 1)
    wait_for(lambda: seen.of("state") == [b"online"], "online")
    kill(process)
    wait_for(lambda: seen.of("state") == [b"online", b"offline"], "the will")


def test_nothing_is_lost_while_the_broker_is_killed_and_started_again(mosquitto, watch, link, gate):
    broker = mosquitto()
    way = gate(broker.port)
    way.open()
    seen = watch(broker.port)
    running = link(f"mqtt://127.0.0.1:{way.port}")
    wait_for(lambda: running.connected, "connected")
    for seq in range(1500):
        running.publish("result/main", str(seq).encode())
        if seq == 400:
            broker.kill()
            way.cut()
            wait_for(lambda: not seen.ready.is_set(), "the subscriber has noticed")  # else it seems to be back at once
        if seq == 1000:
            broker.start()
            wait_for(seen.ready.is_set, "the subscriber is back")
            way.open()
        time.sleep(0.0005)
    wait_for(lambda: running.connected and running.backlog == 0, "all sent")
    wait_for(lambda: set(numbers(seen)) == set(range(1500)), "all arrived")
    assert first_arrivals(seen) == list(range(1500))


def test_retained_state_is_published_again_on_a_broker_that_forgot(mosquitto, watch, link):
    broker = mosquitto()
    running = link(broker.url)
    running.retained("model", b"m1")
    wait_for(lambda: running.connected, "connected")
    broker.kill()
    wait_for(lambda: not running.connected, "noticed")
    running.retained("model", b"m2")
    broker.start()
    seen = watch(broker.port)
    wait_for(lambda: seen.of("model")[-1:] == [b"m2"] and seen.of("state")[-1:] == [b"online"], "state again")


def test_state_that_is_taken_back_is_empty_once_and_whoever_asked_is_told(mosquitto, gate, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    way = gate(broker.port)
    way.open()
    running = link(f"mqtt://127.0.0.1:{way.port}")
    for topic in ("label/a", "label/b"):
        running.retained(topic, b"old")
    wait_for(lambda: seen.of("label/a") and seen.of("label/b"), "both")
    way.cut()
    wait_for(lambda: not running.connected, "noticed")
    told = []
    for topic in ("label/a", "label/b"):
        running.withdraw(topic, lambda topic=topic: told.append(topic))
    running.retained("label/b", b"new")
    way.open()
    wait_for(lambda: told and seen.of("label/b")[-1] == b"new", "the acknowledgement")
    way.cut()
    wait_for(lambda: not running.connected, "noticed")
    running.retained("info", b"i")
    way.open()
    wait_for(lambda: seen.of("label/b")[-2:] == [b"new", b"new"] and seen.of("info"), "state, again")
    assert seen.of("label/a").count(b"") == 1
    assert told == ["label/a"]
    late = watch(broker.port)
    wait_for(lambda: late.of("label/b") and late.of("info"), "what is retained")
    assert late.of("label/a") == []


def test_a_process_killed_while_offline_sends_all_after_its_restart(mosquitto, watch, tmp_path):
    broker = mosquitto()
    nowhere = publisher(f"mqtt://127.0.0.1:{free_port()}", tmp_path, 0, 300)
    wait_for_line(nowhere, "False 300")
    wait_for(lambda: rows(tmp_path / "outbox.sqlite") == 300, "all on disk")
    kill(nowhere)
    seen = watch(broker.port)
    again = publisher(broker.url, tmp_path, 300, 400)
    wait_for(lambda: len(set(numbers(seen))) == 400, "all")
    assert first_arrivals(seen) == list(range(400))
    wait_for_line(again, "True 0")
    wait_for(lambda: rows(tmp_path / "outbox.sqlite") == 0, "the disk is empty once all is acknowledged")
    kill(again)
    outbox = Outbox(tmp_path / "outbox.sqlite", 1)
    assert len(outbox) == 0
    outbox.close()


def test_what_is_unacknowledged_at_the_deadline_goes_to_disk(link, mosquitto, watch):
    stopped = link(f"mqtt://127.0.0.1:{free_port()}")
    for seq in range(50):
        stopped.publish("result/main", str(seq).encode())
    wait_for(lambda: stopped.last_error is not None, "an error")
    began = time.monotonic()
    stopped.stop(10 * PATIENCE_S)
    assert time.monotonic() - began < PATIENCE_S, "nothing to wait for without a broker"
    broker = mosquitto()
    seen = watch(broker.port)
    link(broker.url)
    wait_for(lambda: numbers(seen) == list(range(50)), "all")


def test_a_broker_absent_at_start_is_met_later(mosquitto, watch, link):
    broker = mosquitto()
    broker.stop()
    running = link(broker.url)
    running.publish("result/main", b"0")
    wait_for(lambda: running.last_error is not None, "an error")
    assert "Connection refused" in running.last_error
    assert not running.connected
    broker.start()
    wait_for(lambda: running.connected and running.backlog == 0, "connected")
    assert running.last_error is None


def test_a_silent_network_sends_memory_to_disk(mosquitto, link, gate, tmp_path):
    broker = mosquitto()
    way = gate(broker.port)
    way.open()
    running = link(f"mqtt://127.0.0.1:{way.port}")
    wait_for(lambda: running.connected, "connected")
    way.silent = True
    for seq in range(150):
        running.publish("result/main", str(seq).encode())
    wait_for(
        lambda: rows(tmp_path / "state" / "outbox.sqlite") == 150, "all on disk although the connection still stands"
    )
    assert running.backlog == 150
    way.silent = False
    wait_for(lambda: running.backlog == 0, "drained")


def test_the_backlog_is_messages_of_qos_1_and_nothing_else(tmp_path):
    link = Link(
        settings=MqttSettings(),
        device="d1",
        outbox=Outbox(tmp_path / "outbox.sqlite", 1),
        ledger=Ledger(tmp_path / "commands.sqlite"),
        on_command=lambda _: None,
    )
    link.publish("telemetry", b"t", qos=0)
    link.retained("info", b"i")
    assert link.backlog == 0
    link.publish("result/main", b"0")
    assert link.backlog == 1
    link.stop(0)


def test_what_is_larger_than_the_broker_takes_is_refused_and_the_rest_sent(mosquitto, watch, link):
    broker = mosquitto()
    seen = watch(broker.port)
    running = link(broker.url, max_bytes=16_384)
    running.retained("model", bytes(16_384))
    running.retained("info", b"i")
    seen.wait_for_online()
    with pytest.raises(CommandError, match="the picture has 16384 bytes, and the broker takes messages of 16384"):
        running.image("a1", bytes(16_384))
    running.image("a2", bytes(16_000))
    for cmd, status in (("images_list", "failed"), ("retrain", "succeeded")):
        running.job(Job(id=cmd, cmd=cmd, status="succeeded", report={"images": ["x" * 16_384]}))
        wait_for(lambda cmd=cmd: seen.of(f"job/{cmd}"), "the end of a job")
        told = Job.model_validate_json(seen.of(f"job/{cmd}")[0])
        assert (told.status, told.report) == (status, None)
        assert told.error is not None
        assert told.error.endswith("bytes, and the broker takes messages of 16384")
    wait_for(lambda: seen.of("image/a2") and seen.of("info"), "what it takes")
    assert [topic for topic, _, _ in seen.seen if topic.endswith(("model", "a1"))] == []
    settings = MqttSettings(url=broker.url, max_bytes=16_384)
    with Client(brokers(settings), timeout_s=PATIENCE_S) as client:
        with pytest.raises(RejectedError, match=f"d1/cmd/x: 16384 bytes, and {broker.url} takes messages of 16384"):
            client.send("d1/cmd/x", bytes(16_384))
        client.publish("d1/said", bytes(Upload(client, "d1", bytes(100_000), "a file").part_bytes * 4 // 3))
    wait_for(lambda: seen.of("said"), "a part of a file")


def test_telemetry_is_not_kept_while_offline(mosquitto, watch, link):
    broker = mosquitto()
    broker.stop()
    running = link(broker.url)
    running.publish("telemetry", b"old", qos=0)
    wait_for(lambda: running.last_error is not None, "an error")
    assert running.backlog == 0
    broker.start()
    seen = watch(broker.port)
    wait_for(lambda: running.connected, "connected")

    def arrived() -> bool:
        running.publish("telemetry", b"new", qos=0)
        return b"new" in seen.of("telemetry")

    wait_for(arrived, "telemetry")
    assert b"old" not in seen.of("telemetry")
