"""When the next frame or the next attempt is due: arithmetic only, the caller brings the clock and the dice."""

from __future__ import annotations

from collections import deque

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 30.0
OBSERVED_FRAMES = 16
START_MARGIN_S = 0.0003


def backoff_s(attempt: int, dice: float) -> float:
    """How long to wait before trying a lost camera again: exponential backoff with full jitter.

    Formula: dice × min(cap, base × 2^attempt), from M. Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015. Several cameras behind one switch thus do not come back in step.

    Args:
        attempt: Failures in a row before this one, from 0.
        dice: Uniform random number, 0..1.

    Returns:
        Seconds, 0..30.
    """
    doublings = min(attempt, 16)  # far beyond the cap; keeps the power small for a camera that is away for months
    return dice * min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0**doublings)


class Pace:
    """An absolute schedule of frames, so that jitter of single frames does not change the rate.

    Args:
        fps: Frames per second; 0 is no limit.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self._due_s: float | None = None

    def wait_s(self, now_s: float) -> float:
        """Seconds of the monotonic clock until the next frame is due; 0 when it is due now."""
        if self.fps <= 0 or self._due_s is None:
            return 0.0
        return max(0.0, self._due_s - now_s)

    def advance(self, now_s: float) -> None:
        """Note that a frame was accepted at `now_s`; a schedule two frames behind starts afresh.

        The slack of two is what a camera needs whose own rate is just about `fps`: a frame that arrives a
        millisecond early is passed over, and the schedule must not be moved by that.
        """
        if self.fps <= 0:
            self._due_s = None
            return
        interval_s = 1.0 / self.fps
        behind = self._due_s is None or now_s - self._due_s > 2 * interval_s
        self._due_s = (now_s if behind or self._due_s is None else self._due_s) + interval_s


class LatestStart:
    """The latest moment to begin reading the next frame of a file that is read as fast as it is classified.

    Begun at once, it would lie ready for most of the time that the network needs for the one before, and be that much
    older when its turn comes. So it is begun as late as the quickest turn and the slowest reading of late allow.
    """

    def __init__(self) -> None:
        self._turns_s: deque[float] = deque(maxlen=OBSERVED_FRAMES)
        self._works_s: deque[float] = deque(maxlen=OBSERVED_FRAMES)
        self._taken_s: float | None = None

    def taken(self, now_s: float) -> None:
        """Note that the consumer took a frame."""
        if self._taken_s is not None:
            self._turns_s.append(now_s - self._taken_s)
        self._taken_s = now_s

    def worked(self, seconds: float) -> None:
        """Note how long reading and preparing a frame took."""
        self._works_s.append(seconds)

    def wait_s(self, now_s: float) -> float:
        """Seconds of the monotonic clock until the next frame should be begun; 0 while little is known."""
        if self._taken_s is None or len(self._turns_s) < OBSERVED_FRAMES:
            return 0.0
        return max(0.0, self._taken_s + min(self._turns_s) - max(self._works_s) - START_MARGIN_S - now_s)
