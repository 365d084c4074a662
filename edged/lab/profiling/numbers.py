"""Numbers and shapes as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: float) -> str:
    """Write a count with three digits: 3487816 → 3.49M, 512 → 512."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}" if number < 1000 * size else f"{number / size:.0f}{unit}"
    return f"{number:.0f}"


def milliseconds(value: float) -> str:
    """Write milliseconds with about three digits: 0.0123 → 0.012, 3.4567 → 3.46, 123.4 → 123."""
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
