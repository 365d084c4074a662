"""`tools/fleet`: a hundred simulated devices speak the real contract, on a real Mosquitto."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from edged.contract.messages import Info, ModelInfo, Result, Telemetry
from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.conftest import REPOSITORY
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

DEVICES = 100
FLEET = [sys.executable, "-m", "simulation"]


def environment() -> dict[str, str]:
    """Return this one, in which `FLEET` is found."""
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tools")])}


def edgectl(broker: Mosquitto, *arguments: str) -> list[str]:
    """Run it; return its lines."""
    command = [sys.executable, "-m", "edged.ctl", "--broker", broker.url, "--timeout", f"{PATIENCE_S:g}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.timeout(1200)
def test_a_hundred_devices_are_seen_asked_and_changed(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    from simulation.fleet import Fleet

    broker = mosquitto()
    with Fleet(DEVICES, [broker.url], tmp_path / "fleet", telemetry_s=1.0) as fleet:
        wait_until(lambda: fleet.told().connected == DEVICES, what="all connected")
        settings = MqttSettings(url=broker.url)
        with Client(brokers(settings), timeout_s=PATIENCE_S) as client:  # what they say of themselves comes after that
            known: set[tuple[str, ...]] = set()
            with client.subscribe("+/state", "+/info", "+/model") as messages:
                while len(known) < 3 * DEVICES:
                    message = messages.get(PATIENCE_S)
                    assert message is not None, len(known)
                    known.add((message.device, *message.levels))
        told = [json.loads(line) for line in edgectl(broker, "--device", "all", "status", "--json")]
        assert [one["device"] for one in told] == fleet.names
        assert all(one["state"] == "online" and one["model"]["name"] == "flowers" for one in told)
        some = edgectl(broker, "--device", "sim-001?,sim-0099", "set", "--fps", "2")
        assert some == [f"sim-{number:04}: fps 2" for number in (*range(10, 20), 99)]
        with Client(brokers(settings), timeout_s=PATIENCE_S) as client:
            *_, job = client.jobs(client.command("sim-0000", "snapshot").id)
            assert (job.status, job.error) == ("rejected", "a simulated device does not know snapshot")
            kinds = {"result": Result, "telemetry": Telemetry, "info": Info, "model": ModelInfo}
            seen: dict[str, set[str]] = {kind: set() for kind in kinds}
            with client.subscribe("+/result/+", "+/telemetry", "+/info", "+/model") as messages:
                while any(len(devices) < DEVICES for devices in seen.values()):
                    message = messages.get(PATIENCE_S)
                    assert message is not None, {kind: len(devices) for kind, devices in seen.items()}
                    kind = message.levels[0]
                    assert message.decode(kinds[kind]) is not None, message
                    seen[kind].add(message.device)
        assert fleet.alive
    assert {json.loads(line)["state"] for line in edgectl(broker, "status", "--json")} == {"offline"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0), (signal.SIGKILL, -9)])
def test_however_it_is_ended_its_devices_say_so_and_nothing_else_is_said(
    mosquitto: Callable[..., Mosquitto], number: signal.Signals, code: int
) -> None:
    from simulation.fleet import EACH, folder_for_state

    state = Path(folder_for_state() or tempfile.gettempdir())
    broker = mosquitto()
    before = set(state.iterdir())
    count = 2 * EACH  # two processes
    with subprocess.Popen(
        [*FLEET, str(count), "--broker", broker.url], env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        while f"{count} connected" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)
        said = process.stderr.read()  # ends when no process is left that could write more
    assert process.returncode == code
    assert [line for line in said.splitlines() if not re.fullmatch(r"\d+ connected, .*", line)] == []
    states = [json.loads(line)["state"] for line in edgectl(broker, "status", "--json")]
    assert states == ["offline"] * count
    assert [folder for folder in state.iterdir() if folder not in before and (folder / "sim-0000").exists()] == []


def is_crowd(process: psutil.Process) -> bool:
    try:
        return "simulation.crowd" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_ctrl_c_ends_a_measurement_without_a_word() -> None:
    with subprocess.Popen(
        [*FLEET, "--measure", "1", "--seconds", "600"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: any(map(is_crowd, psutil.Process(process.pid).children())), what="devices")
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_S) == ("", "")
    assert process.returncode == 130


@pytest.mark.timeout(1200)
def test_what_a_fleet_costs_is_measured() -> None:
    from simulation.measuring import measure, pushes_table, table

    numbers = measure([3], rate=2.0, telemetry_s=1.0, seconds=3.0)
    (one,) = numbers["fleets"]
    assert (one["devices"], one["status_answered"]) == (3, 3)
    assert one["messages_per_s"] > 0
    assert 0 < one["ack_p50_ms"] <= one["ack_p99_ms"] <= one["ack_max_ms"]
    assert one["memory_kb_per_device"] > 0
    assert [line.count("|") for line in table(numbers)][:3] == [7, 7, 7]
    patched, whole = one["pushes"]
    assert [(push["whole"], push["installed"], push["errors"]) for push in (patched, whole)] == [
        (False, 3, []),
        (True, 3, []),
    ]
    assert patched["bytes_each"] < whole["bytes_each"] / 100
    assert [line.count("|") for line in pushes_table(numbers)] == [5, 5, 5, 5]
