#!/usr/bin/env python3
"""Writes tools/reports/taught.md and its curves: what a device knows of its labels, and of what has none.

    .venv/bin/python tools/reports/taught.py [--out DIR]

unknown.json, calibration.json, doubtful.json and suggest.json come from `tools/bench NAME --into
tools/reports/NAME.json`, at_once.json from `tools/bench once`, ceilings.json from `tools/bench ceilings`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from asked import FAR, SETS, WAYS, far, mean, missed, near

from benchmarks import calibration, ceilings, doubtful, suggestion, unknown

HERE = Path(__file__).resolve().parent
TASKS = {"flowers": ("flowers",), "kinds": ("groups", "kinds"), "handwriting": ("handwriting",)}
"""Set → the tasks of suggest.json."""


def main() -> int:
    """Read, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="where page and curves go (default: beside this script)")
    args = parser.parse_args()
    numbers = read()
    args.out.mkdir(parents=True, exist_ok=True)
    suggestion.draw(numbers["suggest"], args.out)
    page = (HERE / "taught.template.md").read_text(encoding="utf-8")
    for name, lines in {
        "summary": summary(numbers),
        "missed": missed(numbers),
        "shipped": unknown.shipped_table(numbers["unknown"]),
        "unknown": [*unknown.table(numbers["unknown"]), "", *unknown.sentences(numbers["unknown"])],
        "calibration": [calibration.table(numbers["calibration"]), "", *calibration.sentences(numbers["calibration"])],
        "doubtful": [doubtful.table(numbers["doubtful"]), "", *doubtful.sentences(numbers["doubtful"])],
        "fairly": [fairly(numbers)],
        "ceilings": ceilings.verdicts(numbers["ceilings"]),
        "ceilings_strangers": ceilings.strangers_table(numbers["ceilings"]),
        "ceilings_networks": ceilings.networks_table(numbers["ceilings"]),
        "ceilings_looked_at": ceilings.looked_at_sentences(numbers["ceilings"]),
        "ceilings_doubtful": ceilings.doubtful_table(numbers["ceilings"]),
        "ceilings_labels": ceilings.labels_table(numbers["ceilings"]),
        "suggest": [suggestion.table(numbers["suggest"]), "", *suggestion.sentences(numbers["suggest"])],
    }.items():
        page = page.replace("{{" + name + "}}", "\n".join(lines))
    (args.out / "taught.md").write_text(page, encoding="utf-8")
    return 0


def read() -> dict[str, Any]:
    """Return name → the numbers of a measurement."""
    return {
        name: json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("unknown", "calibration", "doubtful", "suggest", "at_once", "ceilings")
    }


def summary(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield a table of what was asked for and what was measured, by set."""
    yield f"| | asked | {' | '.join(SETS)} |"
    yield f"|---|---|{'---|' * len(SETS)}"
    strange, limits = numbers["unknown"], [str(limit) for limit in unknown.LIMITS]
    least = min(unknown.PHOTOS)

    for limit in limits:
        share = float(limit)
        alarms = [f"{mean(far(strange, name, least, limit, None)):.1%}" for name in SETS]
        asked = f"{share - 0.01:.0%} to {share + 0.01:.0%}"
        yield f"| frames of taught things that `unknown = {limit}` calls unknown | {asked} | {' | '.join(alarms)} |"
        cells = [
            ", ".join(f"{who} {mean(far(strange, name, least, limit, who)):.1%}" for who in FAR[name]) for name in SETS
        ]
        yield f"| strangers of another kind that pass it | ≤ 5% | {' | '.join(cells)} |"
    areas = [[near(strange, name, way) for way in WAYS] for name in SETS]
    cells = [f"{edged:.2f} (similarity {alike:.2f}, energy {energy:.2f})" for edged, alike, energy in areas]
    yield f"| AUROC for a label that was left out | more than either measure alone | {' | '.join(cells)} |"
    scored = numbers["calibration"]
    cells = [", ".join(_calibrated(scored["rows"], name)) for name in SETS]
    yield f"| expected calibration error, 30 photos a label, and all | ≤ {scored['asked']:.0%} | {' | '.join(cells)} |"
    doubted = numbers["doubtful"]
    cells = [f"{_doubted(doubted['rows'], name):.0%}" for name in SETS]
    yield (
        f"| wrong ones among the first n named, of n = {doubtful.USUAL:.0%} wrong labels | ≥ {doubted['asked']:.0%} "
        f"| {' | '.join(cells)} |"
    )
    cells = ["; ".join(_saved(numbers["suggest"]["tasks"][task], task) for task in TASKS[name]) for name in SETS]
    yield f"| labels that `images suggest` needs, of those that random choice needs | ≤ 50% | {' | '.join(cells)} |"
    cost = strange["ms"]["p50"]
    yield f"| cost of a frame's familiarity, {strange['exemplars']} exemplars | ≤ 0.3 ms | {cost:.2f} ms | | |"


def fairly(numbers: Mapping[str, Any]) -> str:
    """Tell in a sentence what of the labels that are saved comes from leaving out frames that only judge."""
    tasks = numbers["suggest"]["tasks"]

    def needed(way: str) -> str:
        """Return with how many labels a way reaches the goal, and `images suggest`, where both do."""
        pairs = [(task, one["reached"][way], one["reached"]["images suggest"]) for task, one in tasks.items()]
        found = [f"{labels} ({suggestion.TASKS[task]}: {own})" for task, labels, own in pairs if labels and own]
        return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found) or "more than were tried"

    return (
        "`images suggest` names only frames that teach, while random choice, margin and core-set also spend labels on "
        "frames that only judge. The fair comparisons, in brackets what `images suggest` needs: if it named "
        f"all frames, it would need {needed(suggestion.ALL_FRAMES)} labels; margin of frames that teach needs "
        f"{needed(suggestion.TEACHING_MARGIN)}. Where a set is missing, the goal was not reached with so many as were "
        "tried."
    )


def _calibrated(rows: Sequence[Mapping[str, Any]], name: str) -> Iterator[str]:
    for size in (30, None):
        found = [row for row in rows if (row["set"], row["size"]) == (name, size)]
        error, chance = (mean([row["after"][what] for row in found]) for what in ("error", "chance"))
        yield f"{error:.1%} (chance alone {chance:.1%})"


def _doubted(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    (row,) = [
        row
        for row in rows
        if (row["set"], row["per_label"], row["share"], row["changed"]) == (name, 0, doubtful.USUAL, "random")
    ]
    return float(row["edged"][0])


def _saved(task: Mapping[str, Any], name: str) -> str:
    reached, goal = task["reached"]["images suggest"], task["goal"]["labels"]
    told = (
        f"over {task['curves']['images suggest']['labels'][-1] / goal:.0%}"
        if reached is None
        else f"{reached / goal:.0%}"
    )
    return f"{told} of {goal}" + (" (3 groups)" if name == "groups" else "")


if __name__ == "__main__":
    sys.exit(main())
