"""A snapshot under the names that Prometheus sees: its own tool finds no fault, and what is unknown is absent."""

from __future__ import annotations

import pytest

from tests.metrics.snapshots import bare, full, page, samples
from tests.prometheus import promtool

pytest.importorskip("prometheus_client", reason="needs prometheus-client (pip install prometheus-client)")


def test_what_is_known_is_told_in_the_units_of_prometheus() -> None:
    told = samples(page(full()))
    wanted = {
        'edged_info{device="tx2-01",runtime="litert",sensors="jtop",version="1"}': 1,
        'edged_alert_active{alert="drift"}': 1,
        "edged_memory_available_bytes": 1e9,
        'edged_camera_up{camera="main"}': 1,
        'edged_camera_up{camera="door"}': 0,
        'edged_frames_total{camera="main"}': 1,
        'edged_results_total{camera="main",label="tabby"}': 1,
        'edged_frames_dropped_total{camera="main"}': 3,
        'edged_drift_ratio{camera="main"}': 0.75,
        'edged_model_info{backbone="mobilenet_v2",id="0123456789ab",name="mobilenet_v2"}': 1,
        "edged_model_labels": 5,
        "edged_model_accuracy_ratio": 0.9,
        'edged_temperature_celsius{zone="CPU"}': 51.5,
        'edged_power_watts{rail="VDD_IN"}': 4.321,
        'edged_load_ratio{part="gpu"}': 0.5,
        'edged_clock_hertz{part="gpu"}': 1.3e9,
        "edged_throttled": 0,
        "edged_mqtt_connected": 1,
        "edged_outbox_messages": 2,
        "edged_outbox_bytes": 1000,
        "edged_outbox_limit_bytes": 64e6,
        "edged_outbox_dropped_messages_total": 0,
        'edged_jobs_total{command="retrain",status="succeeded"}': 1,
        'edged_jobs_running{command="profile"}': 1,
        'edged_retrain_last_timestamp_seconds{status="succeeded"}': 1767312000,
        'edged_frame_latency_seconds_count{camera="main",stage="total"}': 1,
        'edged_frame_familiarity_ratio_count{camera="main"}': 1,
    }
    assert {name: told.get(name) for name in wanted} == wanted


def test_buckets_count_all_that_is_within_their_bound() -> None:
    told = samples(page(full()))
    stage = 'edged_frame_latency_seconds_bucket{camera="main",le="%s",stage="total"}'
    counts = [told[stage % bound] for bound in ("0.001", "0.002", "0.005", "0.01", "0.02", "0.05", "+Inf")]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 1)


def test_what_cannot_be_read_is_absent() -> None:
    text = page(bare())
    for name in ("temperature", "power", "load", "clock", "throttled", "accuracy", "familiarity", "latency", "drift"):
        assert f"edged_{name}" not in text.replace("edged_model_accuracy", "edged_accuracy")
    assert "edged_frames" not in text
    assert samples(text)["edged_mqtt_connected"] == 0


@pytest.mark.parametrize("snapshot", [full, bare])
def test_promtool_finds_no_fault(snapshot: object) -> None:
    assert callable(snapshot)
    assert promtool("check", "metrics", stdin=page(snapshot()).encode()) == (0, "")


def test_openmetrics_is_told_to_who_asks_for_it() -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    text = page(full(), "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")
    kinds = {family.name: family.type for family in text_string_to_metric_families(text)}
    assert kinds["edged"] == "info"
    assert kinds["edged_frames"] == "counter"
    assert kinds["edged_frame_latency_seconds"] == "histogram"
    plain = samples(page(full()))
    assert plain.keys() - {name for name in plain if name.startswith("process_")} <= samples(text).keys()


def test_what_others_register_globally_is_not_ours() -> None:
    from prometheus_client import REGISTRY, Gauge

    gauge = Gauge("of_somebody_else", "Not ours.")
    try:
        assert "of_somebody_else" not in page(full())
    finally:
        REGISTRY.unregister(gauge)
