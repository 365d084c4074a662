"""`tools/bench fuzz models`: thousands of models that are wrong somewhere, and a daemon that they are pushed to.

Opening one in a new process takes most of a second, which is spent on importing libraries. So all mutants are first
opened by forks of one process that has imported them, each fork running what the examination's child process runs
(`edged.zoo.examiner`). That finds which mutants end their process, which are refused and which are accepted. Real
daemons are sent them meanwhile by the real commands, four that end their process or are accepted to one that is
refused, as long as there is time. Every fourth that was accepted is used, and rolled back.
"""

from __future__ import annotations

import base64
import concurrent.futures
import faulthandler
import hashlib
import json
import multiprocessing
import operator
import os
import re
import select
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.fuzzed import FuzzedDevice, LostDeviceError
from benchmarks.live import Broker
from benchmarks.model_mutants import CannotBeWrittenError, Mutant, kind, mutant

LIMIT_S = 60.0
"""For one mutant in a fork, as for the examination of one."""
DAEMONS = 2
"""So many are pushed to unless another number is asked for: each waits for its examinations most of the time."""
USED = 4
"""Every so-manieth accepted mutant is used: that takes longer than anything else."""
_PART_BYTES = 512 * 1024
_TEXT = 200


@dataclass(frozen=True)
class Opened:
    """What came of opening a mutant.

    Attributes:
        number, base, change: See `Mutant`.
        end: "accepted", "refused", "signal", "memory", "time" or "not written".
        why: The refusal, or the signal's name.
        seconds: Wall time.
        classes: Number of outputs, where it was accepted.
    """

    number: int
    base: str
    change: str
    end: str
    why: str
    seconds: float
    classes: int = 0


def bases() -> dict[str, bytes]:
    """Return the sound models that mutants are made of: small ones of several converters, and the shipped one."""
    from tests.crafted import shipped_model
    from tests.networks import made

    names = ("made_v1_128", "made_birds", "made_insects", "made_inception", "made_efficientnet", "made_resnet")
    return {name: made(name).model for name in (*names, "made_signed")} | {"shipped": shipped_model()}


# -- in forks ----------------------------------------------------------------------------------------------------------


_MODELS: dict[str, bytes] = {}
_SEED = 0


def _begin(models: dict[str, bytes], seed: int) -> None:
    """Import what each fork needs, once for all of a worker's."""
    global _SEED  # noqa: PLW0603 - what a worker process is given when it starts
    from edged.vision.flatbuffer import schema
    from edged.vision.network import import_runtime

    os.nice(10)
    import_runtime("auto")
    schema()
    _MODELS.update(models)
    _SEED = seed


def _open(number: int) -> Opened:
    try:
        made = mutant(_MODELS, _SEED, number)
    except CannotBeWrittenError as error:
        return Opened(number, "", "", "not written", str(error)[:_TEXT], 0.0)
    return open_in_a_fork(made)


def open_in_a_fork(made: Mutant) -> Opened:
    """Let a fork of this process do with a mutant what the examination's child does, under the same limits."""
    from edged import process

    begin = time.monotonic()
    with process.file_in_memory("model") as file, process.file_in_memory("errors") as errors:
        file.write(made.model)
        file.flush()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(errors.fileno(), 2)
            _work(f"/proc/self/fd/{file.fileno()}", writer)
        os.close(writer)
        ready, _, _ = select.select([reader], [], [], LIMIT_S)
        said = os.read(reader, 65536) if ready else b""
        if not ready:
            os.kill(child, signal.SIGKILL)
        os.close(reader)
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        short = b"bad_alloc" in errors.read()[-65536:]
    seconds = round(time.monotonic() - begin, 3)
    if not ready:
        end, why, classes = "time", f"{LIMIT_S:g} s", 0
    elif said:
        end, why, classes = json.loads(said)
    else:
        number = os.WTERMSIG(status)
        end, why, classes = "memory" if short else "signal", signal.Signals(number).name if number else "exit", 0
    return Opened(made.number, made.base, made.change, end, why, seconds, classes)


def _work(path: str, writer: int) -> None:
    """Be the child: open the model, say what came of it, and end."""
    faulthandler.disable()  # which a test would have: an end by a signal is an answer here, not an accident
    from edged.errors import ModelError
    from edged.memory import available_bytes
    from edged.zoo.examination import LEAST_BYTES, SHARE, ExaminationRequest
    from edged.zoo.examiner import examine

    memory = max(LEAST_BYTES, round(available_bytes() * SHARE))
    try:
        seen = examine(ExaminationRequest(path, "auto", 1, 0.875, None, [], 2, memory), lambda _: None)
        said: tuple[str, str, int] = ("accepted", "", seen.classes)
    except ModelError as error:
        said = ("refused", str(error)[:_TEXT], 0)
    except MemoryError:
        said = ("memory", "MemoryError", 0)
    except BaseException as error:  # noqa: BLE001 - the top of a process
        said = ("refused", f"internal error ({type(error).__name__}: {error})"[:_TEXT], 0)
    os.write(writer, json.dumps(said).encode())
    os._exit(0)


