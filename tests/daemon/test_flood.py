"""Thousands of commands at once: each is answered or counted, one's own gets through, and the memory stays small."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

FLOOD = 4000
SAME = 20_000


@pytest.mark.parametrize("name", ["status", "images_list"])
def test_ones_own_command_passes_a_flood_and_nothing_is_forgotten(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], name: str
) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras='[cameras.main]\nsource = "pattern"\nfps = 5')
    seen.wait_for_state("online")
    device.wait_for_log("first result")
    assert device.process is not None
    process = psutil.Process(device.process.pid)
    before = process.memory_info().rss
    device.signal(signal.SIGSTOP)  # it meets all of them at once, however slowly this process sends them
    sent = [seen.publish(name, id_=f"f{number}") for number in range(FLOOD)]
    wait_until(sent[-1].is_published, what="the whole flood")
    device.signal(signal.SIGCONT)
    for command in ("cancel", "rollback"):
        ack, job, _ = seen.command(command)
        assert ack["status"] == "accepted"
        assert job is not None
        assert job["status"] == "failed", "there is nothing to cancel, and nothing to go back to"
    assert process.memory_info().rss - before < 60e6

    def answered() -> tuple[int, int]:
        acks = [json.loads(payload) for payload in seen.starting("ack/f")]
        return sum(ack["status"] == "accepted" for ack in acks), sum("busy: " in ack.get("error", "") for ack in acks)

    def done() -> int:
        return len({json.loads(payload)["id"] for payload in seen.starting("job/f")})

    wait_until(lambda: done() == answered()[0] > 0, what="all jobs that were accepted")
    assert device.stop() == 0
    seen.wait_for_state("online", "offline")
    accepted, busy = answered()
    dropped = sum(int(count) for count in re.findall(r"too many commands: (\d+) were dropped", device.log))
    assert busy > 0
    assert accepted + busy + dropped == FLOOD, "each is accepted, refused or counted"
    assert done() == accepted


def test_ones_own_status_is_answered_within_a_flood_of_the_same_command(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    """No device knows whose command is whose: some of one's own find no room either, and are sent again."""
    seen = watch(broker)
    device = run(broker.url, cameras='[cameras.main]\nsource = "pattern"\nfps = 5')
    seen.wait_for_state("online")
    device.wait_for_log("first result")
    flood = paho.Client(CallbackAPIVersion.VERSION2)
    flood.max_inflight_messages_set(1000)
    flood.connect("127.0.0.1", broker.port)
    flood.loop_start()
    settings = MqttSettings.model_validate({"url": broker.url})
    try:
        sent = [
            flood.publish("edged/dut/cmd/status", json.dumps({"id": f"f{number}", "args": {}}), qos=1)
            for number in range(SAME)
        ]
        with Client(brokers(settings), timeout_s=PATIENCE_S) as mine:
            for _ in range(8):
                ack = mine.command("dut", "status")
                (job,) = mine.jobs(ack.id)
                assert job.status == "succeeded"
                assert job.report is not None
                assert job.report["info"]["device"] == "dut"
        wait_until(sent[-1].is_published, what="the whole flood")
    finally:
        flood.disconnect()
        flood.loop_stop()
        del flood  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes
    assert device.stop() == 0
