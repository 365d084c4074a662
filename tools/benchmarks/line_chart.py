"""A line chart as SVG: no library, readable in a browser and on GitHub."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 44, 52
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#666666")  # Okabe and Ito's


@dataclass(frozen=True)
class Line:
    """One line: points (x, y), and how far y may be off at each (same length, or none)."""

    points: Sequence[tuple[float, float]]
    spread: Sequence[float] = ()


@dataclass(frozen=True)
class Chart:
    """A chart with one x and one y axis.

    Attributes:
        title, x_label, y_label: Text.
        lines: Name → line, in the order of the legend.
        log_x: Whether x is logarithmic.
        x_ticks: Where x is labelled; none: at about five places.
        percent: Whether y is a fraction, shown in percent.
    """

    title: str
    x_label: str
    y_label: str
    lines: Mapping[str, Line]
    log_x: bool = False
    x_ticks: Sequence[float] = field(default_factory=tuple)
    percent: bool = True

    def svg(self) -> str:
        """Return the picture."""
        xs = [x for line in self.lines.values() for x, _ in line.points]
        low_y, high_y, step = self._y_range()
        low_x, high_x = self._place(min(xs)), self._place(max(xs))

        def at(x: float, y: float) -> tuple[float, float]:
            along = (self._place(x) - low_x) / (high_x - low_x or 1)
            up = (y - low_y) / (high_y - low_y)
            return _LEFT + along * (WIDTH - _LEFT - _RIGHT), HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM)

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
            'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="12" fill="#222">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            f'<text x="{_LEFT}" y="24" font-size="15" font-weight="bold">{escape(self.title)}</text>',
        ]
        for number in range(round((high_y - low_y) / step) + 1):
            value = low_y + number * step
            x, y = at(min(xs), value)
            text = f"{100 * value:g} %" if self.percent else f"{value:g}"
            parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - _RIGHT}" stroke="#ddd"/>')
            parts.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
        for tick in self.x_ticks or _ticks(min(xs), max(xs)):
            x, y = at(tick, low_y)
            parts.append(f'<path d="M{x:.1f} {y:.1f}v5" stroke="#222"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 19:.1f}" text-anchor="middle">{tick:g}</text>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">{escape(self.x_label)}</text>')
        parts.append(
            f'<text transform="translate(16 {(_TOP + HEIGHT - _BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y_label)}</text>"
        )
        for number, (name, line) in enumerate(self.lines.items()):
            colour = _COLOURS[number % len(_COLOURS)]
            parts += _drawn(line, colour, at)
            y = _TOP + 12 + 20 * number
            parts.append(f'<path d="M{WIDTH - _RIGHT + 14} {y - 4}h18" stroke="{colour}" stroke-width="2.5"/>')
            parts.append(f'<text x="{WIDTH - _RIGHT + 38}" y="{y}">{escape(name)}</text>')
        return "\n".join([*parts, "</svg>"]) + "\n"

    def _place(self, x: float) -> float:
        return math.log10(x) if self.log_x else x

    def _y_range(self) -> tuple[float, float, float]:
        """Round limits, and the distance of the grid's lines."""
        ends = [
            y + sign * off
            for line in self.lines.values()
            for (_, y), off in zip(line.points, line.spread or [0.0] * len(line.points), strict=True)
            for sign in (-1, 1)
        ]
        low, high = min(ends), max(ends)
        step = _round_step((high - low or 1.0) / 5)
        low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        return low, high if high > low else low + step, step


def _drawn(line: Line, colour: str, place: Callable[[float, float], tuple[float, float]]) -> list[str]:
    parts = []
    if line.spread:
        upper = [place(x, y + off) for (x, y), off in zip(line.points, line.spread, strict=True)]
        lower = [place(x, y - off) for (x, y), off in zip(line.points, line.spread, strict=True)]
        parts.append(f'<path d="{_path([*upper, *reversed(lower)])}Z" fill="{_pale(colour)}" stroke="none"/>')
    places = [place(x, y) for x, y in line.points]
    parts.append(
        f'<path d="{_path(places)}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
    )
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in places if len(places) <= 20]
    return parts


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _pale(colour: str) -> str:
    """A tint without opacity, which not every renderer of SVG knows."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.2 * (255 - part)):02x}" for part in parts)


def _ticks(low: float, high: float) -> list[float]:
    step = _round_step((high - low or 1.0) / 5)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
