#!/usr/bin/env python3
"""Measures what tools/reports/selection.md shows, and writes that page and its picture.

    .venv/bin/python tools/reports/selection.py [--data ../shared/data] [--render REPORT.json]

Every number comes from `edged premodel`: this installs the networks of --data in a state folder of its own, runs
`edged premodel train` and `report --json`, and formats. `--render` formats a report that was made before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edged.lab.selection.report import draw

HERE = Path(__file__).resolve().parent
PICTURE = HERE / "selection.svg"
NETWORKS = {
    "mobilenet_v1_0.25_128": "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160": "mobilenet_v1_0.5_160_quant",
    "mobilenet_v1_0.75_192": "mobilenet_v1_0.75_192_quant",
    "mobilenet_v2_legacy": "mobilenet_v2_1.0_224_quant",
    "efficientnet_lite0": "efficientnet_lite0_224_uint8_ptq",
    "resnet50": "resnet50_224_uint8_ptq",
    "inception_v3": "inception_v3_299_quant",
}
WITHOUT_BACKGROUND = ("efficientnet_lite0", "resnet50")


def main() -> int:
    """Measure, or read what was measured; draw; write."""
    parser = argparse.ArgumentParser(description="Measure and write tools/reports/selection.md.")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent.parent / "shared" / "data")
    parser.add_argument("--render", type=Path, metavar="REPORT.json", help="format this report")
    args = parser.parse_args()
    report = json.loads(args.render.read_text()) if args.render else measure(args.data)
    threads = f"{report['threads']} thread{'s' if report['threads'] > 1 else ''}"
    PICTURE.write_text(draw(report["rows"], report["curves"], f"{report['photos']} ImageNet photos, {threads}"))
    page = (HERE / "selection.template.md").read_text()
    for name, text in parts(report).items():
        page = page.replace(f"{{{{{name}}}}}", text)
    (HERE / "selection.md").write_text(page)
    print(report["verdict"])
    return 0


def measure(data: Path) -> dict[str, Any]:
    """Install, train, report; one thread."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "EDGED_STORAGE__STATE_DIR": folder, "EDGED_MODEL__THREADS": "1"}

        def edged(*words: str | Path, quiet: bool = False) -> str:
            command = [sys.executable, "-m", "edged", *map(str, words)]
            output = subprocess.PIPE if quiet else None
            return subprocess.run(command, env=environment, check=True, text=True, stdout=output).stdout or ""

        labels = data / "models" / "imagenet_labels.txt"
        shorter = Path(folder, "labels.txt")
        shorter.write_text("".join(labels.read_text().splitlines(keepends=True)[1:]))
        for name, file in NETWORKS.items():
            own = shorter if name in WITHOUT_BACKGROUND else labels
            edged("models", "add", data / "models" / f"{file}.tflite", "--labels", own, "--name", name)
        photos = data / "imagenet"
        edged("premodel", "train", "--images", photos, "--labels", photos / "labels.csv")
        return dict(json.loads(edged("premodel", "report", "--json", quiet=True)))


def parts(report: dict[str, Any]) -> dict[str, str]:
    """Return the page's tables as Markdown."""
    rows, ratios = report["rows"], report["ratios"]
    sources = list(rows[0].get("top1_by_source", {}))
    table = [
        "| | top-1 | top-5 | mean ms | p95 ms | less time | memory MB | who answers |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]
    by_source = ["| | " + " | ".join(sources) + " |", "|---|" + "--:|" * len(sources)]
    for row in rows:
        mix = ", ".join(f"{name} {share:.0%}" for name, share in row["mix"].items() if share >= 0.005)
        ratio = f"{ratios[row['name']]['speedup']:.2f} ×" if row["name"] in ratios else ""
        table.append(
            f"| {row['name']} | {row['top1']:.2%} | {row['top5']:.2%} | {row['mean_ms']:.2f} | {row['p95_ms']:.2f} | "
            f"{ratio} | {row['memory_mb']:.0f} | {'' if row['kind'] == 'single' else mix} |"
        )
        if row["kind"] in ("single", "cascade", "learned", "oracle"):
            own = row.get("top1_by_source", {})
            by_source.append(f"| {row['name']} | " + " | ".join(f"{own[each]:.1%}" for each in sources) + " |")
    best = max((row for row in rows if row["kind"] == "single"), key=lambda row: row["top1"])
    curve = [
        "| cascade: top-1 | mean ms | less time | learned: top-1 | mean ms | less time |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for plain, learned in zip(report["curves"]["cascade"], report["curves"]["learned"], strict=True):
        cells = [
            f"{point['top1']:.2%} | {point['mean_ms']:.1f} | {best['mean_ms'] / point['mean_ms']:.2f} ×"
            for point in (plain, learned)
        ]
        curve.append("| " + " | ".join(cells) + " |")
    features = ["| feature | ms by itself | importance | used |", "|---|--:|--:|---|"]
    for each in report["features"]:
        importance = f"{100 * each['importance']:+.2f}" if "importance" in each else "correlated"
        features.append(f"| {each['name']} | {each['cost_ms']:.2f} | {importance} | {'yes' if each['used'] else ''} |")
    decisions = ", ".join(f"{name} {ms:.2f} ms" for name, ms in report["decision_ms"].items())
    return {
        "table": "\n".join(table),
        "by_source": "\n".join(by_source),
        "curve": "\n".join(curve),
        "features": "\n".join(features),
        "verdict": report["verdict"],
        "pool": ", ".join(report["pool"]),
        "decisions": decisions,
        "how": report["how"],
    }


if __name__ == "__main__":
    sys.exit(main())
