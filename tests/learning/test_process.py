"""The trainer as a process of its own: it may be killed, cancelled, orphaned, and run out of disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edged.learning.process import TrainingProcess
from edged.learning.request import Outcome, Progress, TrainingRequest
from edged.store import Store
from tests.albums import make_album
from tests.conftest import REPOSITORY
from tests.waiting import PATIENCE_S, has_ended, wait_until

ENDLESS = {"epochs": 10_000, "lr": 1e-6, "batch": 1}
"""A training that does not end by itself while a test looks at it."""
SHIPPED = REPOSITORY / "models" / "mobilenet_v2"


@pytest.fixture
def request_(tmp_path: Path) -> TrainingRequest:
    make_album(tmp_path / "images", 10)
    return TrainingRequest(state_dir=tmp_path, backbone=SHIPPED, current=SHIPPED, run="job", min_accuracy=0.0, batch=16)


@pytest.fixture
def process(request_: TrainingRequest) -> Iterator[TrainingProcess]:
    started = TrainingProcess(request_)
    yield started
    started.close()


def listen(process: TrainingProcess, until: str | None = None) -> tuple[list[str], Outcome | None]:
    """Return the stages, and the outcome; or stop listening at a stage."""
    stages: list[str] = []
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        message = process.receive(0.5)
        if isinstance(message, Outcome):
            return stages, message
        if isinstance(message, Progress) and message.stage not in stages:
            stages.append(message.stage)
            if message.stage == until:
                return stages, None
    raise AssertionError(f"no outcome; stages: {stages}")


def test_a_training_in_a_child(process: TrainingProcess) -> None:
    assert process.pid is not None
    stages, _ = listen(process, "bottlenecks")
    child = psutil.Process(process.pid)
    assert child.nice() >= 10
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text().strip() == "500"
    later, outcome = listen(process)
    assert (stages + later)[:2] == ["scan", "bottlenecks"]
    assert outcome is not None
    assert outcome.status == "succeeded", outcome.error
    assert outcome.report["peak_memory_mb"] > 50


@pytest.mark.parametrize("stage", ["scan", "bottlenecks", "training", "writing"])
def test_killed_at_any_stage_it_says_so_and_the_next_one_goes_on(request_: TrainingRequest, stage: str) -> None:
    process = TrainingProcess(request_)
    listen(process, stage)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    _, outcome = listen(process)
    process.close()
    assert outcome is not None
    if outcome.status != "succeeded":  # it may just have been done
        assert (outcome.status, outcome.error) == (
            "failed",
            "the trainer was killed by signal 9 (SIGKILL); out of memory?",
        )
    again = TrainingProcess(request_)
    _, outcome = listen(again)
    again.close()
    assert outcome is not None
    assert outcome.status == "succeeded", outcome.error
    assert len(list((request_.state_dir / "images").glob("*/*.jpg"))) == 30


@pytest.mark.parametrize("stage", ["scan", "bottlenecks", "training"])
def test_it_can_be_stopped_at_any_stage(request_: TrainingRequest, stage: str) -> None:
    process = TrainingProcess(replace(request_, **ENDLESS))
    listen(process, stage)
    pid = process.pid
    process.close()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert Store(request_.state_dir).versions() == [], "it was stopped, it did not end by itself"


def test_one_that_does_not_listen_is_killed(request_: TrainingRequest) -> None:
    process = TrainingProcess(request_)
    listen(process, "scan")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)  # a stopped process acts on no signal but SIGKILL
    pid = process.pid
    process.close()
    assert not psutil.pid_exists(pid)


_PARENT = """
import json, sys, time
from pathlib import Path
from edged.learning.process import TrainingProcess
from edged.learning.request import TrainingRequest

if __name__ == "__main__":
    paths = json.loads(sys.argv[1])
    request = TrainingRequest(state_dir=Path(paths[0]), backbone=Path(paths[1]), run="job", **json.loads(sys.argv[2]))
    process = TrainingProcess(request)
    print(process.pid, flush=True)
    time.sleep(10_000)
"""


def test_it_dies_with_its_parent(request_: TrainingRequest, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(_PARENT)
    paths = json.dumps([str(request_.state_dir), str(SHIPPED)])
    command = [sys.executable, str(script), paths, json.dumps(ENDLESS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(random.random())
        assert not has_ended(child)
        parent.kill()
    wait_until(lambda: has_ended(child), what="its end")


_LIMITED = """
import json, resource, sys
from pathlib import Path
from edged.learning.child import run_here
from edged.learning.request import TrainingRequest

if __name__ == "__main__":
    state, backbone, limit = json.loads(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    outcome = run_here(TrainingRequest(state_dir=Path(state), backbone=Path(backbone), run="job"), lambda _: None)
    print(json.dumps([outcome.status, outcome.error]))
"""


@pytest.mark.parametrize("limit", [1_000_000, 20_000])
def test_a_full_disk_fails_the_training_and_nothing_else(request_: TrainingRequest, tmp_path: Path, limit: int) -> None:
    script = tmp_path / "limited.py"
    script.write_text(_LIMITED)
    arguments = json.dumps([str(request_.state_dir), str(SHIPPED), limit])
    done = subprocess.run([sys.executable, str(script), arguments], capture_output=True, text=True, check=True)
    status, error = json.loads(done.stdout)
    assert status == "failed"
    assert error
    assert "internal" not in error
    assert "\n" not in error
    store = Store(request_.state_dir)
    assert store.versions() == []
    assert store.current("mobilenet_v2").path == SHIPPED
    assert len(list((request_.state_dir / "images").glob("*/*.jpg"))) == 30
    free = TrainingProcess(request_)  # there is room again
    _, outcome = listen(free)
    free.close()
    assert outcome is not None
    assert outcome.status == "succeeded", outcome.error
