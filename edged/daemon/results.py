"""Which results are published, and what they say: pure, no clock and no link."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edged.contract.messages import Result, ResultLatency, Score, timestamp

if TYPE_CHECKING:
    from edged.types import Frame, Inference, LabelScore, Vector


@dataclass
class _Track:
    """One camera's smoothed scores and what was last published for it."""

    smoothed: Vector
    label: int | None = None
    published_at: float = -math.inf


class ResultFilter:
    """Smooths each camera's scores exponentially and decides which frames are published.

    Args:
        results: "all", or "changes" of the smoothed label only, plus a heartbeat.
        heartbeat_s: With "changes", the longest silence.
        smoothing: Weight 0..1 of the past: s ← smoothing · s + (1 − smoothing) · scores (Brown's simple
            exponential smoothing).
    """

    def __init__(self, results: Literal["all", "changes"], heartbeat_s: float, smoothing: float) -> None:
        self._results = results
        self._heartbeat_s = heartbeat_s
        self._smoothing = smoothing
        self._tracks: dict[str, _Track] = {}

    def reset(self) -> None:
        """Forget the past: the labels have changed."""
        self._tracks.clear()

    def update(self, camera: str, scores: Vector, now_s: float) -> tuple[Vector, bool]:
        """Take in a frame's scores.

        Args:
            camera: Name of the camera.
            scores: (classes,) probabilities.
            now_s: Monotonic clock, seconds.

        Returns:
            The smoothed scores, and whether to publish.
        """
        track = self._tracks.get(camera)
        if track is None or track.smoothed.shape != scores.shape:
            track = self._tracks[camera] = _Track(scores)
        elif self._smoothing:
            track.smoothed = self._smoothing * track.smoothed + (1 - self._smoothing) * scores
        else:
            track.smoothed = scores
        if self._results == "all":
            return track.smoothed, True
        label = int(track.smoothed.argmax())
        publish = label != track.label or now_s - track.published_at >= self._heartbeat_s
        if publish:
            track.label, track.published_at = label, now_s
        return track.smoothed, publish


def make_result(
    frame: Frame,
    inference: Inference,
    top: Sequence[LabelScore],
    *,
    model: str,
    now_ns: int,
    network: str | None = None,
) -> Result:
    """Make the message for one frame.

    Args:
        frame: The classified frame.
        inference: What the network gave.
        top: Best first, at least one.
        model: Bundle id.
        now_ns: Monotonic clock at hand-over to the broker, nanoseconds.
        network: Name of the network that answered, where several take turns.
    """
    return Result(
        ts=timestamp(frame.captured_at),
        seq=frame.seq,
        camera=frame.camera,
        model=model,
        label=top[0].label,
        score=round(top[0].score, 4),
        top=[Score(label=best.label, score=round(best.score, 4)) for best in top],
        latency_ms=ResultLatency(
            capture=round(frame.capture_ms, 3),
            preprocess=round(frame.preprocess_ms, 3),
            invoke=round(inference.invoke_ms, 3),
            total=round((now_ns - frame.captured_ns) / 1e6, 3),
        ),
        network=network,
    )
