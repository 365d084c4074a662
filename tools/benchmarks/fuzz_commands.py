"""`tools/bench fuzz commands`: payloads that nobody should send, at the door of the commands and through a broker.

A payload is made of the schema of its command's arguments, which pydantic tells: valid, with some values that fit
badly, or with bytes changed. Most go to `contract.parsing` in this process; a share is published to a real daemon. A
few are made by hand to cost as much as they can.
"""

from __future__ import annotations

import concurrent.futures
import copy
import json
import multiprocessing
import re
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzzed import FPS, FuzzedDevice, LostDeviceError
from benchmarks.live import Broker
from edged.contract.commands import COMMANDS
from edged.contract.parsing import CommandRejectedError, decode, validate

NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
SHARE = 0.005
"""Of the payloads, so many go through a broker to a daemon, too."""
LONGEST_ANSWER = 2000
"""Characters of a rejection."""
_BATCH = 50
_NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.1, -0.0, 1e308, 1e-320, float("nan"),
    float("inf"), "", " ", "0", "a" * 64, "0" * 64, "a" * 3000, "../../etc/passwd", "/dev/sda", "a\0b", "\ud800",
    "\u202e", "🦉" * 30,
    "%s%n{}", "'; DROP TABLE images; --", "unknown", "all", "+", "#", "nan", "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59", "1e999", [], {}, [[]], [None], {"": None}, {"id": "x"},
    ["a"] * 1000, {"a": {"b": {"c": {"d": []}}}}, [[[[[[[[[[]]]]]]]]]],
)  # fmt: skip
_TEXTS = {
    "^[0-9a-f]{64}$": ("0" * 64, "f" * 64, "0123456789abcdef" * 4),
    "^[0-9a-fA-F]{1,64}$": ("0", "Ab", "f" * 64),
    "^[A-Za-z0-9_-]{1,64}$": ("a1", "x" * 64, "-_-"),
}
_WORDS = ("main", "roses", "Wels (Fisch)", "AA==")
_OTHER_NAMES = ("", "nothing", "RETRAIN", "ret rain", "☃", "x" * 5000, "cmd", "$SYS", "{}", "__class__", "image\u202e")


