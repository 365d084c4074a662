"""The faults: how each is made, how often, and where it cannot be made."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.fault_bed import FPS, MAIN, PATIENCE_S, Bed, Device, wait_until

PHOTOS = Path(__file__).resolve().parents[2] / "edged" / "demo" / "photos"


@dataclass(frozen=True)
class Fault:
    """One row of the table.

    Attributes:
        name: For `--only`.
        title: For people; `{times}` is how often it was made.
        make: Makes it so often on a bed.
        times: How often.
        quick: How often in the short form; 0: not there.
        cannot: Why this machine cannot make it; None: it can.
    """

    name: str
    title: str
    make: Callable[[Bed, int], None]
    times: int
    quick: int = 0
    cannot: Callable[[], str | None] = lambda: None


# -- the broker and the network ----------------------------------------------------------------------------------------


def broker_killed(bed: Bed, times: int) -> None:
    """SIGKILL, away for up to two seconds, back with nothing remembered."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.3, 1)
        bed.broker_dies()
        bed.sleep(0.1, 2)
        bed.recovered(device, bed.broker_is_back())


def broker_killed_each_second(bed: Bed, times: int) -> None:
    """It lives for a second, again and again; nobody waits for the daemon in between."""
    device = bed.device()
    back = time.monotonic()
    for _ in bed.rounds(times):
        time.sleep(1)
        bed.broker_dies()
        back = bed.broker_is_back()
    bed.recovered(device, back)


def broker_stopped(bed: Bed, times: int) -> None:
    """SIGSTOP: it keeps the connection and answers nothing; SIGCONT."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.3, 1)
        bed.broker.signal(signal.SIGSTOP)
        bed.sleep(0.5, 4)
        bed.broker.signal(signal.SIGCONT)
        bed.recovered(device, time.monotonic())


def broker_stopped_long(bed: Bed, times: int) -> None:
    """For longer than MQTT's keepalive of 30 s: the daemon gives the connection up by itself."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.broker.signal(signal.SIGSTOP)
        bed.cuts += 1
        time.sleep(75)
        bed.expect("connection lost" in device.text or "no answer" in device.text, "the daemon did not notice")
        bed.broker.signal(signal.SIGCONT)
        wait_until(bed.consumer.ready.is_set, "the consumer is back")
        bed.recovered(device, time.monotonic())


def broker_slow(bed: Bed, times: int) -> None:
    """Three quarters of the bytes that are published, for ten seconds."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.proxy.bytes_per_s = 500 * FPS * 3 // 4
        time.sleep(10)
        bed.proxy.bytes_per_s = 0
        bed.recovered(device, time.monotonic())


def network_down(bed: Bed, times: int) -> None:
    """Connections are reset, new ones refused, for up to three seconds."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.3, 1)
        bed.proxy.close()
        bed.cuts += 1
        bed.sleep(0.1, 3)
        bed.proxy.open()
        bed.recovered(device, time.monotonic())


def connection_reset(bed: Bed, times: int) -> None:
    """A reset in the middle of whatever is on its way; the next connection is taken at once."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.1, 1)
        bed.proxy.cut()
        bed.cuts += 1
        bed.recovered(device, time.monotonic())


def hole_that_heals(bed: Bed, times: int) -> None:
    """Nothing passes, nobody is told, and then all goes on, as TCP sends again what was lost."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.3, 1)
        bed.proxy.stalled = True
        bed.sleep(1, 6)
        bed.proxy.stalled = False
        bed.recovered(device, time.monotonic())


def hole_that_ends_dead(bed: Bed, times: int) -> None:
    """What was sent is gone, and at last the connection is reset."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0.3, 1)
        bed.proxy.swallow()
        bed.cuts += 1
        bed.sleep(0.5, 4)
        bed.proxy.end_swallowing()
        bed.recovered(device, time.monotonic())


def hole_for_long(bed: Bed, times: int) -> None:
    """No reset ever comes: the daemon has to notice it by itself."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.proxy.swallow()
        bed.cuts += 1
        time.sleep(75)
        bed.expect("connection lost" in device.text or "no answer" in device.text, "the daemon did not notice")
        bed.proxy.end_swallowing()
        bed.recovered(device, time.monotonic())


