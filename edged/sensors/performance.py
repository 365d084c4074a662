"""What a machine is set to: power mode and clocks of a Jetson, governor and clock limits of any Linux.

Everything comes from files that every user may read; `nvpmodel -q` and `jetson_clocks --show` want root on some boards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edged.sensors import sysfs, tegra
from edged.types import Performance

_RELEASE = "etc/nv_tegra_release"
_MODE = "var/lib/nvpmodel/status"
_MODES = "etc/nvpmodel.conf"


def read_performance(root: Path = Path("/")) -> Performance:
    """Read it all once; what this machine does not tell is absent."""
    cores = list(_cores(root))
    gpu = tegra.gpu_folder(root)
    ranges = {
        "cpu": _range_mhz([(core / "scaling_min_freq", core / "scaling_max_freq") for core in cores], 1e3),
        "gpu": None if gpu is None else _range_mhz([(gpu / "min_freq", gpu / "max_freq")], 1e6),
    }
    clock = {"cpu": sysfs.cpu_clock_mhz(root), "gpu": tegra.gpu_clock_mhz(root)}
    governors = sorted({governor for core in cores if (governor := sysfs.read_text(core / "scaling_governor"))})
    return Performance(
        l4t=_l4t(root),
        nvpmodel=_nvpmodel(root),
        jetson_clocks=_jetson_clocks(root, cores, gpu),
        governor=", ".join(governors) or None,
        clock_mhz={name: mhz for name, mhz in clock.items() if mhz is not None},
        clock_range_mhz={name: limits for name, limits in ranges.items() if limits is not None},
    )


def told() -> dict[str, Any]:
    """Return what this machine tells of itself, by the names of `Performance`; what it does not tell is left out."""
    return {name: value for name, value in asdict(read_performance()).items() if value not in (None, {})}


def _l4t(root: Path) -> str | None:
    """Return NVIDIA's release, e.g. "35.4.1" of "# R35 (release), REVISION: 4.1, …"."""
    match = re.match(r"# R(\d+) \(release\), REVISION: (\d+(?:\.\d+)*)", sysfs.read_text(root / _RELEASE) or "")
    return None if match is None else f"{match[1]}.{match[2]}"


def _nvpmodel(root: Path) -> str | None:
    """Return the power mode's name as the board's configuration has it, its number where that lacks it, or None."""
    match = re.search(r"^pmode:(\d+)\b", sysfs.read_text(root / _MODE) or "", re.MULTILINE)
    if match is None:
        return None
    number = int(match[1])
    configuration = sysfs.read_text(root / _MODES) or ""
    modes = re.findall(r"^< *POWER_MODEL +ID=(\d+) +NAME=(\S+) *>", configuration, re.MULTILINE)
    return next((name for each, name in modes if int(each) == number), str(number))


def _jetson_clocks(root: Path, cores: list[Path], gpu: Path | None) -> bool | None:
    """Say whether the clocks are locked: no core and no GPU has room between its limits. None: no Jetson, or unknown.

    jetson_clocks leaves no other trace than these limits; jtop goes by them too.
    """
    if not tegra.is_tegra(root):
        return None
    pairs = [(core / "scaling_min_freq", core / "scaling_max_freq") for core in cores]
    pairs += [] if gpu is None else [(gpu / "min_freq", gpu / "max_freq")]
    limits = [(sysfs.read_int(low), sysfs.read_int(high)) for low, high in pairs]
    if not limits or any(low is None or high is None for low, high in limits):
        return None
    return all(low == high for low, high in limits)


def _cores(root: Path) -> Iterator[Path]:
    """Yield the cpufreq folder of each core that is online."""
    for folder in sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq")):
        if sysfs.read_int(folder.parent / "online") != 0:  # core 0 may have no such file: it is always on
            yield folder


def _range_mhz(pairs: list[tuple[Path, Path]], per_mhz: float) -> tuple[int, int] | None:
    """Return the lowest lower and the highest upper limit, MHz."""
    lows = [low for path, _ in pairs if (low := sysfs.read_int(path)) is not None]
    highs = [high for _, path in pairs if (high := sysfs.read_int(path)) is not None]
    return (round(min(lows) / per_mhz), round(max(highs) / per_mhz)) if lows and highs else None
