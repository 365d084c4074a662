"""The machine that runs the tests, and what x86 and a Raspberry Pi add."""

import os
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from edged.sensors.host import HostSensors, busy_share, mean_power_mw, rapl_energy, throttled


def test_the_load_of_the_processor_is_that_since_the_reading_before():
    times = namedtuple("times", "user system idle iowait guest")
    before = times(10.0, 5.0, 100.0, 1.0, 3.0)
    assert busy_share(before, times(12.0, 6.0, 106.0, 2.0, 5.0)) == 0.3
    assert busy_share(before, before) is None


def test_another_thread_reads_the_first_load():
    sensors = HostSensors()
    end = time.monotonic() + 60
    while busy_share(sensors._cpu, psutil.cpu_times()) in (None, 0.0):  # this loop is work
        assert time.monotonic() < end
    with ThreadPoolExecutor(1) as pool:  # as the daemon: made on one thread, read on another
        assert pool.submit(sensors.read).result().load["cpu"] > 0


def test_this_machine():
    sensors = HostSensors()
    time.sleep(0.1)  # the kernel counts in hundredths of a second
    reading = sensors.read()
    sensors.close()
    assert sensors.name == "host"
    assert 0 <= reading.load["cpu"] <= 1
    assert 0 < reading.load["memory"] < 1
    assert all(mhz > 0 for mhz in reading.clock_mhz.values())
    assert all(-100 < celsius < 200 for celsius in reading.temp_c.values())


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


@pytest.mark.parametrize(
    ("bits", "slowed"),
    [("0", False), ("50000", False), ("1", False), ("2", True), ("50005", True), ("8", True), ("?", None)],
)
def test_a_raspberry_pi_tells_whether_it_slows_down(tmp_path, bits, slowed):
    write(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", bits)
    assert throttled(tmp_path) is slowed


def test_rapl_counters_of_packages_and_their_parts(tmp_path):
    for folder, name, energy in [("intel-rapl:0", "package-0", "5000000"), ("intel-rapl:0:0", "core", "2000000")]:
        write(tmp_path / "sys/class/powercap" / folder / "name", name)
        write(tmp_path / "sys/class/powercap" / folder / "energy_uj", energy)
        write(tmp_path / "sys/class/powercap" / folder / "max_energy_range_uj", "9000000")
    assert rapl_energy(tmp_path) == {"package-0": (5000000, 9000000), "package-0/core": (2000000, 9000000)}
    sensors = HostSensors(tmp_path)
    write(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", "8000000")
    power = sensors.read().power_mw
    assert power["package-0"] > 0
    assert power["package-0/core"] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_forbidden_counters_are_absent(tmp_path):
    write(tmp_path / "sys/class/powercap/intel-rapl:0/name", "package-0")
    write(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", "1")
    (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").chmod(0)
    assert rapl_energy(tmp_path) == {}


def test_mean_power_from_two_counters():
    before, after = {"package-0": (1_000_000, 0)}, {"package-0": (4_000_000, 0), "dram": (7, 0)}
    assert mean_power_mw(before, after, 2.0) == {"package-0": 1500}
    assert mean_power_mw(before, after, 0.0) == {}


def test_a_counter_that_went_round():
    before, after = {"package-0": (9_000_000, 10_000_000)}, {"package-0": (1_000_000, 10_000_000)}
    assert mean_power_mw(before, after, 1.0) == {"package-0": 2000}
    assert mean_power_mw({"package-0": (9, 0)}, {"package-0": (1, 0)}, 1.0) == {}