def loss_and_delay(bed: Bed, times: int) -> None:
    """100 ms on each chunk, and stalls of 0.2 to 1.6 s: what TCP makes of a packet that is lost once to four times."""
    device = bed.device()
    bed.proxy.delay_s = 0.1
    for _ in bed.rounds(times):
        bed.sleep(0.1, 1)
        bed.proxy.stalled = True
        time.sleep(0.2 * 2 ** bed.dice.randrange(4))
        bed.proxy.stalled = False
    bed.proxy.delay_s = 0
    bed.recovered(device, time.monotonic())


# -- the daemon --------------------------------------------------------------------------------------------------------


def daemon_killed(bed: Bed, times: int) -> None:
    """SIGKILL with a broker that acknowledges, and a start at once."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0, 1)
        bed.kill(device)
        began = time.monotonic()
        device.start()
        bed.recovered(device, began)


def daemon_killed_in_a_hole(bed: Bed, times: int) -> None:
    """SIGKILL while nothing is acknowledged and all that is sent is lost: only the disk has it."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.sleep(0, 0.3)
        bed.proxy.swallow()
        bed.cuts += 1
        bed.sleep(0.2, 2)
        bed.kill(device)
        bed.proxy.end_swallowing()
        began = time.monotonic()
        device.start()
        bed.recovered(device, began)


def daemon_killed_without_broker(bed: Bed, times: int) -> None:
    """SIGKILL while there is no broker: all is on disk already."""
    device = bed.device()
    for _ in bed.rounds(times):
        bed.proxy.close()
        bed.cuts += 1
        bed.sleep(0.3, 2)
        bed.kill(device)
        bed.proxy.open()
        began = time.monotonic()
        device.start()
        bed.recovered(device, began)


def two_on_one_state(bed: Bed, times: int) -> None:
    """The second says one line and leaves; the first does not notice."""
    first = bed.device()
    for number in bed.rounds(times):
        other = Device(bed.folder / f"other{number}", bed.proxy.port, state=first.state)
        began = time.monotonic()
        other.start()
        assert other.process is not None
        code = other.process.wait(PATIENCE_S)
        bed.expect(code == 1, f"exit code {code}")
        bed.expect(re.fullmatch(r"edged: another edged \(process \d+\) uses .*\n", other.text), other.text)
        bed.recovered(first, began)


def two_of_one_id(bed: Bed, times: int) -> None:
    """They push each other off the broker for ten seconds; then one of them leaves."""
    first = bed.device()
    for _ in bed.rounds(times):
        other = bed.device(start=False)
        began = time.monotonic()
        other.start()
        bed.wait_live(other, began)
        time.sleep(10)
        bed.cuts += 40  # at most: each of them comes back after a while
        wait_until(lambda: "uses device id" in first.text + other.text, "one of them says that there are two")  # noqa: B023 - it is called here alone
        bed.expect(other.stop() == 0, "the second does not end in order")
        bed.recovered(first, time.monotonic())
        bed.wait_for_all(first, time.monotonic())
        bed.expect(first.stop() == 0, "the first does not end in order")
        # What the second could not send in the time that a stop takes lies on its disk.
        began = time.monotonic()
        other.start()
        bed.wait_live(other, began)


# -- the disk ----------------------------------------------------------------------------------------------------------


def no_mounts() -> str | None:
    """Say why a disk of its own cannot be mounted."""
    if os.geteuid() != 0:
        return "needs root: a disk is mounted where only the daemon sees it"
    done = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    return None if done.returncode == 0 else f"unshare --mount: {done.stderr.decode().strip()}"


def no_loop() -> str | None:
    """Say why a file cannot be mounted as a disk."""
    if (why := no_mounts()) is not None:
        return why
    if shutil.which("mkfs.ext4") is None:
        return "needs mkfs.ext4"
    return None if Path("/dev/loop-control").exists() else "this system has no loop devices"


def disk_full(bed: Bed, times: int) -> None:
    """It fills up while the broker is away, stays full when the broker is back, and is emptied."""
    device = bed.device(start=False)
    device.state.mkdir()
    began = time.monotonic()
    device.start(
        *("unshare", "--mount", "sh", "-c"), f'mount -t tmpfs -o size=8m tmpfs "{device.state}" && exec "$@"', "sh"
    )
    bed.wait_live(device, began)
    filler = Path(f"/proc/{device.pid}/root{device.state}/fill")
    for _ in bed.rounds(times):
        bed.proxy.close()
        bed.cuts += 1
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        bed.sleep(1, 3)
        bed.proxy.open()
        wait_until(lambda: says(bed, "storage"), "info says that the disk is full")
        filler.unlink()
        bed.recovered(device, time.monotonic())
        wait_until(lambda: not says(bed, "storage"), "info says that there is room again")


