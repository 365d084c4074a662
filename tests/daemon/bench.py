"""A model that answers frames and can be changed: the frame loop on a thread, the store, and the switch beside them."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edged.daemon.engine import Engine, load_engine
from edged.daemon.loop import FrameLoop
from edged.daemon.rehearsal import Rehearsal
from edged.daemon.switching import ModelSwitch
from edged.settings import RetrainSettings, Settings, StorageSettings
from edged.store import Bundle, Store
from edged.types import Frame
from tests.waiting import PATIENCE_S, wait_until


class StillCamera:
    """The cameras' port as the frame loop sees it: always the same grey frame, endlessly or `left` times more."""

    def __init__(self) -> None:
        self.seq = 0
        self.left: int | None = None
        self.dark = False
        self.seen_dark = threading.Event()

    def take(self, timeout_s: float) -> Frame | None:
        if self.dark:
            self.seen_dark.set()
            time.sleep(timeout_s)
            return None
        time.sleep(0.002)
        if self.left is not None:
            if self.left == 0:
                return None
            self.left -= 1
        self.seq += 1
        grey = np.full((120, 160, 3), 127, np.uint8)
        return Frame("main", self.seq, grey, time.monotonic_ns(), time.time(), 0.0)

    def set_prepare(self, _: Callable[..., Any]) -> None:
        pass


class Bench:
    """A frame loop on a thread, and the switch beside it."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(storage=StorageSettings(state_dir=tmp_path), retrain=RetrainSettings(keep_versions=2))
        self.store = Store(tmp_path)
        self.rehearsal = Rehearsal()
        self.answered: list[str] = []
        self.published = 0
        engine = load_engine(self.store.current("mobilenet_v2"), self.settings.model)
        self.camera = StillCamera()
        self.loop = FrameLoop(self.camera, engine, self._sink, lambda _: None)  # type: ignore[arg-type]  # the port's part
        self.switch = ModelSwitch(self.settings, self.store, self.loop, self.rehearsal, self._publish)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _sink(self, frame: Frame, outputs: Any, engine: Engine) -> None:
        self.rehearsal(frame, engine.decode(outputs), engine)
        self.answered.append(engine.bundle.id)  # last: who has seen the answer relies on the frame that is kept

    def _publish(self) -> None:
        self.published += 1

    def _run(self) -> None:
        while not self._end.is_set():
            self.loop.step()

    def misses(self) -> int:
        """Frames that were taken and not answered; the one at hand may be among them."""
        taken = self.camera.seq  # first, for the loop goes on meanwhile
        return taken - len(self.answered)

    def close(self) -> None:
        self._end.set()
        self._thread.join()

    def darken(self) -> None:
        """Let no frame come any more, and wait until the one at hand is answered."""
        self.camera.dark = True
        assert self.camera.seen_dark.wait(PATIENCE_S)

    def weak_one(self) -> tuple[str, Bundle]:
        """Return the id of the model that answers and a version that shall be weak; there is a frame to rehearse on."""
        before, new = self.switch.running.id, self.trained("weak")
        wait_until(lambda: self.answered, what="a frame to rehearse on")
        return before, new

    def trained(self, name: str) -> Bundle:
        """A version that differs from the shipped model in one byte that nothing reads."""
        shipped = self.store.find("mobilenet_v2")
        model = shipped.read_model() + name.encode()
        digest = hashlib.sha256(model).hexdigest()
        manifest = shipped.manifest.model_copy(update={"sha256": digest, "name": name})
        return self.store.write_version(model, shipped.labels, manifest)
