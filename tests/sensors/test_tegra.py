"""Tegra sysfs, on a checked-in tree as a TX2 (JetPack 4) and an Orin (JetPack 5) show it."""

import shutil
from pathlib import Path

import pytest

from edged.sensors import open_sensors
from edged.sensors.host import HostSensors
from edged.sensors.tegra import TegraSensors, gpu_load, is_tegra, rails_mw

TX2 = Path(__file__).parent / "tx2_root"
ORIN = Path(__file__).parent / "orin_root"


@pytest.fixture
def tx2(tmp_path):
    return Path(shutil.copytree(TX2, tmp_path / "root"))


def test_a_tx2_is_read_through_its_sysfs():
    sensors = open_sensors(TX2)
    assert sensors.name == "tegra"
    reading = sensors.read()
    sensors.close()
    assert reading.power_mw["VDD_IN"] == 3032
    assert reading.temp_c["GPU"] == 39.5
    assert reading.load["gpu"] == 0.437
    assert reading.load["memory"] == pytest.approx(0.25, abs=0.001)
    assert reading.clock_mhz == {"cpu": 2035, "gpu": 1135}  # emc is root's alone
    assert reading.throttled is False  # a running fan is no throttling


def test_rails_that_measure_nothing_are_absent():
    assert rails_mw(TX2) == {
        "VDD_SYS_GPU": 228,
        "VDD_SYS_SOC": 763,
        "VDD_IN": 3032,
        "VDD_SYS_CPU": 381,
        "VDD_SYS_DDR": 971,
        "VDD_MUX": 3050,
        "VDD_5V0_IO_SYS": 0,  # under voltage, drawing nothing: a true zero
        "VDD_1V8_IO": 134,
    }


def test_the_pmic_and_offline_zones_are_absent():
    assert set(TegraSensors(TX2).read().temp_c) == {"BCPU", "MCPU", "GPU", "PLL", "Tboard", "thermal-fan-est"}


def test_newer_kernels_give_millivolts_and_milliamperes():
    reading = TegraSensors(ORIN).read()
    assert reading.power_mw == {"VDD_GPU_SOC": 7661, "VDD_CPU_CV": 1533}
    assert reading.temp_c == {"cpu": 49.19}
    assert reading.load == {"gpu": 0.0}
    assert reading.clock_mhz == {"gpu": 306}
    assert reading.throttled is True


def test_cpu_load_covers_the_time_between_two_readings(tx2):
    sensors = TegraSensors(tx2)
    (tx2 / "proc/stat").write_text("cpu  1030 0 500 8060 510 0 0 0 0 0\n")
    assert sensors.read().load["cpu"] == 0.3
    assert "cpu" not in sensors.read().load  # no time has passed


@pytest.mark.parametrize("content", ["", "n/a", "-256000", "4294967295000", "0xffff"])
def test_a_broken_zone_is_absent(tx2, content):
    (tx2 / "sys/class/thermal/thermal_zone2/temp").write_text(content)
    assert "GPU" not in TegraSensors(tx2).read().temp_c


@pytest.mark.parametrize("content", ["", "65535", "-1"])
def test_a_broken_gpu_load_is_absent(tx2, content):
    (tx2 / "sys/devices/17000000.gp10b/load").write_text(content)
    assert gpu_load(tx2) is None
    assert is_tegra(tx2)  # the device tree still says so


def test_two_zones_of_one_type_are_both_kept(tx2):
    (tx2 / "sys/class/thermal/thermal_zone3/type").write_text("GPU-therm")
    assert {"GPU", "GPU3"} <= set(TegraSensors(tx2).read().temp_c)


def test_an_empty_tree_has_no_tegra(tmp_path):
    assert not is_tegra(tmp_path)
    assert isinstance(open_sensors(tmp_path), HostSensors)
    reading = TegraSensors(tmp_path).read()
    assert (reading.power_mw, reading.load, reading.throttled) == ({}, {}, None)
