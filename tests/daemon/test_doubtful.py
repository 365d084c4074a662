"""Labels that look wrong, over a real broker: found, shown, answered in a terminal, remembered, learned from."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.contract.reports import DoubtfulLabels
from edged.ctl.client import Client
from edged.ctl.relabeling import Relabeling
from edged.mqtt.broker import brokers as brokers_of
from edged.settings import MqttSettings
from tests.albums import make_album, picture, put
from tests.daemon.process import Daemon
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S

Edgectl = Callable[..., "subprocess.Popen[str]"]
SWAPPED = {"discs": ("checks", 91), "stripes": ("discs", 92), "checks": ("stripes", 93)}
"""Label → what a picture of it shows in truth, and its seed."""


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Client]:
    with Client(brokers_of(MqttSettings(url=broker.url)), timeout_s=PATIENCE_S) as opened:
        yield opened


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty pictures of each label, three more with a wrong one, and one picture under two labels."""
    folder = make_album(tmp_path / "state" / "images", 20)
    for label, (shown, seed) in SWAPPED.items():
        put(folder / label / f"wrong-{seed}.jpg", picture(shown, seed))
    put(folder / "discs" / "burst.jpg", picture("stripes", 3) + b"\0")  # bytes after the end: another file, same pixels
    put(folder / "lonely" / "one.jpg", picture("stripes", 50))
    return folder


def call(client: Client, name: str, **args: Any) -> dict[str, Any]:
    *_, job = client.jobs(client.command("dut", name, args).id)
    assert job.status == "succeeded", job.error
    return job.report or {}


def in_terminal(broker: Mosquitto, *args: str, answers: list[str]) -> str:
    """Run edgectl in a terminal, type an answer at each prompt, and return what the screen showed."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "edged.ctl", "--broker", broker.url, "--timeout", str(PATIENCE_S), *args]
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "200", "NO_COLOR": "1"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    deadline = threading.Timer(PATIENCE_S, process.kill)
    deadline.start()
    seen, asked = "", 0
    try:
        while True:
            try:
                seen += os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the other end is closed
                break
            while seen.count("q: stop]") > asked:
                os.write(ours, f"{answers[asked] if asked < len(answers) else 'q'}\n".encode())
                asked += 1
    finally:
        deadline.cancel()
        os.close(ours)
    assert process.wait(PATIENCE_S) == 0, seen
    return seen.replace("\r\n", "\n")


def test_wrong_labels_are_found_put_right_and_learned_from(
    daemon: Callable[..., Daemon], client: Client, edgectl: Edgectl, broker: Mosquitto, images: Path
) -> None:
    daemon("[retrain]\nkeep_frames = false\nbatch = 16\nmin_accuracy = 0.4\n")
    report = call(client, "images_doubtful")  # before any training: bottlenecks are computed
    found = {image["file"]: image for image in report["images"]}
    assert set(found) >= {f"wrong-{seed}.jpg" for _, seed in SWAPPED.values()} | {"burst.jpg"}
    assert report["images"][0]["file"] == "burst.jpg"
    assert found["burst.jpg"]["looks_like"] == "stripes"
    assert [one["label"] for one in found["burst.jpg"]["near"]] == ["stripes"]
    for label, (shown, seed) in SWAPPED.items():
        wrong = found[f"wrong-{seed}.jpg"]
        assert (wrong["label"], wrong["looks_like"]) == (label, shown)
        assert 0.5 < wrong["confidence"] <= 1
    assert len(found) <= 6  # hardly any false alarm
    assert report["number"] == len(report["images"])
    assert report["judged"] == 64
    assert "1 image" in report["left_out"]["lonely"]

    done = edgectl("images", "doubtful", "-n", "9")
    shown_table, told = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 0, told
    assert "wrong-91.jpg" in shown_table
    assert f"{len(found)} labels of 64 look wrong" in shown_table
    assert "are more likely right" in " ".join(shown_table.split())
    assert "not judged: lonely" in shown_table

    before = call(client, "retrain")
    assert before["doubtful"]["number"] == len(found)
    # A removal, taken back; a name that is no label; a number (2: discs); the label that it looks like; the rest kept.
    # The last answer of all can be taken back, too.
    rest = ["r" if name.startswith("wrong") else "" for name in list(found)[1:]]
    answers = ["d", "u", "nonsense", "=", "r", *rest, "u", rest[-1], ""]
    screen = in_terminal(broker, "images", "doubtful", answers=answers)
    assert "labels: 1 checks, 2 discs, 3 lonely, 4 stripes" in screen
    assert "'nonsense' is no answer and no label; =nonsense makes it one" in screen
    assert "'=' is no answer and no label; a label's name comes after =" in screen
    assert screen.count(f"{len(found)} of {len(found)}: ") == 2
    assert screen.count("all are answered") == 2
    assert "dut: 4 relabeled" in screen
    for shown, seed in SWAPPED.values():
        assert (images / shown / f"wrong-{seed}.jpg").exists()

    after = call(client, "images_doubtful")
    assert not set(found) & {image["file"] for image in after["images"]}
    assert after["right"] == len(found)
    again = call(client, "retrain", accept=True)
    assert again["accuracy"]["cross_validated"] > before["accuracy"]["cross_validated"]


def test_what_is_kept_is_not_asked_again_until_its_label_changes(
    daemon: Callable[..., Daemon], client: Client, broker: Mosquitto, images: Path
) -> None:
    daemon("[retrain]\nkeep_frames = false\n")
    first = call(client, "images_doubtful")["images"]
    screen = in_terminal(broker, "images", "doubtful", answers=["", "2", "u", "u", "", "q"])
    assert screen.count("1 of ") == 2  # asked again after it was taken back
    assert f"dut: 1 kept, {len(first) - 1} not answered" in screen
    now = call(client, "images_doubtful")
    assert first[0]["id"] not in [image["id"] for image in now["images"]]
    assert now["right"] == 1
    assert call(client, "images_label", id=first[0]["id"], label="lonely")["label"] == "lonely"
    call(client, "images_label", id=first[0]["id"], label=first[0]["label"])
    assert first[0]["id"] in [image["id"] for image in call(client, "images_doubtful")["images"]]


def test_an_interrupt_tells_what_was_done_already(
    daemon: Callable[..., Daemon], client: Client, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon("[retrain]\nkeep_frames = false\n")
    found = DoubtfulLabels.model_validate(call(client, "images_doubtful")).images

    def read(_: str) -> str:
        """Keep the first one, then press Ctrl-C."""
        if "2 of " in capsys.readouterr().out:
            raise KeyboardInterrupt
        return ""

    with pytest.raises(KeyboardInterrupt):
        Relabeling(client, "dut", found, read).run()
    assert f"dut: 1 kept, {len(found) - 1} not answered" in capsys.readouterr().out
    assert call(client, "images_doubtful")["right"] == 1


def test_without_labeled_images_there_is_one_clear_line(daemon: Callable[..., Daemon], edgectl: Edgectl) -> None:
    daemon()
    done = edgectl("images", "doubtful")
    _, told = done.communicate(timeout=PATIENCE_S)
    assert done.returncode == 1
    assert "there is no labeled image" in told


def test_json_is_what_the_device_says(
    daemon: Callable[..., Daemon], client: Client, edgectl: Edgectl, images: Path
) -> None:
    daemon("[retrain]\nkeep_frames = false\n")
    out, told = edgectl("images", "doubtful", "--json").communicate(timeout=PATIENCE_S)
    assert json.loads(out) == {"device": "dut", **call(client, "images_doubtful")}, told
