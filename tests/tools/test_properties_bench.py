"""What `benchmarks.properties` measures, on a real broker, and what was kept of it."""

from __future__ import annotations

import json

from edged.mqtt import properties
from tests.conftest import REPOSITORY
from tests.mosquitto import binary


def test_each_way_is_measured_and_the_kept_numbers_are_of_these_bytes() -> None:
    from benchmarks.properties import WAYS, measure

    binary()  # skips where there is no Mosquitto
    before = properties.of_message
    found = measure(rounds=1, block=5)
    assert properties.of_message is before
    assert {name: len(way["blocks_us"]) for name, way in found["ways"].items()} == dict.fromkeys(WAYS, 1)
    kept = json.loads((REPOSITORY / "tools" / "reports" / "properties.json").read_text())
    assert kept["result_bytes"] == found["result_bytes"]
    assert [way["bytes"] for way in kept["ways"].values()] == [1, 22, 22, 44]
    assert [way["bytes"] for way in found["ways"].values()][:3] == [1, 22, 22], "the last has edged's version in it"
