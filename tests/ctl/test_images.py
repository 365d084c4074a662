"""`edgectl images`: what is gathered from folders, and the push against a scripted device that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack
from edged.ctl.photos import gather
from edged.errors import ConfigError
from tests.ctl.conftest import Edgectl
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import Mosquitto
from tests.photos import photo
from tests.waiting import PATIENCE_S


class AlbumDevice(ScriptedDevice):
    """Keeps what it is pushed; leaves the first copy of some commands without an ack.

    Args:
        port: Where the broker listens.
        deaf_to: So many images are stored and not acknowledged at first.
        refuses: A label that is rejected.
    """

    hears_copies = True

    def __init__(self, port: int, *, deaf_to: int = 0, refuses: str = "") -> None:
        super().__init__(port)
        self.images: dict[str, str] = {}
        self.ids: Counter[str] = Counter()
        self._deaf_to = deaf_to
        self._refuses = refuses

    def _on_message(self, client: Any, data: object, message: Any) -> None:
        if not message.topic.endswith("/image"):
            super()._on_message(client, data, message)
            return
        command = CommandMessage.model_validate_json(message.payload)
        self.commands.append(("image", command))
        self.ids[command.id] += 1
        if command.args["label"] == self._refuses:
            self._answer("ack", command, Ack(id=command.id, status="rejected", error="no room"))
            return
        if "jpeg" in command.args:
            content = base64.b64decode(command.args["jpeg"])
            assert hashlib.sha256(content).hexdigest() == command.args["sha256"]
        self.images[command.args["sha256"]] = command.args["label"]
        if len(self.ids) <= self._deaf_to and self.ids[command.id] == 1:
            return
        self._answer("ack", command, Ack(id=command.id, status="accepted"))

    def _do_images_have(self, command: CommandMessage) -> None:
        labels = [self.images.get(sha256) for sha256 in command.args["shas"]]
        self._job(command, "succeeded", "images_have", report={"labels": labels})

    def _do_images_list(self, command: CommandMessage) -> None:
        images = [{"id": "0123456789abcdef", "label": "ro\x1b[31mses", "split": "train", "width": 4, "height": 3}]
        images += [{"id": "f" * 16, "predicted": "tabby", "score": 0.31, "reason": "low score"}, {}]
        skipped = [{"file": "images/x.jpg", "reason": "cut off"}]
        report = {"images": images, "counts": {"roses": 300}, "unlabeled": 12, "skipped": skipped}
        self._job(command, "succeeded", "images_list", report=report)

    def _do_images_suggest(self, command: CommandMessage) -> None:
        likely = [{"label": "ro\x1b[31mses", "score": 0.41}, {"label": "tulips", "score": 0.4}]
        images = [{"id": f"{digit}" * 16, "why": why, "likely": likely[: 3 - digit]} for digit, why in
                  enumerate(("stranger", "uncertain", "typical", "something newer"))]  # fmt: skip
        report = {"images": [*images, {}], "unlabeled": 40, "considered": 30, "judging": 6}
        self._job(command, "succeeded", "images_suggest", report=report)

    def _do_images_groups(self, command: CommandMessage) -> None:
        group = {"id": "a" * 16, "size": 6, "images": [f"{digit}" * 16 for digit in range(6)]}
        likely = [{"label": "ro\x1b[31mses", "score": 0.41}]
        report = {"groups": [group | {"likely": likely}, {}], "all": 5, "strangers": 9, "unlabeled": 40,
                  "considered": 33}  # fmt: skip
        self._job(command, "succeeded", "images_groups", report=report)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    for number, label in enumerate(("roses", "red tulips")):
        (folder / label).mkdir(parents=True)
        for seed in range(20):
            (folder / label / f"{seed}.jpg").write_bytes(photo(100 * number + seed))
    return folder


def test_gather_is_sorted_and_names_what_it_leaves_out(album: Path) -> None:
    (album / "roses/a.png").write_bytes(photo(500, suffix=".png"))
    (album / "roses/a.webp").write_bytes(photo(501, suffix=".webp"))
    (album / "roses/a.bmp").write_bytes(photo(502, suffix=".bmp"))
    (album / "roses/copy.jpg").write_bytes((album / "red tulips/0.jpg").read_bytes())
    (album / "roses/notes.txt").write_text("no photo")
    (album / "roses/empty.jpg").write_bytes(b"")
    (album / "roses/large.jpg").write_bytes(photo(1) + bytes(9_000_000))
    (album / "roses/.DS_Store").write_bytes(b"x")
    (album / "roses/deeper").mkdir()
    (album / ".git").mkdir()
    (album / "stray.jpg").write_bytes(photo(3))
    found = gather(album, None)
    assert Counter(photo.label for photo in found.photos) == {"red tulips": 19, "roses": 24}
    assert [photo.label for photo in found.photos] == sorted(photo.label for photo in found.photos)
    reasons = {path.name: reason for path, reason in found.skipped}
    assert set(reasons) == {"notes.txt", "empty.jpg", "large.jpg", "deeper", "stray.jpg", "0.jpg"}
    assert "at most 8 MiB" in reasons["large.jpg"]
    assert "roses/copy.jpg" in reasons["0.jpg"]
    assert {photo.label for photo in gather(album / "roses", "  asters ").photos} == {"asters"}


def test_folders_that_cannot_be_pushed(album: Path, tmp_path: Path) -> None:
    (tmp_path / "void").mkdir()
    (album / ("x" * 120)).mkdir()
    for folder, label, reason in (
        (tmp_path / "nowhere", None, "no such folder"),
        (tmp_path / "void", None, "no photo to push"),
        (album, None, "longer than 100 bytes"),
        (album / "roses", "a/b", "slash"),
        (album / "roses", "unknown", "what results say"),
        (album / "roses", "a\udcffb", "control character"),
        (album / "roses", None, "--label"),
    ):
        with pytest.raises(ConfigError, match=reason):
            gather(folder, label)


def test_a_lost_ack_is_asked_for_again_under_the_same_id(broker_port: int, edgectl: Edgectl, album: Path) -> None:
    with AlbumDevice(broker_port, deaf_to=3) as device:
        done = edgectl("images", "push", str(album), "--json")
        again = edgectl("images", "push", str(album))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["pushed"], told["resent"] >= 3, told["rejected"]) == (40, True, [])
    assert len(device.ids) == 40  # no command was sent under two ids
    assert Counter(device.images.values()) == {"roses": 20, "red tulips": 20}
    assert again.stdout.startswith("tx2-01: 0 pushed")
    assert "40 already there" in again.stdout


def test_rejections_are_named_and_are_1(broker_port: int, edgectl: Edgectl, album: Path) -> None:
    with AlbumDevice(broker_port, refuses="roses"):
        done = edgectl("images", "push", str(album))
        machine = edgectl("images", "push", str(album), "--json")
    assert done.returncode == 1
    assert "20 pushed" in done.stdout
    assert "20 rejected" in done.stdout
    assert done.stderr.count(": no room\n") == 20
    told = json.loads(machine.stdout)
    assert (told["present"], len(told["rejected"]), told["rejected"][0]["reason"]) == (20, 20, "no room")


def test_a_photo_that_the_broker_would_not_take_is_not_sent(
    mosquitto: Callable[..., Mosquitto], edgectl: Edgectl, album: Path
) -> None:
    port = mosquitto(extra="max_packet_size 40000").port
    (album / "roses/large.bmp").write_bytes(photo(7, suffix=".bmp", width=400, height=300))
    with AlbumDevice(port):
        done = edgectl("--broker", f"mqtt://127.0.0.1:{port}", "images", "push", str(album))
    assert done.returncode == 1
    assert "40 pushed" in done.stdout
    assert "large.bmp: larger than the broker's maximum packet size" in done.stderr


def test_only_the_label_is_sent_for_what_is_there(broker_port: int, edgectl: Edgectl, album: Path) -> None:
    with AlbumDevice(broker_port) as device:
        edgectl("images", "push", str(album))
        device.commands.clear()
        done = edgectl("images", "push", str(album / "roses"), "--label", "asters")
    assert "20 relabeled" in done.stdout
    assert all("jpeg" not in command.args for name, command in device.commands if name == "image")
    assert Counter(device.images.values()) == {"asters": 20, "red tulips": 20}


def test_list_shows_harmless_text(broker_port: int, edgectl: Edgectl) -> None:
    with AlbumDevice(broker_port):
        done = edgectl("images", "list", "--unlabeled", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "tabby 0.31, low score" in done.stdout
    assert "tx2-01: roses 300; 12 unlabeled" in done.stdout
    assert "not usable: images/x.jpg: cut off" in done.stdout


def test_list_says_when_it_is_cut(broker_port: int, edgectl: Edgectl) -> None:
    with AlbumDevice(broker_port):
        done = edgectl("images", "list", "--limit", "3")
        assert "first 3 of 312; --limit 312 shows more" in done.stdout
        assert "first 3 of 300; --limit 300 shows more" in edgectl("images", "list", "--label", "roses").stdout
        assert (
            "first 3 of 12; more are not sent at once"
            in edgectl("images", "list", "--unlabeled", "--limit", "600").stdout
        )
        assert "first" not in edgectl("images", "list", "--label", "tulips").stdout
        assert json.loads(edgectl("images", "list", "--json").stdout)["matching"] == 312


def test_suggestions_say_why_in_harmless_text(broker_port: int, edgectl: Edgectl) -> None:
    with AlbumDevice(broker_port) as device:
        done = edgectl("images", "suggest", COLUMNS="80")
        machine = edgectl("images", "suggest", "-n", "500", "--json")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    for said in ("unlike anything taught", "uncertain between ro[31mses and tulips", "like many without a label",
                 "something newer", "ro[31mses 0.41", "tx2-01: 5 of 40 frames", "10 were not considered",
                 "6 are never suggested: labeled, they would judge and teach nothing"):  # fmt: skip
        assert said in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    asked = {command.id: command.args for _, command in device.commands}  # this device hears copies, too
    assert list(asked.values()) == [{"count": 20}, {"count": 200}]
    assert json.loads(machine.stdout)["considered"] == 30


def test_groups_in_harmless_text(broker_port: int, edgectl: Edgectl) -> None:
    with AlbumDevice(broker_port):
        done = edgectl("images", "groups", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "11111111 22222222 33333333 and 2 more" in " ".join(done.stdout.split())
    assert "first 2 of 5 groups; --limit 5 shows more" in done.stdout
    assert "tx2-01: 9 of 40 frames without a label show something unknown" in done.stdout
    assert "7 were not considered: near duplicates, older, or seen by another network" in done.stdout
    assert "edgectl images label --group GROUP LABEL" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ("push",), ("push", "/nonexistent"), ("label",), ("label", "abc"), ("label", "xyz", "roses"), ("get", "g"),
        ("label", "abc", "roses", "--last", "x"), ("label", "abc", "roses", "--camera", "c"), ("remove", ""),
        ("list", "--label", "a", "--unlabeled"), ("list", "--limit", "0"), ("get", "abc", "def"),
        ("label", "--group", "abc"), ("label", "--group", "xyz", "roses"), ("label", "--group", "abc", "def", "roses"),
        ("label", "--group", "abc", "--last", "x"), ("label", "--group", "abc", "roses", "--camera", "c"),
        ("suggest", "-n", "0"), ("suggest", "more"), ("groups", "--limit", "none"),
    ],
)  # fmt: skip
def test_wrong_usage_is_2_in_one_line(edgectl: Edgectl, args: tuple[str, ...]) -> None:
    done = edgectl("images", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr


def test_help_is_a_page_without_numpy(edgectl: Edgectl) -> None:
    page = edgectl("images").stderr
    for name in ("push", "suggest", "groups", "list", "get", "label", "unlabel", "remove"):
        assert f"  {name} " in page
    script = (
        "import sys; import edged.ctl.push, edged.ctl.photos, edged.ctl.commands.images\n"
        "sys.exit(any(name in sys.modules for name in ('cv2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=PATIENCE_S).returncode == 0
