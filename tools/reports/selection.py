#!/usr/bin/env python3
"""Writes tools/reports/selection.md, its picture and README's table of tools/reports/selection.json.

    .venv/bin/python tools/reports/selection.py

`tools/bench selection --out tools/reports/selection.json` measures; this only formats.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edged.lab.selection import draw

HERE = Path(__file__).resolve().parent
RESULT, PAGE, PICTURE = HERE / "selection.json", HERE / "selection.md", HERE / "selection.svg"
README = HERE.parents[1] / "README.md"
BEGIN, END = "<!-- written by tools/reports/selection.py -->", "<!-- end -->"
ASKED_SPEEDUP, ASKED_DIFFERENCE = 2.5, -0.003
ASKED_ACCURATE_SPEEDUP, ASKED_GAIN = 1.5, 0.005

Row = Mapping[str, Any]


def main() -> int:
    """Read, format, write."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    PAGE.write_text(page(result), encoding="utf-8")
    PICTURE.write_text(picture(result), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), result), encoding="utf-8")
    print(result["report"]["verdict"])
    return 0


def page(result: Mapping[str, Any]) -> str:
    """Return the page."""
    text = (HERE / "selection.template.md").read_text(encoding="utf-8")
    for name, part in parts(result).items():
        text = text.replace(f"{{{{{name}}}}}", part)
    return text


def picture(result: Mapping[str, Any]) -> str:
    """Return the picture of the report side's curves, as SVG."""
    report = result["report"]
    title = f"{report['photos']} ImageNet photos that nothing was chosen on, 1 thread"
    return draw(report["rows"], report["curves"], title)


def with_table(readme: str, result: Mapping[str, Any]) -> str:
    """Return README with its table of the selection in place."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{readme_table(result)}\n\n{END}{after}"


def readme_table(result: Mapping[str, Any]) -> str:
    """Return the few rows that README shows."""
    report = result["report"]
    best = best_of(report["rows"])
    lines = ["| | top-1 | beside the best network | mean ms | less time |", "|---|--:|--:|--:|--:|"]
    shown = ("learned", "learned, accurate", "cascade", "premodel expected")
    for row in [best, *(row for name in shown for row in report["rows"] if row["name"] == name)]:
        beside = interval(row) if "beside_best" in row else ""
        name = f"{row['name']} (best single network)" if row is best else row["name"]
        faster = f"{row['speedup']:.2f} ×" if "speedup" in row else ""
        lines.append(f"| {name} | {row['top1']:.1%} | {beside} | {row['mean_ms']:.1f} | {faster} |")
    sides = result["sides"]
    lines += [
        "",
        f"On {sides['report']} ImageNet photos that nothing was chosen on, fitted to {sides['develop']} others.",
        "One thread. In brackets the 95 % interval of the difference on the same photos, in points. Made by",
        f"`{result['command']}`.",
    ]
    return "\n".join(lines)


def parts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the page's parts as Markdown."""
    report, develop = result["report"], result["develop"]
    rows, best = report["rows"], best_of(report["rows"])
    by_name = {row["name"]: row for row in rows}
    paper = [row for row in rows if row["kind"] == "premodel" and row["name"] != "premodel expected"]
    expected = by_name["premodel expected"]
    energy = (
        "*mJ* and *mJ per right answer* are the whole machine's, integrated."
        if "energy_mj" in best
        else "Energy: this machine has no power sensor that can be read, so joules are not in the table; see the end."
    )
    return {
        "command": result["command"],
        "machine": result["machine"],
        "photos": str(sum(result["sides"].values())),
        "develop": str(result["sides"]["develop"]),
        "report": str(result["sides"]["report"]),
        "verdict": report["verdict"],
        "best": best["name"],
        "asked": asked(by_name),
        "table": table(rows),
        "decisions": ", ".join(f"{name} {ms:.2f} ms" for name, ms in report["decision_ms"].items()),
        "energy": energy,
        "expected": table([row for row in develop["rows"] if "beside_best" in row or row["name"] == best["name"]]),
        "by_source": by_source(rows),
        "curve": curve(report, best, result["fitted"]),
        "chain": ", ".join(result["fitted"]["learned"]["networks"]),
        "paper_range": f"{min(r['top1'] for r in paper):.1%} to {max(r['top1'] for r in paper):.1%}",
        "expected_premodel": f"{expected['top1']:.1%} ({interval(expected)} points beside {best['name']}) in "
        f"{expected['mean_ms'] / best['mean_ms']:.2f} × its time",
        "evidence": evidence(result["premodel_evidence"]),
        "wanted": wanted(result["premodel_evidence"]["wanted"]),
        "pool": ", ".join(develop["pool"]),
        "features": features(develop["features"]),
        "audits": str(result["shift"][0]["audits"]),
        "shift": shift(result["shift"]),
        "trace": result["power"]["trace"],
        "idle": f"{result['power']['idle_mw'] / 1000:.2f}",
        "power": power(result["power"]["rows"]),
    }


def best_of(rows: Sequence[Row]) -> Row:
    """Return the row of the most accurate single network."""
    return max((row for row in rows if row["kind"] == "single"), key=lambda row: (row["top1"], -row["mean_ms"]))


def interval(row: Row) -> str:
    """Return the paired difference with its interval, in points."""
    beside = row["beside_best"]
    return f"{100 * beside['difference']:+.2f} ({100 * beside['low']:+.2f} to {100 * beside['high']:+.2f})"


