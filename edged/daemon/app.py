"""The life of the process: start, loop, drain, stop. The only room that knows all others."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from edged import __version__
from edged.camera import Cameras
from edged.contract import commands as contract
from edged.contract.messages import Job
from edged.daemon import supervision
from edged.daemon.announcements import Announcements
from edged.daemon.commands import CommandWorker, Handlers
from edged.daemon.deadline import StopDeadline
from edged.daemon.detection import open_detections
from edged.daemon.drift import DriftWatch
from edged.daemon.frames import FrameCommands
from edged.daemon.homeassistant import status_topic
from edged.daemon.images import ImageCommands
from edged.daemon.jobs import JobCommands
from edged.daemon.kept_frames import FrameObserver, FrameWriter
from edged.daemon.loop import FrameLoop
from edged.daemon.metrics import Metrics
from edged.daemon.models import ModelCommands
from edged.daemon.presentation import Presentation
from edged.daemon.profiling import Profiling
from edged.daemon.proof import keep_trial
from edged.daemon.publisher import Publisher
from edged.daemon.regions import open_looks
from edged.daemon.rehearsal import Rehearsal, small
from edged.daemon.reload import Reload
from edged.daemon.results import ResultFilter
from edged.daemon.reviewing import Reviewing
from edged.daemon.selection import SelectingEngine
from edged.daemon.statistics import Statistics
from edged.daemon.storage import Storage
from edged.daemon.suggestions import Suggestions
from edged.daemon.switching import ModelSwitch, open_first
from edged.daemon.telemetry import TelemetryThread
from edged.daemon.together import Together
from edged.daemon.training import Training
from edged.errors import EdgedError
from edged.images import FrameKeeper, ImageStore
from edged.instance import claim
from edged.jobs.runner import JobRunner
from edged.metrics import check_library
from edged.mqtt import open_link
from edged.mqtt.link import CLOSING_S
from edged.process import discard_output, favour_main_thread
from edged.sensors import open_sensors
from edged.store import Store
from edged.vision.preprocess import stay_on_one_thread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from edged.camera import CameraState
    from edged.contract.commands import Command
    from edged.contract.messages import Drift
    from edged.daemon.detection import Detection
    from edged.daemon.engine import Engine
    from edged.settings import Settings
    from edged.types import Frame, Image, Inference, Reading

log = logging.getLogger(__name__)

DRAIN_S = 5.0
"""How long a stop waits for the broker to acknowledge what it has not yet, where the other parts leave it the time."""
_PART_S = 3.0
"""How long it waits for any other part; all of them share one deadline."""
_JOBS_S = 6.0
"""A training that has just ended may be waiting for the frame loop to take its model, which it will not: 5 s."""
_READY_WITHOUT_FRAMES_S = 20.0
"""systemd is told READY after the first classified frame, or, with no camera in sight, after this long."""
_NO_FRAME = "no frame from any camera yet"


class Daemon:
    """edged, running.

    Args:
        settings: The whole configuration.
        read: Reads it again, at SIGHUP.

    Raises:
        ConfigError: The model or another file that the settings name cannot be used.
        EdgedError: Another daemon runs on the same state folder.
    """

    def __init__(self, settings: Settings, read: Callable[[], Settings]) -> None:
        self._settings = settings
        self._signals = self._hangups = 0
        self._failed, self._deaf = threading.Event(), threading.Event()
        self._began = time.monotonic()
        self._ready = self._classifying = self._in_order = False
        self._watchdog = supervision.Watchdog()
        self._has_terminal = _has_terminal()
        self._catch_signals()  # from here on a stop is in order: no model is to blame for it
        self._deadline = StopDeadline()

        if settings.metrics.address is not None:
            check_library()
        self._claim = claim(settings.storage.state_dir)
        self.store = Store(settings.storage.state_dir)
        self.detections: dict[str, Detection] = {}
        try:
            self._make(settings, read)
        except EdgedError:  # a wrong configuration, say, which is no fault of what is on trial
            keep_trial("the current model", self.store.paused)
            self._end_detections()
            raise

    def _make(self, settings: Settings, read: Callable[[], Settings]) -> None:
        """Make all parts, the model and the detectors first: from here on an end is held against those on trial."""
        engine = open_first(settings, self.store)
        self.detections = open_detections(settings, self.store.detectors)
        self.statistics = Statistics()
        self.sensors = open_sensors()
        notices = {status_topic(settings): self._greet} if settings.homeassistant.discovery else {}
        self.link = open_link(
            settings,
            on_command=self._accept,
            has_room=self._has_room,
            notices=notices,
            on_failure=self._deaf.set,  # a process that no command reaches has to end: a new one may do better
        )
        self.presentation = Presentation(settings, self.link)
        self.cameras = Cameras(
            settings.cameras, engine.prepare, self._camera_changed, looks=open_looks(settings.cameras)
        )
        self.results = ResultFilter(
            settings.mqtt.results, settings.mqtt.heartbeat_s, settings.mqtt.smoothing, settings.model.unknown
        )
        self.publisher = Publisher(
            self.link,
            self.results,
            self.statistics,
            top=settings.model.top,
            on_failure=self._failed.set,
        )
        self.publisher.viewers += self.presentation.viewers
        self.loop = FrameLoop(
            self.cameras,
            engine,
            self.publisher.put,
            self._stepped,
            finish=self.publisher.finish,
            regions_max={name: camera.regions_max for name, camera in settings.cameras.items()},
            detections=self.detections,
        )
        self.drift = DriftWatch(settings.telemetry.drift_s)
        for line in settings.unwatched():
            log.warning("%s", line)
        self.telemetry = TelemetryThread(
            self.sensors,
            self.link,
            self.statistics,
            dropped=lambda: self.cameras.dropped,
            interval_s=settings.telemetry.interval_s,
            selection=self._selection_state,
            drift=self._drift_state,
            alerts=self._standing_alerts,
            observe=self.presentation.discovery.observe,
            # Sampled often only where a budget needs it: load and clocks are then those of the last half second.
            sample=None if settings.selection.max_power_mw is None else self._sample_power,
            often=settings.metrics.address is not None,
        )
        self.images = ImageStore(settings.storage.state_dir, images_max_mb=settings.storage.images_max_mb)
        self.storage = Storage(settings.storage.state_dir, self.link, self.images)
        self.announcements = Announcements(
            settings,
            self.store,
            self.cameras,
            self.loop,
            self.telemetry,
            sensors=self.sensors,
            link=self.link,
            storage=self.storage,
            lr=lambda: self.training.hyperparameters.lr,
            detections=self.detections,
        )
        self.kept_frames = FrameWriter(self.images)
        # A premodel's networks give embeddings that cannot be compared with each other; a cascade's first sees all.
        keeps = settings.retrain.keep_frames and settings.selection.strategy != "premodel"
        observer = FrameObserver(FrameKeeper() if keeps else None, self.kept_frames, settings.model.unknown)
        self.suggestions = Suggestions(self.images, lambda: switch.running, settings.model)
        rehearsal = Rehearsal()
        self.publisher.observers += [observer, self._watch_drift, rehearsal]
        self.switch = switch = ModelSwitch(settings, self.store, self.loop, rehearsal, self._model_changed)
        self.jobs = JobRunner(self.link.job)
        self.training = training = Training(settings, self.store, switch, self.jobs)
        self.image_commands = ImageCommands(self.images, observer, self.suggestions, self.link, training.expect)
        self.reviewing = Reviewing(settings, self.store, lambda: switch.running, self.jobs)
        self.profiling = Profiling(settings, self.store, lambda: switch.running, self.jobs)
        self.together = Together(settings, self.store, switch, self.jobs, self.link)
        self.job_commands = JobCommands(self.jobs, self.link)
        self.model_commands = ModelCommands(
            settings, self.store, switch, self.link.job, self.link.trust, self._whole_frames
        )
        self.frame_commands = FrameCommands(self.cameras, self.publisher, self.link, set_lr=self._set_lr)
        self.commands = CommandWorker(self.link, self._handlers())
        self.metrics = self._open_metrics()
        self._reload = Reload(settings, read, self._setters(), self.presentation.configure)

    def _catch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGHUP, self._on_hangup)

    def _standing_alerts(self) -> list[str]:
        return sorted(name for name, stands in self.announcements.alerts.items() if stands)

    def _open_metrics(self) -> Metrics | None:
        """Return what serves the metrics; None where none are wanted."""
        if (address := self._settings.metrics.address) is None:
            return None
        return Metrics(
            address,
            self._settings.device.id,
            cameras=self.cameras,
            loop=self.loop,
            publisher=self.publisher,
            telemetry=self.telemetry,
            drift=self.drift,
            announcements=self.announcements,
            link=self.link,
            sensors=self.sensors.name,
        )

    def _setters(self) -> dict[str, Callable[[Any], None]]:
        """Return what changes each key that may change while frames go on."""
        setters: dict[str, Callable[[Any], None]] = {
            "model.top": partial(setattr, self.publisher, "top"),
            "mqtt.results": partial(setattr, self.results, "results"),
            "mqtt.heartbeat_s": partial(setattr, self.results, "heartbeat_s"),
            "mqtt.smoothing": partial(setattr, self.results, "smoothing"),
            "telemetry.interval_s": partial(setattr, self.telemetry, "interval_s"),
            "security.trusted_keys": self.link.trust.change,
        }
        for capture in self.cameras:
            setters[f"cameras.{capture.name}.fps"] = capture.set_fps
            setters[f"cameras.{capture.name}.roi"] = capture.set_roi
        for name, detection in self.detections.items():
            setters[f"cameras.{name}.score_threshold"] = partial(setattr, detection, "score_threshold")
        return setters

    def _handlers(self) -> Handlers:
        """Return the handler of every command."""
        handlers = Handlers()
        handlers.add(contract.StatusArgs, self.announcements.status)
        handlers.add(contract.TelemetryArgs, self.announcements.telemetry)
        handlers.add(contract.SnapshotArgs, self.frame_commands.snapshot)
        handlers.add(contract.SetArgs, self.frame_commands.set)
        handlers.add(contract.ImageArgs, self.image_commands.receive)
        handlers.add(contract.ImagesHaveArgs, self.image_commands.have)
        handlers.add(contract.ImagesListArgs, self.image_commands.list_)
        handlers.add(contract.ImagesGetArgs, self.image_commands.get)
        handlers.add(contract.ImagesLabelArgs, self.image_commands.label)
        handlers.add(contract.ImagesSuggestArgs, self.suggestions.suggest)
        handlers.add(contract.ImagesGroupsArgs, self.suggestions.groups)
        handlers.add(contract.ImagesUnlabelArgs, self.image_commands.unlabel)
        handlers.add(contract.ImagesRemoveArgs, self.image_commands.remove)
        handlers.add(contract.ImagesDoubtfulArgs, self.reviewing.doubtful)
        handlers.add(contract.RetrainArgs, self.training.retrain)
        handlers.add(contract.ProfileArgs, self.profiling.profile)
        handlers.add(contract.CancelArgs, self.job_commands.cancel)
        handlers.add(contract.JobsArgs, self.job_commands.jobs)
        handlers.add(contract.RollbackArgs, self.model_commands.rollback)
        handlers.add(contract.ModelsListArgs, self.model_commands.list_)
        handlers.add(contract.ModelsUseArgs, self.model_commands.use)
        handlers.add(contract.ModelsRemoveArgs, self.model_commands.remove)
        handlers.add(contract.ModelsChunkArgs, self.model_commands.receive)
        handlers.add(contract.ModelsAddArgs, self.model_commands.add)
        handlers.add(contract.DetectorsAddArgs, self.model_commands.add_detector)
        handlers.add(contract.BottlenecksGetArgs, self.together.get)
        handlers.add(contract.BottlenecksPartArgs, self.together.part)
        handlers.add(contract.ModelsJudgeArgs, self.together.judge)
        handlers.add(contract.ModelsCompareArgs, self.together.compare)
        handlers.check()
        return handlers

    def run(self, *, seconds: float | None = None) -> int:
        """Classify until SIGTERM or SIGINT (twice: at once), or for so many seconds; return the exit code."""
        deadline = None if seconds is None else time.monotonic() + seconds
        with ExitStack() as stop:
            stop.callback(self._end)
            self._start(stop)
            while not self._signals and not self._exit_code():
                self.loop.step()
                if self._hangups:
                    self._read_again()
                if deadline is not None and time.monotonic() >= deadline:
                    break
            self._in_order = not self._failed.is_set()  # no model is to blame where the link has failed
        return self._exit_code()

    def _exit_code(self) -> int:
        return 1 if self._failed.is_set() or self._deaf.is_set() else 0

    def _start(self, stop: ExitStack) -> None:
        """Start one part after another; `stop` ends them in reverse, all of them within one deadline."""

        def part(end: Callable[[float], object], at_most: float = _PART_S) -> None:
            stop.callback(lambda: end(self._deadline.left(at_most)))

        stay_on_one_thread()
        log.info(
            "edged %s on device %s, state in %s",
            __version__,
            self._settings.device.id,
            self._settings.storage.state_dir,
        )
        stop.callback(self._claim)
        stop.callback(self._close_images)
        stop.callback(self._stop_link)
        self.announcements.info()
        self.announcements.model()
        for cut_off in self.link.ledger.unfinished():
            self.link.job(Job(id=cut_off.id, cmd=cut_off.name, status="failed", error="the daemon was restarted"))
        self.link.start()
        part(self.storage.stop)
        self.storage.start(self.announcements.info)
        part(self.telemetry.stop)
        self.telemetry.start()
        stop.callback(self._end_trial)  # after the jobs: one of them may be promoting a model
        stop.callback(self.training.close)
        part(self.jobs.stop, _JOBS_S)
        part(self.commands.stop)
        self.commands.start()
        part(self.kept_frames.stop)
        self.kept_frames.start()
        part(self.presentation.stop)
        self.presentation.start()
        part(self.publisher.stop)
        self.publisher.start()
        if self.metrics is not None:
            part(self.metrics.stop)
            self.metrics.start()
        part(self.cameras.stop)
        self.cameras.start()
        self.switch.begin()
        stop.callback(self._begin_stop)
        favour_main_thread()

    def _begin_stop(self) -> None:
        """Ask those who may take a while at once, so that they end side by side."""
        self._deadline.begin(self._exit_code)
        self.switch.request_stop()
        self.commands.request_stop()
        self.jobs.request_stop()

    def _end_trial(self) -> None:
        self.switch.end(in_order=self._in_order)
        if self._in_order:
            self._end_detections()

    def _end_detections(self) -> None:
        for detection in self.detections.values():
            detection.end()

    def _stop_link(self) -> None:
        self.link.stop(max(1.0, min(DRAIN_S, self._deadline.left_for_link() - CLOSING_S)))

    def _close_images(self) -> None:
        if self.commands.stop(0):  # what is left behind at work may be using them; SQLite bears it
            self.images.close()

    def _end(self) -> None:
        log.info("stopped after %d frames", self.statistics.frames)

    # -- called on the main thread -------------------------------------------------------------------------------------

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            sys.stderr.write("edged: second signal, leaving at once\n")
            sys.stderr.flush()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        supervision.notify_stopping()
        self._deadline.begin(self._exit_code)

    def _on_hangup(self, number: int, frame: FrameType | None) -> None:
        if self._has_terminal and not _has_terminal():
            discard_output(errors=True)  # the window that it ran in was closed: nothing can be printed any more
            self._on_signal(number, frame)
        self._hangups += 1

    def _read_again(self) -> None:
        """Take the configuration over as far as that goes, and tell systemd."""
        self._hangups = 0
        if self._ready:
            supervision.notify_reloading()
        self._reload()
        if self._ready:
            supervision.notify_ready(self._status())

    def _stepped(self, classified: bool) -> None:
        self._watchdog.ping()
        waited = not self._ready and time.monotonic() - self._began > _READY_WITHOUT_FRAMES_S
        if self._classifying or not (classified or waited):
            return
        self._ready, self._classifying = True, classified  # a first frame that comes late is told too
        supervision.notify_ready(self._status())
        what = "first result" if classified else _NO_FRAME
        log.info("%s after %.2f s", what, time.monotonic() - self._began)

    def _status(self) -> str:
        """One line for `systemctl status`."""
        does = f"{'classifying' if self._classifying else _NO_FRAME}, model {self.loop.engine.bundle.name}"
        return f"{does}; {self._reload.outcome}" if self._reload.outcome else does

    # -- called on other threads ---------------------------------------------------------------------------------------

    def _accept(self, command: Command[contract.Args]) -> None:
        self.commands.accept(command)

    def _has_room(self, args: type[contract.Args]) -> bool:
        return self.commands.has_room(args)

    def _whole_frames(self) -> list[Image]:
        """Return the newest frame of each camera, small: what a detector sees, also where regions are classified."""
        return [small(scene.frame.image) for scene in list(self.publisher.latest.values())]

    def _greet(self, payload: bytes) -> None:
        self.presentation.discovery.greet(payload)

    def _set_lr(self, lr: float) -> None:
        self.training.set_lr(lr)
        self.announcements.info()

    def _model_changed(self) -> None:
        self.announcements.model()
        self.announcements.info()  # names the runtime, and a model that was given up
        if self._ready:
            supervision.notify_status(self._status())

    def _sample_power(self, reading: Reading) -> None:
        """Let the selection integrate the machine's power."""
        engine = self.loop.engine
        if isinstance(engine, SelectingEngine):
            engine.selection.sample(reading)

    def _selection_state(self, reading: Reading) -> dict[str, Any] | None:
        """Return what telemetry says of the selection; None where none is configured."""
        if self._settings.selection.strategy == "none":
            return None
        engine = self.loop.engine
        if isinstance(engine, SelectingEngine):
            return engine.selection.telemetry(reading)
        name = engine.bundle.name
        return {"strategy": "none", "state": "off", "reason": f"{name} ({engine.bundle.id}) answers alone", "mix": {}}

    def _watch_drift(self, frame: Frame, inference: Inference, engine: Engine) -> None:
        """Remember how alike a frame is to what was taught."""
        # A familiarity is a rank: that of one network of a selection may stand beside that of another.
        model = engine.bundle.id if inference.network is None else self.loop.engine.bundle.id
        self.drift.add(frame.camera, model, inference.familiarity, frame.captured_ns / 1e9)

    def _drift_state(self) -> dict[str, Drift]:
        """Return what telemetry says of the drift, and let the alert follow it.

        A network as it was installed knows nothing of this camera: that its photos were others is no news.
        """
        found, strange = self.drift.state(time.monotonic(), time.time())
        taught_here = self.loop.engine.bundle.manifest.training is not None
        self.announcements.alert("drift", strange if taught_here else None)
        return found

    def _camera_changed(self, name: str, state: CameraState) -> None:
        self.announcements.camera_changed(name, state)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal, see tty(4)."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
