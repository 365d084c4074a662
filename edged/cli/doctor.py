"""`edged doctor`: looks at everything that a running edged needs, and says what to do about what is missing."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edged.cli import detectors
from edged.cli.options import add_config
from edged.cli.sandbox import login_files
from edged.database import is_full
from edged.errors import EdgedError, ModelError
from edged.terminal.registry import Commands

if TYPE_CHECKING:
    from edged.cli.state import Device
    from edged.cli.unit import Unit
    from edged.settings import CameraSettings, Settings

_FRAME_S = 10.0
_LOW_DISK_MB = 200
_KERNEL_FILES = (Path("/proc/stat"), Path("/proc/meminfo"), Path("/sys/class"))
_FREE_SPACE = "free some space on this disk"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` is what to do where `status` is not ok."""

    part: str
    status: Literal["ok", "warning", "failed"]
    text: str
    advice: str | None = None


def register(commands: Commands) -> None:
    """Add `doctor`."""
    parser = commands.add("doctor", run)
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--here", action="store_true", help="check as this user, whatever a service may do")
    parser.add_argument("--candidate", action="store_true", help="check this edged, not the one that the service runs")


def run(args: argparse.Namespace) -> int:
    """Look at runtime, model, cameras, broker, sensors and permissions.

    Checks everything that edged needs here. Exit code 1 when something is broken. Where edged is installed as a
    service, root checks as the service's user under the rules of its unit.

    Examples:
      edged doctor --config /etc/edged/edged.toml
      sudo edged doctor
    """
    seen: set[str] = set()
    for finding in map(_of_candidate, _findings(args)) if args.candidate else _findings(args):
        seen.add(finding.status)
        if args.json:
            print(json.dumps(asdict(finding)), flush=True)
        else:
            _print(finding)
    if not args.json:
        verdict = "All is well."
        if "failed" in seen:
            verdict = "Something needs your attention (see above)."
        elif "warning" in seen:
            verdict = "Nothing is broken, but see the warnings above."
        print(f"\n{verdict}")
    return 1 if "failed" in seen else 0


def _of_candidate(finding: Finding) -> Finding:
    """Make a warning of a failed camera: the version that runs may hold it, and one that is gone stops no version."""
    failed = finding.part.startswith("camera ") and finding.status == "failed"
    return replace(finding, status="warning") if failed else finding


def _findings(args: argparse.Namespace) -> Iterator[Finding]:
    """Examine as whoever will run edged here, as far as that is possible."""
    from edged import settings
    from edged.cli.state import become, find_device

    if args.here:
        yield from examine(settings.load(args.config))
        return
    device = find_device(args.config)
    if device.unit is not None:
        yield from _service_findings(device, device.unit, candidate=args.candidate)
        return
    if device.account is not None and os.geteuid() == 0:
        become(device.account)
    device.tell()
    yield from examine(device.settings)


def _service_findings(device: Device, service: Unit, *, candidate: bool) -> Iterator[Finding]:
    """Examine as the installed service, and say what was not tried."""
    from edged.cli import sandbox
    from edged.cli.state import become
    from edged.terminal.text import note

    user = service.user if device.account is None else device.account.name
    rules = f"the rules of {service.path}"
    told = f"configuration {device.config}, state in {device.state_dir}, service of user {user}"
    note("edged", told)
    hidden = sandbox.hidden(service, device.settings, device.config)  # as root: a user may not see all of it
    tried, why = False, "systemd does not run here"
    if os.geteuid() == 0 and sandbox.is_booted():
        arguments = ["doctor", "--here", "--json", "--config", str(device.config)]
        try:
            for fields in sandbox.run_inside(service, arguments, candidate=candidate):
                tried = True
                yield Finding(**fields)
            tried = True
        except sandbox.NotTriedError as error:
            why = str(error)
        except EdgedError as error:
            yield Finding("service", "failed", f"under {rules}, as user {user}: {error}", f"let user {user} do that")
            tried = True
    if not tried:
        if device.account is not None and os.geteuid() == 0:
            become(device.account, service)
        if device.config is not None and device.is_ours:
            readable = _readable("configuration", device.config)
            yield from [readable] if readable.status == "failed" else []
        made = service.state_dir == device.state_dir and not os.path.lexists(device.state_dir)
        known = {"state": Finding("state", "ok", f"{device.state_dir} will be made by systemd")} if made else {}
        if not device.is_ours:
            known = _not_looked_at(device, user)
        yield from examine(device.settings, known)
    if hidden:
        advice = "move it to where the service may, or change the rule: systemctl edit edged"
        yield Finding("sandbox", "failed", f"{service.path} closes {', '.join(hidden)}", advice)
    elif tried:
        yield Finding("sandbox", "ok", f"all this was checked as user {user} under {rules}")
    elif not device.is_ours:
        text = f"checked as this user, not as {user} under {rules}"
        yield Finding("sandbox", "warning", text, "run it as root: sudo edged doctor")
    else:
        text = f"checked as user {user}, but not under {rules}: {why}"
        advice = "they hide no file that the configuration names; cameras and system calls were not tried under them"
        yield Finding("sandbox", "warning", text, advice)


