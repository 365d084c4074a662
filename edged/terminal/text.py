"""What people and machines read: text from the wire made harmless, numbers made short, lines and JSON lines.

Pure Python, without rich: cheap to import.
"""

from __future__ import annotations

import json
import math
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN = "–"
"""Stands for what nobody knows."""
_LONGEST_NOTE = 4000


def clean(text: str, limit: int = 1000) -> str:
    """Make text from the wire harmless and one line long.

    Control and format characters (terminal escapes, line breaks, reversed writing) become spaces or vanish.
    """
    spaced = "".join(" " if char in "\r\n\t" else char for char in text[:limit])
    return "".join(char for char in spaced if not unicodedata.category(char).startswith("C"))


def file_name(path: Path) -> str:
    """Return a file's name as text that can be sent and written: what is no UTF-8 in it becomes U+FFFD."""
    return os.fsencode(path.name).decode(errors="replace")


def harmless(value: Any) -> Any:
    """Return a report from the wire with all text in it cleaned, keys too."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(str(key)): harmless(item) for key, item in value.items()}
    if isinstance(value, list):
        return [harmless(item) for item in value]
    return value


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object as one line, at once (a pipe's reader is waiting)."""
    sys.stdout.write(json.dumps(value, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def print_line(line: str) -> None:
    """Print one line for people who read a pipe or a log."""
    sys.stdout.write(clean(line) + "\n")
    sys.stdout.flush()


def note(program: str, line: str) -> None:
    """Tell something beside the output: one line on stderr, with the program's name at its head."""
    print(f"{program}: {clean(line, _LONGEST_NOTE)}", file=sys.stderr, flush=True)


def bar(fraction: float, width: int = 10, *, ascii_only: bool = False) -> str:
    """Draw a fraction 0..1; what is not a number is drawn empty."""
    full = round(width * min(max(fraction, 0.0), 1.0)) if math.isfinite(fraction) else 0
    done, left = ("#", "-") if ascii_only else ("█", "░")
    return done * full + left * (width - full)


def duration(seconds: float) -> str:
    """Write a span for a glance: 0.4 s, 12 s, 5 min, 3 h, 2 d."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def watts(milliwatts: float) -> str:
    """Write a power: 4120 → 4.12 W, 340 → 340 mW."""
    return f"{milliwatts / 1000:.2f} W" if abs(milliwatts) >= 1000 else f"{milliwatts:.0f} mW"


def milliseconds(value: float) -> str:
    """Write a latency's number: two digits that matter, no more."""
    return f"{value:.1f}" if value < 100 else f"{value:.0f}"


def percent(fraction: float) -> str:
    """Write a fraction: 0.713 → 71.3 %."""
    return f"{100 * fraction:.1f} %"


def count(number: float) -> str:
    """Write a count with three digits: 3487816 → 3.49M, 512 → 512."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 1000 * size else f"{number / size:.0f}{unit}"
    return f"{number:.0f}"


def precise_milliseconds(value: float) -> str:
    """Write a measured time's number with about three digits: 0.0123 → 0.012, 3.4567 → 3.46, 123.4 → 123."""
    if value < 1:
        return f"{value:.3f}"
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def shape(sizes: Sequence[int]) -> str:
    """Write a tensor's shape without its batch dimension: [1, 112, 112, 32] → 112×112×32."""
    inner = sizes[1:] if len(sizes) > 1 else sizes
    return "×".join(map(str, inner)) or "1"


def short_op(op: str) -> str:
    """Shorten an operator's name for a narrow column: DEPTHWISE_CONV_2D → DEPTHWISE."""
    return {"DEPTHWISE_CONV_2D": "DEPTHWISE", "FULLY_CONNECTED": "DENSE", "CONCATENATION": "CONCAT"}.get(
        op, op.removesuffix("_2D") if len(op) > 9 else op
    )


def short_name(name: str) -> str:
    """Shorten a tensor's name to what tells layers apart: the first of fused ones, without suffixes."""
    first, *_ = name.split(";")
    for suffix in ("/ReadVariableOp", "/BiasAdd", "/FusedBatchNormV3", "/Conv2D"):
        first = first.removesuffix(suffix)
    return first or name
