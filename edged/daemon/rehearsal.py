"""A new engine's first invocations, on the newest frames of the cameras, before it answers any."""

from __future__ import annotations

from collections import deque
from itertools import cycle, islice
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edged.daemon.loop import PROBATION_FRAMES

if TYPE_CHECKING:
    from edged.daemon.engine import Engine
    from edged.types import Frame, Image, Inference

KEPT = 3
"""Frames of each camera."""
_SIDE = 224
"""Of a kept frame's shorter side, pixels, at most: about what a network sees of it, and 0.2 MB instead of 6."""
_INTERVAL_S = 0.25
"""Least time between two kept frames of one camera: making one small costs a little."""


class Rehearsal:
    """An observer of the publisher that keeps the newest frames, small, for engines that shall take over.

    So the verdict on a new engine does not wait for frames of a slow camera.
    """

    def __init__(self) -> None:
        self._frames: dict[str, deque[Image]] = {}
        self._kept_ns: dict[str, int] = {}

    def __call__(self, frame: Frame, _: Inference, __: Engine) -> None:
        """Take a classified frame; called on the publisher's thread."""
        kept_ns = self._kept_ns.get(frame.camera)
        if kept_ns is not None and frame.captured_ns - kept_ns < _INTERVAL_S * 1e9:
            return
        self._kept_ns[frame.camera] = frame.captured_ns
        frames = self._frames.setdefault(frame.camera, deque())
        # Into the oldest one's memory: arrays that come and go would leave holes among the frames. A rehearsal that
        # reads it just now sees parts of two pictures, which will do.
        frames.append(small(frame.image, into=frames.popleft() if len(frames) == KEPT else None))

    def frames(self) -> list[Image]:
        """Return the kept frames, RGB; empty where no camera has delivered one yet."""
        return [image for frames in list(self._frames.values()) for image in list(frames)]

    def run(self, engine: Engine, count: int = PROBATION_FRAMES) -> None:
        """Let an engine that answers no frame yet classify the kept ones, in turn.

        The very first invocation is on plain grey: it packs weights and takes far longer than the others, and where no
        camera has delivered a frame yet it is the only one.

        Args:
            engine: The engine.
            count: So often; as often as a probation is long, unless it has been tried already.

        Raises:
            ModelError: An invocation has failed.
        """
        engine.invoke(np.full((engine.network.height, engine.network.width, 3), 127, np.uint8))
        kept = self.frames()
        for image in islice(cycle(kept), count if kept else 0):
            engine.invoke(engine.prepare(image), image)


def small(image: Image, into: Image | None = None) -> Image:
    """Return a smaller copy of a frame, as is kept of it; in the memory of `into` where that has its size."""
    height, width = image.shape[:2]
    scale = min(1.0, _SIDE / min(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size, dst=into, interpolation=cv2.INTER_AREA), np.uint8)
