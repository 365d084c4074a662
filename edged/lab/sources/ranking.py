"""Networks in the order in which a training had better start from them, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged.contract.reports import BackboneChoice, RankedSource
from edged.errors import ModelError

if TYPE_CHECKING:
    from edged.lab.sources.cross_validation import CrossValidation
    from edged.lab.sources.known_sources import KnownSource
    from edged.store import Bundle


@dataclass(frozen=True)
class Standing:
    """One source and what is known of it. None: unknown, or not measured.

    Attributes:
        bundle: The installed network.
        source: What it was trained on.
        divergence: How far the target's images are from the source's, nats; see `transferability.divergence`.
        score: Estimate, higher is better; see `transferability.p2l` and `log_evidence`.
        measured: With `exact`: heads on its bottlenecks, cross-validated.
        seconds: Time that its own bottlenecks, and heads or evidence, took.
        warning: Why to keep away from it.
    """

    bundle: Bundle
    source: KnownSource | None = None
    divergence: float | None = None
    score: float | None = None
    measured: CrossValidation | None = None
    seconds: float | None = None
    warning: str | None = None


@dataclass(frozen=True)
class Ranking:
    """Sources, the best first.

    Attributes:
        standings: Those without a score last.
        images: Labeled images that were looked at; the test side was not.
        exact: Whether accuracies were measured.
        baseline: With `exact`: accuracy without any transfer, 0..1: the larger one of always saying the most frequent
            label, and the same head on 16×16 pixels.
        reason: Why the first one is the first, one line.
        seconds: Time that the whole ranking took.
    """

    standings: tuple[Standing, ...]
    images: int
    exact: bool
    baseline: float | None
    reason: str
    seconds: float

    @property
    def best(self) -> Bundle:
        """What to start from."""
        return self.standings[0].bundle

    def report(self) -> BackboneChoice:
        """Return what is told of the ranking."""
        return BackboneChoice(
            chosen=self.best.name,
            reason=self.reason,
            exact=self.exact,
            images=self.images,
            no_transfer=_rounded(self.baseline),
            seconds=round(self.seconds, 2),
            sources=tuple(_row(standing) for standing in self.standings),
        )


def accuracy_of(standing: Standing) -> float:
    """Return the measured accuracy, 0..1."""
    if standing.measured is None:
        raise ModelError(f"{standing.bundle.name}: has not been measured")
    return standing.measured.accuracy


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
        "seconds": _rounded(one.seconds),
        "warning": one.warning,
    }
    return RankedSource.model_validate({name: value for name, value in values.items() if value is not None})


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
