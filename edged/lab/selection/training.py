"""From measurements to a fitted selection and its report: everything fitted is judged on folds it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import Outcome, decision_ms, play, play_oracle, summary
from edged.lab.selection.measurements import folds
from edged.lab.selection.premodel_fitting import choose_features, choose_pool, fit_premodel, require_sklearn
from edged.selection.premodels import KINDS
from edged.selection.strategy import ByCascade, ByPremodel, Single

if TYPE_CHECKING:
    from edged.lab.selection.measurements import Measurements
    from edged.selection.strategy import Strategy

Progress = Callable[[str, float], None]
"""Told the stage and the share done, 0..1."""
FOLDS = 10
_ASSUMED_DECISION_MS = 0.2
"""What a decision is taken to cost in the first fit, before it is measured."""


@dataclass(frozen=True, eq=False)
class Fit:
    """All strategies, fitted to the same photos.

    Attributes:
        strategies: Name → strategy: "premodel knn", "premodel tree", …, "cascade", "learned".
        importance: Uncorrelated feature → what leaving it out costs.
        decisions_ms: Name → what one decision costs, milliseconds.
    """

    strategies: dict[str, Strategy]
    importance: dict[str, float]
    decisions_ms: dict[str, float]


def require_fitting() -> None:
    """Make sure, before hours of measuring, that premodels can be fitted. Raises ConfigError where they cannot."""
    require_sklearn()


def kind_of(name: str) -> str:
    """Return the kind of a strategy by its name."""
    return name.partition(" ")[0]


def fit(measured: Measurements, seed: int = 0, decisions_ms: dict[str, float] | None = None) -> Fit:
    """Fit every strategy: features, pools, networks, pooling, regressions and thresholds, on these photos only.

    Args:
        measured: The measured photos.
        seed: Shuffles the photos before they are split into inner folds.
        decisions_ms: Strategy → what a decision costs; None: it is measured after the fit.
    """
    names, importance = choose_features(measured, seed)
    strategies: dict[str, Strategy] = {
        f"premodel {kind}": ByPremodel(fit_premodel(kind, measured, names)) for kind in KINDS
    }
    for name, learned in (("cascade", False), ("learned", True)):
        assumed = _ASSUMED_DECISION_MS if decisions_ms is None else decisions_ms[name]
        strategies[name] = ByCascade(fit_cascade(measured, learned=learned, decision_ms=assumed, seed=seed))
    if decisions_ms is None:
        decisions_ms = {name: decision_ms(strategy, measured) for name, strategy in strategies.items()}
    return Fit(strategies, importance, decisions_ms)


def cross_validate(
    measured: Measurements, decisions_ms: dict[str, float], progress: Progress, *, parts: int = FOLDS, seed: int = 0
) -> dict[str, list[Outcome]]:
    """Fit to all folds but one and run on that one, in turn.

    Returns:
        Strategy → its outcome at its default point (as each fold's fit chose it), then at each operating point.
    """
    outcomes: dict[str, list[list[Outcome]]] = {}
    splits = folds(len(measured), parts, seed)
    for number, (training, held_out) in enumerate(splits):
        fitted, test = fit(measured.take(training), seed, decisions_ms), measured.take(held_out)
        for name, strategy in fitted.strategies.items():
            points = [play(strategy, point, test, decisions_ms[name]) for point in range(strategy.points)]
            if isinstance(strategy, ByPremodel):  # pools differ in size from fold to fold: the default point only
                points = []
            default = play(strategy, strategy.default, test, decisions_ms[name])
            outcomes.setdefault(name, []).append([default, *points])
        progress("cross-validating", (number + 1) / len(splits))
    return {name: [Outcome.join(column) for column in zip(*by_fold, strict=True)] for name, by_fold in outcomes.items()}


def on_photos(fitted: Fit, measured: Measurements) -> dict[str, list[Outcome]]:
    """Run fitted strategies on other photos; as `cross_validate` returns it."""
    result = {}
    for name, strategy in fitted.strategies.items():
        points = range(0 if isinstance(strategy, ByPremodel) else strategy.points)
        result[name] = [
            play(strategy, point, measured, fitted.decisions_ms[name]) for point in (strategy.default, *points)
        ]
    return result


def rows(measured: Measurements, fitted: Fit, outcomes: dict[str, list[Outcome]]) -> list[dict[str, Any]]:
    """Return the report's rows: every single network, every strategy at its default point, the oracle."""
    count = range(len(measured.networks))
    result = [summary(measured.networks[n], "single", play(Single(n), 0, measured, 0.0), measured, [n]) for n in count]
    for name, (default, *_) in outcomes.items():
        result.append(summary(name, kind_of(name), default, measured, _loaded(fitted.strategies[name], default)))
    result.append(summary("oracle", "oracle", play_oracle(measured), measured, list(count)))
    return result


def curves(measured: Measurements, fitted: Fit, outcomes: dict[str, list[Outcome]]) -> dict[str, list[dict[str, Any]]]:
    """Return, for each strategy, its operating points, cheapest first: top1, top5, mean_ms, p95_ms, mix."""
    return {
        name: [
            summary(name, kind_of(name), each, measured, _loaded(fitted.strategies[name], each))
            for each in (points or [default])
        ]
        for name, (default, *points) in outcomes.items()
    }


def ratios(table: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return each strategy's speed-up over the most accurate single network, and how much more accurate it is."""
    best = max((row for row in table if row["kind"] == "single"), key=lambda row: (row["top1"], -row["mean_ms"]))
    return {
        row["name"]: {
            "speedup": round(best["mean_ms"] / row["mean_ms"], 2),
            "top1_gain": round(row["top1"] - best["top1"], 4),
        }
        for row in table
        if row["kind"] != "single"
    }


def pool_names(measured: Measurements) -> list[str]:
    """Return the pool that the paper's algorithm chooses on these photos."""
    return [measured.networks[n] for n in choose_pool(measured.right)]


def _loaded(strategy: Strategy, outcome: Outcome) -> list[int]:
    """Indices of the networks that must be in memory (folds may have chosen others than the final fit)."""
    return sorted({*strategy.networks, *np.unique(outcome.network).tolist()})
