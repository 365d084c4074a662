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

EPOCHS = {"dense": 10, "frigate": 50}
"""Of the recipes; those of `keras_head`, which only TensorFlow's interpreter can import."""
SHORT, LONG = 1, 3
"""Epochs that an uncached row runs, twice: all its epochs are alike, and 50 of them would take an hour."""
SCRIPT = Path(__file__).with_name("keras_head.py")


@dataclass(frozen=True)
class Share:
    """Mean and standard deviation of an accuracy over several trainings, 0..1."""

    mean: float
    sd: float

    @property
    def text(self) -> str:
        """In percent, as the pages write it."""
        return f"{100 * self.mean:.1f} % ± {100 * self.sd:.1f}"


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
        seeds: Trainings; the first one computes the features. One that is not cached has none: it is timed only.
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
    """Return what is compared; `uncached`: also as people run it, which takes minutes for a few epochs.

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
            KerasRow("Keras, Dense head, as people run it", "dense", False, 0),
            KerasRow("Frigate's recipe, as it runs, alpha 0.35", "frigate", False, 0, 0.35, unit=True, judged=False),
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
        job = {
            "recipe": row.recipe,
            "train": photos.train,
            "classes": len(photos.labels),
            "weights": str(weights) if row.judged else None,
            "alpha": row.alpha,
            "unit": row.unit,
            "cached": row.cached,
            "features": str(folder / f"{row.recipe}-{row.unit}.npy") if row.cached else None,
            "out": str(folder / "head.tflite"),
            "seed": 0,
        }
        runs = []
        for seed in range(row.seeds):
            runs.append(_run(python, job | {"seed": seed}, folder))
            runs[-1]["int8"] = accuracy(folder / "head.tflite", photos.test)
            print(f"{row.name}, seed {seed}: {json.dumps(runs[-1])}", file=sys.stderr, flush=True)
        if row.cached:
            measured.append(summary(row, runs))
            continue
        for epochs in (SHORT, LONG):
            runs.append(_run(python, job | {"epochs": epochs}, folder))
            print(f"{row.name}, {epochs} epochs: {json.dumps(runs[-1])}", file=sys.stderr, flush=True)
        measured.append(extrapolated(row, *runs))
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


def _described(row: KerasRow, runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": row.name,
        "recipe": row.recipe,
        "epochs": EPOCHS[row.recipe],
        "cached": row.cached,
        "alpha": row.alpha,
        "pixels": "0..1" if row.unit else "−1..1",
        "runs": runs,
    }


def summary(row: KerasRow, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a cached row: the first run is cold, the others find the features; accuracy is that of all."""
    shares = [run["int8"] for run in runs]
    again = runs[1:] or runs
    return _described(row, runs) | {
        "cold_s": runs[0]["wall_s"],
        "cold_cpu_s": runs[0]["cpu_s"],
        "cached_s": statistics.median(run["wall_s"] for run in again),
        "cached_cpu_s": statistics.median(run["cpu_s"] for run in again),
        "int8": statistics.mean(shares),
        "sd": statistics.pstdev(shares),
    }


def extrapolated(row: KerasRow, short: dict[str, Any], long: dict[str, Any]) -> dict[str, Any]:
    """Return an uncached row: the short run, and for each epoch left out what one more took in the long run."""
    left_out = EPOCHS[row.recipe] - SHORT
    epoch_s = (long["seconds"]["training"] - short["seconds"]["training"]) / (LONG - SHORT)
    epoch_cpu_s = (long["training_cpu_s"] - short["training_cpu_s"]) / (LONG - SHORT)
    return _described(row, [short, long]) | {
        "epochs_run": LONG,
        "cold_s": short["wall_s"] + left_out * epoch_s,
        "cold_cpu_s": short["cpu_s"] + left_out * epoch_cpu_s,
    }
