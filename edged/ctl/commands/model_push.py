"""`edgectl models push`: a model goes to devices, whole or as the difference from one that they have."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edged.ctl.commands import detector_push, rollouts
from edged.ctl.options import chosen, open_client
from edged.errors import ConfigError
from edged.terminal import onnx_options
from edged.terminal.options import fraction
from edged.terminal.program import FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from edged.contract.messages import Job
    from edged.ctl.client import Client
    from edged.ctl.installation import Installed
    from edged.ctl.parcel import Parcel


_ONE_ID = (
    "a roll-out is of one model that is the same everywhere; let `edged models add` make it on one device, and push "
    "the bundle's folder"
)


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("push", run)
    parser.add_argument("source", metavar="DIR|FILE", type=Path, help="what to send")
    parser.add_argument(
        "--detector", action="store_true", help="it finds boxes (SSD) for a camera's regions, and names nothing"
    )
    parser.add_argument("--labels", metavar="FILE", type=Path, help="one label per line, in the outputs' order")
    parser.add_argument("--name", metavar="N", help="what to call it (else the file's name)")
    parser.add_argument(
        "--crop",
        type=fraction,
        metavar="F",
        help="part of the shorter side that is looked at (as its manifest says, else 0.875)",
    )
    parser.add_argument(
        "--without-familiarity",
        action="store_true",
        help="leave familiarity.npz out: the model will call nothing unknown",
    )
    parser.add_argument("--replace", action="store_true", help="take the place of a model of this name")
    parser.add_argument("--use", action="store_true", help="let it answer at once; a roll-out does so anyway")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--base",
        metavar="DIR|FILE",
        type=Path,
        help="a model that the devices have; what differs from it is sent (else what lies beside, came with edged, or "
        "was pushed from here before)",
    )
    how.add_argument("--whole", action="store_true", help="send the whole model in any case")
    onnx_options.add_arguments(parser)
    rollouts.add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Send a model to devices and install it.

    A bundle's folder (model.tflite, labels.txt, manifest.json, and familiarity.npz, by which it knows what it was not
    taught), or a classifier's file and its labels: a quantized .tflite file, or an .onnx file as PyTorch exports it,
    for devices with ONNX Runtime. It does not answer before `edgectl models use NAME`, or with --use. A slow device is
    waited for as long as it is there.

    An .onnx file may hold real numbers or be quantized (QDQ). How pixels become its input is read from its metadata, or
    said by --mean and --std, as shares of full scale. The device makes of it a file that takes RGB bytes, by the photos
    that come with edged, and gives that one an id of its own. For one id on all devices, let `edged models add` make it
    on one, and push the bundle's folder.

    Where a device has a model that lies on this workstation too, as the backbone that the new one was retrained from,
    only the difference is sent: kilobytes. The device makes the same file of it, or refuses.

    With --detector it is a .tflite file that finds boxes, for cameras with regions = "detector:NAME".

    With --canary or --waves it is a roll-out: some devices get the model, answer with it, and are watched for --hold.
    The next ones get it only if latency, frame rate and familiarity have held, and none has a new alert, has started
    again, is offline or went back by itself. A device with labeled images judges the model by those of its test side
    before the model answers there, and where accuracy falls it never does. Otherwise all get their old models back, and
    the exit code is 1. Its state is in a file: the same command, or `edgectl rollout resume ID`, goes on with it.

    Examples:
      edgectl models push ./my_model
      edgectl models push birds.tflite --labels birds.txt --name birds
      edgectl models push birds.onnx --labels birds.txt --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225
      edgectl models push ssd_mobilenet_v2.tflite --detector --name things
      edgectl --device 'line-*' models push ./my_model --canary 5% --hold 10m
      edgectl --device all models push ./my_model --canary 2 --waves 10%,50%,100% --hold 1h
    """
    from edged.ctl.fleet import addressed
    from edged.ctl.patches import keep

    if args.detector:
        return detector_push.run(args, rolled_out=rollouts.asked_for(args))
    if rollouts.asked_for(args):
        return rollouts.begin(args)
    parcel = _read(args)
    with open_client(args) as client:
        devices = addressed(client, chosen(args))
        worst = devices.code
        for device, installed in _install_each(client, devices, parcel, quiet=args.json):
            if installed is None or not (_use(client, device, installed) if args.use else True):
                worst = FAILED
            else:
                _show(device, installed, as_json=args.json, answers=args.use)
    keep(parcel.model)
    return worst


