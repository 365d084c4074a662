"""Values of `edged profile`'s options, checked while the command line is parsed (argparse types)."""

from __future__ import annotations

import argparse

PARTS = ("layers", "end_to_end", "online", "batch", "threads", "runtimes", "gpu")
_MOST_THREADS = 64


def parts(text: str) -> list[str]:
    """Parse some of `PARTS`, separated by commas."""
    names = [name.strip().replace("-", "_") for name in text.split(",")]
    if unknown := [name for name in names if name not in PARTS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(PARTS)}")
    return names


def number(text: str) -> int:
    """Parse a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def numbers(text: str) -> list[int]:
    """Parse whole numbers from 1, separated by commas."""
    return [number(part.strip()) for part in text.split(",")]


def threads(text: str) -> int:
    """Parse a number of threads."""
    if (value := number(text)) > _MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{value} is not 1 to {_MOST_THREADS} threads")
    return value


def seconds(text: str) -> float:
    """Parse a finite number of seconds above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value
