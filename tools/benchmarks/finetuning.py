"""How deep to fine-tune: `edged finetune` with several depths and multipliers, as a table and a chart.

    cd tools && python -m benchmarks.finetuning --python TF_PYTHON --results DIR --images SET… [--out ../tools/reports]

`--python` is an interpreter in which edged and TensorFlow are installed. What `--results` holds already is not run
again.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from edged.lab.chart import Axis, Chart, Series

RUNS = (("head", 0.0, 8), ("last-block", 0.01, 8), ("last-block", 0.1, 8), ("all", 0.01, 3), ("all", 0.1, 3))
"""Layers, multiplier, epochs. With a multiplier of 0, and for the head alone, the layers before the head stay as they
are whatever the depth: one run stands for all of these."""


def run(python: str, images: Path, results: Path, layers: str, multiplier: float, epochs: int) -> dict[str, Any]:
    """Fine-tune, or read what an earlier run has left; return the report."""
    folder = results / f"{images.name}-{layers}-{multiplier:g}"
    kept = folder.with_name(f"{folder.name}.json")
    if not kept.is_file() or not kept.read_text():
        command = [python, "-m", "edged", "finetune", "--images", str(images), "--layers", layers]
        command += ["--multiplier", f"{multiplier:g}", "--epochs", str(epochs), "--threads", "1", "--min-accuracy", "0"]
        done = subprocess.run([*command, "--out", str(folder), "--json"], stdout=subprocess.PIPE, check=True, text=True)
        kept.write_text(done.stdout, encoding="utf-8")
    report: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))["report"]
    return report


def row(report: dict[str, Any], images: str) -> str:
    """One line of the table."""
    tuned, accuracy, splits = report["finetune"], report["accuracy"], report["splits"]
    error = math.sqrt(accuracy["quantized"] * (1 - accuracy["quantized"]) / splits["test"])
    seconds = tuned["seconds"]
    epochs = [epoch["seconds"] for epoch in tuned["history"][1:]]
    cells = (
        images,
        tuned["layers"],
        f"{tuned['multiplier']:g}",
        f"{len(epochs)}, best {tuned['best_epoch']}",
        f"{100 * accuracy['quantized']:.1f} % ±{100 * error:.1f}",
        f"{sum(seconds.values()) + report['seconds']['total']:.0f} s",
        f"{seconds['training']:.0f} s",
        f"{sum(epochs) / max(len(epochs), 1):.1f} s",
        f"{tuned['trained_bytes'] / 1e6:.2f} MB",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    """Run what is missing, print the table, draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--images", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    print("| photos | layers | multiplier | epochs | test accuracy, int8 | in all | training | per epoch | changed |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for images in args.images:
        lines = []
        for layers, multiplier, epochs in RUNS:
            report = run(args.python, images, args.results, layers, multiplier, epochs)
            print(row(report, images.name))
            history = [epoch for epoch in report["finetune"]["history"] if epoch["validation_loss"] is not None]
            points = [(float(epoch["epoch"]), float(epoch["validation_loss"])) for epoch in history]
            lines.append(Series(layers if multiplier == 0 else f"{layers} × {multiplier:g}", points))
        chart = Chart(f"Fine-tuning: {images.name}", Axis("epoch"), Axis("validation loss"), lines)
        (args.out / f"finetuning-{images.name}.svg").write_text(chart.svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
