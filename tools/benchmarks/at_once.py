"""How long a retrain takes after one more labeled image: from the command to the new model's answers, on a real daemon.

    tools/bench once --into tools/reports/at_once.json    # handwriting needs scikit-learn

Each album is taught to a daemon of its own, which goes on classifying a test pattern; then, again and again, a labeled
image is pushed and `retrain` is sent, as `edgectl` does. The time is that between the command and the job's end as a
subscriber of a real Mosquitto sees them: the new image's bottleneck, the training, the comparison with the model that
answers, and the change of models are all in it. The trainer's process was started when the image came, a second before,
or earlier (`retrain.ready_s`); its start is in the processor time.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import set_to
from benchmarks.kinds import KINDS
from benchmarks.live import Broker
from benchmarks.targets import handwriting, imagenet
from edged.plural import counted

ASKED_S = 1.0
"""What a retrain may take after one more labeled image, wall seconds."""
FPS = 10
"""Frames of the test pattern that the daemon classifies a second meanwhile."""
_KINDS = ("birds", "cold-blooded", "dogs", "food", "invertebrates", "kitchenware", "vehicles")
_FINAL = ("succeeded", "failed", "rejected", "cancelled")
_PATIENCE_S = 600.0


def add_options(parser: argparse.ArgumentParser, data: Path) -> None:
    """Add the options of `tools/bench once`; `data`: where the shared data lies."""
    parser.add_argument("--data", type=Path, default=data, help="folder with flowers/ and imagenet/")
    parser.add_argument("--runs", type=int, default=7, help="retrains of each album")
    parser.add_argument("--only", default="", metavar="NAME", help="albums whose names begin so")
    parser.add_argument("--tree", type=Path, metavar="DIR", help="source tree to measure in place of this one")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the numbers there too")


@dataclass(frozen=True)
class Album:
    """Labeled images to teach.

    Attributes:
        name: What reports call it.
        images: Label → files, or contents of files.
    """

    name: str
    images: Mapping[str, list[bytes | Path]]

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(map(len, self.images.values()))

    def split(self, aside: int) -> tuple[dict[str, list[bytes | Path]], list[tuple[str, bytes]]]:
        """Return what is taught first, and so many images that are added later, of each label in turn."""
        first = {label: list(files) for label, files in self.images.items()}
        later = []
        for number in range(aside):
            label = sorted(first)[number % len(first)]
            taken = first[label].pop()
            later.append((label, taken if isinstance(taken, bytes) else taken.read_bytes()))
        return first, later


def albums(data: Path) -> list[Album]:
    """Return the albums: all flowers, 70 % of them, 250 of them, photos of kinds of things, handwritten digits."""
    flowers = {folder.name: sorted(folder.glob("*.jpg")) for folder in sorted((data / "flowers").iterdir())}
    flowers = {label: files for label, files in flowers.items() if files}

    def part(share: Callable[[int], int]) -> dict[str, list[bytes | Path]]:
        return {
            label: [files[number * len(files) // share(len(files))] for number in range(share(len(files)))]
            for label, files in flowers.items()
        }

    photos = [photo for side in ("develop", "report") for photo in imagenet(data, side)]
    kinds = {label: [file for file, number in photos if number in KINDS[label]] for label in _KINDS}
    digits: dict[str, list[bytes | Path]] = {}
    for digit, picture in (one for side in ("develop", "report") for one in handwriting(side)):
        digits.setdefault(str(digit), []).append(_png(picture))
    return [
        Album("flowers", part(lambda count: count)),
        Album("flowers, 70 %", part(lambda count: round(0.7 * count))),
        Album("flowers, 250", part(lambda _: 50)),
        Album("kinds of things", {label: list(files) for label, files in kinds.items()}),
        Album("handwriting", digits),
    ]


def _png(picture: Any) -> bytes:
    import cv2

    done, encoded = cv2.imencode(".png", picture[:, :, ::-1])
    if not done:
        raise OSError("OpenCV cannot write a PNG")
    return bytes(encoded)


def put(images: Mapping[str, list[bytes | Path]], folder: Path) -> None:
    """Put labeled images where a daemon looks for them; files are linked. None of them is new to the clock."""
    an_hour_ago = time.time() - 3600
    for label, contents in images.items():
        (folder / label).mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            if isinstance(content, Path):
                (folder / label / f"{number}-{content.name}").symlink_to(content.resolve())
            else:
                file = folder / label / f"{number}.png"
                file.write_bytes(content)
                os.utime(file, (an_hour_ago, an_hour_ago))


class Device:
    """A daemon in a process of its own, and a client that sends it commands.

    Args:
        folder: Gets configuration, log and state.
        port: Of the broker.
        tree: Source tree to run instead of the installed one; None: as installed.
    """

    def __init__(self, folder: Path, port: int, *, tree: Path | None = None) -> None:
        self.state = folder / "state"
        configuration = folder / "edged.toml"
        configuration.write_text(
            f'[device]\nid = "bench"\n[cameras.main]\nsource = "pattern"\nfps = {FPS}\n[model]\nthreads = 1\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n[storage]\nstate_dir = "{self.state}"\n'
            "[retrain]\nkeep_frames = false\n"
        )
        environment = dict(os.environ) if tree is None else {**os.environ, "PYTHONPATH": str(tree)}
        self._heard: queue.SimpleQueue[tuple[str, float, dict[str, Any]]] = queue.SimpleQueue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _client, _data, message: self._hear(message, time.monotonic())
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        for topic in ("ack/+", "job/+", "info"):
            self._client.subscribe(f"edged/bench/{topic}", qos=1)
        with (folder / "edged.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "edged", "run", "--config", configuration],
                stdout=log, stderr=log, env=environment, cwd=folder,  # Python looks into the current folder first
            )  # fmt: skip
        self._wait_for("info", lambda _: True)

    def push(self, label: str, image: bytes) -> None:
        """Teach one more labeled image; return when the device has it."""
        args = {
            "label": label,
            "sha256": hashlib.sha256(image).hexdigest(),
            "jpeg": base64.b64encode(image).decode(),
        }
        id_ = self._send("image", args)
        _, ack = self._wait_for(f"ack/{id_}", lambda _: True)
        if ack["status"] != "accepted":
            raise RuntimeError(f"the daemon refuses an image: {ack['error']}")

    def retrain(self) -> dict[str, Any]:
        """Send `retrain` and wait for its end; the job's last state with `wall_s`, and `cpu_s` of all processes."""
        before, began = self._processor_s(), time.monotonic()
        id_ = self._send("retrain", {})
        ended, job = self._wait_for(f"job/{id_}", lambda told: told.get("status") in _FINAL)
        return {**job, "wall_s": ended - began, "cpu_s": self._processor_s() - before}

    def close(self) -> None:
        """End the daemon."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=30)
        self._client.disconnect()
        self._client.loop_stop()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _hear(self, message: paho.MQTTMessage, at: float) -> None:
        if message.retain:  # of the device before this one, which is gone
            return
        self._heard.put((message.topic.removeprefix("edged/bench/"), at, json.loads(message.payload)))

    def _send(self, command: str, args: dict[str, Any]) -> str:
        id_ = uuid.uuid4().hex
        self._client.publish(f"edged/bench/cmd/{command}", json.dumps({"id": id_, "args": args}), qos=1)
        return id_

    def _wait_for(self, topic: str, wanted: Callable[[dict[str, Any]], bool]) -> tuple[float, dict[str, Any]]:
        """Return when a message came, by the monotonic clock, and what it says."""
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            try:
                heard, at, told = self._heard.get(timeout=0.2)
            except queue.Empty:
                if self._process.poll() is not None:
                    raise RuntimeError("the daemon has ended") from None
                continue
            if heard == topic and wanted(told):
                return at, told
        raise RuntimeError(f"nothing came on {topic}")

    def _processor_s(self) -> float:
        """Seconds of processor time of the daemon and of its processes that have ended."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def measure(data: Path, *, runs: int, only: str = "", tree: Path | None = None) -> dict[str, Any]:
    """Measure every album.

    Args:
        data: The shared data: `flowers/` and `imagenet/`.
        runs: Retrains of each album, after one more image each.
        only: Begin of the names of the albums to measure; empty: all.
        tree: Source tree whose daemon is measured; None: the installed one.
    """
    measured, state = [], set_to.told()
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name))
        try:
            for album in albums(data):
                if album.name.startswith(only):
                    folder = Path(name) / str(len(measured))
                    folder.mkdir()
                    measured.append(_measure(album, folder, broker.port, runs, tree))
        finally:
            broker.close()
    return {"cores": os.cpu_count(), **state, "fps": FPS, "asked_s": ASKED_S, "albums": measured}


