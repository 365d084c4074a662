"""Which real photos may be looked at while something is built, and which only judge it once it is done.

A method, a constant or a threshold is chosen on photos of the *develop* side alone. A number that is reported comes
from the *report* side, on which nothing was ever chosen. A photo's side follows from its content, so no list is needed.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

Side = Literal["develop", "report"]

DEVELOP_SHARE = 0.4


def side_of(sha256: str) -> Side:
    """Return the side of a photo.

    Args:
        sha256: Of its file's content, 64 hex digits; or that of the first photo of its group of near duplicates, so
            that the whole group lies on one side. The first eight digits already say how a training splits its images.
    """
    return "develop" if int(sha256[8:16], 16) / 2**32 < DEVELOP_SHARE else "report"


def side_of_file(file: Path) -> Side:
    """Return the side of a photo that is looked at alone."""
    return side_of(hashlib.sha256(file.read_bytes()).hexdigest())
