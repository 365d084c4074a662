"""What a machine is set to, on made trees of JetPack 4, 5 and 6 (see README.md beside) and on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edged.sensors.performance import read_performance
from edged.types import Performance

HERE = Path(__file__).parent
TX2, ORIN, ORIN_NANO = HERE / "tx2_root", HERE / "orin_root", HERE / "orin_nano_root"


@pytest.fixture
def tx2(tmp_path: Path) -> Path:
    return Path(shutil.copytree(TX2, tmp_path / "root"))


def test_jetpack_4() -> None:
    assert read_performance(TX2) == Performance(
        l4t="32.6.1",
        nvpmodel="MAXP_CORE_ARM",
        jetson_clocks=False,
        governor="schedutil",
        clock_mhz={"cpu": 2035, "gpu": 1135},
        clock_range_mhz={"cpu": (346, 2035), "gpu": (115, 1135)},
    )


def test_jetpack_5() -> None:
    assert read_performance(ORIN) == Performance(
        l4t="35.4.1",
        nvpmodel="MODE_30W",
        jetson_clocks=False,
        governor="schedutil",
        clock_mhz={"gpu": 306},
        clock_range_mhz={"cpu": (730, 1728), "gpu": (306, 625)},
    )


def test_jetpack_6_with_its_clocks_locked() -> None:
    assert read_performance(ORIN_NANO) == Performance(
        l4t="36.4.7",
        nvpmodel="MAXN_SUPER",
        jetson_clocks=True,
        governor="schedutil",
        clock_mhz={"cpu": 1728, "gpu": 1020},
        clock_range_mhz={"cpu": (1728, 1728), "gpu": (1020, 1020)},
    )


def test_an_empty_tree_tells_nothing(tmp_path: Path) -> None:
    assert read_performance(tmp_path) == Performance()


def test_a_mode_without_a_name_is_a_number_and_a_broken_file_no_mode(tx2: Path) -> None:
    (tx2 / "etc/nvpmodel.conf").unlink()
    assert read_performance(tx2).nvpmodel == "3"
    for text in ("", "pmode:", "garbage", "0003"):
        (tx2 / "var/lib/nvpmodel/status").write_text(text)
        assert read_performance(tx2).nvpmodel is None


def test_locked_cores_alone_are_no_jetson_clocks(tx2: Path) -> None:
    for limit in tx2.glob("sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq"):
        limit.write_text("2035200")
    assert read_performance(tx2).jetson_clocks is False
    (tx2 / "sys/class/devfreq/17000000.gp10b/min_freq").write_text("1134750000")
    assert read_performance(tx2).jetson_clocks is True


def test_what_cannot_be_read_is_not_taken_for_locked(tx2: Path) -> None:
    (tx2 / "sys/class/devfreq/17000000.gp10b/min_freq").write_text("n/a")
    told = read_performance(tx2)
    assert told.jetson_clocks is None
    assert "gpu" not in told.clock_range_mhz


def test_a_core_that_is_offline_does_not_count(tx2: Path) -> None:
    (tx2 / "sys/devices/system/cpu/cpu5/online").write_text("0")
    (tx2 / "sys/devices/system/cpu/cpu5/cpufreq/scaling_governor").write_text("performance")
    assert read_performance(tx2).governor == "schedutil"
    (tx2 / "sys/devices/system/cpu/cpu5/online").write_text("1")
    assert read_performance(tx2).governor == "performance, schedutil"


def test_another_machine_has_no_jetson_clocks(tx2: Path) -> None:
    (tx2 / "sys/firmware/devicetree/base/compatible").write_text("raspberrypi,4-model-b")
    shutil.rmtree(tx2 / "sys/devices/17000000.gp10b")
    assert read_performance(tx2).jetson_clocks is None
