"""Several networks that take turns: fitted to ImageNet photos of the develop side, judged on those of the report side.

    tools/bench selection --out tools/reports/selection.json

Everything is chosen on the develop side alone: networks, weights, thresholds, operating points and the constants in the
source. The report side is only looked at here. What every network gives on every photo is measured once and can be kept
(`--measured FILE.npz`); tools/reports/selection.py makes the page of the result.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import premodel_evidence, selection_shift, set_to
from benchmarks.set_aside import side_of_file
from edged.codec import read_image
from edged.lab.photos import labeled_photos_of_pool
from edged.lab.selection import Measurements, compose, cross_validate, fit, measure, on_photos, power_replay
from edged.selection.governor import Budget, Governor
from edged.selection.pool import common_labels, open_member
from edged.sensors import open_sensors
from edged.settings import ModelSettings
from edged.store import Store
from edged.vision.preprocess import stay_on_one_thread

COMMAND = "tools/bench selection --out tools/reports/selection.json"
NETWORKS = {
    "mobilenet_v1_0.25_128": "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160": "mobilenet_v1_0.5_160_quant",
    "mobilenet_v1_0.75_192": "mobilenet_v1_0.75_192_quant",
    "mobilenet_v2_legacy": "mobilenet_v2_1.0_224_quant",
    "efficientnet_lite0": "efficientnet_lite0_224_uint8_ptq",
    "resnet50": "resnet50_224_uint8_ptq",
    "inception_v3": "inception_v3_299_quant",
}
"""Name → file in the folder of models; the shipped mobilenet_v2 is one more."""
SHIPPED = "mobilenet_v2"
_ORDER = (
    "mobilenet_v1_0.25_128",
    "mobilenet_v1_0.5_160",
    "mobilenet_v2",
    "efficientnet_lite0",
    "mobilenet_v1_0.75_192",
    "mobilenet_v2_legacy",
    "resnet50",
    "inception_v3",
)
"""By cost; fixed, so that photos of both cameras have networks in one order."""
TRACE = Path(__file__).resolve().parents[2] / "tests" / "selection" / "ina3221_tx2.csv"
POWER_POINTS: tuple[list[tuple[str, float]], ...] = (
    [("mobilenet_v2", 60.0)],
    [("mobilenet_v2", 60.0), ("resnet50", 60.0)],
    [("mobilenet_v2", 60.0), ("resnet50", 140.0), ("inception_v3", 300.0)],
)
"""Milliseconds of a frame in each network, at three operating points of an assumed device."""
BUDGETS_MW = (2500, 3200, 4000, 4600, 4800)
GREY = np.full((64, 64, 3), 127, np.uint8)


def run(data: Path, kept: Path | None) -> dict[str, Any]:
    """Measure, fit, judge.

    Args:
        data: Folder with `imagenet/` and `models/`.
        kept: Where the measurements are kept; they are read where the file is there.
    """
    measured, develop, report = sides_of(data, kept, poor=False)
    poor = sides_of(data, None if kept is None else kept.with_stem(f"{kept.stem}-poor"), poor=True)[1:]
    fitted = fit(develop)
    held_out, outcomes = cross_validate(develop, fitted.decisions_ms, _tell)
    expected, _ = compose(
        held_out, fitted, outcomes, how=f"10-fold cross-validation on {len(develop)} photos", name="develop", threads=1
    )
    judged, _ = compose(
        report,
        fitted,
        on_photos(fitted, report),
        how=f"fitted to {len(develop)} photos, judged on {len(report)} others that nothing was chosen on",
        name="report",
        threads=1,
    )
    return {
        "command": COMMAND,
        "machine": machine(),
        **set_to.told(),
        "sides": {"develop": len(develop), "report": len(report)},
        "network_ms": dict(zip(measured.networks, measured.network_ms.round(3).tolist(), strict=True)),
        "fitted": fitted_cascades(measured, fitted.strategies),
        "develop": expected,
        "report": judged,
        "shift": selection_shift.collect((develop, report), poor),
        "power": power_budgets(),
        "premodel_evidence": premodel_evidence.collect(develop, report),
    }


def sides_of(data: Path, kept: Path | None, *, poor: bool) -> tuple[Measurements, Measurements, Measurements]:
    """Return what the networks give on all photos, on the develop side and on the report side."""
    if kept is not None and kept.is_file():
        measured, sides = load(kept)
    else:
        measured, sides = measure_all(data, poor=poor)
        if kept is not None:
            save(kept, measured, sides)
    return (
        measured,
        measured.take(np.flatnonzero(sides == "develop")),
        measured.take(np.flatnonzero(sides == "report")),
    )


def measure_all(data: Path, *, poor: bool) -> tuple[Measurements, NDArray[np.str_]]:
    """Run every network on every photo; returns what they gave, and the side of each photo.

    Args:
        data: As for `run`.
        poor: As the poor camera would have taken them.
    """
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own: memory that it frees would hide what the networks take.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            process.submit(install, data / "models", Path(folder)).result()
        store = Store(Path(folder))
        bundles = [store.find(name) for name in (SHIPPED, *NETWORKS)]
        photos = labeled_photos_of_pool(data / "imagenet", None, common_labels(bundles[0].labels))
        sides = np.array([side_of_file(photo.path) for photo in photos])
        if poor:
            photos = [
                replace(photo, path=_take_poorly(photo.path, number, Path(folder)))
                for number, photo in enumerate(photos)
            ]
        stay_on_one_thread()
        members = [open_member(bundle, bundle.name, ModelSettings(threads=1), GREY) for bundle in bundles]
        sensors = open_sensors()
        try:
            measured = measure(members, photos, sensors=sensors, progress=_tell, on_unreadable=print, order=_ORDER)
        finally:
            sensors.close()
    if len(measured) != len(photos):
        raise SystemExit("some photos cannot be read; their sides would be mixed up")
    return measured, sides


def _take_poorly(photo: Path, number: int, folder: Path) -> Path:
    file = folder / f"{number}.png"
    cv2.imwrite(str(file), cv2.cvtColor(selection_shift.poor_camera(read_image(photo), number), cv2.COLOR_RGB2BGR))
    return file


def power_budgets() -> dict[str, Any]:
    """Run the governor on the trace of a TX2's rails that the tests read, one run for each budget."""
    with TRACE.open(newline="", encoding="utf-8") as stream:
        lines = stream.readlines()
    trace: dict[str, list[float]] = {}
    for row in csv.DictReader(line for line in lines if not line.startswith("#")):
        trace.setdefault(row["state"], []).append(float(row["VDD_IN"]))
    costs_ms = [sum(ms for _, ms in point) for point in POWER_POINTS]
    rows = []
    for budget_mw in BUDGETS_MW:
        governor = Governor(costs_ms, len(costs_ms) - 1, Budget(max_power_mw=budget_mw))
        found = power_replay.run(trace, POWER_POINTS, governor, seconds=600)
        minutes = found.window_means_mw(60) / budget_mw - 1
        rows.append(
            {
                "budget_mw": budget_mw,
                "mean_mw": round(float(found.power_mw[600:].mean()), 1),
                "least": round(float(minutes.min()), 4),
                "most": round(float(minutes.max()), 4),
                "frames_per_s": round(found.frames / 600, 2),
                "joules_per_frame": round(found.joules / found.frames, 4),
            }
        )
    about = " ".join(line.lstrip("# ").strip() for line in lines if line.startswith("#"))
    return {"trace": about, "idle_mw": round(float(np.mean(trace[power_replay.IDLE])), 1), "rows": rows}


