"""`edgectl top`: what needs attention, what fits into a terminal, and the program on a pseudo-terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import time
from typing import Literal

from rich.console import Console

from edged.contract.messages import Alert, Info, Job, Latency, Message, ModelInfo, Seen, Telemetry, timestamp
from edged.ctl.board import Board
from edged.ctl.choice import Choice
from edged.ctl.fleet_table import fitting, fleet_table
from edged.ctl.subscription import Incoming
from tests.ctl.conftest import Edgectl, environment
from tests.ctl.device import ScriptedDevice
from tests.ctl.test_live import repeating
from tests.waiting import PATIENCE_S


def said(device: str, topic: str, message: Message | bytes, at: float = 0.0) -> Incoming:
    payload = message if isinstance(message, bytes) else message.encode()
    return Incoming(device, tuple(topic.split("/")), payload, False, at)


def telemetry(outbox: int = 0, *, throttled: bool | None = None, label: str = "cat") -> Telemetry:
    return Telemetry(
        fps=12.0,
        frames=60,
        dropped=0,
        outbox=outbox,
        throttled=throttled,
        temp_c={"CPU": 48.5, "GPU": 61.2},
        power_mw={"VDD_IN": 4120, "VDD_GPU": 340},
        latency_ms=Latency(p50=12.3, p95=15.0, p99=19.5, max=44.0),
        seen={"main": Seen(label=label, score=0.93, familiarity=0.41)},
    )


def info(device: str, state: Literal["running", "degraded"]) -> Info:
    return Info(device=device, state=state, versions={}, cameras={}, runtime="r", sensors="s", commands=[])


def board_of(*messages: Incoming, choice: str = "all") -> Board:
    board = Board(Choice.parse(choice))
    for message in messages:
        board.take(message)
    return board


def needs(board: Board, now: float = 1.0) -> dict[str, list[str]]:
    return {entry.known.id: entry.needs(now) for entry in board.entries(now)}


def drawn(board: Board, width: int, now: float = 1.0) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(fleet_table(list(board.entries(now)), now, width))
    return out.getvalue()


def test_what_needs_attention_stands_first() -> None:
    drift = Alert(name="drift", since=timestamp(), reason="the light went out")
    board = board_of(
        *(said(device, "state", b"online") for device in "abcdef"),
        said("z", "state", b"offline"),
        said("a", "telemetry", telemetry()),
        said("b", "info", info("b", "degraded")),
        said("c", "telemetry", telemetry(100)),
        said("d", "telemetry", telemetry(throttled=True)),
        said("e", "alert/drift", drift),
        said("f", "alert/drift", drift),
        said("f", "alert/drift", b""),
    )
    assert list(needs(board).items()) == [
        ("z", ["offline"]),
        ("e", ["drift"]),
        ("d", ["throttled"]),
        ("c", ["outbox"]),
        ("b", ["degraded"]),
        ("a", []),
        ("f", []),
    ]
    totals = board.totals(1.0)
    assert (totals.online, totals.offline, totals.alerts, totals.frames_per_s) == (6, 1, 1, 36.0)


def test_an_outbox_that_grows_is_told_before_it_is_long() -> None:
    grows = [said("a", "telemetry", telemetry(length), at) for at, length in enumerate((1, 2, 3, 5))]
    varies = [said("b", "telemetry", telemetry(length), at) for at, length in enumerate((1, 3, 2, 5))]
    board = board_of(said("a", "state", b"online"), said("b", "state", b"online"), *grows, *varies)
    assert needs(board, 4.0) == {"a": ["outbox"], "b": []}


def test_a_device_that_says_online_and_nothing_more_is_silent() -> None:
    board = board_of(
        said("a", "state", b"online"), said("a", "telemetry", telemetry(), 0), said("a", "telemetry", telemetry(), 10)
    )
    assert needs(board, 39.0) == {"a": []}
    assert needs(board, 41.0) == {"a": ["silent"]}


def test_a_device_whose_state_the_broker_does_not_hand_out_is_online_while_it_talks() -> None:
    board = board_of(said("a", "telemetry", telemetry()))
    assert needs(board) == {"a": []}
    assert board.totals(1.0).online == 1
    board.take(said("a", "state", b"offline"))
    assert needs(board) == {"a": ["offline"]}


def test_others_are_not_listened_to_and_a_forgotten_one_goes() -> None:
    board = board_of(said("line-1", "state", b"online"), said("desk", "state", b"online"), choice="line-*")
    assert list(needs(board)) == ["line-1"]
    board.take(said("line-1", "state", b""))
    assert len(board) == 0


def test_columns_drop_out_by_importance_and_nothing_is_wider_than_the_terminal() -> None:
    job = Job(id="1", cmd="retrain", status="running", progress=0.43)
    board = board_of(
        said("a-device-with-a-name-that-is-long", "state", b"online"),
        said("a-device-with-a-name-that-is-long", "telemetry", telemetry(label="tabby [red]\x1b[31mcat")),
        said("a-device-with-a-name-that-is-long", "job", job),
        said(
            "a-device-with-a-name-that-is-long",
            "model",
            ModelInfo(id="0123456789ab", name="flowers", backbone="b", labels=["cat"]),
        ),
    )
    for width in (*range(30, 170, 9), 79, 80, 200):
        lines = drawn(board, width).splitlines()
        assert len(lines) == 3, "one line for each device"
        assert max(map(len, lines)) <= width
    narrow, wide = drawn(board, 80), drawn(board, 160)
    for shown in ("a-device-with-a-nam", "online", "12.0", "15.0", "61", "tabby"):
        assert shown in narrow, narrow
    assert "retrain" not in narrow
    for shown in ("tabby [red][31mcat", "93%", "41%", "retrain 43%", "flowers 0123", "4.1"):
        assert shown in wide, wide


def test_many_offline_ones_leave_room_for_the_others() -> None:
    board = board_of(
        *(said(f"off-{number:02}", "state", b"offline") for number in range(50)),
        *(said(f"on-{number:02}", "state", b"online") for number in range(50)),
        said("on-49", "telemetry", telemetry(throttled=True)),
    )
    shown = [entry.known.id for entry in fitting(list(board.entries(1.0)), 1.0, 10)]
    assert shown == [f"off-{number:02}" for number in range(5)] + ["on-49", "on-00", "on-01", "on-02", "on-03"]
    assert len(fitting(list(board.entries(1.0)), 1.0, 100)) == 100


def test_once_prints_a_table_and_json_a_line_per_device(broker_port: int, edgectl: Edgectl) -> None:
    with (
        ScriptedDevice(broker_port, "tx2-01") as one,
        ScriptedDevice(broker_port, "tx2-02") as two,
        repeating(lambda: [device.say("telemetry", telemetry()) for device in (one, two)]),
    ):
        two.say("alert/drift", Alert(name="drift", since=timestamp(), reason="the lens is dirty"), retain=True)
        table = edgectl("top", "--once", "--seconds", f"{PATIENCE_S:g}")
        machine = edgectl("top", "--json", "--seconds", f"{PATIENCE_S:g}")
    assert (table.returncode, table.stderr) == (0, "")
    first, second = (line.split() for line in table.stdout.splitlines()[2:4])
    assert first[:4] == ["tx2-02", "online", "drift", "cat"]
    assert second[:3] == ["tx2-01", "online", "cat"]
    assert "2 devices: 2 online, 0 offline, 1 with alerts · 24 fps" in table.stdout
    told = {line["device"]: line for line in map(json.loads, machine.stdout.splitlines())}
    assert told["tx2-02"]["alerts"] == {"drift": "the lens is dirty"}
    assert (told["tx2-01"]["needs"], told["tx2-01"]["seen"]["main"]["label"]) == ([], "cat")
    gone = edgectl("--device", "nobody", "top", "--once")
    assert gone.returncode == 3
    assert "no device nobody" in gone.stderr


def test_q_ends_it_with_0(broker_port: int) -> None:
    leader, follower = pty.openpty()
    shown = bytearray()
    with (
        ScriptedDevice(broker_port),
        subprocess.Popen(
            [sys.executable, "-m", "edged.ctl", "top"],
            env=environment(broker_port, TERM="xterm", COLUMNS="80", LINES="24"),
            stdin=follower,
            stdout=follower,
            stderr=follower,
        ) as process,
    ):
        os.close(follower)
        end = time.monotonic() + PATIENCE_S
        while b"tx2-01" not in shown and time.monotonic() < end:
            shown += os.read(leader, 65536)
        os.write(leader, b"q")
        while True:
            try:
                if not (more := os.read(leader, 65536)):
                    break
            except OSError:  # how Linux ends a pseudo-terminal
                break
            shown += more
        assert process.wait(PATIENCE_S) == 0
    os.close(leader)
    assert "1 device: 1 online" in shown.decode(errors="replace")
    assert b"Traceback" not in shown
