"""Which results are published, and what they say: pure, no clock and no link."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from edged.contract.messages import UNKNOWN, Result, ResultLatency, Score, timestamp

if TYPE_CHECKING:
    from edged.types import Frame, Inference, LabelScore, Vector
    from edged.vision.familiarity import Familiarity


_STRANGE = -1
"""Stands for a label's index where a frame is called unknown."""


class Likeness(NamedTuple):
    """How alike a frame is to what a network was taught: `Familiarity.score`, and what it was measured with."""

    score: float
    known: Familiarity


class Smoothed(NamedTuple):
    """What a camera's frames, or those of one thing before it, say so far.

    Attributes:
        scores: (classes,) probabilities.
        familiarity: 0..1; None: not known.
        publish: Whether this frame is worth a message.
    """

    scores: Vector
    familiarity: float | None
    publish: bool


@dataclass
class _Track:
    """The smoothed scores and likeness of a camera, or of one thing, and what was last published for it."""

    smoothed: Vector
    likeness: float | None = None
    label: int | None = None
    published_at: float = -math.inf


class ResultFilter:
    """Smooths scores exponentially and decides which are published: each camera's, or those of each of its tracks.

    Args:
        results: "all", or "changes" of the smoothed label only, plus a heartbeat.
        heartbeat_s: With "changes", the longest silence.
        smoothing: Weight 0..1 of the past: s ← smoothing · s + (1 − smoothing) · scores (Brown's simple
            exponential smoothing); of the likeness too.
        unknown: A familiarity below it makes the label `UNKNOWN`.

    The first three may be changed at any time.
    """

    def __init__(
        self, results: Literal["all", "changes"], heartbeat_s: float, smoothing: float, unknown: float = 0.0
    ) -> None:
        self.results = results
        self.heartbeat_s = heartbeat_s
        self.smoothing = smoothing
        self._unknown = unknown
        self._tracks: dict[Hashable, _Track] = {}

    def reset(self) -> None:
        """Forget the past: the labels have changed."""
        self._tracks.clear()

    def is_unknown(self, familiarity: float | None) -> bool:
        """Tell whether a frame with this familiarity is called unknown."""
        return familiarity is not None and familiarity < self._unknown

    def forget(self, source: Hashable) -> None:
        """Forget what has ended."""
        self._tracks.pop(source, None)

    def update(self, source: Hashable, scores: Vector, now_s: float, likeness: Likeness | None = None) -> Smoothed:
        """Take in a frame's scores.

        Args:
            source: Name of the camera; of one thing before it, camera and track.
            scores: (classes,) probabilities.
            now_s: Monotonic clock, seconds.
            likeness: How alike the frame is to what the network was taught; None: not known.
        """
        track = self._tracks.get(source)
        if track is None or track.smoothed.shape != scores.shape:
            track = self._tracks[source] = _Track(scores)
        elif self.smoothing:
            track.smoothed = self.smoothing * track.smoothed + (1 - self.smoothing) * scores
        else:
            track.smoothed = scores
        familiarity = None
        if likeness is None:
            track.likeness = None
        else:
            past = likeness.score if track.likeness is None else track.likeness
            track.likeness = self.smoothing * past + (1 - self.smoothing) * likeness.score
            familiarity = likeness.known.familiarity(track.likeness)
        if self.results == "all":
            return Smoothed(track.smoothed, familiarity, True)
        label = _STRANGE if self.is_unknown(familiarity) else int(track.smoothed.argmax())
        publish = label != track.label or now_s - track.published_at >= self.heartbeat_s
        if publish:
            track.label, track.published_at = label, now_s
        return Smoothed(track.smoothed, familiarity, publish)


def make_result(
    frame: Frame,
    inference: Inference,
    top: Sequence[LabelScore],
    *,
    seq: int,
    boot: str,
    model: str,
    now_ns: int,
    network: str | None = None,
    familiarity: float | None = None,
    unknown: bool = False,
) -> Result:
    """Make the message for one frame.

    Args:
        frame: The classified frame.
        inference: What the network gave.
        top: Best first, at least one.
        seq: Number of this result.
        boot: Names the run of the daemon in which it has that number.
        model: Bundle id.
        now_ns: Monotonic clock at hand-over to the broker, nanoseconds.
        network: Name of the network that answered, where several take turns.
        familiarity: How alike the frame is to what the network was taught, 0..1; None: not known.
        unknown: Whether it is so little alike that it has no label.
    """
    return Result(
        ts=timestamp(frame.captured_at),
        seq=seq,
        boot=boot,
        camera=frame.camera,
        model=model,
        label=UNKNOWN if unknown else top[0].label,
        score=round(top[0].score, 4),
        familiarity=None if familiarity is None else round(familiarity, 4),
        top=[Score(label=best.label, score=round(best.score, 4)) for best in top],
        latency_ms=ResultLatency(
            capture=round(frame.capture_ms, 3),
            detect=_rounded(frame.detect_ms),
            preprocess=round(frame.preprocess_ms, 3),
            invoke=round(inference.invoke_ms, 3),
            total=round((now_ns - frame.captured_ns) / 1e6, 3),
        ),
        network=network,
        box=None if frame.region is None else frame.region.box,
        track=None if frame.region is None else frame.region.track,
    )


def make_end(last: Result, frame: Frame, *, seq: int, now_ns: int) -> Result:
    """Make the message that a track has ended, which says what was said of it last.

    Args:
        last: Its last result, published or not.
        frame: The frame that it is not found in any more.
        seq: Number of this result.
        now_ns: Monotonic clock at hand-over to the broker, nanoseconds.
    """
    latency = ResultLatency(
        capture=round(frame.capture_ms, 3),
        detect=_rounded(frame.detect_ms),
        preprocess=round(frame.preprocess_ms, 3),
        invoke=0.0,
        total=round((now_ns - frame.captured_ns) / 1e6, 3),
    )
    return last.model_copy(
        update={"ts": timestamp(frame.captured_at), "seq": seq, "latency_ms": latency, "ended": True}
    )


def _rounded(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else round(milliseconds, 3)
