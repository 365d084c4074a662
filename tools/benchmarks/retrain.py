"""How well and how fast the final layer is retrained: every run is `edged retrain` in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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

KERAS = Path(__file__).with_name("keras_head.py")


def retrain(state: Path, images: Path, backbone: str, *, lr: float, seed: int) -> dict[str, Any]:
    """Run `edged retrain --json`; the report with `wall_s` added."""
    environment = {**os.environ, "EDGED_STORAGE__STATE_DIR": str(state)}
    command = [sys.executable, "-m", "edged", "retrain", "--images", str(images), "--backbone", backbone]
    command += ["--lr", str(lr), "--seed", str(seed), "--json"]
    begin = time.monotonic()
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    wall_s = time.monotonic() - begin
    report: dict[str, Any] = json.loads(output)["report"]
    return {**report, "wall_s": wall_s}


def install(state: Path, backbone: str, models: Path) -> Path:
    """Install a model of the shared folder, or find the shipped one; return the bundle's folder."""
    from edged.store import Store

    store = Store(state)
    if backbone not in {bundle.name for bundle in store.installed()}:
        from edged.zoo import install as install_model

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
) -> dict[str, Any]:
    """Measure each backbone: cold once beside the bare loop, then each rate and seed with cached bottlenecks."""
    numbers: dict[str, Any] = {"cores": os.cpu_count(), "images": len(list(images.glob("*/*.jpg"))), "backbones": {}}
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
            numbers["backbones"][backbone] = {
                "bare_s": bare,
                "cold_s": cold["wall_s"],
                "cold_ratio": cold["wall_s"] / bare,
                "peak_mb": cold.get("peak_memory_mb"),
                "rates": {rate: summary(reports) for rate, reports in runs.items()},
            }
    if keras is not None:
        command = [keras, str(KERAS), str(images)] + ([str(weights)] if weights else [])
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        numbers["keras"] = json.loads(output.splitlines()[-1])  # Keras says first how many files it has found
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
        "cached_s": statistics.median(report["wall_s"] for report in reports),
    }


def table(numbers: dict[str, Any]) -> str:
    """Accuracy and seconds per backbone and learning rate, as Markdown."""
    lines = ["| backbone | lr | accuracy, quantized | float | cold | cached | cold ÷ bare decode+invoke |"]
    lines.append("|---|---|---|---|---|---|---|")
    for backbone, entry in numbers["backbones"].items():
        for rate, row in entry["rates"].items():
            lines.append(
                f"| {backbone} | {rate} | {row['quantized']:.1%} ± {row['sd']:.1%} | {row['float']:.1%} "
                f"| {entry['cold_s']:.1f} s | {row['cached_s']:.1f} s | {entry['cold_ratio']:.2f} |"
            )
    if keras := numbers.get("keras"):
        first = next(iter(numbers["backbones"].values()))
        lines.append(
            f"\nKeras, Dense head on frozen MobileNetV2, {keras['epochs']} epochs: {keras['seconds']:.0f} s, "
            f"{keras['accuracy']:.1%}; edged cold is {keras['seconds'] / first['cold_s']:.1f} × faster."
        )
    return "\n".join(lines)