def install(models: Path, state_dir: Path) -> None:
    """Install the networks with their labels; those of 1000 classes have no background."""
    from edged.vision.graph import Graph
    from edged.zoo.install import install as install_model

    labels = (models / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    for name, file in NETWORKS.items():
        content = (models / f"{file}.tflite").read_bytes()
        own = labels if Graph(content).head.classes == len(labels) else labels[1:]
        install_model(Store(state_dir), content, own, name=name, origin=str(models))


def fitted_cascades(measured: Measurements, strategies: dict[str, Any]) -> dict[str, Any]:
    """Return networks, weights and thresholds of the cascades."""
    found = {}
    for name in ("cascade", "learned"):
        cascade = strategies[name].cascade
        found[name] = {
            "networks": [measured.networks[stage.network] for stage in cascade.stages],
            "weights": [[round(weight, 3) for weight in stage.weights] for stage in cascade.stages],
            "default": cascade.default,
            "accurate": cascade.accurate,
        }
    return found


def machine() -> str:
    """Return the processor's name, as the kernel tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def save(file: Path, measured: Measurements, sides: NDArray[np.str_]) -> None:
    """Keep measurements."""
    arrays = {name: getattr(measured, name) for name in _ARRAYS}
    energy = np.zeros(0) if measured.energy_mj is None else measured.energy_mj
    texts = {"networks": np.array(measured.networks), "feature_ms": np.array(json.dumps(measured.feature_ms))}
    with file.open("wb") as stream:
        np.savez(stream, sides=sides, energy_mj=energy, **texts, **arrays)


_ARRAYS = ("scores", "classes", "features", "network_ms", "memory_mb", "sources")


def load(file: Path) -> tuple[Measurements, NDArray[np.str_]]:
    """Read what `save` has written."""
    with np.load(file, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in _ARRAYS}
        energy = kept["energy_mj"]
        measured = Measurements(
            networks=tuple(kept["networks"].tolist()),
            feature_ms=json.loads(str(kept["feature_ms"])),
            energy_mj=energy if len(energy) else None,
            **arrays,
        )
        return measured, kept["sides"]


def table(result: dict[str, Any]) -> str:
    """Return the rows of the report side as text."""
    lines = [result["report"]["how"]]
    for row in result["report"]["rows"]:
        beside = row.get("beside_best")
        more = (
            f"  {row['speedup']:6.2f} ×  {100 * beside['difference']:+.2f} "
            f"({100 * beside['low']:+.2f} to {100 * beside['high']:+.2f})"
            if beside
            else ""
        )
        lines.append(f"{row['name']:24} {row['top1']:7.2%} {row['mean_ms']:8.2f} ms{more}")
    return "\n".join([*lines, result["report"]["verdict"] + set_to.sentence(result)])


def _tell(stage: str, share: float) -> None:
    if share >= 1:
        print(f"{stage}: done", flush=True)
