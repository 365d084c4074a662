"""What a label may be. It is also the name of a folder, a line of `labels.txt` and text in a terminal."""

from __future__ import annotations

import unicodedata

from edged.errors import CommandError

MAX_BYTES = 100
"""Of a label in UTF-8."""
_SHOWN = 80


def check_label(text: str) -> str:
    """Return the label in the form in which it is kept: Unicode NFC, no spaces around.

    Raises:
        CommandError: One line that says what is wrong with it.
    """
    label = unicodedata.normalize("NFC", text).strip()
    if reason := _fault(label):
        shown = ascii(text)  # it may hold anything
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"
        raise CommandError(f"label {shown}: {reason}")
    return label


def _fault(label: str) -> str | None:
    faults = {
        "is empty; a label has 1 to 100 bytes": not label,
        "contains a control character": any(unicodedata.category(char) in _UNPRINTABLE for char in label),
        f"is longer than {MAX_BYTES} bytes of UTF-8": len(label.encode(errors="replace")) > MAX_BYTES,
        "contains a slash; a label is the name of one folder": "/" in label or "\\" in label,
        "contains '..'": ".." in label,
        "starts with a dot": label.startswith("."),
    }
    return next((fault for fault, found in faults.items() if found), None)


_UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}
"""Control characters, halves of surrogate pairs (file names that are not UTF-8), line and paragraph separators."""
