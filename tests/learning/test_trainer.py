"""The trainer as a process of its own: it may be killed, cancelled, and run out of disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from edged.contract.hyperparameters import Hyperparameters
from edged.errors import ChildError
from edged.jobs.process import ChildProcess
from edged.learning import TRAINER, Needed, Outcome, Progress, TrainingRequest
from edged.store import Store
from tests.learning.conftest import SHIPPED, request_for
from tests.waiting import PATIENCE_S

ENDLESS = Hyperparameters(epochs=10_000, lr=1e-6, batch=1)
"""A training that does not end by itself while a test looks at it."""


@pytest.fixture
def request_(tmp_path: Path) -> TrainingRequest:
    return request_for(tmp_path, images=10, min_accuracy=0.0, batch=16)


def train(
    request: TrainingRequest, *, at: str | None = None, do: Callable[[int], None] = lambda _: None
) -> tuple[list[str], Outcome]:
    """Return the stages and the outcome; `do` gets the process's id once it has reached a stage."""
    stages: list[str] = []

    def tell(progress: Progress) -> None:
        if progress.stage not in stages:
            stages.append(progress.stage)
            if progress.stage == at:
                do(process.pid)

    with ChildProcess(TRAINER, request, timeout_s=PATIENCE_S) as process:
        return stages, process.wait(tell)


def test_a_training_in_a_child(request_: TrainingRequest) -> None:
    seen: list[tuple[int, str]] = []

    def look(pid: int) -> None:
        seen.append((psutil.Process(pid).nice(), Path(f"/proc/{pid}/oom_score_adj").read_text().strip()))

    stages, outcome = train(request_, at="bottlenecks", do=look)
    assert seen == [(min(os.nice(0) + 10, 19), "1000")]
    assert stages[:2] == ["scan", "bottlenecks"]
    assert outcome.status == "succeeded", outcome.error
    assert (outcome.report.peak_memory_mb or 0) > 50


@pytest.mark.parametrize("stage", ["scan", "bottlenecks", "training", "writing"])
def test_killed_at_any_stage_it_says_so_and_the_next_one_goes_on(request_: TrainingRequest, stage: str) -> None:
    error = None
    try:
        train(request_, at=stage, do=lambda pid: os.kill(pid, signal.SIGKILL))
    except ChildError as raised:  # else it was just done
        error = str(raised)
    assert error in (None, "the trainer was killed by signal 9 (SIGKILL); out of memory?")
    _, outcome = train(request_)
    assert outcome.status == "succeeded", outcome.error
    assert len(list((request_.state_dir / "images").glob("*/*.jpg"))) == 30


@pytest.mark.parametrize("stage", ["scan", "bottlenecks", "training"])
def test_it_can_be_stopped_at_any_stage(request_: TrainingRequest, stage: str) -> None:
    cancelled = threading.Event()
    endless = replace(request_, hyperparameters=ENDLESS)
    with ChildProcess(TRAINER, endless) as process:
        child = psutil.Process(process.pid)
        assert process.wait(lambda progress: cancelled.set() if progress.stage == stage else None, cancelled) is None
    assert not child.is_running()
    assert Store(request_.state_dir).versions() == [], "it was stopped, it did not end by itself"


_LIMITED = """
import json, resource, sys
from pathlib import Path
from edged.learning.trainer import run_here
from edged.learning import TrainingRequest

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
    _, outcome = train(request_)  # there is room again
    assert outcome.status == "succeeded", outcome.error


_READY = """
import json, sys
from pydantic import BaseModel
from edged.contract import reports
from edged.learning.trainer import load
from edged.store import read_bundle
from edged.vision import graph
from pathlib import Path

load(sys.argv[1])
model = read_bundle(Path(sys.argv[2])).read_model()
deferred = [
    one.__name__
    for one in vars(reports).values()
    if isinstance(one, type) and issubclass(one, BaseModel) and one is not BaseModel and not one.__pydantic_complete__
]
was_read = [content for content, _ in graph._RECENT._graphs] == [model]
print(json.dumps([was_read, deferred]))
"""


def test_one_that_waits_has_read_the_networks_that_it_is_told_of(tmp_path: Path) -> None:
    """And no others: what cannot be read is for the training to tell."""
    text = Needed("auto", (tmp_path / "gone", SHIPPED)).encode()
    assert Needed.decode(text) == Needed("auto", (tmp_path / "gone", SHIPPED))
    arguments = [sys.executable, "-c", _READY, text, str(SHIPPED)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [True, []]
