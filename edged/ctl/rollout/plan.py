"""Which devices get a model first, and which follow: always the same ones for the same model and devices."""

from __future__ import annotations

import argparse
import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_UNITS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Share:
    """So many of the devices, as the user wrote it: "5%", or "3"."""

    text: str

    def of(self, number: int) -> int:
        """Return how many of so many devices; at least one, and no more than there are."""
        value = float(self.text.rstrip("%"))
        wanted = math.ceil(number * value / 100 - 1e-9) if self.text.endswith("%") else int(value)
        return max(1, min(wanted, number))


def share(text: str) -> Share:
    """Parse "5%" or "3" (an argparse type)."""
    if re.fullmatch(r"\d{1,6}|\d{1,3}(\.\d+)?%", text):
        value = float(text.rstrip("%"))
        if value > 0 and (value <= 100 or not text.endswith("%")):
            return Share(text)
    raise argparse.ArgumentTypeError(f"{text!r} is neither a share such as 5% nor a number of devices")


def shares(text: str) -> tuple[Share, ...]:
    """Parse "10%,50%,100%" (an argparse type)."""
    return tuple(share(part.strip()) for part in text.split(","))


def seconds(text: str) -> float:
    """Parse "90s", "10m", "1.5h" or seconds (an argparse type)."""
    match = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)([smh]?)", text)
    value = float(match[1]) * _UNITS[match[2] or "s"] if match else 0.0
    if value <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h")
    return value


def per_cent(text: str) -> float:
    """Parse "25%" or "25" as 0.25 (an argparse type)."""
    if not re.fullmatch(r"\d{1,4}(\.\d+)?%?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 25%")
    return float(text.rstrip("%")) / 100


def waves_of(devices: Sequence[str], model: str, canary: Share | None, waves: Sequence[Share]) -> list[list[str]]:
    """Share devices out over the canaries and the waves after them.

    They are ordered by a hash of the model's id and their own: another model meets other canaries, the same one the
    same, whatever their names are.

    Args:
        devices: Ids of those that are online.
        model: Id of the model.
        canary: How many are first; None: the first wave is.
        waves: How many have the model after each further wave, those before included. What is left is one more wave.
    """

    def place(device: str) -> str:
        return hashlib.sha256(f"{model}/{device}".encode()).hexdigest()

    if not devices:
        return []
    order = sorted(devices, key=place)
    ends = [*([canary] if canary is not None else []), *waves]
    found: list[list[str]] = []
    begin = 0
    for end in [one.of(len(order)) for one in ends] + [len(order)]:
        if end > begin:
            found.append(sorted(order[begin:end]))
            begin = end
    return found
