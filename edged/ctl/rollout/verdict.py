"""Whether a device is worse off with a new model than it was: numbers in, verdict out; no clock, no connection.

Each telemetry message is one measurement. A measure is worse only where two things hold: its median has passed the
limit, and three quarters of the new measurements are worse than three quarters of the old ones. So neither one slow
moment nor a measure that varies much anyway is held against a model. A fall of the accuracy on the device's own images
counts where it is beyond its limit, and the device says that it is beyond chance.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from edged.plural import counted

ENOUGH = 3
"""Measurements, before and after, without which nothing is judged."""
_LEAST_MS = 1.0
"""A latency that has grown by less is no slower, however fast it was: telemetry's own cost varies as much."""


class Limits(BaseModel):
    """How much worse a device may be.

    Attributes:
        slower: The p95 latency may grow by this share of itself, and the frame rate may fall as much.
        unfamiliar: The share of unknown frames may rise, and the mean familiarity fall, by so much, 0..1.
        less_accurate: The accuracy on the device's own test images may fall by so much, 0..1.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    slower: float = Field(default=0.25, ge=0)
    unfamiliar: float = Field(default=0.1, ge=0, le=1)
    less_accurate: float = Field(default=0.02, ge=0, le=1)


class Sample(NamedTuple):
    """One telemetry message; None is what it does not tell.

    Attributes:
        fps: Frames classified a second.
        p95_ms: Latency that 95 % of the frames did not exceed.
        familiarity: Mean over the frames, 0..1.
        unknown: Share of the frames that were called unknown, 0..1.
    """

    fps: float
    p95_ms: float | None = None
    familiarity: float | None = None
    unknown: float | None = None


class Spread(BaseModel):
    """A measure over many messages: its quartiles."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the quartiles; None of fewer than `ENOUGH` values."""
        if len(values) < ENOUGH:
            return None
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(low=round(low, 4), median=round(median, 4), high=round(high, 4))


class Measured(BaseModel):
    """What a device was like for a while; a measure is None where it was told in too few messages.

    Attributes:
        messages: Telemetry messages.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    messages: int
    fps: Spread | None = None
    p95_ms: Spread | None = None
    familiarity: Spread | None = None
    unknown: Spread | None = None

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Measured:
        """Sum messages up."""

        def spread(of: Callable[[Sample], float | None]) -> Spread | None:
            return Spread.of([value for sample in samples if (value := of(sample)) is not None])

        return cls(
            messages=len(samples),
            fps=spread(lambda sample: sample.fps),
            p95_ms=spread(lambda sample: sample.p95_ms),
            familiarity=spread(lambda sample: sample.familiarity),
            unknown=spread(lambda sample: sample.unknown),
        )


class Accuracy(BaseModel):
    """How well two models name a device's own test images, as the device itself says.

    Attributes:
        against: Id of the model that answered meanwhile; None: it was not told.
        images: Test images that both have named.
        before, after: Share of them that the one which answered, and the new one, name rightly, 0..1; None: nothing was
            judged, and `why` says why not.
        beyond_chance: Whether chance alone would hardly explain the difference.
        unknown: Labels of these images that the new model does not know.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    against: str | None = None
    images: int = 0
    before: float | None = None
    after: float | None = None
    beyond_chance: bool = False
    unknown: tuple[str, ...] = ()
    why: str | None = None

    @property
    def numbers(self) -> str | None:
        """Both, as people read them; None where nothing was judged."""
        if self.before is None or self.after is None:
            return None
        return f"{self.before:.1%} → {self.after:.1%} on {counted(self.images, 'test image')}"


class Verdict(NamedTuple):
    """Attributes: `worse`: in what, a phrase each; `unjudged`: what could not be compared, and why, a phrase each."""

    worse: tuple[str, ...]
    unjudged: tuple[str, ...]


def judge(before: Measured, after: Measured, limits: Limits) -> Verdict:
    """Compare a device with itself.

    Args:
        before: With its old model.
        after: With the new one.
        limits: How much worse it may be.
    """
    if before.fps is None or after.fps is None:
        few, when = min((before.messages, "before"), (after.messages, "with the new model"))
        return Verdict((f"cannot be judged: {few} telemetry messages {when}, {ENOUGH} are needed",), ())
    found = (
        _frames(before, after, limits),
        _latency(before, after, limits),
        _familiarity(before, after, limits),
        _unknown(before, after, limits),
    )
    return Verdict(
        tuple(one.text for one in found if one is not None and one.judged),
        tuple(one.text for one in found if one is not None and not one.judged),
    )


def judge_accuracy(told: Accuracy, limits: Limits) -> Verdict:
    """Tell whether the new model is worse on the device's own images: by more than the limit, and beyond chance."""
    if told.before is None or told.after is None:
        return Verdict((), (f"accuracy ({told.why or 'the device tells none'})",))
    if round(told.before - told.after, 6) <= limits.less_accurate:
        return Verdict((), ())
    if not told.beyond_chance:
        return Verdict((), (f"accuracy ({told.numbers}: too few to tell from chance)",))
    lost = f"; it does not know {', '.join(told.unknown)}" if told.unknown else ""
    return Verdict((f"accuracy {told.numbers}{lost}",), ())


class _Finding(NamedTuple):
    """That a measure is worse; or, where it is not `judged`, why that is not known."""

    text: str
    judged: bool = True


def _frames(before: Measured, after: Measured, limits: Limits) -> _Finding | None:
    old, new = before.fps, after.fps
    if old is None or new is None or not (new.median < old.median / (1 + limits.slower) and new.high < old.low):
        return None
    return _Finding(f"{old.median:.1f} → {new.median:.1f} frames/s")


def _latency(before: Measured, after: Measured, limits: Limits) -> _Finding | None:
    old, new = before.p95_ms, after.p95_ms
    if old is None or new is None:
        return _Finding("latency (too few frames were classified)", judged=False)
    ceiling = max(old.median * (1 + limits.slower), old.median + _LEAST_MS)
    if not (new.median > ceiling and new.low > old.high):
        return None
    return _Finding(f"latency p95 {old.median:.1f} → {new.median:.1f} ms")


def _familiarity(before: Measured, after: Measured, limits: Limits) -> _Finding | None:
    old, new = before.familiarity, after.familiarity
    if old is None or new is None:
        which = "old" if old is None else "new"
        return _Finding(f"familiarity (the {which} model tells none)", judged=False)
    if not (old.median - new.median > limits.unfamiliar and new.high < old.low):
        return None
    return _Finding(f"familiarity {old.median:.0%} → {new.median:.0%}")


def _unknown(before: Measured, after: Measured, limits: Limits) -> _Finding | None:
    old, new = before.unknown, after.unknown
    if old is None or new is None or not (new.median - old.median > limits.unfamiliar and new.low > old.high):
        return None
    return _Finding(f"unknown {old.median:.0%} → {new.median:.0%} of the frames")


TOLERATED = 0.1
"""In a wave after the canaries, so large a share of its devices may be worse: they are taken back, and it goes on."""


def ends(worse: int, tried: int, *, canaries: bool) -> bool:
    """Whether a roll-out ends, and everything is taken back, because so many of those that were tried are worse."""
    return worse > (0 if canaries else TOLERATED * tried)
