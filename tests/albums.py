"""Labeled pictures that a network can learn to tell apart: a folder per label, drawn from a seed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np

LABELS = ("checks", "discs", "stripes")


def picture(label: str, seed: int) -> bytes:
    """A JPEG of 160×120 pixels with what the label says on a noisy ground."""
    random = np.random.default_rng([LABELS.index(label), seed])
    ground = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
    image = cv2.resize(ground, (160, 120), interpolation=cv2.INTER_CUBIC)
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    size = int(random.integers(8, 18))
    if label == "discs":
        for _ in range(12):
            centre = (int(random.integers(0, 160)), int(random.integers(0, 120)))
            cv2.circle(image, centre, size, colour, -1)
    else:
        rows, columns = np.mgrid[0:120, 0:160] + int(random.integers(0, 32))
        across = columns // size % 2
        mask = across if label == "stripes" else across ^ (rows // size % 2)
        image[mask == 1] = colour
    encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    assert encoded
    return jpeg.tobytes()


def put(path: Path, data: bytes) -> Path:
    """Write a file as rsync -a would: with a time of long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    past = time.time() - 3600
    os.utime(path, (past, past))
    return path


def make_album(folder: Path, per_label: int = 20, labels: tuple[str, ...] = LABELS, first: int = 0) -> Path:
    """Draw `per_label` pictures of each label into `<folder>/<label>/`."""
    for label in labels:
        for seed in range(first, first + per_label):
            put(folder / label / f"{seed:04}.jpg", picture(label, seed))
    return folder
