"""One camera's thread: read, crop, prepare, and keep one frame for the consumer."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from edged import tracing
from edged.camera.opening import open_source, public_source
from edged.camera.pace import LatestStart, Pace, backoff_s
from edged.camera.roi import crop_roi
from edged.camera.source import CameraState
from edged.errors import CameraError
from edged.types import Frame

if TYPE_CHECKING:
    from edged.camera.source import Source
    from edged.settings import CameraSettings
    from edged.types import Image, Region

    Prepare = Callable[[Image], Image]
    Look = Callable[[Image, float], tuple[Region, ...]]
    Roi = tuple[float, float, float, float]

_log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 2.0
_STEADY_S = 10.0
"""A camera that ran this long was well: the next failure is a new one, in the backoff and in the log."""
_LOG_AGAIN_S = 600.0


class Capture:
    """Reads one camera on a thread of its own and keeps one frame, in a slot of one.

    From a live source, and wherever `fps` > 0, a newer frame replaces one that nobody took (`dropped` counts these).
    A file, folder or pattern with `fps` = 0 waits instead: every frame is delivered once, and the next is read and
    prepared while the consumer works on the last. A camera that fails is `degraded` and retried for ever.

    Args:
        name: Name of the camera.
        settings: Its settings.
        prepare: Makes the model's input from an RGB frame, on the capture thread. None: frames stay unprepared.
        on_state: Called with the name and the new state, on the capture thread; must be quick and must not raise.
        ready: Notified when a frame is in the slot; share one among several captures to wait for any of them.
        opener: Opens the source.
        look: Finds the regions that are classified by themselves, from an RGB frame and its monotonic seconds; on the
            capture thread, so that it sees also frames that nobody takes. None: frames are classified whole.
    """

    def __init__(
        self,
        name: str,
        settings: CameraSettings,
        prepare: Prepare | None,
        on_state: Callable[[str, CameraState], None],
        *,
        ready: threading.Condition | None = None,
        opener: Callable[[str, CameraSettings], Source] = open_source,
        look: Look | None = None,
    ) -> None:
        self.name = name
        self.dropped = 0
        self._log = logging.LoggerAdapter(_log, {"CAMERA": name})
        self.state = CameraState(public_source(settings.source))
        self._settings = settings
        self._prepare = prepare
        self._on_state = on_state
        self._ready = ready or threading.Condition()
        self._opener = opener
        self._look = look
        self._pace = Pace(settings.fps)
        self._roi = settings.roi
        self._start = LatestStart()
        self._slot: Frame | None = None
        self._seq = 0
        self._failures = 0
        self._logged_s: float | None = None
        self._loss_logged = False
        self._source: Source | None = None
        self._stopping = False
        self._wake = threading.Event()
        # A daemon thread: a read that blocks inside a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=f"capture-{name}", daemon=True)

    def start(self) -> None:
        """Start the thread. It opens the camera, and opens it again when it is lost."""
        self._thread.start()

    def take_now(self) -> Frame | None:
        """Take the frame out of the slot, or None. The caller holds `ready`."""
        frame = self._slot
        if frame is not None:
            self._slot = None
            self._start.taken(time.monotonic())
            self._wake.set()
        return frame

    @property
    def exhausted(self) -> bool:
        """Whether the source has ended and its last frame was taken."""
        return self.state.state == "ended" and self._slot is None

    def set_prepare(self, prepare: Prepare | None) -> None:
        """Prepare frames differently from now on; one that is already in the slot tells by `prepared_by`."""
        self._prepare = prepare

    def set_fps(self, fps: float) -> None:
        """Limit the frames per second from now on; 0: no limit."""
        self._pace = Pace(fps)
        self._wake.set()

    @property
    def interval_s(self) -> float | None:
        """Time from one frame to the next, where it is limited."""
        fps = self._pace.fps
        return 1 / fps if fps > 0 else None

    def set_roi(self, roi: Roi) -> None:
        """Cut another part out of each frame from now on; see `CameraSettings`."""
        self._roi = roi

    def request_stop(self) -> None:
        """Tell the thread to end, without waiting for it."""
        self._stopping = True
        self._wake.set()
        if source := self._source:
            source.interrupt()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """End the thread and close the camera.

        Returns:
            False when a read inside a driver still blocks after `timeout_s`; the thread ends with it.
        """
        self.request_stop()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            opened_s = time.monotonic()
            try:
                self._play()
            except CameraError as error:
                self._fail(str(error), opened_s)
            except Exception as error:  # noqa: BLE001 - the top of the thread: a bug costs one camera, for a while
                self._log.debug("camera %r", self.name, exc_info=True)
                self._fail(f"camera {self.name!r}: unexpected {type(error).__name__}: {error}", opened_s)
            else:
                return

    def _play(self) -> None:
        """Open the source and read it until it ends or `stop` is called."""
        source = self._opener(self.name, self._settings)
        self._source = source
        try:
            while self._wait_turn(source.live):
                started_ns = time.monotonic_ns()
                image = source.read()
                captured_ns = time.monotonic_ns()
                if self._stopping:
                    return
                if image is None:
                    self._log.info("camera %r: %s has ended", self.name, self.state.source)
                    self._report(replace(self.state, state="ended", error=None))
                    with self._ready:
                        self._ready.notify_all()  # nobody needs to wait for a frame any more
                    return
                self._note_running(image)
                if source.live and self._pace.wait_s(captured_ns / 1e9) > 0:
                    continue  # thinned; reading on keeps the camera's own queue short
                self._pace.advance(captured_ns / 1e9)
                self._put(self._frame(image, started_ns, captured_ns))
        except CameraError as error:
            if self._stopping:
                return  # interrupted on purpose
            text = str(error)
            named = (
                text if text.startswith("camera ") else f"camera {self.name!r}: source {self.state.source!r}: {text}"
            )
            raise CameraError(named) from error
        finally:
            self._source = None
            source.close()

    def _wait_turn(self, live: bool) -> bool:
        """Wait until the next frame of a file is wanted: its time has come, or the slot is empty. False: stop."""
        while not self._stopping:
            self._wake.clear()
            pace = self._pace
            if live:
                break
            if pace.fps <= 0 and self._slot is None:
                if (early_s := self._start.wait_s(time.monotonic())) > 0:
                    self._wake.wait(early_s)
                break
            wait_s = pace.wait_s(time.monotonic()) if pace.fps > 0 else None
            if wait_s == 0:
                break
            if not self._stopping:
                self._wake.wait(wait_s)
        return not self._stopping

    def _frame(self, image: Image, started_ns: int, captured_ns: int) -> Frame:
        """Cut, prepare and describe one frame."""
        captured_at = time.time()
        image = crop_roi(image, self._roi)
        prepare = None if self._look is not None else self._prepare  # what is cut out is prepared by who cuts it out
        prepared = prepare(image) if prepare is not None else None
        regions = self._look(image, captured_ns / 1e9) if self._look is not None else None
        done_ns = time.monotonic_ns()
        self._start.worked((done_ns - started_ns) / 1e9)
        if (tracer := tracing.active) is not None:
            tracer.span(f"capture {self.name}", "capture", started_ns, captured_ns, seq=self._seq)
            tracer.span(f"prepare {self.name}", "prepare", captured_ns, done_ns, seq=self._seq)
        frame = Frame(
            camera=self.name,
            seq=self._seq,
            image=image,
            captured_ns=captured_ns,
            captured_at=captured_at,
            capture_ms=(captured_ns - started_ns) / 1e6,
            prepared=prepared,
            preprocess_ms=0.0 if prepare is None and regions is None else (done_ns - captured_ns) / 1e6,
            prepared_by=prepare,
            regions=regions,
        )
        self._seq += 1
        return frame

    def _put(self, frame: Frame) -> None:
        """Lay the frame into the slot; `_wait_turn` has seen to it that only what may be dropped is dropped."""
        with self._ready:
            if self._slot is not None:
                self.dropped += 1
            self._slot = frame
            self._ready.notify_all()

    def _note_running(self, image: Image) -> None:
        height, width = image.shape[:2]
        if self.state.state == "running" and (self.state.width, self.state.height) == (width, height):
            return
        if self.state.state == "starting" or self._loss_logged:
            self._log.info("camera %r: running, %d×%d from %s", self.name, width, height, self.state.source)
            self._loss_logged = False
        self._report(replace(self.state, state="running", error=None, width=width, height=height))

    def _fail(self, text: str, opened_s: float) -> None:
        """Report the loss and wait before the next attempt; `stop` ends the wait."""
        now_s = time.monotonic()
        if now_s - opened_s >= _STEADY_S and self.state.state == "running":
            self._failures = 0
            self._logged_s = None
        if self._logged_s is None or now_s - self._logged_s >= _LOG_AGAIN_S:
            self._logged_s = now_s
            self._loss_logged = True
            self._log.warning("%s; retrying", text)
        self._report(replace(self.state, state="degraded", error=text))
        deadline_s = now_s + backoff_s(self._failures, random.random())
        self._failures += 1
        while not self._stopping and (left_s := deadline_s - time.monotonic()) > 0:
            self._wake.clear()
            if not self._stopping:
                self._wake.wait(left_s)

    def _report(self, state: CameraState) -> None:
        if state != self.state:
            self.state = state
            self._on_state(self.name, state)
