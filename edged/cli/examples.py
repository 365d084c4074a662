"""An example or two for every page of help."""

from __future__ import annotations

import argparse
import textwrap

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("edged demo", "edged doctor --config /etc/edged/edged.toml", "edged classify photo.jpg"),
    "run": ("edged run --config /etc/edged/edged.toml", "edged run --trace trace.json"),
    "classify": ("edged classify photo.jpg", "edged classify --model inception_v3 --top 3 --json photos/*.jpg"),
    "models": ("edged models list", "edged models pull inception_v3"),
    "models list": ("edged models list", "edged models list --json"),
    "models show": ("edged models show mobilenet_v2",),
    "models pull": ("edged models pull inception_v3",),
    "models verify": ("edged models verify",),
    "models add": ("edged models add birds.tflite --labels birds.txt --name birds",),
    "models use": ("edged models use inception_v3", "edged models use 7acac0195403"),
    "models remove": ("edged models remove birds",),
    "retrain": ("edged retrain --images photos/ --lr 0.1", "edged retrain --images photos/ --out flowers --json"),
    "rollback": ("edged rollback",),
    "sources": ("edged sources rank --images photos/",),
    "sources rank": ("edged sources rank --images photos/", "edged sources rank --images photos/ --exact --json"),
    "finetune": (
        "edged finetune --images photos/ --layers 4 --epochs 5",
        "edged finetune --images photos/ --out flowers",
    ),
    "profile": (
        "edged profile",
        "edged profile inception_v3 --only layers,batch --svg layers.svg",
        "edged profile --compare mobilenet_v2 inception_v3 --images photos/",
    ),
    "premodel": ("edged premodel train --images photos/", "edged premodel report"),
    "premodel train": ("edged premodel train --images photos/ --labels photos/labels.csv --curve curve.svg",),
    "premodel report": ("edged premodel report", "edged premodel report --images photos/ --json"),
    "check": ("edged check --config /etc/edged/edged.toml",),
    "doctor": ("edged doctor --config /etc/edged/edged.toml",),
    "demo": ("edged demo --seconds 20", "edged demo --retrain"),
}
"""Words after `edged` → command lines. A shell's wildcard stands for some names."""


class Formatter(argparse.HelpFormatter):
    """Wraps a description, as argparse does, and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("example"):
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


def attach(parser: argparse.ArgumentParser, words: str = "") -> None:
    """Put the examples at the end of the help of a parser and of those below it."""
    lines = EXAMPLES.get(words, ())
    if lines:
        parser.formatter_class = Formatter
        parser.epilog = "\n  ".join(["example:" if len(lines) == 1 else "examples:", *lines])
    for name, below in subcommands(parser).items():
        attach(below, f"{words} {name}".strip())


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return name → parser of the commands directly below."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found
