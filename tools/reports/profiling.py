#!/usr/bin/env python3
"""Measures what tools/reports/profiling.md shows, and writes that page and its pictures.

    .venv/bin/python tools/reports/profiling.py [--data ../shared/data] [--seconds 20] [--limit 400] [--python PYTHON]
    .venv/bin/python tools/reports/profiling.py --render [--out DIR]

Every number comes from the command that stands beside its table: this only runs `edged profile` and formats. What the
commands have printed is kept in profiling.json, and how often layers were timed again in layers.json (see
`benchmarks.layers`): `--render` formats both without measuring. A measurement that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.layers import caches_table, table
from edged.contract.reports import PerformanceState, ProfileReport
from edged.lab.chart import COLOURS, Axis, Chart, Series
from edged.lab.profiling.layers import draw_layers
from edged.terminal.performance import set_to
from edged.terminal.text import count, precise_milliseconds, shape, short_name

HERE = Path(__file__).resolve().parent
RAW, SPREAD = HERE / "profiling.json", HERE / "layers.json"
ONLINE_S = 3600.0
"""For 1,000 images one after another, however slow: a row says how long so many took."""
Reports = Mapping[str, Mapping[str, Any]]


def main() -> int:
    """Measure, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each single measurement but the online ones")
    parser.add_argument("--limit", type=int, default=400, help="photos for the comparison")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with edged, and with TensorFlow too")
    parser.add_argument("--render", action="store_true", help="format what was measured before")
    parser.add_argument("--raw", type=Path, default=RAW, help="what was measured (default: beside this script)")
    parser.add_argument("--out", type=Path, default=HERE, help="where page and pictures go (default: there, too)")
    args = parser.parse_args()
    if not args.render:
        measure(args)
    raw = json.loads(args.raw.read_text(encoding="utf-8"))
    pictures = args.out / "profiling"
    pictures.mkdir(parents=True, exist_ok=True)
    reports, comparison = raw["reports"], raw["compare"]
    for name, report in reports.items():
        (pictures / f"{name}.svg").write_text(draw_layers(ProfileReport.model_validate(report)), encoding="utf-8")
    (pictures / "batches.svg").write_text(_batch_lines(reports), encoding="utf-8")
    (pictures / "comparison.svg").write_text(_accuracies(comparison, _colours(reports)), encoding="utf-8")
    (pictures / "footprint.svg").write_text(_footprints(reports), encoding="utf-8")
    spread = json.loads(SPREAD.read_text(encoding="utf-8"))
    (args.out / "profiling.md").write_text("\n".join(page(raw, spread)) + "\n", encoding="utf-8")
    return 0


def measure(args: argparse.Namespace) -> None:
    """Run the commands, one after another; each one's output is kept as soon as it is there."""
    models = {"mobilenet_v2": "mobilenet_v2"}
    models |= {path.stem: str(path) for path in sorted((args.data / "models").glob("*.tflite"))}
    unfinished = args.raw.with_suffix(".unfinished.json")
    raw: dict[str, Any] = {"seconds": args.seconds, "limit": args.limit, "reports": {}}
    if unfinished.is_file():
        raw = json.loads(unfinished.read_text(encoding="utf-8"))
    photos = ["--images", str(args.data / "imagenet" / "eli")]
    for name, model in models.items():
        if name not in raw["reports"]:
            print(f"measuring {name} …", flush=True)
            short = ["--only", "layers,end_to_end,batch,threads,runtimes,gpu", "--seconds", f"{raw['seconds']:g}"]
            long = ["--only", "online", "--online", "10,100,1000", "--seconds", f"{ONLINE_S:g}"]
            report = _profile(args.python, [model, *photos, *short])
            raw["reports"][name] = report | {"online": _profile(args.python, [model, *photos, *long])["online"]}
            unfinished.write_text(json.dumps(raw), encoding="utf-8")
    images = args.data / "imagenet"
    compare = ["--compare", *models.values(), "--images", str(images), "--labels", str(images / "labels.csv")]
    raw["compare"] = _profile(args.python, [*compare, "--limit", str(args.limit)])["compare"]
    text = json.dumps(raw, indent=1, ensure_ascii=False).replace(str(args.data), "../shared/data")
    args.raw.write_text(text + "\n", encoding="utf-8")
    unfinished.unlink()


