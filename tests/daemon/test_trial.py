"""A model cannot take the device down: real daemons, killed while one is on trial, and what is damaged on disk."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.cli import main
from edged.store import Store
from tests.crafted import CRAFTED, hungry, shipped_model
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.networks import SHIPPED
from tests.waiting import wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]

SLOW = '[cameras.main]\nsource = "pattern"\nfps = 1'
"""Ten frames of it take long: a model stays on trial."""


def add_another(state_dir: Path, name: str = "other") -> str:
    """Install the shipped model again with a byte that nothing reads; return its id."""
    store = Store(state_dir)
    shipped = store.find("mobilenet_v2")
    return store.add(shipped.read_model() + name.encode(), shipped.labels, name=name, width=224, height=224).id


def use(seen: Watcher, model: str) -> None:
    _, job, _ = seen.command("models_use", model=model)
    assert job is not None
    assert job["status"] == "succeeded", job


def trial(state_dir: Path) -> dict[str, Any] | None:
    path = state_dir / "trial.json"
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def wait_for_model(seen: Watcher, model: str) -> dict[str, Any]:
    wait_until(lambda: seen.decoded("model") and seen.decoded("model")[-1]["id"] == model, what=f"model {model}")
    return seen.decoded("model")[-1]


def wait_for_results(seen: Watcher) -> None:
    """Wait for two more, both of the daemon that runs now: those that one before left on its disk come first."""
    before = len(seen.of("result/main"))

    def come() -> bool:
        results = seen.decoded("result/main")
        if len(results) < before + 2:
            return False
        return {result["boot"] for result in results[-2:]} == {seen.decoded("info")[-1]["boot"]}

    wait_until(come, what="results")


def test_a_device_that_dies_with_a_model_on_trial_comes_back_with_the_one_before(
    broker: Mosquitto, run: Run, watch: Watch
) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras=SLOW)
    first = seen.wait("model")[0]["id"]
    seen.wait("result/main")
    new = add_another(device.state_dir)
    use(seen, "other")
    assert trial(device.state_dir) == {"id": new, "starts": 1, "proven": False}
    device.kill()
    device.start()
    told = wait_for_model(seen, first)
    assert told["fallback"]["id"] == new
    assert told["fallback"]["reason"] == "the daemon ended while it was on trial"
    wait_until(lambda: seen.decoded("info")[-1].get("degraded"), what="info that tells of it")
    assert f"model {new} was given up: the daemon ended while it was on trial" in seen.decoded("info")[-1]["degraded"]
    assert f"model {new} is given up" in device.log
    wait_for_results(seen)
    assert seen.decoded("result/main")[-1]["model"] == first
    use(seen, "mobilenet_v2")
    wait_until(lambda: "fallback" not in seen.decoded("model")[-1], what="a choice that ends the message")
    wait_until(lambda: "degraded" not in seen.decoded("info")[-1], what="info without it")


def test_a_model_that_has_answered_live_frames_is_not_blamed_for_one_end(
    broker: Mosquitto, run: Run, watch: Watch
) -> None:
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    new = add_another(device.state_dir)
    use(seen, "other")
    wait_until(lambda: (trial(device.state_dir) or {}).get("proven"), what="the proof")
    for starts in (2, 3):
        device.kill()
        device.start()
        wait_until(lambda starts=starts: (trial(device.state_dir) or {}).get("starts") == starts, what="the count")
        assert wait_for_model(seen, new)
    device.kill()
    device.start()
    wait_until(lambda: seen.decoded("model")[-1]["id"] != new, what="the model before it")
    assert "3 times" in seen.decoded("model")[-1]["fallback"]["reason"]


def test_an_end_in_order_is_no_failure_of_a_model_on_trial(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    device = run(broker.url, cameras=SLOW)
    seen.wait("result/main")
    new = add_another(device.state_dir)
    use(seen, "other")
    assert device.stop() == 0
    assert trial(device.state_dir) == {"id": new, "starts": 0, "proven": False}
    device.start()
    wait_until(lambda: trial(device.state_dir) == {"id": new, "starts": 1, "proven": False}, what="another try")
    assert wait_for_model(seen, new)
    wait_for_results(seen)
    assert device.stop() == 0


OVERTAKEN = """
import sys, threading
from edged.cli import main
from edged.daemon.app import Daemon
from edged.daemon.switching import ModelSwitch

ended, stop_link = threading.Event(), Daemon._stop_link

def late(daemon):
    ended.set()
    daemon.commands._thread.join()
    stop_link(daemon)

