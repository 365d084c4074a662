"""A training that chooses its backbone itself, in a process of its own, as the daemon starts it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

from edged import resources
from edged.contract.hyperparameters import Hyperparameters
from edged.jobs.process import ChildProcess
from edged.learning import CHOOSING_TRAINER, Limits, TrainingRequest, candidates
from edged.store import Store, read_bundle
from edged.zoo.install import install
from tests.albums import make_album
from tests.waiting import PATIENCE_S

SHIPPED = resources.shipped("models") / "mobilenet_v2"


def test_the_child_ranks_its_candidates_and_trains(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    bundle = read_bundle(SHIPPED)
    install(store, bundle.read_model() + bytes(16), bundle.labels, name="other", origin="other")
    current = store.find("mobilenet_v2")
    request = TrainingRequest(
        state_dir=store.path,
        backbone=store.find("other").path,
        candidates=candidates(store, "auto"),
        current=current.path,
        run="auto",
        images=make_album(tmp_path / "album", 12),
        hyperparameters=Hyperparameters(epochs=5, min_accuracy=0.0),
        workers=1,
        out=tmp_path / "out",
    )
    with ChildProcess(CHOOSING_TRAINER, request, timeout_s=PATIENCE_S) as process:
        outcome = process.wait()
    assert outcome.error is None
    assert outcome.report.choice is not None
    assert outcome.report.choice.chosen == "mobilenet_v2" == outcome.report.backbone
    assert outcome.report.choice.way == "exact", "of a few images every network sees all"
    request = dataclasses.replace(request, limits=Limits(within_ms=0.0001))
    with ChildProcess(CHOOSING_TRAINER, request, timeout_s=PATIENCE_S) as process:
        outcome = process.wait()
    assert outcome.status == "rejected"
    assert outcome.error is not None
    assert "none of the 2 installed networks is within the limits" in outcome.error


def test_the_entry_loads_nothing_heavy_before_threads_are_limited() -> None:
    code = "import sys, edged.lab.trainer; print(sorted({'numpy', 'cv2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
