"""Draws the accuracy/cost curve as SVG. Pure: numbers in, text out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

WIDTH, HEIGHT = 860, 520
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 30, 50, 60
_COLOURS = {
    "single": "#555555",
    "premodel": "#c44e52",
    "cascade": "#dd8452",
    "learned": "#4c72b0",
    "oracle": "#55a868",
}


def draw(rows: Sequence[dict[str, Any]], curves: dict[str, list[dict[str, Any]]], title: str) -> str:
    """Return an SVG picture: mean milliseconds (logarithmic) against top-1 accuracy.

    Args:
        rows: Of the report: one mark each.
        curves: Strategy → its operating points: one line each.
        title: One line.
    """
    points: list[dict[str, Any]] = [
        row for row in [*rows, *(each for curve in curves.values() for each in curve)] if row["mean_ms"] > 0
    ]
    low = 10.0 ** (math.floor(10 * math.log10(min(point["mean_ms"] for point in points))) / 10)
    high = 10.0 ** (math.ceil(10 * math.log10(max(point["mean_ms"] for point in points))) / 10)
    bottom = math.floor(min(point["top1"] for point in points) * 20) / 20
    top = min(1.0, math.ceil(max(point["top1"] for point in points) * 20) / 20)
    if top <= bottom:
        bottom = top - 0.05
    if high <= low:
        high = low * 2

    def x(ms: float) -> float:
        return float(_LEFT + (WIDTH - _LEFT - _RIGHT) * math.log(max(ms, low) / low) / math.log(high / low))

    def y(accuracy: float) -> float:
        return float(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (accuracy - bottom) / (top - bottom))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="28" font-size="16">{escape(title)}</text>',
    ]
    parts += _axes(x, y, (low, high), (bottom, top))
    for name, curve in curves.items():
        if len(curve) > 1:
            colour = _COLOURS.get(curve[0]["kind"], "#000000")
            path = " ".join(f"{x(point['mean_ms']):.1f},{y(point['top1']):.1f}" for point in curve)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [_dot(x(point["mean_ms"]), y(point["top1"]), colour, 2.5) for point in curve]
            parts.append(f"<!-- {escape(name)} -->")
    taken: list[tuple[float, float]] = []
    for row in rows:
        colour = _COLOURS.get(row["kind"], "#000000")
        across, down = x(row["mean_ms"]), y(row["top1"])
        parts.append(_dot(across, down, colour, 5))
        parts.append(_label(row["name"], across, down, colour, taken))
    parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


def _dot(across: float, down: float, colour: str, radius: float) -> str:
    return f'<circle cx="{across:.1f}" cy="{down:.1f}" r="{radius}" fill="{colour}"/>'


def _label(text: str, across: float, down: float, colour: str, taken: list[tuple[float, float]]) -> str:
    """Write beside the mark, elsewhere beside it where another label stands already."""
    left = across > WIDTH * 0.72
    places = [down + shift for shift in (15, -8, 28, -21, 41)]
    free = [p for p in places if not any(abs(p - y) < 13 and abs(across - x) < 150 for x, y in taken)]
    place = (free or places)[0]
    taken.append((across, place))
    anchor, shift = ("end", -8) if left else ("start", 8)
    return (
        f'<text x="{across + shift:.1f}" y="{place:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _axes(x: Any, y: Any, times: tuple[float, float], accuracies: tuple[float, float]) -> list[str]:
    floor, right = HEIGHT - _BOTTOM, WIDTH - _RIGHT
    parts = [f'<path d="M{_LEFT},{_TOP} V{floor} H{right}" fill="none" stroke="#333333"/>']
    for ms in (m * 10**e for e in range(-2, 5) for m in (1, 2, 5)):
        if times[0] <= ms <= times[1]:
            parts.append(f'<path d="M{x(ms):.1f},{_TOP} V{floor}" stroke="#dddddd"/>')
            parts.append(f'<text x="{x(ms):.1f}" y="{floor + 18}" text-anchor="middle">{ms:g}</text>')
    step = 0.1 if accuracies[1] - accuracies[0] > 0.4 else 0.05 if accuracies[1] - accuracies[0] > 0.15 else 0.01
    for number in range(math.ceil(accuracies[0] / step - 1e-9), math.floor(accuracies[1] / step + 1e-9) + 1):
        down = y(number * step)
        parts.append(f'<path d="M{_LEFT},{down:.1f} H{right}" stroke="#dddddd"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{number * step:.0%}</text>')
    parts.append(f'<text x="{(_LEFT + right) / 2}" y="{HEIGHT - 18}" text-anchor="middle">mean ms per frame</text>')
    middle = (_TOP + floor) / 2
    parts.append(f'<text x="18" y="{middle}" text-anchor="middle" transform="rotate(-90 18 {middle})">top-1</text>')
    return parts


def _legend() -> list[str]:
    parts = []
    for number, (kind, colour) in enumerate(_COLOURS.items()):
        across = _LEFT + 95 * number
        parts.append(_dot(across + 6, 41, colour, 5))
        parts.append(f'<text x="{across + 15}" y="45">{kind}</text>')
    return parts