def disk_read_only(bed: Bed, times: int) -> None:
    """An ext4 that its kernel makes read-only after an error, while the broker is away and comes back."""
    for number in bed.rounds(times):
        device = bed.device(start=False)
        device.state.mkdir()
        image = bed.folder / f"disk{number}"
        with image.open("wb") as file:
            file.truncate(32_000_000)
        subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
        began = time.monotonic()
        device.start(
            *("unshare", "--mount", "sh", "-c"), f'mount -o loop "{image}" "{device.state}" && exec "$@"', "sh"
        )
        bed.wait_live(device, began)
        # `abort` is what the kernel does to a disk that fails; the mount itself then ends with an error.
        abort = ["nsenter", "-t", str(device.pid), "-m", "mount", "-o", "remount,abort", str(device.state)]
        subprocess.run(abort, check=False, capture_output=True)
        bed.proxy.close()
        bed.cuts += 1
        bed.sleep(1, 3)
        bed.proxy.open()
        bed.recovered(device, time.monotonic())
        bed.expect("cannot be written" in device.text, "the log does not say that the disk cannot be written")
        bed.expect(device.stop() == 0, "it does not end in order")


def says(bed: Bed, text: str) -> bool:
    """Whether the newest `info` names something in `degraded`."""
    return any(text in line for line in bed.consumer.newest("info").get("degraded") or [])


# -- files that are damaged while the daemon is down -------------------------------------------------------------------


def flip(path: Path) -> None:
    """Change one bit of a file, as a cell of a worn-out flash does: its size and the rest stay."""
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(content)


