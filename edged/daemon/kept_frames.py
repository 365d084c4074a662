"""Frames that the daemon keeps for a label: chosen on the publisher's thread, written on one of their own."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.codec import encode_jpeg
from edged.errors import EdgedError
from edged.images import Embedding, Kept, variant
from edged.logs import Rarely

if TYPE_CHECKING:
    from edged.daemon.engine import Engine
    from edged.images import FrameKeeper, ImageStore
    from edged.types import Frame, Inference

log = logging.getLogger(__name__)

_WAITING = 4
"""Frames that may wait for the disk; a full HD frame is 6 MB."""
_NICENESS = 10
_STOP_S = 3.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame and what was made of it."""

    frame: Frame
    inference: Inference
    engine: Engine

    def kept(self, reason: str) -> Kept:
        """Return what the store remembers of it."""
        best = int(self.inference.scores.argmax())
        return Kept(reason, self.engine.bundle.labels[best], round(float(self.inference.scores[best]), 4))

    def embedding(self, sha256: str) -> Embedding:
        """Return the bottleneck as the graph gave it, so that no training has to infer this frame again."""
        network, manifest = self.engine.network, self.engine.bundle.manifest
        data = network.bottleneck_affine.quantize(self.inference.embedding, network.bottleneck_dtype)
        return Embedding(
            sha256=sha256,
            backbone_sha256=manifest.backbone_sha256,
            variant=variant(manifest.input.crop),
            data=data.tobytes(),
            dtype="int8" if data.dtype == np.int8 else "uint8",
            scale=network.bottleneck_affine.scale,
            zero_point=network.bottleneck_affine.zero_point,
        )


class FrameObserver:
    """An observer of the publisher: remembers the newest frame of each camera, hands those worth keeping to `writer`.

    Args:
        keeper: Decides; None: keep none.
        writer: Encodes and stores.
        unknown: A familiarity below it says that a frame shows nothing taught.
    """

    def __init__(self, keeper: FrameKeeper | None, writer: FrameWriter, unknown: float) -> None:
        self.newest: dict[str, dict[str | None, Seen]] = {}
        """Camera → what it has shown last: the frame, or each track that was in view then, the last classified last."""
        self._keeper = keeper
        self._writer = writer
        self._unknown = unknown
        self._engine: Engine | None = None

    def __call__(self, frame: Frame, inference: Inference, engine: Engine) -> None:
        """Take a classified frame; called on the publisher's thread, takes microseconds."""
        seen = Seen(frame, inference, engine)
        track = None if frame.region is None else frame.region.track
        in_view = {region.track for region in frame.regions or () if region.visible}
        before = self.newest.get(frame.camera, {})
        self.newest[frame.camera] = {
            **{name: other for name, other in before.items() if name != track and name in in_view},
            track: seen,
        }
        if self._keeper is None:
            return
        if engine is not self._engine:
            self._engine = engine
            self._keeper.reset()
        reason = self._keeper.consider(
            frame.camera,
            inference.scores,
            inference.embedding,
            frame.captured_ns / 1e9,
            familiar=None if inference.familiarity is None else inference.familiarity >= self._unknown,
            track=track,
        )
        if reason is not None:
            self._writer.put(seen, reason)


class FrameWriter:
    """Encodes and stores kept frames at low priority; one that finds the queue full is dropped.

    Args:
        store: Where they go.
    """

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._queue: queue.Queue[tuple[Seen, str] | None] = queue.Queue(_WAITING)
        self._failures = Rarely(log)
        self._stopping = False
        # A daemon thread: the first look at thousands of new photos must not keep the process from ending. What it
        # writes is whole at every moment.
        self._thread = threading.Thread(target=self._run, name="kept-frames", daemon=True)

    def start(self) -> None:
        """Start the thread; first it looks for images that were put into the folders."""
        self._thread.start()

    def put(self, seen: Seen, reason: str) -> None:
        """Hand a frame over; returns at once."""
        try:
            self._queue.put_nowait((seen, reason))
        except queue.Full:
            log.debug("camera %s: frame %d is not kept, the disk is behind", seen.frame.camera, seen.frame.seq)

    def stop(self, timeout_s: float = _STOP_S) -> None:
        """Write what was handed over and end the thread, waiting at most `timeout_s`."""
        self._stopping = True
        end = time.monotonic() + timeout_s
        if self._thread.is_alive():
            with suppress(queue.Full):
                self._queue.put(None, timeout=timeout_s)
            self._thread.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)  # Linux: of this thread alone
            self._scan()
            while (item := self._queue.get()) is not None:
                self._write(*item)
        except Exception:
            log.exception("keeping frames has failed; frames go on without it")

    def _scan(self) -> None:
        try:
            report = self._store.scan(workers=1)
        except EdgedError as error:
            if not self._stopping:
                log.error("%s", error)
            return
        for skipped in report.skipped[:20]:
            log.warning("%s: %s", skipped.file, skipped.reason)
        counts = self._store.counts()
        if counts:
            log.info("%d labeled images: %s", sum(counts.values()), ", ".join(f"{k} {v}" for k, v in counts.items()))

    def _write(self, seen: Seen, reason: str) -> None:
        try:
            sha256 = self._store.keep(encode_jpeg(seen.frame.image), seen.kept(reason))
            if sha256 is not None:
                self._store.put_embeddings([seen.embedding(sha256)])
                log.debug("camera %s: frame %d kept (%s)", seen.frame.camera, seen.frame.seq, reason)
            self._failures.reset()
        except EdgedError as error:  # a full disk stays full for a while, and the text names another file every time
            self._failures.log("frames are not kept: %s", error)
