"""Looking at things as the installed service will see them: as its user, under the rules of its unit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edged.errors import EdgedError

if TYPE_CHECKING:
    from edged.cli.unit import Unit
    from edged.settings import Settings

_LEFT_OUT = frozenset(
    {
        *("Type", "NotifyAccess", "PIDFile", "BusName", "RemainAfterExit", "GuessMainPID", "NonBlocking", "Sockets"),
        *("SuccessExitStatus", "FailureAction", "SuccessAction", "OOMPolicy", "KillMode", "KillSignal", "SendSIGKILL"),
        *("StandardInput", "StandardOutput", "StandardError", "SyslogIdentifier", "RemoveIPC", "WorkingDirectory"),
    }
)
"""How the service is started, watched and ended: nothing that decides what it may see. RemoveIPC= would take away what
the running service uses."""
_LEFT_OUT_BEGIN = (
    "Exec",
    "Restart",
    "Timeout",
    "Watchdog",
    "StartLimit",
    "RuntimeDirectory",
    "TTY",
    "FileDescriptorStore",
)
_OWN_RUNTIME_DIR = "edged-doctor"
"""/run/edged belongs to the running service; systemd would remove it when the check ends."""
_LIMIT_S = 300
_NOT_EXECUTED = 203
"""systemd's exit code where it could not execute the program, see systemd.exec(5)."""


class NotTriedError(Exception):
    """systemd could not be asked; the text says why."""


def is_booted() -> bool:
    """Whether systemd runs this machine, see sd_booted(3)."""
    return Path("/run/systemd/system").is_dir() and shutil.which("systemd-run") is not None


def hidden(service: Unit, settings: Settings, config: Path | None) -> list[str]:
    """Return which files and folders of the configuration the unit's rules hide or close, and by what."""
    found = []
    for name, path, writes in _named(settings, config):
        resolved = path.resolve()
        rule = service.forbids_writing(resolved) if writes else service.hides(resolved)
        if rule is not None:
            found.append(f"{name} {path} ({rule})")
    return found


def run_inside(service: Unit, arguments: list[str], *, candidate: bool = False) -> Iterator[dict[str, Any]]:
    """Run `edged ARGUMENTS` as the service's user under its unit's rules; yield what it prints, one object a line.

    Args:
        service: The unit.
        arguments: A command that prints JSON lines and ends with 0 or 1.
        candidate: Whether to run the edged that this process is, rather than the one that the unit starts.

    Raises:
        NotTriedError: systemd does not take it.
        EdgedError: It was started, or was to be, and ended without doing its work.
    """
    command = [service.command[0]] if service.command and Path(service.command[0]).name == "edged" else []
    if candidate or not command or not Path(command[0]).exists():
        command = [sys.executable, "-m", "edged"]
    properties = _properties(service)
    while True:
        errors: list[str] = []
        code = yield from _run(properties, [*command, *arguments], errors)
        said = [line.strip() for line in errors if line.strip()] or [f"exit code {code}"]
        unknown = re.match(r"Unknown assignment: (.*)", said[-1])
        if code != 1 or unknown is None or unknown[1] not in properties:
            break
        properties.remove(unknown[1])  # as in the unit's own file, where systemd passes over what it does not know
    if code == _NOT_EXECUTED:
        raise EdgedError(f"{command[0]} cannot be started under these rules; Python must not lie below /home or /root")
    if code not in (0, 1) and said[-1].startswith("edged: "):
        raise EdgedError(said[-1].removeprefix("edged: "))
    if code not in (0, 1) or said[-1].startswith(("Failed to", "Unknown assignment")):
        raise NotTriedError(said[-1])


def _properties(service: Unit) -> list[str]:
    """Return the unit's lines that decide what its process may see and do."""
    runtime_dirs = [f"/run/{name}" for line in service.every("RuntimeDirectory") for name in line.split()]
    properties = [f"RuntimeDirectory={_OWN_RUNTIME_DIR}", "RuntimeDirectoryMode=0700", f"RuntimeMaxSec={_LIMIT_S}"]
    for key, value in service.assignments:
        if key in _LEFT_OUT or key.startswith(_LEFT_OUT_BEGIN):
            continue
        if key == "Environment":
            for folder in runtime_dirs:
                value = value.replace(f"={folder}", f"=/run/{_OWN_RUNTIME_DIR}")  # noqa: PLW2901 - the same value
        properties.append(f"{key}={value}")
    return properties


def _run(properties: list[str], command: list[str], errors: list[str]) -> Generator[dict[str, Any], None, int]:
    """Run a command in a unit of its own; yield its JSON lines, gather the others, return its exit code."""
    options = [word for each in properties for word in ("--property", each)]
    unit_name = f"{_OWN_RUNTIME_DIR}-{os.getpid()}"
    call = ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--unit", unit_name, *options, "--", *command]
    with subprocess.Popen(
        call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None  # noqa: PT018 - both are pipes
        listener = threading.Thread(target=errors.extend, args=(process.stderr,), name="errors", daemon=True)
        listener.start()
        for line in process.stdout:
            try:
                yield json.loads(line)
            except ValueError:
                errors.append(line)
        code = process.wait()
        listener.join()
    return code


def _named(settings: Settings, config: Path | None) -> Iterator[tuple[str, Path, bool]]:
    """Yield what the configuration names: key, path, whether it is written to."""
    if config is not None:
        yield "configuration", config, False
    yield "storage.state_dir", settings.storage.state_dir, True
    for key, path in login_files(settings):
        yield key, path, False
    for name, camera in settings.cameras.items():
        parts = urlsplit(camera.source.strip())
        if parts.scheme in ("file", "dir"):
            yield f"cameras.{name}.source", Path(camera.source.strip().partition("://")[2]).expanduser(), False
        elif not parts.scheme and camera.source.startswith("/") and not camera.source.startswith("/dev/"):
            yield f"cameras.{name}.source", Path(camera.source), False


def login_files(settings: Settings) -> list[tuple[str, Path]]:
    """Return the files of `[mqtt]`: key, path."""
    keys = ("password_file", "ca_file", "cert_file", "key_file")
    return [(f"mqtt.{key}", path) for key in keys if (path := getattr(settings.mqtt, key)) is not None]
