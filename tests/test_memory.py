"""Memory as the kernel tells it, read from trees that look like /proc and /sys."""

from __future__ import annotations

from pathlib import Path

import pytest

from edged import memory


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(
    ("groups", "free"),
    [
        ({"a/b": ("max", 5)}, 976562 * 1024),
        ({"a/b": (10**6, 4 * 10**5)}, 6 * 10**5),
        ({"a/b": (100, 200)}, 0),
        ({"a/b": ("max", 5), "a": (1000, 1)}, 999),
        ({"a/b": (500, 1), "a": (1000, 1), "": (20, 1)}, 19),
        ({}, 976562 * 1024),
    ],
)
def test_what_may_be_taken_is_what_is_free_or_the_groups_leave(
    tmp_path: Path, groups: dict[str, tuple[object, int]], free: int
) -> None:
    files = {
        "proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  976562 kB\n",
        "proc/self/cgroup": "1:cpu:/other\n0::/a/b\n",
    }
    for group, (limit, used) in groups.items():
        files[f"sys/fs/cgroup/{group}/memory.max"] = f"{limit}\n"
        files[f"sys/fs/cgroup/{group}/memory.current"] = f"{used}\n"
    assert memory.available_bytes(tree(tmp_path, files)) == free


@pytest.mark.parametrize(("limit", "free"), [(10**6, 6 * 10**5), (2**63 - 4096, 976562 * 1024)])
def test_a_control_group_of_version_1_has_a_limit_too(tmp_path: Path, limit: int, free: int) -> None:
    """As on JetPack 4, where no limit is a very large one."""
    files = {
        "proc/meminfo": "MemAvailable: 976562 kB\n",
        "proc/self/cgroup": "5:cpu,cpuacct:/other\n4:memory:/system.slice/edged.service\n1:name=systemd:/x\n0::/x\n",
        "sys/fs/cgroup/memory/system.slice/edged.service/memory.limit_in_bytes": f"{limit}\n",
        "sys/fs/cgroup/memory/system.slice/edged.service/memory.usage_in_bytes": f"{4 * 10**5}\n",
    }
    assert memory.available_bytes(tree(tmp_path, files)) == free


def test_without_a_control_group_what_is_free_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, {"proc/meminfo": "MemAvailable:  1000 kB\n", "proc/self/cgroup": "0::/\n"})
    assert memory.available_bytes(tmp_path) == 1_024_000
    tree(tmp_path, {"proc/meminfo": "of an old kernel"})
    monkeypatch.setattr(memory.os, "sysconf", {"SC_AVPHYS_PAGES": 7, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert memory.available_bytes(tmp_path) == 7 * 4096


def test_a_group_outside_of_the_tree_ends_the_search(tmp_path: Path) -> None:
    """As a container sees its own group, where the folder of control groups is that of the host."""
    tree(tmp_path, {"proc/meminfo": "MemAvailable:  1000 kB\n", "proc/self/cgroup": "0::/../../x\n"})
    assert memory.available_bytes(tmp_path) == 1_024_000


def test_the_peak_is_in_megabytes(tmp_path: Path) -> None:
    assert memory.peak_mb(tree(tmp_path, {"proc/self/status": "VmPeak: 1 kB\nVmHWM:\t 123456 kB\n"})) == 126.4
    assert memory.peak_mb(tmp_path / "none") == 0.0


def test_this_process_has_some() -> None:
    assert memory.available_bytes() > 0
    assert memory.peak_mb() > 10
