"""A roll-out whose broker goes away: it waits for it where it only watches, and else says how to go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edged.ctl.rollout.conductor import Conductor
from tests.ctl.conftest import environment
from tests.ctl.rollout.conftest import FIRST, NEW, Devices, Run, phases, record
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until


def test_a_hold_says_once_that_the_broker_is_away_and_once_that_it_is_back(
    devices: Devices, bundle: Path, broker: Mosquitto, tmp_path: Path
) -> None:
    devices()
    arguments = ["--canary", "1", "--hold", "1h", "--baseline", "0.4s"]
    told = tmp_path / "stderr"

    def lines() -> list[str]:
        return [line for line in told.read_text().splitlines() if line.startswith("edgectl: ")]

    with (
        told.open("wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "edged.ctl", "--device", "line-*", "models", "push", str(bundle), *arguments],
            env=environment(broker.port, XDG_STATE_HOME=str(tmp_path)),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
        ) as process,
    ):
        wait_until(lambda: "hold, 1 device" in told.read_text(), what="the hold")
        broker.kill()
        wait_until(lines, what="that it is away")
        broker.start()
        wait_until(lambda: len(lines()) > 1, what="that it is back")
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 130
    assert lines() == [
        f"edgectl: connection to {broker.url} lost, trying again; the time does not count",
        f"edgectl: connection to {broker.url} is back",
    ]


def test_a_broker_that_dies_between_waves_ends_it_with_how_to_go_on(
    devices: Devices, push: Run, edgectl: Run, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = devices()
    tell = Conductor._tell

    def fatal(self: Conductor, event: str, text: str, **more: Any) -> None:
        tell(self, event, text, **more)
        if event == "held":
            broker.kill()
            wait_until(lambda: not self._client.connected, what="that edgectl has noticed")

    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "_tell", fatal)
        died = push()
    assert died.returncode == 3, died
    id_ = record(tmp_path)["id"]
    how = f"`edgectl rollout resume {id_}` goes on, `edgectl rollout abort {id_}` takes it back"
    assert [row for row in died.stderr.splitlines() if row.startswith("edgectl: ")] == [
        f"edgectl: connection to {broker.url} lost; stopped (1 held); {how}"
    ]
    assert phases(tmp_path)[FIRST] == "held"

    broker.start()
    done = edgectl("rollout", "resume", str(id_))
    assert done.returncode == 0, done
    assert {one.current for one in line.values()} == {NEW}
    assert [one.done["models_use"] for one in line.values()] == [1] * 4


def test_a_broker_that_dies_while_all_is_taken_back_ends_it_with_how_to_go_on(
    devices: Devices, push: Run, edgectl: Run, broker: Mosquitto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line = devices()
    assert push().returncode == 0
    id_ = str(record(tmp_path)["id"])
    change = Conductor._take_back

    def fatal(self: Conductor, doomed: list[str]) -> None:
        broker.kill()
        wait_until(lambda: not self._client.connected, what="that edgectl has noticed")
        change(self, doomed)

    with monkeypatch.context() as patched:
        patched.setattr(Conductor, "_take_back", fatal)
        died = edgectl("--json", "rollout", "abort", id_)
    assert died.returncode == 3, died
    assert f"`edgectl rollout resume {id_}` goes on" in died.stderr
    assert json.loads(died.stdout.splitlines()[-1]) == {"rollout": id_, "event": "stopped"}
    assert {one.current for one in line.values()} == {NEW}

    broker.start()
    done = edgectl("rollout", "resume", id_)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "4 devices taken back"), done
