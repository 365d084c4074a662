"""What the console keeps of a fleet: an hour of telemetry, rows and what changed in them, commands, pictures."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from edged.contract.messages import Ack, Job, Latency, Seen, Telemetry
from edged.ctl.board import Board
from edged.ctl.commands.console import address
from edged.ctl.console.command_log import CommandLog
from edged.ctl.console.feed import Feed
from edged.ctl.console.guard import PublicAddress
from edged.ctl.console.history import STEP_S, History
from edged.ctl.console.pictures import Pictures
from edged.ctl.errors import NoAnswerError, RejectedError
from edged.errors import ConfigError
from tests.ctl.test_top import said, telemetry


def told(p99: float = 5.0, *, label: str = "cat", **more: Any) -> Telemetry:
    latency = Latency(p50=1, p95=2, p99=p99, max=9)
    return Telemetry(
        fps=1, frames=1, dropped=0, outbox=0, latency_ms=latency, seen={"main": Seen(label=label, score=1)}, **more
    )


def test_an_hour_is_kept_and_what_shares_a_point_keeps_its_peak() -> None:
    history = History()
    history.take(told(5.0, label="cat", throttled=True), 1000.0)
    history.take(told(3.0, label="dog", throttled=False), 1002.0)
    history.take(told(4.0, temp_c={"CPU": 50.0}), 1000.0 + STEP_S)
    assert history.as_json() == {
        "t": [1000.0, 1005.0],
        "labels": {"main": ["dog", "cat"]},
        "series": {
            "fps": [1.0, 1.0],
            "outbox": [0.0, 0.0],
            "latency.p50": [1.0, 1.0],
            "latency.p95": [2.0, 2.0],
            "latency.p99": [5.0, 4.0],
            "throttled": [1.0, None],
            "temp.CPU": [None, 50.0],
        },
    }
    assert history.as_json(since=1005.0)["t"] == [1005.0]
    history.take(told(), 1000.0 + 3600.0 + STEP_S)
    assert history.as_json()["t"] == [1005.0, 4605.0]
    assert "throttled" not in history.as_json()["series"], "nobody says it any more"


def test_each_cameras_labels_are_kept() -> None:
    history = History()
    history.take(told(label="cat"), 1000.0)
    history.take(told().model_copy(update={"seen": {"door": Seen(label="dog", score=1)}}), 1000.0 + STEP_S)
    assert history.as_json()["labels"] == {"main": ["cat", None], "door": [None, "dog"]}
    for number in range(100):
        history.take(told().model_copy(update={"seen": {f"c{number}": Seen(label="x", score=1)}}), 1005.0)
    assert len(history.as_json()["labels"]) == 16, "names come over the wire, and fill no memory"
    history.take(told(label="cat"), 1000.0 + 3600.0 + 2 * STEP_S)
    assert history.as_json()["labels"] == {"main": ["cat"]}


def test_what_a_device_calls_its_zones_fills_no_memory() -> None:
    history = History()
    for at in range(100):
        history.take(told(temp_c={f"zone {at}": 1.0}), at * STEP_S)
    assert len(history.as_json()["series"]) == 40


def test_only_rows_that_changed_are_told() -> None:
    board = Board()
    feed = Feed(board)
    for device in "abc":
        board.take(said(device, "state", b"online"))
        board.take(said(device, "telemetry", telemetry(), 1.0))
    feed.refresh(2.0)
    first = feed.since(0, 2.0)
    assert sorted(row["id"] for row in first["rows"]) == ["a", "b", "c"]
    board.take(said("b", "telemetry", telemetry(label="dog"), 3.0))
    feed.refresh(3.0, {"b"})
    second = feed.since(first["version"], 3.0)
    assert [(row["id"], row["label"]) for row in second["rows"]] == [("b", "dog")]
    board.take(said("c", "state", b""))
    feed.refresh(3.0, {"c"})
    third = feed.since(second["version"], 3.0)
    assert (third["rows"], third["gone"]) == ([], ["c"])
    feed.refresh(100.0)
    assert [row["state"] for row in feed.since(third["version"], 100.0)["rows"]] == ["silent"], "b has an interval"
    assert sorted(row["id"] for row in feed.since(0, 100.0)["rows"]) == ["a", "b"]


def test_the_log_has_what_was_done_and_the_curve_of_a_training() -> None:
    log = CommandLog()

    def job(id_: str, cmd: str, status: Any, **more: Any) -> None:
        log.take(said("a", f"job/{id_}", Job(id=id_, cmd=cmd, status=status, **more)))

    job("1", "snapshot", "succeeded")
    for epoch in (1, 1, 2):
        job("2", "retrain", "running", report={"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.5})
    job("2", "retrain", "succeeded")
    job("2", "retrain", "running")  # came late
    log.take(said("a", "ack/3", Ack(id="3", status="rejected", error="no")))
    log.take(said("a", "ack/4", Ack(id="4", status="accepted")))
    log.take(said("a", "ack/6", Ack(id="6", status="rejected", error="snapshot: there is no camera")))
    log.take(said("a", "job/5", b"no JSON"))
    assert [(entry["id"], entry["status"]) for entry in log.as_json()] == [("3", "rejected"), ("2", "succeeded")]
    assert (log.run, log.curve) == ("2", [(1, 1.0, 0.5), (2, 0.5, 0.5)])
    for error, shown in (
        ("retrain: args.lr: must be positive", ("retrain", "args.lr: must be positive")),
        (
            "busy: too many set commands wait; send it again later",
            ("set", "busy: too many set commands wait; send it again later"),
        ),
        ("camera: it is broken", (None, "camera: it is broken")),
        ("internal error; see the device's log", (None, "internal error; see the device's log")),
        (None, (None, None)),
    ):
        log.take(said("a", "ack/7", Ack(id="7", status="rejected", error=error)))
        assert (log.as_json()[0]["cmd"], log.as_json()[0]["error"]) == shown
    for number in range(100):
        job(f"n{number}", "set", "succeeded")
    assert len(log.as_json()) == 60


def test_who_asks_meanwhile_gets_the_same_picture() -> None:
    asked: list[str] = []
    go_on = threading.Event()

    def fetch(device: str, camera: str | None) -> tuple[bytes, dict[str, Any]]:
        asked.append(device)
        assert go_on.wait(60)
        if device == "blind":
            raise RejectedError("it has no camera")
        if device == "away":
            raise NoAnswerError("it does not answer")
        return f"{device}{len(asked)}".encode(), {}

    pictures = Pictures(fetch)
    got: list[bytes] = []
    looking = [threading.Thread(target=lambda: got.append(pictures.newest("a", None, 60.0).jpeg)) for _ in range(4)]
    for thread in looking:
        thread.start()
    go_on.set()
    for thread in looking:
        thread.join()
    assert got == [b"a1"] * 4
    newer = pictures.newest("a", None, 0.0)
    assert newer.jpeg == b"a2"
    assert pictures.numbered("a", None, newer.number) == newer
    assert pictures.numbered("a", None, 99) is None
    for device, times in (("blind", 1), ("away", 3)):
        asked.clear()
        for _ in range(3):
            with pytest.raises((RejectedError, NoAnswerError)):
                pictures.newest(device, None, 60.0)
        assert len(asked) == times, "one that refuses is left alone, one that was away may be back"


def test_where_a_proxy_is() -> None:
    for text, origin in (
        ("https://edged.example:8443/", "https://edged.example:8443"),
        ("https://Edged.Example:443", "https://edged.example"),
        ("http://[::1]:80", "http://[::1]"),
    ):
        assert PublicAddress.of(text).origin == origin
    for text in (
        "edged.example",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a:b",
        "https://u@a",
        "https://a?b",
        "https://a:0",
        "",
    ):
        with pytest.raises(ConfigError, match="--public-url"):
            PublicAddress.of(text)


def test_where_to_listen() -> None:
    assert address("8251") == ("127.0.0.1", 8251)
    assert address("0.0.0.0:80") == ("0.0.0.0", 80)
    assert address("[::1]:0") == ("::1", 0)
    for text in ("", ":1", "host", "host:", "host:x", "1:2:70000"):
        with pytest.raises(ConfigError):
            address(text)
