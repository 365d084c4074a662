"""Labeled images for the retraining demonstration: crops of the shipped photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edged.codec import encode_jpeg, read_image

SIDE = 256
"""Of a crop, pixels."""


def write_crops(photos: Path, folder: Path, *, per_photo: int = 16, seed: int = 0) -> int:
    """Cut squares of different size and place out of each photo, some of them mirrored; its name is their label.

    Args:
        photos: Folder of JPEGs.
        folder: Gets a folder per label.
        per_photo: How many crops of each.
        seed: Same seed, same crops.

    Returns:
        How many crops were written.
    """
    dice = np.random.default_rng(seed)
    written = 0
    for photo in sorted(photos.glob("*.jpg")):
        image = read_image(photo)
        height, width = image.shape[:2]
        target = folder / photo.stem
        target.mkdir(parents=True)
        for number in range(per_photo):
            side = int(min(height, width) * dice.uniform(0.6, 1.0))
            left, top = int(dice.integers(width - side + 1)), int(dice.integers(height - side + 1))
            crop = image[top : top + side, left : left + side]
            if dice.random() < 0.5:
                crop = crop[:, ::-1]
            scaled = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            (target / f"{number:02d}.jpg").write_bytes(encode_jpeg(np.asarray(scaled, np.uint8)))
            written += 1
    return written
