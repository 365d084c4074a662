"""What the child process is asked to do and what it says: JSON, so that neither side needs the other's libraries."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from edged.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How to fine-tune.

    Attributes:
        layers: See `depth.parse_depth`.
        multiplier: On the learning rate of the layers before the head; 0 leaves them as they are.
        lr: Of the head, which works on features with mean 0 and a mean squared norm of 1; falls to 0 by a cosine.
        epochs: At most so many passes.
        batch: Images per step.
        patience: Epochs without a lower validation loss after which training ends.
        seed: Of the order and the flips.
    """

    layers: str = "last-block"
    multiplier: float = 0.01
    lr: float = 0.05
    epochs: int = 10
    batch: int = 32
    patience: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed, fine in (
            ("multiplier", "a number from 0 to 1", 0 <= self.multiplier <= 1),
            ("lr", "a number above 0 and at most 10", 0 < self.lr <= 10 and math.isfinite(self.lr)),
            ("epochs", "1 to 1000", 1 <= self.epochs <= 1000),
            ("batch", "1 to 1024", 1 <= self.batch <= 1024),
            ("patience", "1 or more", self.patience >= 1),
        ):
            if not fine:
                raise ConfigError(f"{name} = {getattr(self, name)}: must be {allowed}")


@dataclass(frozen=True, slots=True)
class Job:
    """One fine-tuning.

    Attributes:
        weights: .h5 file.
        images: Per split, paths and label numbers.
        classes: Number of labels.
        out: Where the .tflite is written.
        threads: For TensorFlow; 0: its own choice.
        hyperparameters: How.
    """

    weights: str
    images: dict[str, list[tuple[str, int]]]
    classes: int
    out: str
    threads: int
    hyperparameters: Hyperparameters

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read what `write` has written."""
        values = json.loads(path.read_text(encoding="utf-8"))
        values["hyperparameters"] = Hyperparameters(**values["hyperparameters"])
        values["images"] = {
            split: [(file, int(label)) for file, label in images] for split, images in values["images"].items()
        }
        return cls(**values)
