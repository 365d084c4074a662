"""Roll-outs over real daemons: a model that is truly slower than theirs, and one that names their images worse."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edged.ctl import connect, main
from edged.ctl.rollout.plan import Share, waves_of
from edged.store import Store
from tests.albums import LABELS, make_album
from tests.ctl.rollout.model_device import ModelDevice
from tests.daemon.running import Running, Watcher
from tests.heads import headed
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
    # Some twenty messages: one in which the device stood still is then no quarter of them, which the verdict looks at.
    options = ["--labels", str(labels), "--canary", "1", "--hold", "6s", "--slower", "100%"]
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


def test_a_model_that_is_worse_on_the_canary_s_own_images_never_answers(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(connect, "_CONNACK_V5_S", PATIENCE_S)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "workstation"))
    worse = headed(("discs", "checks", "stripes"))
    new = hashlib.sha256(worse).hexdigest()[:12]
    ((canary,), (other,)) = waves_of(["line-1", "line-2"], new, Share("1"), [])
    (tmp_path / "worse.tflite").write_bytes(worse)
    (tmp_path / "worse.txt").write_text("".join(f"{label}\n" for label in LABELS))
    state = tmp_path / "device" / "state"
    make_album(state / "images", 15)
    sound = Store(state).add(headed(), LABELS, name="sound", width=224, height=224)
    run(broker.url, device=canary, cameras=CAMERA, environment={"EDGED_MODEL__NAME": "sound"})
    seen = watch(broker, canary)
    seen.wait_for_state("online")
    seen.wait("result/main")
    common = ["--broker", broker.url, "--timeout", f"{PATIENCE_S:g}", "--device", "line-*"]
    push = ["models", "push", str(tmp_path / "worse.tflite"), "--labels", str(tmp_path / "worse.txt")]
    with ModelDevice(broker.port, other) as second:
        assert main([*common, *push, "--canary", "1", "--hold", "1s"]) == 1
        told = capsys.readouterr().out
        assert main([*common, "rollouts", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["devices"][canary]["accuracy"]
    assert (found["against"], found["before"], found["images"], found["beyond_chance"]) == (sound.id, 1.0, 6, True)
    assert found["after"] < 0.5
    why = f"accuracy 100.0% → {found['after']:.1%} on 6 test images"
    assert f"rolled back: {canary}: {why}\n" in told, told
    assert {model["id"] for model in seen.decoded("model")} == {sound.id}, "it never answered"
    assert (second.done["models_add"], second.done["models_use"]) == (0, 0)
