#!/usr/bin/env python3
"""Writes the tables of README.md that were measured, between the comments that name their files.

    .venv/bin/python tools/reports/readme.py [--out FILE]

live.json, retrain.json and the others come from `tools/bench NAME --into tools/reports/NAME.json`; README says with
which other arguments.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import taught

from benchmarks import at_once, console, faults, fuzz, gate, set_to, together
from benchmarks.keras_recipes import LONG, Share
from benchmarks.live import table
from benchmarks.retrain import keras_table
from simulation import measuring as fleets

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
NAMES = {
    "mobilenet_v2": "MobileNetV2 (shipped)",
    "efficientnet_lite0": "EfficientNet-Lite0",
    "inception_v3": "Inception v3",
}
LABS = {
    ("mobilenet_v2", "0.1"): "MobileNet: GPU 648 s 88 %, CPU 872 s 88 %",
    ("mobilenet_v2", "0.005"): "984 s 91 %",
    ("mobilenet_v2", "1.0"): "689 s 90 %",
    ("inception_v3", "0.1"): "GPU 1,277 s 88.0 %, CPU 992 s 90.7 %",
}
"""What the labs have measured on a Jetson TX2, by backbone and learning rate."""


def main() -> int:
    """Read, replace, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=README, help="(default: README.md itself)")
    args = parser.parse_args()
    runs = json.loads((HERE / "retrain.json").read_text(encoding="utf-8"))
    live = json.loads((HERE / "live.json").read_text(encoding="utf-8"))
    gated = json.loads((HERE / "gate.json").read_text(encoding="utf-8"))
    fleet = json.loads((HERE / "fleet.json").read_text(encoding="utf-8"))
    fuzzed = json.loads((HERE / "fuzz.json").read_text(encoding="utf-8"))
    shared = json.loads((HERE / "together.json").read_text(encoding="utf-8"))
    page = json.loads((HERE / "console.json").read_text(encoding="utf-8"))
    after_one = json.loads((HERE / "at_once.json").read_text(encoding="utf-8"))
    known = taught.read()
    wheels = json.loads((HERE / "wheels.json").read_text(encoding="utf-8"))
    parts = {
        "platforms": platforms(wheels),
        "together": [*together.table(shared), "", *together.sentences(shared)],
        "private": list(together.private_table(shared)),
        "fuzz": [*fuzz.table(fuzzed), "", *fuzz.sentences(fuzzed)],
        "retrain": retrain(runs),
        "once": at_once.table(after_one).splitlines(),
        "keras": keras(runs),
        "live": table(live).splitlines(),
        "console": [*console.table(page), "", *console.sentences(page)],
        "faults": faults.table(json.loads((HERE / "faults.json").read_text(encoding="utf-8"))).splitlines(),
        "gate": [gate.table(gated), "", *gate.sentences(gated)],
        "fleet": [*fleets.table(fleet), "", *fleets.pushes_table(fleet)],
        "taught": [*taught.summary(known), "", taught.fairly(known)],
    }
    text = README.read_text(encoding="utf-8")
    for name, lines in parts.items():
        text = replaced(text, name, lines)
    args.out.write_text(text, encoding="utf-8")
    return 0


def replaced(text: str, name: str, lines: Sequence[str] | Iterator[str]) -> str:
    """Return the page with other lines between `<!-- NAME: … -->` and `<!-- end of NAME -->`.

    Raises:
        ValueError: The page has no such place, or several.
    """
    begin, end = rf"<!-- {name}: [^>]*-->\n", rf"<!-- end of {name} -->"
    pieces = re.split(rf"({begin}).*?({end})", text, flags=re.DOTALL)
    if len(pieces) != 4:
        raise ValueError(f"README.md must hold the comments of {name} once")
    return pieces[0] + pieces[1] + "\n".join(["", *lines, "", ""]) + pieces[2] + pieces[3]


ENGINES = {"ai-edge-litert": "LiteRT", "tflite-runtime": "tflite_runtime"}
NO_JETSON = "**not verified on Jetson hardware**"
FRESH = "`tools/demo` and `tools/test` in a fresh root: `sudo tools/matrix`"
BEYOND_WHEELS = {
    "jetpack4": NO_JETSON,
    "jetpack5": NO_JETSON,
    "jetpack6": NO_JETSON,
    "pi": "models (same labels, scores up to 10 of 256 steps apart), a training and the daemon on an emulated arm64 "
    "Debian 12: `sudo tools/prove_arm64`; no board was tried",
    "debian12": f"{FRESH}; the service in a booted one: `sudo tools/test --systemd`",
    "debian13": FRESH,
}
"""Target of `tools/check_wheels` → what else was tried there, with its command; the others: nothing."""


def platforms(found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each kind of machine: what is installed there, and how that was checked."""
    yield "| platform | Python, machine, glibc | engines, as pinned | pins | checked beside its wheels |"
    yield "|---|---|---|---|---|"
    for name, one in found.items():
        engines = ", ".join(f"{ENGINES[wheel]} {one['pinned'][wheel]}" for wheel in ENGINES if wheel in one["pinned"])
        cells = (
            one["what"],
            f"{one['python']}, {one['machine']}, {one['glibc']}",
            engines,
            f"`{one['pins']}`",
            BEYOND_WHEELS.get(name, "–"),
        )
        yield "| " + " | ".join(cells) + " |"
    yield ""
    yield (
        "Wheels: `tools/check_wheels all --into tools/reports/wheels.json` lets pip resolve those of "
        "each row for that machine, the newest and the pinned ones, and reads in every library what it asks of glibc "
        "and libstdc++. All of them load there."
    )


def retrain(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a row for each backbone and learning rate, and what the numbers say of the machine."""
    yield "| backbone | lr | accuracy | cold | cached | the labs' TX2 |"
    yield "|---|---|---|---|---|---|"
    entries = {name: entry for run in runs for name, entry in run["backbones"].items()}
    for name, entry in entries.items():
        for place, (rate, row) in enumerate(entry["rates"].items()):
            first = place == 0
            cells = (
                f"{NAMES.get(name, name)}, {row['seeds']} seeds" if first else "",
                rate,
                Share(row["quantized"], row["sd"]).text,
                f"{entry['cold_s']:.1f} s ({entry['cold_cpu_s']:.1f})" if first else "",
                f"{row['cached_s']:.1f} s ({row['cached_cpu_s']:.1f})",
                LABS.get((name, rate), ""),
            )
            yield "| " + " | ".join(cells) + " |"
    peak = max(entry["peak_mb"] for entry in entries.values() if entry["peak_mb"])
    cores, load = runs[0]["cores"], max(run["load"] for run in runs)
    slow = "" if load < 2 * cores else ": the seconds before them are several times those of a quiet machine"
    yield ""
    yield (
        f"In brackets: seconds of processor time, of all threads. There were {cores} cores, on which up to "
        f"{load:.1f} other processes were ready to run when a row began{slow}."
    )
    yield f"Peak memory of the trainer: {peak:.0f} MB.{set_to.sentence(runs[0])}"


def keras(runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the table of what people run today."""
    (run,) = [run for run in runs if "keras" in run]
    yield from keras_table(dict(run))
    yield ""
    yield (
        f"¹ {LONG} epochs were run and the rest, which are alike, reckoned from them. With alpha 0.35 the weights were "
        "random: that row is about its seconds alone."
    )


if __name__ == "__main__":
    sys.exit(main())
