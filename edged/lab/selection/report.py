"""The report of a fitted selection: rows, curves, features, verdict, and the picture of its curves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edged.lab.chart import COLOURS, Axis, Chart, Series
from edged.lab.selection import training
from edged.lab.selection.evaluation import play
from edged.selection.strategy import ByPremodel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edged.lab.selection.measurements import Measurements
    from edged.lab.selection.training import Fit, Outcomes

_COLOURS = dict(zip(("single", "premodel", "cascade", "learned", "oracle"), (COLOURS[n] for n in (6, 3, 1, 0, 2)),
                    strict=True))  # fmt: skip
"""Kind of a row → its colour in the picture."""


def compose(
    measured: Measurements,
    fitted: Fit,
    outcomes: dict[str, Outcomes],
    *,
    how: str,
    name: str,
    threads: int,
) -> tuple[dict[str, Any], str]:
    """Return the report and the picture of its curves.

    Args:
        measured: The photos of the outcomes, in their order.
        fitted: The strategies as they run on the device.
        outcomes: As `training.cross_validate` or `training.on_photos` returns them.
        how: How the numbers were made, one line.
        name: The premodel's.
        threads: How many an inference used.
    """
    rows = training.rows(measured, fitted, outcomes)
    curves = training.curves(measured, fitted, outcomes)
    report = {
        "name": name,
        "how": how,
        "photos": len(measured),
        "threads": threads,
        "rows": rows,
        "curves": curves,
        "chosen": _chosen(rows),
        "verdict": verdict(rows),
        "pool": training.pool_names(measured),
        "features": features(measured, fitted),
        "decision_ms": {each: round(ms, 4) for each, ms in fitted.decisions_ms.items()},
    }
    return report, draw(rows, curves, f"{len(measured)} photos, {threads} thread{'s' if threads > 1 else ''}")


def features(measured: Measurements, fitted: Fit) -> list[dict[str, Any]]:
    """Return for each feature its cost, its importance (where no correlated one replaces it) and whether it is used."""
    used = {name for each in fitted.strategies.values() if isinstance(each, ByPremodel) for name in each.premodel.names}
    table = []
    for name, cost in measured.feature_ms.items():
        row: dict[str, Any] = {"name": name, "cost_ms": round(cost, 3), "used": name in used}
        if name in fitted.importance:
            row["importance"] = round(fitted.importance[name], 4)
        table.append(row)
    return table


def verdict(rows: list[dict[str, Any]]) -> str:
    """Say in one line what the learned strategy reaches beside the best single network, at both of its points.

    It is named beforehand: the best of many rows would be so by chance, too.
    """
    best = max((row for row in rows if row["kind"] == "single"), key=lambda row: (row["top1"], -row["mean_ms"]))
    default, accurate = (
        next(row for row in rows if row["kind"] == "learned" and row["point"] == point)
        for point in ("default", "accurate")
    )
    return (
        f"learned: {_beside(default)} {best['name']}, the best single network; accurate point: {_beside(accurate)} it"
    )


def _beside(row: Mapping[str, Any]) -> str:
    """Compare with the best network: what is faster takes "2.00 × less time than" it, else "1.27 × the time of"."""
    points = {key: 100 * row["beside_best"][key] for key in ("difference", "low", "high")}
    ratio = row["speedup"]
    return (
        f"{points['difference']:+.1f} points of top-1 (95 % interval {points['low']:+.1f} to {points['high']:+.1f}) in "
        + (f"{ratio:.2f} × less time than" if ratio >= 1 else f"{1 / ratio:.2f} × the time of")
    )


def operating_points(measured: Measurements, fitted: Fit, report: dict[str, Any]) -> dict[str, list[dict[str, float]]]:
    """Return each strategy's operating points for the governor: accuracy and mean time, cheapest first.

    They are the report's. The paper's premodels choose other pools in other folds; theirs are of the photos that they
    were fitted to: the times are right, the accuracies flatter.
    """
    points: dict[str, list[dict[str, float]]] = {}
    for name, strategy in fitted.strategies.items():
        if isinstance(strategy, ByPremodel) and not strategy.premodel.priced:
            every = [play(strategy, k, measured, fitted.decisions_ms[name]) for k in range(strategy.points)]
            points[name] = [{"top1": float(e.top1.mean()), "mean_ms": float(e.cost_ms.mean())} for e in every]
        else:
            points[name] = [{key: row[key] for key in ("top1", "mean_ms")} for row in report["curves"][name]]
    return points


def _chosen(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return which strategy stands for each kind: the most accurate premodel, and the one of each other kind."""
    chosen = {}
    for kind in ("premodel", "cascade", "learned"):
        own = [row for row in rows if row["kind"] == kind and row["point"] == "default"]
        chosen[kind] = max(own, key=lambda row: (row["top1"], -row["mean_ms"]))["name"]
    return chosen


def draw(rows: Sequence[Mapping[str, Any]], curves: Mapping[str, Sequence[Mapping[str, Any]]], title: str) -> str:
    """Draw mean milliseconds (logarithmic) against top-1 accuracy, as SVG.

    Args:
        rows: Rows of the report; each is a dot with its name.
        curves: Strategy → its operating points; each is a line.
        title: Above the picture.
    """

    def at(point: Mapping[str, Any]) -> tuple[float, float]:
        return point["mean_ms"], point["top1"]

    lines = [
        Series("", [at(point) for point in curve], colour=_COLOURS[curve[0]["kind"]])
        for curve in curves.values()
        if len(curve) > 1
    ]
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in _COLOURS}
    dots = [
        Series(
            kind,
            [at(row) for row in found],
            line=False,
            # A cascade's second dot lies near the first one of the same colour.
            labels=["accurate" if row.get("point") == "accurate" else row["name"] for row in found],
            colour=_COLOURS[kind],
        )
        for kind, found in by_kind.items()
        if found
    ]
    x, y = Axis("mean ms per frame", log=True), Axis("top-1", percent=True)
    return Chart(title, x, y, [*lines, *dots], width=680, height=410).svg()
