#!/usr/bin/env python3
"""Writes tools/reports/finetuning.md and its pictures, of what two benchmarks have measured.

    .venv/bin/python tools/reports/finetuning.py [--out DIR]

head-curves.json comes from `benchmarks.head_curves`, finetuning.json from `benchmarks.finetuning`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edged.lab.chart import Axis, Chart, Series

HERE = Path(__file__).resolve().parent
SHOWN = (1, 2, 5, 10, 20, 40, 60)
"""Epochs in the table."""


def main() -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=HERE, help="where page and pictures go (default: beside this script)"
    )
    args = parser.parse_args()
    head = json.loads((HERE / "head-curves.json").read_text(encoding="utf-8"))
    deep = json.loads((HERE / "finetuning.json").read_text(encoding="utf-8"))
    args.out.mkdir(parents=True, exist_ok=True)
    for name, chart in pictures(head, deep).items():
        (args.out / f"{name}.svg").write_text(chart.svg(), encoding="utf-8")
    page = (HERE / "finetuning.template.md").read_text(encoding="utf-8")
    for name, text in parts(head, deep).items():
        page = page.replace("{{" + name + "}}", text)
    (args.out / "finetuning.md").write_text(page, encoding="utf-8")
    return 0


def pictures(head: Mapping[str, Any], deep: Mapping[str, Any]) -> dict[str, Chart]:
    """Return the charts by the names of their files."""
    what = f"{head['images']}, {head['backbone']}"
    points = [(float(count), float(np.mean(values))) for count, values in head["by_images"].items()]
    charts = {
        "head-epochs": Chart(
            f"Validation accuracy by epoch: {what}",
            Axis("epoch"),
            Axis("validation accuracy", percent=True),
            [
                Series(name, [(float(epoch), value) for epoch, value in enumerate(values, 1)])
                for name, values in head["by_epoch"].items()
            ],
        ),
        "head-images": Chart(
            f"Test accuracy by images per class: {what}",
            Axis("training images per class", log=True, ticks=[int(count) for count in head["by_images"]]),
            Axis("test accuracy (float head)", percent=True),
            [
                Series(
                    f"mean ± s.d., {head['seeds']} draws",
                    points,
                    [float(np.std(values)) for values in head["by_images"].values()],
                )
            ],
        ),
    }
    for target in deep["targets"]:
        lines = []
        for run in target["runs"]:
            asked, history = run["asked"], run["report"]["finetune"]["history"]
            losses = [(float(one["epoch"]), float(one["validation_loss"])) for one in history]
            name = asked["layers"] if asked["multiplier"] == 0 else f"{asked['layers']} × {asked['multiplier']:g}"
            lines.append(Series(name, losses))
        title = f"Fine-tuning: {target['name']}"
        charts[f"finetuning-{target['name']}"] = Chart(title, Axis("epoch"), Axis("validation loss"), lines)
    return charts


def parts(head: Mapping[str, Any], deep: Mapping[str, Any]) -> dict[str, str]:
    """Return the page's tables and the numbers in its text."""
    splits = head["splits"]
    return {
        "photos": f"{sum(splits.values()):,}",
        "validation": str(splits["validation"]),
        "test": str(splits["test"]),
        "seeds": str(head["seeds"]),
        "epochs": "\n".join(_epochs(head)),
        "images": "\n".join(_images(head)),
        "sets": "\n".join(_sets(deep)),
        "runs": "\n".join(_runs(deep)),
        "unseen": "\n".join(_unseen(deep)),
        "pictures": "\n\n".join(
            f"![Validation loss by epoch, {one['name']}](finetuning-{one['name']}.svg)" for one in deep["targets"]
        ),
        "undone": str(sum(run["report"]["finetune"]["best_epoch"] == 0 for run in _inner(deep))),
        "inner": str(len(list(_inner(deep)))),
    }


def _inner(deep: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The runs that retrain more than the head."""
    return (run for target in deep["targets"] for run in target["runs"] if run["asked"]["layers"] != "head")


def _epochs(head: Mapping[str, Any]) -> Iterator[str]:
    yield "| | " + " | ".join(f"epoch {epoch}" for epoch in SHOWN) + " |"
    yield "| --- |" + " ---: |" * len(SHOWN)
    for name, values in head["by_epoch"].items():
        yield f"| {name} | " + " | ".join(f"{100 * values[epoch - 1]:.1f} %" for epoch in SHOWN) + " |"


def _images(head: Mapping[str, Any]) -> Iterator[str]:
    yield f"| images per class | test accuracy, mean ± s.d. of {head['seeds']} draws | epochs until the best |"
    yield "| ---: | ---: | ---: |"
    for count, values in head["by_images"].items():
        best = float(np.mean(head["best_epoch"][count]))
        yield f"| {count} | {100 * np.mean(values):.1f} % ± {100 * np.std(values):.1f} | {best:.0f} |"


def _sets(deep: Mapping[str, Any]) -> Iterator[str]:
    yield "| set | photos to train on | for validation | for the test | photos of other flowers, unseen |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for target in deep["targets"]:
        splits = target["runs"][0]["report"]["splits"]
        sides = " | ".join(str(splits[side]) for side in ("train", "validation", "test"))
        yield f"| `{target['name']}` | {sides} | {target['unseen'] or '–'} |"


def _runs(deep: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "| photos | layers | multiplier | epochs: at most, run, best | test accuracy, int8 | in all | training "
        "| per epoch | changed |"
    )
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for target in deep["targets"]:
        for run in target["runs"]:
            asked, report = run["asked"], run["report"]
            tuned, test = report["finetune"], report["splits"]["test"]
            epochs = [epoch["seconds"] for epoch in tuned["history"][1:]]
            cells = (
                target["name"],
                asked["layers"],
                f"{asked['multiplier']:g}",
                f"{asked['epochs']}, {len(epochs)}, {tuned['best_epoch']}",
                _share(report["accuracy"]["quantized"], test),
                f"{sum(tuned['seconds'].values()) + report['seconds']['total']:.0f} s",
                f"{tuned['seconds']['training']:.0f} s",
                f"{sum(epochs) / max(len(epochs), 1):.1f} s",
                f"{tuned['trained_bytes'] / 1e6:.2f} MB",
            )
            yield "| " + " | ".join(cells) + " |"


def _unseen(deep: Mapping[str, Any]) -> Iterator[str]:
    yield "| photos | layers | multiplier | accuracy on unseen flowers, int8 | beside the head alone |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for target in deep["targets"]:
        if not target["unseen"]:
            continue
        head = target["runs"][0]["unseen"]
        for run in target["runs"]:
            asked, share = run["asked"], run["unseen"]
            gain = "" if asked["layers"] == "head" else f"{100 * (share - head):+.1f} points"
            cells = (target["name"], asked["layers"], f"{asked['multiplier']:g}", _share(share, target["unseen"]), gain)
            yield "| " + " | ".join(cells) + " |"


def _share(share: float, photos: int) -> str:
    """A share in percent, with its standard error in points."""
    return f"{100 * share:.1f} % ±{100 * math.sqrt(share * (1 - share) / photos):.1f}"


if __name__ == "__main__":
    sys.exit(main())
