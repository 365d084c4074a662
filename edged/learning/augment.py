"""Further views of a labeled image, for training on few images: pure numpy, the same for the same seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from edged.types import Image

View = Literal["plain", "flip", "crop", "brightness"]
AUGMENTED: tuple[View, ...] = ("plain", "flip", "crop", "brightness")
"""The views of `--augment`; the first is what is evaluated."""
_LEAST_SIDE = 0.75
_LEAST_GAIN, _GREATEST_GAIN = 0.6, 1.5


def make_view(image: Image, view: View, seed: int) -> Image:
    """Return one view of an image, to be prepared for the network like the image itself.

    Args:
        image: RGB, (height, width, 3) uint8.
        view: "plain" returns the image; "flip" mirrors left and right; "crop" cuts out a window with 75..95 % of each
            side, anywhere, mirrored every other time; "brightness" multiplies by 0.6..1.5 and saturates.
        seed: Of this image, e.g. from its hash.

    Returns:
        RGB uint8, contiguous; of the same size but for "crop".
    """
    random = np.random.default_rng([seed, AUGMENTED.index(view)])
    if view == "flip":
        return np.ascontiguousarray(image[:, ::-1])
    if view == "crop":
        rows, columns = image.shape[:2]
        side = random.uniform(_LEAST_SIDE, 0.95)
        height, width = max(1, round(rows * side)), max(1, round(columns * side))
        top, left = int(random.integers(rows - height + 1)), int(random.integers(columns - width + 1))
        window = image[top : top + height, left : left + width]
        return np.ascontiguousarray(window[:, ::-1] if random.random() < 0.5 else window)
    if view == "brightness":
        gain = np.exp(random.uniform(np.log(_LEAST_GAIN), np.log(_GREATEST_GAIN)))
        # A table of 256 values: no float copy of the image.
        table = np.clip(np.rint(np.arange(256) * gain), 0, 255).astype(np.uint8)
        return np.asarray(table[image], np.uint8)
    return image