def payload(random: Random, id_: str) -> tuple[str, bytes]:
    """Return a command's name, and what is sent as one; mostly not valid."""
    name = random.choice(sorted(COMMANDS)) if random.random() < 0.97 else random.choice(_OTHER_NAMES)
    args = _fitting(_schema(name), _schema(name).get("$defs", {}), random) if name in COMMANDS else {}
    message: dict[str, Any] = {"id": id_, "args": args}
    if random.random() < 0.2:
        message["v"] = random.choice((1, 1, 1, 2, *_NASTY))
    if random.random() < 0.2:
        moments = ("2026-01-31T11:59:59Z", "2036-01-31T11:59:59+05:30")
        message[random.choice(("ts", "expires"))] = random.choice((*moments, *_NASTY))
    way = random.random()
    if way < 0.5:
        for _ in range(random.choice((1, 1, 2, 3))):
            _spoil(message, random)
    data = json.dumps(message, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    return name, _changed(data, random) if way > 0.8 else data


@cache
def _schema(name: str) -> dict[str, Any]:
    return COMMANDS[name].model_json_schema() if name in COMMANDS else {}


def _fitting(schema: dict[str, Any], definitions: dict[str, Any], random: Random) -> Any:
    """Return a value that fits a JSON schema, as pydantic writes them for these commands."""
    if "$ref" in schema:
        return _fitting(definitions[schema["$ref"].rpartition("/")[2]], definitions, random)
    if "anyOf" in schema:
        return _fitting(random.choice(schema["anyOf"]), definitions, random)
    if "enum" in schema or "const" in schema:
        return random.choice(schema.get("enum", [schema.get("const")]))
    least = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    make: dict[str, Callable[[], Any]] = {
        "object": lambda: {
            key: _fitting(one, definitions, random)
            for key, one in schema.get("properties", {}).items()
            if key in schema.get("required", ()) or random.random() < 0.5
        },
        "array": lambda: [
            _fitting(one, definitions, random)
            for one in schema.get("prefixItems") or [schema["items"]] * random.choice((1, 1, 2, 9))
        ],
        "integer": lambda: random.randint(int(least), int(schema.get("maximum", 2**31))),
        "number": lambda: least + random.random() * (schema.get("maximum", least + 10) - least),
        "boolean": lambda: random.random() < 0.5,
        "string": lambda: random.choice(
            _TEXTS.get(schema.get("pattern", ""), ("main", "roses", "Wels (Fisch)", "AA=="))
        ),
    }
    return make.get(schema.get("type", ""), lambda: None)()


def _spoil(message: dict[str, Any], random: Random) -> None:
    """Put a value that fits badly somewhere, or a key that is not known, or take one away."""
    args = message.get("args")
    where = args if isinstance(args, dict) and random.random() < 0.8 else message
    keys = [*where, "more"]
    key = random.choice(keys)
    if random.random() < 0.1:
        where.pop(key, None)
    elif isinstance(where.get(key), list) and where[key] and random.random() < 0.5:
        where[key][random.randrange(len(where[key]))] = copy.deepcopy(random.choice(_NASTY))
    else:
        where[key] = copy.deepcopy(random.choice(_NASTY))


def _changed(data: bytes, random: Random) -> bytes:
    """Change bytes: flipped, cut off, doubled, or something else altogether."""
    changed = bytearray(data)
    at = random.randrange(len(data))
    way = random.choice(("flip", "flip", "cut", "double", "put in", "nest", "random", "nothing"))
    if way == "flip":
        for _ in range(random.choice((1, 1, 8))):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif way == "cut":
        del changed[at:]
    elif way == "double":
        changed += bytes(changed)
    elif way == "put in":
        changed[at:at] = random.choice((b"\0", b"\xff", b"\xef\xbb\xbf", b'"', b"\\", b"\\ud800", b"}", b"1e999", b"-"))
    elif way == "nest":
        changed[at:at] = b"[" * random.choice((10, 1000, 20_000))
    else:
        changed = bytearray(random.randbytes(random.randrange(200)) if way == "random" else b"")
    return bytes(changed)


def judge(name: str, data: bytes, *, retained: bool = False) -> str:
    """Let the door of the commands see a payload; return "accepted", or the rejection without what is of it alone.

    Raises:
        AssertionError: The rejection is not one short line.
    """
    document = decode(f"edged/fuzzed/cmd/{name}", data)
    try:
        validate(document, retained=retained, now=NOW)
    except CommandRejectedError as error:
        told, id_ = str(error), error.id
    else:
        return "accepted"
    assert len(told) < LONGEST_ANSWER, f"{len(told)} characters: {told[:100]}"
    assert "\n" not in told, told
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id_), id_
    told.encode()
    return re.sub(r"\d+", "N", told.rpartition(": ")[2])[:60]


# -- made to cost much -------------------------------------------------------------------------------------------------