def _install_each(
    client: Client, devices: Sequence[str], parcel: Parcel, *, quiet: bool
) -> Iterator[tuple[str, Installed | None]]:
    """Yield each device and what came of it; of a single one the whole way is shown, of many how many have ended."""
    from edged.ctl.each import for_each
    from edged.ctl.installation import install
    from edged.ctl.jobs import unanswered_is_told
    from edged.terminal.progress import progress

    alone = len(devices) == 1
    act = unanswered_is_told(devices, lambda device: install(client, device, parcel, quiet=quiet or not alone))
    if alone:
        yield from for_each(devices, act)
        return
    with progress(f"{parcel.name} to {len(devices)} devices", unit="items", quiet=quiet) as tell:
        for ended, (device, installed) in enumerate(for_each(devices, act), 1):
            tell(ended, len(devices))
            yield device, installed


@dataclass(frozen=True)
class Prepared:
    """A model that is ready to be sent.

    Attributes:
        id: That devices will give it.
        name: That it will have there.
        send: Sends it to a device, which installs it, and returns the job; None where it did not, which was said on
            stderr.
    """

    id: str
    name: str
    send: Callable[[Client, str], Job | None]


def prepare(args: argparse.Namespace) -> Prepared:
    """Read what `models push` shall send.

    Raises:
        ConfigError: A file is missing or is not what it should be; names it.
    """
    from edged.ctl.installation import install
    from edged.ctl.patches import keep
    from edged.terminal.text import note

    if args.mean or args.size:
        raise ConfigError(f"--{'mean' if args.mean else 'size'}: each device makes a file of its own by it; {_ONE_ID}")
    parcel = _read(args)
    keep(parcel.model)
    id_ = hashlib.sha256(parcel.model).hexdigest()[:12]

    def send(client: Client, device: str) -> Job | None:
        installed = install(client, device, parcel, quiet=True)
        if installed is None or (there := (installed.job.report or {}).get("id")) == id_:
            return None if installed is None else installed.job
        note("edgectl", f"{device} has made {there} out of {args.source}: {_ONE_ID}")
        return None

    return Prepared(id_, parcel.name, send)


def _use(client: Client, device: str, installed: Installed) -> bool:
    """Let what was installed answer; whether it does: why not was said on stderr."""
    from edged.ctl.jobs import ask

    return ask(client, device, "models_use", {"model": str((installed.job.report or {}).get("id"))}) is not None


def _show(device: str, installed: Installed, *, as_json: bool, answers: bool) -> None:
    from edged.terminal.text import print_json, print_line

    told = {"device": device, "sent_bytes": installed.bytes, "patch": installed.patched}
    if as_json:
        print_json({**told, **installed.job.model_dump(exclude_none=True, mode="json")})
        return
    report = installed.job.report or {}
    name, size = report.get("name"), installed.bytes
    sent = f"; {size / 1e3:.1f} kB were sent, what differs from a model that it has" if installed.patched else ""
    then = "it answers" if answers else f"`edgectl models use {name}` lets it answer"
    print_line(f"{device}: {name} ({report.get('id')}) installed{sent}; {then}")


def _read(args: argparse.Namespace) -> Parcel:
    from edged.ctl.parcel import read_parcel

    return read_parcel(
        args.source,
        labels=args.labels,
        name=args.name,
        replace=args.replace,
        without_familiarity=args.without_familiarity,
        base=args.base,
        whole=args.whole,
        crop=args.crop,
        normalisation=onnx_options.normalisation(args),
        size=args.size,
    )