WAYS: dict[str, Callable[[Path], object]] = {
    "one bit": flip,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * max(1, path.stat().st_size // 256)),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@dataclass(frozen=True)
class Kept:
    """A file of the state folder that is damaged.

    Attributes:
        path: Below the state folder; a pattern, where its name is not known before.
        silent: Ways of damage of which nothing can be known.
        make: Makes it in a state folder with two versions, before the first start.
        options: Of the device that uses it, see `Device`.
        send: What a client does while the first daemon runs.
        go_on: What it does once the next one runs; what came of it, for a person.
    """

    path: str
    silent: frozenset[str] = frozenset()
    make: Callable[[Path], object] = lambda _: None
    options: Mapping[str, str] = field(default_factory=dict)
    send: Callable[[Bed], object] = lambda _: None
    go_on: Callable[[Bed], str] = lambda _: ""


def add_fallback(state: Path) -> None:
    """Let a version have been given up, also where none was."""
    (state / "fallback.json").write_text('{"id": "0123456789ab", "reason": "x", "since": "2026-01-01T00:00:00Z"}')


def add_premodel(state: Path) -> None:
    """Let two networks take turns: the second is asked where the first one is in doubt."""
    import numpy as np

    from edged.selection.cascade import Cascade, Stage
    from edged.selection.files import Fitted, save
    from edged.selection.pool import fingerprint
    from edged.selection.premodels import NearestNeighbours, Premodel
    from edged.selection.strategy import ByCascade, ByPremodel
    from edged.store import Store

    store = Store(state)
    pool = [store.find(name) for name in ("one", "two")]
    stages = (Stage(0, (1.0,), 0.5), Stage(1, (0.0, 1.0), 1.0))
    cascade = ByCascade(Cascade(stages, (1.0, 0.2, 0.0), 1, 2, (0.0, 0.3, 1.0), (0.2,), (1.0,)))
    rows, one = np.random.default_rng(0).random((500, 1), np.float32), np.ones(1, np.float32)
    neighbours = NearestNeighbours(rows, np.zeros(500, np.int32))
    nearest = Premodel("knn", ("avg_brightness",), 0 * one, one, (0, 1), neighbours)
    fitted = Fitted(
        name="default", networks=tuple(one.name for one in pool), ids=tuple(one.id for one in pool),
        labels=fingerprint(pool[0].labels), strategies={"cascade": cascade, "premodel knn": ByPremodel(nearest)},
        chosen=dict.fromkeys(("premodel", "cascade", "learned"), "cascade"), decisions_ms={"cascade": 0.1},
        feature_ms={}, points={"cascade": [{"top1": 0.7, "mean_ms": mean_ms} for mean_ms in (4.0, 5.0, 8.0)]},
    )  # fmt: skip
    save(fitted, {}, "", state)


def add_detector(state: Path) -> None:
    """Install a detector of the tests."""
    from edged.store import Store
    from edged.zoo.detectors import install_detector
    from tests.detectors import make

    install_detector(Store(state), make(), name="bright", origin="here")


_PART_BYTES = 512 * 1024


def _sent_model() -> bytes:
    from edged.store import Store

    return Store(Path("nowhere")).shipped("mobilenet_v2").read_model() + b"sent"


def send_parts(bed: Bed, first: int, last: int | None) -> None:
    """Send some parts of a model, and wait for their acks."""
    model = _sent_model()
    sha256 = hashlib.sha256(model).hexdigest()
    for offset in range(0, len(model), _PART_BYTES)[first:last]:
        data = base64.b64encode(model[offset : offset + _PART_BYTES]).decode()
        id_ = bed.consumer.send("models_chunk", sha256=sha256, size=len(model), offset=offset, data=data)
        wait_until(lambda id_=id_: bed.consumer.newest(f"ack/{id_}"), "the ack of a part")
        ack = bed.consumer.newest(f"ack/{id_}")
        bed.expect(ack["status"] == "accepted", f"a part: {ack.get('error')}")


def add_sent(bed: Bed) -> str:
    """Send the other parts, install the model; where that is refused, send all of it once more, as edgectl does."""
    from edged.store import Store

    labels = Store(Path("nowhere")).shipped("mobilenet_v2").labels
    send_parts(bed, 3, None)
    told = []
    for _ in range(2):
        sha256 = hashlib.sha256(_sent_model()).hexdigest()
        job = bed.consumer.job(bed.consumer.send("models_add", sha256=sha256, name="sent", labels=labels))
        told.append(re.sub(r"\b[0-9a-f]{12}\b", "…", job.get("error") or str(job["status"])))
        if job["status"] == "succeeded":
            break
        send_parts(bed, 0, None)
    bed.expect(told[-1] == "succeeded", f"the model cannot be sent any more: {told[-1]}")
    return ", then ".join(told)


NEW_OR_EMPTY = frozenset({"one bit", "empty", "gone"})
"""An empty SQLite file is a new one, and where one bit changes a value that is stored, nobody can know."""
A_WORD = frozenset({"one bit"})
"""Words of people, or names, with one letter that is another."""
ALL = frozenset(WAYS)
_SENT = {"silent": ALL, "send": lambda bed: send_parts(bed, 0, 3), "go_on": add_sent}
_TURNS: dict[str, Any] = {"make": add_premodel, "options": {"more": '[selection]\nstrategy = "learned"\n'}}
_DETECTOR: dict[str, Any] = {
    "make": add_detector, "options": {"cameras": MAIN + 'regions = "detector:bright"\n'}
}  # fmt: skip
FILES = {
    "outbox.sqlite": Kept("outbox.sqlite", NEW_OR_EMPTY),
    "commands.sqlite": Kept("commands.sqlite", NEW_OR_EMPTY),
    "images.sqlite": Kept("images.sqlite", NEW_OR_EMPTY),
    "current": Kept("current"),
    "history.json": Kept("history.json", A_WORD),
    "trial.json": Kept("trial.json", frozenset({"half", "gone"})),  # its second half are spaces
    "fallback.json": Kept("fallback.json", frozenset({"gone"}), make=add_fallback),
    "labels.txt": Kept("current/labels.txt", A_WORD),
    "manifest.json": Kept("current/manifest.json", A_WORD),
    "model.tflite": Kept("current/model.tflite"),
    "familiarity.npz": Kept("current/familiarity.npz", frozenset({"gone"})),
    "retained.json": Kept("retained.json", A_WORD | {"gone"}),
    "premodels: manifest.json": Kept("premodels/default/manifest.json", **_TURNS),
    "premodels: arrays.npz": Kept("premodels/default/arrays.npz", **_TURNS),
    "detectors: manifest.json": Kept("detectors/bright/manifest.json", **_DETECTOR),
    "detectors: model.tflite": Kept("detectors/bright/model.tflite", **_DETECTOR),
    "uploads: what is here": Kept("uploads/*.json", **_SENT),
    "uploads: the parts": Kept("uploads/*.part", **_SENT),
}
"""Name → what is damaged."""
QUICK = {"model.tflite": 2, "retained.json": 1}
"""Name → how many ways of damage the short form tries."""


def add_versions(state: Path) -> None:
    """Make two versions, so that there is one to go back to, and one that was given up, of which `fallback` tells."""
    from edged.store import Store

    logging.getLogger("edged").addHandler(logging.NullHandler())  # a version is given up on purpose
    store = Store(state)
    shipped = store.find("mobilenet_v2")
    familiarity = (
        (shipped.path / "familiarity.npz").read_bytes() if (shipped.path / "familiarity.npz").exists() else None
    )
    made = [
        store.promote(
            store.add(
                shipped.read_model() + name.encode(), shipped.labels, name=name, width=224, height=224,
                familiarity=familiarity,
            ),
            "mobilenet_v2",
        )
        for name in ("one", "two", "three")
    ]  # fmt: skip
    store.give_up(made[2].id, [made[1].id], "mobilenet_v2", "for the sake of this measurement")
    store.promote(made[0], "mobilenet_v2")
    store.promote(made[1], "mobilenet_v2")


def damaged(name: str, bed: Bed, times: int) -> None:
    """Each way of damage on a state folder of its own; the daemon must start, classify and, mostly, say so."""
    kept = FILES[name]
    first = bed.device(start=False, **kept.options)
    first.state.mkdir()
    add_versions(first.state)
    kept.make(first.state)
    began = time.monotonic()
    first.start()
    bed.wait_live(first, began)
    kept.send(bed)
    bed.expect(first.stop() == 0, "it does not end in order")
    for _, (way, damage) in zip(bed.rounds(times), WAYS.items(), strict=False):
        device = bed.device(start=False, **kept.options)
        shutil.copytree(first.state, device.state, symlinks=True)
        before = len(device.text)
        paths = [path for path in device.state.glob(kept.path) if path.exists()]
        if not paths:
            raise RuntimeError(f"there is no {device.state / kept.path}")
        if name == "current":
            damage_link(paths[0], way)
        else:
            damage(paths[0])
        began = time.monotonic()
        device.start()
        bed.recovered(device, began)
        time.sleep(0.5)
        new = "\n".join(line for line in device.text[before:].splitlines() if re.search(" (WARNING|ERROR) ", line))
        told = [line for line in bed.consumer.newest("info").get("degraded") or [] if "given up" in line or new == ""]
        bed.expect(new or told or way in kept.silent, f"{way}: neither the log nor info says anything")
        said = new.splitlines()[0].split(": ", 1)[-1] if new else "; ".join(told) or "nothing"
        came = kept.go_on(bed)
        said = said.replace(str(device.state), "…") + ("; info says so" if told else "")
        bed.notes.append(f"{way}: {said}" + (f"; {came}" if came else ""))
        bed.expect(device.stop() == 0, "it does not end in order")


def damage_link(path: Path, way: str) -> None:
    """A link: to another version, to what is not there, to itself, a file in its place, nothing."""
    target = path.readlink()
    path.unlink()
    if way == "one bit":
        path.symlink_to(str(target)[:-1] + chr(ord(str(target)[-1]) ^ 1))
    elif way == "half":
        path.symlink_to("versions/0123456789ab")
    elif way == "noise":
        path.symlink_to("current")
    elif way == "empty":
        path.write_bytes(b"")


# -- the clock ---------------------------------------------------------------------------------------------------------


CLOCK = Path(__file__).with_name("stepped_clock.c")


def no_compiler() -> str | None:
    """Say why the clock cannot be stepped for one process alone."""
    return (
        None if shutil.which("cc") else "needs a C compiler (apt install gcc libc6-dev): stepped_clock.c is preloaded"
    )


def clock_stepped(bed: Bed, times: int) -> None:
    """A day back and forth, as seen by the daemon alone; the monotonic clock goes on, as it does with a real step."""
    library, step = bed.folder / "clock.so", bed.folder / "step"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(CLOCK)], check=True)
    step.write_text("0\n")
    device = bed.device(start=False)
    began = time.monotonic()
    device.start(LD_PRELOAD=str(library), STEPPED_CLOCK_FILE=str(step))
    bed.wait_live(device, began)
    for number in bed.rounds(times):
        bed.sleep(0.5, 1.5)
        seconds = (-86_400, 86_400, 0)[number % 3]
        new = bed.folder / "step.new"
        new.write_text(f"{seconds}\n")
        new.replace(step)
        bed.recovered(device, time.monotonic())
        id_ = bed.consumer.send("status")
        bed.expect(bed.consumer.job(id_)["status"] == "succeeded", "a command fails after a step")
        told = datetime.fromisoformat(bed.consumer.newest(f"job/{id_}")["ts"].replace("Z", "+00:00")).timestamp()
        bed.expect(abs(told - time.time() - seconds) < 3600, "the step has not reached the daemon")