def hostile() -> dict[str, tuple[str, bytes]]:
    """Return payloads that cost as much as they can, by what is wrong with them: (command, payload) each."""
    image, add = COMMANDS["image"].max_bytes - 200, COMMANDS["models_add"].max_bytes - 300
    model = b'{"id":"a","args":{"sha256":"' + b"0" * 64 + b'","name":"x","labels":['
    label = b'{"id":"a","args":{"label":"%s"}}'
    return {
        "millions of empty lists": ("image", b'{"id":"a","args":[' + b"[]," * (image // 3) + b"[]]}"),
        "a million of objects": ("image", b'{"id":"a","args":[' + b'{"a":0},' * (image // 8) + b"{}]}"),
        "nested without end": ("image", b"[" * image),
        "most lists that are decoded": ("image", b'{"id":"a","args":[' + b"[]," * 49_000 + b"[]]}"),
        "most objects that are decoded": ("image", b'{"id":"a","args":[' + b'{"a":0},' * 49_000 + b"{}]}"),
        "a label of millions of letters": ("image", label % (b"e" * image)),
        "a label of millions of marks": ("image", label % ("\u0344".encode() * (image // 2))),
        "a label of millions of escapes": ("image", label % (b"\\u0001" * (image // 6))),
        "millions of halves of characters": ("image", label % (b"\\ud800" * (image // 6))),
        "an image of millions of signs": ("image", b'{"id":"a","args":{"jpeg":"' + b"\xc3\xa9" * (image // 2) + b'"}}'),
        "a million of wrong labels": ("models_add", model + b"1," * (add // 2) + b"1]}}"),
        "most wrong labels that are decoded": ("models_add", model + b"1," * 99_990 + b"1]}}"),
        "most labels with an invisible letter": ("models_add", model + b'"\xe2\x80\x8b",' * 99_990 + b'"a"]}}'),
        "a label with a joiner after each letter": (
            "models_add",
            model + b'"' + "é\u200d".encode() * (add // 5) + b'"]}}',
        ),
        "a number of thousands of digits": ("images_list", b'{"id":"a","args":{"limit":' + b"9" * 60_000 + b"}}"),
        "a topic that is no command": ("x" * 60_000, b"{}"),
    }


def costs(only: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return what `hostile` payloads cost: seconds of processor time, and 10^6 bytes at most beside the payload."""
    told = {}
    for what, (name, data) in hostile().items():
        if only is not None and what not in only:
            continue
        began = time.thread_time()
        answer = judge(name, data)
        seconds = time.thread_time() - began
        tracemalloc.start()
        judge(name, data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        told[what] = {
            "bytes": len(data),
            "seconds": round(seconds, 3),
            "peak_mb": round(peak / 1e6, 1),
            "answer": answer,
        }
    return told


# -- measuring ---------------------------------------------------------------------------------------------------------


def _door(job: tuple[int, int, int]) -> tuple[Counter[str], float, str, list[str]]:
    """Judge payloads; return how they were answered, the longest time with its payload, and what went wrong."""
    seed, first, last = job
    answers: Counter[str] = Counter()
    slowest, which, wrong = 0.0, "", []
    for number in range(first, last):
        random = Random(f"{seed}/{number}")
        name, data = payload(random, f"n{number}")
        began = time.thread_time()
        try:
            answers[judge(name, data, retained=random.random() < 0.02)] += 1
        except Exception as error:  # noqa: BLE001 - the finding
            wrong.append(f"{number}: {name}: {type(error).__name__}: {error}")
        took = time.thread_time() - began
        if took > slowest:
            slowest, which = took, f"{number}: {name}, {len(data)} bytes"
    return answers, slowest, which, wrong


def measure(*, count: int, seed: int, workers: int, live: bool = True) -> dict[str, Any]:
    """Judge payloads in processes of their own, then send a share to a daemon; see `hostile` for the costs."""
    begin = time.monotonic()
    jobs = [(seed, first, min(count, first + 1000)) for first in range(0, count, 1000)]
    answers: Counter[str] = Counter()
    slowest, which = 0.0, ""
    wrong: list[str] = []
    with concurrent.futures.ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
        for counted, longest, what, bad in pool.map(_door, jobs):
            answers += counted
            wrong += bad
            if longest > slowest:
                slowest, which = longest, what
    numbers: dict[str, Any] = {
        "seed": seed,
        "payloads": count,
        "seconds": round(time.monotonic() - begin),
        "accepted": answers["accepted"],
        "rejected": sum(answers.values()) - answers["accepted"],
        "wrong": wrong[:50],
        "slowest_ms": round(slowest * 1e3, 1),
        "slowest": which,
        "answers": dict(answers.most_common(30)),
        "hostile": costs(),
    }
    if live:
        numbers["live"] = send(seed, max(1, round(count * SHARE)))
    return numbers


def send(seed: int, count: int) -> dict[str, Any]:
    """Publish payloads, and all of `hostile`, to a daemon; return what was seen. Each must get one answer."""
    lost = ""
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(Path(folder))
        try:
            device = FuzzedDevice(Path(folder) / "device", broker.port)
            sent = 0
            try:
                for number in range(count):
                    name, data = payload(Random(f"{seed}/live/{number}"), f"n{number}")
                    if not name or len(name) > 100 or _slows_down(name, data):
                        continue
                    device.doing = f"{number}: {name}: {data[:150]!r}"
                    device.publish(name, data)
                    sent += 1
                    if sent % _BATCH == 0:
                        device.wait_for_acks(sent)
                    if sent % 1000 == 0:
                        print(f"{sent} sent", file=sys.stderr, flush=True)
                for what, (name, data) in hostile().items():
                    if len(name) < 100:
                        device.doing = what
                        device.publish(name, data)
                        sent += 1
                        device.wait_for_acks(sent)
            except LostDeviceError as error:
                lost = str(error)
            seen = device.seen()
            code = device.close()
        finally:
            broker.close()
    return {"sent": sent, **device.acks, "lost": lost, "exit_code": code, **seen}


def _slows_down(name: str, data: bytes) -> bool:
    """Whether a command asks for fewer frames: then the gaps between them would tell nothing."""
    if name != "set":
        return False
    try:
        fps = json.loads(data)["args"].get("fps")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    return isinstance(fps, int | float | str) and not (isinstance(fps, int | float) and fps >= FPS)
