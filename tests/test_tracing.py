"""Traces: JSON that viewers read, also cut off; bounded; nothing when off."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edged import tracing
from edged.cli import main
from edged.errors import ConfigError
from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until


def test_a_trace_is_json_and_names_its_tracks(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    tracer = tracing.start(file)
    tracer.span("invoke", "invoke", 1_000_000, 3_500_000, seq=1)
    tracer.overlapping("mqtt", "result", 2_000_000, 9_000_000)
    tracing.stop()
    assert tracing.active is None
    events = json.loads(file.read_text())
    assert {event["args"]["name"] for event in events if event["name"] == "thread_name"} == {"invoke", "mqtt"}
    (span,) = [event for event in events if event["ph"] == "X"]
    assert (span["ts"], span["dur"], span["args"]) == (1000, 2500, {"seq": 1})
    assert [event["ph"] for event in events if event.get("cat") == "mqtt"] == ["b", "e"]


def test_a_full_trace_stays_valid(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    tracer = tracing.Tracer(file, max_events=2)
    for number in range(5):
        tracer.span("invoke", "invoke", number, number + 1)
    tracer.close()
    assert tracer.dropped == 3
    assert len([event for event in json.loads(file.read_text()) if event["ph"] == "X"]) == 2


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--trace .*none/trace.json: cannot be written: No such file"):
        tracing.start(tmp_path / "none" / "trace.json")
    assert tracing.active is None


def test_a_profile_can_be_traced(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    assert main(["profile", "--trace", str(file), "--no-publish", "--json"]) == 0
    names = [event["name"] for event in json.loads(file.read_text()) if event["ph"] == "X"]
    assert {"capture", "prepare", "invoke"} == set(names)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_live_daemon_is_traced_and_may_be_killed(
    tmp_path: Path, mosquitto: Callable[..., Mosquitto], number: signal.Signals
) -> None:
    file = tmp_path / "trace.json"
    daemon = Daemon(tmp_path, mosquitto().url)
    daemon.start("--trace", str(file))
    try:
        # The threads write on their own: a frame may be classified well before another one is sent.
        wanted = {'"invoke","ph":"X"': 3, '"publish","ph":"X"': 1, '"prepare","ph":"X"': 1, '"cat":"mqtt"': 1}
        wait_until(
            lambda: all(file.read_text().count(part) >= count for part, count in wanted.items()), what="traced frames"
        )
        daemon.signal(number)
        assert daemon.process is not None
        daemon.process.wait(PATIENCE_S)
    finally:
        daemon.kill()
    text = file.read_text()
    if number == signal.SIGKILL:  # which the kernel also obeys in the middle of a write: a last line may be cut off
        text = text.rpartition(",\n")[0] + "]"
    events = json.loads(text)
    assert {"capture", "prepare", "invoke", "publish"} <= {event["name"] for event in events if event["ph"] == "X"}
    assert [event for event in events if event.get("cat") == "mqtt"]
