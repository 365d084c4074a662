"""Photos for tests: made from a seed, where no two look alike unless asked for, and cut out of those that ship."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.codec import read_image
from edged.demo import PHOTOS


def picture(seed: int, *, width: int = 96, height: int = 72) -> np.ndarray:
    """Blobs of colour, (height, width, 3) uint8."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def photo(seed: int, *, suffix: str = ".jpg", brighter: int = 0, **size: int) -> bytes:
    """An image file's content; `brighter` shifts all levels, as the next frame of a burst might."""
    image = cv2.add(picture(seed, **size), np.full(3, brighter, np.float64))
    encoded, data = cv2.imencode(suffix, image)
    assert encoded
    return data.tobytes()


def shipped_photos() -> dict[Path, str]:
    """The demonstration's photos and the label that ImageNet has for each, from the table of their licences."""
    lines = (PHOTOS / "LICENSE.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if ".jpg |" in line]
    return {PHOTOS / row[0]: row[-1] for row in rows}


def views(path: Path, count: int, *, seed: int = 0) -> list[NDArray[np.uint8]]:
    """A photo as it is, then parts of it, some mirrored: RGB, (height, width, 3) uint8."""
    image = read_image(path)
    height, width = image.shape[:2]
    random = np.random.default_rng([seed, *path.stem.encode()])
    found = [image]
    while len(found) < count:
        part = random.uniform(0.75, 1.0)
        tall, wide = int(height * part), int(width * part)
        top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
        cut = image[top : top + tall, left : left + wide]
        found.append(np.ascontiguousarray(cut[:, ::-1] if random.random() < 0.5 else cut))
    return found


def write_views(folder: Path, count: int, *, seed: int = 1) -> Path:
    """Write views of each photo into a folder with its name; return the folder that holds these."""
    for path in shipped_photos():
        (folder / path.stem).mkdir(parents=True)
        for number, view in enumerate(views(path, count, seed=seed)):
            assert cv2.imwrite(str(folder / path.stem / f"{number:03}.jpg"), view[:, :, ::-1])
    return folder
