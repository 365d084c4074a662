"""One inference end to end: a camera's frame, prepared, classified, and acknowledged by the broker."""

from __future__ import annotations

import itertools
import queue
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from edged import tracing
from edged.camera import open_source
from edged.contract.messages import Result, ResultLatency, Score
from edged.contract.reports import EndToEnd
from edged.errors import CameraError
from edged.mqtt.broker import brokers
from edged.mqtt.events import Acknowledged, Closed, Event
from edged.mqtt.session import open_session
from edged.settings import CameraSettings
from edged.vision.network import Network

if TYPE_CHECKING:
    from edged.settings import MqttSettings

FRAMES = 30
_WARM = 2
_ANSWER_S = 5.0


class Publisher:
    """Publishes one message after another and waits for each PUBACK.

    Args:
        settings: `[mqtt]`.
        device: Whose name the topic begins with.

    Raises:
        ConfigError: A file or value of `[mqtt]` cannot be used.

    Attributes:
        error: Why there is no broker; None: it let us in.
    """

    def __init__(self, settings: MqttSettings, device: str) -> None:
        self._topic = f"{settings.prefix}/{device}-profile"  # a level of its own: nobody takes it for a live result
        self._session = open_session(
            brokers(settings), purpose="profile", will_topic=f"{self._topic}/state", timeout_s=_ANSWER_S
        )
        self.error = self._session.error

    def publish(self, result: Result) -> float | None:
        """Publish and wait; return milliseconds, None where there is no broker (any more)."""
        if self.error is not None:
            return None
        begin = time.monotonic_ns()
        self._session.connection.publish(f"{self._topic}/result/{result.camera}", result.encode(), qos=1, retain=False)
        if not isinstance(self._wait(Acknowledged, Closed), Acknowledged):
            self.error = "the broker did not acknowledge a message"
            return None
        end = time.monotonic_ns()
        if tracing.active is not None:
            tracing.active.overlapping("mqtt", "result", begin, end, seq=result.seq)
        return (end - begin) / 1e6

    def close(self) -> None:
        """Disconnect."""
        self._session.close()

    def _wait(self, *kinds: type[Event]) -> Event | None:
        deadline = time.monotonic() + _ANSWER_S
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._session.events.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(event, kinds):
                return event
        return None


def profile_end_to_end(
    network: Network, source: str, mqtt: MqttSettings | None, *, device: str, frames: int = FRAMES
) -> EndToEnd:
    """Take frames through the whole way, one at a time.

    Args:
        network: Ready to run.
        source: A camera, clip or folder, written as `cameras.NAME.source` in the configuration.
        mqtt: The broker; None: leave publishing out.
        device: Name of the device, with which the topic begins.
        frames: How many frames are measured; medians are reported.

    Returns:
        Medians of each step; without a broker, `publish_ms` is None and `note` says why.

    Raises:
        CameraError: The source cannot be opened or read.
        ConfigError: A file or value of `[mqtt]` cannot be used.
    """
    camera = open_source("profile", CameraSettings(source=source))
    publisher = None if mqtt is None else Publisher(mqtt, device)
    times: list[list[float]] = []
    acknowledged: list[float] = []
    try:
        for seq in range(_WARM + frames):
            marks = [time.monotonic_ns()]
            if (image := camera.read()) is None:
                raise CameraError(f"{source}: has no frame")
            marks.append(time.monotonic_ns())
            prepared = network.prepare(image)
            marks.append(time.monotonic_ns())
            inference = network.infer(prepared)
            marks.append(time.monotonic_ns())
            _trace(marks, seq)
            steps = [(after - before) / 1e6 for before, after in itertools.pairwise(marks)]
            publish_ms = None if publisher is None else publisher.publish(_result(seq, inference.scores, steps))
            if seq >= _WARM:
                times.append(steps)
                acknowledged += [] if publish_ms is None else [publish_ms]
    finally:
        camera.close()
        if publisher is not None:
            publisher.close()
    capture, preprocess, invoke = (float(value) for value in np.median(np.asarray(times), axis=0))
    published = float(np.median(acknowledged)) if acknowledged else None
    reason = publisher.error if publisher is not None else "no broker was asked for"
    note = {} if published is not None else {"note": f"without publishing: {reason}"}
    return EndToEnd(
        frames=len(times),
        source=source,
        capture_ms=round(capture, 3),
        preprocess_ms=round(preprocess, 3),
        invoke_ms=round(invoke, 3),
        publish_ms=None if published is None else round(published, 3),
        total_ms=round(capture + preprocess + invoke + (published or 0.0), 3),
        **note,
    )


def _result(seq: int, scores: Any, steps: list[float]) -> Result:
    best = int(scores.argmax())
    score = Score(label=str(best), score=round(float(scores[best]), 4))
    capture, preprocess, invoke = steps
    return Result(
        seq=seq,
        camera="profile",
        model="profile",
        label=score.label,
        score=score.score,
        top=[score],
        latency_ms=ResultLatency(capture=capture, preprocess=preprocess, invoke=invoke, total=sum(steps)),
    )


def _trace(marks: list[int], seq: int) -> None:
    if tracing.active is not None:
        for track, begin, end in zip(("capture", "prepare", "invoke"), marks, marks[1:], strict=False):
            tracing.active.span(track, track, begin, end, seq=seq)
