"""Does a network say the same as ONNX, and what does it cost? Photos through both runtimes, in turn, in one process.

    python -m benchmarks onnx --into reports/onnx.json --page reports/onnx.md

Each photo goes through LiteRT and through ONNX Runtime's CPU provider, one thread each. What is timed is the
processor time of the calling thread, in which both work: other processes take none of it. With `--providers cuda,cpu`
the table by provider is measured too, in wall time, on a machine that does nothing else: one photo after another,
batches, and a cold `edged retrain`.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import set_to
from edged.codec import read_image
from edged.lab.profiling.profiler import describe_machine
from edged.resources import shipped
from edged.vision import onnx_runtime
from edged.vision.graph import Graph
from edged.vision.network import Network
from edged.vision.onnx_conversion import convert

if TYPE_CHECKING:
    from numpy.typing import NDArray

ONLINE = (1, 10, 100, 1000)
BATCHES = (1, 2, 5, 10, 20, 50, 100, 200)
BY_PROVIDER = ("mobilenet_v2", "inception_v3_299_quant")
_WARM = 5


def add_arguments(parser: argparse.ArgumentParser, data: Path) -> None:
    """Add what is said on the command line."""
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--photos", type=int, default=1000, help="of ImageNet's classes (1000)")
    parser.add_argument("--only", nargs="*", metavar="MODEL", help="these networks, or none; the file keeps the others")
    parser.add_argument("--providers", default="", help="measure the table by provider on these, e.g. cuda,cpu")
    parser.add_argument("--into", type=Path, metavar="FILE", help="keeps the numbers, network by network")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write them for people")
    parser.add_argument("--json", action="store_true")


def measure(
    data: Path, *, photos_: int, only: list[str] | None, providers: tuple[str, ...], into: Path | None
) -> dict[str, Any]:
    """Measure what is asked for; return it with what a file has from before.

    Args:
        data: Where photos and networks lie.
        photos_: So many.
        only: Networks whose agreement is measured; None: all.
        providers: On which the table by provider is measured.
        into: The file.
    """
    numbers: dict[str, Any] = {"agreement": {}, "providers": {}}
    if into is not None and into.is_file():
        numbers = json.loads(into.read_text(encoding="utf-8"))
    files = networks(data)
    for name in files if only is None else only:
        numbers["agreement"][name] = agreement(files[name], photos(data, photos_))
        keep(numbers, into)
    for provider in providers:
        for name in BY_PROVIDER:
            measured = by_provider(files[name], provider, photos(data, max(ONLINE)), data)
            numbers["providers"].setdefault(provider, {})[name] = measured
            keep(numbers, into)
    return numbers


def keep(numbers: dict[str, Any], into: Path | None) -> None:
    """Write the file, so that nothing is lost if the next network is not done."""
    if into is not None:
        into.write_text(json.dumps(numbers, indent=1) + "\n")


def networks(data: Path) -> dict[str, Path]:
    """Return name → file: the one that ships, then all that are at hand, small ones first."""
    found = sorted((data / "models").glob("*.tflite"), key=lambda path: path.stat().st_size)
    return {"mobilenet_v2": shipped("models") / "mobilenet_v2" / "model.tflite", **{path.stem: path for path in found}}


def photos(data: Path, count: int) -> list[Path]:
    """Return photos of ImageNet's classes, one of each class first."""
    with (data / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: (row["source"] != "eli", row["file"]))
    return [data / "imagenet" / row["file"] for row in rows[:count]]


def agreement(file: Path, paths: list[Path]) -> dict[str, Any]:
    """Return how often both say the same of a photo, and the time of each."""
    model = Graph(file.read_bytes()).expose_bottleneck()
    ours, theirs = Network(convert(model, unsigned=True)), Network(model, runtime="litert")
    same, steps = 0, []
    times: dict[str, list[float]] = {"litert_ms": [], "onnx_ms": []}
    for place, path in enumerate(paths):
        image = theirs.prepare(read_image(path))
        pairs = [("litert_ms", theirs), ("onnx_ms", ours)][:: 1 if place % 2 else -1]
        outputs = {}
        for key, network in pairs:
            begin = time.thread_time_ns()
            outputs[key] = network.invoke(image)
            times[key].append((time.thread_time_ns() - begin) / 1e6)
        one, other = ours.decode(outputs["onnx_ms"]), theirs.decode(outputs["litert_ms"])
        same += int(one.scores.argmax() == other.scores.argmax())
        steps.append(np.abs(one.embedding - other.embedding) / theirs.bottleneck_affine.scale)
    away = np.rint(np.array(steps))
    return {
        "photos": len(paths),
        "same_top1": same,
        "bottleneck_equal": round(float((away == 0).mean()), 5),
        "bottleneck_most_steps": int(away.max()),
        "runtimes": {"onnxruntime": onnx_runtime.load().__version__, "litert": _version("ai-edge-litert")},
        "processor": describe_machine().processor,
        **set_to.told(),
        **{key: round(float(np.median(values)), 3) for key, values in times.items()},
    }