# -- on a daemon -------------------------------------------------------------------------------------------------------


class Turns:
    """Which mutant a daemon gets next: four that it may choke on, or accepts, to one that is refused.

    Args:
        opened: What comes of opening mutants, as it becomes known.
    """

    def __init__(self, opened: Iterator[Opened]) -> None:
        self.known: list[Opened] = []
        self._others: deque[Opened] = deque()
        self._refused: deque[Opened] = deque()
        self._in_a_row = 0
        self._choosing = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(opened,), daemon=True)
        self._thread.start()

    def next(self) -> Opened | None:
        """Return the next one; None: there is no more."""
        with self._choosing:
            while not (self._others or self._refused):
                if self._over.is_set() and not (self._others or self._refused):
                    return None
                time.sleep(0.05)
            return self._choose()

    def _choose(self) -> Opened:
        if self._others and (self._in_a_row < 4 or not self._refused):
            self._in_a_row += 1
            return self._others.popleft()
        self._in_a_row = 0
        return self._refused.popleft()

    def left(self) -> list[Opened]:
        """Wait until all were opened; return those that were not taken."""
        self._thread.join()
        return [*self._others, *self._refused]

    def _read(self, opened: Iterator[Opened]) -> None:
        try:
            for one in opened:
                self.known.append(one)
                if one.end == "refused":
                    self._refused.append(one)
                elif one.end != "not written":
                    self._others.append(one)
        finally:
            self._over.set()


class Pushing:
    """A daemon that is sent mutants.

    Args:
        device: The daemon.
    """

    def __init__(self, device: FuzzedDevice) -> None:
        self.device = device
        self.ends: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.uses: Counter[str] = Counter()
        self.differ: list[str] = []

    def push(self, model: bytes, one: Opened) -> None:
        """Send a mutant; use it where it is accepted, and go back."""
        device, name = self.device, "fuzzed"
        device.doing = f"models_add of {one.number}: {one.base}: {one.change}"
        sha256 = hashlib.sha256(model).hexdigest()
        for offset in range(0, len(model), _PART_BYTES):
            data = base64.b64encode(model[offset : offset + _PART_BYTES]).decode()
            ack = device.ack("models_chunk", sha256=sha256, size=len(model), offset=offset, data=data)
            if ack["status"] != "accepted":
                self.ends[f"chunk: {reason(ack['error'])}"] += 1
                return
        labels = [f"class {number}" for number in range(max(1, one.classes))]
        job = device.job("models_add", sha256=sha256, name=name, labels=labels, replace=True)
        if job["status"] != "succeeded":
            told = str(job["error"]).removeprefix("models_add: ").removeprefix(f"{name}: ")
            killed = re.search(r"killed by signal \d+ \((\w+)\)", told)
            self.ends[f"signal {killed.group(1)}" if killed else "refused"] += 1
            self.reasons[reason(told)] += 1
            if one.end == "accepted":
                self.differ.append(f"{one.number}: {told[:_TEXT]}")
            return
        self.ends["accepted"] += 1
        if self.ends["accepted"] % USED:
            return
        device.doing = f"models_use of {one.number}: {one.base}: {one.change}"
        used = device.job("models_use", model=name)
        self.uses["answered" if used["status"] == "succeeded" else reason(str(used["error"]))] += 1
        if used["status"] == "succeeded":
            device.doing = f"rollback from {one.number}: {one.base}: {one.change}"
            back = device.job("rollback")
            if back["status"] != "succeeded":
                self.uses[f"rollback: {reason(str(back['error']))}"] += 1
                device.job("models_use", model="mobilenet_v2")


def reason(text: str) -> str:
    """Return a refusal without what is of this mutant alone: numbers and names."""
    text = re.sub(r"model [0-9a-f]{12} ", "model … ", text)
    text = re.sub(r"tensor \S+ has", "tensor … has", text)
    text = re.sub(r"-?\d[\d.e+-]*|\bnan\b|-?\binf\b", "N", text)
    return text[:90]


