"""A training of the network that ships, on drawn pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edged.contract.hyperparameters import Hyperparameters
from edged.learning import TrainingRequest
from tests.albums import make_album
from tests.conftest import REPOSITORY

SHIPPED = REPOSITORY / "models" / "mobilenet_v2"


def request_for(state_dir: Path, *, images: int = 20, workers: int = 0, **hyperparameters: Any) -> TrainingRequest:
    """Ask for a training on so many pictures of each label, which are put into the device's own folder."""
    make_album(state_dir / "images", images)
    return TrainingRequest(
        state_dir=state_dir,
        backbone=SHIPPED,
        current=SHIPPED,
        run="job-1",
        hyperparameters=Hyperparameters(**hyperparameters),
        workers=workers,
    )