def _profile(python: str, arguments: list[str]) -> dict[str, Any]:
    done = subprocess.run([python, "-m", "edged", "profile", *arguments, "--json"], stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def _batch_lines(reports: Reports) -> str:
    series = [
        Series(
            name,
            [(float(size), 1e3 / entry["cpu_ms"]) for size, entry in report["batch"].items() if "error" not in entry],
        )
        for name, report in reports.items()
    ]
    sizes = sorted({x for one in series for x, _ in one.points})
    return Chart(
        "Batches: throughput",
        Axis("images per batch", log=True, ticks=sizes),
        Axis("images per second of processor time, one thread", log=True),
        series,
        legend_at_ends=True,
    ).svg()


def _colours(reports: Reports) -> dict[str, str]:
    """Return a colour for each model, the same in every picture of dots."""
    return dict(zip(reports, itertools.cycle(COLOURS), strict=False))


def _accuracies(comparison: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    """Draw top-1 against joules; where no power was measured, against processor time, which the picture says."""
    rows = [row for row in comparison if row["accuracy"] is not None]
    powered = _powered(rows)
    area = f"Area of a circle: parameters, {_between([row['params'] for row in rows])}."
    unpowered = "No power sensor could be read on this machine: processor time stands for energy here. "
    return Chart(
        f"Accuracy against {'energy' if powered else 'processor time'}",
        Axis("energy per image, mJ, the whole machine, one thread, LiteRT", log=True)
        if powered
        else Axis("processor time per image, ms, one thread, LiteRT", log=True),
        Axis("top-1 accuracy", percent=True),
        [
            Series(
                *("", [(row["energy_mj" if powered else "cpu_ms"], row["accuracy"])]),
                **_bubble(row["name"], row["params"], colours),
            )
            for row in rows
        ],
        width=720,
        note=area if powered else unpowered + area,
    ).svg()


def _footprints(reports: Reports) -> str:
    """Draw peak memory against parameters."""
    models, colours = {name: report["model"] for name, report in reports.items()}, _colours(reports)
    return Chart(
        "Memory against parameters",
        Axis("parameters, millions", log=True),
        Axis("peak memory, MB, one image at a time"),
        [
            Series(
                *("", [(model["params"] / 1e6, reports[name]["batch"]["1"]["peak_mb"])]),
                **_bubble(name, model["macs"], colours),
            )
            for name, model in models.items()
        ],
        width=720,
        note="Area of a circle: multiply-accumulates for one image, "
        f"{_between([model['macs'] for model in models.values()])}.",
    ).svg()


def _bubble(name: str, area: float, colours: Mapping[str, str]) -> dict[str, Any]:
    return {"line": False, "labels": [name], "areas": [area], "colour": colours[name]}


def _between(values: Sequence[float]) -> str:
    return f"{count(round(min(values)))} to {count(round(max(values)))}"


def page(raw: Mapping[str, Any], spread: dict[str, Any]) -> Iterator[str]:
    """Yield the page's lines, of what was measured and of layers that were timed again and again."""
    reports: Reports = raw["reports"]
    machine = next(iter(reports.values()))["machine"]
    state = set_to(PerformanceState.model_validate(machine))
    loads = sorted(report["machine"]["load"] for report in reports.values())
    template = (HERE / "profiling.template.md").read_text(encoding="utf-8")
    values = {
        "machine": f"{machine['processor']}, {machine['architecture']}, {machine['threads']} virtual processors, "
        f"{machine['memory_mb'] / 1000:.0f} GB" + (f", {state}" if state else ""),
        "loads": f"{loads[0]:.1f} to {loads[-1]:.1f}",
        "python": machine["python"],
        "seconds": f"{raw['seconds']:g}",
        "limit": str(raw["limit"]),
        "explained": "\n".join(_explained(reports)),
        "spread": "\n".join(table(spread)),
        "caches": "\n".join(caches_table(spread)),
        "runs": str(spread["runs"]),
        "slowest": "\n".join(_slowest(reports)),
        "operators": "\n".join(_operators(reports)),
        "pictures": "\n".join(f"![{name}: time per layer](profiling/{name}.svg)\n" for name in reports),
        "end_to_end": "\n".join(_end_to_end(reports)),
        "online": "\n".join(_online(reports)),
        "batches": "\n".join(_batches(reports)),
        "memory": "\n".join(_memory(reports)),
        "threads": "\n".join(_threads(reports)),
        "runtimes": "\n".join(_runtimes(reports)),
        "gpu": next(iter(reports.values()))["gpu"].get("error", "a GPU was found"),
        "energy": _energy(raw["compare"]),
        "comparison": "\n".join(_comparison(raw["compare"])),
    }
    for key, value in values.items():
        template = template.replace("{{" + key + "}}", value)
    yield template.rstrip()


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(heading) + " |"
    yield "|---|" + "---:|" * (len(heading) - 1)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _explained(reports: Reports) -> Iterator[str]:
    rows = []
    for name, report in reports.items():
        model, whole = report["model"], report["layers_sum"]
        rows.append(
            [
                name,
                *(str(model["operators"]), count(model["params"]), count(model["macs"])),
                *(f"{whole['sum_ms']:.3f}", f"{whole['whole_ms']:.3f}", f"{whole['explained']:.1%}"),
                "{:.1%} to {:.1%}".format(*whole["explained_range"]),
                "yes" if whole["exact"] else "**no**",
            ]
        )
    yield from _table(
        ["model", "layers", "parameters", "MACs", "sum ms", "whole ms", "explained", "in single rounds", "same scores"],
        rows,
    )


def _slowest(reports: Reports) -> Iterator[str]:
    rows = []
    for name, report in reports.items():
        layer = max(report["layers"], key=lambda layer: layer["ms"])
        place = report["layers"].index(layer)
        way = f"{shape(layer['input_shape'])} → {shape(layer['output_shape'])}"
        what = f"{place}: {layer['op']}, `{short_name(layer['name'])}`"
        rows.append([name, what, way, precise_milliseconds(layer["ms"]), f"{layer['share']:.1%}"])
    yield from _table(["model", "slowest layer", "shapes", "ms", "share"], rows)


def _operators(reports: Reports) -> Iterator[str]:
    kinds = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "PAD", "QUANTIZE")
    rows = []
    for name, report in reports.items():
        sums = dict.fromkeys((*kinds, "others"), 0.0)
        for layer in report["layers"]:
            sums[layer["op"] if layer["op"] in kinds else "others"] += layer["share"]
        rows.append([name, *(f"{share:.1%}" if share else "" for share in sums.values())])
    yield from _table(["model", *kinds, "others"], rows)


def _end_to_end(reports: Reports) -> Iterator[str]:
    steps = ("capture", "preprocess", "invoke", "publish", "total")
    rows = []
    for name, report in reports.items():
        entry = report["end_to_end"]
        cells = ["" if (ms := entry[f"{step}_ms"]) is None else precise_milliseconds(ms) for step in steps]
        rows.append([name, *cells])
    yield from _table(["model", *steps], rows)


def _online(reports: Reports) -> Iterator[str]:
    rows = [
        [name, number, str(entry["images"]), f"{entry['total_ms']:.0f}"]
        + [precise_milliseconds(entry[key]) for key in ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "cpu_ms")]
        for name, report in reports.items()
        for number, entry in report["online"].items()
    ]
    yield from _table(["model", "asked", "measured", "total ms", "mean", "p50", "p95", "p99", "CPU"], rows)


