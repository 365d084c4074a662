"""How to train a head: the numbers, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from edged.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train.

    Attributes:
        lr: Learning rate, in units of 1 / smoothness of the mini-batch loss; see `standardisation.smoothness`.
        epochs: At most this many passes.
        batch: Examples per step.
        momentum: Of the heavy ball, 0..1.
        l2: Weight of ½‖W‖² in the loss, for features whose mean squared norm is 1.
        patience: Epochs without a lower validation loss after which training ends.
        seed: Of the order of the examples.
        class_weights: "balanced" gives every class the same total weight in the loss.
    """

    lr: float = 0.1
    epochs: int = 100
    batch: int = 64
    momentum: float = 0.9
    l2: float = 3e-5
    patience: int = 10
    seed: int = 0
    class_weights: Literal["balanced"] | None = "balanced"

    def __post_init__(self) -> None:
        for name, allowed, low, high in (
            ("lr", "a number above 0", 0.0, math.inf),
            ("epochs", "1 or more", 0.5, math.inf),
            ("batch", "1 or more", 0.5, math.inf),
            ("momentum", "0 or more and below 1", -1e-300, 1.0),
            ("l2", "0 or more", -1e-300, math.inf),
            ("patience", "1 or more", 0.5, math.inf),
        ):
            value = getattr(self, name)
            if not low < value < high:
                raise TrainingError(f"{name} = {value}: must be {allowed}")
