"""`edgectl learn`: one head of the images of many devices, whose photos stay where they are."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from edged.ctl.options import chosen, open_client
from edged.errors import CommandError, ConfigError
from edged.plural import counted
from edged.terminal.options import add_accept, add_hyperparameters, given_hyperparameters
from edged.terminal.program import DONE, FAILED
from edged.terminal.registry import Commands

if TYPE_CHECKING:  # imported when the command runs
    from collections.abc import Mapping, Sequence

    from edged.contract.reports import Judgement
    from edged.ctl.client import Client
    from edged.ctl.head import Head
    from edged.ctl.together import Answer

LEVELS = {"low": (25.0, 0.05), "medium": (25.0, 0.2), "high": (25.0, 0.4)}
"""Name of a level of --private → clip, the median norm of a photo's bottleneck of the shipped network, and sigma."""
_THE_DEVICES_OWN = ("augment", "min_accuracy", "tolerance")


def register(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add("learn", run)
    add_hyperparameters(parser)
    parser.add_argument("--name", metavar="N", default="together", help="what the model is called (together)")
    parser.add_argument("--canary", metavar="N", type=_number, default=1, help="so many devices judge first (1)")
    add_accept(parser)
    parser.add_argument(
        "--group-by-backbone", action="store_true", help="a head for each network, where devices have different ones"
    )
    parser.add_argument(
        "--private",
        metavar="LEVEL",
        type=_noise,
        help="noise on what leaves the devices: low, medium, high, or CLIP,SIGMA",
    )
    parser.add_argument(
        "--again", action="store_true", help="train nothing: devices that joined later get the head that was made last"
    )


def run(args: argparse.Namespace) -> int:
    """Train one final layer on the images of many devices; no photo moves.

    Every device (all that are online, where --device names none) sends the bottlenecks and labels of its labeled
    images, about a kilobyte an image; this machine trains one head as `edged retrain` does, and every device judges it
    by its own images beside the model that answers. Where it is better, or shown to be not much worse, it answers; a
    device that it would make worse, or that cannot tell, keeps its own and is named, and the exit code is 1. The device
    with the most images judges first (--canary N: so many): where all of these refuse it, the others are not asked. A
    device without images takes it if more devices have taken than refused it. The training needs the whole edged on
    this machine.

    Examples:
      edgectl --device 'line-*' learn
      edgectl --device all learn --lr 0.1 --canary 2 --accept
      edgectl --device line-9 learn --again
      edgectl --device 'line-*' learn --private medium
    """
    from edged.ctl.choice import ALL, Choice
    from edged.ctl.fleet import addressed
    from edged.ctl.head import claimed

    given = given_hyperparameters(args)
    if refused := [name for name in _THE_DEVICES_OWN if name in given]:
        flag = refused[0].replace("_", "-")
        why = "needs the photos, which stay where they are" if flag == "augment" else "is each device's own ([retrain])"
        raise ConfigError(f"learn: --{flag} {why}")
    _check_name(args.name)
    if args.again and (given or args.private):
        raise ConfigError("learn --again trains nothing: give no hyperparameters and no --private with it")
    with claimed(args.name), open_client(args) as client:
        devices = addressed(client, chosen(args) or Choice.parse(ALL))
        if args.again:
            return max(devices.code, _again(client, devices, args))
        return max(devices.code, _learn(client, devices, given, args))


def _learn(client: Client, devices: Sequence[str], given: dict[str, Any], args: argparse.Namespace) -> int:
    from edged.ctl import together
    from edged.terminal.text import note

    answers = _fetch(client, devices, args)
    code = DONE if len(answers) == len(devices) else FAILED
    if not answers:
        return code
    groups = together.by_backbone(answers)
    if not args.group_by_backbone:
        together.check_same_backbone(groups)
    for group in groups.values():
        try:
            code = max(code, _learn_group(client, group, given, args))
        except CommandError as error:
            if len(groups) == 1:
                raise
            note("edgectl", str(error))  # the other networks' heads are still made
            code = FAILED
    return code


def _learn_group(client: Client, group: Mapping[str, Answer], given: dict[str, Any], args: argparse.Namespace) -> int:
    """Train one head on what devices with one network share, and offer it to them."""
    from edged.ctl import together
    from edged.terminal.progress import progress

    with_images = {device: answer for device, answer in group.items() if answer.told.images}
    if not with_images:
        raise CommandError(f"no labeled image on {', '.join(group)}; `edgectl images push` sends some")
    with progress("training", quiet=args.json) as tell:
        head, outcome = together.train(with_images, given, args.name, uuid4().hex, tell)
    _tell_training(head, outcome, args)
    code = FAILED if outcome["left_out"] else DONE
    return max(code, _offer(client, head, {device: answer.told.images for device, answer in group.items()}, args))


def _fetch(client: Client, devices: Sequence[str], args: argparse.Namespace) -> dict[str, Answer]:
    """Return device → what it shares; who does not was told of on stderr."""
    from edged.ctl import together
    from edged.ctl.each import for_each
    from edged.ctl.errors import NoAnswerError
    from edged.terminal.progress import progress
    from edged.terminal.text import note, print_json, print_line

    answers: dict[str, Answer] = {}
    shares = dict.fromkeys(devices, 0.0)
    with progress(f"bottlenecks of {counted(len(devices), 'device')}", quiet=args.json) as tell:

        def fetch(device: str) -> Answer | None:
            def show(share: float) -> None:
                shares[device] = share
                tell(sum(shares.values()) / len(shares), stage="bottlenecks")

            try:
                return together.fetch(client, device, args.private, show)
            except (CommandError, NoAnswerError) as error:  # the other devices are still asked
                note("edgectl", str(error) if device in str(error) else f"{device}: {error}")
                return None

        for device, answer in for_each(devices, fetch):
            if answer is None:
                continue
            answers[device] = answer
            told = answer.told
            if args.json:
                print_json({"device": device, "shared": told.to_json()})
            else:
                photos = "" if not told.photo_bytes else f" in place of {_bytes(told.photo_bytes)} of photos"
                print_line(f"{device}: {counted(told.images, 'image')}, {_bytes(told.bytes)}{photos}")
    return answers


def _tell_training(head: Head, outcome: Mapping[str, Any], args: argparse.Namespace) -> None:
    from edged.terminal.text import note, percent, print_json, print_line

    report = outcome["report"]
    for device, why in outcome["left_out"].items():
        note("edgectl", f"{device}: left out: {why}")
    if args.json:
        told = ("report", "images", "left_out", "twice", "contradictory", "seconds")
        print_json({"model": head.model, "name": args.name, **{key: outcome[key] for key in told}})
        return
    counts = report.get("counts") or {}
    images, devices = counted(sum(counts.values()), "image"), counted(len(outcome["images"]), "device")
    parts = [
        f"{args.name} ({head.model}): {images} of {devices}, "
        f"{counted(len(counts), 'label')}, {outcome['seconds']:.1f} s"
    ]
    accuracy = report.get("accuracy") or {}
    if accuracy.get("cross_validated") is not None:
        parts.append(f"cross-validated {percent(accuracy['cross_validated'])}")
    if outcome["twice"]:
        parts.append(f"{outcome['twice']} were there twice")
    if outcome["contradictory"]:
        parts.append(f"{outcome['contradictory']} left out: two devices call them by different labels")
    print_line("; ".join(parts))
    for label, why in (report.get("left_out") or {}).items():
        print_line(f"not learned: {label}: {why}")


def _again(client: Client, devices: Sequence[str], args: argparse.Namespace) -> int:
    """Offer the heads that were made last to devices that do not answer with one."""
    from edged.ctl.fleet import look
    from edged.ctl.head import Head, folder_of
    from edged.terminal.text import note, print_line

    heads = Head.read(args.name)
    if not heads:
        raise ConfigError(f"learn --again: no head {args.name} was made here yet ({folder_of(args.name)})")
    fleet = look(client, chosen(args))
    code = DONE
    wanted: dict[str, list[str]] = {head.model: [] for head in heads}
    for device in devices:
        model = fleet.devices[device].model if device in fleet.devices else None
        fitting = [head for head in heads if model is not None and model.backbone == head.backbone]
        if model is None or not fitting:
            known = ", ".join(head.backbone for head in heads)
            own = "nothing is known of its model" if model is None else f"its network is {model.backbone}"
            note("edgectl", f"{device}: {own}, and there is a head for {known}")
            code = FAILED
        elif model.id == fitting[0].model:
            if not args.json:
                print_line(f"{device}: answers with {args.name} ({model.id}) already")
        else:
            wanted[fitting[0].model].append(device)
    for head in heads:
        if wanted[head.model]:
            code = max(code, _offer(client, head, dict.fromkeys(wanted[head.model], 0), args))
    return code


def _offer(client: Client, head: Head, images: Mapping[str, int], args: argparse.Namespace) -> int:
    """Let devices judge a head, canaries first; those without images come last. Returns the exit code."""
    from edged.ctl import together
    from edged.terminal.text import note

    first = together.canaries(list(images), images, args.canary)
    taken = _ask(client, first, head, args, "canary")
    if first and not any(taken.get(device, False) is not False for device in first):
        left = [device for device in images if device not in first]
        if left:
            note("edgectl", f"the others keep their own, too, and were not asked: {', '.join(left)}")
        return FAILED
    rest = [device for device in images if device not in first]
    taken |= _ask(client, [device for device in rest if images[device]], head, args)
    taken |= _ask(client, [device for device in rest if not images[device]], head, args)
    return DONE if all(taken[device] for device in images) else FAILED


def _ask(
    client: Client, devices: Sequence[str], head: Head, args: argparse.Namespace, role: str = ""
) -> dict[str, bool | None]:
    """Offer a head to some devices; returns whether each answers with it, None: it cannot tell, and keeps its own."""
    from edged.ctl import together
    from edged.ctl.each import for_each
    from edged.ctl.errors import NoAnswerError
    from edged.terminal.progress import progress
    from edged.terminal.text import note, print_json

    taken: dict[str, bool | None] = {}
    shares = dict.fromkeys(devices, 0.0)
    if not devices:
        return taken
    untested = head.trusted  # by what was said before: while these are asked, no thread may look
    with progress(f"offer to {counted(len(devices), role or 'device')}", quiet=args.json) as tell:

        def ask(device: str) -> Judgement | None:
            def show(share: float, stage: str) -> None:
                shares[device] = share
                tell(sum(shares.values()) / len(shares), text=stage if len(shares) == 1 else "", stage="offer")

            try:
                return together.offer(client, device, head, args.name, accept=args.accept, untested=untested, tell=show)
            except (CommandError, NoAnswerError) as error:  # the other devices are still asked
                text = str(error) if device in str(error) else f"{device}: {error}"
                note("edgectl", text)
                head.said(device, {"error": text})
                return None

        for device, judgement in for_each(devices, ask):
            if judgement is None:
                taken[device] = False
                continue
            head.said(device, judgement.to_json())
            undecided = judgement.decision.verdict == "undecided"
            taken[device] = True if judgement.answers else None if undecided else False
            if args.json:
                print_json({"device": device, "judgement": judgement.to_json()})
            else:
                _tell_judgement(device, judgement, role)
    head.establish()
    return taken


def _tell_judgement(device: str, judgement: Judgement, role: str) -> None:
    from edged.terminal.text import print_line

    who = f"{device} ({role})" if role else device
    verdict, reason = judgement.decision.verdict, judgement.decision.reason
    if judgement.answers:
        print_line(f"{who}: {judgement.name} ({judgement.model}) answers: {reason}")
    else:
        print_line(f"{who}: keeps its own, {verdict}: {reason}")


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _noise(text: str) -> tuple[float, float]:
    """Parse a level of noise (an argparse type)."""
    from edged.terminal.options import positive

    if text in LEVELS:
        return LEVELS[text]
    clip, comma, sigma = text.partition(",")
    if not comma:
        raise argparse.ArgumentTypeError(f"{text!r}: use {', '.join(LEVELS)}, or CLIP,SIGMA, e.g. 25,0.1")
    return positive(clip), positive(sigma)


def _check_name(name: str) -> None:
    import re

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise ConfigError(f"--name {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', beginning with one of both")
