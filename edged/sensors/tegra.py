"""A Jetson without jtop, read from the files that NVIDIA's kernels offer to everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edged.sensors import sysfs
from edged.types import Reading

_GPU = re.compile(r"gpu|gm20b|gp10b|gv11b|ga10b|gb10b")
_GPU_LOADS = (
    "sys/devices/gpu.0/load",  # TX1, TX2, Xavier: a link to the node below
    "sys/devices/platform/gpu.0/load",  # Orin
    "sys/devices/1*.g*/load",  # TX2: 17000000.gp10b
    "sys/devices/platform/1*.g*/load",
    "sys/devices/platform/bus@0/1*.g*/load",
)
_EMC_HZ = ("sys/kernel/debug/bpmp/debug/clk/emc/rate", "sys/class/devfreq/bwmgr/cur_freq")
"""The first one, of TX2 to Orin, is readable by root only; the second one is Thor's."""


class TegraSensors:
    """Sensors of a Jetson: INA3221 rails, thermal zones, GPU load, clocks."""

    name = "tegra"
    problem: str | None = None

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._cpu_times = sysfs.cpu_times(root)

    def read(self) -> Reading:
        """Read every file once. The first CPU load covers the time since these sensors were opened."""
        cpu_times = sysfs.cpu_times(self._root)
        cpu = sysfs.cpu_load(self._cpu_times, cpu_times)
        self._cpu_times = cpu_times or self._cpu_times
        load = {"cpu": cpu, "gpu": gpu_load(self._root), "memory": sysfs.memory_load(self._root)}
        clock = {"cpu": sysfs.cpu_clock_mhz(self._root), "gpu": gpu_clock_mhz(self._root), "emc": _emc_mhz(self._root)}
        return Reading(
            power_mw=rails_mw(self._root),
            temp_c=sysfs.thermal_zones(self._root),
            load={name: fraction for name, fraction in load.items() if fraction is not None},
            clock_mhz={name: mhz for name, mhz in clock.items() if mhz is not None},
            throttled=sysfs.cooling_throttled(self._root),
        )

    def close(self) -> None:
        """Nothing is kept open."""


def is_tegra(root: Path) -> bool:
    """Say whether the device tree names a Tegra, or its integrated GPU is there."""
    compatible = sysfs.read_text(root / "sys/firmware/devicetree/base/compatible") or ""
    return "nvidia,tegra" in compatible or gpu_load(root) is not None


def rails_mw(root: Path) -> dict[str, int]:
    """Return milliwatts by rail name, e.g. {"VDD_IN": 3040}, from every INA3221 (and Thor's INA238).

    A channel that is not connected ("NC"), disabled, or on a rail without voltage is absent.
    """
    rails: dict[str, int] = {}
    for driver in sorted((root / "sys/bus/i2c/drivers").glob("ina3221*")):
        for name, milliwatts in (*_iio_rails(driver), *_hwmon_rails(driver)):
            rails[name] = milliwatts
    for power in (root / "sys/bus/i2c/drivers/ina238").glob("*/hwmon/hwmon*/power1_input"):
        if microwatts := sysfs.read_int(power):
            rails["VIN"] = round(microwatts / 1000)
    return rails


def _iio_rails(driver: Path) -> Iterator[tuple[str, int]]:
    """Read the rails of JetPack 4 and older: the driver multiplies, and numbers channels from 0."""
    for label in sorted(driver.glob("*/iio:device*/rail_name_[0-9]")):
        channel = label.name[-1]
        name = sysfs.read_text(label)
        milliwatts = sysfs.read_int(label.with_name(f"in_power{channel}_input"))
        if name and "NC" not in name and milliwatts is not None and milliwatts >= 0:
            if milliwatts == 0 and sysfs.read_int(label.with_name(f"in_voltage{channel}_input")) == 0:
                continue
            yield name, milliwatts


def _hwmon_rails(driver: Path) -> Iterator[tuple[str, int]]:
    """Read the rails of JetPack 5 and newer. Channel 7 is the sum of shunt voltages, no rail."""
    for label in sorted(driver.glob("*/hwmon/hwmon*/in[1-3]_label")):
        channel = label.name[2]
        name = sysfs.read_text(label)
        if not name or "NC" in name or sysfs.read_int(label.with_name(f"in{channel}_enable")) == 0:
            continue
        millivolts = sysfs.read_int(label.with_name(f"in{channel}_input"))
        milliamperes = sysfs.read_int(label.with_name(f"curr{channel}_input"))
        if millivolts and milliamperes is not None and milliamperes >= 0:
            yield name, round(millivolts * milliamperes / 1000)


def gpu_load(root: Path) -> float | None:
    """Return the GPU's load 0..1; the file holds per mille."""
    for pattern in _GPU_LOADS:
        for path in root.glob(pattern):
            per_mille = sysfs.read_int(path)
            if per_mille is not None and 0 <= per_mille <= 1000:
                return per_mille / 1000
    return None


def gpu_folder(root: Path) -> Path | None:
    """Return the GPU's devfreq folder."""
    folders = sorted((root / "sys/class/devfreq").glob("*"))
    return next((folder for folder in folders if _GPU.search(folder.name)), None)


def gpu_clock_mhz(root: Path) -> int | None:
    """Return the GPU's clock, MHz; devfreq holds Hz."""
    folder = gpu_folder(root)
    hertz = None if folder is None else sysfs.read_int(folder / "cur_freq")
    return round(hertz / 1e6) if hertz else None


def _emc_mhz(root: Path) -> int | None:
    hertz = next((value for path in _EMC_HZ if (value := sysfs.read_int(root / path))), None)
    return round(hertz / 1e6) if hertz else None