def examine(configuration: Settings, known: Mapping[str, Finding] | None = None) -> Iterator[Finding]:
    """Yield one finding per part, in the order in which a start would meet them.

    Args:
        configuration: What to look at.
        known: What is to be said of parts that this user cannot look at.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("state", lambda: _state(configuration)),
        *[(key, lambda key=key, path=path: _readable(key, path)) for key, path in login_files(configuration)],
        ("model", lambda: _model(configuration)),
        *[
            (f"regions {name}", lambda name=name: _detector(name, configuration))
            for name in detectors.wanted(configuration)
        ],
        *[
            (f"camera {name}", lambda name=name, camera=camera: _camera(name, camera))
            for name, camera in configuration.cameras.items()
        ],
        ("broker", lambda: _broker(configuration)),
        ("commands", lambda: _commands(configuration)),
        *([("metrics", lambda: _metrics(configuration))] if configuration.metrics.address else []),
        ("sensors", _sensors),
        ("service", _service),
    ]
    for part, check in checks:
        try:
            yield known[part] if known and part in known else check()
        except (EdgedError, OSError) as error:
            yield Finding(part, "failed", str(error), _advice(part))


def _advice(part: str) -> str | None:
    """Say what to do about a part whose error says what is wrong."""
    if part.startswith("regions "):
        return "edged does not start without it: edged models add FILE.tflite --detector, or change regions"
    if part.startswith("camera "):
        name = part.removeprefix("camera ")
        return f"edged would start all the same and try again for ever; check the camera, or cameras.{name}.source"
    return {
        "model": "choose another model.name, or install this one anew: edged models list",
        "commands": ("edged does not start without it: pip install 'edged[signing]', or empty security.trusted_keys"),
        "metrics": "edged does not start without it",
        "broker": "correct [mqtt] in the configuration",
    }.get(part)


def _state(configuration: Settings) -> Finding:
    folder = configuration.storage.state_dir
    try:
        nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
        with tempfile.TemporaryFile(dir=nearest) as probe:  # a folder made here might not be the daemon's user's
            probe.write(b"edged")
            probe.flush()
    except OSError as error:
        advice = "make the folder writable for this user, or set storage.state_dir"
        if is_full(error, nearest):
            advice = _FREE_SPACE
        return Finding("state", "failed", f"{folder}: {error.strerror}", advice)
    if closed := _closed(folder):
        text = f"{folder}: this user may not write to {len(closed)} file(s) and folder(s), e.g. {closed[0]}"
        return Finding("state", "failed", text, f"as root: chown -R {_user_name()}: {folder}")
    free_mb = shutil.disk_usage(nearest).free / 1e6
    if free_mb < _LOW_DISK_MB:
        return Finding("state", "warning", f"{folder}: only {free_mb:.0f} MB free", _FREE_SPACE)
    state = "is writable" if folder == nearest else "will be made"
    return Finding("state", "ok", f"{folder} {state}, {free_mb / 1000:.1f} GB free")


def _closed(folder: Path) -> list[Path]:
    """Return what the daemon would have to write to in the state folder, and cannot."""
    closed = []
    for place, _, names in os.walk(folder):
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            closed.append(Path(place))
        files = [Path(place, name) for name in names if name.endswith((".sqlite", ".lock", ".json"))]
        closed += [file for file in files if not os.access(file, os.R_OK | os.W_OK)]
    return closed


def _not_looked_at(device: Device, user: str) -> dict[str, Finding]:
    """Return what is to be said of the parts of a service that are `user`'s, and closed to who asks."""
    parts = ["state", "model", *(f"regions {name}" for name in detectors.wanted(device.settings))]
    reasons = dict.fromkeys(parts, f"{device.state_dir} belongs to user {user}")
    for key, path in login_files(device.settings):
        try:
            path.open("rb").close()
        except PermissionError:
            reasons |= dict.fromkeys((key, "broker"), f"{path} is not for this user to read")
        except OSError:  # wrong for every user: `_readable` tells
            continue
    advice = "run it as root: sudo edged doctor"
    return {part: Finding(part, "warning", f"not looked at: {why}", advice) for part, why in reasons.items()}


