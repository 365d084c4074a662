"""Measure a quantized classifier on labeled ImageNet photos, prepared and run as the daemon does.

    python tools/measure_accuracy.py MODEL.tflite [--data ../shared/data]

Prints top-1 and top-5 in percent, in total and per source of the photos, as JSON.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import EdgedError
from edged.vision.network import Network

CLASSES = 1000
Image = NDArray[np.uint8]  # (height, width, 3), RGB


class PhotoError(EdgedError):
    """A photo or a list of photos cannot be used."""


@dataclass(frozen=True)
class Photos:
    """Labeled photos: files, class indices (n,) from 0 to 999, and where each photo comes from (n,)."""

    files: list[Path]
    classes: NDArray[np.int64]
    sources: NDArray[np.str_]


def read(file: Path) -> Image:
    """Return the RGB photo; raise PhotoError where the file is none."""
    image = cv2.imread(str(file))
    if image is None:
        raise PhotoError(f"{file}: not a readable photo")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def labeled(data: Path) -> Photos:
    """List the photos of data/imagenet/labels.csv."""
    folder = data / "imagenet"
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    classes = np.array([int(row["class_index"]) for row in rows])
    return Photos([folder / row["file"] for row in rows], classes, np.array([row["source"] for row in rows]))


def accuracy(scores: NDArray[np.float32], classes: NDArray[np.int64]) -> dict[str, float]:
    """Return top-1 and top-5 in percent of scores (n, classes); of equal scores the lower class index wins."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
    hits = order == classes[:, None]
    return {"top1": round(100 * float(hits[:, 0].mean()), 2), "top5": round(100 * float(hits.any(1).mean()), 2)}


def report(scores: dict[str, NDArray[np.float32]], photos: Photos) -> dict[str, Any]:
    """Compare networks by their scores (n, 1000) on the same photos: accuracy by name, in total and per source."""
    result: dict[str, Any] = {"dataset": "../shared/data/imagenet", "images": len(photos.files)}
    result |= {name: accuracy(s, photos.classes) for name, s in scores.items()}
    result["per_source"] = {}
    for source in dict.fromkeys(photos.sources.tolist()):
        here = photos.sources == source
        by_name = {name: accuracy(s[here], photos.classes[here]) for name, s in scores.items()}
        result["per_source"][source] = {"images": int(here.sum()), **by_name}
    return result


def run(model: bytes, photos: Photos) -> NDArray[np.float32]:
    """Return the scores (n, 1000) of a .tflite file; of 1001 outputs the first, background, is left out."""
    network = Network(model, threads=os.cpu_count() or 1)
    scores = [network.infer(network.prepare(read(file))).scores for file in photos.files]
    return np.stack(scores)[:, -CLASSES:]


def main() -> int:
    """Measure the file named on the command line."""
    parser = argparse.ArgumentParser(description="Measure a quantized classifier on labeled ImageNet photos.")
    parser.add_argument("model", type=Path, help="a .tflite file with 1000 or 1001 ImageNet classes")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder that contains imagenet/")
    args = parser.parse_args()
    try:
        photos = labeled(args.data)
        result = report({"quantized": run(args.model.read_bytes(), photos)}, photos)
    except (EdgedError, OSError) as error:
        print(f"measure_accuracy: {error}", file=sys.stderr)
        return 2
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
