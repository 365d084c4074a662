"""Labeled images, from edgectl through a real broker into a real daemon, with what can go wrong on the way."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edged.contract.commands import Command, ImageArgs
from edged.daemon import images
from edged.errors import CommandError
from edged.images import ImageStore
from tests.conftest import MADE_AND_REAL, SHARED_DATA
from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto
from tests.photos import photo
from tests.test_codec import encoded, png_bomb
from tests.waiting import PATIENCE_S, wait_until

Edgectl = Callable[..., "subprocess.Popen[str]"]
PER_LABEL = 60


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Two labels, real photos where there are some."""
    folder = tmp_path / "album"
    real = SHARED_DATA / "flowers"
    for number, label in enumerate(("roses", "tulips")):
        (folder / label).mkdir(parents=True)
        photos = [path.read_bytes() for path in sorted((real / label).glob("1*.jpg"))[:PER_LABEL]]
        photos += [photo(1000 * number + seed) for seed in range(PER_LABEL - len(photos))]
        for index, data in enumerate(photos):
            (folder / label / f"{index:03}.jpg").write_bytes(data)
    return folder


def contents(folder: Path) -> list[tuple[str, str]]:
    """(label, sha256) of each file, temporary ones left out."""
    return sorted(
        (path.parent.name, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.glob("*/*")
        if not path.name.startswith(".")
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out, err


class Wire:
    """Raw commands and what comes back."""

    def __init__(self, port: int) -> None:
        self.arrived: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._mqtt = paho.Client(CallbackAPIVersion.VERSION2)
        self._mqtt.on_message = lambda _c, _d, message: self.arrived.put((message.topic, message.payload))
        subscribed = threading.Event()
        self._mqtt.on_subscribe = lambda *_: subscribed.set()
        self._mqtt.connect("127.0.0.1", port)
        self._mqtt.subscribe([(f"edged/dut/{kind}/+", 1) for kind in ("ack", "job", "image")])
        self._mqtt.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def send(self, name: str, args: dict[str, Any], id_: str) -> None:
        payload = json.dumps({"id": id_, "args": args})
        self._mqtt.publish(f"edged/dut/cmd/{name}", payload, qos=1).wait_for_publish(PATIENCE_S)

    def answer(self, kind: str, id_: str) -> dict[str, Any]:
        while True:
            topic, payload = self.arrived.get(timeout=PATIENCE_S)
            if topic == f"edged/dut/{kind}/{id_}":
                return dict(json.loads(payload))

    def call(self, name: str, args: dict[str, Any], id_: str) -> dict[str, Any]:
        self.send(name, args, id_)
        return self.answer("ack", id_)

    def close(self) -> None:
        self._mqtt.disconnect()
        self._mqtt.loop_stop()
        del self._mqtt  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes


@pytest.fixture
def wire(broker: Mosquitto) -> Iterator[Wire]:
    opened = Wire(broker.port)
    yield opened
    opened.close()


_PAUSING = """
import os, signal, sys
from edged.cli import main
from edged.images import ImageStore

put = ImageStore._put

def pausing(store, *args):
    put(store, *args)
    if sum(store.counts().values()) in (8, 30):
        os.kill(os.getpid(), signal.SIGSTOP)

ImageStore._put = pausing
sys.exit(main(sys.argv[1:]))
"""
"""`edged`, which stands still with its 8th image, and with its 30th: no push gets past these meanwhile."""


def test_a_push_outlives_its_broker_and_its_device(
    broker: Mosquitto, daemon: Callable[..., Daemon], edgectl: Edgectl, album: Path
) -> None:
    device = daemon("[retrain]\nkeep_frames = false\n", program=("-c", _PAUSING))
    images = device.state_dir / "images"

    def stands_still(count: int) -> bool:
        assert push.poll() is None, finish(push)
        assert device.process is not None
        stopped = psutil.Process(device.process.pid).status() == psutil.STATUS_STOPPED
        return stopped and len(list(images.glob("*/*.jpg"))) >= count

    push = edgectl("images", "push", str(album), "--json")
    wait_until(lambda: stands_still(8), what="first images")
    broker.restart()  # while commands are on their way
    device.signal(signal.SIGCONT)
    wait_until(lambda: stands_still(30), what="images after the broker's restart")
    device.kill()
    device.start()
    code, out, err = finish(push)
    assert code == 0, err
    told = json.loads(out)
    assert (told["pushed"], told["present"], told["rejected"]) == (2 * PER_LABEL, 0, [])
    assert contents(images) == contents(album)

    code, out, err = finish(edgectl("images", "push", str(album), "--json"))
    told = json.loads(out)
    assert (code, told["pushed"], told["present"]) == (0, 0, 2 * PER_LABEL)
    assert device.stop() == 0
    with closing(sqlite3.connect(device.state_dir / "images.sqlite")) as database:
        rows = database.execute("SELECT label, sha256 FROM images ORDER BY label, sha256").fetchall()
    assert rows == contents(album)
    assert (device.state_dir / "commands.sqlite").stat().st_size < 500_000
    assert "Traceback" not in device.log


def test_a_push_that_was_killed_goes_on_where_it_ended(
    daemon: Callable[..., Daemon], edgectl: Edgectl, album: Path
) -> None:
    device = daemon()
    images = device.state_dir / "images"
    push = edgectl("images", "push", str(album))
    wait_until(lambda: len(list(images.glob("*/*.jpg"))) >= 10, what="first images")
    push.kill()
    finish(push)
    (album / "roses/notes.txt").write_text("no photo")
    (album / "roses/cut.jpg").write_bytes((album / "roses/000.jpg").read_bytes()[:500])
    code, out, err = finish(edgectl("images", "push", str(album), "--json"))
    told = json.loads(out)
    assert code == 1, err
    assert told["present"] >= 10
    assert told["present"] + told["pushed"] == 2 * PER_LABEL
    assert [Path(fault["file"]).name for fault in told["skipped"]] == ["notes.txt"]
    ((file, reason),) = [(fault["file"], fault["reason"]) for fault in told["rejected"]]
    assert (Path(file).name, "cut off" in reason) == ("cut.jpg", True)

    (album / "roses/cut.jpg").unlink()
    (album / "roses/000.jpg").rename(album / "tulips/moved.jpg")
    code, out, err = finish(edgectl("images", "push", str(album)))
    assert code == 0
    assert f"0 pushed (0.0 MB in {out.split(' in ')[1].split()[0]} s), {2 * PER_LABEL - 1} already there, " in out
    assert "1 relabeled, 1 skipped" in out
    assert "notes.txt: not a JPEG" in err
    assert [label for label, _ in contents(images)].count("tulips") == PER_LABEL + 1


def test_images_are_listed_fetched_labeled_and_removed(
    daemon: Callable[..., Daemon], edgectl: Edgectl, tmp_path: Path
) -> None:
    device = daemon()
    (device.state_dir / "images/cats").mkdir()
    by_hand = device.state_dir / "images/cats/one.png"
    by_hand.write_bytes(photo(7, suffix=".png"))
    os.utime(by_hand, (time.time() - 3600,) * 2)  # a file that is younger may still be being written
    code, out, err = finish(edgectl("images", "label", "--last", "test pattern", "--json"))
    assert code == 0, err
    labeled = json.loads(out)
    assert (labeled["label"], labeled["by"], labeled["camera"]) == ("test pattern", "last", "main")
    with closing(sqlite3.connect(device.state_dir / "images.sqlite")) as database:
        ((variant, size),) = database.execute(
            "SELECT variant, length(data) FROM embeddings WHERE sha256 = ?", (labeled["sha256"],)
        ).fetchall()
    assert (variant, size) == ("crop=0.875", 1280)

    code, out, _ = finish(edgectl("images", "list", "--json"))
    told = json.loads(out)
    assert told["counts"] == {"cats": 1, "test pattern": 1}
    cat = next(image for image in told["images"] if image["label"] == "cats")
    assert cat["by"] == "file"
    code, out, _ = finish(edgectl("images", "list"))
    assert (code, "test pattern" in out, cat["id"] in out) == (0, True, True)
    target = tmp_path / "got.png"
    code, out, _ = finish(edgectl("images", "get", cat["id"][:8], "-o", str(target)))
    assert (code, target.read_bytes()) == (0, by_hand.read_bytes())
    for args, expected in (
        (("label", cat["id"], "kittens"), "kittens"),
        (("unlabel", cat["id"]), "unlabeled"),
        (("remove", cat["id"]), "removed"),
    ):
        code, out, err = finish(edgectl("images", *args))
        assert (code, out) == (0, f"dut: {cat['id']}  {expected}\n"), err
    for args, reason in (
        (("get", cat["id"]), "there is none with this id"),
        (("label", "--last", "x", "--camera", "attic"), "cameras with one: main"),
        (("label", labeled["id"], "a/b"), "slash"),
        (("label", labeled["id"], "Unknown"), "what results say"),
        (("label", labeled["id"], b"\xff"), "control character"),
        (("label", "--last", "a\u202eb"), "invisible character, U+202E"),
        (("label", "--group", labeled["id"], "a\u200bb"), "invisible character, U+200B"),
        (("list", "--label", "a\u200bb"), "invisible character, U+200B"),
    ):
        code, out, err = finish(edgectl("images", *args))
        wrong_usage = reason not in ("there is none with this id", "cameras with one: main")
        assert (code, out) == (2 if wrong_usage else 1, "")
        assert reason in err
        assert err.count("\n") == 1
    assert device.stop() == 0


@pytest.mark.parametrize("kind", MADE_AND_REAL)
def test_frames_worth_a_label_are_kept_with_their_embedding(
    daemon: Callable[..., Daemon], tmp_path: Path, kind: str
) -> None:
    seen = SHARED_DATA / "flowers" / "tulips" if kind == "real" else tmp_path / "blobs"
    if kind == "made":
        seen.mkdir()
        for seed in range(40):
            (seen / f"{seed:02}.jpg").write_bytes(photo(seed))
    more = f'[cameras.photos]\nsource = "dir://{seen}"\nfps = 2\n'
    device = daemon(more)  # an ImageNet model is unsure of tulips, and of blobs of colour
    frames = device.state_dir / "frames"
    wait_until(lambda: len(list(frames.glob("*.jpg"))) >= 3, what="kept frames")
    assert device.stop() == 0
    with closing(sqlite3.connect(device.state_dir / "images.sqlite")) as database:
        rows = database.execute(
            "SELECT reason, predicted, length(data) FROM images LEFT JOIN embeddings USING (sha256) WHERE label IS NULL"
        ).fetchall()
    assert len(rows) == len(list(frames.glob("*.jpg")))
    assert {size for _, _, size in rows} == {1280}
    assert {reason for reason, _, _ in rows} <= {"unknown", "low score", "close call", "new prediction", "random"}
    assert all(predicted for _, predicted, _ in rows)


def test_an_image_that_would_take_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 kB of PNG are 600 MB of pixels. A progressive JPEG keeps all of its coefficients."""
    store = ImageStore(tmp_path, images_max_mb=10)
    commands = images.ImageCommands(store, None, None, None)  # type: ignore[arg-type]  # this command asks the store alone

    def receive(data: bytes) -> None:
        sha256, jpeg = hashlib.sha256(data).hexdigest(), base64.b64encode(data).decode()
        commands.receive(Command("one", ImageArgs(label="black", sha256=sha256, jpeg=jpeg)))

    with closing(store):
        monkeypatch.setattr(images, "available_bytes", lambda: 2_399_999_999)
        with pytest.raises(CommandError, match=r"takes 600 MB to decode; at most 600 MB, a quarter of the memory"):
            receive(png_bomb(10_000))
        monkeypatch.setattr(images, "available_bytes", lambda: 4 * 6 * 53 * 37)
        receive(encoded(".jpg"))
        with pytest.raises(CommandError, match="a quarter of the memory"):
            receive(encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
        assert store.counts() == {"black": 1}


def test_what_a_sender_may_do_wrong(daemon: Callable[..., Daemon], wire: Wire) -> None:
    device = daemon("[retrain]\nkeep_frames = false\n")
    images = device.state_dir / "images"
    data = photo(1)
    sha256 = hashlib.sha256(data).hexdigest()
    good = {"label": "roses", "sha256": sha256, "jpeg": base64.b64encode(data).decode()}
    noise = b"\xff\xd8\xff" + bytes(1000)
    large = bytes(8 * 2**20 + 1)
    for number, (args, reason) in enumerate(
        [
            ({**good, "label": "../x"}, "slash"),
            ({**good, "label": "x" * 300}, "100 bytes"),
            ({**good, "label": "a\x07"}, "control"),
            ({**good, "label": "  "}, "empty"),
            ({**good, "label": "\ud800"}, "half of a character"),
            ({**good, "label": "a\u202eb"}, "invisible character, U+202E"),
            ({**good, "label": "a\u2029b"}, "paragraph separator"),
            ({**good, "label": "Unknown"}, "what results say of what no model was taught"),
            ({**good, "sha256": "0" * 64}, f"what arrived has sha256 {sha256[:16]}"),
            ({**good, "sha256": "xyz"}, "args.sha256"),
            ({**good, "jpeg": "?" * 100}, "not base64"),
            ({**good, "jpeg": None}, "is not here"),
            ({"label": "a", "sha256": hashlib.sha256(noise).hexdigest(), "jpeg": base64.b64encode(noise).decode()},
             "JPEG image"),
            ({"label": "a", "sha256": hashlib.sha256(large).hexdigest(), "jpeg": base64.b64encode(large).decode()},
             "at most 8388608"),
            ({**good, "jpeg": "A" * 12_000_000}, "bytes; at most"),
            ({**good, "more": 1}, "args.more: unknown field"),
        ]
    ):  # fmt: skip
        ack = wire.call("image", args, f"bad{number}")
        assert (ack["status"], reason in ack["error"]) == ("rejected", True), ack
        assert len(ack["error"]) < 500
    assert list(images.glob("*/*")) == []

    for number, (name, args) in enumerate(
        [
            ("images_label", {"id": sha256, "label": "a\u202eb"}),
            ("images_label", {"last": True, "label": "\ud800"}),
            ("images_label", {"group": sha256, "label": "UNKNOWN"}),
            ("images_list", {"label": "unknown"}),
            ("models_add", {"sha256": sha256, "name": "m", "labels": ["a", "unknown"]}),
            ("models_add", {"sha256": sha256, "name": "m", "labels": ["a", "b\u2066"]}),
            ("models_add", {"sha256": sha256, "name": "m", "labels": ["a", "\udc00"]}),
        ]
    ):
        assert wire.call(name, args, f"door{number}")["status"] == "rejected", (name, args)
    assert "Traceback" not in device.log

    assert wire.call("image", good, "good")["status"] == "accepted"
    assert (images / f"roses/{sha256[:16]}.jpg").read_bytes() == data  # on disk before the ack
    assert wire.call("image", {**good, "label": "tulips"}, "relabel")["status"] == "accepted"
    first = wire.call("image", good, "good")  # the same command again: answered, not run
    assert first["status"] == "accepted"
    assert contents(images) == [("tulips", sha256)]
    wire.send("images_have", {"shas": [sha256, "0" * 64]}, "have")
    assert wire.answer("job", "have")["report"] == {"labels": ["tulips", None]}
    device.kill()
    device.start()
    assert wire.call("image", good, "good") == first
    assert contents(images) == [("tulips", sha256)]
    assert wire.call("images_have", {"shas": []}, "none")["status"] == "rejected"
