"""A snapshot in the words of Prometheus, by prometheus_client: the only file that knows this library, an extra.

Names and units follow Prometheus's conventions: seconds, bytes, watts, hertz, ratios of 0..1, counters end in `_total`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, cast

from edged.errors import ConfigError

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.registry import Collector

    from edged.metrics.snapshot import Distribution, Snapshot

_OPENMETRICS = "application/openmetrics-text"


def check_library() -> None:
    """Raise ConfigError where prometheus_client is not installed."""
    try:
        import prometheus_client  # noqa: F401 - that it can be imported is what is asked
    except ImportError as error:
        raise ConfigError(
            "metrics.listen is set, and prometheus-client is not installed: pip install 'edged[metrics]', or empty it"
        ) from error


class Exposition:
    """Writes what a scrape gets, each time of a snapshot that is taken then.

    The registry is its own: what other libraries of this process may register in the global one is not ours to tell.

    Args:
        take: Takes a snapshot; may be called on several threads at a time.

    Raises:
        ConfigError: prometheus_client is not installed.
    """

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        check_library()
        from prometheus_client import CollectorRegistry, ProcessCollector

        self._registry = CollectorRegistry()
        self._registry.register(cast("Collector", _Snapshots(take)))
        ProcessCollector(registry=self._registry)

    def encode(self, accept: str) -> tuple[bytes, str]:
        """Return what is served, and its content type.

        Args:
            accept: What the client takes, as its HTTP header says; OpenMetrics where that is named, else plain text.
        """
        from prometheus_client.exposition import choose_encoder

        encoder, content_type = choose_encoder(f"{_OPENMETRICS}; version=1.0.0" if _OPENMETRICS in accept else "")
        return encoder(self._registry), content_type


class _Snapshots:
    """A collector, as the library wants one; not derived from its class, which is there only where the library is."""

    def __init__(self, take: Callable[[], Snapshot]) -> None:
        self._take = take

    def collect(self) -> Iterable[Metric]:
        return families(self._take())

    def describe(self) -> Iterable[Metric]:
        return ()  # or the registry would collect once, before the daemon has started


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield every metric; one that has no value is left out."""
    for part in (_device, _frames, _model, _sensors, _link, _jobs):
        yield from (family for family in part(snapshot) if family.samples)


def _device(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily

    yield InfoMetricFamily("edged", "The device and the software on it.", value=dict(snapshot.about))
    yield _gauge(
        "edged_alert_active",
        "Whether the device itself raises this alert, as on its topic alert/<name>.",
        "alert",
        {name: float(stands) for name, stands in snapshot.alerts.items()},
    )
    yield _value("edged_memory_available_bytes", "Memory that edged may still take.", snapshot.memory_available)


def _frames(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    yield _gauge(
        "edged_camera_up",
        "Whether the camera gives frames; absent for a file that has ended.",
        "camera",
        {name: float(up) for name, up in snapshot.cameras.items()},
    )
    frames = CounterMetricFamily("edged_frames", "Classified frames.", labels=["camera"])
    results = CounterMetricFamily(
        "edged_results",
        "Classified frames by their answer, published or not; labels beyond a hundred are one, (other).",
        labels=["camera", "label"],
    )
    latency = HistogramMetricFamily(
        "edged_frame_latency_seconds",
        "Time that frames took: capture, detect where a detector finds regions, preprocess and invoke, and total, from "
        "the camera to the broker's queue.",
        labels=["camera", "stage"],
    )
    familiarity = HistogramMetricFamily(
        "edged_frame_familiarity_ratio",
        "Share of held-out taught images that are less like what was taught than the frame.",
        labels=["camera"],
    )
    for camera, counted in snapshot.counted.items():
        frames.add_metric([camera], counted.frames)
        for label, count in counted.labels.items():
            results.add_metric([camera, label], count)
        for stage, seconds in counted.latency.items():
            latency.add_metric([camera, stage], *_buckets(seconds))
        if counted.familiarity is not None:
            familiarity.add_metric([camera], *_buckets(counted.familiarity))
    yield from (frames, results, latency, familiarity)
    dropped = CounterMetricFamily(
        "edged_frames_dropped", "Frames that a newer one replaced before they were classified.", labels=["camera"]
    )
    for camera, count in snapshot.dropped.items():
        dropped.add_metric([camera], count)
    yield dropped
    yield _gauge(
        "edged_drift_ratio",
        "How often a held-out taught image is more familiar than the camera's frames; 0.5 where they are alike.",
        "camera",
        snapshot.drift,
    )


def _model(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import InfoMetricFamily

    model = snapshot.model
    told = {"id": model.id, "name": model.name, "backbone": model.backbone}
    yield InfoMetricFamily("edged_model", "The model that answers.", value=told)
    yield _value("edged_model_labels", "Labels that the model knows.", model.labels)
    # Without the model's id: what is compared over time must stay one series when the model changes.
    yield _value(
        "edged_model_accuracy_ratio", "Accuracy of the model on images that its training never saw.", model.accuracy
    )


def _sensors(snapshot: Snapshot) -> Iterator[Metric]:
    reading = snapshot.reading
    if reading is None:
        return
    yield _gauge("edged_temperature_celsius", "Temperature of a zone.", "zone", reading.temp_c)
    watts = {rail: milliwatts / 1e3 for rail, milliwatts in reading.power_mw.items()}
    yield _gauge("edged_power_watts", "Power of a rail; one may be part of another.", "rail", watts)
    yield _gauge("edged_load_ratio", "Share of the machine in use.", "part", reading.load)
    hertz = {part: megahertz * 1e6 for part, megahertz in reading.clock_mhz.items()}
    yield _gauge("edged_clock_hertz", "Clock.", "part", hertz)
    throttled = None if reading.throttled is None else float(reading.throttled)
    yield _value("edged_throttled", "Whether the machine slows itself down for heat or power.", throttled)


def _link(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    yield _value("edged_mqtt_connected", "Whether the MQTT broker has let the device in.", float(snapshot.connected))
    yield _value(
        "edged_outbox_messages",
        "Messages without the broker's acknowledgement, in memory and on disk.",
        snapshot.outbox,
    )
    yield _value("edged_outbox_bytes", "What these messages take.", snapshot.outbox_bytes)
    yield _value(
        "edged_outbox_limit_bytes", "What they may take: beyond it the oldest are dropped.", snapshot.outbox_limit_bytes
    )
    yield CounterMetricFamily(
        "edged_outbox_dropped_messages", "Messages dropped for that limit.", value=snapshot.outbox_dropped
    )


def _jobs(snapshot: Snapshot) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily

    ended = CounterMetricFamily("edged_jobs", "Jobs that have ended.", labels=["command", "status"])
    for (command, status), count in sorted(snapshot.jobs.items()):
        ended.add_metric([command, status], count)
    yield ended
    yield _gauge("edged_jobs_running", "Jobs that run now.", "command", snapshot.running)
    yield _gauge(
        "edged_retrain_last_timestamp_seconds",
        "When a retraining last ended with this status, since the epoch.",
        "status",
        snapshot.retrained,
    )


def _value(name: str, text: str, value: float | None) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(name, text, value=value) if value is not None else GaugeMetricFamily(name, text, labels=[])


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _buckets(values: Distribution) -> tuple[list[tuple[str, float]], float]:
    """Return Prometheus's buckets: how many values are within each bound, smaller ones included."""
    bounds = [str(bound) for bound in values.bounds] + ["+Inf"]
    return [(bound, float(count)) for bound, count in zip(bounds, accumulate(values.counts), strict=True)], values.total
