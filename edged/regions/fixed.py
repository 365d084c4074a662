"""Regions that stay where they are: named ones, and those of a grid. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from edged.regions.boxes import rounded
from edged.types import Region

if TYPE_CHECKING:
    from edged.types import Box


def fixed(boxes: Mapping[str, Box]) -> tuple[Region, ...]:
    """Return named boxes as regions, the first one first."""
    last = len(boxes)
    return tuple(Region(name, rounded(box), last - place) for place, (name, box) in enumerate(boxes.items()))


def grid(columns: int, rows: int) -> tuple[Region, ...]:
    """Return the cells of a grid that covers the frame, row by row; "2x1" is the second one of the first row."""
    width, height = 1 / columns, 1 / rows
    return fixed(
        {
            f"{column + 1}x{row + 1}": (column * width, row * height, width, height)
            for row in range(rows)
            for column in range(columns)
        }
    )