def by_provider(file: Path, provider: str, paths: list[Path], data: Path) -> dict[str, Any]:
    """Return the times of one network on one provider, wall seconds and milliseconds."""
    model = convert(Graph(file.read_bytes()).expose_bottleneck(), unsigned=True)
    threads = len(os.sched_getaffinity(0))
    interpreter = onnx_runtime.Interpreter(model, threads, [provider])
    if interpreter.providers[0] != provider:
        raise SystemExit(f"this onnxruntime has no provider {provider}: {', '.join(interpreter.providers)}")
    network = Network(model, runtime=f"onnx:{provider}", threads=threads)
    images = np.stack([network.prepare(read_image(path)) for path in paths])

    def once(batch: NDArray[np.uint8]) -> float:
        begin = time.perf_counter()
        interpreter.set_tensor(0, batch)
        interpreter.invoke()
        return (time.perf_counter() - begin) * 1e3

    for _ in range(_WARM):
        once(images[:1])
    online = {str(count): round(sum(once(images[place : place + 1]) for place in range(count)), 2) for count in ONLINE}
    batches = {}
    for size in BATCHES:
        once(images[:size])
        times = [once(images[begin : begin + size]) for begin in range(0, len(images) - size + 1, size)]
        batches[str(size)] = round(size * 1e3 / float(np.median(times)), 2)
    return {
        "online_ms": online,
        "batch_images_per_s": batches,
        "retrain_cold_s": retrain_cold(file, provider, data),
        "machine": describe_machine().model_dump(mode="json", exclude_none=True),
        "onnxruntime": onnx_runtime.load().__version__,
    }


def retrain_cold(file: Path, provider: str, data: Path) -> float:
    """Return the seconds of an `edged retrain` on all flowers that has nothing to begin with."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "EDGED_STORAGE__STATE_DIR": folder,
            "EDGED_MODEL__RUNTIME": "onnx",
            "EDGED_MODEL__PROVIDERS": json.dumps([provider]),
        }
        edged = [sys.executable, "-m", "edged"]
        name = "mobilenet_v2"
        if file.stem != "model":
            labels = Path(folder) / "labels.txt"
            labels.write_text("".join(f"{place}\n" for place in range(Graph(file.read_bytes()).head.classes)))
            add = [*edged, "models", "add", str(file), "--labels", str(labels), "--name", "net"]
            subprocess.run(add, check=True, env=environment, stdout=subprocess.DEVNULL)
            name = "net"
        begin = time.perf_counter()
        done = [*edged, "retrain", "--images", str(data / "flowers"), "--backbone", name, "--out", f"{folder}/out"]
        subprocess.run(done, check=True, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return round(time.perf_counter() - begin, 2)


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def page(numbers: dict[str, Any]) -> str:
    """Return the page that the numbers are shown on."""
    lines = [
        "# ONNX Runtime beside LiteRT",
        "",
        "Written by `python -m benchmarks onnx --into reports/onnx.json --page reports/onnx.md`, in `tools/`;",
        "the numbers stand in `onnx.json`.",
        "",
        "Each network is converted as `edged models convert` does; photos of ImageNet's classes go through both.",
        "Time is processor time of one thread, the median of the photos: other processes do not count.",
        "",
        "| network | photos | same top-1 | bottleneck bytes equal | furthest | LiteRT | ONNX Runtime |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, found in numbers["agreement"].items():
        lines.append(
            f"| {name} | {found['photos']} | {found['same_top1']} | "
            f"{found['bottleneck_equal']:.2%} | {found['bottleneck_most_steps']} | "
            f"{found['litert_ms']:.1f} ms | {found['onnx_ms']:.1f} ms |"
        )
    if numbers["agreement"]:
        last = list(numbers["agreement"].values())[-1]
        versions = ", ".join(f"{name} {version}" for name, version in last["runtimes"].items())
        told = f'{last["processor"]}; {versions}. "Furthest": steps of 8 bits between the two bottlenecks.'
        lines += ["", told + set_to.sentence(last)]
    lines += ["", "## By provider", ""]
    lines += _provider_table(numbers["providers"])
    return "\n".join(lines) + "\n"


def _provider_table(providers: dict[str, Any]) -> list[str]:
    columns = [(provider, name) for name in BY_PROVIDER for provider in ("cpu", "cuda")]
    lines = [
        "Wall time, all threads; what no machine at hand could measure is not measured. On a machine with a GPU",
        "that has nothing else to do, after `pip install onnxruntime-gpu`:",
        "",
        "    python -m benchmarks onnx --only --providers cpu,cuda --into reports/onnx.json --page reports/onnx.md",
        "",
        "| | " + " | ".join(f"{name}, {provider}" for provider, name in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]

    def row(title: str, *keys: str, unit: str) -> None:
        cells = []
        for provider, name in columns:
            value: Any = providers.get(provider, {}).get(name)
            for key in keys:
                value = None if value is None else value.get(key)
            cells.append("not measured" if value is None else f"{value:g} {unit}")
        lines.append(f"| {title} | {' | '.join(cells)} |")

    row("retrain, cold, all flower photos", "retrain_cold_s", unit="s")
    for count in ONLINE:
        row(f"online, {count} photos", "online_ms", str(count), unit="ms")
    for size in BATCHES:
        row(f"batches of {size}", "batch_images_per_s", str(size), unit="photos/s")
    machines = {
        f"{provider}: {found['machine']['processor']}, onnxruntime {found['onnxruntime']}."
        + set_to.sentence({"performance": found["machine"]})
        for provider, by_name in providers.items()
        for found in by_name.values()
    }
    return [*lines, "", *(f"* {machine}" for machine in sorted(machines))] if machines else lines
