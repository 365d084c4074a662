"""The wire contract, one golden JSON per message. A change here is a change of the contract."""

import json
from pathlib import Path

import pytest

from edged.contract import commands as c
from edged.contract import messages as m

GOLDEN = Path(__file__).with_name("golden")
TS = "2026-01-31T12:00:00.000Z"

EXAMPLES: dict[str, m.BaseModel] = {
    "result": m.Result(
        ts=TS, seq=7, boot="5f0c91ab", camera="main", model="0123456789ab", label="tabby", score=0.81, familiarity=0.42,
        top=[m.Score(label="tabby", score=0.81), m.Score(label="tiger cat", score=0.11)],
        latency_ms=m.ResultLatency(capture=3.5, preprocess=1.25, invoke=7.5, total=14.0),
    ),
    "result_of_a_region": m.Result(
        ts=TS, seq=8, boot="5f0c91ab", camera="main", model="0123456789ab", label="tabby", score=0.81,
        top=[m.Score(label="tabby", score=0.81)],
        latency_ms=m.ResultLatency(capture=3.5, preprocess=0.5, invoke=7.5, total=12.0),
        box=(0.25, 0.5, 0.125, 0.25), track="3", ended=True,
    ),
    "label": m.CameraLabel(ts=TS, label="tabby", score=0.81, familiarity=0.42, since=TS),
    "telemetry": m.Telemetry(
        ts=TS, power_mw={"VDD_IN": 4200}, temp_c={"CPU": 41.5}, load={"cpu": 0.25, "memory": 0.5}, throttled=False,
        latency_ms=m.Latency(p50=9.0, p95=11.0, p99=12.0, max=15.0), fps=28.5, frames=142, dropped=1, outbox=0,
        boot="5f0c91ab", familiarity=m.Familiarity(mean=0.47, unknown=0.02, frames=142),
        seen={"main": m.Seen(label="tabby", score=0.81, familiarity=0.42)},
        drift={"main": m.Drift(statistic=0.52, p=0.31, frames=720)}, alerts=["drift"],
    ),
    "telemetry_without_sensors": m.Telemetry(ts=TS, fps=0.0, frames=0, dropped=0, outbox=12),
    "info": m.Info(
        ts=TS, device="tx2-01", boot="5f0c91ab", state="degraded", versions={"edged": "0.1.0"},
        cameras={"main": m.CameraInfo(source="csi://0", state="degraded", error="no frame for 5 s")},
        runtime="litert", sensors="tegra", commands=["set", "snapshot", "status"], lr=0.1,
        degraded=[
            "camera main: no frame for 5 s",
            "storage: /var/lib/edged takes no more (database or disk is full); in memory until there is room: commands",
        ],
        sensors_error="jtop cannot be used, reading without it: no answer within 5 s",
        performance=m.PerformanceInfo(
            l4t="32.6.1", nvpmodel="MAXN", jetson_clocks=False, governor="schedutil", clock_mhz={"cpu": 2035},
            clock_range_mhz={"cpu": (346, 2035)},
        ),
    ),
    "model": m.ModelInfo(
        ts=TS, id="0123456789ab", name="mobilenet_v2", backbone="mobilenet_v2", labels=["a", "b"], accuracy=0.9,
    ),
    "alert": m.Alert(
        ts=TS, name="drift", since=TS, reason="camera main: 98% of taught images are more familiar than its frames"
    ),
    "ack": m.Ack(ts=TS, id="a1", status="rejected", error="dance: unknown command"),
    "job": m.Job(ts=TS, id="a1", cmd="snapshot", status="succeeded", progress=1.0, report={"label": "tabby"}),
}  # fmt: skip


@pytest.mark.parametrize("name", EXAMPLES)
def test_golden(name):
    path = GOLDEN / f"{name}.json"
    assert json.loads(EXAMPLES[name].encode()) == json.loads(path.read_text()), f"{path} is the contract"
    read_back = type(EXAMPLES[name]).model_validate_json(path.read_bytes())
    assert read_back == EXAMPLES[name]


@pytest.mark.parametrize("name", EXAMPLES)
def test_receivers_ignore_what_a_newer_sender_adds(name):
    document = json.loads((GOLDEN / f"{name}.json").read_text())
    assert type(EXAMPLES[name]).model_validate({**document, "newer": 1}) == EXAMPLES[name]


def test_a_command_as_a_sender_writes_it():
    path = GOLDEN / "command.json"
    message = c.CommandMessage.model_validate_json(path.read_bytes())
    assert message.id == "a1"
    assert c.SetArgs.model_validate(message.args) == c.SetArgs(camera="main", fps=5)


def test_every_timestamp_is_utc_with_milliseconds():
    assert m.timestamp(1769860800.0) == TS


def test_only_what_takes_a_while_stands_on_the_retained_job():
    assert {name for name, args in c.COMMANDS.items() if args.lasting} == {"retrain", "profile"}
    assert not [name for name, args in c.COMMANDS.items() if args.lasting and args.at_once]
