"""Which live frames are worth a person's label. Pure: scores, embedding and time in, a reason to keep the frame out."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from edged.contract.messages import UNKNOWN

if TYPE_CHECKING:
    from edged.types import Vector

Reason = Literal["unknown", "low score", "close call", "new prediction", "random"]

LOW_SCORE = 0.5
"""A best score below it leaves the network more wrong than right."""
CLOSE_MARGIN = 0.15
"""Best and second score that are nearer than this could as well stand the other way round."""
DUPLICATE_DISTANCE = 0.05
"""Cosine distance of two embeddings under which the frames show nearly the same."""
RESERVED = 0.25
"""Share of the hour's frames that only those may use that show something unknown: they are to be kept first."""
REMEMBERED = 64
"""Kept embeddings per camera that a new frame is compared with."""


@dataclass
class _Remembered:
    """What is remembered of one camera."""

    budget: float
    seen_at: float
    kept_at: float = -math.inf
    labels: dict[str | None, int] = field(default_factory=dict)  # of each thing before it; the oldest first
    kept: Vector | None = None  # (REMEMBERED, features), each of length 1; a ring
    next: int = 0


class FrameKeeper:
    """Decides for each frame in turn whether it is kept.

    Args:
        interval_s: Least time between two kept frames of one camera, seconds.
        per_hour: How many frames of one camera may be kept in an hour (a token bucket, which starts full). What is
            unknown finds a part of it untouched, see `RESERVED`.
        random_s: Mean time between frames that are kept at random, so that the set also has easy ones, seconds.
        seed: Of the random numbers that choose those.
    """

    def __init__(
        self, *, interval_s: float = 2.0, per_hour: float = 60.0, random_s: float = 600.0, seed: int = 0
    ) -> None:
        self._interval_s = interval_s
        self._per_hour = per_hour
        self._random_s = random_s
        self._random = random.Random(seed)
        self._cameras: dict[str, _Remembered] = {}

    def reset(self) -> None:
        """Forget predictions and embeddings: another model answers. Rates go on."""
        for remembered in self._cameras.values():
            remembered.labels.clear()
            remembered.kept = None

    def consider(
        self,
        camera: str,
        scores: Vector,
        embedding: Vector,
        now_s: float,
        *,
        familiar: bool | None = None,
        track: str | None = None,
    ) -> Reason | None:
        """Return why a frame should be kept; None: it should not. One that should counts as kept from now on.

        Args:
            camera: Name of the camera.
            scores: (classes,) probabilities.
            embedding: (features,) float32.
            now_s: Monotonic clock, seconds.
            familiar: Whether the frame shows something that the model was taught; None: nobody can tell.
            track: Name of the thing that it shows, where things are classified by themselves: that two of them have
                different labels is no change.
        """
        remembered = self._cameras.get(camera)
        if remembered is None:
            remembered = self._cameras[camera] = _Remembered(self._per_hour, now_s)
        elapsed_s, remembered.seen_at = now_s - remembered.seen_at, now_s
        remembered.budget = min(self._per_hour, remembered.budget + elapsed_s * self._per_hour / 3600)
        reason = self._reason(remembered, track, scores, elapsed_s)
        reserved = RESERVED * self._per_hour
        if familiar is False:
            reason, reserved = UNKNOWN, 0.0
        if reason is None or now_s - remembered.kept_at < self._interval_s or remembered.budget < 1 + reserved:
            return None
        direction = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        if remembered.kept is None or remembered.kept.shape[1] != len(direction):
            remembered.kept, remembered.next = np.zeros((REMEMBERED, len(direction)), np.float32), 0
        if float((remembered.kept @ direction).max()) > 1 - DUPLICATE_DISTANCE:
            return None
        remembered.kept[remembered.next] = direction
        remembered.next = (remembered.next + 1) % REMEMBERED
        remembered.kept_at = now_s
        remembered.budget -= 1
        return reason

    def _reason(self, remembered: _Remembered, track: str | None, scores: Vector, elapsed_s: float) -> Reason | None:
        label = int(scores.argmax())
        before = remembered.labels.pop(track, None)
        remembered.labels[track] = label
        while len(remembered.labels) > REMEMBERED:
            del remembered.labels[next(iter(remembered.labels))]
        best = float(scores[label])
        second = float(np.partition(scores, -2)[-2]) if len(scores) > 1 else 0.0
        # Exponentially distributed gaps: the chance of one ending in the time since the frame before.
        lucky = self._random.random() < -math.expm1(-elapsed_s / self._random_s)
        if best < LOW_SCORE:
            return "low score"
        if best - second < CLOSE_MARGIN:
            return "close call"
        if before is not None and before != label:
            return "new prediction"
        return "random" if lucky else None