Daemon._stop_link = late
ModelSwitch._examine = lambda *_: ended.wait()
sys.exit(main(sys.argv[4:]))
"""
"""`edged run`, where `models_use` is overtaken by a stop: it goes on when all but the link has ended."""


def test_a_stop_that_overtakes_a_change_of_model_strikes_no_model(
    broker: Mosquitto, watch: Watch, tmp_path: Path
) -> None:
    seen = watch(broker)
    device = Running(tmp_path / "device", broker.url)
    device.start(sys.executable, "-c", OVERTAKEN)
    try:
        seen.wait("result/main")
        new = add_another(device.state_dir)
        id_ = seen.send("models_use", model="other")
        device.wait_for_log("command models_use")
        assert device.stop() == 0
    finally:
        device.kill()
    assert trial(device.state_dir) is None
    assert Store(device.state_dir).current("mobilenet_v2").id != new
    assert seen.wait(f"job/{id_}")[-1]["error"] == f"model {new} is not tried, for the daemon stops"


def test_an_operator_goes_back_without_a_daemon(
    broker: Mosquitto, run: Run, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = watch(broker)
    device = run(broker.url)
    first = seen.wait("model")[0]["id"]
    seen.wait("result/main")
    add_another(device.state_dir)
    use(seen, "other")
    device.kill()
    (device.state_dir / "current" / "labels.txt").write_text("")
    add_another(device.state_dir, "third")
    assert main(["models", "use", "third", "--config", str(device.config)]) == 0
    assert main(["rollback", "--config", str(device.config)]) == 0
    assert first in capsys.readouterr().out.splitlines()[-1]
    device.start()
    assert wait_for_model(seen, first)
    wait_for_results(seen)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop_a_line(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a label is missing": lambda state: drop_a_line(state / "current/labels.txt"),
    "no labels": lambda state: (state / "current/labels.txt").write_bytes(b""),
    "labels are not text": lambda state: (state / "current/labels.txt").write_bytes(b"\xff\xfe"),
    "labels are gone": lambda state: (state / "current/labels.txt").unlink(),
    "half a manifest": lambda state: shorten(state / "current/manifest.json"),
    "no manifest": lambda state: (state / "current/manifest.json").unlink(),
    "half a model": lambda state: shorten(state / "current/model.tflite"),
    "no version": lambda state: shutil.rmtree((state / "current").resolve()),
}
"""What is damaged → how."""
KEPT: dict[str, Callable[[Path], object]] = {
    "half a history": lambda state: shorten(state / "history.json"),
    "no history": lambda state: (state / "history.json").unlink(),
    "no link": lambda state: (state / "current").unlink(),
    "half a familiarity": lambda state: (state / "current/familiarity.npz").write_bytes(b"PK"),
    "a damaged trial": lambda state: (state / "trial.json").write_bytes(b"\0"),
}
"""Damage that the current version survives."""


@pytest.fixture(scope="module")
def kept_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first of the tests of damage leaves the state that all of them begin with."""
    return tmp_path_factory.mktemp("kept") / "state"


def two_versions(kept: Path, broker: Mosquitto, run: Run, watch: Watch) -> list[str]:
    """Return the ids of two versions that a daemon has used, one after the other, and ended in order."""
    if not kept.exists():
        seen = watch(broker)
        device = run(broker.url, state_dir=kept.with_name("first"))
        seen.wait("result/main")
        ids = []
        for name in ("one", "two"):
            ids.append(add_another(device.state_dir, name))
            use(seen, name)
        assert device.stop() == 0
        (device.state_dir / "ids").write_text(" ".join(ids))
        device.state_dir.rename(kept)
    return (kept / "ids").read_text().split()


@pytest.mark.parametrize("damage", [*DAMAGES, *KEPT])
def test_whatever_is_damaged_the_device_runs(
    broker: Mosquitto, run: Run, watch: Watch, damage: str, kept_state: Path, tmp_path: Path
) -> None:
    ids = two_versions(kept_state, broker, run, watch)
    state = tmp_path / "damaged"
    shutil.copytree(kept_state, state, symlinks=True)
    ({**DAMAGES, **KEPT}[damage])(state)
    seen = watch(broker)
    device = run(broker.url, state_dir=state)
    wait_for_results(seen)
    answers = ids[0] if damage in DAMAGES else ids[1]
    told = wait_for_model(seen, answers)
    assert told.get("fallback", {}).get("id") == (ids[1] if damage in DAMAGES else None)
    assert device.stop() == 0
    assert "Traceback" not in device.log


def push(seen: Watcher, model: bytes, name: str) -> dict[str, Any]:
    """Send a model as edgectl does; return the job's end."""
    sha256 = hashlib.sha256(model).hexdigest()
    size = 512 * 1024
    for offset in range(0, len(model), size):
        data = base64.b64encode(model[offset : offset + size]).decode()
        ack = seen.ack("models_chunk", sha256=sha256, size=len(model), offset=offset, data=data)
        assert ack["status"] == "accepted", ack
    labels = (SHIPPED / "labels.txt").read_text(encoding="utf-8").splitlines()
    _, job, _ = seen.command("models_add", sha256=sha256, name=name, labels=labels)
    assert job is not None
    return job


def test_models_that_end_their_process_are_refused_by_a_daemon_that_goes_on(
    broker: Mosquitto, run: Run, watch: Watch
) -> None:
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    for number, (name, make) in enumerate({**CRAFTED, "hungry": lambda: hungry(10**12)}.items()):
        job = push(seen, make(), f"crafted{number}")
        assert job["status"] != "succeeded", name
        assert job["error"].startswith(f"crafted{number}: "), job["error"]
    assert push(seen, shipped_model() + b"sound", "sound")["status"] == "succeeded"
    wait_for_results(seen)
    assert len({result["model"] for result in seen.decoded("result/main")}) == 1
    assert device.running
    assert device.log.count("on device dut") == 1, "it was not started anew"
    device.signal(signal.SIGTERM)
    assert device.wait() == 0
    assert "Traceback" not in device.log


def test_a_model_that_dies_only_of_live_frames_is_not_promoted(broker: Mosquitto, run: Run, watch: Watch) -> None:
    """What was installed by other ways, or by an older edged, is examined when it shall answer."""
    seen = watch(broker)
    device = run(broker.url)
    first = seen.wait("model")[0]["id"]
    seen.wait("result/main")
    store = Store(device.state_dir)
    labels = store.find("mobilenet_v2").labels
    store.add(hungry(10**12), labels, name="hungry", width=224, height=224)
    _, job, _ = seen.command("models_use", model="hungry")
    assert job is not None
    assert job["status"] == "failed"
    assert "the old one goes on" in job["error"]
    wait_for_results(seen)
    assert store.current("mobilenet_v2").id == first
    assert trial(device.state_dir) is None
