"""`edged doctor`: looks at everything that a running edged needs, and says what to do about what is missing."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edged.errors import EdgedError

if TYPE_CHECKING:
    from edged.settings import CameraSettings, Settings

_FRAME_S = 10.0
_LOW_DISK_MB = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` is what to do where `status` is not ok."""

    part: str
    status: Literal["ok", "warning", "failed"]
    text: str
    advice: str | None = None


def register(subparsers: Any) -> None:
    """Add `doctor`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "doctor",
        help="look at runtime, model, cameras, broker, sensors and permissions",
        description="Check everything that edged needs here. Exit code 1 when something is broken.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: /etc/edged/edged.toml)")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print each finding as soon as it is known."""
    from edged import settings

    configuration = settings.load(args.config)
    failed = False
    for finding in examine(configuration):
        failed = failed or finding.status == "failed"
        if args.json:
            print(json.dumps(asdict(finding)), flush=True)
        else:
            _print(finding)
    if not args.json:
        print("\nSomething needs your attention (see above)." if failed else "\nAll is well.")
    return 1 if failed else 0


def examine(configuration: Settings) -> Iterator[Finding]:
    """Yield one finding per part, in the order in which a start would meet them."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("state", lambda: _state(configuration)),
        ("model", lambda: _model(configuration)),
        *[
            (f"camera {name}", lambda name=name, camera=camera: _camera(name, camera))
            for name, camera in configuration.cameras.items()
        ],
        ("broker", lambda: _broker(configuration)),
        ("sensors", _sensors),
        ("service", _service),
    ]
    for part, check in checks:
        try:
            yield check()
        except EdgedError as error:
            yield Finding(part, "failed", str(error), _advice(part))


def _advice(part: str) -> str | None:
    """Say what to do about a part whose error says what is wrong."""
    if part == "model":
        return "choose another model.name, or install this one anew: edged models list"
    if part.startswith("camera "):
        name = part.removeprefix("camera ")
        return f"edged would start all the same and try again for ever; check the camera, or cameras.{name}.source"
    if part == "broker":
        return "correct [mqtt] in the configuration"
    return None


def _state(configuration: Settings) -> Finding:
    folder = configuration.storage.state_dir
    try:
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
        with tempfile.TemporaryFile(dir=nearest) as probe:  # a folder made here might not be the daemon's user's
            probe.write(b"edged")
            probe.flush()
    except OSError as error:
        return Finding(
            "state",
            "failed",
            f"{folder}: {error.strerror}",
            "make the folder writable for this user, or set storage.state_dir",
        )
    free_mb = shutil.disk_usage(nearest).free / 1e6
    if free_mb < _LOW_DISK_MB:
        return Finding("state", "warning", f"{folder}: only {free_mb:.0f} MB free", "free some space on this disk")
    state = "is writable" if folder == nearest else "will be made"
    return Finding("state", "ok", f"{folder} {state}, {free_mb / 1000:.1f} GB free")


def _model(configuration: Settings) -> Finding:
    import numpy as np

    from edged.store import Store
    from edged.vision.network import Network

    bundle = Store(configuration.storage.state_dir).current(configuration.model.name)
    network = Network(bundle.read_model(), runtime=configuration.model.runtime, threads=configuration.model.threads)
    image = np.zeros((network.height, network.width, 3), np.uint8)
    times = sorted(network.infer(image).invoke_ms for _ in range(5))
    text = (
        f"{bundle.name} ({bundle.id}), {network.width}×{network.height}, {network.classes} classes: "
        f"{times[2]:.1f} ms on {network.runtime} with {configuration.model.threads} thread(s)"
    )
    if network.runtime == "tflite_runtime" and configuration.model.runtime == "auto":
        return Finding(
            "model", "warning", text, "ai-edge-litert is several times faster: pip install --upgrade ai-edge-litert"
        )
    return Finding("model", "ok", text)


def _camera(name: str, camera: CameraSettings) -> Finding:
    from edged.camera import open_source
    from edged.camera.opening import public_source

    shown = public_source(camera.source)
    begin = time.monotonic()
    source = open_source(name, camera)
    try:
        image = source.read()
    finally:
        source.close()
    part = f"camera {name}"
    if image is None:
        return Finding(part, "failed", f"{shown} delivers no frame", "check that the file is a video")
    height, width = image.shape[:2]
    seconds = time.monotonic() - begin
    text = f"{shown}: {width}×{height}, first frame after {seconds:.1f} s"
    if image.max() == image.min():
        return Finding(part, "warning", f"{text}, all of one colour", "is the lens covered?")
    return Finding(part, "ok", text)


def _broker(configuration: Settings) -> Finding:
    from edged.mqtt.probe import try_login

    outcome = try_login(configuration.mqtt, configuration.device.id)
    if outcome.error is None:
        return Finding("broker", "ok", f"{outcome.broker} lets us in, MQTT {outcome.protocol}, {outcome.ms:.0f} ms")
    advice = "edged would start all the same and connect later; start the broker, or correct mqtt.url and the login"
    return Finding("broker", "failed", outcome.error, advice)


def _sensors() -> Finding:
    from edged.sensors import open_sensors

    sensors = open_sensors()
    try:
        sensors.read()
        time.sleep(0.2)  # loads are differences
        reading = sensors.read()
    finally:
        sensors.close()
    parts = {
        "power rails": len(reading.power_mw),
        "temperatures": len(reading.temp_c),
        "loads": len(reading.load),
        "clocks": len(reading.clock_mhz),
    }
    text = f"{sensors.name}: " + ", ".join(f"{count} {what}" for what, count in parts.items())
    if sensors.name != "jtop" and Path("/etc/nv_tegra_release").exists():
        return Finding(
            "sensors",
            "warning",
            text,
            "on a Jetson, jetson-stats tells more: pip install 'edged[jetson]', add group jtop",
        )
    return Finding("sensors", "ok", text)


def _service() -> Finding:
    """Whether this user may open cameras, and whether systemd's side is complete."""
    devices = sorted(Path("/dev").glob("video*"))
    closed = [str(device) for device in devices if not os.access(device, os.R_OK | os.W_OK)]
    if closed:
        return Finding(
            "service",
            "warning",
            f"no permission on {', '.join(closed)}",
            "sudo usermod -aG video $USER, then log in again",
        )
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    return Finding("service", "ok", f"runs as {user}, {len(devices)} video device(s) accessible")


def _print(finding: Finding) -> None:
    mark, colour = {"ok": ("✓", 32), "warning": ("!", 33), "failed": ("✗", 31)}[finding.status]
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    print(f"{mark} {finding.part:<14} {finding.text}", flush=True)
    if finding.advice:
        print(f"  {'':<14} → {finding.advice}", flush=True)