def _readable(key: str, path: Path) -> Finding:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        advice = f"let {_user_name()} read it: chgrp {_user_name()} and chmod 640"
        return Finding(key, "failed", f"{path}: {error.strerror}", advice)
    return Finding(key, "ok", f"{path} can be read")


def _user_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _model(configuration: Settings) -> Finding:
    import numpy as np

    from edged.cli.check import calls_nothing_unknown
    from edged.store import Store
    from edged.vision.network import Network, why_not_litert
    from edged.vision.runtime_wheels import better_runtime

    bundle = Store(configuration.storage.state_dir).current(configuration.model.name)
    network = Network(bundle.read_model(), runtime=configuration.model.engine, threads=configuration.model.threads)
    image = np.zeros((network.height, network.width, 3), np.uint8)
    times = sorted(network.infer(image).invoke_ms for _ in range(5))
    text = (
        f"{bundle.name} ({bundle.id}), {network.width}×{network.height}, {network.classes} classes: "
        f"{times[2]:.1f} ms on {network.runtime} with {configuration.model.threads} thread(s)"
    )
    if blind := calls_nothing_unknown(configuration):
        text += f"; {blind}"
    fallback = network.runtime == "tflite_runtime" and configuration.model.runtime == "auto"
    if fallback and (advice := better_runtime(why_not_litert())) is not None:
        return Finding("model", "warning", f"{text}, not on LiteRT", advice)
    return Finding("model", "ok", text)


def _detector(camera: str, configuration: Settings) -> Finding:
    try:
        return Finding(f"regions {camera}", "ok", detectors.check(camera, configuration))
    except ModelError as error:
        advice = "install it anew: edged models add FILE.tflite --detector --replace"
        return Finding(f"regions {camera}", "warning", str(error), advice)


def _camera(name: str, camera: CameraSettings) -> Finding:
    from edged.camera import open_source, public_source

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
    from edged.mqtt.probe import try_logins

    logins = try_logins(configuration.mqtt, configuration.device.id)
    good = [f"{one.broker} lets us in, MQTT {one.protocol}, {one.ms:.0f} ms" for one in logins if one.error is None]
    bad = [one.error for one in logins if one.error is not None]
    text = "; ".join((*good, *bad))
    if not bad:
        return Finding("broker", "ok", text)
    if good:
        return Finding(
            "broker", "warning", text, "edged uses those that let it in; start the others, or correct mqtt.url"
        )
    advice = "edged would start all the same and connect later; start the broker, or correct mqtt.url and the login"
    return Finding("broker", "failed", text, advice)


def _commands(configuration: Settings) -> Finding:
    from edged.cli.check import whose_commands

    return Finding("commands", "ok", whose_commands(configuration))


def _metrics(configuration: Settings) -> Finding:
    from edged.cli.check import where_metrics_are

    return Finding("metrics", "ok", where_metrics_are(configuration))


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
    missing = [str(path) for path in _KERNEL_FILES if not path.exists()]
    if missing:
        text = f"{text}; there is no {', no '.join(missing)}"
        return Finding("sensors", "warning", text, "mount /proc and /sys: what is missing is absent from the telemetry")
    if sensors.problem is not None:
        return Finding("sensors", "warning", text, sensors.problem)
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
            f"sudo usermod -aG video {_user_name()}, then log in again, or restart the service",
        )
    return Finding("service", "ok", f"runs as {_user_name()}, {len(devices)} video device(s) accessible")


def _print(finding: Finding) -> None:
    mark, colour = {"ok": ("✓", 32), "warning": ("!", 33), "failed": ("✗", 31)}[finding.status]
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    print(f"{mark} {finding.part:<14} {finding.text}", flush=True)
    if finding.advice:
        print(f"  {'':<14} → {finding.advice}", flush=True)
