"""How well and how fast the final layer is retrained: every run is `edged retrain` in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import keras_recipes, set_to
from edged.lab.finetune.weights import find_weights

BARE = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import cv2
cv2.setNumThreads(1)
from edged.learning.bottlenecks import Backbone
from edged.store import read_bundle
from edged.vision.network import Network
bundle = read_bundle(Path(sys.argv[1]))
files = sorted(path for path in Path(sys.argv[2]).glob("*/*") if path.suffix == ".jpg")
begin = time.perf_counter()
def work(part):
    network = Network(bundle.read_model(), threads=1, crop=bundle.manifest.input.crop)
    for file in part:
        image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
        network.infer(network.prepare(image))
workers = int(sys.argv[3])
with ThreadPoolExecutor(workers) as pool:
    list(pool.map(work, [files[i::workers] for i in range(workers)]))
print(time.perf_counter() - begin)
"""


KERAS_SEEDS = 3
"""At most so many trainings of each recipe of Keras: an export takes half a minute."""


def retrain(state: Path, images: Path, backbone: str, *, lr: float, seed: int) -> dict[str, Any]:
    """Run `edged retrain --json`; the report with `wall_s` and `cpu_s` (of all threads and processes) added."""
    environment = {**os.environ, "EDGED_STORAGE__STATE_DIR": str(state)}
    command = [sys.executable, "-m", "edged", "retrain", "--images", str(images), "--backbone", backbone]
    command += ["--lr", str(lr), "--seed", str(seed), "--json"]
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    wall_s, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    report: dict[str, Any] = json.loads(output)["report"]
    return {**report, "wall_s": wall_s, "cpu_s": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime}


