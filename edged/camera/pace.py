"""When the next frame or the next attempt is due: arithmetic only, the caller brings the clock and the dice."""

from __future__ import annotations

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 30.0


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
