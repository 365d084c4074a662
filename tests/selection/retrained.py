"""A pool for a fresh clone: two heads for the same six classes on the shipped backbone, and labeled photos for them."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.resources import shipped
from edged.store import Bundle, Store
from edged.vision.graph import Graph
from edged.vision.network import Network

PHOTOS = Path(__file__).parents[2] / "edged" / "demo" / "photos"
LABELS = tuple(sorted(path.stem for path in PHOTOS.glob("*.jpg")))
_VIEWS = 10


def write_photos(folder: Path) -> Path:
    """Cut ten views out of each photo that ships; write them and a `labels.csv`. Returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    with (folder / "labels.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["file", "class_index", "label"])
        for index, label in enumerate(LABELS):
            image = cv2.imread(str(PHOTOS / f"{label}.jpg"))
            height, width = image.shape[:2]
            for view in range(_VIEWS):
                top, left = rng.integers(height // 3), rng.integers(width // 3)
                cut = image[top : top + 2 * height // 3, left : left + 2 * width // 3]
                cv2.imwrite(str(folder / f"{label}{view}.jpg"), cv2.resize(cut, (320, 240)))
                table.writerow([f"{label}{view}.jpg", index, label])
    return folder


@functools.cache
def heads() -> tuple[bytes, bytes]:
    """A head of class means, and a worse one."""
    model = (shipped("models") / "mobilenet_v2" / "model.tflite").read_bytes()
    network, graph = Network(model), Graph(model)
    means = []
    for label in LABELS:
        bgr = cv2.imread(str(PHOTOS / f"{label}.jpg"))
        image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        means.append(network.infer(network.prepare(image)).embedding)
    weights = np.asarray(means, np.float32)
    weights -= weights.mean(axis=0)
    weights *= 12 / np.square(weights).sum(axis=1).mean()
    noise = np.random.default_rng(1).normal(scale=12 * weights.std(), size=weights.shape)

    def with_head(values: NDArray[np.float32]) -> bytes:
        return graph.replace_head(values, np.zeros(len(LABELS), np.float32), (-16.0, 16.0))

    return with_head(weights), with_head((weights + noise).astype(np.float32))


def install(state_dir: Path) -> list[Bundle]:
    """Add both to a store, as `scenes_a` and `scenes_b`."""
    store = Store(state_dir)
    pairs = zip(("scenes_a", "scenes_b"), heads(), strict=True)
    return [store.add(model, LABELS, name=name, width=224, height=224) for name, model in pairs]
