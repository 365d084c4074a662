"""Networks that take turns in a real daemon: who answers, what telemetry says, what a wrong configuration says."""

from __future__ import annotations

import shutil
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.cli import main
from edged.daemon.selection import SelectingEngine, Selection
from edged.daemon.switching import open_first
from edged.selection.cascade import Cascade, Stage
from edged.selection.governor import Budget
from edged.selection.pool import open_member
from edged.selection.strategy import ByCascade
from edged.settings import ModelSettings, SelectionSettings, Settings
from edged.store import Store
from edged.types import Reading
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.selection import retrained
from tests.waiting import wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]

POOL = {"scenes_a", "scenes_b"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two retrained networks and a premodel for them."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("fitted")
    retrained.install(folder / "state")
    config = folder / "edged.toml"
    config.write_text(f'[storage]\nstate_dir = "{folder / "state"}"\n[model]\nname = "scenes_a"\nthreads = 1\n')
    photos = retrained.write_photos(folder / "photos")
    assert main(["premodel", "train", "--config", str(config), "--images", str(photos), "--folds", "2"]) == 0
    return folder


def start(run: Run, broker: Mosquitto, fitted: Path, selection: str, model: str = "scenes_a") -> Running:
    return run(
        broker.url,
        cameras=f'[cameras.photos]\nsource = "dir://{fitted / "photos"}"\nfps = 0',
        more=f"[selection]\n{selection}",
        state_dir=fitted / "state",
        environment={"EDGED_MODEL__NAME": model},
    )


@pytest.mark.parametrize("strategy", ["learned", "cascade", "premodel"])
def test_results_name_who_answered(strategy: str, broker: Mosquitto, run: Run, watch: Watch, fitted: Path) -> None:
    seen = watch(broker)
    device = start(run, broker, fitted, f'strategy = "{strategy}"')
    results = seen.wait("result/photos", 60)
    assert {result["network"] for result in results} <= POOL
    assert {result["label"] for result in results} <= set(retrained.LABELS)
    right = sum(result["label"] == retrained.LABELS[result["seq"] % 60 // 10] for result in results[:60])
    assert right > 30, "photos come by name, ten of each class"

    def mixed() -> list[dict[str, Any]]:
        """What was told of times in which frames were answered: on a busy machine there may be none for a while."""
        told = [message["selection"] for message in seen.decoded("telemetry")]
        return [selection for selection in told if selection["mix"]]

    wait_until(mixed, what="telemetry of answered frames")
    telemetry = mixed()[-1]
    assert telemetry["strategy"].startswith(strategy)
    assert telemetry["state"] == "normal"
    assert telemetry["reason"] == "within budget"
    assert set(telemetry["mix"]) <= POOL
    assert sum(telemetry["mix"].values()) == pytest.approx(1, abs=0.01)
    assert device.stop() == 0


def test_without_selection_nothing_is_said_of_it(broker: Mosquitto, run: Run, watch: Watch, fitted: Path) -> None:
    seen = watch(broker)
    device = start(run, broker, fitted, 'strategy = "none"')
    assert "network" not in seen.wait("result/photos", 3)[-1]
    assert "selection" not in seen.wait("telemetry")[-1]
    assert device.stop() == 0


def test_a_limit_without_a_sensor_is_one_warning(broker: Mosquitto, run: Run, watch: Watch, fitted: Path) -> None:
    device = start(run, broker, fitted, 'strategy = "learned"\nmax_power_mw = 5000')
    seen = watch(broker)
    telemetry = seen.wait("telemetry", 3)[-1]
    if "power_mw" in telemetry:
        pytest.skip("this machine has a power sensor")
    assert telemetry["selection"]["state"] == "normal"
    device.wait_for_log("selection.max_power_mw = 5000: this machine has no power sensor; the limit is not kept")
    assert device.stop() == 0
    assert device.log.count("no power sensor") == 1


def test_a_model_for_other_classes_goes_before(broker: Mosquitto, run: Run, watch: Watch, fitted: Path) -> None:
    seen = watch(broker)
    device = start(run, broker, fitted, 'strategy = "learned"', model="mobilenet_v2")
    assert "network" not in seen.wait("result/photos", 3)[-1]
    assert seen.wait("telemetry")[-1]["selection"]["state"] == "off"
    assert device.stop() == 0
    assert "selection is off: mobilenet_v2" in device.log


def test_the_selection_goes_on_after_a_change_of_model_and_a_rollback(
    broker: Mosquitto, run: Run, watch: Watch, fitted: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted / "state", tmp_path / "state")
    seen = watch(broker)
    device = run(
        broker.url,
        cameras=f'[cameras.photos]\nsource = "dir://{fitted / "photos"}"\nfps = 40',
        more='[selection]\nstrategy = "learned"',
        state_dir=tmp_path / "state",
        environment={"EDGED_MODEL__NAME": "scenes_a"},
    )
    seen.wait("result/photos", 3)

    def state_after(command: str, **args: str) -> str:
        _, job, _ = seen.command(command, **args)
        assert job is not None
        assert job["status"] == "succeeded", job
        told = len(seen.of("telemetry"))
        telemetry = seen.wait("telemetry", told + 2)[-1]["selection"]
        wait_until(lambda: "network" in seen.decoded("result/photos")[-1], what="an answer of the selection")
        return f"{telemetry['strategy'].partition(' ')[0]} {telemetry['state']}"

    assert state_after("models_use", model="scenes_b") == "learned normal"
    assert state_after("rollback") == "learned normal"
    _, job, _ = seen.command("models_use", model="mobilenet_v2")
    assert job is not None
    assert job["status"] == "succeeded"
    device.wait_for_log("selection is off: mobilenet_v2")
    assert state_after("rollback") == "learned normal"
    assert device.stop() == 0


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ('strategy = "learned"\npremodel = "other"', "no premodel 'other' is fitted here"),
        ('strategy = "learned"\npool = ["scenes_a", "mobilenet_v2"]', "a pool must share one label set"),
        ('strategy = "learned"\npool = ["scenes_a"]', "at least two networks"),
        ('strategy = "best"', "selection.strategy = 'best'"),
        ("max_temp_c = -1", "selection.max_temp_c = -1"),
    ],
)
def test_a_wrong_configuration_is_one_line(
    selection: str, message: str, broker: Mosquitto, run: Run, fitted: Path
) -> None:
    device = start(run, broker, fitted, selection)
    assert device.wait() == 2
    assert message in device.log.splitlines()[-1]


@pytest.fixture
def selection(tmp_path: Path) -> Selection:
    """Two networks of which the second always runs, but at the cheapest point."""
    bundles = retrained.install(tmp_path / "state")
    grey = np.full((64, 64, 3), 127, np.uint8)
    members = {n: open_member(b, b.name, ModelSettings(threads=1), grey) for n, b in enumerate(bundles)}
    stages = (Stage(0, (1.0,), 1.0), Stage(1, (1.0, 1.0), 1.0))
    cascade = Cascade(stages, (np.inf, -1.0), 1, 1, (0.0, 1.0), (0.3,), (1.0,))
    return Selection("cascade", ByCascade(cascade), members, [4.0, 8.0], Budget(max_temp_c=80))


def test_heat_is_answered_by_a_cheaper_network(selection: Selection) -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    prepared = selection.members[0].network.prepare(image)
    assert selection.classify(prepared, image).network == "scenes_b"
    said = selection.telemetry(Reading(temp_c={"cpu": 85.0}))
    assert said["mix"] == {"scenes_b": 1.0}
    assert (said["state"], said["reason"], said["point"]) == ("reduced", "temp_c 85 > 80", 0)
    answer = selection.classify(prepared, image)
    assert answer.network == "scenes_a"
    assert selection.telemetry(Reading(temp_c={"cpu": 70.0}))["mix"] == {"scenes_a": 1.0}
    alone = selection.members[0].network.infer(prepared)
    assert answer.answer == pytest.approx(alone.scores)
    affine = answer.witness.network.bottleneck_affine
    assert affine.dequantize(answer.bottleneck) == pytest.approx(alone.embedding)


def test_audited_frames_run_every_network_and_move_the_thresholds(selection: Selection) -> None:
    stages = (Stage(0, (1.0,), 1.0), Stage(1, (0.0, 1.0), 1.0))
    never_asks = ByCascade(Cascade(stages, (0.5,), 0, 0, (0.3,), (0.001,), (0.1,)))
    audited = Selection("cascade", never_asks, selection.members, [4.0], Budget(), audit=1.0)
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    prepared = audited.members[0].network.prepare(image)
    for _ in range(20):
        assert audited.classify(prepared, image).network == "scenes_b"
    said = audited.telemetry(Reading())
    assert said["audits"] == 20
    assert len(said["doubted"]) == 1
    fitted, now = never_asks.cascade.stages[0], audited.strategy.cascade.stages[0]
    assert now.next_cost == pytest.approx(fitted.next_cost / said["doubted"][0], rel=1e-3)
    assert said["doubted"][0] > 1
    never = Selection("cascade", never_asks, selection.members, [4.0], Budget(), audit=0.0)
    never.classify(prepared, image)
    assert "audits" not in never.telemetry(Reading())


def test_power_is_integrated_and_a_budget_makes_pauses(selection: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    """5 W for 10 s and 20 frames are 2.5 J a frame; a budget of 1 W leads to pauses between frames."""
    now = [100.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    clock = types.SimpleNamespace(monotonic=lambda: now[0], perf_counter_ns=lambda: int(now[0] * 1e9), sleep=sleep)
    monkeypatch.setattr("edged.daemon.selection.time", clock)
    frugal = Selection("cascade", selection.strategy, selection.members, [4.0, 8.0], Budget(max_power_mw=1000))
    image = np.zeros((224, 224, 3), np.uint8)
    prepared = frugal.members[0].network.prepare(image)
    run = frugal.strategy.classify

    class Timed:
        """The strategy, on a clock that moves by 10 ms a frame."""

        def __getattr__(self, name: str) -> Any:
            return getattr(selection.strategy, name)

        def classify(self, look: Any, point: int) -> Any:
            now[0] += 0.01
            return run(look, point)

    frugal.strategy = Timed()  # type: ignore[assignment] # it has all that a strategy has, by delegation
    for _ in range(20):
        frugal.sample(Reading(power_mw={"VDD_IN": 5000}))
        frugal.classify(prepared, image)
        now[0] += 0.49
    said = frugal.telemetry(Reading(power_mw={"VDD_IN": 5000}))
    assert said["energy_j"] == pytest.approx(50)
    assert said["frame_mj"] == pytest.approx(2500)
    assert not slept
    for _ in range(8):
        now[0] += 5
        said = frugal.telemetry(Reading(power_mw={"VDD_IN": 5000}))
    assert said["level"] < 0
    assert said["reason"] == "max_power_mw = 1000: with pauses"
    frugal.classify(prepared, image)
    frugal.classify(prepared, image)
    assert len(slept) == 1
    assert slept[0] == pytest.approx(0.01 * -said["level"] / (1 + said["level"]), rel=0.01)


def test_counts_hold_while_telemetry_reads_them(selection: Selection) -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    prepared = selection.members[0].network.prepare(image)
    frames = 40

    def classify() -> None:
        for _ in range(frames):
            selection.classify(prepared, image)

    thread = threading.Thread(target=classify)
    thread.start()
    said = []
    while thread.is_alive():
        said.append(selection.telemetry(Reading()))
    thread.join()
    said.append(selection.telemetry(Reading()))
    assert all(sum(each["mix"].values()) in (0, pytest.approx(1, abs=1e-3)) for each in said)


def test_settings_are_off_by_default() -> None:
    assert SelectionSettings() == SelectionSettings(
        strategy="none",
        premodel="default",
        point="default",
        pool=(),
        audit=0.01,
        max_mean_ms=None,
        max_power_mw=None,
        max_temp_c=None,
    )


def test_a_cascade_whose_first_network_does_not_know_what_it_was_taught_says_so(
    broker: Mosquitto, run: Run, watch: Watch, fitted: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("EDGED_MODEL__NAME", "scenes_a")
    seen = watch(broker)
    device = start(run, broker, fitted, 'strategy = "cascade"')
    seen.wait("result/photos")
    first = next(name for name in POOL if f"selection: {name} sees every frame" in device.log)
    assert device.log.count("nothing is called unknown") == 1
    capsys.readouterr()
    assert main(["check", "--config", str(device.config)]) == 0
    said = f"# unknown: {first} does not know what it was taught, and calls nothing unknown"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    "file", ["premodels/default/manifest.json", "premodels/default/arrays.npz", "models/scenes_b/manifest.json"]
)
def test_a_damaged_selection_leaves_the_network_that_is_whole(file: str, fitted: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(fitted / "state", state)
    settings = Settings.model_validate(
        {
            "storage": {"state_dir": state},
            "model": {"name": "scenes_a", "threads": 1},
            "selection": {"strategy": "learned"},
        }
    )
    assert isinstance(open_first(settings, Store(state)), SelectingEngine)
    (state / file).write_bytes((state / file).read_bytes()[:100])
    engine = open_first(settings, Store(state))
    assert (engine.bundle.name, isinstance(engine, SelectingEngine)) == ("scenes_a", False)
    assert str((state / file).parent) in (engine.trouble or "")
    assert (engine.trouble or "").endswith(f"scenes_a ({engine.bundle.id}) answers alone")


def test_a_network_that_is_gone_stops_the_start(
    broker: Mosquitto, run: Run, watch: Watch, fitted: Path, tmp_path: Path
) -> None:
    shutil.copytree(fitted / "state", tmp_path / "less")
    Store(tmp_path / "less").remove("scenes_b")
    device = run(
        broker.url,
        more='[selection]\nstrategy = "learned"',
        state_dir=tmp_path / "less",
        environment={"EDGED_MODEL__NAME": "scenes_a"},
    )
    wait_until(lambda: not device.running, what="the end")
    assert device.wait() == 2
    assert "fitted for scenes_b" in device.log.splitlines()[-1]
