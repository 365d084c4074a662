"""A model to one device: what of it has to be sent, the sending, and its installation there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from edged.contract.messages import Job
from edged.ctl.client import Client
from edged.ctl.errors import RejectedError
from edged.ctl.jobs import ask, finish
from edged.ctl.parcel import FAMILIARITY, Parcel, read_parcel
from edged.ctl.presence import PATIENCE_S, Presence
from edged.ctl.upload import Upload
from edged.errors import CommandError
from edged.terminal.program import DONE
from edged.terminal.progress import progress
from edged.terminal.text import note

_ON_PATCH = re.compile(r"(^|: )patch [0-9a-f]{12}: ")


@dataclass(frozen=True)
class Installed:
    """What came of a parcel.

    Attributes:
        job: The job that succeeded.
        bytes: What was sent of the model: its size, or that of the patch.
        patched: Whether it was a patch.
    """

    job: Job
    bytes: int
    patched: bool


def install(client: Client, device: str, parcel: Parcel, *, quiet: bool) -> Installed | None:
    """Send a model to one device and let it install it.

    A patch is sent where the device has a model that this workstation has too; where it does not take the patch, the
    whole model is sent.

    Args:
        client: An open client.
        device: Its id.
        parcel: What to send.
        quiet: Do not show how far it is.

    Returns:
        None where it was not installed, which was said on stderr.

    Raises:
        NoAnswerError: The device has gone.
    """
    with Presence(client, device) as presence:
        patch = _patch(client, device, parcel)
        try:
            job = _add(client, device, parcel, presence, patch, quiet=quiet)
            if patch is not None and (why := _why_no_patch(job)) is not None:
                note("edgectl", f"{device} did not take a patch ({why}); it gets the whole model")
                patch = None
                job = _add(client, device, parcel, presence, None, quiet=quiet)
        except CommandError as error:  # the other devices are still asked
            note("edgectl", str(error))
            if "args.familiarity: unknown field" in str(error):
                note("edgectl", f"{device} runs an edged that takes no {FAMILIARITY}; --without-familiarity sends none")
            if re.search(r"args\.(normalisation|size|weights): unknown field", str(error)):
                note("edgectl", f"{device} runs an edged that takes no .onnx file as it was exported")
            return None
    if job is None or finish(job, device) != DONE:
        return None
    return Installed(job, len(parcel.model if patch is None else patch), patched=patch is not None)


def send_bundle(client: Client, device: str, folder: Path, name: str) -> None:
    """Send a bundle to one device and let it install it under a name, in place of an older one.

    Raises:
        RejectedError: It did not succeed; the reason was said on stderr.
        ConfigError: A file of the bundle is missing.
        NoAnswerError: The device has gone.
    """
    if install(client, device, read_parcel(folder, name=name, replace=True), quiet=True) is None:
        raise RejectedError(f"{device} has not installed {name}")


def _why_no_patch(job: Job | None) -> str | None:
    """Return why an installation failed on its patch; None: it did not, or not on that."""
    if job is None:
        return "its edged does not know what a patch is"
    return job.error if job.status != "succeeded" and _ON_PATCH.search(job.error or "") else None


def _patch(client: Client, device: str, parcel: Parcel) -> bytes | None:
    """Return the patch that this device can use; None: the whole model has to be sent."""
    if not parcel.patches:
        return None
    listed = ask(client, device, "models_list", {})
    if listed is None:
        return None
    models = [model for model in (listed.report or {}).get("models") or () if isinstance(model, dict)]
    patch = parcel.patches.smallest({str(model.get("id")) for model in models})
    if patch is None and parcel.patches.named:
        note("edgectl", f"{device} has not the model of --base, or they have little in common; it gets the whole model")
    return patch


def _add(
    client: Client, device: str, parcel: Parcel, presence: Presence, patch: bytes | None, *, quiet: bool
) -> Job | None:
    """Send the model's files, with the patch in place of the model, and follow the installation to its end.

    Returns:
        The job, however it ended; None: the device does not know what a patch is.

    Raises:
        CommandError: It refuses a part, or the command; or it has gone.
    """
    wanted = {**parcel.wanted, "sha256": hashlib.sha256(parcel.model).hexdigest()}
    if parcel.familiarity is not None:  # first: it is the smaller one
        upload = Upload(client, device, parcel.familiarity, f"{parcel.name} {FAMILIARITY}")
        wanted["familiarity"] = upload.run(presence, quiet=quiet)
    if patch is None:
        Upload(client, device, parcel.model, parcel.name).run(presence, quiet=quiet)
        if parcel.weights is not None:  # last: a device that takes no .onnx file has said so
            upload = Upload(client, device, parcel.weights, f"{parcel.name} (weights)")
            wanted["weights"] = upload.run(presence, quiet=quiet)
    else:
        wanted["patch"] = Upload(client, device, patch, f"{parcel.name} (patch)").run(presence, quiet=quiet)
    try:
        ack = client.command(device, "models_add", wanted, timeout_s=max(PATIENCE_S, client.timeout_s))
    except CommandError as error:
        if patch is not None and "args.patch: unknown field" in str(error):
            return None
        raise
    return follow(client, device, ack.id, parcel.name, presence, quiet=quiet)


def follow(client: Client, device: str, command: str, name: str, presence: Presence, *, quiet: bool) -> Job | None:
    """Follow an installation that a device has accepted to its end; return the job, however it ended.

    Args:
        client: An open client.
        device: Its id.
        command: The command's.
        name: What is installed.
        presence: Of the device.
        quiet: Do not show how far it is.
    """
    presence.answered()
    job = None
    with progress(f"{device} {name}", quiet=quiet) as tell:
        for job in client.jobs(command, is_there=presence.is_there):
            presence.answered()
            tell(job.progress, text=job.stage or job.status, stage=job.stage or job.status)
    client.forget(command)
    return job
