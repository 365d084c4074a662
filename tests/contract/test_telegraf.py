"""`configs/telegraf.conf` is in step with the messages: no field was renamed, and none that may be absent is needed.

Telegraf itself is not run here: no package of it can be had.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.client import topic_matches_sub
from pydantic import BaseModel

from edged.contract.messages import Result, Telemetry
from tests.conftest import REPOSITORY

GOLDEN = Path(__file__).with_name("golden")
TOML = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
INPUTS: list[dict[str, Any]] = TOML.loads((REPOSITORY / "configs" / "telegraf.conf").read_text(encoding="utf-8"))[
    "inputs"
]["mqtt_consumer"]
MESSAGES: dict[str, tuple[type[BaseModel], str]] = {
    "edged/tx2-01/result/main": (Result, "result"),
    "edged/tx2-01/telemetry": (Telemetry, "telemetry"),
}
OF_A_REGION = json.loads((GOLDEN / "result_of_a_region.json").read_text(encoding="utf-8"))
REGIONS_ONLY = ("track", "ended")
TYPES = {"string": str, "float": (int, float), "int": int}
GO = {"2006": "%Y", "01": "%m", "02": "%d", "15": "%H", "04": "%M", "05": "%S", ".000": ".%f", "Z07:00": "%z"}
"""Go's reference time, part by part, in Python's words."""


def read_by(topic: str) -> dict[str, Any]:
    """Return the one input that subscribes to a topic."""
    (found,) = [one for one in INPUTS if any(topic_matches_sub(name, topic) for name in one["topics"])]
    return found


@pytest.mark.parametrize("topic", [*MESSAGES, "edged/tx2-01/state"])
def test_each_topic_is_read_by_one_input_and_names_its_device(topic: str) -> None:
    found = read_by(topic)
    (parsing,) = found["topic_parsing"]
    assert topic_matches_sub(parsing["topic"], topic)
    named = dict(zip(parsing["tags"].split("/"), topic.split("/"), strict=True))
    assert named["device"] == "tx2-01"
    assert named.get("camera", "main") == "main"
    # A session that the broker keeps has a name, and no two clients share one.
    if found.get("persistent_session"):
        assert (found["qos"], [one.get("client_id") for one in INPUTS].count(found["client_id"])) == (1, 1)


@pytest.mark.parametrize("topic", MESSAGES)
def test_what_is_taken_from_a_message_is_in_it(topic: str) -> None:
    model, golden = MESSAGES[topic]
    message = json.loads((GOLDEN / f"{golden}.json").read_text())
    (parser,) = read_by(topic)["json_v2"]
    if "timestamp_path" in parser:
        check_time(message[parser["timestamp_path"]], parser["timestamp_format"])
    for taken in (*parser.get("tag", []), *parser.get("field", [])):
        value: Any = OF_A_REGION if taken["path"] in REGIONS_ONLY else message
        for level in taken["path"].split("."):
            assert level in value, taken
            value = value[level]
        # A tag becomes text whatever it was.
        assert taken in parser.get("tag", []) or isinstance(value, TYPES[taken.get("type", "string")]), taken
        needed = model.model_fields[taken["path"].split(".")[0]].is_required()
        assert needed or taken.get("optional"), f"{taken} may be absent"
    for taken in parser.get("object", []):
        assert taken["path"] == "@this"
        check_time(message[taken["timestamp_key"]], taken["timestamp_format"])
        assert {*taken["excluded_keys"], *taken["fields"]} <= model.model_fields.keys()
        kept = {name: one for name, one in message.items() if name not in taken["excluded_keys"]}
        assert set(taken["fields"]) == {name for name, one in kept.items() if holds_float(one)}
    assert parser.get("field") or parser.get("object")


def test_regions_of_one_frame_are_told_apart_and_what_is_gone_is_not_counted_again() -> None:
    """A point is known by its measurement, its tags and its time, and regions of one frame have the same time."""
    found = read_by("edged/tx2-01/result/main")
    (parser,) = found["json_v2"]
    tags = {one["path"] for one in parser["tag"]}
    assert {"track", *found["tagdrop"]} <= tags
    assert {name: values for name, values in found["tagdrop"].items() if str(OF_A_REGION[name]).lower() in values} == {
        "ended": ["true"]
    }


def holds_float(value: Any) -> bool:
    """Whether a value is a number with a point in it, or has one in it."""
    return any(map(holds_float, value.values())) if isinstance(value, dict) else isinstance(value, float)


def check_time(told: str, layout: str) -> None:
    """Read a time as Telegraf would: by Go's layout."""
    pattern = re.sub("|".join(map(re.escape, GO)), lambda part: GO[part[0]], layout)
    assert datetime.strptime(told, pattern).tzinfo is not None
