"""`edged demo` as a stranger starts it."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

import pytest
from rich.console import Console

from edged import resources
from edged.cli import main
from edged.codec import read_image
from edged.contract.messages import UNKNOWN
from edged.ctl.console import web
from edged.demo import PHOTOS, start_console, viewer
from edged.demo.crops import SIDE, write_crops
from edged.demo.drawing import with_drawing
from edged.errors import EdgedError
from edged.store import read_bundle
from edged.vision.network import Network
from tests.conftest import REPOSITORY
from tests.mosquitto import Mosquitto
from tests.photos import shipped_photos
from tests.waiting import PATIENCE_S, wait_until

README = REPOSITORY / "README.md"
needs_broker = pytest.mark.skipif(importlib.util.find_spec("amqtt") is None, reason="needs amqtt (the extra `demo`)")


class Demo:
    """`edged demo ARGS`, with its temporary folder where we see it."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.output = ""
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edged", "demo", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "80", "PYTHONUNBUFFERED": "1", **variables},
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def wait(self) -> int:
        code = self.process.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        assert "Traceback" not in self.output
        return code

    def processes(self) -> list[str]:
        """Command lines that name our folder or are children of the demonstration."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"TMPDIR={self.folder}".encode() in environment.split(b"\0"):
                found.append(command)
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    started: list[Demo] = []

    def start(*arguments: str, **variables: str) -> Demo:
        started.append(Demo(tmp_path, *arguments, **variables))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.wait()


@needs_broker
def test_nothing_outlives_one_that_is_killed(demo: Callable[..., Demo]) -> None:
    shown = demo()
    wait_until(lambda: "telemetry" in shown.output, what="telemetry")
    assert len(shown.processes()) > 1
    shown.process.kill()
    assert shown.wait() == -signal.SIGKILL
    wait_until(lambda: shown.processes() == [], what="the end of all")


@needs_broker
def test_results_and_telemetry_are_printed_until_ctrl_c(demo: Callable[..., Demo], tmp_path: Path) -> None:
    shown = demo(EDGED_MODEL__NAME="not-the-demo's")
    wait_until(lambda: "espresso" in shown.output and "telemetry" in shown.output, what="an espresso and telemetry")
    shown.process.send_signal(signal.SIGINT)
    assert shown.wait() == 0
    lines = shown.output.splitlines()
    photos = len(list(PHOTOS.glob("*.jpg")))
    assert lines[0].startswith(f"edged demo: {photos} photos, a drawing → MobileNetV2 → MQTT on port ")
    assert any("edged/demo/state  online" in line for line in lines)
    results = [line for line in lines if "█" in line and "%" in line and " ms" in line]
    assert results
    assert all(any(f"  {label} " in line for label in [*shipped_photos().values(), "unknown,"]) for line in results)
    assert any("telemetry" in line and "frames/s" in line for line in lines)
    assert " arrived. Your own camera" in lines[-1]
    assert int(lines[-1].split()[0]) >= 1
    assert list(tmp_path.iterdir()) == []
    assert shown.processes() == []


@needs_broker
def test_it_ends_after_so_many_seconds(demo: Callable[..., Demo], tmp_path: Path) -> None:
    shown = demo("--seconds", "2")
    code = shown.wait()
    told = re.search(r"^(\d+) results? arrived\.", shown.output, re.MULTILINE)
    assert told is not None, shown.output
    assert code == (0 if int(told[1]) else 1), "a slow machine may not have come to its first result"
    assert list(tmp_path.iterdir()) == []
    assert shown.processes() == []


@needs_broker
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 0)])
def test_a_signal_ends_all_of_it(demo: Callable[..., Demo], tmp_path: Path, number: int, code: int) -> None:
    shown = demo()
    wait_until(lambda: " ms" in shown.output, what="a result")
    shown.process.send_signal(number)
    assert shown.wait() == code
    assert " arrived. Your own camera" in shown.output
    assert list(tmp_path.iterdir()) == []
    assert shown.processes() == []


def test_the_console_is_served_too(mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also to whoever has set which of their own devices edgectl speaks to."""
    monkeypatch.setenv("EDGECTL_CONTEXT", "gone")
    broker = mosquitto()
    with ExitStack() as stop:
        if web._MISSING is not None:
            with pytest.raises(EdgedError, match="is not installed: pip install 'edged\\[console\\]'"):
                start_console(stop, broker.port)
            return
        with urlopen(start_console(stop, broker.port), timeout=PATIENCE_S) as answer:
            assert b"<main" in answer.read()


def test_the_shipped_model_knows_each_photo() -> None:
    expected = shipped_photos()
    assert sorted(expected) == sorted(PHOTOS.glob("*.jpg"))
    bundle = read_bundle(resources.shipped("models") / "mobilenet_v2")
    network = Network(bundle.read_model(), crop=bundle.manifest.input.crop)
    for file, label in expected.items():
        scores = network.infer(network.prepare(read_image(file))).scores
        assert bundle.labels[int(scores.argmax())].split(",")[0] == label
        assert scores.max() > 0.6, file