# -- cameras -----------------------------------------------------------------------------------------------------------


def camera_lost(bed: Bed, times: int) -> None:
    """A folder of photos that goes away and comes back; the other camera goes on."""
    photos = bed.folder / "photos"
    shutil.copytree(PHOTOS, photos)
    device = bed.device(cameras=f'{MAIN}[cameras.folder]\nsource = "dir://{photos}"\nfps = 5\n')
    for _ in bed.rounds(times):
        bed.wait_live(device, time.monotonic(), camera="folder")
        photos.rename(bed.folder / "away")
        wait_until(lambda: says(bed, "camera folder"), "info names the lost camera")
        bed.wait_live(device, time.monotonic(), camera="main")
        (bed.folder / "away").rename(photos)
        bed.recovered(device, time.monotonic(), camera="folder")
        wait_until(lambda: not says(bed, "camera folder"), "info says that the camera is back")


def no_gstreamer() -> str | None:
    """Say why there is no pipeline."""
    return None if shutil.which("gst-launch-1.0") else "needs gst-launch-1.0 (apt install gstreamer1.0-tools)"


def _pipeline(bed: Bed) -> Device:
    pipeline = "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1"
    return bed.device(cameras=f'{MAIN}[cameras.pipe]\nsource = "gst:{pipeline}"\nfps = 5\n')


