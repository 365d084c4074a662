"""jtop's properties in several versions. The 4.3 and 7.2 TX2 files came out of those releases' own reading code."""

import json
from pathlib import Path

import pytest

from edged.sensors.jtop_data import parse
from edged.types import Reading


def recorded(name: str) -> dict:
    return json.loads((Path(__file__).parent / f"jtop_{name}.json").read_text())


@pytest.mark.parametrize("version", ["4_3", "7_2"])
def test_a_tx2(version):
    reading = parse(recorded(f"{version}_tx2"), throttled=False)
    assert reading.power_mw == {
        "VDD_IN": 3032,
        "VDD_MUX": 3050,
        "VDD_5V0_IO_SYS": 0,
        "VDD_SYS_CPU": 381,
        "VDD_SYS_DDR": 971,
        "VDD_SYS_GPU": 228,
        "VDD_SYS_SOC": 763,
    }
    assert reading.temp_c == {"PLL": 41.5, "Tboard": 37.0, "thermal": 40.8, "BCPU": 41.5, "MCPU": 41.5, "GPU": 39.5}
    assert reading.load["gpu"] == 0.437
    assert reading.load["memory"] == 0.25
    assert 0 <= reading.load["cpu"] <= 1
    assert reading.clock_mhz == {"cpu": 1613, "gpu": 1135, "emc": 1600}
    assert reading.throttled is False


def test_four_zero_has_pairs_and_flat_fields():
    reading = parse(recorded("4_0_tx2"))
    assert reading.power_mw == {"TOT": 3032, "SYS GPU": 228, "SYS CPU": 381}
    assert reading.temp_c == {"BCPU": 41.5, "GPU": 39.5}
    assert reading.load == {"cpu": 0.2, "gpu": 0.44, "memory": 0.25}
    assert reading.clock_mhz == {"cpu": 2035, "gpu": 1134, "emc": 1600}


def test_offline_sensors_and_unknown_clocks_are_absent():
    reading = parse(recorded("4_2_xavier"))
    assert reading.power_mw == {"CPU": 762, "GPU": 0, "TOT": 762}
    assert reading.temp_c == {"CPU": 46.0}
    assert reading.load == {"cpu": 0.25, "gpu": 0.25, "memory": 0.25}
    assert reading.clock_mhz == {"cpu": 1190, "gpu": 676}


def test_thor_counts_its_gpu_clock_in_megahertz():
    reading = parse(recorded("7_2_thor"))
    assert reading.power_mw == {"VDD_GPU": 9561, "VIN": 29850}
    assert reading.clock_mhz == {"cpu": 2601, "gpu": 1575}


@pytest.mark.parametrize(
    ("stats", "power"),
    [
        ({"Power TOT": 3032, "Power VDD_SYS_CPU": 381}, {"TOT": 3032, "VDD_SYS_CPU": 381}),
        ({"power cur": 3032, "power avg": 3040}, {"TOT": 3032}),
        ({"Power VDD_IN": 3032}, {"VDD_IN": 3032}),
        ({"Power TOT": None}, {}),
    ],
)
def test_flat_stats_are_the_last_resort(stats, power):
    reading = parse({"stats": {**stats, "CPU1": 10, "CPU2": "OFF", "GPU": 50, "Temp CPU": 40.0, "Temp GPU": -256.0}})
    assert reading.power_mw == power
    assert reading.temp_c == {"CPU": 40.0}
    assert reading.load == {"cpu": 0.1, "gpu": 0.5}


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"power": {}, "temperature": {}, "cpu": {}, "gpu": {}, "memory": {}},
        {"power": None, "temperature": [], "cpu": "OFF", "gpu": {"gv11b": None}, "memory": {"RAM": 3}},
        {"power": {"rail": {"CPU": 3}, "tot": {"power": 0}}, "cpu": {"cpu": [None, {}]}, "memory": {"RAM": {"tot": 0}}},
        {
            "gpu": {"gv11b": {"status": {"load": float("nan")}, "freq": {"cur": 0}}},
            "temperature": {"CPU": float("inf")},
        },
    ],
)
def test_what_is_missing_is_absent(properties):
    assert parse(properties) == Reading()
