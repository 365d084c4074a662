"""What the child process is asked to do and what it says: how deep to fine-tune and how, and what came out.

Plain values: neither side needs the other's libraries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edged.errors import ConfigError
from edged.jobs.process import Child
from edged.learning.softmax_regression import EpochReport

BLOCKS = 16
"""MobileNetV2's numbered blocks; Conv1 and expanded_conv come before them, Conv_1 and the head after them."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of MobileNetV2 is retrained: so many of its last layers, counted from the head.

    Attributes:
        blocks: 0: the head alone; n: Conv_1 and the last n blocks as well; None: all layers.
    """

    blocks: int | None

    @property
    def first_block(self) -> int | None:
        """The first numbered block that is retrained; None where the cut is not at a block."""
        return None if self.blocks in (0, None) else BLOCKS + 1 - (self.blocks or 0)

    def __str__(self) -> str:
        return {0: "head", 1: "last-block", None: "all"}.get(self.blocks, str(self.blocks))


def parse_depth(text: str) -> Depth:
    """Read the value of `--layers`.

    Raises:
        ConfigError: Not "head", "last-block", "all" or a number of blocks.
    """
    named = {"head": Depth(0), "last-block": Depth(1), "all": Depth(None)}
    if text in named:
        return named[text]
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= BLOCKS:
        return Depth(int(text))
    raise ConfigError(f"layers = {text!r}: use head, last-block, all, or a number of blocks from 1 to {BLOCKS}")


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """How to fine-tune.

    Attributes:
        layers: Which layers are retrained, see `parse_depth`.
        multiplier: Factor on the learning rate of the layers before the head; 0 leaves these layers as they are.
        lr: Learning rate of the head, whose features have mean 0 and a mean squared norm of 1; falls to 0 by a cosine.
        epochs: At most so many passes.
        batch: Images per step.
        patience: Epochs without a lower validation loss after which training ends.
        seed: Seed of the order of the images and of the flips.
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
        weights: Path of the .h5 file with the weights to begin with.
        images: Split → the path of each image and the number of its label.
        classes: Number of labels.
        out: Where the .tflite is written.
        threads: Threads of TensorFlow; 0: its own choice.
        hyperparameters: How to fine-tune.
    """

    weights: str
    images: dict[str, list[tuple[str, int]]]
    classes: int
    out: str
    threads: int
    hyperparameters: Hyperparameters


@dataclass(frozen=True, slots=True)
class Epoch(EpochReport):
    """One pass over the training photos; `loss` is that of smoothed labels. `seconds`: how long it took."""

    seconds: float


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A stage that begins, or in "training" an epoch that is done."""

    stage: str
    epoch: Epoch | None = None


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """What was fine-tuned; the model lies where the job wants it.

    Attributes:
        best_epoch: The epoch whose weights were kept; 0: only the head was fitted.
        keras_accuracy: Accuracy on the test images before quantization, 0..1; None without any.
        trained_parameters: Number of parameters that changed, folded as the model has them.
        trained_bytes: Bytes that these parameters take in the model.
        seconds: Stage → seconds that it took.
    """

    best_epoch: int
    keras_accuracy: float | None
    trained_parameters: int
    trained_bytes: int
    seconds: dict[str, float]


FINE_TUNING = Child("edged.lab.finetune.child", "TensorFlow process", Job, JobProgress, JobOutcome, keeps_errors=True)
