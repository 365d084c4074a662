"""Roll-outs from canaries to the end, on a real Mosquitto: held, taken back, interrupted and gone on with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edged.contract.commands import CommandMessage
from edged.ctl.client import Client
from edged.ctl.rollout import step
from edged.ctl.rollout.accuracy import accuracy_on
from edged.ctl.rollout.plan import Share, waves_of
from edged.ctl.rollout.verdict import Accuracy
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.ctl.conftest import environment
from tests.ctl.rollout.conftest import FIRST, LAST, NAMES, NEW, OPTIONS, SECOND, Devices, Run, phases, record
from tests.ctl.rollout.model_device import OLD, ModelDevice
from tests.waiting import PATIENCE_S, wait_until


def test_a_good_model_goes_from_the_canary_to_all(devices: Devices, push: Run, tmp_path: Path) -> None:
    line = devices()
    done = push("--waves", "50%,100%")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"birds ({NEW}) answers on 4 of 4 devices"), done
    assert [row for row in done.stdout.splitlines() if row[0] != " "][1:4] == [
        f"canaries: {FIRST}",
        f"wave 1 of 2: {SECOND}",
        f"wave 2 of 2: {', '.join(LAST)}",
    ]
    assert all(one.current == NEW and one.done["models_add"] == 1 for one in line.values())
    assert set(phases(tmp_path).values()) == {"held"}
    assert record(tmp_path)["status"] == "done"


def test_a_slower_model_is_taken_back_from_the_canary_and_nobody_else_gets_it(
    devices: Devices, push: Run, edgectl: Run, tmp_path: Path
) -> None:
    line = devices(p95_ms={NEW: 90.0})
    done = push()
    assert done.returncode == 1, done
    assert f"rolled back: {FIRST}: latency p95 20.0 → 90.0 ms" in done.stdout
    assert line[FIRST].history == [OLD]
    assert {name for name, one in line.items() if one.done["models_add"] or one.done["models_use"]} == {FIRST}
    listed = json.loads(edgectl("rollouts", "--json").stdout)
    assert (listed["status"], listed["devices"][FIRST]["phase"]) == ("back", "back")
    assert "taken back" in edgectl("rollouts").stdout
    assert phases(tmp_path)[SECOND] == "waiting"


def test_a_later_wave_that_is_worse_takes_back_the_canary_too(devices: Devices, push: Run) -> None:
    slow = devices(SECOND, p95_ms={NEW: 90.0})
    line = devices(*(set(NAMES) - {SECOND})) | slow
    done = push()
    assert done.returncode == 1
    assert f"1 of 3 devices of the wave are worse; {SECOND}: latency p95" in done.stdout
    assert all(one.history == [OLD] and one.done["models_use"] == 1 for one in line.values())


def test_one_worse_device_of_many_is_taken_back_alone(devices: Devices, push: Run, tmp_path: Path) -> None:
    many = [f"line-{number:02}" for number in range(12)]
    ((_,), (odd, *_)) = waves_of(many, NEW, Share("1"), [])
    line = devices(odd, p95_ms={NEW: 90.0}) | devices(*(set(many) - {odd}))
    done = push()
    assert done.returncode == 1
    assert done.stdout.splitlines()[-2:] == [
        f"birds ({NEW}) answers on 11 of 12 devices",
        f"  {odd}: latency p95 20.0 → 90.0 ms",
    ]
    assert {name for name, one in line.items() if one.current == OLD} == {odd}
    assert record(tmp_path)["status"] == "done"


def test_a_model_that_names_the_labeled_images_worse_never_answers(devices: Devices, push: Run, edgectl: Run) -> None:
    line = devices(accuracies={OLD: 0.9, NEW: 0.7})
    done = push()
    assert done.returncode == 1, done
    assert f"rolled back: {FIRST}: accuracy 90.0% → 70.0% on 20 test images\n" in done.stdout
    assert done.stdout.count("accuracy 90.0% → 70.0%") == 2, "once where it comes up, and at the end"
    assert {name for name, one in line.items() if one.done["models_add"] or one.done["models_compare"]} == {FIRST}
    assert [one.done["models_use"] for one in line.values()] == [0] * 4
    assert "90.0% → 70.0% (1 device)" in edgectl("rollouts").stdout
    again = push("--less-accurate", "25%")
    assert again.returncode == 0, "the same command begins anew after all was taken back"
    assert (
        f"{FIRST}: p95 20.0 ms, 10.0 frames/s, familiarity 50%, 2% unknown, accuracy 90.0% → 70.0% on" in again.stdout
    )
    assert {one.current for one in line.values()} == {NEW}


def test_what_the_images_cannot_tell_is_said(devices: Devices, push: Run, edgectl: Run) -> None:
    line = devices(FIRST, accuracies={OLD: 0.9, NEW: 0.8}) | devices(*(set(NAMES) - {FIRST}))
    done = push()
    assert done.returncode == 0, done
    few = "accuracy (90.0% → 80.0% on 20 test images: too few to tell from chance)"
    assert f"{FIRST}: p95 20.0 ms" in done.stdout
    assert f": holds (not judged: {few})" in done.stdout
    assert done.stdout.count("holds (not judged: accuracy (no labeled image of the test side))") == 3
    assert {one.current for one in line.values()} == {NEW}
    told = json.loads(edgectl("rollouts", "--json").stdout)["devices"]
    assert (told[FIRST]["accuracy"]["before"], told[FIRST]["accuracy"]["after"]) == (0.9, 0.8)
    assert told[SECOND]["accuracy"]["why"] == "no labeled image of the test side"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        ("models_compare: unknown command; known here: status", "its edged is older than this edgectl"),
        ("birds: damaged", "models_compare rejected: birds: damaged"),
    ],
)
def test_a_device_that_cannot_compare_is_no_reason_against_a_model(
    devices: Devices, broker_port: int, monkeypatch: pytest.MonkeyPatch, error: str, why: str
) -> None:
    def refuse(self: ModelDevice, command: CommandMessage) -> None:
        self._job(command, "rejected", "models_compare", error=error)

    devices(FIRST)
    monkeypatch.setattr(ModelDevice, "_do_models_compare", refuse)
    with Client(brokers(MqttSettings(url=f"mqtt://127.0.0.1:{broker_port}")), timeout_s=PATIENCE_S) as client:
        assert accuracy_on(client, FIRST, NEW) == Accuracy(why=why)


def test_a_comparison_whose_end_was_lost_is_asked_for_again(
    devices: Devices, broker_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare, lost = ModelDevice._do_models_compare, []

    def forgetful(self: ModelDevice, command: CommandMessage) -> None:
        if lost:
            compare(self, command)
        lost.append(command)

    devices(FIRST, accuracies={OLD: 0.9, NEW: 0.95})
    monkeypatch.setattr(ModelDevice, "_do_models_compare", forgetful)
    monkeypatch.setattr(step, "SLOW_S", 0.5 - PATIENCE_S)
    with Client(brokers(MqttSettings(url=f"mqtt://127.0.0.1:{broker_port}")), timeout_s=PATIENCE_S) as client:
        assert accuracy_on(client, FIRST, NEW).numbers == "90.0% → 95.0% on 20 test images"
    assert len(lost) == 2


def test_limits_are_taken_from_the_command_line(devices: Devices, push: Run) -> None:
    devices(p95_ms={NEW: 90.0})
    assert push("--slower", "400%").returncode == 0


def test_a_device_that_went_back_by_itself_is_noticed(devices: Devices, push: Run) -> None:
    line = devices(gives_up=(NEW,))
    done = push()
    assert done.returncode == 1
    assert "went back to mobilenet_v2" in done.stdout
    assert "the daemon ended while it was on trial" in done.stdout
    canary = line[FIRST].done
    assert (canary["rollback"], canary["models_use"]) == (0, 1), "its old model answers already"


def test_a_canary_that_does_not_answer_is_not_passed_over(
    devices: Devices, push: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "SLOW_S", 2.0 - PATIENCE_S)
    line = devices()
    line[FIRST].stall = "models_use"
    done = push()
    assert done.returncode == 1, done
    assert f"rolled back: {FIRST}: said nothing more of models_use" in done.stdout
    assert {name for name, one in line.items() if one.done["models_add"]} == {FIRST}


def test_offline_ones_are_named_and_the_same_command_goes_on_with_them(
    devices: Devices, push: Run, tmp_path: Path, broker_port: int
) -> None:
    line = devices(*NAMES)
    with ModelDevice(broker_port, "line-9"):
        pass  # known, and gone
    first = push()
    assert first.returncode == 1
    assert "not there yet: line-9; the same command goes on with them" in first.stdout
    assert phases(tmp_path) == {**dict.fromkeys(NAMES, "held"), "line-9": "waiting"}
    late = devices("line-9", "line-10")
    second = push()
    assert (second.returncode, second.stdout.splitlines()[-1]) == (0, f"birds ({NEW}) answers on 6 of 6 devices")
    assert [one.done["models_add"] for one in (*line.values(), *late.values())] == [1] * 6
    assert [one.done["models_use"] for one in (*line.values(), *late.values())] == [1] * 6


def test_one_that_has_it_already_is_left_alone(devices: Devices, push: Run, edgectl: Run, tmp_path: Path) -> None:
    line = devices()
    there, installed = line[FIRST], line[SECOND]
    there.installed[NEW] = installed.installed[NEW] = "birds"
    there.history.append(NEW)
    there.describe_model()
    told = push()
    assert (told.returncode, f"canaries: {FIRST}" in told.stdout) == (0, False), "it would prove nothing"
    assert (there.done["models_add"], there.done["models_use"], phases(tmp_path)[FIRST]) == (0, 0, "there")
    assert (installed.done["models_add"], installed.current) == (0, NEW)
    aborted = edgectl("rollout", "abort", str(record(tmp_path)["id"]))
    assert (aborted.returncode, aborted.stdout.splitlines()[-1]) == (0, "3 devices taken back")
    assert {name: one.current for name, one in line.items()} == {**dict.fromkeys(NAMES, OLD), FIRST: NEW}


def test_a_model_that_others_have_followed_can_be_rolled_out_again(devices: Devices, push: Run, tmp_path: Path) -> None:
    line = devices()
    assert push().returncode == 0
    for one in line.values():  # as another roll-out leaves them
        one.history.append(OLD)
        one.describe_model()
    again = push()
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, f"birds ({NEW}) answers on 4 of 4 devices"), again
    assert f"canaries: {FIRST}" in again.stdout
    assert {one.current for one in line.values()} == {NEW}
    assert [one.done["models_add"] for one in line.values()] == [1] * 4, "they have it"
    # Where somebody has taken it from one of them, that one is left alone, and named.
    line[SECOND].history.append(OLD)
    line[SECOND].describe_model()
    third = push()
    left_alone = f"  {SECOND}: went back to mobilenet_v2 ({OLD}) since"
    assert (third.returncode, third.stdout.splitlines()[-1]) == (1, left_alone)
    assert (line[SECOND].current, phases(tmp_path)[SECOND]) == (OLD, "back")


@pytest.mark.parametrize("command", ["models_add", "models_compare", "models_use", "rollback"])
def test_a_workstation_that_dies_goes_on_where_it_was(
    devices: Devices, push: Run, edgectl: Run, bundle: Path, broker_port: int, tmp_path: Path, command: str
) -> None:
    """Killed between what the canary did and its answer: nothing is done twice, and nobody is left half-way."""
    line = devices(p95_ms={NEW: 90.0} if command == "rollback" else {})
    canary = line[FIRST]
    canary.stall = command
    with subprocess.Popen(
        [sys.executable, "-m", "edged.ctl", "--device", "line-*", "models", "push", str(bundle), *OPTIONS],
        env=environment(broker_port, XDG_STATE_HOME=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert canary.stalled.wait(PATIENCE_S)
        canary.stall = None
        canary.comparing = command == "models_compare"  # it goes on there
        expected = {"models_add": "installing", "models_compare": "installed", "models_use": "switching"}
        assert phases(tmp_path)[FIRST] == expected.get(command, "going back"), "written before it was asked for"
        process.kill()
    done = edgectl("rollout", "resume", str(record(tmp_path)["id"])[-8:])
    if command == "rollback":
        assert (done.returncode, canary.history) == (1, [OLD]), done
        assert (canary.done["rollback"], canary.done["models_use"]) == (1, 1)
        assert set(phases(tmp_path).values()) == {"back", "waiting"}
    else:
        assert done.returncode == 0, done
        assert {one.current for one in line.values()} == {NEW}
        assert [one.done["models_add"] for one in line.values()] == [1] * 4
        assert [one.done["models_use"] for one in line.values()] == [1] * 4
        asked = [name for name, _ in canary.commands].count("models_compare")
        assert (asked, canary.done["models_compare"]) == ((3, 2) if command == "models_compare" else (1, 1))


def test_nobody_else_touches_a_roll_out_that_runs_and_one_killed_in_its_hold_is_watched_again(
    devices: Devices, push: Run, edgectl: Run, bundle: Path, broker_port: int, tmp_path: Path
) -> None:
    line = devices()
    arguments = ["--canary", "1", "--hold", "1h", "--baseline", "0.4s"]
    with subprocess.Popen(
        [sys.executable, "-m", "edged.ctl", "--device", "line-*", "models", "push", str(bundle), *arguments],
        env=environment(broker_port, XDG_STATE_HOME=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        folder = tmp_path / "edged" / "rollouts"
        wait_until(lambda: list(folder.glob("*.json")) and phases(tmp_path)[FIRST] == "switched", what="the hold")
        other = edgectl("rollout", "abort", "birds")
        assert (other.returncode, line[FIRST].current) == (1, NEW)
        assert "another edgectl is at it" in other.stderr
        process.kill()
    done = push()  # the same command, with a shorter hold
    assert done.returncode == 0, done
    assert "goes on: 1 watched, 3 to come" in done.stdout
    assert [one.done["models_use"] for one in line.values()] == [1] * 4


@pytest.mark.parametrize("phase", ["failed", "switched"])
def test_a_canary_that_failed_before_an_interruption_is_not_passed_over(
    devices: Devices, push: Run, edgectl: Run, tmp_path: Path, phase: str
) -> None:
    """As a kill leaves it between a canary's end and what follows from it."""
    line = devices(p95_ms={NEW: 90.0})
    push()
    (path,) = (tmp_path / "edged" / "rollouts").glob("*.json")
    told = json.loads(path.read_text())
    told["status"], told["devices"][FIRST]["phase"] = "running", phase
    path.write_text(json.dumps(told))
    done = edgectl("rollout", "resume", told["id"])
    assert done.returncode == 1, done
    assert {name for name, one in line.items() if one.done["models_add"]} == {FIRST}
    assert record(tmp_path)["status"] == "back"


def test_use_without_a_roll_out(devices: Devices, edgectl: Run, bundle: Path, tmp_path: Path) -> None:
    line = devices("line-1", "line-2")
    done = edgectl("--device", "all", "models", "push", str(bundle), "--use")
    assert done.returncode == 0, done
    told = done.stdout.splitlines()
    assert [text.split(";")[0] for text in told] == [f"{one}: birds ({NEW}) installed" for one in line]
    assert {one.current for one in line.values()} == {NEW}
    assert not (tmp_path / "edged").exists()


def test_wrong_use_is_one_line_and_2(edgectl: Run, push: Run, bundle: Path) -> None:
    for wrong, words in (
        (edgectl("models", "push", str(bundle), "--canary", "1"), "choose them with --device"),
        (edgectl("--device", "a", "models", "push", str(bundle), "--hold", "1m"), "add --canary or --waves"),
        (push("--unfamiliar", "200%"), "--unfamiliar"),
        (edgectl("rollout", "resume", "nothing"), "no such roll-out"),
    ):
        assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1), wrong
        assert words in wrong.stderr
    assert "no roll-out was begun here" in edgectl("rollouts").stdout
