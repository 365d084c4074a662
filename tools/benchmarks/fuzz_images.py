"""`tools/bench fuzz images`: damaged pictures and bombs, decoded as the daemon does it, and pushed to one.

Each is decoded in a fork of a process that has OpenCV, with little memory beside; what ends such a fork would end the
daemon, which decodes pushed images in its own process. A share is pushed to a real daemon by the command `image`.
"""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import re
import select
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzzed import FuzzedDevice, LostDeviceError
from benchmarks.live import Broker
from edged.contract.commands import COMMANDS

SHARE = 0.01
"""Of the pictures, so many are pushed to a daemon, too."""
MEMORY = 1000 * 2**20
"""Address space of a fork beside what it begins with; a picture of 100 megapixels takes 600 MB."""
LIMIT_S = 60.0
"""For one picture."""
LARGEST = (COMMANDS["image"].max_bytes - 1000) * 3 // 4
"""Bytes of a picture that a command can carry; the broker keeps larger ones from a device, and nobody answers."""
_SIZES = (0, 1, 2, 255, 256, 10_000, 16_383, 32_768, 65_535)


@cache
def _sound(_: int = 0) -> dict[str, bytes]:
    """Return small sound files of every kind that is read."""
    import cv2
    import numpy as np

    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    flags = {
        "JPEG": (".jpg", []),
        "progressive JPEG": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "JPEG with restarts": (".jpg", [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]),
        "PNG": (".png", []),
        "BMP": (".bmp", []),
        "WebP": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 50]),
        "lossless WebP": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    }
    made = {name: cv2.imencode(suffix, picture, flag)[1].tobytes() for name, (suffix, flag) in flags.items()}
    made["grey JPEG"] = cv2.imencode(".jpg", picture[:, :, 0])[1].tobytes()
    made["PNG of 16 bits"] = cv2.imencode(".png", picture.astype(np.uint16) * 257)[1].tobytes()
    alpha = np.dstack([picture, picture[:, :, 0]])
    made["transparent WebP"] = cv2.imencode(".webp", alpha)[1].tobytes()
    return made


def image(seed: int, number: int) -> tuple[str, bytes]:
    """Return what was done to a picture, and the content of the file."""
    random = Random(f"{seed}/{number}")
    if random.random() < 0.002:
        what = random.choice(sorted(BOMBS))
        return f"bomb: {what}", BOMBS[what](random)
    name = random.choice(sorted(_sound()))
    data = bytearray(_sound()[name])
    way = random.choice(("flip", "flip", "header", "header", "cut", "put in", "take out", "fields", "fields", "join"))
    if way in ("flip", "header"):
        for _ in range(random.choice((1, 1, 2, 8, 64))):
            data[random.randrange(min(len(data), 700 if way == "header" else len(data)))] ^= 1 << random.randrange(8)
    elif way == "cut":
        del data[random.randrange(len(data)) :]
        data += random.choice((b"", b"\xff\xd9", b"IEND\xaeB`\x82"))
    elif way == "put in":
        at = random.randrange(len(data))
        data[at:at] = random.randbytes(random.choice((1, 4, 300)))
    elif way == "take out":
        at = random.randrange(len(data))
        del data[at : at + random.choice((1, 4, 300))]
    elif way == "fields":
        _change_fields(name, data, random)
    else:
        other = _sound()[random.choice(sorted(_sound()))]
        at = random.randrange(min(len(data), len(other)))
        data[at:] = other[at:]
    if name.startswith("PNG"):
        _mend_sums(data)
    return f"{name}: {way}", bytes(data)


def _change_fields(name: str, data: bytearray, random: Random) -> None:
    """Write another number where sizes, counts and lengths stand."""
    value = random.choice((*_SIZES, random.randrange(65_536)))
    if "JPEG" in name:
        markers = [found.start() for found in re.finditer(rb"\xff[\xc0-\xfe]", bytes(data[:800]))]
        at = random.choice(markers)
        struct.pack_into(">H", data, min(at + random.choice((2, 5, 7)), len(data) - 2), value)
        if random.random() < 0.3:
            data[at + 1] = random.choice((0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA, 0xCC, 0xDB, 0xDD, 0xE1))
    elif name.startswith("PNG"):
        struct.pack_into(">I", data, random.choice((16, 20)), value)
        data[random.choice((24, 25, 26, 27, 28))] = random.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    elif name == "BMP":
        struct.pack_into("<i", data, random.choice((2, 10, 14, 18, 22, 28, 30, 34, 46)), random.choice((value, -value)))
    else:
        struct.pack_into("<H", data, random.choice((4, 16, 20, 24, 26, 28)), value)


def _mend_sums(data: bytearray) -> None:
    """Make the check sums of a PNG's chunks true again, so that what is in them is looked at."""
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            return
        struct.pack_into(">I", data, at + 8 + length, zlib.crc32(data[at + 4 : at + 8 + length]))
        at += 12 + length


