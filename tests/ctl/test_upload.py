"""A file to a device that is slow, that is gone, that comes back, and that does not know all of the command."""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.contract import patch
from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack
from edged.ctl import main as ctl_main
from edged.ctl import patches, presence, upload
from edged.ctl.client import Client
from edged.ctl.commands.model_push import prepare
from edged.ctl.errors import NoAnswerError, RejectedError
from edged.ctl.parcel import read_parcel
from edged.ctl.presence import Presence
from edged.ctl.upload import Upload
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.contract.test_patch import with_head
from tests.ctl.conftest import Unhurried
from tests.ctl.device import ScriptedDevice
from tests.networks import made
from tests.waiting import PATIENCE_S

Edgectl = Callable[..., Any]
SHIPPED = Path(__file__).parents[2] / "models" / "mobilenet_v2"


class Taker(ScriptedDevice):
    """Takes files. `answers`: called for each part on the network thread; an ack follows where it returns True."""

    hears_copies = True

    def __init__(self, port: int, answers: Callable[[CommandMessage], bool] = lambda _: True) -> None:
        super().__init__(port, silent=True)
        self.files: dict[str, bytearray] = {}
        self.parts = 0
        self.added: dict[str, Any] = {}
        self.knows_familiarity = self.takes_patches = self.knows_onnx = True
        self.breaks_patches = False
        self.installed: tuple[str, ...] = ()
        self._answers = answers

    def _on_message(self, client: Any, data: object, message: Any) -> None:
        super()._on_message(client, data, message)
        name, command = self.commands[-1]
        args = command.args
        if name == "models_chunk":
            self.parts += 1
            file = self.files.setdefault(args["sha256"], bytearray(args["size"]))
            part = base64.b64decode(args["data"])
            file[args["offset"] : args["offset"] + len(part)] = part
            if self._answers(command):
                self.accept(command)
        elif name == "models_list":
            self.accept(command)
            models = [{"name": "m", "id": one} for one in self.installed]
            self._job(command, "succeeded", "models_list", progress=1, report={"models": models})
        elif name == "models_add":
            if "patch" in args and not self.takes_patches:
                error = "models_add: args.patch: unknown field; allowed: sha256, name, labels"
                self._answer("ack", command, Ack(id=command.id, status="rejected", error=error))
                return
            if "familiarity" in args and not self.knows_familiarity:
                error = "models_add: args.familiarity: unknown field; allowed: sha256, name, labels"
                self._answer("ack", command, Ack(id=command.id, status="rejected", error=error))
                return
            if "normalisation" in args and not self.knows_onnx:
                error = "models_add: args.normalisation: unknown field; allowed: sha256, name, labels"
                self._answer("ack", command, Ack(id=command.id, status="rejected", error=error))
                return
            self.added = args
            self.accept(command)
            if self.breaks_patches and "patch" in args:
                self._job(command, "failed", "models_add", error="patch 0123456789ab: it is damaged")
                return
            self._job(command, "running", "models_add", stage="check", progress=0.0)
            self._job(command, "succeeded", "models_add", progress=1, report={"name": args["name"], "id": "abc"})

    def accept(self, command: CommandMessage) -> None:
        self._answer("ack", command, Ack(id=command.id, status="accepted"))


@pytest.fixture
def client(broker_port: int) -> Iterator[Client]:
    with Unhurried(brokers(MqttSettings(url=f"mqtt://127.0.0.1:{broker_port}")), timeout_s=PATIENCE_S) as opened:
        opened.timeout_s = 1
        yield opened


def send(client: Client, data: bytes) -> str:
    with Presence(client, "tx2-01") as there:
        return Upload(client, "tx2-01", data, "m").run(there, quiet=True)


