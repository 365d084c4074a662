"""`edgectl learn`: what it refuses, what it keeps, who judges first. End to end: tests/daemon/test_learn.py."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from edged.contract.reports import Bottlenecks, Decision, Judgement
from edged.ctl import together
from edged.ctl.cli import main
from edged.ctl.errors import NoAnswerError
from edged.ctl.head import Head, claimed, folder_of
from edged.ctl.together import Answer
from edged.errors import CommandError, ConfigError
from tests.learning.test_pooled import BACKBONE, names
from tests.learning.test_pooled import device as images_of

if TYPE_CHECKING:
    from edged.ctl.client import Client


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def answer(backbone: str = "a") -> Answer:
    told = Bottlenecks(
        sha256="0" * 64, bytes=3, images=1, backbone=f"network {backbone}", backbone_sha256=64 * backbone
    )
    return Answer(told, b"abc")


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--augment"], "--augment needs the photos"),
        (["--tolerance", "0.1"], "--tolerance is each device's own"),
        (["--min-accuracy", "0.1"], "--min-accuracy is each device's own"),
        (["--private", "much"], "use low, medium, high, or CLIP,SIGMA"),
        (["--private", "25,-1"], "is not a number above 0"),
        (["--canary", "-1"], "is not a whole number from 0"),
        (["--name", "a/b"], "--name 'a/b'"),
        (["--again", "--lr", "1"], "--again trains nothing"),
        (["--again", "--private", "low"], "--again trains nothing"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_asked(
    args: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["--broker", "mqtt://127.0.0.1:1", "learn", *args])
    except SystemExit as left:  # argparse's own
        code = int(left.code or 0)
    told = capsys.readouterr().err
    assert code == 2
    assert why in told
    assert told.count("\n") == 1


def test_devices_of_different_networks_are_named() -> None:
    answers = {"line-1": answer(), "line-2": answer("b"), "line-3": answer()}
    groups = together.by_backbone(answers)
    assert [list(group) for group in groups.values()] == [["line-1", "line-3"], ["line-2"]]
    with pytest.raises(
        CommandError, match=r"network a \(aaaaaaaaaaaa\): line-1, line-3; network b .*: line-2.*--group"
    ):
        together.check_same_backbone(groups)
    together.check_same_backbone(together.by_backbone({"line-1": answer(), "line-3": answer()}))


def test_those_with_the_most_images_judge_first() -> None:
    images = {"a": 3, "b": 9, "c": 0, "d": 9}
    assert together.canaries(list(images), images, 1) == ["b"]
    assert together.canaries(list(images), images, 9) == ["b", "d", "a"]  # not one that cannot judge
    assert together.canaries(list(images), images, 0) == []


def bundle(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.tflite").write_bytes(b"TFL3")
    return folder


TAKEN = {"images": 12, "answers": True, "decision": {"verdict": "promoted"}}
REFUSED = {"images": 12, "answers": False, "decision": {"verdict": "refused"}}


def test_a_head_is_kept_with_what_devices_said_of_it(tmp_path: Path) -> None:
    head = Head.keep("together", ("small", "a" * 64), "0123456789ab", bundle(tmp_path / "one"))
    assert not head.trusted  # nobody has judged it
    head.said("line-1", TAKEN)
    head.establish()
    (kept,) = Head.read("together")
    assert (kept.model, kept.backbone, kept.trusted) == ("0123456789ab", "small", True)
    assert (kept.bundle / "model.tflite").read_bytes() == b"TFL3"
    kept.said("line-2", REFUSED)
    assert not kept.trusted  # as many refused as took it
    kept.said("line-3", {**TAKEN, "images": 0})
    assert not kept.trusted  # who could not judge does not count
    kept.said("line-4", {"error": "gone"})
    kept.said("line-5", TAKEN)
    assert kept.trusted
    assert [len(one.devices) for one in Head.read("together")] == [5]


def test_a_new_head_stands_in_place_of_the_old_one_once_a_device_takes_it(tmp_path: Path) -> None:
    def models() -> list[str]:
        return [head.model for head in Head.read("together")]

    def made(model: str, said: dict[str, Any], backbone: str = "a") -> Head:
        head = Head.keep("together", ("small", 64 * backbone), model, bundle(tmp_path / model))
        head.said("line-1", said)
        head.establish()
        return head

    made("old", TAKEN).said("line-2", TAKEN)
    made("bad", REFUSED)
    assert models() == ["old"]
    new = made("new", TAKEN)
    assert models() == ["new"]
    assert new.bundle.is_dir()
    assert list(Head.read("together")[0].devices) == ["line-1"]  # what was said of the old one is forgotten
    made("other", TAKEN, "b")
    assert models() == ["new", "other"]
    (folder_of("together") / ("a" * 12) / "devices.json").write_text("{")
    assert models() == ["other"]


def quiet(*_: Any, **__: Any) -> None:
    pass


def test_without_the_whole_edged_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "_TRAINING", "edged.lab.is_not_here")
    with pytest.raises(ConfigError, match="needs the whole edged here: pip install edged"):
        together.train({"line-1": answer()}, {}, "together", "run", quiet)
    assert list(folder_of("together").iterdir()) == []  # nothing is left


def test_what_a_device_has_sent_is_no_trusted_input() -> None:
    with pytest.raises(CommandError, match="training: line-1: these are no bottlenecks"):
        together.train({"line-1": answer()}, {}, "together", "run", quiet)
    assert list(folder_of("together").iterdir()) == []


def test_two_at_once_under_one_name_would_mix_their_heads(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--broker", "mqtt://127.0.0.1:1", "learn"]
    with claimed("together"):
        assert [main([*nowhere, *args]) for args in ([], ["--again"])] == [1, 1]
        assert capsys.readouterr().err.count("learn: the heads called together: another edgectl is at it") == 2
        assert main([*nowhere, "--name", "other"]) == 3  # it goes on to the broker, which is not there
    assert main(nowhere) == 3


def shared(first: int, *, backbone: str | None = None) -> Answer:
    """What a device shares that has 60 images of the shipped network; `backbone`: the hash that it tells instead."""
    data = images_of(names(first, 60))
    told = Bottlenecks(
        sha256="0" * 64, bytes=3, images=60, backbone="its own name for it",
        backbone_sha256=backbone or data.backbone_sha256,
    )  # fmt: skip
    return Answer(told, data.encode())


def test_where_a_head_is_kept_follows_from_the_network_and_not_from_what_a_device_says(state: Path) -> None:
    other = folder_of("other") / "devices.json"
    other.parent.mkdir(parents=True)
    other.write_text("{}")
    head, _ = together.train({"line-1": shared(0, backbone="../other")}, {}, "together", "run", quiet)
    head.said("line-1", TAKEN)
    head.establish()
    assert other.read_text() == "{}"
    assert (head.backbone, head.folder) == (
        BACKBONE.bundle.backbone, folder_of("together") / BACKBONE.sha256[:12]
    )  # fmt: skip


def test_a_device_whose_bottlenecks_are_of_no_use_is_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from edged.ctl.commands.learn import _learn_group

    good, odd = shared(0), replace(images_of(names(200, 5)), backbone_sha256="b" * 64)
    group = {
        "line-1": Answer(good.told, odd.encode()),  # it says one thing and sends another
        "line-2": good,
        "line-3": Answer(good.told, b"abc"),
        "line-4": shared(60),
    }
    monkeypatch.setattr(together, "offer", Fleet(dict.fromkeys(group, "promoted")).offer)
    args = argparse.Namespace(canary=1, json=False, accept=False, name="together")
    assert _learn_group(cast("Client", None), group, {}, args) == 1
    told = capsys.readouterr()
    assert "120 images of 2 devices" in told.out
    assert "edgectl: line-1: left out: its bottlenecks are of another network" in told.err
    assert "edgectl: line-3: left out: these are no bottlenecks" in told.err
    for name in group:  # the head is good for these, too: they judge it as all do
        assert f"{name}{' (canary)' if name == 'line-1' else ''}: together" in told.out


class Fleet:
    """Devices whose verdicts are known before; stands in for `together.offer`, which real daemons answer elsewhere."""

    def __init__(self, verdicts: dict[str, str]) -> None:
        self._verdicts = verdicts
        self.asked: list[str] = []

    def offer(self, _client: Any, device: str, head: Head, _name: str, *, untested: bool, **_: Any) -> Judgement:
        self.asked.append(device)
        verdict = self._verdicts[device]
        if verdict == "gone":
            raise NoAnswerError(f"{device} has gone")
        images = 0 if verdict == "empty" else 12
        answers = verdict == "promoted" or (verdict == "empty" and untested)
        decided: Any = "promoted" if answers else "undecided" if verdict == "empty" else verdict
        return Judgement(
            model=head.model, name="together", images=images, answers=answers,
            decision=Decision(verdict=decided, promote=answers, reason="as it is"),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("verdicts", "canaries", "asked", "code"),
    [
        ("promoted promoted empty", 1, 3, 0),
        ("promoted refused promoted", 1, 3, 1),
        ("refused promoted promoted", 1, 1, 1),  # the canary refuses: nobody else is asked
        ("gone promoted promoted", 1, 1, 1),
        ("undecided promoted promoted", 1, 3, 1),  # it cannot tell; others may
        ("refused promoted promoted", 2, 3, 1),  # not all canaries refuse
        ("refused refused promoted", 2, 2, 1),
        ("refused promoted promoted", 0, 3, 1),
        ("refused empty promoted promoted", 0, 4, 1),
        ("promoted refused empty", 1, 3, 1),  # as many refused as took it: who cannot judge does not take it
    ],
)
def test_canaries_judge_first_and_who_cannot_judge_last(
    verdicts: str, canaries: int, asked: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from edged.ctl.commands.learn import _offer

    devices = {f"line-{number}": verdict for number, verdict in enumerate(verdicts.split())}
    images = {device: 0 if verdict == "empty" else 12 for device, verdict in devices.items()}
    fleet = Fleet(devices)
    monkeypatch.setattr(together, "offer", fleet.offer)
    head = Head.keep("together", ("small", "a" * 64), "new", bundle(tmp_path / "new"))
    args = argparse.Namespace(canary=canaries, json=False, accept=False, name="together")
    assert _offer(cast("Client", None), head, images, args) == code
    assert len(fleet.asked) == asked
    assert sorted(fleet.asked[:canaries]) == list(devices)[:canaries]
    without = [device for device in fleet.asked if not images[device]]
    assert fleet.asked[len(fleet.asked) - len(without) :] == without
    told = capsys.readouterr()
    for device, verdict in devices.items():
        assert (f"{device} (canary): " in told.out) == (device in fleet.asked[:canaries] and verdict != "gone")
        assert device in told.out + told.err  # also who was not asked is named