def asked(rows: Mapping[str, Row]) -> str:
    """Return what was asked of the two operating points, and what they reached."""
    default, accurate = rows["learned"], rows["learned, accurate"]
    lines = ["| | asked | reached | |", "|---|---|---|---|"]
    for name, row, speedup, difference in (
        ("default point", default, ASKED_SPEEDUP, ASKED_DIFFERENCE),
        ("accurate point", accurate, ASKED_ACCURATE_SPEEDUP, ASKED_GAIN),
    ):
        reached = row["speedup"] >= speedup and row["beside_best"]["difference"] >= difference
        lines.append(
            f"| {name} | {speedup:.1f} × less time, {100 * difference:+.1f} points or better | "
            f"{row['speedup']:.2f} ×, {interval(row)} points | {'reached' if reached else '**not reached**'} |"
        )
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """Return rows of a report with all their measures."""
    energy = any("energy_mj" in row for row in rows)
    lines = [
        "| | top-1 | beside the best | top-5 | mean ms | p95 ms | less time | memory MB |"
        + (" mJ | mJ per right answer |" if energy else "")
        + " who answers |",
        "|---|--:|--:|--:|--:|--:|--:|--:|" + ("--:|--:|" if energy else "") + "---|",
    ]
    for row in rows:
        mix = ", ".join(f"{name} {share:.0%}" for name, share in row["mix"].items() if share >= 0.005)
        joules = f" {row['energy_mj']:.0f} | {row['energy_per_right_mj']:.0f} |" if energy else ""
        beside = interval(row) if "beside_best" in row else ""
        faster = f"{row['speedup']:.2f} ×" if "speedup" in row else ""
        lines.append(
            f"| {row['name']} | {row['top1']:.2%} | {beside} | {row['top5']:.2%} | "
            f"{row['mean_ms']:.2f} | {row['p95_ms']:.2f} | {faster} | "
            f"{row['memory_mb']:.0f} |{joules} {'' if row['kind'] == 'single' else mix} |"
        )
    return "\n".join(lines)


def by_source(rows: Sequence[Row]) -> str:
    """Return accuracies on each source of photos."""
    sources = list(rows[0]["top1_by_source"])
    lines = ["| | " + " | ".join(sources) + " |", "|---|" + "--:|" * len(sources)]
    for row in rows:
        if row["kind"] != "premodel":
            own = row["top1_by_source"]
            lines.append(f"| {row['name']} | " + " | ".join(f"{own[each]:.1%}" for each in sources) + " |")
    return "\n".join(lines)


def curve(report: Mapping[str, Any], best: Row, fitted: Mapping[str, Any]) -> str:
    """Return the operating points of both cascades."""
    lines = [
        "| | cascade: top-1 | mean ms | less time | learned: top-1 | mean ms | less time |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    points = zip(report["curves"]["cascade"], report["curves"]["learned"], strict=True)
    for number, both in enumerate(points):
        named = [
            f"{point} of {name}"
            for name in ("cascade", "learned")
            for point in ("default", "accurate")
            if fitted[name][point] == number
        ]
        cells = [
            f"{each['top1']:.2%} | {each['mean_ms']:.1f} | {best['mean_ms'] / each['mean_ms']:.2f} ×" for each in both
        ]
        lines.append(f"| {', '.join(named)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def evidence(found: Mapping[str, Any]) -> str:
    """Return how well frames that need the best network are ranked."""
    networks = found["networks"]
    lines = [
        "| estimate | "
        + " | ".join(f"beside {name} ({each['need']:.0%} need it)" for name, each in networks.items())
        + " |",
        "|---|" + "--:|" * len(networks),
    ]
    for estimate in next(iter(networks.values()))["estimates"]:
        own = [each["estimates"][estimate] for each in networks.values()]
        cells = " | ".join(f"{each['auc']:.2f} ± {each['standard_error']:.2f}" for each in own)
        lines.append(f"| {estimate} | {cells} |")
    return "\n".join(lines)


def wanted(rows: Sequence[Row]) -> str:
    """Return what a signal of some quality would bring."""
    head = "| area under the ROC curve | " + " | ".join(f"{row['auc']:.2f}" for row in rows) + " |"
    points = "| beside the best network | " + " | ".join(f"{100 * row['difference']:+.1f}" for row in rows) + " |"
    return "\n".join([head, "|---|" + "--:|" * len(rows), points])


def features(rows: Sequence[Row]) -> str:
    """Return features with cost and importance."""
    lines = ["| feature | ms by itself | importance | used |", "|---|--:|--:|---|"]
    for each in rows:
        importance = f"{100 * each['importance']:+.2f}" if "importance" in each else "correlated"
        lines.append(f"| {each['name']} | {each['cost_ms']:.2f} | {importance} | {'yes' if each['used'] else ''} |")
    return "\n".join(lines)


def shift(rows: Sequence[Row]) -> str:
    """Return cascades on photos unlike those of their fit."""
    lines = [
        "| fitted to | run on | photos | as fitted: beside the best | time | following: beside the best | time |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = " | ".join(f"{interval(row[how])} | {row[how]['time_share']:.2f} ×" for how in ("fixed", "followed"))
        lines.append(f"| {row['fitted_to']} | {row['run_on']} | {row['photos']} | {cells} |")
    return "\n".join(lines)


def power(rows: Sequence[Row]) -> str:
    """Return how budgets are kept."""
    lines = [
        "| budget | mean | means of a minute | frames per second | joules per frame |",
        "|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        lines.append(
            f"| {row['budget_mw'] / 1000:.1f} W | {row['mean_mw'] / 1000:.2f} W | {100 * row['least']:+.1f} to "
            f"{100 * row['most']:+.1f} % | {row['frames_per_s']:.1f} | {row['joules_per_frame']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
