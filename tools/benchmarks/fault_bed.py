"""What faults are made on: a real Mosquitto, a real `edged run --verbose`, our TCP proxy between them, a consumer.

The consumer is connected to the broker directly and subscribed before the proxy lets the daemon through again: what the
broker takes while nobody listens would be the broker's loss, not the daemon's.

What was produced is read from the daemon's log, where `--verbose` writes a line with camera, number and start of each
result *before* the result is handed to the link. The line is one write(2) to a file outside the state folder, so that
neither SIGKILL nor a full disk takes it away. A result that the daemon loses between camera and log is no
result here: frames that are dropped on purpose are none either. What could fool this count: a `seq` that is given to
no result would look lost (so the numbers in the log must have no gap, which is checked), a lost line of the log would
hide a loss (so every result that arrives must stand in the log, which is checked), and a broker that loses what it
has acknowledged would look like the daemon's loss.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

PATIENCE_S = 90.0
"""No live result for so long after a fault has ended is a finding, not a slow machine."""
IN_FLIGHT_S = 0.5
"""What was published so shortly before a SIGKILL may be lost: README says so."""
FPS = 20
DEVICE = "bench"
MAIN = f'[cameras.main]\nsource = "pattern"\nfps = {FPS}\n'
_LINE = re.compile(rb"edged\.daemon\.publisher: (\S+): result (\d+) of start ([0-9a-f]{8}) at ([\d.]+) s\n")
_FINAL = ("succeeded", "failed", "rejected", "cancelled")
_POLL_S = 0.005


class Key(NamedTuple):
    """Names one result, as a consumer counts them."""

    camera: str
    boot: str
    seq: int


class Stuck(Exception):  # noqa: N818 - a finding
    """What must come to pass did not, for a very long while."""


def wait_until(done: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Poll until something holds.

    Raises:
        Stuck: It did not.
    """
    end = time.monotonic() + patience_s
    while not done():
        if time.monotonic() > end:
            raise Stuck(f"{what}: not within {patience_s:g} s")
        time.sleep(_POLL_S)


