"""What the project is made of when it is cloned or installed."""

import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDERS = {"edged", "systemd", "configs", "models", "tests", "tools"}
FILES = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}


def tracked_files() -> list[Path]:
    """Every file that git has, relative to the repository."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    # safe.directory: a checkout may belong to another user than the one who tests it.
    git = ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z"]
    try:
        listing = subprocess.run(git, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        pytest.skip("needs git")
    return [Path(name) for name in listing.split("\0") if name]


def files_under(folder: str) -> list[Path]:
    """Every file in a folder of the repository, relative to the repository."""
    files = [path for path in (REPOSITORY / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return [path.relative_to(REPOSITORY) for path in files]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    return next(folder.glob("edged-*.whl"))


def test_wheel_carries_every_shipped_file(wheel: Path) -> None:
    shipped = [path for folder in ("models", "configs") for path in files_under(folder)]

    with ZipFile(wheel) as archive:
        contents = {name: archive.getinfo(name).file_size for name in archive.namelist()}

    assert shipped
    for path in shipped:
        assert contents.get(f"edged/shipped/{path}") == (REPOSITORY / path).stat().st_size, path


def test_wheel_carries_the_package_and_nothing_beside_it(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = archive.namelist()

    modules = {str(path) for path in files_under("edged") if path.suffix == ".py"}
    assert modules <= set(names)
    assert "edged/py.typed" in names
    assert {name.split("/")[0].split("-")[0] for name in names} == {"edged"}


def test_wheel_carries_manual_pages_where_man_looks(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith((".1", ".5"))]
        pages = {name.partition(".data/data/")[2]: archive.read(name) for name in names}

    assert pages == {
        "share/man/man1/edged.1": (REPOSITORY / "edged/cli/edged.1").read_bytes(),
        "share/man/man1/edgectl.1": (REPOSITORY / "edged/ctl/edgectl.1").read_bytes(),
        "share/man/man5/edged.toml.5": (REPOSITORY / "edged/edged.toml.5").read_bytes(),
    }


def test_wheel_installs_both_commands(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        entry_points = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
        parser = ConfigParser()
        parser.read_string(archive.read(entry_points).decode())

    assert dict(parser["console_scripts"]) == {"edged": "edged.cli:main", "edgectl": "edged.ctl:main"}


def test_installed_package_finds_its_shipped_files(wheel: Path, tmp_path: Path) -> None:
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)

    code = "from edged.resources import shipped; print(shipped('models'), shipped('configs'), sep='\\n')"
    # -I: neither the checkout nor the caller's environment is on the path, as after a plain `pip install`.
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
    result = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    folders = [tmp_path / "edged/shipped/models", tmp_path / "edged/shipped/configs"]
    assert result.stdout.splitlines() == [str(folder) for folder in folders]
    assert all(folder.is_dir() for folder in folders)


def test_top_level_is_as_laid_out() -> None:
    top = {(path.parts[0], len(path.parts) > 1) for path in tracked_files() if not path.parts[0].startswith(".")}

    assert {name for name, is_folder in top if is_folder} == FOLDERS
    assert {name for name, is_folder in top if not is_folder} == FILES


def test_no_file_names_a_machine_or_a_package_host() -> None:
    # Assembled, so that this file is not its own finding.
    hosts = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.org", "PIP_" + "INDEX_URL", "--extra-" + "index-url"]
    folders = ["/wo" + "rk/", "/ro" + "ot/", "/opt/" + "pypi", "/ho" + r"me/(?!pi\b|user\b|edged\b)\w"]
    forbidden = re.compile("|".join([*map(re.escape, hosts), *folders]))

    found = []
    for path in tracked_files():
        content = (REPOSITORY / path).read_bytes() if (REPOSITORY / path).is_file() else b"\0"
        if b"\0" in content:
            continue  # an image or a network
        for number, line in enumerate(content.decode().splitlines(), 1):
            if match := forbidden.search(line):
                found.append(f"{path}:{number}: {match[0]}")

    assert not found


def pins_in(*names: str) -> list[Requirement]:
    """What files of pins pin, for every machine."""
    lines = [
        line.removesuffix("\\")
        for name in names
        for line in (REPOSITORY / "tools" / name).read_text().splitlines()
        if line and line[0] not in " #"
    ]
    return [Requirement(line) for line in lines]


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-jetpack4.txt", "constraints-jetpack5.txt"])
def test_every_dependency_is_pinned_within_its_range(name: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["demo"], *extras["test"], *extras["lint"]]
    pins = [pin for pin in pins_in(name, "constraints-test.txt") if pin.marker is None or pin.marker.evaluate()]
    versions = {pin.name: next(iter(pin.specifier)).version for pin in pins}

    twice = {(pin.name, versions[pin.name]) for pin in pins if not pin.specifier.contains(versions[pin.name])}
    assert not twice, "a name is pinned to two versions for this machine"
    for requirement in map(Requirement, asked):
        if requirement.name == "ai-edge-litert" and name != "constraints.txt":
            continue  # chosen by the file's name; the markers go by this machine's kernel
        if requirement.marker is None or requirement.marker.evaluate():
            assert requirement.specifier.contains(versions[requirement.name]), requirement


def test_the_pins_of_a_jetson_differ_in_litert_alone() -> None:
    everywhere = {str(pin) for pin in pins_in("constraints.txt")}
    newer = {str(pin) for pin in pins_in("constraints-jetpack5.txt")} - everywhere
    older = {str(pin) for pin in pins_in("constraints-jetpack4.txt")} - everywhere

    assert older == set()
    assert newer == {"ai-edge-litert==2.1.0"}
    assert not [pin for pin in pins_in("constraints-jetpack4.txt") if pin.name == "ai-edge-litert"]


@pytest.mark.parametrize(
    ("release", "python", "wanted"),
    [
        ("4.9.337-tegra", "3.10", None),
        ("4.9.253-tegra", "3.11", None),
        ("4.9.337-tegra", "3.12", ">=2.1"),  # in a container: tflite-runtime has no wheels for it
        ("5.10.216-tegra", "3.10", "<2.1.1,>=2.1"),
        ("5.10.65-tegra", "3.12", "<2.1.1,>=2.1"),
        ("5.15.148-tegra", "3.10", ">=2.1"),
        ("6.8.12-tegra", "3.12", ">=2.1"),
        ("5.10.0-35-arm64", "3.11", ">=2.1"),
        ("4.9.0-19-amd64", "3.10", ">=2.1"),
        ("6.12.25+rpt-rpi-v8", "3.11", ">=2.1"),
    ],
)
def test_the_kernel_s_release_decides_which_litert_a_jetson_gets(release: str, python: str, wanted: str | None) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    environment = {"platform_release": release, "python_version": python, "python_full_version": f"{python}.0"}
    found = [
        str(requirement.specifier)
        for requirement in map(Requirement, project["dependencies"])
        if requirement.name == "ai-edge-litert"
        and requirement.marker is not None
        and requirement.marker.evaluate(environment)
    ]

    assert found == ([] if wanted is None else [wanted])


@pytest.mark.parametrize(
    "name", ["constraints.txt", "constraints-jetpack4.txt", "constraints-jetpack5.txt", "constraints-test.txt"]
)
def test_pins_are_names_versions_and_hashes(name: str) -> None:
    text = (REPOSITORY / "tools" / name).read_text()

    pinned = r"[a-z0-9-]+==[\w.]+(?: ; [^\\/]+)? \\(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+\n"
    assert re.fullmatch(rf"(?:#.*\n)+(?:{pinned})+", text)
