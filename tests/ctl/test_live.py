"""`edgectl watch` and `telemetry`: live tables, lines, JSON, limits, Ctrl-C."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from edged.contract.messages import UNKNOWN
from edged.ctl.commands.telemetry import TelemetryView
from edged.ctl.commands.watch import ResultView
from edged.ctl.subscription import Incoming
from tests.ctl.conftest import Edgectl, environment
from tests.ctl.device import ScriptedDevice
from tests.waiting import PATIENCE_S


@contextmanager
def repeating(action: Callable[[], None]) -> Iterator[None]:
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.05):
            action()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_watch_prints_lines_into_a_pipe(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as device, repeating(lambda: device.see("tabby [red]\x1b[31mcat")):
        done = edgectl("watch", "--count", "2")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "tx2-01/main  0.93  tabby [red][31mcat  10.4 ms" in done.stdout


def test_watch_json_is_the_raw_result_with_its_device(broker_port: int, edgectl: Edgectl) -> None:
    result = {**json.loads(ScriptedDevice(broker_port).result().encode()), "later": 1}

    def act() -> None:
        device.say("result/main", b"{not a result")
        device.say("result/main", json.dumps(result).encode())

    with ScriptedDevice(broker_port) as device, repeating(act):
        done = edgectl("--device", "tx2-01", "watch", "--json", "--count", "1")
    assert json.loads(done.stdout) == {"device": "tx2-01", **result}


def test_silence_is_3_and_says_where_it_listened(broker_port: int, edgectl: Edgectl) -> None:
    done = edgectl("watch", "--seconds", "0.5")
    assert done.returncode == 3
    assert "no results from any device" in done.stderr
    assert f"127.0.0.1:{broker_port}" in done.stderr


def test_telemetry_lines_and_json(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port) as device, repeating(lambda: device.say("telemetry", device.telemetry)):
        lines = edgectl("telemetry", "--count", "1")
        machine = edgectl("telemetry", "--json", "--count", "1")
    assert "tx2-01  14.2 fps, p50 12.3 ms" in lines.stdout
    assert "VDD_IN 4.12 W" in lines.stdout
    assert json.loads(machine.stdout)["power_mw"] == {"VDD_IN": 4120, "VDD_GPU": 340}


def test_a_terminal_gets_a_live_table_and_ctrl_c_ends_it_well(broker_port: int) -> None:
    leader, follower = pty.openpty()
    shown = bytearray()
    with (
        ScriptedDevice(broker_port) as device,
        repeating(device.see),
        subprocess.Popen(
            [sys.executable, "-m", "edged.ctl", "watch"],
            env=environment(broker_port, TERM="xterm", COLUMNS="80", LINES="24"),
            stdin=follower,
            stdout=follower,
            stderr=follower,
        ) as process,
    ):
        os.close(follower)
        end = time.monotonic() + PATIENCE_S
        while "█".encode() not in shown and time.monotonic() < end:
            shown += os.read(leader, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                if not (more := os.read(leader, 65536)):
                    break
            except OSError:  # how Linux ends a pseudo-terminal
                break
            shown += more
        assert process.wait(PATIENCE_S) == 0
    os.close(leader)
    text = shown.decode(errors="replace")
    assert "tx2-01" in text
    assert "Traceback" not in text


def _incoming(topic: str, payload: bytes, at: float) -> Incoming:
    device, *levels = topic.split("/")
    return Incoming(device, tuple(levels), payload, False, at)


def _drawn(view: ResultView | TelemetryView, now: float, width: int = 80) -> str:
    out = io.StringIO()
    screen = Console(file=out, width=width)
    screen.print(view.table(now, screen))
    return out.getvalue()


def test_result_table_has_rate_latency_and_age() -> None:
    view, device = ResultView(), ScriptedDevice(0)
    for step in range(5):
        assert view.take(_incoming("tx2-01/result/main", device.result(seq=step).encode(), 10 + step / 2))
    assert view.take(_incoming("tx2-01/result/main", b"{}", 12)) is None
    drawn = _drawn(view, 15.0)
    row = next(line for line in drawn.splitlines() if "tx2-01" in line)
    assert row.split()[-5:] == ["0.93", "2.0", "10.4", "3.0", "s"]


def test_the_familiarity_is_told_and_what_is_unknown_with_what_it_looks_like() -> None:
    view, plain = ResultView(), ScriptedDevice(0).result("tulips", 0.93)
    known = plain.model_copy(update={"familiarity": 0.4137})
    unknown = plain.model_copy(update={"familiarity": 0.0049, "label": UNKNOWN, "camera": "yard"})
    lines = [
        view.take(_incoming(f"tx2-01/result/{one.camera}", one.encode(), 1.0)) or "" for one in (plain, known, unknown)
    ]
    assert [line.partition("  tx2-01/")[2] for line in lines] == [
        "main  0.93  tulips  10.4 ms",
        "main  0.93  tulips, familiarity 41.4%  10.4 ms",
        "yard  0.93  unknown, most like tulips, familiarity 0.5%  10.4 ms",
    ]
    gone = unknown.model_copy(update={"track": "7", "ended": True})
    told = view.take(_incoming("tx2-01/result/yard", gone.encode(), 1.0)) or ""
    assert told.endswith("tx2-01/yard/7  ended: unknown, most like tulips, familiarity 0.5%")

    bare = plain.model_copy(update={"camera": "bare"})
    view.take(_incoming("tx2-01/result/bare", bare.encode(), 1.0))
    rows = {line.split()[1]: line for line in _drawn(view, 1.0, 120).splitlines() if "tx2-01" in line}
    assert "familiar" in _drawn(view, 1.0, 120)
    assert "41.4%" in rows["main"].split()
    assert "unknown, most like tulips  " in rows["yard"]
    assert "0.5%" in rows["yard"].split()
    assert "%" not in rows["bare"]
    narrow = {line.split()[1]: line for line in _drawn(view, 1.0, 99).splitlines() if "tx2-01" in line}
    assert "unknown, most like tulips, familiarity 0.5%  " in narrow["yard"]
    assert "%" not in narrow["main"]


def test_telemetry_table_leaves_out_what_is_absent() -> None:
    view, device = TelemetryView(), ScriptedDevice(0)
    bare = device.telemetry.model_copy(update={"power_mw": None, "temp_c": None, "throttled": True})
    assert view.take(_incoming("tx2-01/telemetry", bare.encode(), 1.0))
    drawn = _drawn(view, 2.0)
    assert "throttled" in drawn
    assert "W" not in drawn
    assert "°C" not in drawn
