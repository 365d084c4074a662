"""How much memory this process has taken and may still take, as the kernel tells it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path


def available_bytes(root: Path = Path("/")) -> int:
    """Return what this process may still take: MemAvailable, or less where a control group says so.

    Args:
        root: Where /proc and /sys lie.
    """
    return min([_free(root), *_group_free(root)])


def peak_mb(root: Path = Path("/")) -> float:
    """Return the most memory that this process has had resident, megabytes (10^6 bytes): VmHWM of /proc."""
    found = re.search(r"VmHWM:\s+(\d+) kB", _read(root / "proc/self/status"))
    return round(int(found[1]) * 1024 / 1e6, 1) if found else 0.0


def _free(root: Path) -> int:
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read(root / "proc/meminfo"))
    return int(found[1]) * 1024 if found else os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _group_free(root: Path) -> Iterator[int]:
    """Yield what the control group leaves, and each one that it is in, where it has a limit; of version 2 or 1."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:
            yield from _limits(root / "sys/fs/cgroup", name, "memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", name, "memory.limit_in_bytes", "memory.usage_in_bytes")


def _limits(groups: Path, name: str, limit_file: str, used_file: str) -> Iterator[int]:
    group = groups / name.strip().lstrip("/")
    while True:
        limit, used = _read(group / limit_file).strip(), _read(group / used_file).strip()
        if limit.isdigit() and used.isdigit():
            yield max(0, int(limit) - int(used))
        if group == groups or groups not in group.parents:
            return
        group = group.parent


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
