"""How much of MobileNetV2 is retrained: pure."""

from __future__ import annotations

from dataclasses import dataclass

from edged.errors import ConfigError

BLOCKS = 16
"""Numbered inverted residual blocks; before them come Conv1 and expanded_conv, behind them Conv_1 and the head."""


@dataclass(frozen=True, slots=True)
class Depth:
    """The last layers, counted from the head.

    Attributes:
        blocks: 0: the head alone; n: Conv_1 and the last n blocks too; None: everything.
    """

    blocks: int | None

    @property
    def first_block(self) -> int | None:
        """The first numbered block that is retrained; None where the cut is not at a block."""
        return None if self.blocks in (0, None) else BLOCKS + 1 - (self.blocks or 0)

    def __str__(self) -> str:
        return {0: "head", 1: "last-block", None: "all"}.get(self.blocks, str(self.blocks))


def parse_depth(text: str) -> Depth:
    """Read `--layers`.

    Raises:
        ConfigError: Not "head", "last-block", "all" or a number of blocks.
    """
    named = {"head": Depth(0), "last-block": Depth(1), "all": Depth(None)}
    if text in named:
        return named[text]
    if text.isascii() and text.isdecimal() and 1 <= int(text) <= BLOCKS:
        return Depth(int(text))
    raise ConfigError(f"layers = {text!r}: use head, last-block, all, or a number of blocks from 1 to {BLOCKS}")
