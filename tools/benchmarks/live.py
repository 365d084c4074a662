"""How fast and how small the daemon is: clip → daemon → real Mosquitto → subscriber, beside a bare invoke loop.

The daemon runs as it is shipped, keeping frames that are worth a label among other things; one thread, so that both
sides have the same.

Both sides run in turn in one go on the same machine, because machines differ and are shared: the ratio is the result.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from benchmarks import set_to

BARE_LOOP = """
import sys, time
import numpy as np
from edged.resources import shipped
from edged.vision.network import Network
seconds, runtime = float(sys.argv[1]), sys.argv[2]
model = (shipped("models") / "mobilenet_v2" / "model.tflite").read_bytes()
network = Network(model, runtime=runtime, threads=1)
network.infer(np.zeros((network.height, network.width, 3), np.uint8))
invoke = network._interpreter.invoke
for _ in range(20):
    invoke()
count, begin = 0, time.perf_counter()
while time.perf_counter() - begin < seconds:
    invoke()
    count += 1
print(count / (time.perf_counter() - begin))
"""


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A real Mosquitto on a free port."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
        if binary is None:
            sys.exit("bench: mosquitto is needed: apt install mosquitto mosquitto-clients")
        self.port = free_port()
        configuration = folder / "mosquitto.conf"
        configuration.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
        self._process = subprocess.Popen([binary, "-c", configuration], stderr=subprocess.DEVNULL)
        self.process = psutil.Process(self._process.pid)
        time.sleep(0.5)

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def write_configuration(file: Path, clip: Path, port: int, state: Path, fps: float) -> None:
    """Write what a device is shipped with, but for one thread, the clip and this broker."""
    file.write_text(
        f'[device]\nid = "bench"\n[cameras.clip]\nsource = "file://{clip}"\nfps = {fps}\n'
        f'[model]\nthreads = 1\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
        f'[storage]\nstate_dir = "{state}"\n'
    )


def run_daemon(clip: Path, port: int, folder: Path, *, seconds: float, fps: float) -> dict[str, Any]:
    """Run the daemon on a clip and watch it through mosquitto_sub.

    Returns:
        results_per_s over the last `seconds`, first_result_s, peak_mb, overhead_ms (median of total − preprocess −
        invoke) and the median of each latency part, ms.
    """
    configuration = folder / "edged.toml"
    write_configuration(configuration, clip, port, folder / "state", fps)
    log = folder / "results.jsonl"
    with log.open("wb") as sink:
        subscriber = subprocess.Popen(
            ["mosquitto_sub", "-p", str(port), "-t", "edged/bench/result/#", "-q", "1"], stdout=sink
        )
        time.sleep(0.3)
        begin = time.monotonic()
        daemon = subprocess.Popen([sys.executable, "-m", "edged", "run", "--config", configuration])
        while log.stat().st_size == 0 and time.monotonic() - begin < 30 and daemon.poll() is None:
            time.sleep(0.005)
        first_result_s = time.monotonic() - begin
        time.sleep(1.5)  # caches warm, clocks up
        size, start = log.stat().st_size, time.monotonic()
        time.sleep(seconds)
        elapsed, end = time.monotonic() - start, log.stat().st_size
        peak_mb = peak_memory_mb(daemon.pid)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=20)
        subscriber.terminate()
        subscriber.wait()
    with log.open("rb") as source:
        source.seek(size)
        lines = source.read(end - size).splitlines()
    latencies = [json.loads(line)["latency_ms"] for line in lines if line.endswith(b"}") and line.startswith(b"{")]
    parts = {key: statistics.median(latency[key] for latency in latencies) for key in latencies[0]}
    overhead = statistics.median(part["total"] - part["preprocess"] - part["invoke"] for part in latencies)
    return {
        "results_per_s": len(lines) / elapsed,
        "first_result_s": first_result_s,
        "peak_mb": peak_mb,
        "overhead_ms": overhead,
        "latency_ms": parts,
    }


def peak_memory_mb(pid: int) -> float:
    """Return the peak resident set of a process, 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"process {pid} has no VmHWM")


