"""From measurements to a fitted selection and its report: everything fitted is judged on folds it was not fitted to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import Outcome, decision_ms, paired_difference, play, play_oracle, summary
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
    """Fit every strategy: features, pools, networks, pooling and thresholds, on these photos only.

    Args:
        measured: The measured photos.
        seed: Shuffles the photos before they are split into inner folds.
        decisions_ms: Strategy → what a decision costs; None: it is measured after the fit.
    """
    names, importance = choose_features(measured, seed)
    strategies: dict[str, Strategy] = {
        f"premodel {kind}": ByPremodel(fit_premodel(kind, measured, names)) for kind in KINDS
    }
    for name, pooled in (("cascade", False), ("learned", True)):
        assumed = _ASSUMED_DECISION_MS if decisions_ms is None else decisions_ms[name]
        strategies[name] = ByCascade(fit_cascade(measured, pooled=pooled, decision_ms=assumed))
    if decisions_ms is None:
        decisions_ms = {name: decision_ms(strategy, measured) for name, strategy in strategies.items()}
    return Fit(strategies, importance, decisions_ms)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a strategy did with photos that it was not fitted to.

    Attributes:
        default, accurate: At its default and its accurate operating point, as each fit chose them.
        points: At each operating point, cheapest first; none where they differ from fit to fit.
    """

    default: Outcome
    accurate: Outcome
    points: tuple[Outcome, ...]

    @classmethod
    def of(cls, strategy: Strategy, measured: Measurements, decision: float) -> Outcomes:
        """Run a strategy on photos; `decision` is what a decision costs, milliseconds."""
        points = [play(strategy, point, measured, decision) for point in range(strategy.points)]
        # The pools of the paper's premodels differ from fit to fit, and with them the meaning of a point.
        listed = () if isinstance(strategy, ByPremodel) and not strategy.premodel.priced else tuple(points)
        return cls(points[strategy.default], points[strategy.accurate], listed)

    @classmethod
    def join(cls, parts: Sequence[Outcomes]) -> Outcomes:
        """Return the outcomes of several folds as one."""
        points = zip(*(part.points for part in parts), strict=True)
        return cls(
            Outcome.join([part.default for part in parts]),
            Outcome.join([part.accurate for part in parts]),
            tuple(Outcome.join(column) for column in points),
        )


def cross_validate(
    measured: Measurements, decisions_ms: dict[str, float], progress: Progress, *, parts: int = FOLDS, seed: int = 0
) -> tuple[Measurements, dict[str, Outcomes]]:
    """Fit to all folds but one and run on that one, in turn.

    Returns:
        The photos in the order in which they were held out, and for each strategy what it did with them.
    """
    outcomes: dict[str, list[Outcomes]] = {}
    splits = folds(len(measured), parts, seed)
    for number, (training, held_out) in enumerate(splits):
        fitted, test = fit(measured.take(training), seed, decisions_ms), measured.take(held_out)
        for name, strategy in fitted.strategies.items():
            outcomes.setdefault(name, []).append(Outcomes.of(strategy, test, decisions_ms[name]))
        progress("cross-validating", (number + 1) / len(splits))
    played = measured.take(np.concatenate([held_out for _, held_out in splits]))
    return played, {name: Outcomes.join(by_fold) for name, by_fold in outcomes.items()}


def on_photos(fitted: Fit, measured: Measurements) -> dict[str, Outcomes]:
    """Run fitted strategies on other photos; outcomes as `cross_validate` returns them."""
    return {
        name: Outcomes.of(strategy, measured, fitted.decisions_ms[name]) for name, strategy in fitted.strategies.items()
    }


def rows(measured: Measurements, fitted: Fit, outcomes: dict[str, Outcomes]) -> list[dict[str, Any]]:
    """Return the report's rows: every single network, every strategy at its default point, the oracle.

    Cascades have a row for their accurate point, too. What is no single network is compared with the most accurate one
    on the same photos: how much less time it takes, and the paired difference of the accuracies.
    """
    count = range(len(measured.networks))
    result = [summary(measured.networks[n], "single", play(Single(n), 0, measured, 0.0), measured, [n]) for n in count]

    def add(name: str, kind: str, outcome: Outcome, networks: Sequence[int], point: str) -> None:
        row = summary(name, kind, outcome, measured, networks)
        row["point"] = point
        row["speedup"] = round(float(measured.network_ms[measured.best] / outcome.cost_ms.mean()), 3)
        row["beside_best"] = paired_difference(outcome.top1, measured.right[measured.best])
        result.append(row)

    for name, found in outcomes.items():
        loaded = _loaded(fitted.strategies[name], found.default)
        add(name, kind_of(name), found.default, loaded, "default")
        if isinstance(fitted.strategies[name], ByCascade):
            add(f"{name}, accurate", kind_of(name), found.accurate, loaded, "accurate")
    add("oracle", "oracle", play_oracle(measured), list(count), "default")
    return result


def curves(measured: Measurements, fitted: Fit, outcomes: dict[str, Outcomes]) -> dict[str, list[dict[str, Any]]]:
    """Return, for each strategy, its operating points, cheapest first: top1, top5, mean_ms, p95_ms, mix."""
    return {
        name: [
            summary(name, kind_of(name), each, measured, _loaded(fitted.strategies[name], each))
            for each in (found.points or (found.default,))
        ]
        for name, found in outcomes.items()
    }


def pool_names(measured: Measurements) -> list[str]:
    """Return the pool that the paper's algorithm chooses on these photos."""
    return [measured.networks[n] for n in choose_pool(measured.right)]


def _loaded(strategy: Strategy, outcome: Outcome) -> list[int]:
    """Indices of the networks that must be in memory (folds may have chosen others than the final fit)."""
    return sorted({*strategy.networks, *np.unique(outcome.network).tolist()})
