"""SIGKILL at random points, fifty times: the trainer, and the daemon with it."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from edged.contract.messages import Result
from edged.ctl.client import Client
from edged.mqtt.broker import brokers as brokers_of
from edged.settings import MqttSettings
from edged.store import Store
from tests.albums import LABELS, make_album
from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, has_ended, wait_until

CHILD_KILLS, DAEMON_KILLS = 36, 14


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Client]:
    with Client(brokers_of(MqttSettings(url=broker.url)), timeout_s=PATIENCE_S) as opened:
        yield opened


def contents(folder: Path) -> dict[str, str]:
    return {
        f"{path.parent.name}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*.jpg")
    }


def trainers(daemon_pid: int) -> list[psutil.Process]:
    """Trainer processes of a daemon."""
    found = []
    for child in psutil.Process(daemon_pid).children():
        try:
            if "edged.learning.trainer" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def check_live(client: Client, known: set[str]) -> str:
    """A result comes, of a model that may run; returns which."""
    with client.subscribe("dut/result/+") as answers:
        message = answers.get(PATIENCE_S)
    assert message is not None, "no live results"
    result = message.decode(Result)
    assert result is not None
    assert result.model in known
    return result.model


@pytest.mark.timeout(3600)
def test_fifty_kills_at_random_points(daemon: Callable[..., Daemon], client: Client, tmp_path: Path) -> None:
    dice = random.Random(20)
    images = make_album(tmp_path / "state" / "images", 8)
    device = daemon("[retrain]\nkeep_frames = false\nready_s = 0\nbatch = 16\nmin_accuracy = 0.0\ntolerance = 0.3\n")
    store = Store(device.state_dir)
    known = {store.current("mobilenet_v2").id}
    stages: set[str | None] = set()
    rounds = ["child"] * CHILD_KILLS + ["daemon"] * DAEMON_KILLS
    dice.shuffle(rounds)
    drawn, hits = 8, 0

    def new_images() -> None:
        nonlocal drawn
        make_album(images, 1, first=drawn)
        drawn += 1

    # What a training takes on this machine, at its present load: the points of death spread over all of its stages.
    began = time.monotonic()
    (*_, last) = client.jobs(client.command("dut", "retrain", {}).id)
    assert last.status == "succeeded", last.error
    known |= {version.id for version in store.versions()}
    longest_s = time.monotonic() - began

    for number, victim in enumerate(rounds):
        new_images()
        began = time.monotonic()
        job_id = client.command("dut", "retrain", {"seed": number}).id
        assert device.process is not None
        pid = device.process.pid
        over = f"training {job_id}: "  # while this process was not scheduled, the trainer may have come and gone
        wait_until(lambda pid=pid, over=over: trainers(pid) or over in device.log, what="the trainer")  # type: ignore[misc]  # mypy: default arguments
        children = trainers(pid)
        time.sleep(dice.uniform(0, longest_s))
        if victim == "child":
            for child in children:
                try:
                    child.kill()
                except psutil.NoSuchProcess:  # it was done
                    continue
        else:
            os.kill(pid, signal.SIGKILL)
            device.kill()
            wait_until(lambda children=children: all(has_ended(c) for c in children), what="its end")  # type: ignore[misc]  # the same
            device.start()
        last = None
        for last in client.jobs(job_id, device="dut"):
            if last.status == "running":
                stages.add(last.stage)
        client.forget(job_id)
        assert last is not None
        assert last.status in ("succeeded", "failed"), last.error
        if last.status == "failed":
            hits += 1
            longest_s *= 1.1  # until one gets away, which passes all stages
            expected = "was killed by signal 9" if victim == "child" else "the daemon was restarted"
            assert expected in (last.error or "")
        else:
            longest_s = time.monotonic() - began
        known |= {version.id for version in store.versions()}
        check_live(client, known)
        assert store.current("mobilenet_v2").id in known

    assert {"scan", "bottlenecks", "training"} <= stages
    assert hits >= 15
    before = contents(images)
    assert len(before) == 3 * drawn
    (*_, last) = client.jobs(client.command("dut", "retrain", {}).id)
    assert last.status == "succeeded", last.error
    assert (last.report or {})["counts"] == dict.fromkeys(LABELS, drawn)
    assert contents(images) == before
    assert check_live(client, {(last.report or {})["model"]})
    assert len(store.versions()) <= 6
    assert device.stop() == 0
    assert "Traceback" not in device.log
