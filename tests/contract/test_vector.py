"""`configs/vector.toml`: its remap programs, run by the library that Vector runs them with, on edged's messages.

Vector itself is not run here: no package of it can be had.
"""

from __future__ import annotations

import importlib
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub

from edged.contract.messages import Result, Telemetry
from tests.conftest import REPOSITORY

pyvrl = pytest.importorskip("pyvrl", reason="needs pyVRL (tools/test --all installs it where it has wheels)")

GOLDEN = Path(__file__).with_name("golden")
TOML = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
CONFIG: dict[str, Any] = TOML.loads((REPOSITORY / "configs" / "vector.toml").read_text(encoding="utf-8"))
NOON = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def remapped(topic: str, payload: bytes) -> dict[str, Any]:
    """Return the point that comes of a message, with the names of what it goes through."""
    ((source, settings),) = [
        (name, one) for name, one in CONFIG["sources"].items() if topic_matches_sub(one["topic"], topic)
    ]
    # As its page says: what was decoded, and three fields of Vector's own.
    event = json.loads(payload) if settings["decoding"]["codec"] == "json" else {"message": payload.decode()}
    event |= {"topic": topic, "timestamp": "2026-02-01T00:00:00Z", "source_type": "mqtt"}
    (program,) = [one["source"] for one in CONFIG["transforms"].values() if one["inputs"] == [source]]
    point: dict[str, Any] = pyvrl.Transform(f"{program}\n.").remap(event)  # what is left of the event
    return point


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.json").read_bytes()


def test_all_that_is_read_is_written() -> None:
    written = [sink for sink in CONFIG["sinks"].values() if sink["type"] == "influxdb_logs"]
    assert sorted(name for sink in written for name in sink["inputs"]) == sorted(CONFIG["transforms"])
    assert all(sink["inputs"] == [sink["measurement"]] for sink in written)
    # A session that the broker keeps has a name, and no two clients share one.
    names = [source["client_id"] for source in CONFIG["sources"].values()]
    assert len(set(names)) == len(names)


def test_a_result_becomes_a_point() -> None:
    assert remapped("edged/tx2-01/result/main", golden("result")) == {
        "timestamp": NOON,
        "device": "tx2-01",
        "camera": "main",
        "model": "0123456789ab",
        "label": "tabby",
        "score": 0.81,
        "familiarity": 0.42,
        "seq": 7,
        "boot": "5f0c91ab",
        "latency_ms": 14.0,
    }


def test_regions_of_one_frame_are_told_apart_and_what_is_gone_is_no_point() -> None:
    region = json.loads(golden("result_of_a_region"))
    with pytest.raises(ValueError, match="aborted"):
        remapped("edged/tx2-01/result/main", json.dumps(region).encode())
    del region["ended"]
    assert remapped("edged/tx2-01/result/main", json.dumps(region).encode())["track"] == "3"
    assert "track" in CONFIG["sinks"]["edged_result_points"]["tags"]


def test_what_may_be_absent_of_a_result_is() -> None:
    required = {name for name, field in Result.model_fields.items() if field.is_required()} | {"v", "ts"}
    least = {name: value for name, value in json.loads(golden("result")).items() if name in required}
    least["score"] = 1  # another program may write a whole number so
    point = remapped("edged/tx2-01/result/main", json.dumps(least).encode())
    assert set(point) == {"timestamp", "device", "camera", "model", "label", "score", "seq", "latency_ms"}
    assert (type(point["score"]), type(point["seq"])) == (float, int)


def test_telemetry_keeps_its_types_and_leaves_out_what_results_tell() -> None:
    point = remapped("edged/tx2-01/telemetry", golden("telemetry"))
    told = json.loads(golden("telemetry"))
    assert {"timestamp": NOON, "device": "tx2-01", "alerts": "drift"}.items() <= point.items()
    assert set(point) == {*told, "timestamp", "device"} - {"v", "ts", "seen"}
    whole = {"frames", "dropped", "outbox"}
    assert {name: point[name] for name in whole} == {name: told[name] for name in whole}
    assert {type(point[name]) for name in whole} == {int}
    assert point["power_mw"] == told["power_mw"]
    assert point["drift"] == told["drift"]
    assert {type(value) for value in (point["fps"], *point["power_mw"].values(), *point["latency_ms"].values())} == {
        float
    }


def test_telemetry_without_sensors_is_a_point() -> None:
    point = remapped("edged/tx2-01/telemetry", golden("telemetry_without_sensors"))
    assert "power_mw" not in point
    assert {"fps", "frames", "timestamp", "device"} <= set(point)
    assert set(point) - {"timestamp", "device"} <= Telemetry.model_fields.keys()


def test_a_state_is_a_point_and_a_cleared_one_is_none() -> None:
    assert remapped("edged/tx2-01/state", b"offline") == {
        "timestamp": "2026-02-01T00:00:00Z",
        "device": "tx2-01",
        "value": "offline",
    }
    with pytest.raises(ValueError, match="aborted"):
        remapped("edged/tx2-01/state", b"")
