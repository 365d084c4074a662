"""What both command lines ask about an .onnx file: how RGB becomes its input, and how large that is."""

from __future__ import annotations

import argparse
import math
from typing import Any

from edged.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add them; returns their group."""
    group = parser.add_argument_group("of an .onnx file")
    group.add_argument("--mean", type=_three, metavar="R,G,B", help="what is taken from each channel, 0..1")
    group.add_argument("--std", type=_deviations, metavar="R,G,B", help="what each channel is divided by then")
    group.add_argument("--bgr", action="store_true", help="blue comes first")
    group.add_argument("--size", type=_size, metavar="WxH", help="of the input, where the file leaves it open")
    return group


def given(args: argparse.Namespace) -> list[str]:
    """Return the names of those that were given."""
    return [name for name in ("mean", "std", "bgr", "size") if getattr(args, name)]


def normalisation(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return how RGB becomes the file's input: "mean" and "std", three numbers each, and "bgr"; None: it was not said.

    Raises:
        ConfigError: An option is missing.
    """
    if (args.mean is None) != (args.std is None):
        raise ConfigError("--mean and --std belong together")
    if args.mean is None:
        if args.bgr:
            raise ConfigError("--bgr belongs to --mean and --std")
        return None
    return {"mean": args.mean, "std": args.std, "bgr": args.bgr}


def _three(text: str) -> list[float]:
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"{text!r}: use one number or three, e.g. 0.485,0.456,0.406")
    return numbers * (3 // len(numbers))


def _deviations(text: str) -> list[float]:
    if min(numbers := _three(text)) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r}: use numbers above 0, e.g. 0.229,0.224,0.225")
    return numbers


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r}: use width and height in pixels, e.g. 224x224")
    return int(width), int(height)