def free_port() -> int:
    """Find a port that nobody listens on, and that the kernel gives to nobody's outgoing connection meanwhile."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # below Linux's ephemeral ones
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Broker:
    """A real Mosquitto on a port of its own, started and ended at will."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            sys.exit("bench: mosquitto is needed: apt install mosquitto")
        self.port = free_port()
        file = folder / "mosquitto.conf"
        user = "user root\n" if os.geteuid() == 0 else ""
        # Nothing is dropped for a consumer that is not scheduled for a while.
        kept = "set_tcp_nodelay true\nmax_queued_messages 0\n"
        file.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\n{kept}{user}")
        self._command = [binary, "-c", str(file)]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it; returns when it listens."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def listens() -> bool:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            return False

        wait_until(listens, "mosquitto listens")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Proxy:
    """Between the daemon and the broker: forwards, stalls, swallows, delays, throttles, resets and refuses.

    It works on streams, not on packets: a lost packet is here what a TCP sender sees of it, a stall until it is sent
    again. Reordered and damaged packets cannot be made.
    """

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self.stalled = False
        """Bytes stay where they are, in both directions; they go on later."""
        self.delay_s = 0.0
        """How much later each chunk is passed on."""
        self.bytes_per_s = 0
        """0: as fast as it goes."""
        self._swallows = False
        self._target = target
        self._streams: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Listen."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(50)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and end those that stand."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """End all connections with a TCP reset."""
        with self._lock:
            streams, self._streams = self._streams, set()
        for stream in streams:
            _reset(stream)

    def swallow(self) -> None:
        """Be a black hole: connections stand, are taken, and lead nowhere; no byte comes out again."""
        self._swallows = True

    def end_swallowing(self) -> None:
        """Be a network again; what stood is dead."""
        self.cut()
        self._swallows = False

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), 5)
            except OSError:
                _reset(client)
                continue
            with self._lock:
                if listener is not self._listener:
                    _reset(client)
                    _reset(server)
                    return
                self._streams |= {client, server}
            for source, sink in ((client, server), (server, client)):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):  # ValueError: select on what was closed meanwhile
            while True:
                while self.stalled and source in self._streams:
                    time.sleep(_POLL_S)
                if not select.select([source], [], [], 0.05)[0]:
                    if source not in self._streams:
                        break
                    continue
                rate = self.bytes_per_s
                data = source.recv(min(4096, max(64, rate // 10)) if rate else 4096)
                if not data:
                    break
                if self._swallows:
                    continue
                time.sleep(self.delay_s + (len(data) / rate if rate else 0))
                while self.stalled and source in self._streams:
                    time.sleep(_POLL_S)
                if not self._swallows:
                    sink.sendall(data)
        with self._lock:
            ours = {source, sink} & self._streams
            self._streams -= ours
        for stream in ours:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()


def _reset(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.shutdown(socket.SHUT_RD)  # wakes who reads from it
    stream.close()


class Consumer:
    """Subscribes to all that the devices say, and counts results by camera, start and number."""

    def __init__(self, port: int) -> None:
        self.ready = threading.Event()
        self.results: list[tuple[Key, float]] = []
        """In the order of arrival, with the monotonic clock's seconds."""
        self.first: dict[Key, float] = {}
        """When each result arrived first."""
        self.told: dict[str, list[dict[str, Any]]] = {}
        """What else was said → all of it, oldest first."""
        self.absences = 0
        """How often it was cut off: what it does not hear then is not the daemon's loss."""
        self._base = f"edged/{DEVICE}/"
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(0.05, 0.05)  # type: ignore[arg-type]  # paho only adds it to the time
        # QoS 0: Mosquitto hands these out before it acknowledges to the sender.
        self._client.on_connect = lambda client, *_: client.subscribe(f"{self._base}#")
        self._client.on_subscribe = lambda *_: self.ready.set()
        self._client.on_disconnect = lambda *_: self._left()
        self._client.on_message = lambda _c, _d, message: self._hear(message)
        # A broker that was stopped for long must not think that the consumer is gone.
        self._client.connect("127.0.0.1", port, keepalive=0)
        self._client.loop_start()
        wait_until(self.ready.is_set, "the consumer's subscription")

    def newest(self, topic: str) -> dict[str, Any]:
        """What was said last on a topic; empty: nothing."""
        return (self.told.get(topic) or [{}])[-1]

    def send(self, command: str, **args: Any) -> str:
        """Send a command; its id."""
        id_ = f"c{random.SystemRandom().randrange(10**12)}"
        payload = json.dumps({"id": id_, "args": args})
        self._client.publish(f"{self._base}cmd/{command}", payload, qos=1).wait_for_publish(PATIENCE_S)
        return id_

    def job(self, id_: str) -> dict[str, Any]:
        """Wait for the end of a job."""
        wait_until(lambda: self.newest(f"job/{id_}").get("status") in _FINAL, f"the end of job {id_}")
        return self.newest(f"job/{id_}")

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _left(self) -> None:
        self.ready.clear()
        self.absences += 1

    def _hear(self, message: paho.MQTTMessage) -> None:
        at, topic = time.monotonic(), message.topic.removeprefix(self._base)
        if topic == "state" or not message.payload or topic.startswith("image/"):
            return
        told = json.loads(message.payload)
        if topic.startswith("result/"):
            key = Key(told["camera"], told["boot"], told["seq"])
            self.results.append((key, at))
            self.first.setdefault(key, at)
        else:
            self.told.setdefault(topic, []).append(told)


class Device:
    """`edged run --verbose` with a state folder and a log of its own.

    Args:
        folder: For both.
        port: Where it finds its broker.
        cameras: TOML of `[cameras.…]` tables.
        more: More tables.
        state: Another place for its state.
    """

    def __init__(
        self, folder: Path, port: int, *, cameras: str = MAIN, more: str = "", state: Path | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state = state or folder / "state"
        self.log = folder / "edged.log"
        self.log.touch()
        self.produced: dict[Key, float] = {}
        """Result → when it was handed to the link, monotonic clock, seconds; in this order."""
        self.boots: list[str] = []
        """The starts that have published something, oldest first."""
        self.killed: dict[str, float] = {}
        """Start → when it was killed."""
        self.process: subprocess.Popen[bytes] | None = None
        self._config = folder / "edged.toml"
        self._config.write_text(
            f'[device]\nid = "{DEVICE}"\n[storage]\nstate_dir = "{self.state}"\n[model]\nthreads = 1\n'
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n[telemetry]\ninterval_s = 1\n'
            f"[retrain]\nkeep_frames = false\nready_s = 0\n{cameras}{more}"
        )
        self._read = 0

    def start(self, *prefix: str, **variables: str) -> None:
        """Start; returns at once. `prefix`: a command that starts it."""
        private = ("EDGED_", "EDGECTL_", "NOTIFY_SOCKET", "WATCHDOG_", "JOURNAL_STREAM", "STATE_DIRECTORY")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(private)}
        command = [*prefix, sys.executable, "-m", "edged", "run", "--verbose", "--config", str(self._config)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment | variables
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    @property
    def text(self) -> str:
        """The log, without the lines of single results."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        return b"".join(line for line in lines if not _LINE.search(line)).decode(errors="replace")

    def kill(self) -> None:
        """SIGKILL; what it published shortly before may be lost."""
        if self.process is None:
            return
        at = time.monotonic()
        self.process.kill()
        self.process.wait()
        self.look()
        for boot in self.boots:
            self.killed.setdefault(boot, at)
        self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            raise Stuck(f"SIGTERM: no end within {PATIENCE_S:g} s") from error
        self.look()
        for boot in self.boots:  # it lost nothing: a stop keeps all
            self.killed.setdefault(boot, float("inf"))
        self.process = None
        return code

    def look(self) -> None:
        """Read on in the log."""
        with self.log.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._read += len(new)
        for camera, seq, boot, at in _LINE.findall(new):
            self.produced[Key(camera.decode(), boot.decode(), int(seq))] = float(at)
            if (name := boot.decode()) not in self.boots[-1:]:
                self.boots.append(name)

    def children(self, what: str) -> list[int]:
        """Process ids below it whose command line contains a text."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self.pid and what in (folder / "cmdline").read_text():
                    found.append(int(folder.name))
        return found


class Count(NamedTuple):
    """What became of the results of one or more devices.

    Attributes:
        lost: Produced, never arrived, and no SIGKILL to blame.
        in_flight: Produced within `IN_FLIGHT_S` of a SIGKILL, and lost.
        oldest_s: How long before its SIGKILL the oldest of these, and of the lost ones of killed starts, was produced.
        twice: Arrivals of what had arrived before.
        out_of_order: First arrivals after a younger one of the same camera and device.
        wrong: What makes the count itself doubtful.
    """

    produced: int
    received: int
    lost: int
    in_flight: int
    oldest_s: float
    twice: int
    out_of_order: int
    wrong: tuple[str, ...]


def count(devices: list[Device], results: list[tuple[Key, float]]) -> Count:
    """Compare what the logs say with what has arrived, in its order."""
    for device in devices:
        device.look()
    produced = {key: at for device in devices for key, at in device.produced.items()}
    killed = {boot: at for device in devices for boot, at in device.killed.items()}
    rank = {boot: (place, number) for place, one in enumerate(devices) for number, boot in enumerate(one.boots)}
    seen: set[Key] = set()
    newest: dict[tuple[str, int], tuple[int, int]] = {}
    twice = late = 0
    for key, _ in results:
        if key in seen:
            twice += 1
            continue
        seen.add(key)
        device, number = rank.get(key.boot, (-1, 0))
        track, place = (key.camera, device), (number, key.seq)
        late += place < newest.get(track, (-1, -1))
        newest[track] = max(place, newest.get(track, (-1, -1)))
    missing = [key for key in produced if key not in seen]
    ages = [killed.get(key.boot, float("inf")) - produced[key] for key in missing]
    in_flight = sum(age <= IN_FLIGHT_S for age in ages)
    wrong = []
    if unknown := len(seen - produced.keys()):
        wrong.append(f"{unknown} results arrived that are not in the log")
    numbers: dict[tuple[str, str], list[int]] = {}
    for key in produced:
        numbers.setdefault((key.camera, key.boot), []).append(key.seq)
    if gaps := sum(sorted(found) != list(range(len(found))) for found in numbers.values()):
        wrong.append(f"{gaps} starts whose log leaves numbers out")
    oldest = max((age for age in ages if age != float("inf")), default=0.0)
    return Count(
        len(produced), len(seen & produced.keys()), len(missing) - in_flight, in_flight, round(oldest, 3), twice, late,
        tuple(wrong),
    )  # fmt: skip


class Bed:
    """One broker, proxy, consumer and device, and what is noted while a fault is made on them."""

    def __init__(self, folder: Path, seed: int = 0, at_most_s: float = float("inf")) -> None:
        self.folder = folder
        self._end = time.monotonic() + at_most_s
        self.dice = random.Random(seed)
        self.broker = Broker(folder)
        self.proxy = Proxy(self.broker.port)
        self.consumer = Consumer(self.broker.port)
        self.devices: list[Device] = []
        self.recoveries: list[float] = []
        self.times = 0
        """How often the fault was made."""
        self.cuts = 0
        """How often a connection ended while results were on their way: `allowed_twice` follows from it."""
        self.deaths = 0
        """How often the broker was killed."""
        self.kills = 0
        """How often a daemon was killed."""
        self.python_may_fail = False
        """Whether Python itself may print a traceback where it cannot even start, as without memory."""
        self.wrong: list[str] = []
        """What should not be."""
        self.notes: list[str] = []
        """What else was seen."""

    def rounds(self, times: int) -> Iterator[int]:
        """Yield 0, 1, … so many times, or until the time is over; count how often it was."""
        for number in range(times):
            if number and time.monotonic() > self._end:
                return
            yield number
            self.times += 1

    def device(self, *prefix: str, start: bool = True, **options: Any) -> Device:
        """Make one more device, started and seen to publish unless `start` is False."""
        one = Device(self.folder / f"device{len(self.devices)}", self.proxy.port, **options)
        self.devices.append(one)
        if start:
            began = time.monotonic()
            one.start(*prefix)
            self.wait_live(one, began)
        return one

    def wait_live(
        self, device: Device, since: float, *, camera: str | None = None, patience_s: float = PATIENCE_S
    ) -> float:
        """Wait for a result to arrive that was produced after `since`; how long after that it came, seconds."""
        found: list[float] = []

        def arrived() -> bool:
            device.look()
            if not device.alive:
                raise Stuck(f"the daemon has ended: {device.text.splitlines()[-1:]}")
            for key, at in reversed(device.produced.items()):
                if at < since:
                    break
                if key in self.consumer.first and camera in (None, key.camera):
                    found.append(self.consumer.first[key] - since)
            return bool(found)

        wait_until(arrived, "a live result", patience_s)
        return min(found)

    def recovered(self, device: Device, since: float, *, camera: str | None = None) -> None:
        """Wait for a live result after a fault that ended at `since`, and note how long it took."""
        self.recoveries.append(self.wait_live(device, since, camera=camera))

    def broker_is_back(self) -> float:
        """Start the broker, let the consumer be there first, and then the daemon; when that was."""
        self.broker.start()
        wait_until(self.consumer.ready.is_set, "the consumer is back")
        self.proxy.open()
        return time.monotonic()

    def broker_dies(self) -> None:
        """Kill the broker; the consumer notices, and the daemon finds nobody until `broker_is_back`."""
        self.cuts += 1
        self.deaths += 1
        self.broker.kill()
        self.proxy.close()
        wait_until(lambda: not self.consumer.ready.is_set(), "the consumer notices")

    def kill(self, device: Device) -> None:
        """SIGKILL a device."""
        self.kills += 1
        device.kill()

    @property
    def allowed_twice(self) -> int:
        """How many results may arrive twice: a window of 100 that was not acknowledged, and rows not yet removed."""
        return 100 * self.cuts + 200 * self.kills

    def sleep(self, least_s: float, most_s: float) -> None:
        """Let a random time pass: the faults shall not fall into step with what they hit."""
        time.sleep(self.dice.uniform(least_s, most_s))

    def expect(self, holds: object, what: str) -> None:
        """Note what should have been."""
        if not holds:
            self.wrong.append(what)

    def settle(self) -> None:
        """Let what was produced arrive, end all devices in order, and let the rest arrive."""
        for device in self.devices:
            if device.alive:
                with contextlib.suppress(Stuck):  # what is not here will be counted as lost
                    self.wait_for_all(device, time.monotonic(), patience_s=20)
                code = device.stop()
                self.expect(code == 0, f"exit code {code} after SIGTERM")
            _, traceback, rest = device.text.partition("Traceback")
            errors = [line for line in rest.splitlines() if re.match(r"\w+(Error|Exception)", line)]
            self.expect(not traceback or self.python_may_fail, f"a traceback: {'; '.join(errors[:1])}")
        with contextlib.suppress(Stuck):
            for device in self.devices:
                self.wait_for_all(device, float("inf"), patience_s=10)
        time.sleep(0.3)  # what comes once more
        self.expect(self.consumer.absences == self.deaths, "the consumer was cut off by more than the broker's deaths")

    def wait_for_all(self, device: Device, before: float, patience_s: float = PATIENCE_S) -> None:
        """Wait for all that a device produced before a moment, but what a SIGKILL may have taken.

        Raises:
            Stuck: Some did not come.
        """
        device.look()
        left = {
            key
            for key, at in device.produced.items()
            if at < before and device.killed.get(key.boot, float("inf")) - at > IN_FLIGHT_S
        }

        end = time.monotonic() + patience_s
        while left:
            still = {key for key in left if key not in self.consumer.first}
            if len(still) < len(left):
                left, end = still, time.monotonic() + patience_s
            elif time.monotonic() > end:
                raise Stuck(f"{len(left)} results that were produced: none of them arrived in {patience_s:g} s")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End everything, however it stands."""
        for device in self.devices:
            device.kill()
        self.consumer.close()
        self.proxy.close()
        self.broker.kill()


@contextlib.contextmanager
def bed(folder: Path, seed: int = 0, at_most_s: float = float("inf")) -> Iterator[Bed]:
    """Make a bed, and end all its processes afterwards."""
    folder.mkdir(parents=True)
    one = Bed(folder, seed, at_most_s)
    try:
        yield one
    finally:
        one.close()
