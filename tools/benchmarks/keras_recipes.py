"""The recipes of `keras_head` on edged's own split of the photos: its training side trains, its test side judges.

Training and validation photos are both given to Keras, which stops by no validation. The int8 file runs in LiteRT, on
photos that are decoded and resized as Frigate does with a frame (OpenCV, bilinear, the whole picture).
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edged.images import open_images
from edged.lab.profiling.runtimes import Runner
from edged.learning.dataset import select

SCRIPT = Path(__file__).with_name("keras_head.py")


@dataclass(frozen=True)
class Photos:
    """The labels and the photos of both sides, as edged splits them."""

    labels: tuple[str, ...]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]


def photos_of(state: Path, images: Path) -> Photos:
    """Return the split that `edged retrain` has made of a folder."""
    store = open_images(state, images, 10_000.0)
    try:
        store.scan()
        selection = select(store.labeled())
    finally:
        store.close()
    sides: dict[bool, list[tuple[str, int]]] = {False: [], True: []}
    for image in selection.images:
        sides[image.split == "test"].append((str(image.path), selection.labels.index(image.label)))
    return Photos(selection.labels, sides[False], sides[True])


@dataclass(frozen=True)
class KerasRow:
    """One row of the comparison.

    Attributes:
        name: For people.
        recipe: A name of `keras_head.RECIPES`.
        cached: Whether the frozen network runs once per photo, not once per photo and epoch.
        seeds: Trainings; the first one computes the features.
        alpha, unit: As `keras_head.Job`.
        judged: Whether there are weights, and an accuracy.
    """

    name: str
    recipe: str
    cached: bool
    seeds: int
    alpha: float = 1.0
    unit: bool = False
    judged: bool = True


def rows(seeds: int, *, uncached: bool) -> list[KerasRow]:
    """Return what is compared; `uncached`: also what takes half an hour and more.

    Frigate's backbone is MobileNetV2 with alpha 0.35, whose ImageNet weights no package carries. So its accuracy is
    that of its recipe on alpha 1.0, a better network, and its time as it runs that of alpha 0.35 with random weights:
    both differ from Frigate's own in its favour or not at all.
    """
    chosen = [
        KerasRow("Keras, Dense head", "dense", True, seeds),
        KerasRow("Frigate's recipe", "frigate", True, seeds, unit=True),
        KerasRow("Frigate's recipe, pixels −1..1", "frigate", True, seeds),
    ]
    if uncached:
        chosen += [
            KerasRow("Keras, Dense head, as people run it", "dense", False, 1),
            KerasRow("Frigate's recipe, as it runs, alpha 0.35", "frigate", False, 1, 0.35, True, judged=False),
        ]
    return chosen


def measure(
    python: str, weights: Path, photos: Photos, chosen: Sequence[KerasRow], folder: Path
) -> list[dict[str, Any]]:
    """Run each row.

    Args:
        python: An interpreter with TensorFlow.
        weights: Keras' MobileNetV2 1.0 with its 1,000 classes, .h5.
        photos: Both sides.
        chosen: The rows.
        folder: For models and features.
    """
    measured = []
    for row in chosen:
        features = folder / f"{row.recipe}-{row.unit}.npy"
        runs = []
        for seed in range(row.seeds):
            out = folder / "head.tflite"
            job = {
                "recipe": row.recipe,
                "train": photos.train,
                "classes": len(photos.labels),
                "weights": str(weights) if row.judged else None,
                "alpha": row.alpha,
                "unit": row.unit,
                "cached": row.cached,
                "features": str(features) if row.cached else None,
                "out": str(out),
                "seed": seed,
            }
            runs.append(_run(python, job, folder) | ({"int8": accuracy(out, photos.test)} if row.judged else {}))
            print(f"{row.name}, seed {seed}: {json.dumps(runs[-1])}", file=sys.stderr, flush=True)
        measured.append(_summary(row, runs))
    return measured


def accuracy(model: Path, photos: Sequence[tuple[str, int]]) -> float:
    """Return the share of photos whose label the uint8 model gives the highest score, as it runs in LiteRT."""
    runner, hits = Runner(model.read_bytes(), runtime="litert", threads=1), 0
    for file, label in photos:
        pixels = cv2.cvtColor(cv2.imread(file), cv2.COLOR_BGR2RGB)
        runner.put(0, cv2.resize(pixels, (224, 224))[np.newaxis])
        runner.invoke()
        hits += int(runner.get()[0].argmax()) == label
    return hits / len(photos)


def _run(python: str, job: dict[str, Any], folder: Path) -> dict[str, Any]:
    file = folder / "job.json"
    file.write_text(json.dumps(job), encoding="utf-8")
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([python, str(SCRIPT), str(file)], check=True, capture_output=True, text=True)
    wall_s, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return {**told, "wall_s": wall_s, "cpu_s": cpu_s}


def _summary(row: KerasRow, runs: list[dict[str, Any]]) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "name": row.name,
        "recipe": row.recipe,
        "cached": row.cached,
        "alpha": row.alpha,
        "pixels": "0..1" if row.unit else "−1..1",
        "seeds": row.seeds,
        "cold_s": runs[0]["wall_s"],
        "cold_cpu_s": runs[0]["cpu_s"],
        "runs": runs,
    }
    if row.cached and len(runs) > 1:
        numbers["cached_s"] = statistics.median(run["wall_s"] for run in runs[1:])
        numbers["cached_cpu_s"] = statistics.median(run["cpu_s"] for run in runs[1:])
    if row.judged:
        shares = [run["int8"] for run in runs]
        numbers |= {"int8": statistics.mean(shares), "sd": statistics.pstdev(shares)}
    return numbers
