"""Which devices `--device` means, and what is done where some of many do not answer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from paho.mqtt import publish

from edged.contract.commands import CommandMessage
from edged.ctl.choice import EVERY, Choice
from edged.ctl.each import AT_A_TIME, for_each
from edged.errors import ConfigError
from tests.ctl.conftest import Edgectl, environment
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture(autouse=True)
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "groups.toml"
    monkeypatch.setenv("EDGECTL_GROUPS", str(path))
    return path


def taken(text: str, *devices: str) -> list[str]:
    return [device for device in devices if Choice.parse(text).takes(device)]


def test_ids_patterns_and_lists() -> None:
    fleet = ("line-1", "line-2", "line-10", "door", "Door")
    assert taken("line-*", *fleet) == ["line-1", "line-2", "line-10"]
    assert taken("line-?", *fleet) == ["line-1", "line-2"]
    assert taken("door", *fleet) == ["door"]
    assert taken("door, line-1", *fleet) == ["line-1", "door"]
    assert taken("all", *fleet) == list(fleet)
    assert Choice.parse("all").parts == EVERY.parts
    assert (Choice.parse("door").only, Choice.parse("door").level) == ("door", "door")
    for several in ("door,line-1", "line-*", "all"):
        assert (Choice.parse(several).only, Choice.parse(several).level) == (None, "+")
    assert Choice.parse("line-*,door").named() == ["door"]
    assert [Choice.parse(text).every for text in ("all", "*", "door,all", "?*", "door")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_what_no_device_may_be_called_is_none() -> None:
    """Anybody may publish anything: what is told below `edged/all` would be commanded as the whole fleet is."""
    told = ("all", "abc", "-a", "a b", "a\x1b[31m", "a" * 65, "\u00e4", "", "a\n")
    for meant in ("a*", "*", "all", "?*"):
        assert taken(meant, *told) == ["abc"]


def test_groups_of_a_file(groups: Path) -> None:
    groups.write_text('line = ["line-*", "belt"]\nhall = ["@line", "door"]\n')
    assert taken("@hall", "line-1", "belt", "door", "attic") == ["line-1", "belt", "door"]
    assert Choice.parse("@line,@hall").parts == ("line-*", "belt", "door")


@pytest.mark.parametrize(
    ("text", "file", "said"),
    [
        ("", None, "--device: '': use an id"),
        ("a/b", None, "--device: 'a/b': use an id"),
        ("line-*/#", None, "--device: 'line-*/#': use an id"),
        ("door,", None, "--device: '': use an id"),
        ("@line", None, "groups.toml: No such file or directory"),
        ("@line", "line = ", "groups.toml: "),
        ("@line", "door = ['a']", "has no such group; it has door"),
        ("@line", "", "has no such group; it has none"),
        ("@line", "line = 'a'", "write line = "),
        ("@line", "line = []", "write line = "),
        ("@line", "line = ['a+']", "group 'line' of "),
        ("@a", "a = ['@b']\nb = ['@a']", "group 'a' contains itself"),
    ],
)
def test_a_mistake_is_one_line(groups: Path, text: str, file: str | None, said: str) -> None:
    if file is not None:
        groups.write_text(file)
    with pytest.raises(ConfigError) as caught:
        Choice.parse(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_choice_is_2(edgectl: Edgectl) -> None:
    done = edgectl("--device", "@nowhere", "status")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_group_is_addressed_and_who_is_not_there_is_named(broker_port: int, edgectl: Edgectl, groups: Path) -> None:
    groups.write_text('line = ["line-1", "line-2", "line-3", "line-4"]\n')
    with ScriptedDevice(broker_port, "line-3"):
        pass
    with ExitStack() as devices:
        for name in ("line-1", "line-2", "door"):
            devices.enter_context(ScriptedDevice(broker_port, name))
        done = edgectl("--device", "@line", "set", "--fps", "1", EDGECTL_GROUPS=str(groups))
        pattern = edgectl("--device", "line-*", "set", "--fps", "1")
        shown = edgectl("--device", "line-?", "status", "--json")
        nobody = edgectl("--device", "attic-*", "set", "--fps", "1")
    assert done.stdout.splitlines() == ["line-1: fps 1", "line-2: fps 1"]
    assert done.stderr.splitlines()[0] == "edgectl: line-3: offline"
    assert done.stderr.splitlines()[1].startswith("edgectl: line-4: not known at ")
    assert done.returncode == 1
    assert pattern.stdout.splitlines() == ["line-1: fps 1", "line-2: fps 1"]
    assert (pattern.returncode, pattern.stderr) == (1, "edgectl: line-3: offline\n")
    assert [line.split('"')[3] for line in shown.stdout.splitlines()] == ["line-1", "line-2", "line-3"]
    assert nobody.returncode == 3
    assert "no device of 'attic-*' is online" in nobody.stderr


def test_what_is_told_below_all_is_no_device_and_a_pattern_never_commands_everybody(
    broker_port: int, edgectl: Edgectl
) -> None:
    with ScriptedDevice(broker_port, "line-1") as other, ScriptedDevice(broker_port, "abc") as meant:
        publish.single("edged/all/state", b"online", qos=1, retain=True, port=broker_port)
        done = edgectl("--timeout", "20", "--device", "a*", "set", "--fps", "3")
        assert (done.returncode, [name for name, _ in meant.commands]) == (0, ["set"]), done
        assert other.commands == []


def test_a_silent_one_of_several_is_named_and_the_others_are_asked(broker_port: int, edgectl: Edgectl) -> None:
    with ScriptedDevice(broker_port, "a", silent=True), ScriptedDevice(broker_port, "b"):
        done = edgectl("--timeout", "5", "--device", "all", "set", "--fps", "1")
    assert (done.returncode, done.stdout) == (1, "b: fps 1\n")
    assert done.stderr == "edgectl: a did not answer set within 5 s\n"


def test_many_are_asked_at_a_time_and_told_in_order() -> None:
    at_once = threading.Barrier(AT_A_TIME)

    def act(device: str) -> str:
        at_once.wait(PATIENCE_S)  # breaks where fewer are asked at a time
        return device.upper()

    devices = [f"d{number:03}" for number in range(AT_A_TIME)]
    assert list(for_each(devices, act)) == [(device, device.upper()) for device in devices]
    assert list(for_each([], act)) == []


def test_what_one_raises_is_raised() -> None:
    def act(device: str) -> str:
        if device == "b":
            raise ConfigError("b is wrong")
        return device

    with pytest.raises(ConfigError, match="b is wrong"):
        list(for_each(["a", "b", "c"], act))


class Training(ScriptedDevice):
    """Says that a training runs, and nothing more; `answered` is set when the broker has its ack and job."""

    def __init__(self, port: int, device: str) -> None:
        super().__init__(port, device)
        self.answered = threading.Event()
        self._taken = 0
        self._mqtt.on_publish = self._on_taken

    def _on_taken(self, *_: object) -> None:
        self._taken += bool(self.commands)
        if self._taken == 2:
            self.answered.set()

    def _do_retrain(self, command: CommandMessage) -> None:
        self._job(command, "running", "retrain", stage="train", progress=0.5)


def test_ctrl_c_leaves_many_jobs_running_and_says_so(broker_port: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edged.ctl", "--device", "a,b", "retrain", "--wait"]
    with (
        Training(broker_port, "a") as one,
        Training(broker_port, "b") as other,
        subprocess.Popen(
            command,
            env=environment(broker_port),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        assert "retrain on 2 devices" in process.stderr.readline()
        wait_until(lambda: one.commands and other.commands, what="both are asked")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    assert "no longer following 2 jobs that go on: a, b; `edgectl --device a,b jobs` shows how far" in said
    assert "Traceback" not in said
    assert process.returncode == 130


def interrupted_by_the_broker(broker: Mosquitto, *args: str, when: Callable[[], object]) -> tuple[int, list[str]]:
    """Run edgectl, kill the broker as soon as `when` holds; return the exit code and what edgectl says by itself."""
    with subprocess.Popen(
        [sys.executable, "-m", "edged.ctl", "--timeout", "10", *args],
        env=environment(broker.port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(when, what="they are asked")
        broker.kill()
        _, said = process.communicate(timeout=PATIENCE_S)
        broker.start()
    return process.returncode, [line for line in said.splitlines() if line.startswith("edgectl: ")]


def test_a_broker_that_dies_leaves_many_jobs_running_and_edgectl_says_so(broker: Mosquitto) -> None:
    with Training(broker.port, "a") as one, Training(broker.port, "b") as other:
        code, said = interrupted_by_the_broker(
            broker, "--device", "a,b", "retrain", when=lambda: one.answered.is_set() and other.answered.is_set()
        )
    assert (code, len(said)) == (3, 2), said
    assert said[0] == "edgectl: no longer following 2 jobs that go on: a, b; `edgectl --device a,b jobs` shows how far"
    assert said[1].startswith(f"edgectl: connection to {broker.url} lost: nothing heard of job ")


def test_a_broker_that_dies_under_one_job_is_told_of_with_how_to_see_it_again(broker: Mosquitto) -> None:
    with Training(broker.port, "a") as device:
        code, said = interrupted_by_the_broker(broker, "retrain", when=device.answered.is_set)
        (job,) = [command.id for name, command in device.commands if name == "retrain"]
    assert (code, len(said)) == (3, 2), said
    shown = "it goes on, and `edgectl --device a jobs` shows how far"
    assert said[0] == f"edgectl: no longer following a's job {job}; {shown}"


@pytest.mark.parametrize(("wait", "command"), [("--wait", "jobs"), ("--no-wait", "jobs"), ("", "status")])
def test_a_broker_that_dies_while_many_are_asked_leaves_nobody_unnamed(
    broker: Mosquitto, wait: str, command: str
) -> None:
    with Training(broker.port, "a") as one, ScriptedDevice(broker.port, "b", silent=True) as other:
        asked = ("retrain", wait) if wait else ("set", "--fps", "3")
        code, said = interrupted_by_the_broker(
            broker, "--device", "a,b", *asked, when=lambda: one.answered.is_set() and other.commands
        )
    assert code == 3, said
    goes_on = "edgectl: no longer following 1 job that goes on: a; `edgectl --device a jobs` shows how far"
    assert (goes_on in said) == bool(wait)
    assert f"edgectl: asked, and without an answer: b; `edgectl --device b {command}` tells more" in said
    assert said[-1] == f"edgectl: connection to {broker.url} lost: b did not answer {asked[0]} within 10 s"
