"""edgectl alone, as a workstation installs it: it ships what it imports, and needs no more than it says."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from tests.conftest import REPOSITORY
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import free_port
from tests.waiting import PATIENCE_S

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIB = "edgectl/lib/"
PROJECT = tomllib.loads((REPOSITORY / "edged/ctl/pyproject.toml").read_text())["project"]
DEVICE_ONLY = {"edged/mqtt/__init__.py"}
"""What these import inside functions only the daemon reaches: `open_link`."""
IMPORTED_AS = {
    "paho": "paho-mqtt",
    "pydantic": "pydantic",
    "pydantic_settings": "pydantic-settings",
    "rich": "rich",
    "shtab": "shtab",
    "nacl": "pynacl",
    "starlette": "starlette",
    "uvicorn": "uvicorn",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY / "edged" / "ctl", check=True, capture_output=True)
    return next(folder.glob("edgectl-*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, what it says it needs, and nothing else; returns its Python."""
    folder = tmp_path_factory.mktemp("workstation") / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    with ZipFile(wheel) as archive:
        archive.extractall(packages)
    for name in sorted(closure(PROJECT["dependencies"])):
        for file in distribution(name).files or ():
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(file.locate())))
    return folder / "bin" / "python"


def closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that these requirements bring."""
    found: set[str] = set()
    waiting = list(requirements)
    while waiting:
        requirement = Requirement(waiting.pop())
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in found:
            found.add(name)
            waiting += distribution(name).requires or []
    return found


def imports(source: str) -> Iterator[tuple[str, str | None]]:
    """Every (module, name) that is imported anywhere in a file, but for type checkers alone."""
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "edged imports by full names"
            yield from ((node.module or "", alias.name) for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def is_folder(module: str) -> bool:
    return (REPOSITORY / module.replace(".", "/") / "__init__.py").exists()


def test_it_ships_all_that_it_imports_and_asks_for_all_the_rest(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        files = {name.removeprefix(LIB) for name in archive.namelist() if name.startswith(LIB)}
        sources = {name: archive.read(LIB + name).decode() for name in files if name.endswith(".py")}
    modules = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in sources}
    for path in (REPOSITORY / "edged" / "ctl").rglob("*.py"):
        assert str(path.relative_to(REPOSITORY)) in files, "the whole of edged.ctl"
    extras = [each for some in PROJECT["optional-dependencies"].values() for each in some]
    asked = {Requirement(each).name for each in [*PROJECT["dependencies"], *extras]}
    missing = set()
    for name, source in sources.items():
        for module, attribute in imports(source) if name not in DEVICE_ONLY else ():
            top = module.split(".")[0]
            if top == "edged":
                inside = f"{module}.{attribute}"
                is_module = (REPOSITORY / (inside.replace(".", "/") + ".py")).exists() or is_folder(inside)
                if (inside if is_module else module) not in modules:
                    missing.add(f"{name}: {inside if is_module else module}")
            elif top not in sys.stdlib_module_names and IMPORTED_AS.get(top) not in asked:
                missing.add(f"{name}: {top}")
    assert not missing, "add it to edged/ctl/pyproject.toml"


def test_it_carries_the_pages_of_the_console(wheel: Path) -> None:
    assets = REPOSITORY / "edged" / "ctl" / "console" / "assets"
    with ZipFile(wheel) as archive:
        carried = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    files = [path for path in assets.rglob("*") if path.is_file()]
    assert assets / "uplot" / "LICENSE" in files
    for path in files:
        assert carried[f"{LIB}{path.relative_to(REPOSITORY)}"] == path.stat().st_size


def test_the_two_distributions_share_no_module(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        parser = ConfigParser()
        parser.read_string(archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode())
    beside = {name for name in names if name.endswith(".data/data/share/man/man1/edgectl.1")}
    assert len(beside) == 1
    assert {name.split("/")[0] for name in names if ".dist-info" not in name and name not in beside} == {"edgectl"}
    assert dict(parser["console_scripts"]) == {"edgectl": "edgectl:main"}


def test_what_it_needs_is_what_edged_needs_too() -> None:
    base = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert set(PROJECT["dependencies"]) <= set(base["dependencies"])
    assert PROJECT["optional-dependencies"].items() <= base["optional-dependencies"].items()
    assert PROJECT["requires-python"] == base["requires-python"]


def edgectl(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("EDGE", "PYTHON"))}
    return subprocess.run(
        [str(site), "-I", "-c", "import sys, edgectl; sys.exit(edgectl.main())", *args],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment,
    )


def test_it_runs_without_the_rest(site: Path, wheel: Path) -> None:
    heavy = ("cv2", "numpy", "ai_edge_litert", "psutil", "edged")
    tried = f"from importlib.util import find_spec; print([name for name in {heavy} if find_spec(name)])"
    found = subprocess.run([str(site), "-I", "-c", tried], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    done = edgectl(site, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "retrain" in done.stdout
    assert edgectl(site, "--version").stdout == f"edgectl {wheel.name.split('-')[1]}\n"
    done = edgectl(site, "--broker", f"mqtt://127.0.0.1:{free_port()}", "status")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("\n") == 1


def test_it_talks_to_a_device(site: Path, broker_port: int, tmp_path: Path) -> None:
    broker = ("--broker", f"mqtt://127.0.0.1:{broker_port}", "--timeout", f"{PATIENCE_S:g}")
    with ScriptedDevice(broker_port) as device:
        done = edgectl(site, *broker, "status", "--json")
        assert done.returncode == 0, done.stderr
        (line,) = done.stdout.splitlines()
        assert json.loads(line)["device"] == device.id
        photo = tmp_path / "now.jpg"
        done = edgectl(site, *broker, "--device", device.id, "snapshot", "--output", str(photo))
        assert done.returncode == 0, done.stderr
        assert photo.read_bytes().startswith(b"\xff\xd8\xff")


def test_every_module_can_be_imported(site: Path) -> None:
    code = """
import importlib, pathlib, pkgutil, sys, edgectl
sys.path.insert(0, str(pathlib.Path(edgectl.__file__).with_name("lib")))
import edged
names = [module.name for module in pkgutil.walk_packages(edged.__path__, "edged.") if "__main__" not in module.name]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    done = subprocess.run([str(site), "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_learning_together_says_that_it_needs_the_whole_of_edged(site: Path, tmp_path: Path) -> None:
    code = """
import pathlib, sys, edgectl
sys.path.insert(0, str(pathlib.Path(edgectl.__file__).with_name("lib")))
from edged.contract.reports import Bottlenecks
from edged.ctl.together import Answer, train
told = Bottlenecks(sha256=64 * "0", bytes=3, images=1, backbone="a", backbone_sha256=64 * "a")
train({"line-1": Answer(told, b"abc")}, {}, "together", "run", lambda *_, **__: None)
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [str(site), "-I", "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=environment | {"XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert "ConfigError: learn: the head is trained on this workstation" in done.stderr
    assert "pip install edged" in done.stderr
