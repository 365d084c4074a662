"""What devices say of themselves while they are watched, and which of it is trouble."""

from __future__ import annotations

import pytest

from edged.contract.messages import (
    Alert,
    Fallback,
    Familiarity,
    Info,
    Latency,
    Message,
    ModelInfo,
    Telemetry,
    timestamp,
)
from edged.ctl.rollout.observation import EARLY, OFFLINE_S, Watch, trouble
from edged.ctl.rollout.record import DeviceRecord
from edged.ctl.rollout.verdict import Limits, Measured, Sample
from edged.ctl.subscription import Incoming

NEW, OLD = "c8bc6caecba7", "f68388c93b64"
BEFORE = Sample(fps=10.0, p95_ms=30.0, familiarity=0.5, unknown=0.0)


def said(topic: str, message: Message | bytes, at: float = 0.0, device: str = "a") -> Incoming:
    payload = message if isinstance(message, bytes) else message.encode()
    return Incoming(device, tuple(topic.split("/")), payload, False, at)


def telemetry(p95: float = 30.0, boot: str | None = "b1") -> Telemetry:
    return Telemetry(
        latency_ms=Latency(p50=p95, p95=p95, p99=p95, max=p95),
        fps=10.0,
        frames=1,
        dropped=0,
        outbox=0,
        boot=boot,
        familiarity=Familiarity(mean=0.5, unknown=0.0, frames=50),
    )


def model(id_: str, why: str | None = None) -> ModelInfo:
    fallback = Fallback(id=NEW, reason=why, since=timestamp()) if why else None
    return ModelInfo(id=id_, name="birds", backbone="b", labels=["x"], fallback=fallback)


def alert(name: str) -> Alert:
    return Alert(name=name, since=timestamp(), reason="the frames are strange")


def info(boot: str) -> Info:
    return Info(device="a", boot=boot, state="running", versions={}, cameras={}, runtime="r", sensors="s", commands=[])


def seen(*messages: Incoming, over: bool = True, now: float = 100.0, alerts: list[str] | None = None) -> str | None:
    watch = Watch(["a"], {"a": "b1"}, skip=1)
    for message in (said("state", b"online"), said("model", model(NEW)), said("telemetry", telemetry(999)), *messages):
        watch.take(message)
    known = DeviceRecord(baseline=Measured.of([BEFORE] * 5), alerts=alerts or [])
    return trouble(watch.devices["a"], known, NEW, Limits(), now, over=over)


GOOD = [said("telemetry", telemetry())] * 5
SLOW = said("telemetry", telemetry(60.0))


def test_a_device_that_is_as_it_was_is_no_trouble() -> None:
    assert seen(*GOOD) is None, "the message whose window began before the switch does not count"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([said("model", model(OLD, "2 frames failed"))], f"went back to birds ({OLD}) by itself: 2 frames failed"),
        ([said("model", model(OLD))], "somebody let another model answer"),
        ([said("telemetry", telemetry(boot="b2"))], "started again"),
        ([said("info", info("b2"))], "started again"),
        ([said("alert/drift", alert("drift"))], "alert drift: the frames are strange"),
        ([said("state", b"offline", 100.0 - OFFLINE_S - 1)], "is offline"),
    ],
)
def test_what_is_trouble_at_once(messages: list[Incoming], words: str) -> None:
    assert words in (seen(*GOOD, *messages, over=False) or "")


def test_what_is_none() -> None:
    assert seen(*GOOD, said("alert/drift", alert("drift")), alerts=["drift"]) is None, "it stood before"
    assert seen(*GOOD, said("alert/drift", alert("drift")), said("alert/drift", b"")) is None, "it is over"
    assert seen(*GOOD, said("state", b"offline", 100.0 - OFFLINE_S + 1), over=False) is None, "it may come back"
    assert seen(*GOOD, said("state", b"offline", 100.0 - OFFLINE_S + 1)) == "is offline"
    back = [said("state", b"offline", 1.0), said("state", b"online", 2.0)]
    assert seen(*GOOD, *back) is None
    assert seen(*GOOD, said("telemetry", telemetry(boot=None))) is None, "an older daemon does not name its start"
    assert seen(*GOOD, said("model", b"{nothing"), said("telemetry", b"\xff"), said("alert/x", b"[]")) is None


def test_a_slow_one_is_told_at_the_end_or_when_it_is_certain() -> None:
    assert seen(*[SLOW] * 4) == "latency p95 30.0 → 60.0 ms"
    assert seen(*[SLOW] * 4, over=False) is None
    assert seen(*[SLOW] * EARLY, over=False) == "latency p95 30.0 → 60.0 ms"
    assert "cannot be judged" in (seen(SLOW) or "")


def test_others_are_not_watched() -> None:
    watch = Watch(["a"])
    assert watch.take(said("state", b"online", device="b")) is None
    assert watch.take(said("state", b"online")) == "a"
    assert list(watch.devices) == ["a"]