def test_the_shipped_model_calls_the_drawing_unknown_and_no_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what the bundle knows, with the limit of any device: nothing in the demonstration says what a picture is."""
    pictures = sorted(with_drawing(PHOTOS, tmp_path / "seen").iterdir())
    assert {picture.name for picture in pictures} == {"drawing.jpg", *(photo.name for photo in shipped_photos())}
    assert main(["classify", "--json", *map(str, pictures)]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(one["file"]).name for one in told if one["label"] == UNKNOWN] == ["drawing.jpg"]


@pytest.mark.parametrize("seconds", ["-3", "0", "nan", "inf", "soon"])
def test_seconds_must_be_some(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["demo", f"--seconds={seconds}"])
    assert caught.value.code == 2
    assert "is not a number above 0" in capsys.readouterr().err


def test_crops_have_the_photos_names_and_come_out_the_same(tmp_path: Path) -> None:
    assert write_crops(PHOTOS, tmp_path / "a", per_photo=3) == 3 * len(list(PHOTOS.glob("*.jpg")))
    write_crops(PHOTOS, tmp_path / "b", per_photo=3)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").glob("*/*"))
    assert {name.parent.name for name in names} == {photo.stem for photo in PHOTOS.glob("*.jpg")}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert read_image(tmp_path / "a" / name).shape == (SIDE, SIDE, 3)


def test_telemetry_shows_only_what_was_read() -> None:
    assert viewer.telemetry_line({"fps": 1.5}) == "telemetry  1.5 frames/s"
    full = {
        "fps": 20,
        "latency_ms": {"p50": 5, "p95": 7.25},
        "load": {"cpu": 0.5},
        "temp_c": {"CPU": 41.5},
        "power_mw": {"VDD_IN": 4200},
    }
    expected = "telemetry  20.0 frames/s · p50 5.0 ms, p95 7.2 ms · cpu 50% · CPU 42 °C · VDD_IN 4.2 W"
    assert viewer.telemetry_line(full) == expected


def test_a_result_fits_a_line() -> None:
    result = {
        "ts": "2026-01-31T12:00:00.000Z",
        "label": "great white shark, white shark, man-eater",
        "score": 1.0,
        "latency_ms": {"total": 123.4},
    }
    for width in (80, 72, 40):
        console = Console(file=io.StringIO(), width=width, color_system=None)
        console.print(viewer.Viewer._result(result, width))
        assert isinstance(console.file, io.StringIO)
        (line,) = console.file.getvalue().splitlines()
        assert ("12:00:00.000" in line) is (width > 40)
        assert "great white shark" in line
        assert "100%" in line


def test_what_is_unknown_is_said_to_be_and_what_it_looks_like() -> None:
    result = {
        "ts": "2026-01-31T12:00:00.000Z",
        "label": "unknown",
        "score": 0.31,
        "familiarity": 0.001,
        "top": [{"label": "cup, mug", "score": 0.31}, {"label": "espresso", "score": 0.2}],
        "latency_ms": {"total": 5.4},
    }
    for width, line in (
        (80, "  12:00:00.000  unknown, like cup       ████░░░░░░░░  31%     5.4 ms"),
        (40, "  unknown, like cup         31%"),
    ):
        assert viewer.Viewer._result(result, width).plain == line


@needs_broker
def test_without_a_result_it_has_failed(demo: Callable[..., Demo]) -> None:
    while (shown := demo("--seconds", "0.01")).wait() == 0:  # it stood still for so long that one came all the same
        assert "0 results arrived" not in shown.output
    assert shown.process.returncode == 1
    assert "0 results arrived" in shown.output


@needs_broker
def test_readme_shows_what_it_prints(demo: Callable[..., Demo]) -> None:
    """Times, rates and the port differ from run to run; photos, labels, scores and the words around them do not."""
    block = re.search(r"it prints, until Ctrl-C:\n\n(.*? arrived\..*?\n)", README.read_text(), re.DOTALL)
    assert block is not None
    promised = [line.removeprefix("    ") for line in block[1].splitlines()]
    shown = demo()
    cores = {core for line in promised if (core := result_core(line))}
    assert len(cores) >= 7, "each photo and the drawing once, at least"
    assert any(core.startswith("unknown, like ") for core in cores)
    wait_until(
        lambda: cores <= {result_core(line) for line in shown.output.splitlines()} and "telemetry" in shown.output,
        what=f"README's results, in {shown.output}",
    )
    shown.process.send_signal(signal.SIGINT)
    assert shown.wait() == 0
    printed = shown.output.splitlines()
    first = next(place for place, line in enumerate(promised) if result_core(line))
    assert [plain(line) for line in promised[:first]] == [plain(line) for line in printed[:first]]
    assert {plain(line) for line in promised if "telemetry" in line} <= {
        plain(line) for line in printed if "telemetry" in line
    }
    ends = [re.sub(r"\S*/edged", "edged", plain(lines[-1])) for lines in (promised, printed)]
    assert ends[0] == ends[1]


def result_core(line: str) -> str | None:
    """Label, bar and score of a line with a result; None of any other."""
    found = re.fullmatch(r" *\d\d:\d\d:\d\d\.\d{3}  (.*%) +[\d.]+ ms", line)
    return found and found[1]


def plain(line: str) -> str:
    """A line with every number that a run decides as N: not those within names and identifiers."""
    return line if line.startswith("edged/demo/") else re.sub(r"\b\d+(\.\d+)?\b", "N", line)
