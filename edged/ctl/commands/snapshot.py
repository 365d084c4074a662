"""`edgectl snapshot`: the newest frame of a camera as a JPEG, and what it was classified as."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.ctl.options import chosen, open_client
from edged.errors import ConfigError
from edged.terminal.program import FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.ctl.client import Client


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("snapshot", run)
    parser.add_argument("--camera", metavar="C", help="which camera (else the device's choice)")
    parser.add_argument("--quality", metavar="Q", type=int, help="JPEG quality, 1 to 100 (90)")
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        help="where to write it; a folder takes a file of the usual name (DEVICE-CAMERA-TIME.jpg)",
    )


def run(args: argparse.Namespace) -> int:
    """Fetch a camera's newest frame as a JPEG, with its prediction.

    With --device all: one from every device that is online.

    Examples:
      edgectl snapshot
      edgectl --device tx2-01 snapshot --camera door -o door.jpg
      edgectl --device all snapshot -o photos/
    """
    from edged.ctl.each import for_each
    from edged.ctl.fleet import addressed
    from edged.ctl.jobs import unanswered_is_told
    from edged.terminal.text import print_json, print_line

    if args.quality is not None and not 1 <= args.quality <= 100:
        raise ConfigError(f"--quality {args.quality}: use 1 to 100")
    _check_output(args.output)
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        if len(devices) > 1 and args.output and not _is_folder(args.output):
            raise ConfigError(f"-o {args.output}: {len(devices)} devices answer; name a folder (with a / at its end)")
        fetch = unanswered_is_told(devices, lambda device: _fetch(client, device, args))
        for _, got in for_each(devices, fetch):
            if got is None:
                worst = FAILED
            elif args.json:
                print_json(got)
            else:
                seen = f"  {got['label']} {got['score']:.2f}" if got["label"] and got["score"] is not None else ""
                print_line(f"{got['file']}{seen}")
    return worst


def _fetch(client: Client, device: str, args: argparse.Namespace) -> dict[str, Any] | None:
    """Send the command, write the file, return what `--json` prints; None where the device's job failed."""
    from edged.contract.messages import timestamp
    from edged.ctl.jobs import ask

    job = ask(client, device, "snapshot", {"camera": args.camera, "quality": args.quality}, keep_image=True)
    if job is None:
        return None
    # The job and the image are two topics: either may come first.
    jpeg = client.image(job.id)
    client.forget(job.id)
    report = job.report or {}
    camera = str(report.get("camera") or args.camera or "camera")
    taken = str(report.get("ts") or timestamp())
    path = _path(args.output, f"{_safe(device)}-{_safe(camera)}-{_safe(re.sub(r'[-:]', '', taken))}.jpg")
    write(path, jpeg)
    score = report.get("score")
    return {
        "device": device,
        "camera": camera,
        "file": str(path),
        "bytes": len(jpeg),
        "ts": taken,
        "label": str(report["label"]) if "label" in report else None,
        "score": float(score) if isinstance(score, int | float) else None,
        "id": job.id,
    }


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        ConfigError: The folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # mkstemp's own mode is for secrets
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise ConfigError(f"{path}: cannot write: {(error.strerror or str(error)).lower()}") from error


def _is_folder(output: str) -> bool:
    return output.endswith(os.sep) or Path(output).is_dir()


def _check_output(output: str | None) -> None:
    """Tell before the device is asked."""
    if output and not _is_folder(output) and not Path(output).absolute().parent.is_dir():
        raise ConfigError(f"-o {output}: no folder {Path(output).parent}")


def _path(output: str | None, name: str) -> Path:
    if not output:
        return Path(name)
    return Path(output) / name if _is_folder(output) else Path(output)


def _safe(part: str) -> str:
    """Turn what came from the wire into a part of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", part).lstrip(".")[:64] or "_"
