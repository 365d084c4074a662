"""The steps of `edgectl learn`: fetch what devices share, let a child process train, offer the head to a device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from edged.contract.messages import Job
from edged.contract.reports import Bottlenecks, Judgement, ReportPart
from edged.ctl.client import Client
from edged.ctl.download import Download
from edged.ctl.errors import RejectedError
from edged.ctl.head import Head
from edged.ctl.installation import send_bundle
from edged.ctl.presence import Presence
from edged.ctl.upload import Upload
from edged.errors import CommandError, ConfigError, first_mistake
from edged.terminal.progress import Tell

R = TypeVar("R", bound=ReportPart)

_JUDGES = "judges.bin"
_MOST_BYTES = 512 * 2**20
_TRAINING = "edged.lab.together"
"""The module that trains; it is no part of edgectl, and is run as a process of its own."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a device shares: what it tells of it, and the file's content."""

    told: Bottlenecks
    data: bytes


def fetch(client: Client, device: str, noise: tuple[float, float] | None, tell: Callable[[float], None]) -> Answer:
    """Let a device make its bottlenecks ready, and fetch them.

    Args:
        client: An open client.
        device: Its id.
        noise: Clip and sigma, see `cmd/bottlenecks_get`; None: none.
        tell: Called with the share 0..1 that is done.

    Raises:
        RejectedError: It refuses, or failed.
        NoAnswerError: It has gone.
    """
    wanted = {} if noise is None else {"clip": noise[0], "sigma": noise[1]}
    try:
        job = run_job(client, device, "bottlenecks_get", wanted, lambda job: tell(job.progress / 2))
    except RejectedError as error:
        if "unknown command" in str(error):
            raise RejectedError(f"{device}: its edged is older than this edgectl: it shares no bottlenecks") from error
        raise
    told = _read(Bottlenecks, job, device)
    if not 0 < told.bytes <= _MOST_BYTES:
        raise RejectedError(f"{device}: {told.bytes} bytes of bottlenecks; at most {_MOST_BYTES} are fetched")
    with Presence(client, device) as presence:
        data = Download(client, device, told.sha256, told.bytes).run(
            presence, lambda have, of: tell(0.5 + have / of / 2)
        )
    return Answer(told, data)


def train(
    answers: Mapping[str, Answer],
    hyperparameters: Mapping[str, Any],
    name: str,
    run: str,
    tell: Tell,
) -> tuple[Head, dict[str, Any]]:
    """Train one head in a child process, and keep it.

    Args:
        answers: Device → what it shares.
        hyperparameters: What was given, by name.
        name: Of the head.
        run: Name of the training.
        tell: Told the share that is done, and the stage.

    Returns:
        The head, and what the training tells: `report`, `images`, `left_out`, `twice`, `contradictory`, `seconds`.

    Raises:
        ConfigError: The full edged is not installed beside this edgectl.
        CommandError: The training was refused or failed.
    """
    draft = Head.draft(name)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number, (device, answer) in enumerate(answers.items()):
            files[device] = str(Path(folder, f"{number}.bin"))
            Path(files[device]).write_bytes(answer.data)
        request = {"files": files, "out": str(draft), "run": run, "hyperparameters": dict(hyperparameters)}
        try:
            outcome = _run_child(request, tell)
            model = str(outcome["report"]["model"])
            network, sha256 = outcome["backbone"]  # what devices say of it names no folder here
            head = Head.keep(name, (str(network), str(sha256)), model, draft)
        finally:
            with suppress(OSError):  # it has been moved, or is empty; what a failed training has left is small
                draft.rmdir()
    return head, outcome


def offer(
    client: Client,
    device: str,
    head: Head,
    name: str,
    *,
    accept: bool,
    untested: bool,
    tell: Callable[[float, str], None],
) -> Judgement:
    """Send a head to a device and let the device judge it.

    Args:
        client: An open client.
        device: Its id.
        head: The head.
        name: Under which it is installed there.
        accept: Whether the device takes it, too, where too few of its images tell.
        untested: Whether the device takes it where it has no image to judge by.
        tell: Called with the share 0..1 that is done, and what is done.

    Raises:
        RejectedError: It refuses, or failed.
        NoAnswerError: It has gone.
    """
    tell(0.0, "sending")
    if not _has(client, device, name, head.model):
        send_bundle(client, device, head.bundle, name)
    judges = _send_judges(client, device, head)
    wanted = {"model": name, "judges": judges, "accept": accept or None, "untested": untested or None}
    job = run_job(
        client, device, "models_judge", wanted, lambda job: tell(0.5 + job.progress / 2, job.stage or job.status)
    )
    return _read(Judgement, job, device)


