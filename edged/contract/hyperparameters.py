"""The hyperparameters of a training: the only place with their names, defaults, ranges and help.

The configuration's `[retrain]`, the command `retrain`, the request to the trainer, both command lines and the report
take them from here.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Hyperparameters(BaseModel):
    """How a new final layer is trained, and how good it must be.

    A field's description is its help on the command lines.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    lr: float = Field(
        default=0.1,
        gt=0,
        le=100,
        allow_inf_nan=False,
        description="learning rate, in units of 1 / smoothness of the mini-batch loss, so that it fits every network",
    )
    epochs: int = Field(default=100, ge=1, le=10_000, description="at most so many passes over the images")
    batch: int = Field(default=64, ge=1, le=4096, description="images per step")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="of the heavy ball, 0 to below 1")
    l2: float = Field(
        default=3e-5,
        ge=0,
        allow_inf_nan=False,
        description="weight of ½‖W‖² in the loss, for features whose mean squared norm is 1",
    )
    patience: int = Field(
        default=10, ge=1, description="epochs without a lower validation loss after which training ends"
    )
    seed: int = Field(default=0, ge=0, le=2**63 - 1, description="same images and seed, same weights")
    augment: bool = Field(default=False, description="train on flipped, cropped and brighter or darker views too")
    min_accuracy: float = Field(
        default=0.5, ge=0, le=1, allow_inf_nan=False, description="refuse a model whose accuracy is below, 0 to 1"
    )
    tolerance: float = Field(
        default=0.02,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="how much less accurate than the current model a new one may be, 0 to 1",
    )
