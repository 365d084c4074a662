"""The thread that reads the sensors at their own pace and publishes telemetry."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edged.contract.messages import Telemetry
from edged.instance import BOOT

if TYPE_CHECKING:
    from edged.contract.messages import Drift
    from edged.daemon.statistics import Statistics
    from edged.mqtt.link import Link
    from edged.sensors import Sensors
    from edged.types import Reading

log = logging.getLogger(__name__)
_SAMPLE_S = 0.5
"""Between two readings where power is integrated."""
_LOOK_S = 5.0
"""At least so often the drift is looked at, however rare the messages are: an alert must not wait for one."""

_STALE_S = 30.0
"""What was read so long ago tells nothing of now."""


class TelemetryThread:
    """Reads, publishes, sleeps. A sensor that blocks delays telemetry, never frames.

    Args:
        sensors: Read on this thread only.
        link: Where telemetry goes.
        statistics: Rolled once per interval.
        dropped: Returns the frames dropped since the start.
        interval_s: Between two messages; may be changed at any time, and counts within seconds.
        selection: Returns `telemetry.selection` for this reading; None where one network answers alone.
        drift: Returns `telemetry.drift`, and lets the alert follow it; called for each message, and every few seconds.
        alerts: Returns the names of those that stand.
        observe: Told of a reading at the start, and of that of each message.
        sample: Told of readings between two messages, where power must be integrated; None: nobody needs them.
        often: Whether to read every few seconds, however rare the messages are, for who asks for `recent`.
    """

    def __init__(
        self,
        sensors: Sensors,
        link: Link,
        statistics: Statistics,
        *,
        dropped: Callable[[], int],
        interval_s: float,
        selection: Callable[[Reading], dict[str, Any] | None] = lambda _: None,
        drift: Callable[[], dict[str, Drift]] = dict,
        alerts: Callable[[], list[str]] = list,
        observe: Callable[[Reading], None] = lambda _: None,
        sample: Callable[[Reading], None] | None = None,
        often: bool = False,
    ) -> None:
        self._newest: Telemetry | None = None
        self._sensors = sensors
        self._link = link
        self._statistics = statistics
        self._dropped = dropped
        self.interval_s = interval_s
        self._selection = selection
        self._drift = drift
        self._alerts = alerts
        self._observe = observe
        self._sample = sample
        self._often = often
        self._reading: tuple[float, Reading] | None = None
        self._stop = threading.Event()
        # A daemon thread: a sensor service that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    @property
    def recent(self) -> Reading | None:
        """The newest reading; None: there is none yet, or the sensors have not answered for a while."""
        read_at, reading = self._reading or (-math.inf, None)
        return reading if time.monotonic() - read_at < _STALE_S else None

    def start(self) -> None:
        """Start the thread; the first message follows after one interval."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """End the thread, waiting at most `timeout_s` for a sensor that blocks."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def repeat(self) -> Telemetry | None:
        """Publish the newest message once more, and return it; None where there is none yet."""
        if (message := self._newest) is not None:
            self._link.publish("telemetry", message.encode(), qos=0)
        return message

    def _run(self) -> None:
        try:
            self._observe(self._sensors.read())
            while not self._wait():
                self._statistics.roll()
                reading = self._read()
                self._observe(reading)
                message = self._message(reading)
                self._newest = message
                self._link.publish("telemetry", message.encode(), qos=0)
        except Exception:
            log.exception("telemetry has failed; frames go on without it")
        finally:
            self._sensors.close()

    def _wait(self) -> bool:
        """Wait for one interval, sampling and looking at the drift meanwhile; say whether to stop."""
        began = looked = time.monotonic()
        step_s = _LOOK_S if self._sample is None else _SAMPLE_S
        while began + self.interval_s - time.monotonic() > step_s:
            if self._stop.wait(step_s):
                return True
            if self._sample is not None:
                self._sample(self._read())
            elif self._often:
                self._read()
            if time.monotonic() - looked >= _LOOK_S:
                looked = time.monotonic()
                self._drift()
        return self._stop.wait(max(0.0, began + self.interval_s - time.monotonic()))

    def _read(self) -> Reading:
        reading = self._sensors.read()
        self._reading = (time.monotonic(), reading)
        return reading

    def _message(self, reading: Reading) -> Telemetry:
        return Telemetry(
            power_mw=reading.power_mw or None,
            temp_c=reading.temp_c or None,
            load=reading.load or None,
            clock_mhz=reading.clock_mhz or None,
            throttled=reading.throttled,
            latency_ms=self._statistics.latency,
            fps=self._statistics.fps,
            frames=self._statistics.frames,
            dropped=self._dropped(),
            outbox=self._link.backlog,
            boot=BOOT,
            selection=self._selection(reading),
            familiarity=self._statistics.familiarity,
            seen=self._statistics.seen or None,
            drift=self._drift() or None,
            alerts=self._alerts() or None,  # after the drift, which they follow
        )
