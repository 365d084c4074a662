"""Fixtures that every room's tests share."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.clips import Clip, make_clip
from tests.mosquitto import Mosquitto
from tests.pinned import Pins

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
"""Real photos, clips and networks that the project uses but does not contain; a fresh clone has none of it."""
HAS_SHARED_DATA = SHARED_DATA.is_dir()
MADE_AND_REAL = ("made", "real") if HAS_SHARED_DATA else ("made",)
"""What a test runs on that can run on both; it is not skipped where there is no real data."""

# Hypothesis takes an example of more than 0.2 s, and slow drawing of one, for a mistake: so is any on a busy machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# A shell starts what runs in the background (`nohup tools/test &`) with these ignored, and processes that tests
# interrupt would inherit that.
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)


@pytest.fixture(autouse=True)
def _own_cache(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give each test a cache of its own: what one has pushed to a device is no base for another's patches."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache" / f"{id(request.node):x}"))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets: a Unix socket's path has at most 107 bytes, and `tmp_path` alone may have 100."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--counts`, for those who show the outcome without the tests' own output, and `--systemd`."""
    parser.addoption("--systemd", action="store_true", help="also boot a systemd, and run tests/booted in it")
    parser.addoption(
        "--counts", type=Path, metavar="FILE", help="write how many passed, failed and were skipped, and why"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what takes a whole booted machine, unless it is asked for."""
    return True if collection_path.name == "booted" and not config.getoption("--systemd") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have the slowest tests: one that comes last holds up the end alone."""
    limits: Counter[Path] = Counter()
    for item in items:
        if (marker := item.get_closest_marker("timeout")) is not None:  # who needs a longer one than others is slow
            limits[item.path] = max(limits[item.path], marker.args[0])
    items.sort(key=lambda item: -limits[item.path])


def pytest_configure(config: pytest.Config) -> None:
    """Let nothing of whoever runs the tests reach them, and nothing of theirs reach that person's home folder.

    Variables that configure edged and edgectl are forgotten, before a test's module is imported and for every process
    that a test starts; GStreamer keeps its list of plugins with pytest's cache. Nor is there a key to sign with.
    """
    for name in list(os.environ):
        if name.upper().startswith(("EDGED_", "EDGECTL_")):
            del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = str(REPOSITORY / "tests" / "no-configuration")  # there is no such folder
    cache: pytest.Cache | None = getattr(config, "cache", None)  # absent with `-p no:cacheprovider`
    if cache is not None and "GST_REGISTRY" not in os.environ:
        with contextlib.suppress(OSError):  # a checkout that this user may not write to
            os.environ["GST_REGISTRY"] = str(cache.mkdir("gstreamer") / "registry.bin")


def counts_line(stats: dict[str, list[pytest.TestReport]]) -> str:
    """Return how many tests passed, failed and were skipped, and the skipped ones' reasons, most frequent first."""
    reasons: Counter[str] = Counter()
    for report in stats.get("skipped", []):
        assert isinstance(report.longrepr, tuple)  # file, line and reason of a skip
        reasons[report.longrepr[2].removeprefix("Skipped: ")] += 1
    failed = len(stats.get("failed", [])) + len(stats.get("error", []))
    why = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    line = f"{len(stats.get('passed', []))} passed, {failed} failed, {reasons.total()} skipped"
    return f"{line}: {why}" if why else line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Write the file that `--counts` asks for."""
    path: Path | None = config.getoption("--counts")
    if path is not None:
        path.write_text(counts_line(terminalreporter.stats) + "\n")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """`SHARED_DATA`, for a test that is about the real data; one with the same code on made data stands beside it."""
    if not HAS_SHARED_DATA:
        pytest.skip("is about the real photos and weights of ../shared/data, which a fresh clone does not have")
    return SHARED_DATA


@pytest.fixture(scope="session", params=MADE_AND_REAL)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A short film: one made here and, where it is, a real one."""
    if request.param == "real":
        return Clip(SHARED_DATA.resolve() / "clips" / "car-detection.mp4", frames=377, width=768, height=432)
    return make_clip(tmp_path_factory.mktemp("clip") / "pan.avi")


@pytest.fixture
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mosquitto]]:
    """A factory of running Mosquitto brokers (options: see the class); skips where there is none to run."""
    brokers: list[Mosquitto] = []

    def factory(**options: object) -> Mosquitto:
        broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"), **options)  # type: ignore[arg-type]  # passed through
        brokers.append(broker)
        return broker.start()

    yield factory
    for broker in brokers:
        broker.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A factory of a file system of its own, of a size such as "256k"; skips where none can be mounted."""
    place = tmp_path / "small"
    place.mkdir()
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("needs to mount a small file system: root, with the right to mount")
        mounted.append(place)
        return place

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a failed test may have left a file open


@pytest.fixture
def pins() -> Iterator[Pins]:
    """Keeps files from being deleted, see `tests.pinned`."""
    with ExitStack() as stack:
        yield Pins(stack)