def _send_judges(client: Client, device: str, head: Head) -> str | None:
    """Send the heads that judge for a head; returns their sha256, None: there are none."""
    path = head.bundle / _JUDGES
    if not path.is_file():
        return None
    with Presence(client, device) as presence:
        return Upload(client, device, path.read_bytes(), _JUDGES).run(presence, quiet=True)


def run_job(
    client: Client, device: str, cmd: str, wanted: Mapping[str, Any], tell: Callable[[Job], None] = lambda _: None
) -> Job:
    """Send a command to a device and wait for the end of its job, as long as the device is there.

    Raises:
        RejectedError: It did not succeed.
        NoAnswerError: The device has gone.
    """
    with Presence(client, device) as presence:
        ack = client.command(device, cmd, wanted)
        presence.answered()
        for job in client.jobs(ack.id, is_there=presence.is_there):
            presence.answered()
            tell(job)
    client.forget(ack.id)
    if job.status != "succeeded":
        raise RejectedError(f"{device}: {cmd} {job.status}: {job.error or 'it gives no reason'}")
    return job


def _has(client: Client, device: str, name: str, model: str) -> bool:
    """Tell whether a model is installed on a device under a name."""
    report = run_job(client, device, "models_list", {}).report or {}
    models = [one for one in report.get("models") or () if isinstance(one, dict)]
    return any((one.get("name"), one.get("id"), one.get("kind")) == (name, model, "installed") for one in models)


def _read(kind: type[R], job: Job, device: str) -> R:
    from edged.terminal.text import harmless

    try:
        return kind.model_validate(harmless(job.report or {}))
    except ValidationError as error:
        raise RejectedError(
            f"{device}: its report of {job.cmd} is of another form ({first_mistake(error).key})"
        ) from error


def _run_child(request: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Run the training as `edged.jobs.process` runs a child: a request in, a line of JSON a message out."""
    envelope = json.dumps({"parent": os.getpid(), "memory": None, "request": request}).encode()
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        asked.write(envelope)
        asked.seek(0)
        with subprocess.Popen(
            [sys.executable, "-m", _TRAINING],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=said,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        ) as process:
            assert process.stdout is not None  # a pipe, see above
            for line in process.stdout:
                message = json.loads(line)
                if "outcome" in message:
                    outcome: dict[str, Any] = message["outcome"]
                    return outcome
                if "error" in message:
                    kind, text = message["error"]
                    internal = not kind.endswith("Error") or kind in ("KeyError", "ValueError", "TypeError")
                    raise CommandError(f"training: {f'internal error ({kind}: {text})' if internal else text}")
                progress = message.get("progress") or {}
                tell(float(progress.get("fraction", 0.0)), text=str(progress.get("stage", "")))
        said.seek(0)
        lines = said.read().decode(errors="replace").strip().splitlines()
    if lines and "No module named" in lines[-1]:
        raise ConfigError(
            "learn: the head is trained on this workstation, which needs the whole edged here: pip install edged"
        )
    last = f": {lines[-1][:200]}" if lines else ""
    raise CommandError(f"training: its process ended without a result (exit code {process.returncode}){last}")


def by_backbone(answers: Mapping[str, Answer]) -> dict[str, dict[str, Answer]]:
    """Return hash of the network's file → the devices that have it, the network of the most devices first."""
    groups: dict[str, dict[str, Answer]] = {}
    for device, answer in answers.items():
        groups.setdefault(answer.told.backbone_sha256, {})[device] = answer
    return dict(sorted(groups.items(), key=lambda group: -len(group[1])))


def check_same_backbone(groups: Mapping[str, Mapping[str, Answer]]) -> None:
    """Make sure that all devices have the same network.

    Raises:
        CommandError: Names the devices that have another one than most.
    """
    if len(groups) < 2:
        return
    told = [
        f"{answers[next(iter(answers))].told.backbone} ({sha256[:12]}): {', '.join(answers)}"
        for sha256, answers in groups.items()
    ]
    raise CommandError(
        f"the devices have different networks, whose bottlenecks do not belong together: {'; '.join(told)}. "
        "--group-by-backbone trains a head for each, or leave devices out (--device)"
    )


def canaries(devices: Sequence[str], images: Mapping[str, int], count: int) -> list[str]:
    """Return the devices that judge first: those with the most images, by which they can judge best."""
    able = sorted((device for device in devices if images.get(device)), key=lambda device: -images[device])
    return able[:count]
