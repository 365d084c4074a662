"""Options that both command lines have: a training's hyperparameters, a profile's parts and sizes; argparse types.

What the wire contract declares is taken from its declaration, when the command is parsed: that needs pydantic, which
takes longer to import than all else that a help page needs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edged.terminal.registry import Parser

_MOST_THREADS = 64


def positive(text: str) -> float:
    """Parse a finite number above zero (an argparse type)."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def fraction(text: str) -> float:
    """Parse a fraction above 0 and at most 1 (an argparse type)."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value <= 1):
        raise argparse.ArgumentTypeError(f"{text!r}: use a fraction above 0 and at most 1, e.g. 0.875")
    return value


def count(text: str) -> int:
    """Parse a whole number from 1 (an argparse type)."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seed(text: str) -> int:
    """Parse a seed: a whole number from 0 that fits into 63 bits (an argparse type)."""
    if not text.isdecimal() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2^63 - 1")
    return int(text)


def counts(text: str) -> list[int]:
    """Parse whole numbers from 1, separated by commas (an argparse type)."""
    return [count(part.strip()) for part in text.split(",")]


def add_profile_options(parser: Parser) -> None:
    """Add what to measure, and how often; what is not given is None, but `--top` is 20."""
    parser.add_argument("--online", type=counts, metavar="N,…", help="images one after another (10,100,1000)")
    parser.add_argument("--batches", type=counts, metavar="N,…", help="batch sizes (1,20,40,100,200)")
    parser.add_argument("--batch-images", type=count, metavar="N", help="images for each batch size (1000)")
    parser.add_argument(
        "--seconds", type=positive, metavar="S", help="end each measurement after so long, and say what it had (20)"
    )
    parser.add_argument(
        "--runtime", metavar="R", help="auto, litert, tflite_runtime, onnx or tensorflow (as the device is configured)"
    )
    parser.add_argument("--threads", type=_threads, metavar="N", help="for one inference (1)")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="layers to print, the slowest; 0: all (20)")
    parser.add_later(_add_parts)


def add_limits(parser: argparse.ArgumentParser, when: str = "") -> None:
    """Add `--within` and `--memory`: what a network that is chosen may cost the device.

    Args:
        parser: Of the command.
        when: What the help says of when they count.
    """
    parser.add_argument(
        "--within", type=positive, metavar="MS", help=f"choose one that takes at most so many ms a frame{when}"
    )
    parser.add_argument(
        "--memory", type=positive, metavar="MB", help=f"choose one that takes at most so much memory{when}"
    )


def add_hyperparameters(parser: Parser) -> None:
    """Add an option for each hyperparameter, such as `--lr`; what is not given is None."""
    parser.add_later(_add_hyperparameters)


def add_accept(parser: Parser) -> None:
    """Add `--accept`."""
    parser.add_argument(
        "--accept", action="store_true", help="promote the new model also where too few images tell if it is worse"
    )


def given_hyperparameters(args: argparse.Namespace) -> dict[str, Any]:
    """Return the hyperparameters that were given on the command line."""
    from edged.contract.hyperparameters import Hyperparameters

    return {name: value for name in Hyperparameters.model_fields if (value := getattr(args, name)) is not None}


def _threads(text: str) -> int:
    if (value := count(text)) > _MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{value} is not 1 to {_MOST_THREADS} threads")
    return value


def _add_parts(parser: argparse.ArgumentParser) -> None:
    from typing import get_args

    from edged.contract.commands import ProfilePart

    parts: tuple[str, ...] = get_args(ProfilePart)

    def parse(text: str) -> list[str]:
        names = [name.strip().replace("-", "_") for name in text.split(",")]
        if unknown := [name for name in names if name not in parts]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(parts)}")
        return names

    parser.add_argument("--only", type=parse, metavar="PART,…", help="some of: " + ", ".join(parts))


def _add_hyperparameters(parser: argparse.ArgumentParser) -> None:
    from edged.contract.hyperparameters import Hyperparameters

    for name, field in Hyperparameters.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            default = "yes" if field.default else "no"
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=f"{text} ({default})")
        else:
            metavar = "N" if field.annotation is int else "X"
            parser.add_argument(flag, metavar=metavar, type=_parse(name), help=f"{text} ({field.default})")


def _parse(name: str) -> Callable[[str], Any]:
    """Return an argparse type that allows what the declaration allows."""

    def parse(text: str) -> Any:
        from pydantic import ValidationError

        from edged.contract.hyperparameters import Hyperparameters

        try:
            return getattr(Hyperparameters.model_validate({name: text}), name)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error.errors()[0]['msg']}") from error

    return parse
