"""`edgectl images doubtful`: what an answer means, and devices that answer otherwise."""

from __future__ import annotations

import json

import pytest

from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack
from edged.contract.reports import DoubtfulImage
from edged.ctl.client import Client
from edged.ctl.relabeling import Relabeling, chosen, letter_of, prompt
from edged.mqtt.broker import brokers as brokers_of
from edged.settings import MqttSettings
from tests.ctl.conftest import Edgectl
from tests.ctl.device import ScriptedDevice

IMAGE = DoubtfulImage(id="a" * 16, file="x.jpg", label="daisy", looks_like="roses", confidence=0.9)


@pytest.mark.parametrize(
    ("line", "label"),
    [
        ("", "daisy"), ("r", "roses"), ("roses", "roses"), ("1", "daisy"), ("3", "tulips"), ("4", None), ("0", None),
        ("-1", None), ("²", None), ("asters", None), ("=asters", "asters"), ("= asters ", "asters"), ("=", None),
        ("/r", "roses"), ("/", None), ("d", None), ("/d", None), ("=d", "d"),
    ],
)  # fmt: skip
def test_what_an_answer_means(line: str, label: str | None) -> None:
    assert chosen(line, IMAGE, ["daisy", "roses", "tulips"]) == label


def test_a_label_that_is_a_letter_goes_before_the_answer_of_that_letter() -> None:
    labels = ["d", "daisy", "r", "roses"]
    assert chosen("r", IMAGE, labels) == "r"
    assert chosen("/r", IMAGE, labels) == "roses"
    assert chosen("d", IMAGE, labels) == "d"
    assert [letter_of(line, labels) for line in ("d", "/d", "r", "/r", "q", "/q", "/", "")] == [
        None, "d", None, "r", "q", "q", None, None
    ]  # fmt: skip
    assert prompt(IMAGE, labels).startswith("Enter: keep, /r: roses, /d: remove, a label or its number, v: fetch")
    assert prompt(IMAGE, ["daisy"]).startswith("Enter: keep, r: roses, d: remove, ")


def test_a_label_that_is_a_number_goes_before_the_number_of_a_label() -> None:
    assert chosen("1", IMAGE, ["0", "1", "2"]) == "1"


class OlderDevice(ScriptedDevice):
    """Does not know the command, as a device of an older version says it."""

    def _answer(self, kind: str, command: CommandMessage, message: object) -> None:
        refused = Ack(id=command.id, status="rejected", error="images_doubtful: unknown command; known here: cancel")
        super()._answer("ack", command, refused)

    def _do_images_doubtful(self, command: CommandMessage) -> None:
        """Do nothing: it was refused."""


class FindingDevice(ScriptedDevice):
    """Has two doubtful images, and a newer edged's field."""

    def _do_images_doubtful(self, command: CommandMessage) -> None:
        near = [{"id": "c" * 16, "label": "ro\x1b[31mses"}]
        images = [
            {"id": "b" * 16, "file": "y.jpg", "label": "tulips", "looks_like": "roses", "near": near},
            IMAGE.to_json(),
        ]
        report = {"images": images[: command.args.get("limit", 2)], "number": 2, "judged": 40, "share": 0.051, "new": 1}
        self._job(command, "succeeded", "images_doubtful", report=report)


def test_an_older_device_is_one_line(broker_port: int, edgectl: Edgectl) -> None:
    with OlderDevice(broker_port):
        done = edgectl("images", "doubtful")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "edgectl: tx2-01 does not know images_doubtful: its edged is older than this edgectl\n"


def test_a_pipe_gets_a_table_and_no_question(broker_port: int, edgectl: Edgectl) -> None:
    with FindingDevice(broker_port) as device:
        done = edgectl("images", "doubtful", COLUMNS="100")
        few = edgectl("images", "doubtful", "-n", "1", COLUMNS="100")
        machine = edgectl("images", "doubtful", "--json")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "cccccccc ro[31mses" in done.stdout
    assert "90%" in done.stdout
    assert "2 labels of 40 look wrong (about 5.1% are)" in done.stdout
    assert "many alike images with the same wrong label vouch for each other" in " ".join(done.stdout.split())
    assert "these are 1" in few.stdout
    assert json.loads(machine.stdout)["images"][1]["id"] == IMAGE.id
    assert [name for name, _ in device.commands] == ["images_doubtful"] * 3


class LabelingDevice(ScriptedDevice):
    """Has labels that are called as answers are, and does what it is told to."""

    def _do_images_list(self, command: CommandMessage) -> None:
        self._job(command, "succeeded", "images_list", report={"counts": {"daisy": 3, "r": 3, "roses": 3}})

    def _do_images_label(self, command: CommandMessage) -> None:
        self._job(command, "succeeded", "images_label", report={"label": command.args["label"]})


def test_letters_that_are_labels_give_the_label_and_the_questions_say_so(
    broker_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [DoubtfulImage(id=digit * 16, label="daisy", looks_like="roses") for digit in "12345"]
    answers = iter(["r", "/r", "=d", "d", "q"])
    asked: list[str] = []

    def read(question: str) -> str:
        asked.append(question)
        return next(answers)

    url = f"mqtt://127.0.0.1:{broker_port}"
    with LabelingDevice(broker_port) as device, Client(brokers_of(MqttSettings(url=url))) as client:
        told = Relabeling(client, device.id, images, read).run()
    given = [message.args["label"] for name, message in device.commands if name == "images_label"]
    assert given == ["r", "roses", "d", "d"]
    assert told.startswith("tx2-01: 4 relabeled, 1 not answered")
    shown = capsys.readouterr().out
    assert "labels: 1 daisy, 2 r, 3 roses\nr: a label here; /r the answer\n" in shown
    assert "a new label: 4 d\n" in shown
    assert [("/r: roses" in one, "/d: remove" in one) for one in asked] == [(True, False)] * 3 + [(True, True)] * 2


def test_wrong_usage_is_2(edgectl: Edgectl) -> None:
    done = edgectl("images", "doubtful", "-n", "0")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