def camera_killed(bed: Bed, times: int) -> None:
    """The process that feeds frames is killed."""
    device = _pipeline(bed)
    for _ in bed.rounds(times):
        bed.wait_live(device, time.monotonic(), camera="pipe")
        for child in device.children("gst-launch-1.0"):
            os.kill(child, signal.SIGKILL)
        ended = time.monotonic()
        wait_until(lambda: says(bed, "camera pipe"), "info names the lost camera")
        bed.recovered(device, ended, camera="pipe")
        bed.wait_live(device, ended, camera="main")


def camera_frozen(bed: Bed, times: int) -> None:
    """The process that feeds frames is there and gives none: noticed after 10 s, and started anew."""
    device = _pipeline(bed)
    for _ in bed.rounds(times):
        bed.wait_live(device, time.monotonic(), camera="pipe")
        for child in device.children("gst-launch-1.0"):
            os.kill(child, signal.SIGSTOP)
        began = time.monotonic()
        wait_until(lambda: says(bed, "camera pipe"), "info names the frozen camera")
        bed.wait_live(device, time.monotonic(), camera="main")
        bed.recovered(device, began + 1, camera="pipe")  # a frame may be on its way when it stops


def camera_garbage(bed: Bed, times: int) -> None:
    """Truncated, empty and foreign files among good photos: the good ones are classified."""
    photos = bed.folder / "photos"
    shutil.copytree(PHOTOS, photos)
    good = sorted(photos.glob("*.jpg"))
    for number, photo in enumerate(good):
        content = photo.read_bytes()
        (photos / f"{photo.stem}-cut.jpg").write_bytes(content[: len(content) // (number + 2)])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.png").write_text("no picture")
    began = time.monotonic()
    device = bed.device(cameras=f'{MAIN}[cameras.folder]\nsource = "dir://{photos}"\nfps = 10\n')
    for _ in bed.rounds(times):
        bed.recovered(device, began, camera="folder")
        began = time.monotonic() + 1
        time.sleep(1)


# -- the trainer -------------------------------------------------------------------------------------------------------


def album(folder: Path, per_label: int) -> None:
    """Draw pictures of two labels that a network tells apart, with a date of long ago: none of them is being copied."""
    import cv2
    import numpy as np

    random = np.random.default_rng(len(list(folder.rglob("*.jpg"))))
    past = time.time() - 3600
    for label in ("discs", "stripes"):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for _ in range(per_label):
            ground = random.integers(0, 256, (6, 8, 3)).astype(np.uint8)
            image = cv2.resize(ground, (160, 120), interpolation=cv2.INTER_CUBIC)
            colour = [int(value) for value in random.integers(0, 256, 3)]
            size = int(random.integers(8, 18))
            if label == "discs":
                for _ in range(12):
                    centre = (int(random.integers(0, 160)), int(random.integers(0, 120)))
                    cv2.circle(image, centre, size, colour, -1)
            else:
                image[np.arange(120) // size % 2 == 1] = colour
            path = folder / label / f"{len(list((folder / label).iterdir())):04}.jpg"
            cv2.imwrite(str(path), image)
            os.utime(path, (past, past))


STAGES = ("scan", "bottlenecks", "training", "comparison", "export", "evaluation", "learning curve", "writing")


def _trained(bed: Bed, device: Device, hurt: Callable[[int, str], object], what: str, allowed: str) -> str:
    """Start a training on some more images and hurt its process; how it ended."""
    album(device.state / "images", 4)
    began = time.monotonic()
    id_ = bed.consumer.send("retrain", epochs=30)
    stop = threading.Event()

    def watch() -> None:
        while not stop.is_set():
            stage = bed.consumer.newest(f"job/{id_}").get("stage") or ""
            for child in device.children("edged.learning.trainer"):
                with contextlib.suppress(ProcessLookupError):
                    if hurt(child, stage):
                        return
            time.sleep(0.002)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    job = bed.consumer.job(id_)
    stop.set()
    thread.join()
    ended = time.monotonic()
    bed.recovered(device, ended)
    gap = _longest_gap(bed, began, ended)
    told = f"{job['status']}: {job.get('error')}" if job.get("error") else str(job["status"])
    bed.notes.append(f"{what}: {told}; longest silence {gap:.2f} s")
    bed.expect(re.search(allowed, told), f"{what}: {told}")
    return str(job["status"])


def _longest_gap(bed: Bed, since: float, until: float) -> float:
    times = [since, *(at for _, at in bed.consumer.results if since < at < until), until]
    return max(after - before for before, after in pairwise(times))


def trainer_killed(bed: Bed, times: int) -> None:
    """SIGKILL in each of its stages, as soon as it says that it has begun one."""
    device = bed.device()
    album(device.state / "images", 12)
    for _, stage in zip(bed.rounds(times), STAGES, strict=False):

        def hurt(child: int, at: str, stage: str = stage) -> bool:
            if at in STAGES and STAGES.index(at) >= STAGES.index(stage):
                os.kill(child, signal.SIGKILL)
                return True
            return False

        # The last stages are short: a training may be over before the signal comes.
        _trained(bed, device, hurt, stage, "killed by signal 9|succeeded|rejected")


def trainer_starved(bed: Bed, times: int) -> None:
    """It may not have a byte more of address space, from one of its stages on: it fails, or needs no more."""
    bed.python_may_fail = True
    device = bed.device()
    album(device.state / "images", 12)
    for _, stage in zip(bed.rounds(times), ("", "scan", "bottlenecks", "training"), strict=False):

        def hurt(child: int, at: str, stage: str = stage) -> bool:
            if at != stage:
                return False
            used = int(Path(f"/proc/{child}/statm").read_text().split()[0]) * resource.getpagesize()
            resource.prlimit(child, resource.RLIMIT_AS, (used, used))
            return True

        _trained(bed, device, hurt, stage or "start", "^failed|^succeeded$")


MEMORY = Path("/sys/fs/cgroup/memory")


def no_cgroup() -> str | None:
    """Say why no group of processes can be given little memory."""
    try:
        (MEMORY / "edged-bench").mkdir()
        (MEMORY / "edged-bench").rmdir()
    except OSError as error:
        return f"needs a writable memory cgroup (version 1): {error.strerror}"
    return None


@contextlib.contextmanager
def _group() -> Iterator[Path]:
    group = MEMORY / f"edged-bench-{os.getpid()}"
    group.mkdir()
    try:
        yield group
    finally:
        with contextlib.suppress(OSError):
            group.rmdir()


def trainer_out_of_memory(bed: Bed, times: int) -> None:
    """The kernel kills it: its memory cgroup allows no more than it needs to start."""
    device = bed.device()
    album(device.state / "images", 12)
    for _ in bed.rounds(times):
        with _group() as group:
            (group / "memory.limit_in_bytes").write_text("30000000")

            def hurt(child: int, _: str, group: Path = group) -> bool:
                (group / "cgroup.procs").write_text(str(child))
                return True

            _trained(bed, device, hurt, "out of memory", "^failed")


# -- for long ----------------------------------------------------------------------------------------------------------


def soak(minutes: float, bed: Bed, _: int) -> None:
    """Nothing but time and a short cut now and then; memory, threads and open files must not grow."""
    device = bed.device()
    end = time.monotonic() + 60 * minutes
    samples: list[tuple[float, float, int, int]] = []
    began = time.monotonic()

    def sample() -> None:
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{device.pid}/status").read_text().splitlines() if ":" in line
        )
        rss = int(status["VmRSS"].split()[0]) * 1024 / 1e6
        files = len(list(Path(f"/proc/{device.pid}/fd").iterdir()))
        samples.append((time.monotonic() - began, rss, int(status["Threads"]), files))

    time.sleep(20)
    sample()
    for part in range(1, 21):
        time.sleep(max(0.0, end - 60 * minutes * (20 - part) / 20 - time.monotonic()))
        if part < 20:
            bed.proxy.cut()
            bed.cuts += 1
            bed.recovered(device, time.monotonic())
            bed.times += 1
        time.sleep(2)
        sample()
    for at, rss, threads, files in (samples[0], samples[len(samples) // 2], samples[-1]):
        bed.notes.append(f"after {at / 60:.1f} minutes: {rss:.1f} MB, {threads} threads, {files} open files")
    bed.expect(samples[-1][1] < samples[0][1] * 1.15 + 5, "memory has grown")
    bed.expect(samples[-1][2] <= samples[0][2] + 1, "threads have come and stayed")
    bed.expect(samples[-1][3] <= samples[0][3] + 2, "files have been opened and stay open")


FAULTS = (
    Fault("broker-killed", "broker killed", broker_killed, 20, 2),
    Fault("broker-each-second", "broker killed each second", broker_killed_each_second, 20),
    Fault("broker-stopped", "broker stopped (SIGSTOP) for up to 4 s", broker_stopped, 10),
    Fault("broker-stopped-long", "broker stopped for 75 s, beyond the keepalive", broker_stopped_long, 1),
    Fault("broker-slow", "broker takes three quarters of what is published", broker_slow, 2),
    Fault("network-down", "network down for up to 3 s", network_down, 20),
    Fault("reset", "connection reset", connection_reset, 20),
    Fault("hole", "black hole for up to 6 s that heals", hole_that_heals, 10),
    Fault("hole-dead", "black hole for up to 4 s, then a reset", hole_that_ends_dead, 10, 1),
    Fault("hole-long", "black hole for 75 s without a reset", hole_for_long, 1),
    Fault("loss", "100 ms of delay and loss as stalls", loss_and_delay, 20),
    Fault("daemon-killed", "daemon killed, broker answers", daemon_killed, 100, 2),
    Fault("daemon-killed-hole", "daemon killed, broker stalls and loses all", daemon_killed_in_a_hole, 100, 2),
    Fault("daemon-killed-away", "daemon killed, no broker", daemon_killed_without_broker, 20),
    Fault("disk-full", "disk full", disk_full, 5, 0, no_mounts),
    Fault("disk-read-only", "disk becomes read-only", disk_read_only, 3, 0, no_loop),
    *(
        Fault(
            f"damaged-{name.replace(':', '').replace(' ', '-')}",
            f"{name} damaged",
            partial(damaged, name),
            len(WAYS),
            QUICK.get(name, 0),
        )
        for name in FILES
    ),
    Fault("clock", "clock stepped by a day, back and forth", clock_stepped, 12, 0, no_compiler),
    Fault("camera-lost", "camera lost", camera_lost, 5),
    Fault("camera-killed", "camera's process killed", camera_killed, 5, 0, no_gstreamer),
    Fault("camera-frozen", "camera frozen", camera_frozen, 2, 0, no_gstreamer),
    Fault("camera-garbage", "damaged photos among good ones", camera_garbage, 5),
    Fault("trainer-killed", "trainer killed, once in each stage", trainer_killed, len(STAGES)),
    Fault("trainer-starved", "trainer gets no more memory (RLIMIT_AS)", trainer_starved, 4),
    Fault("trainer-oom", "trainer killed by the kernel, out of memory", trainer_out_of_memory, 3, 0, no_cgroup),
    Fault("two-on-one-state", "second daemon on one state folder", two_on_one_state, 3),
    Fault("two-of-one-id", "second daemon of one device id", two_of_one_id, 1),
)


def chosen(only: list[str], *, quick: bool, soak_minutes: float) -> list[Fault]:
    """Return the faults to make; `only`: their names, or begins of several; none: all."""
    faults = [*FAULTS]
    if soak_minutes:
        faults.append(
            Fault("soak", f"soak of {soak_minutes:g} minutes, cut now and then", partial(soak, soak_minutes), 1)
        )
    if quick:
        faults = [replace(fault, times=fault.quick) for fault in faults if fault.quick or fault.name == "soak"]
    names = {fault.name for fault in faults}
    return [
        fault
        for fault in faults
        if not only or any(fault.name == name or (name not in names and fault.name.startswith(name)) for name in only)
    ]
