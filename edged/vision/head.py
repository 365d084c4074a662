"""What there is to know of a classifier's input and head, whatever the file's format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


LONGEST_SIDE = 4096
"""Of an input, pixels: many times what any classifier takes."""


@dataclass(frozen=True, slots=True)
class Input:
    """The image input.

    Attributes:
        height: Pixels.
        width: Pixels.
        dtype: "uint8" takes raw RGB; "int8" takes raw RGB minus 128.
    """

    height: int
    width: int
    dtype: Literal["uint8", "int8"]

    def __post_init__(self) -> None:
        check_sides(self.width, self.height)


def check_sides(width: int, height: int) -> None:
    """Make sure that a frame of the input's size can be made: what a damaged file asks for may be larger than memory.

    Raises:
        ModelError: It is too large.
    """
    if max(width, height) > LONGEST_SIDE:
        raise ModelError(f"input is {width}×{height} pixels; at most {LONGEST_SIDE} a side are taken")


@dataclass(frozen=True, slots=True)
class Head:
    """The classifier head: the last FULLY_CONNECTED (ONNX: Gemm, MatMul), or 1×1 CONV_2D on a pooled tensor.

    Attributes:
        kind: The operator's name in TFLite.
        features: Width of the bottleneck.
        classes: Number of outputs.
        softmax: Whether a SOFTMAX follows; without one the outputs are logits.
    """

    kind: Literal["FULLY_CONNECTED", "CONV_2D"]
    features: int
    classes: int
    softmax: bool


def check_head(
    head: Head, weights: NDArray[np.float32], bias: NDArray[np.float32], logits_range: tuple[float, float]
) -> None:
    """Make sure that a new head fits the bottleneck of the old one.

    Raises:
        ModelError: Shapes do not fit, or a value is not finite.
    """
    if weights.ndim != 2 or weights.shape[1] != head.features or bias.shape != weights.shape[:1]:
        raise ModelError(
            f"a head of shape {weights.shape} with bias {bias.shape} does not fit a bottleneck of "
            f"{head.features} features"
        )
    if not (np.isfinite(weights).all() and np.isfinite(bias).all() and np.isfinite(logits_range).all()):
        raise ModelError("the new head has weights that are not finite")