def measure(
    *,
    count: int,
    seed: int,
    workers: int,
    seconds: float,
    daemons: int = DAEMONS,
    models: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Open mutants in forks, and push them to daemons meanwhile.

    Args:
        count: Mutants.
        seed: Of the mutants.
        workers: Forks at a time.
        seconds: How long mutants are pushed; what is left then is not.
        daemons: How many daemons share what is pushed.
        models: What mutants are made of; None: `bases`.
    """
    sound = bases() if models is None else dict(models)
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(workers, context, _begin, (sound, seed)) as pool:
        turns = Turns(pool.map(_open, range(count), chunksize=4))  # forks first: there are no other threads yet
        pushed = push(sound, seed, turns, seconds, daemons)
        left = turns.left()
    return {
        "seed": seed,
        "mutants": count,
        "bases": sorted(sound),
        "opened": summary(turns.known),
        "pushed": {**pushed, "not_pushed": dict(Counter(one.end for one in left).most_common())},
    }


def seeds(numbers: Mapping[str, Any]) -> list[int]:
    """Return which seeds numbers are of."""
    told = numbers.get("seed", [])
    return list(told) if isinstance(told, list) else [told]


def together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of two runs as those of one: counts are added, of gaps and memory the worst counts.

    Raises:
        ValueError: Both have models of the same seed.
    """
    if same := set(seeds(one)) & set(seeds(other)):
        raise ValueError(f"both runs have models of seed {min(same)}")
    added: dict[str, Any] = _both("", {**one, "seed": seeds(one)}, {**other, "seed": seeds(other)})
    return {**added, "runs": [*runs(one), *runs(other)]}


def runs(numbers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each run saw of its daemons, of the numbers of one run or of several together."""
    if "runs" in numbers:
        return list(numbers["runs"])
    pushed = numbers["pushed"]
    told = ("count", "daemons", "restarts", "seconds", "gap_ts_s", "gap_arrival_s", "stall_s")
    return [{"seed": numbers["seed"], **{name: pushed[name] for name in told if name in pushed}}]


_WORST = ("slowest_s", "gap_arrival_s", "gap_ts_s", "stall_s", "exit_code", "daemons")
_ADD: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(_WORST, max),
    "bases": lambda old, new: sorted({*old, *new}),
    "gaps": lambda old, new: sorted([*old, *new], reverse=True)[:50],
    "memory_mb": lambda old, new: [max(pair) for pair in zip(old, new, strict=True)],
    "lost": lambda old, new: "; ".join(text for text in (old, new) if text),
}
"""How what is no count is added."""


def _both(name: str, old: Any, new: Any) -> Any:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return _ADD.get(name, operator.add)(old, new)
    only_one = {**new, **old}
    return {key: _both(key, old[key], new[key]) if key in old and key in new else only_one[key] for key in only_one}


def summary(opened: list[Opened]) -> dict[str, Any]:
    """Return how many mutants came to which end, and why."""
    return {
        "ends": dict(Counter(one.end for one in opened).most_common()),
        "signals": dict(Counter(one.why for one in opened if one.end == "signal").most_common()),
        "kinds": _kinds(opened),
        "reasons": dict(Counter(reason(one.why) for one in opened if one.end == "refused").most_common(40)),
        "slowest_s": max((one.seconds for one in opened), default=0.0),
        "internal": [asdict(one) for one in opened if "internal error" in one.why][:20],
    }


def _kinds(opened: list[Opened]) -> dict[str, dict[str, int]]:
    kinds: dict[str, Counter[str]] = {}
    for one in opened:
        if one.end != "not written":
            kinds.setdefault(kind(one.change), Counter())[one.end] += 1
    return {name: dict(ends.most_common()) for name, ends in sorted(kinds.items())}


def push(models: Mapping[str, bytes], seed: int, turns: Turns, seconds: float, daemons: int) -> dict[str, Any]:
    """Push mutants to daemons for so long; return what was seen of all of them."""
    end = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(daemons) as pool:
        each = list(pool.map(lambda _: _push_to_one(models, seed, turns, end), range(daemons)))
    counters = {
        name: dict(sum((Counter(one[name]) for one in each), Counter()).most_common(40))
        for name in ("of", "ends", "uses", "reasons")
    }
    largest = {name: max(one[name] for one in each) for name in ("seconds", "gap_arrival_s", "gap_ts_s", "stall_s")}
    return {
        "daemons": daemons,
        **{name: sum(one[name] for one in each) for name in ("count", "results", "restarts", "tracebacks")},
        **counters,
        **largest,
        "memory_mb": [max(one["memory_mb"][at] for one in each) for at in range(3)],
        "exit_code": max(one["exit_code"] for one in each),
        "lost": "; ".join(one["lost"] for one in each if one["lost"]),
        "differ": [line for one in each for line in one["differ"]][:50],
        "gaps": sorted((gap for one in each for gap in one["gaps"]), reverse=True)[:50],
    }


def _push_to_one(models: Mapping[str, bytes], seed: int, turns: Turns, end: float) -> dict[str, Any]:
    """Push to a daemon of its own, until there is no more or the time is over."""
    begin = time.monotonic()
    pushed: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        broker = Broker(Path(name))
        try:
            device = FuzzedDevice(Path(name) / "device", broker.port)
            pushing = Pushing(device)
            lost = ""
            try:
                while time.monotonic() < end and (one := turns.next()) is not None:
                    pushing.push(mutant(models, seed, one.number).model, one)
                    pushed[one.end] += 1
                    if pushed.total() % 50 == 0:
                        print(f"{pushed.total()} pushed, {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
            except LostDeviceError as error:  # what was seen until then is the finding
                lost = str(error)
            took = time.monotonic() - begin
            seen = device.seen()
            code = device.close()
        finally:
            broker.close()
    return {
        "count": pushed.total(),
        "seconds": round(took),
        "of": pushed,
        "ends": pushing.ends,
        "uses": pushing.uses,
        "reasons": pushing.reasons,
        "differ": pushing.differ,
        "lost": lost,
        "exit_code": code,
        **seen,
    }
