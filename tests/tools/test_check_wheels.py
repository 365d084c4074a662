"""What a wheel's libraries ask of the system: read from real ones, and held against systems that have too little."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytest.importorskip("elftools", reason="needs pyelftools, which tools/test installs")


@pytest.fixture
def tool() -> ModuleType:
    import check_wheels

    return check_wheels


@pytest.fixture
def library() -> Path:
    """A library that asks for versions of glibc's, libstdc++'s and the C++ ABI's symbols: LiteRT's main one."""
    spec = importlib.util.find_spec("ai_edge_litert")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "libpywrap_litert_common.so"


def wheel_of(folder: Path, files: dict[str, Path]) -> Path:
    wheel = folder / "some-1.0-py3-none-any.whl"
    with ZipFile(wheel, "w") as archive:
        archive.writestr("some/__init__.py", "")
        for name, file in files.items():
            archive.write(file, name)
    return wheel


def test_a_wheel_that_asks_for_more_than_there_is_is_refused(tool: ModuleType, library: Path, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, {"some/native.so": library})
    tool.require_loadable([wheel], tool.TARGETS["debian12"])

    old = tool.System(glibc=(2, 5), glibcxx=(3, 4, 9), cxxabi=(1, 3, 1))
    with pytest.raises(tool.UnresolvedError) as refused:
        tool.require_loadable([wheel], tool.TARGETS["debian12"]._replace(system=old))
    text = str(refused.value)
    assert "some-1.0-py3-none-any.whl: some/native.so needs GLIBC_2." in text
    assert "some/native.so needs GLIBCXX_3.4." in text
    assert "of libstdc++.so.6" in text


def test_each_of_glibc_and_libstdcxx_is_looked_at(tool: ModuleType, library: Path, tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, {"some/native.so": library})
    enough = tool.DEBIAN_13
    for system, family in [
        (enough._replace(glibc=(2, 5)), "GLIBC"),
        (enough._replace(glibcxx=(3, 4, 1)), "GLIBCXX"),
        (enough._replace(cxxabi=(1, 2)), "CXXABI"),
    ]:
        assert {need.version.family for need in tool.unmet(wheel, system)} == {family}
    assert tool.unmet(wheel, enough) == []


def test_a_library_that_the_wheel_brings_itself_is_asked_of_nobody(
    tool: ModuleType, library: Path, tmp_path: Path
) -> None:
    wheel = wheel_of(tmp_path, {"some/native.so": library, "some.libs/libstdc++.so.6": library})
    old = tool.System(glibc=(2, 5), glibcxx=(3, 4, 1), cxxabi=(1, 2))
    assert {need.of for need in tool.unmet(wheel, old)} & {"libstdc++.so.6"} == set()
    assert any(need.version.family == "GLIBC" for need in tool.unmet(wheel, old))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("GLIBC_2.34", (2, 34)),
        ("GLIBC_2.2.5", (2, 2, 5)),
        ("GLIBCXX_3.4.30", (3, 4, 30)),
        ("GLIBC_ABI_DT_RELR", (2, 36)),
        ("GLIBC_PRIVATE", None),
        ("OPENSSL_3.0.0", None),
    ],
)
def test_versions_are_numbers(tool: ModuleType, name: str, number: tuple[int, ...] | None) -> None:
    from wheel_needs import Version

    version = Version.parse(name)
    assert (None if version is None else version.number) == number


def test_2_4_is_older_than_2_34(tool: ModuleType) -> None:
    from wheel_needs import Version

    assert tool.UBUNTU_18.has(Version("GLIBC", (2, 4)))
    assert tool.UBUNTU_18.has(Version("GLIBC", (2, 27)))
    assert not tool.UBUNTU_18.has(Version("GLIBC", (2, 28)))


def test_a_jetson_s_markers_are_evaluated_for_it(tool: ModuleType) -> None:
    """JetPack 4 is asked for no LiteRT, whatever kernel this machine has."""
    project = tool.tomllib.loads((tool.ROOT / "pyproject.toml").read_text())["project"]
    base = [*map(tool.Requirement, project["dependencies"])]
    wanted = {
        name: [str(need.specifier) for need in base if need.name == "ai-edge-litert" and target.wants(need.marker)]
        for name, target in tool.TARGETS.items()
    }
    assert wanted.pop("jetpack4") == []
    assert wanted.pop("jetpack5") == ["<2.1.1,>=2.1"]
    assert set(map(tuple, wanted.values())) == {(">=2.1",)}
    assert tool.pins_for(tool.TARGETS["jetpack5"])["ai-edge-litert"] == "==2.1.0"


def test_the_table_of_platforms_is_that_of_the_targets_and_their_pins(tool: ModuleType) -> None:
    """What was resolved when the report was made is still what is pinned; and of nothing else anything is claimed."""
    found = json.loads((tool.ROOT / "tools" / "reports" / "wheels.json").read_text(encoding="utf-8"))
    assert list(found) == list(tool.TARGETS)
    for name, target in tool.TARGETS.items():
        one = found[name]
        assert {key: one[key] for key in target.facts} == target.facts
        pins = tool.pins_for(target)
        assert {wheel: f"=={version}" for wheel, version in one["pinned"].items()} == {
            wheel: pins[wheel] for wheel in one["pinned"]
        }, f"tools/{target.pins} has changed: run tools/check_wheels all --into tools/reports/wheels.json"
        assert {"ai-edge-litert", "tflite-runtime"} & one["pinned"].keys()