def bare_loop(seconds: float, runtime: str = "litert") -> float:
    """Invocations per second of the same interpreter with nothing around it, one thread, in a fresh process."""
    command = [sys.executable, "-c", BARE_LOOP, str(seconds), runtime]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def while_training(clip: Path, images: Path, port: int, folder: Path, *, seconds: float, fps: float) -> dict[str, Any]:
    """Retrain on a running daemon, nothing cached, and count its results.

    Returns:
        results per second over `seconds` before the command and until its end, and the seconds that it took.
    """
    state = folder / f"training-{fps:g}"
    shutil.copytree(images, state / "images", ignore=shutil.ignore_patterns("*.txt", "*.md"))
    configuration = folder / "training.toml"
    write_configuration(configuration, clip, port, state, fps)
    log = folder / "training.jsonl"
    edgectl = [Path(sys.executable).with_name("edgectl"), "--broker", f"mqtt://127.0.0.1:{port}", "--device", "bench"]
    with log.open("wb") as sink:
        subscriber = subprocess.Popen(
            ["mosquitto_sub", "-p", str(port), "-t", "edged/bench/result/#", "-q", "1", "-F", "%t"], stdout=sink
        )
        daemon = subprocess.Popen([sys.executable, "-m", "edged", "run", "--config", configuration])
        while log.stat().st_size == 0 and daemon.poll() is None:
            time.sleep(0.05)
        time.sleep(1.5)
        line = len("edged/bench/result/clip\n")
        marks = [(time.monotonic(), log.stat().st_size // line)]
        time.sleep(seconds)
        marks.append((time.monotonic(), log.stat().st_size // line))
        subprocess.run([*edgectl, "retrain", "--lr", "0.1"], check=True, stdout=subprocess.DEVNULL)
        marks.append((time.monotonic(), log.stat().st_size // line))
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=20)
        subscriber.terminate()
        subscriber.wait()
    (begin, none), (asked, before), (end, after) = marks
    return {
        "fps": fps,
        "before_per_s": (before - none) / (asked - begin),
        "during_per_s": (after - before) / (end - asked),
        "training_s": end - asked,
    }


def help_seconds() -> float:
    """Median wall time of `edgectl --help`, seconds."""
    edgectl = Path(sys.executable).with_name("edgectl")
    times = []
    for _ in range(7):
        begin = time.monotonic()
        subprocess.run([edgectl, "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - begin)
    return statistics.median(times)


def measure(clip: Path, images: Path, *, rounds: int = 3, seconds: float = 6) -> dict[str, Any]:
    """Measure everything, daemon and bare loop in turn; medians over the rounds.

    Args:
        clip: What the camera sees.
        images: A folder per label, that the daemon is retrained on meanwhile.
        rounds: How often daemon and bare loop take turns.
        seconds: Length of each measurement.
    """
    if shutil.which("mosquitto_sub") is None:
        raise SystemExit("tools/bench live needs mosquitto_sub (apt install mosquitto-clients)")
    bare, full, load, state = [], [], os.getloadavg()[1], set_to.told()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        broker = Broker(folder)
        try:
            for _ in range(rounds):
                bare.append(bare_loop(seconds))
                full.append(run_daemon(clip, broker.port, folder, seconds=seconds, fps=0))
            paced = run_daemon(clip, broker.port, folder, seconds=seconds, fps=30)
            training = [while_training(clip, images, broker.port, folder, seconds=seconds, fps=fps) for fps in (30, 0)]
            older = bare_loop(seconds, "tflite_runtime") if find_spec("tflite_runtime") else None
        finally:
            broker.close()
    ratios = [one["results_per_s"] / other for one, other in zip(full, bare, strict=True)]
    return {
        "cores": os.cpu_count(),
        "load": load,
        **state,
        "rounds": rounds,
        "bare_per_s": statistics.median(bare),
        "results_per_s": statistics.median(one["results_per_s"] for one in full),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "overhead_ms": statistics.median(one["overhead_ms"] for one in full),
        "overhead_ms_30fps": paced["overhead_ms"],
        "latency_ms": full[-1]["latency_ms"],
        "latency_ms_30fps": paced["latency_ms"],
        "peak_mb": max(one["peak_mb"] for one in full),
        "first_result_s": statistics.median(one["first_result_s"] for one in full),
        "edgectl_help_s": help_seconds(),
        "training": training,
        "tflite_runtime_per_s": older,
    }


def table(numbers: dict[str, Any]) -> str:
    """The asked and the measured, as Markdown."""
    ratios = ", ".join(f"{ratio:.2f}" for ratio in sorted(numbers["ratios"]))
    ratio = f"{numbers['results_per_s']:.0f}/s ÷ {numbers['bare_per_s']:.0f}/s, single rounds {ratios}"
    rows = [
        ("daemon's results per second ÷ bare invoke loop", f"{numbers['ratio']:.2f} ({ratio})", "≥ 0.95"),
        (
            "frame captured → result handed to the broker, minus preprocessing and invoke, camera at 30 fps",
            f"{numbers['overhead_ms_30fps']:.1f} ms",
            "≤ 2 ms",
        ),
        ("the same at full speed", f"{numbers['overhead_ms']:.1f} ms", "≤ 2 ms"),
        ("peak memory of the daemon", f"{numbers['peak_mb']:.0f} MB", "≤ 140 MB"),
        ("first result after the process starts", f"{numbers['first_result_s']:.1f} s", "≤ 1.5 s"),
        ("`edgectl --help`", f"{numbers['edgectl_help_s']:.1f} s", "≤ 0.4 s"),
    ]
    for one in numbers["training"]:
        camera = f"camera at {one['fps']:g} fps" if one["fps"] else "at full speed"
        kept = one["during_per_s"] / one["before_per_s"]
        speeds = f"{one['during_per_s']:.0f}/s, before {one['before_per_s']:.0f}/s; {one['training_s']:.0f} s"
        told = f"{kept:.0%} ({speeds})"
        rows.append((f"results per second while a training on all flower photos works, {camera}", told, ""))
    older = numbers["tflite_runtime_per_s"]
    other = "" if older is None else f"; with tflite_runtime {1000 / older:.0f} ms"
    rows.append(("the network alone, one thread", f"{1000 / numbers['bare_per_s']:.1f} ms{other}", ""))
    lines = [f"| {what} | {measured} | {asked} |" for what, measured, asked in rows]
    load = "" if numbers["load"] is None else f", on which {numbers['load']:.1f} other processes were ready to run"
    told = f"Medians of {numbers['rounds']} rounds on {numbers['cores']} cores{load}.{set_to.sentence(numbers)}"
    return "\n".join(["| | measured | asked |", "|---|---|---|", *lines, "", told])