def _measure(album: Album, folder: Path, port: int, runs: int, tree: Path | None) -> dict[str, Any]:
    first, later = album.split(runs)
    put(first, folder / "state" / "images")
    device = Device(folder, port, tree=tree)
    try:
        taught = device.retrain()
        if taught["status"] != "succeeded":
            raise RuntimeError(f"{album.name}: {taught['error']}")
        ended = []
        for label, image in later:
            device.push(label, image)
            time.sleep(1)  # what is left of the last one ends
            load = os.getloadavg()[0]
            ended.append({**device.retrain(), "load": load})
    finally:
        device.close()
    told = [
        {
            "status": one["status"],
            "wall_s": round(one["wall_s"], 3),
            "cpu_s": round(one["cpu_s"], 2),
            "load": round(one["load"], 1),
            "stages_s": (one["report"] or {}).get("seconds", {}),
        }
        for one in ended
    ]
    return {
        "name": album.name,
        "images": album.count,
        "labels": len(album.images),
        "first_s": round(taught["wall_s"], 1),
        "wall_s": round(statistics.median(one["wall_s"] for one in told), 2),
        "cpu_s": round(statistics.median(one["cpu_s"] for one in told), 2),
        "runs": told,
    }


def table(numbers: dict[str, Any]) -> str:
    """The asked and the measured, as Markdown."""
    lines = ["| album | images | labels | retrain after one more image | processor time | asked |"]
    lines.append("|---|---|---|---|---|---|")
    loads = [one["load"] for album in numbers["albums"] for one in album["runs"]]
    for album in numbers["albums"]:
        walls = sorted(one["wall_s"] for one in album["runs"])
        lines.append(
            f"| {album['name']} | {album['images']:,} | {album['labels']} | {album['wall_s']:.2f} s "
            f"({walls[0]:.2f} to {walls[-1]:.2f}) | {album['cpu_s']:.1f} s | ≤ {numbers['asked_s']:.1f} s |"
        )
    reached, many = sum(album["wall_s"] <= numbers["asked_s"] for album in numbers["albums"]), len(numbers["albums"])
    share = "every album" if reached == many else f"{reached} of {counted(many, 'album')}"
    told = (
        f"The {numbers['asked_s']:.1f} s that were asked for are reached on {share}. Medians, in brackets the quickest "
        f"and the slowest run. There were {numbers['cores']} cores, on which {_ready(loads)} ready to run before each "
        f"command; the daemon classified {numbers['fps']} frames a second meanwhile.{set_to.sentence(numbers)}"
    )
    return "\n".join([*lines, "", told])


def _ready(loads: list[float]) -> str:
    least, most = round(min(loads)), round(max(loads))
    if least == most:
        return "1 process was" if least == 1 else f"{least} processes were"
    return f"{least} to {most} processes were"
