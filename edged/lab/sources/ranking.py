"""Networks in the order in which a training had better start from them, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from edged.contract.reports import BackboneChoice, RankedSource
from edged.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edged.lab.sources.cross_validation import CrossValidation
    from edged.lab.sources.footprint import Footprint
    from edged.lab.sources.known_sources import KnownSource
    from edged.store import Bundle

Way: TypeAlias = Literal["race", "exact", "evidence", "divergence", "limits"]
"""How networks were ranked: by `Ranker.race` ("exact" where images are few), `measure`, `evidence`, `estimate`;
"limits": only one was within them."""


@dataclass(frozen=True)
class Standing:
    """One source and what is known of it. None: unknown, or not measured.

    Attributes:
        bundle: The installed network.
        source: What it was trained on.
        divergence: How far the target's images are from the source's, nats; see `transferability.divergence`.
        score: Estimate, higher is better; see `racing.merits`, `transferability.p2l` and
            `log_evidence`.
        measured: Heads on its bottlenecks, cross-validated: on all images, or on those that it saw in a race.
        seconds: Time that its own bottlenecks, and heads or evidence, took.
        footprint: What running it costs, where there are limits.
        warning: Why to keep away from it.
    """

    bundle: Bundle
    source: KnownSource | None = None
    divergence: float | None = None
    score: float | None = None
    measured: CrossValidation | None = None
    seconds: float | None = None
    footprint: Footprint | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Ranking:
    """Sources, the best first.

    Attributes:
        standings: Those without a score last.
        images: Labeled images that were looked at; the test side was not.
        way: How they were ranked.
        baseline: Of the exact way: accuracy without any transfer, 0..1: the larger one of always saying the most
            frequent label, and the same head on 16×16 pixels.
        reason: Why the first one is the first, one line.
        seconds: Time that the whole ranking took.
        rounds: Of a race.
    """

    standings: tuple[Standing, ...]
    images: int
    way: Way
    baseline: float | None
    reason: str
    seconds: float
    rounds: int | None = None

    @property
    def best(self) -> Bundle:
        """What to start from."""
        return self.standings[0].bundle

    def report(self) -> BackboneChoice:
        """Return what is told of the ranking."""
        values = {
            "chosen": self.best.name,
            "way": self.way,
            "reason": self.reason,
            "exact": self.way == "exact",
            "images": self.images,
            "rounds": self.rounds,
            "no_transfer": _rounded(self.baseline),
            "seconds": round(self.seconds, 2),
            "sources": tuple(_row(standing) for standing in self.standings),
        }
        return BackboneChoice.model_validate({name: value for name, value in values.items() if value is not None})


def accuracy_of(standing: Standing) -> float:
    """Return the measured accuracy, 0..1."""
    return rank_of(standing)[0]


def rank_of(standing: Standing) -> tuple[float, float]:
    """Return what measured networks are compared by: see `CrossValidation.rank`."""
    if standing.measured is None:
        raise ModelError(f"{standing.bundle.name}: has not been measured")
    return standing.measured.rank


def best_first(standings: Sequence[Standing]) -> list[Standing]:
    """Return measured networks in their order: the more accurate, then the surer, then by name."""
    by_name = sorted(standings, key=lambda one: one.bundle.name)
    return sorted(by_name, key=rank_of, reverse=True)


def _row(one: Standing) -> RankedSource:
    measured = one.measured
    values = {
        "name": one.bundle.name,
        "id": one.bundle.id,
        "dataset": None if one.source is None else one.source.dataset,
        "source_images": None if one.source is None else one.source.images,
        "divergence": _rounded(one.divergence),
        "score": _rounded(one.score),
        "accuracy": None if measured is None else _rounded(measured.accuracy),
        "error": None if measured is None else _rounded(measured.error),
        "images": None if measured is None else len(measured.correct),
        "frame_ms": None if one.footprint is None else one.footprint.frame_ms,
        "memory_mb": None if one.footprint is None else one.footprint.memory_mb,
        "seconds": _rounded(one.seconds),
        "warning": one.warning,
    }
    return RankedSource.model_validate({name: value for name, value in values.items() if value is not None})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
