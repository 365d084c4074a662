"""How well the layers explain the whole, run after run: beside nothing else, and beside processes that fill the caches.

    cd tools && python -m benchmarks.layers --out reports/layers.json [--runs 5] [--neighbours 2] [--only caches]

Each run is an `edged profile MODEL --only layers` in a process of its own: what differs from run to run, the places in
memory for one, counts too. And why the sum may differ from the whole: the same operators timed with their memory in
other places of the caches. Prints a table of each; `reports/profiling.py` shows them on its page.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.lab.photos import read_prepared
from edged.lab.profiling.layers import LayerTimer
from edged.resources import shipped
from edged.vision.graph import Graph

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODELS = (
    "mobilenet_v2",
    "mobilenet_v1_0.25_128_quant",
    "efficientnet_lite0_224_uint8_ptq",
    "resnet50_224_uint8_ptq",
    "inception_v3_299_quant",
)
NEIGHBOUR = "import numpy as np\nnumbers = np.zeros(8_000_000)\nwhile True:\n    numbers += 1"
"""Goes through 64 MB over and over: no cache of this processor's own holds that."""


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Load the machine while the block runs."""
    started = [subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def run(model: str, images: Path, seconds: float) -> dict[str, Any]:
    """Profile once; return the sum over the layers beside the whole."""
    command = [sys.executable, "-m", "edged", "profile", model, "--only", "layers", "--json"]
    command += ["--seconds", f"{seconds:g}", "--images", str(images)]
    done = subprocess.run(command, check=True, capture_output=True)
    whole: dict[str, Any] = json.loads(done.stdout)["layers_sum"]
    return whole


def measure(data: Path, *, runs: int, seconds: float, loaded: int) -> dict[str, Any]:
    """Measure each model `runs` times alone and `runs` times beside `loaded` neighbours, in turn."""
    explained: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name in MODELS:
        file = data / "models" / f"{name}.tflite"
        model, found = str(file) if file.is_file() else name, {"alone": [], "beside": []}
        for _ in range(runs):
            for condition, count in (("alone", 0), ("beside", loaded)):
                with neighbours(count):
                    found[condition].append(run(model, data / "imagenet" / "eli", seconds))
        explained[name] = found
    return {"cores": os.cpu_count(), "neighbours": loaded, "runs": runs, "seconds": seconds, "models": explained}


def caches(model: bytes, image: NDArray[np.uint8], seconds: float) -> dict[str, float]:
    """Return the median over rounds of the operators' sum ÷ the whole, by where the operators find their memory.

    "filled": outputs and inputs are written right before, as `edged profile` times them; "untouched": operators are
    merely invoked one after another; "twice": the second of two invocations in a row, which finds its weights too.
    """
    timer, began = LayerTimer(model, image, runtime="litert"), time.monotonic()
    runners = [step.runner for step in timer._steps]
    ratios: dict[str, list[float]] = {"filled": [], "untouched": [], "twice": []}
    timer.round()
    while time.monotonic() - began < seconds:
        one = timer.round()
        untouched = [runner.invoke(time.thread_time_ns) for runner in runners]
        twice = []
        for runner in runners:
            runner.invoke()
            twice.append(runner.invoke(time.thread_time_ns))
        for name, times in (("filled", one.layers), ("untouched", untouched), ("twice", twice)):
            ratios[name].append((sum(times) - len(times) * one.call) / (one.whole - one.call))
    return {name: round(statistics.median(values), 4) for name, values in ratios.items()}


def measure_caches(data: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Return `caches` of each model, on a photo."""
    found = {}
    for name in MODELS:
        file = data / "models" / f"{name}.tflite"
        model = (file if file.is_file() else shipped("models") / name / "model.tflite").read_bytes()
        size = Graph(model).input
        image = read_prepared(None, width=size.width, height=size.height, crop=0.875)[:1]
        found[name] = caches(model, image, seconds)
    return found


def caches_table(numbers: dict[str, Any]) -> list[str]:
    """Return the Markdown lines of `caches`."""
    lines = ["| sum ÷ whole | filled | untouched | twice |", "|---|---:|---:|---:|"]
    for name, found in numbers["caches"].items():
        lines.append(f"| {name} | {' | '.join(f'{found[way]:.1%}' for way in ('filled', 'untouched', 'twice'))} |")
    return lines


def table(numbers: dict[str, Any]) -> list[str]:
    """Return the Markdown lines: the median run and the range of the runs, alone and beside others."""
    beside = f"beside {numbers['neighbours']} processes that fill the caches"
    lines = [f"| explained, {numbers['runs']} runs | alone | {beside} |", "|---|---:|---:|"]
    for name, found in numbers["models"].items():
        cells = []
        for condition in ("alone", "beside"):
            shares = [one["explained"] for one in found[condition]]
            cells.append(f"{statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each run")
    parser.add_argument("--neighbours", type=int, default=2)
    parser.add_argument("--only", choices=["caches"], help="leave the runs in --out as they are")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.only is None:
        numbers = measure(args.data, runs=args.runs, seconds=args.seconds, loaded=args.neighbours)
    else:
        numbers = json.loads(args.out.read_text(encoding="utf-8"))
    numbers["caches"] = measure_caches(args.data, args.seconds)
    args.out.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    print("\n".join([*table(numbers), "", *caches_table(numbers)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
