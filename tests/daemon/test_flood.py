"""Thousands of commands at once: each is answered or counted, one's own gets through, and the memory stays small."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import psutil
import pytest

from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

FLOOD = 4000


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
    for number in range(FLOOD):
        seen.publish(name, id_=f"f{number}")
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
