"""Numbers with their nouns, for people."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """Write a number and what it counts: "1 image", "3,670 images"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