def test_a_slow_device_that_is_there_is_waited_for(
    client: Client, broker_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first acks come later than the patience with a silent device lasts; its telemetry goes on."""
    monkeypatch.setattr(presence, "PATIENCE_S", 12.0)  # what says its telemetry here may itself stand still for a while
    monkeypatch.setattr(upload, "PART_BYTES", 1000)
    began = time.monotonic()
    late: list[CommandMessage] = []

    def slowly(command: CommandMessage) -> bool:
        if time.monotonic() - began > 14:
            return True
        late.append(command)
        return False

    data = os.urandom(10_000)
    ended = threading.Event()
    with Taker(broker_port, slowly) as device:

        def live() -> None:
            while not ended.wait(0.1):
                device.say("telemetry", device.telemetry)

        thread = threading.Thread(target=live)
        thread.start()
        try:
            assert send(client, data) == hashlib.sha256(data).hexdigest()
        finally:
            ended.set()
            thread.join(PATIENCE_S)
        assert [bytes(file) for file in device.files.values()] == [data]
        assert late, "it was slow"
        # After 5 s, and then after 10: a slow device does not get everything again and again.
        assert device.parts <= 10 + len({command.id for command in late}) * 2


def test_a_device_that_is_gone_is_told(client: Client, broker_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "PATIENCE_S", 0.5)
    with (
        Taker(broker_port, lambda _: False),
        pytest.raises(NoAnswerError, match="tx2-01 has gone: nothing was heard of it for 1 s; 0 of 10 bytes of m"),
    ):
        send(client, bytes(10))
    with pytest.raises(NoAnswerError, match="tx2-01 has gone offline"):
        send(client, bytes(10))


def test_a_device_that_is_there_but_never_goes_on_is_given_up(
    client: Client, broker_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "PATIENCE_S", 100.0)
    monkeypatch.setattr(presence, "STUCK_S", 0.5)
    with (
        Taker(broker_port, lambda _: False),
        pytest.raises(NoAnswerError, match="is there, but has not gone on for"),
    ):
        send(client, bytes(10))


def test_what_a_device_missed_while_it_was_away_is_sent_when_it_comes_back(client: Client, broker_port: int) -> None:
    """Long before the time after which a part is sent again anyway."""
    data = os.urandom(1000)
    first = threading.Event()

    def deaf_once(_: CommandMessage) -> bool:
        was, _ = first.is_set(), first.set()
        return was

    with Taker(broker_port, deaf_once) as device:
        threading.Thread(target=lambda: (first.wait(PATIENCE_S), device.say("state", b"online", retain=True))).start()
        send(client, data)
        assert bytes(device.files[hashlib.sha256(data).hexdigest()]) == data
        assert len({command.id for name, command in device.commands if name == "models_chunk"}) == 1


def test_a_refused_part_ends_it(client: Client, broker_port: int) -> None:
    class Refusing(Taker):
        def accept(self, command: CommandMessage) -> None:
            self._answer("ack", command, Ack(id=command.id, status="rejected", error="too large: at most 1 MB"))

    with Refusing(broker_port), pytest.raises(RejectedError, match="refuses m: too large: at most 1 MB"):
        send(client, bytes(10))


def test_a_bundle_goes_with_its_familiarity_and_an_old_device_gives_a_clear_answer(
    edgectl: Edgectl, broker_port: int
) -> None:
    with Taker(broker_port) as device:
        done = edgectl("models", "push", str(SHIPPED), "--name", "m")
        assert done.returncode == 0, done.stderr
        familiarity = (SHIPPED / "familiarity.npz").read_bytes()
        assert device.added["familiarity"] == hashlib.sha256(familiarity).hexdigest()
        assert bytes(device.files[device.added["familiarity"]]) == familiarity
        assert bytes(device.files[device.added["sha256"]]) == (SHIPPED / "model.tflite").read_bytes()
        assert "m familiarity.npz" in done.stderr, "how far it is"

        device.knows_familiarity = False
        done = edgectl("models", "push", str(SHIPPED), "--name", "m")
        assert done.returncode == 1
        assert "args.familiarity: unknown field" in done.stderr
        assert "--without-familiarity" in done.stderr
        done = edgectl("models", "push", str(SHIPPED), "--name", "m", "--without-familiarity", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        assert "familiarity" not in device.added


def test_what_the_device_can_make_of_a_model_that_it_has_is_not_sent(
    edgectl: Edgectl, broker_port: int, tmp_path: Path
) -> None:
    """The base is named, or was pushed from here before; what it does not have is sent as a whole."""
    base, model = made("made_v1_128").model, with_head(made("made_v1_128").model, 1)
    old, new, labels = (tmp_path / name for name in ("old.tflite", "new.tflite", "labels.txt"))
    old.write_bytes(base)
    new.write_bytes(model)
    labels.write_text("".join(f"class {number}\n" for number in range(5)))
    push = ("models", "push", str(new), "--labels", str(labels))

    with Taker(broker_port) as device:

        def patched(done: Any) -> bool:
            """Whether a patch was sent; what the device has, or can make, is the model in any case."""
            assert done.returncode == 0, done.stderr
            patch_sha256 = device.added.get("patch")
            sent = bytes(device.files[patch_sha256 or device.added["sha256"]])
            assert (sent if patch_sha256 is None else patch.apply(base, sent)) == model
            assert device.added["sha256"] == hashlib.sha256(model).hexdigest()
            device.added, device.files = {}, {}
            return patch_sha256 is not None

        done = edgectl(*push, "--base", str(old))
        assert not patched(done)
        assert "tx2-01 has not the model of --base" in done.stderr
        device.installed = (hashlib.sha256(base).hexdigest()[:12],)
        assert not patched(edgectl(*push))
        done = edgectl(*push, "--base", str(old))
        assert "kB were sent, what differs from a model that it has" in done.stdout
        assert patched(done)
        told = json.loads(edgectl(*push, "--base", str(old), "--json").stdout)
        assert (told["patch"], told["sent_bytes"] < len(model) / 10) == (True, True)
        assert patched(edgectl(*push, "--base", str(old)))
        assert not patched(edgectl(*push, "--whole"))

        device.takes_patches = False
        done = edgectl(*push, "--base", str(old))
        assert not patched(done)
        assert "did not take a patch (its edged does not know what a patch is); it gets the whole model" in done.stderr
        device.takes_patches, device.breaks_patches = True, True
        done = edgectl(*push, "--base", str(old))
        assert not patched(done)
        assert "did not take a patch (patch 0123456789ab: it is damaged); it gets the whole model" in done.stderr
        device.breaks_patches = False

        cache = str(tmp_path / "cache")
        first = edgectl("models", "push", str(old), "--labels", str(labels), XDG_CACHE_HOME=cache)
        assert first.returncode == 0, first.stderr
        assert patched(edgectl(*push, XDG_CACHE_HOME=cache)), "what was pushed last is a base"

    done = edgectl(*push, "--base", str(tmp_path / "none"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "none: cannot be read: no such file or directory" in done.stderr


def test_models_that_were_pushed_are_kept_as_bases_but_not_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    models = [bytes([number]) * 100 for number in range(12)]
    for at, model in enumerate(models):
        patches.keep(model)
        for file in (tmp_path / "edged" / "pushed").iterdir():  # two of them may be of the same moment
            if file.read_bytes() == model:
                os.utime(file, (at, at))
    found = patches.bases(tmp_path / "elsewhere" / "new.tflite")
    assert {hashlib.sha256(model).hexdigest()[:12] for model in models[4:]} < set(found)
    assert not {hashlib.sha256(model).hexdigest()[:12] for model in models[:4]} & set(found)


def test_an_onnx_file_goes_with_what_was_said_of_its_pixels(edgectl: Edgectl, broker_port: int, tmp_path: Path) -> None:
    file, labels = tmp_path / "net.onnx", tmp_path / "labels.txt"
    file.write_bytes(b"\x08\x08 what the device makes of it")
    labels.write_text("a\nb\n")
    push = ("models", "push", str(file), "--labels", str(labels), "--std", "0.5", "--mean", "0.4,0.5,0.6", "--bgr")
    with Taker(broker_port) as device:
        done = edgectl(*push, "--size", "96x64", "--crop", "0.5")
        assert done.returncode == 0, done.stderr
        assert bytes(device.files[device.added["sha256"]]) == file.read_bytes()
        normalisation = {"mean": [0.4, 0.5, 0.6], "std": [0.5] * 3, "bgr": True}
        assert [device.added[key] for key in ("normalisation", "size", "crop")] == [normalisation, [96, 64], 0.5]
        device.knows_onnx = False
        done = edgectl(*push)
        assert (done.returncode, "takes no .onnx file as it was exported" in done.stderr) == (1, True), done.stderr


def test_a_roll_out_ends_where_a_device_makes_another_model_of_the_file(
    client: Client,
    broker_port: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is rolled out is known by one id, and the file's own metadata may have told how it becomes another one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, labels = tmp_path / "net.onnx", tmp_path / "labels.txt"
    file.write_bytes(b"\x08\x08 what the device makes of it")
    labels.write_text("a\nb\n")
    args = dict.fromkeys(("name", "without_familiarity", "replace", "base", "crop", "mean", "std", "bgr", "size"))
    prepared = prepare(argparse.Namespace(**args, source=file, labels=labels, whole=True))
    with Taker(broker_port):
        assert prepared.send(client, "tx2-01") is None
    told = capsys.readouterr().err
    assert f"tx2-01 has made abc out of {file}: a roll-out is of one model that is the same everywhere" in told


def test_what_is_said_of_an_onnx_file_must_be_whole_and_of_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "labels.txt").write_text("a\nb\n")
    (folder / "model.onnx").write_bytes(b"\x08\x08 a model")
    assert read_parcel(folder).model == b"\x08\x08 a model"
    patches.keep(b"\x08\x08 a model")
    assert hashlib.sha256(b"\x08\x08 a model").hexdigest()[:12] in patches.bases(tmp_path / "new.onnx")
    apart = tmp_path / "apart.onnx"
    apart.write_bytes(b"\x08\x08" + b"".join(b"\x0a\x08location\x12\x01" + name for name in (b"a", b"b", b"a")))
    labels = ("--labels", str(folder / "labels.txt"))
    pixels = ("--mean", "0", "--std", "1")
    shipped, told = str(SHIPPED), "belongs to an .onnx file; a .tflite file says it itself"
    everywhere = "each device makes a file of its own by it"
    for words, reason in (
        ((shipped, *pixels), f"--mean {told}"),
        ((shipped, "--size", "8x8"), f"--size {told}"),
        ((shipped, "--mean", "0"), "--mean and --std belong together"),
        ((shipped, "--mean", "0", "--std", "1,0,1"), "argument --std: '1,0,1': use numbers above 0"),
        ((shipped, "--mean", "nan", "--std", "1"), "argument --mean: 'nan': use one number or three"),
        ((shipped, "--crop", "1.5"), "argument --crop: '1.5': use a fraction above 0 and at most 1"),
        ((str(folder / "labels.txt"), *labels), "is no TensorFlow Lite model, and no ONNX model"),
        ((str(apart), *labels), "apart.onnx: has its weights in a, b; export them into one file beside it"),
        ((str(folder), *pixels, "--canary", "1", "--device", "all"), everywhere),
        ((shipped, "--detector", "--mean", "0", "--std", "1"), "--mean belongs to a classifier"),
    ):
        try:
            code = ctl_main(["models", "push", *words])
        except SystemExit as ended:
            code = int(str(ended.code))
        err = capsys.readouterr().err
        assert (code, reason in err, err.count("\n")) == (2, True, 1), err


def test_labels_that_cannot_be_are_refused_here(edgectl: Edgectl, tmp_path: Path) -> None:
    for label in ("a\u202eb", "Unknown"):
        (tmp_path / "labels.txt").write_text(f"good\n{label}\n")
        done = edgectl("models", "push", str(SHIPPED / "model.tflite"), "--labels", str(tmp_path / "labels.txt"))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "labels.txt: line 2: label " in done.stderr
