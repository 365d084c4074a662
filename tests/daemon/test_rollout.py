"""A roll-out over real daemons: a model that is truly slower than theirs is taken back from the first of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edged.ctl import connect, main
from edged.store import Store
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.networks import KINDS, made, make
from tests.waiting import PATIENCE_S, wait_until

FAST = "made_v1_128"
CAMERA = '[cameras.main]\nsource = "pattern"\nfps = 5'


def test_a_slower_model_is_taken_back_from_the_canary(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(connect, "_CONNACK_V5_S", PATIENCE_S)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "workstation"))
    fast = made(FAST)
    slow, labels = make(replace(KINDS[FAST], size=448)).write(tmp_path, "slow")  # the same layers, twelve times as long
    seen = {}
    for name in ("line-1", "line-2"):
        Store(tmp_path / name / "state").add(fast.model, fast.labels, name=FAST, width=128, height=128)
        seen[name] = watch(broker, name)
        run(broker.url, folder=name, device=name, cameras=CAMERA, environment={"EDGED_MODEL__NAME": FAST})
    for one in seen.values():
        one.wait_for_state("online")
        one.wait("result/main")
    options = ["--labels", str(labels), "--canary", "1", "--hold", "1s", "--slower", "100%"]
    common = ["--broker", broker.url, "--timeout", f"{PATIENCE_S:g}", "--device", "line-*"]
    assert main([*common, "models", "push", str(slow), *options]) == 1
    told = capsys.readouterr().out
    (canary,) = (name for name in seen if f"canaries: {name}\n" in told)
    assert f"rolled back: {canary}: latency p95" in told, told
    answered = {name: [model["name"] for model in one.decoded("model")] for name, one in seen.items()}
    (other,) = seen.keys() - {canary}
    assert set(answered[other]) == {FAST}, "the other one never had it"
    assert "slow" in answered[canary]
    wait_until(lambda: seen[canary].decoded("model")[-1]["name"] == FAST, what="the old model again")
    assert main([*common, "rollouts", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert {name: one["phase"] for name, one in record["devices"].items()} == {canary: "back", other: "waiting"}
