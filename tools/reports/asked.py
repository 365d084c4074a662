"""Each number that was asked of what a device knows of its labels, beside what was measured: reached, or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks import doubtful, suggestion, unknown
from edged.plural import counted

SETS = ("flowers", "kinds", "handwriting")
FAR = {
    "flowers": ("ImageNet", "digits", "drawings"),
    "kinds": ("flowers", "digits", "drawings"),
    "handwriting": ("ImageNet", "flowers", "drawings"),
}
"""Set → the strangers of another kind."""
WAYS = ("edged", "similarity", "energy")
_STRANGERS = 0.05
_LABELS = 0.5
_COST_MS = 0.3


@dataclass(frozen=True, slots=True)
class Asked:
    """One number that was asked for.

    Attributes:
        what: Of what.
        asked: The number, in words.
        where: Photos, or what else it was measured on.
        measured: The number that came out, in words.
        reached: Whether it is what was asked for.
    """

    what: str
    asked: str
    where: str
    measured: str
    reached: bool


def all_asked(numbers: Mapping[str, Any]) -> Iterator[Asked]:
    """Yield everything that was asked for; `numbers`: name of a measurement → its raw numbers."""
    yield from _unknown(numbers["unknown"])
    yield from _calibrated(numbers["calibration"])
    yield from _doubted(numbers["doubtful"])
    yield from _saved(numbers["suggest"])
    once = numbers["at_once"]
    for album in once["albums"]:
        seconds, limit = album["wall_s"], once["asked_s"]
        where = f"{album['name']} ({counted(album['images'], 'image')})"
        yield Asked("a retrain after one more image", f"≤ {limit} s", where, f"{seconds:.2f} s", seconds <= limit)


def missed(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line of a list for each thing that was asked for and is not reached everywhere."""
    found: dict[tuple[str, str], list[Asked]] = {}
    for one in all_asked(numbers):
        found.setdefault((one.what, one.asked), []).append(one)
    for (what, asked), some in found.items():
        if not all(one.reached for one in some):
            told = "; ".join(f"{one.where} {one.measured}" for one in some if not one.reached)
            yield f"* {what}, asked {asked}: {told}."


def far(numbers: Mapping[str, Any], name: str, photos: int, limit: str, who: str | None) -> list[float]:
    """Return the shares that edged calls unknown (`who` is None: of taught things), or that pass, of each draw."""
    rows = [row for row in numbers["far"] if (row["set"], row["photos"], row["way"]) == (name, photos, "edged")]
    return [row["false_alarms"][limit] if who is None else row["pass"][who][limit] for row in rows]


def near(numbers: Mapping[str, Any], name: str, way: str) -> float:
    """Return the mean area under the curve over left-out labels and draws."""
    return mean([row["auroc"] for row in numbers["near"] if (row["set"], row["way"]) == (name, way)])


def mean(values: Sequence[float]) -> float:
    """Return the mean; that of equal values is exactly this value, and so no more than a limit that it equals."""
    return fmean(values)


def _unknown(numbers: Mapping[str, Any]) -> Iterator[Asked]:
    drawn = list(dict.fromkeys((row["set"], row["photos"]) for row in numbers["far"]))
    for limit in unknown.LIMITS:
        low, high = limit - 0.01, limit + 0.01
        what = f"frames of taught things that `unknown = {limit}` calls unknown"
        for name, photos in drawn:
            share = mean(far(numbers, name, photos, str(limit), None))
            where = f"{name} ({photos} a label)"
            yield Asked(what, f"{low:.0%} to {high:.0%}", where, f"{share:.2%}", low <= share <= high)
        what = f"strangers of another kind that pass `unknown = {limit}`"
        for name, photos in drawn:
            for who in FAR[name]:
                share = mean(far(numbers, name, photos, str(limit), who))
                where = f"{who} for {name} ({photos} a label)"
                yield Asked(what, f"≤ {_STRANGERS:.0%}", where, f"{share:.1%}", share <= _STRANGERS)
    for name in SETS:
        edged, *alone = (near(numbers, name, way) for way in WAYS)
        what = "AUROC for a label that was left out"
        yield Asked(what, "more than either measure alone", name, f"{edged:.2f}", edged > max(alone))
    cost, what = numbers["ms"]["p50"], f"cost of a frame's familiarity, {numbers['exemplars']} exemplars"
    yield Asked(what, f"≤ {_COST_MS} ms", "", f"{cost:.2f} ms", cost <= _COST_MS)


def _calibrated(numbers: Mapping[str, Any]) -> Iterator[Asked]:
    limit = numbers["asked"]
    for name, size in dict.fromkeys((row["set"], row["size"]) for row in numbers["rows"]):
        rows = [row for row in numbers["rows"] if (row["set"], row["size"]) == (name, size)]
        error, chance = (mean([row["after"][what] for row in rows]) for what in ("error", "chance"))
        where = f"{name} ({f'{size} a label' if size else 'all'})"
        measured = f"{error:.1%} (chance alone {chance:.1%})"
        yield Asked("expected calibration error", f"≤ {limit:.0%}", where, measured, error <= limit)


def _doubted(numbers: Mapping[str, Any]) -> Iterator[Asked]:
    limit, what = numbers["asked"], f"wrong ones among the first n named, of n = {doubtful.USUAL:.0%} wrong labels"
    for row in numbers["rows"]:
        if (row["share"], row["changed"]) == (doubtful.USUAL, "random"):
            found = row["edged"][0]
            size = row["per_label"]
            where = f"{row['set']} ({f'{size} a label' if size else 'all'})"
            yield Asked(what, f"≥ {limit:.0%}", where, f"{found:.0%}", found >= limit)


def _saved(numbers: Mapping[str, Any]) -> Iterator[Asked]:
    what = "labels that `images suggest` needs, of those that random choice needs"
    for task, one in numbers["tasks"].items():
        goal, needed = one["goal"]["labels"], one["reached"]["images suggest"]
        most = one["curves"]["images suggest"]["labels"][-1] / goal
        measured = f"over {most:.0%} of {goal}" if needed is None else f"{needed / goal:.0%} of {goal}"
        where = suggestion.TASKS[task] + ":"
        yield Asked(what, f"≤ {_LABELS:.0%}", where, measured, needed is not None and needed / goal <= _LABELS)