def _png(random: Random) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    side, bits, colour = random.choice(((10_000, 1, 0), (4000, 8, 2), (3000, 16, 6), (60_000, 8, 2), (10_001, 1, 0)))
    row = bytes(1 + side * bits * {0: 1, 2: 3, 6: 4}[colour] // 8 + 1)
    packer = zlib.compressobj(9)
    rows = side if side * len(row) < 80e6 else 10  # what is refused by its header need not be whole
    pixels = b"".join(packer.compress(row) for _ in range(rows)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _scans(random: Random) -> bytes:
    data = _sound()["progressive JPEG"]
    return data[:-2] + data[data.rfind(b"\xff\xda") : -2] * random.choice((50, 90, 91, 1000, 100_000)) + data[-2:]


def _segments(random: Random) -> bytes:
    data = _sound()["JPEG"]
    return data[:2] + random.choice((b"\xff", b"\xff\xfe\0\2", b"\xff\xe1\0\2")) * 100_000 + data[2:]


def _wide(random: Random) -> bytes:
    data = bytearray(_sound()["progressive JPEG"])
    at = data.find(b"\xff\xc2")
    struct.pack_into(">HH", data, at + 5, *random.choice(((10_000, 10_000), (65_500, 1500), (1, 65_535))))
    return bytes(data)


BOMBS = {"PNG": _png, "JPEG of many scans": _scans, "JPEG of many segments": _segments, "large JPEG": _wide}
"""What is small as a file and large, or long, for who opens it."""


# -- decoding ----------------------------------------------------------------------------------------------------------


@dataclass
class Decoded:
    """What came of decoding many."""

    answers: Counter[str] = field(default_factory=Counter)
    ended: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    memory: tuple[float, str] = (0.0, "")


def decode_all(job: tuple[int, int, int]) -> Decoded:
    """Decode pictures in forks; a new fork goes on where one has ended."""
    seed, first, last = job
    import edged.images.image  # noqa: F401 - so that no fork has to

    _sound()
    total, number = Decoded(), first
    while number < last:
        number = _in_a_fork(seed, number, last, total)
    return total


def _in_a_fork(seed: int, first: int, last: int, total: Decoded) -> int:
    """Let a fork decode until it ends; return the number to go on with."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _decode(seed, first, last, writer)
    os.close(writer)
    number, rest = first, b""
    while True:
        ready, _, _ = select.select([reader], [], [], LIMIT_S)
        if not ready:
            os.kill(child, signal.SIGKILL)
            break
        chunk = os.read(reader, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            answer, seconds, peak = json.loads(line)
            _note(total, answer, seconds, peak, f"{number}: {image(seed, number)[0]}" if seconds > total.slowest[0]
                  or peak > total.memory[0] or answer.startswith("wrong") else "")  # fmt: skip
            number += 1
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if number < last:
        total.ended.append(f"{number}: {image(seed, number)[0]}: status {status}")
        number += 1
    return number


def _note(total: Decoded, answer: str, seconds: float, peak: float, which: str) -> None:
    total.answers[answer if not answer.startswith("wrong") else "wrong"] += 1
    if answer.startswith("wrong"):
        total.wrong.append(f"{which}: {answer}")
    total.slowest = max(total.slowest, (seconds, which))
    total.memory = max(total.memory, (peak, which))


def _decode(seed: int, first: int, last: int, writer: int) -> None:
    """Be the child: look at pictures as the image store does, and say what came of each."""
    import resource

    from edged import process
    from edged.errors import ImageError
    from edged.images.image import look_at

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libpng and libjpeg say of thousands of files
    process.limit_memory(MEMORY)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, last):
        _, data = image(seed, number)
        began = time.thread_time()
        try:
            look_at(data)
            answer = "decoded"
        except ImageError as error:
            answer = re.sub(r"\d+", "N", str(error))[:60]
        except Exception as error:  # noqa: BLE001 - the finding
            answer = f"wrong: {type(error).__name__}: {error}"[:200]
        took = time.thread_time() - began
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        os.write(writer, json.dumps([answer, round(took, 4), (after - before) / 1e3]).encode() + b"\n")
        before = after
    os._exit(0)


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(*, count: int, seed: int, workers: int, live: bool = True) -> dict[str, Any]:
    """Decode pictures in forks, then push a share to a daemon."""
    begin = time.monotonic()
    jobs = [(seed, first, min(count, first + 500)) for first in range(0, count, 500)]
    total = Decoded()
    with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        for done in pool.map(decode_all, jobs):
            total.answers += done.answers
            total.ended += done.ended
            total.wrong += done.wrong
            total.slowest, total.memory = max(total.slowest, done.slowest), max(total.memory, done.memory)
    numbers: dict[str, Any] = {
        "seed": seed,
        "images": count,
        "seconds": round(time.monotonic() - begin),
        "decoded": total.answers["decoded"],
        "refused": sum(total.answers.values()) - total.answers["decoded"],
        "answers": dict(total.answers.most_common(20)),
        "ended": total.ended[:50],
        "wrong": total.wrong[:50],
        "slowest_s": total.slowest[0],
        "slowest": total.slowest[1],
        "memory_mb": round(total.memory[0]),
        "largest": total.memory[1],
    }
    if live:
        numbers["live"] = send(seed, max(1, round(count * SHARE)))
    return numbers


def send(seed: int, count: int) -> dict[str, Any]:
    """Push pictures, bombs among them, to a daemon; return what was seen."""
    lost = ""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        try:
            device = FuzzedDevice(Path(folder) / "device", broker.port)
            sent = too_large = 0
            try:
                for number in range(count):
                    what, data = image(seed, number)
                    if number % 100 == 0:
                        kind = sorted(BOMBS)[number // 100 % len(BOMBS)]
                        what, data = f"bomb: {kind}", BOMBS[kind](Random(f"{seed}/bomb/{number}"))
                    device.doing = f"{number}: {what}"
                    if len(data) > LARGEST:
                        too_large += 1
                        continue
                    sha256, jpeg = hashlib.sha256(data).hexdigest(), base64.b64encode(data).decode()
                    device.ack("image", label=f"label {number % 7}", sha256=sha256, jpeg=jpeg)
                    sent += 1
                    if sent % 200 == 0:
                        print(f"{sent} pushed", file=sys.stderr, flush=True)
            except LostDeviceError as error:
                lost = str(error)
            seen = device.seen()
            code = device.close()
        finally:
            broker.close()
    return {"sent": sent, "too_large": too_large, **device.acks, "lost": lost, "exit_code": code, **seen}
