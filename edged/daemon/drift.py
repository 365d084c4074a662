"""Whether a camera still shows what the network was taught: its frames' familiarity beside that of held-out images.

Pure: a familiarity and a time in, a statistic and an alert out. A familiarity is a rank among held-out taught images,
so for frames like them it is spread evenly over 0..1. A camera that was moved, a light that went out or a dirty lens
make all frames stranger at once; a stranger that walks by does not.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from edged.contract.messages import Drift
from edged.settings import DRIFT_FRAMES

_SAMPLES = 720
"""So many frames of the window are looked at: in an hour one every 5 s, of the many that are nearly the same."""
_RECENT = 6
"""What alerts is this part of the window: ten minutes of an hour; of a slow camera the newest `DRIFT_FRAMES` frames."""
_BEGINS, _ENDS = 0.7, 0.6
"""An alert begins where a held-out image is more familiar than a frame so often, and ends below the second number."""
_SIGNIFICANCE = 0.05


def measure(familiarity: list[float]) -> Drift:
    """Compare frames with held-out taught images.

    Mann and Whitney's U, one-sided: `statistic` is how often a held-out image is more familiar than a frame, 0.5 where
    both are alike, 1 where every frame is strange. The mean of n independent ranks has the variance 1 / 12 n. Frames of
    one camera are not independent: n is divided by (1 + r) / (1 − r), r being the autocorrelation from one frame to the
    next (Bartlett 1946), so that an hour of the same picture counts as one.

    Args:
        familiarity: Of at least one frame, 0..1, in the order of time.
    """
    values = np.array(familiarity, np.float64)
    centred = values - values.mean()
    power = float(centred @ centred)
    turn = 1.0 if power < 1e-12 else max(float(centred[1:] @ centred[:-1]) / power, 0.0)
    count = max(1.0, len(values) * (1 - turn) / (1 + turn))
    z = (0.5 - float(values.mean())) * math.sqrt(12 * count)
    return Drift(
        statistic=round(1 - float(values.mean()), 4), p=round(0.5 * math.erfc(z / math.sqrt(2)), 6), frames=len(values)
    )


@dataclass(frozen=True, slots=True)
class Strange:
    """Why there is an alert.

    Attributes:
        since: When it began, wall clock, seconds since the epoch.
        reason: One line for people.
    """

    since: float
    reason: str


class _Track:
    def __init__(self) -> None:
        self.frames: deque[tuple[float, float]] = deque(maxlen=_SAMPLES)
        self.strange_since: float | None = None


class DriftWatch:
    """Remembers the familiarity of each camera's frames. Thread-safe.

    Args:
        window_s: How much of the past counts, seconds.
    """

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._tracks: dict[str, _Track] = {}
        self._lock = threading.Lock()
        self._model = ""

    def add(self, camera: str, model: str, familiarity: float | None, now_s: float) -> None:
        """Take a frame; most are passed over.

        Args:
            camera: Its name.
            model: Id of the bundle that it was compared with; with another one everything begins anew.
            familiarity: 0..1; None: the bundle does not know what it was taught.
            now_s: Monotonic clock, seconds.
        """
        with self._lock:
            if model != self._model:
                self._model = model
                self._tracks.clear()
            if familiarity is None:
                return
            frames = self._tracks.setdefault(camera, _Track()).frames
            if not frames or now_s - frames[-1][0] >= self._window_s / _SAMPLES:
                frames.append((now_s, familiarity))

    def state(self, now_s: float, wall_s: float) -> tuple[dict[str, Drift], Strange | None]:
        """Return what is known of each camera, and why there is an alert.

        Args:
            now_s: Monotonic clock, seconds.
            wall_s: Wall clock, seconds since the epoch.
        """
        with self._lock:
            found: dict[str, Drift] = {}
            strange: list[tuple[float, str]] = []
            for camera, track in self._tracks.items():
                while track.frames and now_s - track.frames[0][0] > self._window_s:
                    track.frames.popleft()
                values = [value for _, value in track.frames]
                if len(values) >= DRIFT_FRAMES:
                    found[camera] = measure(values)
                recent = sum(now_s - at <= self._window_s / _RECENT for at, _ in track.frames)
                if not recent or len(values) < DRIFT_FRAMES:  # it is gone, or has just come
                    track.strange_since = None
                    continue
                drift = measure(values[-max(recent, DRIFT_FRAMES) :])
                if track.strange_since is None:
                    if drift.statistic >= _BEGINS and drift.p < _SIGNIFICANCE:
                        track.strange_since = wall_s
                elif drift.statistic < _ENDS:
                    track.strange_since = None
                if track.strange_since is not None:
                    strange.append(
                        (
                            track.strange_since,
                            f"camera {camera}: {drift.statistic:.0%} of taught images are more familiar than its "
                            "frames; was it moved, is the light or the lens another?",
                        )
                    )
        if not strange:
            return found, None
        return found, Strange(min(since for since, _ in strange), "; ".join(text for _, text in strange))
