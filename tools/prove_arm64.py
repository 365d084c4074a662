"""Run edged on arm64 and hold it against this machine: Debian 12 in a folder, its programs emulated by qemu.

The shipped models classify the demonstration's photos, a final layer is trained on 60 labeled photos, and the daemon
talks to a Mosquitto on this machine; all of it on LiteRT and on tflite_runtime, with the versions that
tools/constraints.txt pins. Emulation proves that wheels load and what they compute. It tells nothing about speed, and
it is no Jetson.

    sudo tools/prove_arm64                                 half an hour or more, the first time
    sudo tools/prove_arm64 --into tools/reports/arm64      also write arm64.md and arm64.json

Mounts and processes live in namespaces of their own and end with the tool, as do the root's folder and what it tells
the kernel about arm64 programs. Exit codes: 0 all of it holds, 1 something does not, 2 wrong usage, 3 it cannot be
tried here.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import DEVNULL as NONE
from subprocess import PIPE, STDOUT
from typing import Any, NoReturn

import paho.mqtt.client as mqtt
from packaging.requirements import Requirement

import check_wheels

ROOT = Path(__file__).resolve().parent.parent
STEPS = ROOT / "tools/prove_steps.py"
SUITE = "bookworm"
EMULATOR = "qemu-aarch64-static"
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = "edged-prove-arm64"
# An ELF file, 64 bits, little endian, a program or library, for aarch64; F: opened now, so that a root needs no copy.
MAGIC = rb"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
BASE_AGE_S = 30 * 24 * 3600
LIMIT_S = 3600.0  # of one step: emulation on a busy machine is slow
RUNTIMES = ("litert", "tflite_runtime")
# What a Jetson TX2, Nano or a Raspberry Pi 3 has, and one with dot products, as an Orin or a Raspberry Pi 5 has.
PROCESSORS = ("cortex-a57", "cortex-a76")
PYTHON = "/opt/edged/bin/python"

# $1: the root, then the command. Of this machine only the network and devices that everybody may use are in sight.
ENTER = """
set -eu
root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for node in null zero full random urandom; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
ln -s /proc/self/fd "$root/dev/fd"
exec chroot "$root" "$@"
"""

# Runs the daemon until somebody closes this program's standard input, and ends as it does.
DAEMON = """
import signal, subprocess, sys
daemon = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
daemon.send_signal(signal.SIGTERM)
sys.exit(daemon.wait())
"""


class CannotTryError(Exception):
    """Something is missing on this machine; the text says what."""


class RedError(Exception):
    """Something does not hold; the text says what."""


def say(text: str) -> None:
    """Print a line of progress."""
    print(text, file=sys.stderr, flush=True)


def refuse(text: str) -> NoReturn:
    """End with one line on stderr."""
    say(f"tools/prove_arm64: {text}")
    sys.exit(2)


# ── arm64 programs on this machine ──


def require_programs() -> None:
    """Look for what this needs.

    Raises:
        CannotTryError: It is not there.
    """
    if os.uname().machine != "x86_64":
        raise CannotTryError(f"it compares with x86_64, and this machine is {os.uname().machine}: nothing was tried")
    packages = {"debootstrap": "debootstrap", EMULATOR: "qemu-user-static", "mosquitto": "mosquitto"}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        raise CannotTryError(f"apt-get install {' '.join(missing)} first: nothing was tried")


@contextlib.contextmanager
def arm64_programs() -> Iterator[None]:
    """Let the kernel start arm64 programs, and afterwards no longer where it did not before.

    Raises:
        CannotTryError: It may not be told so here.
    """
    mounted = registered = False
    try:
        if not (BINFMT / "register").exists():
            done = subprocess.run(
                ["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False, capture_output=True, text=True
            )
            if done.returncode:
                raise CannotTryError(f"binfmt_misc cannot be mounted: {done.stderr.strip()}")
            mounted = True
        if not any(emulates_arm64(entry) for entry in BINFMT.iterdir()):
            line = b":" + b":".join(
                [HANDLER.encode(), b"M", b"", MAGIC, MASK, str(shutil.which(EMULATOR)).encode(), b"F"]
            )
            try:
                (BINFMT / "register").write_bytes(line)
            except OSError as error:
                raise CannotTryError(f"binfmt_misc takes no arm64 programs: {error.strerror}") from error
            registered = True
        yield
    finally:
        if registered:
            (BINFMT / HANDLER).write_text("-1")
        if mounted:
            subprocess.run(["umount", BINFMT], check=False)


def emulates_arm64(entry: Path) -> bool:
    """Whether an entry of binfmt_misc is about arm64, and would work in a root that does not hold the emulator."""
    if entry.name in ("register", "status"):
        return False
    text = entry.read_text()
    flags = text.partition("flags:")[2].partition("\n")[0]
    return text.startswith("enabled") and "magic 7f454c460201010000000000000000000200b700" in text and "F" in flags


# ── the root ──


def base(cache: Path) -> Path:
    """Return an archive of what debootstrap makes for arm64, made where the cache has no young one.

    Raises:
        CannotTryError: debootstrap failed.
    """
    archive = cache / f"{SUITE}-arm64.tar"
    if archive.exists() and time.time() - archive.stat().st_mtime < BASE_AGE_S:
        return archive
    say(f"• making a {SUITE} for arm64 with debootstrap (a quarter of an hour)")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{SUITE}-", dir=cache) as work:
        root, log = Path(work, "root"), Path(work, "log")
        command = ["unshare", "--mount", "--propagation", "private", "debootstrap", "--arch=arm64", "--variant=minbase"]
        command += ["--include=python3,python3-venv", SUITE, str(root)]
        with log.open("wb") as stream:
            code = subprocess.run(command, check=False, stdin=NONE, stdout=stream, stderr=STDOUT).returncode
        if code:
            words = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise CannotTryError(f"debootstrap failed: {words[-1] if words else 'it said nothing'}")
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)
        subprocess.run(["tar", "-C", root, "--numeric-owner", "-cf", f"{work}/base.tar", "."], check=True)
        Path(work, "base.tar").replace(archive)
    return archive


class Root:
    """An arm64 Debian in a folder, to run commands in.

    Args:
        folder: Where it is.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *command: str, processor: str) -> list[str]:
        """Return the command that runs another one in the root, on an emulated processor."""
        variables = {
            "HOME": "/root",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "QEMU_CPU": processor,
        }
        return [
            *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
            *("sh", "-c", ENTER, "sh", str(self.folder)),
            *("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items()), *command),
        ]

    def run(self, *command: str, processor: str = PROCESSORS[0]) -> str:
        """Run a command and return what it prints.

        Raises:
            RedError: It failed.
        """
        whole = self.command(*command, processor=processor)
        with tempfile.TemporaryFile("w+") as errors:
            try:
                done = subprocess.run(
                    whole, check=False, stdin=NONE, stdout=PIPE, stderr=errors, text=True, timeout=LIMIT_S
                )
            except subprocess.TimeoutExpired as error:
                raise RedError(f"{' '.join(command)}: not done after {LIMIT_S:g} s") from error
            if done.returncode:
                errors.seek(0)
                words = (errors.read() + done.stdout).strip().splitlines()[-12:]
                raise RedError(f"{' '.join(command)}: exit code {done.returncode}\n" + "\n".join(words))
        return done.stdout


def install(root: Root, work: Path) -> int:
    """Install edged and its pinned dependencies in the root from wheels; return how many."""
    target = check_wheels.TARGETS["pi"]
    dependencies = check_wheels.tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = work / "pins.txt"
    pins.write_text("".join(f"{name}{version}\n" for name, version in check_wheels.pins_for(target).items()))
    folder = root.folder / "wheels"
    folder.mkdir()
    say("• downloading the pinned wheels for arm64")
    try:
        wheels = check_wheels.resolve([*map(Requirement, dependencies)], target, folder, pins)
        check_wheels.require_loadable(wheels, target)
    except check_wheels.UnresolvedError as error:
        raise RedError(f"the pinned wheels do not fit {target.what}:\n{error}") from error
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, folder, ROOT], check=True, stdout=subprocess.DEVNULL)
    (edged,) = folder.glob("edged-*.whl")
    say(f"• installing {len(wheels)} wheels and edged in the root")
    root.run("python3", "-m", "venv", "/opt/edged")
    names = [f"/wheels/{wheel.name}" for wheel in [*wheels, edged]]
    root.run(PYTHON, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile", *names)
    shutil.copy(STEPS, root.folder / "prove_steps.py")
    return len(wheels)


# ── the proofs ──


def here(*command: str) -> str:
    """Run edged on this machine, as it is checked out, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGED_")}
    environment["PYTHONPATH"] = str(ROOT)
    whole = [sys.executable, *command]
    done = subprocess.run(whole, check=False, stdin=NONE, stdout=PIPE, text=True, env=environment)
    if done.returncode:
        raise RedError(f"on this machine: {' '.join(command)}: exit code {done.returncode}")
    return done.stdout


def compare(reference: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """Return, per model, how many quantization steps the scores of the same inputs on arm64 and x86_64 are apart.

    Labels are compared as each side sees the photos itself.
    """
    compared = {}
    for name, model in reference["models"].items():
        other = told["models"][name]
        pairs = [(photo, other["photos"][file]) for file, photo in model["photos"].items()]

        def steps(what: str, pairs: list[tuple[Any, Any]] = pairs) -> list[int]:
            return [abs(a - b) for x86, arm in pairs for a, b in zip(x86[what], arm[what], strict=True)]

        compared[name] = {
            "id": other["id"],
            "photos": len(pairs),
            "same_inputs": sum(arm["input_differs"] == 0 for _, arm in pairs),
            "inputs_apart": max(arm["input_apart"] for _, arm in pairs),
            "same_tops": sum(x86["top"] == arm["top"] for x86, arm in pairs),
            "scores": len(steps("scores")),
            "scores_differ": sum(step > 0 for step in steps("scores")),
            "most_steps": max(steps("scores")),
            "bottleneck_most_steps": max(steps("bottleneck")),
            "holds": max(steps("scores")) <= 1
            and other["id"] == model["id"]
            and all(x86["top"] == arm["top"] for x86, arm in pairs),
        }
    return compared


def prove_scores(root: Root, runtime: str, processor: str, reference: dict[str, Any]) -> dict[str, Any]:
    """Classify on an emulated processor, and compare."""
    say(f"• {runtime} on {processor}: classifying")
    began = time.monotonic()
    told = json.loads(root.run(PYTHON, "/prove_steps.py", "classify", runtime, "/inputs", processor=processor))
    row = {"runtime": runtime, "processor": processor, "version": told["runtime"]}
    row |= {"python": told["python"], "glibc": told["glibc"], "seconds": round(time.monotonic() - began)}
    models = compare(reference, told)
    return row | {"models": models, "holds": all(model["holds"] for model in models.values())}


def prove_training(root: Root, runtime: str, work: Path) -> dict[str, Any]:
    """Train on 60 photos there and here, from the same files."""
    say(f"• {runtime}: a training on 60 photos")
    crops = root.folder / "crops"
    if not crops.exists():
        here(str(STEPS), "crops", str(crops))
    row: dict[str, Any] = {"runtime": runtime, "photos": sum(1 for _ in crops.rglob("*.jpg"))}
    for side in ("x86_64", "arm64"):
        arguments = ["-m", "edged", "retrain", "--json", "--workers", "1", "--config"]
        if side == "x86_64":
            state, images, out = work / f"state-{runtime}", crops, work / f"trained-{runtime}"
            config = work / f"{runtime}.toml"
        else:
            state, images, out = Path(f"/state-{runtime}"), Path("/crops"), Path(f"/trained-{runtime}")
            config = Path(f"/{runtime}.toml")
        written = config if side == "x86_64" else root.folder / config.relative_to("/")
        written.write_text(f'[model]\nruntime = "{runtime}"\n[storage]\nstate_dir = "{state}"\n')
        arguments += [str(config), "--images", str(images), "--out", str(out)]
        began = time.monotonic()
        told = json.loads(here(*arguments) if side == "x86_64" else root.run(PYTHON, *arguments))
        row[side] = {
            "status": told["status"],
            "cross_validated": told["report"]["accuracy"]["cross_validated"],
            "quantized": told["report"]["accuracy"]["quantized"],
            "seconds": round(time.monotonic() - began),
        }
    row["holds"] = all(row[side]["status"] == "succeeded" for side in ("x86_64", "arm64"))
    return row


@contextlib.contextmanager
def broker(work: Path) -> Iterator[int]:
    """Run a Mosquitto on this machine; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = work / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(["mosquitto", "-c", config], stdin=NONE, stdout=NONE, stderr=NONE)
    try:
        wait_until(lambda: accepts(port), "Mosquitto listens")
        yield port
    finally:
        process.terminate()
        process.wait()


def accepts(port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(done: Callable[[], object], what: str) -> None:
    """Poll until something holds.

    Raises:
        RedError: It did not, for a very long time.
    """
    end = time.monotonic() + LIMIT_S
    while not done():
        if time.monotonic() > end:
            raise RedError(f"{what}: not within {LIMIT_S:g} s")
        time.sleep(0.1)


def prove_daemon(root: Root, runtime: str, work: Path) -> dict[str, Any]:
    """Run the daemon on the photos until each was classified twice, then end it by SIGTERM."""
    say(f"• {runtime}: the daemon against a broker")
    photos = root.run(PYTHON, "-c", "import edged.demo; print(edged.demo.__path__[0], end='/photos')")
    results: list[dict[str, Any]] = []
    states: list[str] = []
    info: list[dict[str, Any]] = []

    def on_message(_client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        kind = message.topic.split("/")[2]
        if kind == "state":
            states.append(message.payload.decode())
        elif kind == "info":
            info.append(json.loads(message.payload))
        elif kind == "result":
            results.append(json.loads(message.payload))

    with broker(work) as port:
        config = root.folder / f"daemon-{runtime}.toml"
        config.write_text(
            f'[device]\nid = "arm64"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n'
            f'[model]\nruntime = "{runtime}"\nthreads = 1\n'
            f'[storage]\nstate_dir = "/state-daemon-{runtime}"\n[cameras.main]\nsource = "dir://{photos}"\n'
        )
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        client.on_message = on_message
        client.connect("127.0.0.1", port)
        client.subscribe("edged/arm64/#", qos=1)
        client.loop_start()
        began = time.monotonic()
        command = [PYTHON, "-c", DAEMON, PYTHON, "-m", "edged", "run", "--config", f"/{config.name}"]
        with (work / f"daemon-{runtime}.log").open("wb") as log:
            process = subprocess.Popen(
                root.command(*command, processor=PROCESSORS[0]), stdin=subprocess.PIPE, stdout=log, stderr=log
            )
        try:
            wait_until(lambda: len(results) >= 12 or process.poll() is not None, "12 results")
            assert process.stdin is not None
            process.stdin.close()
            code = process.wait(LIMIT_S)
            wait_until(lambda: not states or states[-1] == "offline", "the daemon says that it is gone")
        finally:
            process.kill()
            client.loop_stop()
            client.disconnect()
    if not results or not info:
        log_text = (work / f"daemon-{runtime}.log").read_text(errors="replace").splitlines()[-12:]
        raise RedError(f"the daemon on {runtime} published nothing; exit code {code}\n" + "\n".join(log_text))
    seen = {"runtime": info[-1]["runtime"], "states": states, "results": len(results), "exit_code": code}
    labels = sorted({result["label"] for result in results})
    holds = seen["runtime"] == runtime and code == 0 and len(results) >= 12 and states[-1] == "offline"
    return seen | {"labels": labels, "seconds": round(time.monotonic() - began), "holds": holds}


def prove(work: Path, cache: Path, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Do all of it; return what was seen, and hand it to `keep` after each step: all of it takes long."""
    root = Root(work / "root")
    root.folder.mkdir(mode=0o755)
    archive = base(cache)
    subprocess.run(["tar", "-C", root.folder, "--numeric-owner", "-xpf", archive], check=True)
    return prove_in(root, work, install(root, work), keep)


def prove_in(root: Root, work: Path, wheels: int, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Do what has to be done in a root where edged is installed."""
    release = root.run("sh", "-c", ". /etc/os-release; cat /etc/debian_version; uname -m").split()
    emulator = subprocess.run([str(shutil.which(EMULATOR)), "--version"], check=True, stdout=PIPE, text=True).stdout
    report: dict[str, Any] = {
        "debian": release[0],
        "machine": release[1],
        "emulator": emulator.splitlines()[0],
        "wheels": wheels,
        "scores": [],
        "training": [],
        "daemon": [],
    }
    inputs = str(root.folder / "inputs")
    references = {runtime: json.loads(here(str(STEPS), "classify", runtime, inputs)) for runtime in RUNTIMES}
    report["runtimes_on_x86_64"] = compare(*references.values())  # how far apart two right answers may be
    for runtime in RUNTIMES:
        for processor in PROCESSORS:
            report["scores"].append(prove_scores(root, runtime, processor, references[runtime]))
            keep(report)
    for runtime in RUNTIMES:
        report["daemon"].append(prove_daemon(root, runtime, work))
        keep(report)
    for runtime in RUNTIMES:
        report["training"].append(prove_training(root, runtime, work))
        keep(report)
    report["holds"] = all(row["holds"] for part in ("scores", "training", "daemon") for row in report[part])
    return report


# ── what was seen ──


def page(report: dict[str, Any]) -> str:
    """Return what was seen as a page in Markdown."""
    versions = {row["runtime"]: row["version"] for row in report["scores"]}
    lines = [
        "# edged on arm64",
        "",
        f"Written by `tools/prove_arm64 --into tools/reports/arm64`: Debian {report['debian']}, {report['machine']},",
        f"emulated by {report['emulator']}; the {report['wheels']} wheels that `tools/constraints.txt` pins,",
        f"among them LiteRT {versions['litert']} and tflite_runtime {versions['tflite_runtime']}. Emulated times tell",
        "nothing about a board's, so none is shown.",
        "**Not verified on Jetson hardware.**",
        "",
        "| shipped model, on demo photos | processor | same label as x86_64 | same input | scores differ | at most | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in report["scores"]:
        for name, model in row["models"].items():
            same = f"{model['same_tops']} of {model['photos']} | {model['same_inputs']} of {model['photos']}"
            apart = f"{model['scores_differ']} of {model['scores']} | {model['most_steps']} step(s)"
            lines.append(f"| {name}, {row['runtime']} | {row['processor']} | {same} | {apart} | {mark(model)} |")
    apart = max(model["inputs_apart"] for row in report["scores"] for model in row["models"].values())
    lines += [
        "",
        "Scores are those of the same inputs on both sides; labels those of what each side makes of the photos itself.",
        f"Where these inputs are not the same, a pixel differs by at most {apart} of 255.",
        "A row holds where labels are the same and no score is more than one step apart.",
    ]
    for name, model in report["runtimes_on_x86_64"].items():
        lines += [
            f"For comparison, on x86_64 LiteRT and tflite_runtime are {model['most_steps']} step(s) apart on {name},",
            f"in {model['scores_differ']} of {model['scores']} scores: one file, two interpreters.",
        ]
    lines += ["", "| a training | photos | cross-validated accuracy on x86_64 | on arm64 | |", "|---|--:|--:|--:|---|"]
    for row in report["training"]:
        accuracy = [f"{row[side]['cross_validated']:.1%}" for side in ("x86_64", "arm64")]
        lines.append(f"| {row['runtime']} | {row['photos']} | {accuracy[0]} | {accuracy[1]} | {mark(row)} |")
    lines += ["", "| the daemon, to a Mosquitto | results | states | exit code | |", "|---|--:|---|--:|---|"]
    for row in report["daemon"]:
        states = ", ".join(row["states"])
        lines.append(f"| {row['runtime']} | {row['results']} | {states} | {row['exit_code']} | {mark(row)} |")
    return "\n".join(lines) + "\n"


def mark(row: dict[str, Any]) -> str:
    """Return a word for whether a row holds."""
    return "holds" if row["holds"] else "DOES NOT HOLD"


def end_at_once(*_: object) -> NoReturn:
    """End on SIGTERM as on an error, so that what is temporary goes; a second one shall not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main(arguments: list[str]) -> int:
    """Try all of it and print the page."""
    head, _, tail = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="tools/prove_arm64", description=head, epilog=tail, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--into", type=Path, metavar="NAME", help="write NAME.md and NAME.json")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "edged-prove-arm64")
    parser.add_argument("--cache", type=Path, metavar="DIR", default=cache, help=f"of debootstrap's work ({cache})")
    chosen = parser.parse_args(arguments)
    if os.geteuid() != 0:
        refuse("needs root, to make a Debian root and enter it: run it with sudo")
    signal.signal(signal.SIGTERM, end_at_once)

    def keep(report: dict[str, Any]) -> None:
        if chosen.into is not None:
            chosen.into.with_suffix(".json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")

    try:
        require_programs()
        with (
            arm64_programs(),
            tempfile.TemporaryDirectory(prefix="edged-arm64-", dir=os.environ.get("TMPDIR", "/var/tmp")) as work,
        ):
            report = prove(Path(work), chosen.cache.absolute(), keep)
    except CannotTryError as error:
        say(f"tools/prove_arm64: {error}")
        return 3
    except RedError as error:
        say(f"tools/prove_arm64: {error}")
        return 1
    keep(report)
    text = page(report)
    print(text, end="")
    if chosen.into is not None:
        chosen.into.with_suffix(".md").write_text(text)
    return 0 if report["holds"] else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"tools/prove_arm64: {error}")
        sys.exit(1)