def _batches(reports: Reports) -> Iterator[str]:
    sizes = list(next(iter(reports.values()))["batch"])
    rows = [[name, *(_rate(report["batch"][size]) for size in sizes)] for name, report in reports.items()]
    yield from _table(["images/s in batches of", *sizes], rows)


def _memory(reports: Reports) -> Iterator[str]:
    sizes = list(next(iter(reports.values()))["batch"])
    rows = [
        [name, *(f"{report['batch'][size].get('peak_mb', 0):.0f}" for size in sizes)]
        for name, report in reports.items()
    ]
    yield from _table(["peak MB in batches of", *sizes], rows)


def _rate(entry: Mapping[str, Any]) -> str:
    return "–" if "error" in entry else f"{entry['images_per_s']:.1f} ({1e3 / entry['cpu_ms']:.1f})"


def _threads(reports: Reports) -> Iterator[str]:
    numbers = list(next(iter(reports.values()))["threads"])
    rows = []
    for name, report in reports.items():
        medians = [report["threads"][number]["p50_ms"] for number in numbers]
        rows.append([name, *map(precise_milliseconds, medians), f"{medians[0] / medians[-1]:.2f}"])
    yield from _table(["p50 ms on threads", *numbers, "gain"], rows)


def _runtimes(reports: Reports) -> Iterator[str]:
    names = list(next(iter(reports.values()))["runtimes"])
    versions = next(iter(reports.values()))["runtimes"]
    heading = [f"{name} {versions[name].get('version') or ''}".strip() for name in names]
    rows = [
        [name, *("–" if "error" in (entry := report["runtimes"][each]) else _both(entry) for each in names)]
        for name, report in reports.items()
    ]
    yield from _table(["p50 ms (CPU ms)", *heading], rows)


def _both(entry: Mapping[str, Any]) -> str:
    return f"{precise_milliseconds(entry['p50_ms'])} ({precise_milliseconds(entry['cpu_ms'])})"


def _powered(rows: Sequence[Mapping[str, Any]]) -> bool:
    return all("energy_mj" in row for row in rows)


def _energy(rows: Sequence[Mapping[str, Any]]) -> str:
    if _powered(rows):
        return (
            "mJ: energy of the whole machine for one image, its preparing included; its power is integrated over two "
            "seconds\nof one image after another."
        )
    return (
        "Energy: this machine has no power sensor that can be read, so the picture shows processor time instead, which "
        "is no\nenergy. On a device with rails (a Jetson's INA3221) or RAPL the same command measures each network's "
        "energy of one\nimage, as `energy_mj`; this page then has a column, and the picture joules."
    )


def _comparison(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    cells, powered = [], _powered(rows)
    for row in rows:
        accuracy, top5, rate = row["accuracy"], row["top5"], row["accuracy_per_ms"]
        cells.append(
            [
                row["name"],
                *("–" if share is None else f"{share:.1%}" for share in (accuracy, top5)),
                *(
                    precise_milliseconds(row["ms"]),
                    precise_milliseconds(row["cpu_ms"]),
                    f"{row['mb']:.1f}",
                    count(row["macs"]),
                ),
                "–" if rate is None else f"{100 * rate:.1f}",
                *([f"{row['energy_mj']:.1f}"] if powered else []),
            ]
        )
    heading = ["model", "top-1", "top-5", "ms", "CPU ms", "MB", "MACs", "top-1 points per ms"]
    yield from _table([*heading, "mJ"] if powered else heading, cells)


if __name__ == "__main__":
    sys.exit(main())