def install(state: Path, backbone: str, models: Path) -> Path:
    """Install a model of the shared folder, or find the shipped one; return the bundle's folder."""
    from edged.store import Store

    store = Store(state)
    if backbone not in {bundle.name for bundle in store.installed()}:
        from edged.zoo.install import install as install_model

        labels = (models / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
        content = next(models.glob(f"{backbone}*.tflite")).read_bytes()
        from edged.vision.graph import Graph

        labels = labels if Graph(content).head.classes == len(labels) else labels[1:]
        install_model(store, content, labels, name=backbone, origin=str(models))
    return store.find(backbone).path


def measure(
    images: Path,
    *,
    backbones: list[str],
    models: Path,
    rates: list[float],
    seeds: int,
    keras: str | None,
    weights: Path | None,
    uncached: bool,
) -> dict[str, Any]:
    """Measure each backbone: cold once beside the bare loop, then each rate and seed with cached bottlenecks.

    Args:
        images: A folder per label.
        backbones: The first one is installed with edged, or all are in `models`.
        models: Where further .tflite files lie.
        rates: Learning rates.
        seeds: Trainings of each.
        keras: An interpreter with TensorFlow, for the recipes of `keras_head`; None: without.
        weights: Keras' MobileNetV2 1.0 for these; None: downloaded, as `edged finetune` does.
        uncached: Whether the recipes also run as people run them, without cached features.
    """
    numbers: dict[str, Any] = {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[1],
        **set_to.told(),
        "images": len(list(images.glob("*/*.jpg"))),
        "backbones": {},
    }
    for backbone in backbones:
        with tempfile.TemporaryDirectory() as folder:
            state = Path(folder) / "state"
            bundle = install(state, backbone, models)
            bare = bare_seconds(bundle, images)
            cold = retrain(state, images, backbone, lr=rates[0], seed=0)
            bare = min(bare, bare_seconds(bundle, images))
            runs = {
                str(rate): [retrain(state, images, backbone, lr=rate, seed=seed) for seed in range(seeds)]
                for rate in rates
            }
            numbers["test"] = cold["splits"]["test"]
            numbers["backbones"][backbone] = {
                "bare_s": bare,
                "cold_s": cold["wall_s"],
                "cold_cpu_s": cold["cpu_s"],
                "cold_ratio": cold["wall_s"] / bare,
                "peak_mb": cold.get("peak_memory_mb"),
                "stages_s": cold["seconds"],
                "rates": {rate: summary(reports) for rate, reports in runs.items()},
            }
            if keras is not None and "keras" not in numbers:
                photos = keras_recipes.photos_of(state, images)
                file = find_weights(weights, state / "weights")
                chosen = keras_recipes.rows(min(seeds, KERAS_SEEDS), uncached=uncached)
                numbers["keras"] = keras_recipes.measure(keras, file, photos, chosen, Path(folder))
    return numbers


def bare_seconds(bundle: Path, images: Path) -> float:
    """Seconds to decode and invoke the same images on all cores, with nothing around it."""
    command = [sys.executable, "-c", BARE, str(bundle), str(images), str(os.cpu_count() or 1)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def summary(reports: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and spread of the test accuracy, and the median seconds with cached bottlenecks."""
    quantized = [report["accuracy"]["quantized"] for report in reports]
    return {
        "quantized": statistics.mean(quantized),
        "float": statistics.mean(report["accuracy"]["float"] for report in reports),
        "sd": statistics.pstdev(quantized),
        "seeds": len(reports),
        "cached_s": statistics.median(report["wall_s"] for report in reports),
        "cached_cpu_s": statistics.median(report["cpu_s"] for report in reports),
    }


def add_to(file: Path, numbers: dict[str, Any]) -> None:
    """Add a run to the list in a JSON file; one of the same backbones that stands there goes."""
    runs = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    kept = [run for run in runs if list(run["backbones"]) != list(numbers["backbones"])]
    file.write_text(json.dumps([*kept, numbers], indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def table(numbers: dict[str, Any]) -> str:
    """Accuracy and seconds per backbone and learning rate, and of what people run today, as Markdown."""
    lines = ["| backbone | lr | accuracy, quantized | float | cold | cached | cold ÷ bare decode+invoke |"]
    lines.append("|---|---|---|---|---|---|---|")
    for backbone, entry in numbers["backbones"].items():
        for rate, row in entry["rates"].items():
            lines.append(
                f"| {backbone} | {rate} | {row['quantized']:.1%} ± {row['sd']:.1%} | {row['float']:.1%} "
                f"| {entry['cold_s']:.1f} s | {row['cached_s']:.1f} s | {entry['cold_ratio']:.2f} |"
            )
    if "keras" in numbers:
        lines += ["", *keras_table(numbers)]
    if state := set_to.sentence(numbers):
        lines += ["", state.strip()]
    return "\n".join(lines)


def keras_table(numbers: dict[str, Any]) -> list[str]:
    """The recipes of Keras beside edged on MobileNetV2 with the first rate: wall seconds, in brackets processor's."""
    name, entry = next(iter(numbers["backbones"].items()))
    rate, first = next(iter(entry["rates"].items()))
    share = keras_recipes.Share(first["quantized"], first["sd"]).text
    lines = [
        "| the same photos, the same split | frozen network runs | accuracy, int8 | cold | again, cached |",
        "|---|---|---|---|---|",
        f"| `edged retrain`, {name}, lr {rate} | once per photo | {share} "
        f"| {_seconds(entry['cold_s'], entry['cold_cpu_s'])} | {_seconds(first['cached_s'], first['cached_cpu_s'])} |",
    ]
    for row in numbers["keras"]:
        share = keras_recipes.Share(row["int8"], row["sd"]).text if "int8" in row else "–"
        again = _seconds(row["cached_s"], row["cached_cpu_s"]) if "cached_s" in row else ""
        runs = "once per photo" if row["cached"] else f"in each of {row['epochs']} epochs¹"
        lines.append(f"| {row['name']} | {runs} | {share} | {_seconds(row['cold_s'], row['cold_cpu_s'])} | {again} |")
    return lines


def _seconds(wall: float, cpu: float) -> str:
    return f"{wall:.1f} s ({cpu:.1f})" if wall < 100 else f"{wall:,.0f} s ({cpu:,.0f})"
