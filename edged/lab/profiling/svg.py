"""Pictures of profiles as SVG text: bars per layer, lines per model. No library; a light background of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from edged.lab.profiling.numbers import count, milliseconds, shape

_FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
_COLOURS = (
    "#2a78b5",
    "#e07b39",
    "#3a9a5b",
    "#b5485d",
    "#7d62b3",
    "#8a6d4f",
    "#c9a227",
    "#4aa3a2",
    "#d066a8",
    "#777777",
)
_WIDTH = 860


def layers_svg(report: Mapping[str, Any]) -> str:
    """Draw a bar per layer, in the graph's order, coloured by operator; the slowest is marked.

    Args:
        report: See `profile.profile`; needs its `layers`.
    """
    model, layers, whole = report["model"], report["layers"], report["layers_sum"]
    row = 11 if len(layers) > 40 else 15
    left, right, top = 250, 150, 74
    most = max(layer["ms"] for layer in layers) or 1.0
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer["op"]] = shares.get(layer["op"], 0.0) + layer["share"]
    ops = sorted(shares, key=lambda op: -shares[op])
    colours = {op: _COLOURS[min(place, len(_COLOURS) - 1)] for place, op in enumerate(ops)}
    parts = [
        _text(12, 24, f"{model['name']}: time per layer", size=16, weight="bold"),
        _text(
            12,
            42,
            f"{len(layers)} layers, sum {whole['sum_ms']:.2f} ms, whole {whole['whole_ms']:.2f} ms "
            f"({whole['explained']:.1%} explained), {whole['runtime']}, 1 thread, {report['machine']['processor']}",
            size=11,
            colour="#555",
        ),
    ]
    x = 12.0
    for op in ops[:6]:
        parts.append(f'<rect x="{x:.0f}" y="52" width="10" height="10" fill="{colours[op]}"/>')
        legend = f"{op} {shares[op]:.1%}"
        parts.append(_text(x + 14, 61, legend, size=10))
        x += 26 + 6.4 * len(legend)
    for place, layer in enumerate(layers):
        y = top + place * row
        length = (_WIDTH - left - right) * layer["ms"] / most
        label = f"{place}  {shape(layer['input_shape'])} → {shape(layer['output_shape'])}"
        mark = "  ◀ slowest" if layer["slowest"] else ""
        name = escape(f"{layer['name']}: {layer['op']}, {milliseconds(layer['ms'])} ms, {layer['share']:.2%}")
        parts += [
            _text(left - 6, y + row - 3, label, size=row - 3, anchor="end", colour="#333"),
            f'<rect x="{left}" y="{y + 1}" width="{max(length, 0.5):.1f}" height="{row - 2}" '
            f'fill="{colours[layer["op"]]}"><title>{name}</title></rect>',
            _text(
                left + length + 5,
                y + row - 3,
                f"{milliseconds(layer['ms'])} ms" + (f", {count(layer['macs'])}" if layer["macs"] else "") + mark,
                size=row - 3,
                colour="#b00020" if layer["slowest"] else "#555",
            ),
        ]
    return _document(_WIDTH, top + len(layers) * row + 12, parts)


def lines_svg(title: str, x_label: str, y_label: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Draw lines with dots on logarithmic axes from the least to the greatest value.

    Args:
        title: Above the picture.
        x_label: Below it.
        y_label: Above the left axis.
        series: Name → (x, y), all above zero.
    """
    left, top, width, height = 70, 60, 560, 380
    points = [point for line in series.values() for point in line]
    xs, ys = _span([x for x, _ in points]), _span([y for _, y in points])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - math.log(xs[0])) / (math.log(xs[1]) - math.log(xs[0]))
        up = (math.log(y) - math.log(ys[0])) / (math.log(ys[1]) - math.log(ys[0]))
        return left + width * across, top + height * (1 - up)

    parts = [_text(12, 24, title, size=16, weight="bold"), _text(12, 46, y_label, size=11, colour="#555")]
    parts.append(_text(left + width / 2, top + height + 38, x_label, size=11, colour="#555", anchor="middle"))
    for y in _ticks(*ys):
        _, place = at(xs[0], y)
        parts.append(f'<path d="M{left} {place:.1f}H{left + width}" stroke="#ddd"/>')
        parts.append(_text(left - 8, place + 4, f"{y:g}", size=10, anchor="end", colour="#555"))
    for x in sorted({x for x, _ in points}):
        place, _ = at(x, ys[0])
        parts.append(f'<path d="M{place:.1f} {top}V{top + height}" stroke="#eee"/>')
        parts.append(_text(place, top + height + 18, f"{x:g}", size=10, anchor="middle", colour="#555"))
    ends = sorted((at(*line[-1])[1], name) for name, line in series.items())
    labels = dict(zip((name for _, name in ends), _apart([y for y, _ in ends], 14), strict=True))
    for place, (name, line) in enumerate(series.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        dots = [at(*point) for point in line]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in dots)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in dots]
        parts.append(_text(left + width + 10, labels[name] + 4, name, size=11, colour=colour))
    return _document(left + width + 20 + 7 * max(map(len, series)), top + height + 54, parts)


def scatter_svg(title: str, x_label: str, y_label: str, points: Mapping[str, tuple[float, float]]) -> str:
    """Draw a dot per name: x on a logarithmic axis, y a fraction 0..1 as percent."""
    left, top, width, height = 70, 60, 640, 380
    xs = _span([x for x, _ in points.values()])
    low = math.floor(10 * min(y for _, y in points.values())) / 10
    high = min(1.0, math.ceil(10 * max(y for _, y in points.values()) + 0.2) / 10)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log(x) - math.log(xs[0])) / (math.log(xs[1]) - math.log(xs[0]))
        return left + width * across, top + height * (1 - (y - low) / (high - low))

    parts = [_text(12, 24, title, size=16, weight="bold"), _text(12, 46, y_label, size=11, colour="#555")]
    parts.append(_text(left + width / 2, top + height + 38, x_label, size=11, colour="#555", anchor="middle"))
    for step in range(round((high - low) * 20) + 1):
        y = low + step / 20
        _, place = at(xs[0], y)
        parts.append(f'<path d="M{left} {place:.1f}H{left + width}" stroke="#ddd"/>')
        parts.append(_text(left - 8, place + 4, f"{y:.0%}", size=10, anchor="end", colour="#555"))
    for x in _ticks(*xs):
        place, _ = at(x, low)
        parts.append(f'<path d="M{place:.1f} {top}V{top + height}" stroke="#eee"/>')
        parts.append(_text(place, top + height + 18, f"{x:g}", size=10, anchor="middle", colour="#555"))
    taken: list[tuple[float, float, float]] = []
    for number, (name, point) in enumerate(sorted(points.items(), key=lambda item: -item[1][1])):
        x, y = at(*point)
        flipped = x > left + width * 0.7
        length = 6.5 * len(name) + 9
        begin, line = x - length if flipped else x, y
        while any(begin < to and begin + length > since and abs(line - other) < 12 for since, to, other in taken):
            line += 12
        taken.append((begin, begin + length, line))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{_COLOURS[number % len(_COLOURS)]}"/>')
        parts.append(_text(x - 9 if flipped else x + 9, line + 4, name, size=11, anchor="end" if flipped else "start"))
    return _document(_WIDTH, top + height + 54, parts)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """A little more than the values take."""
    return min(values) / 1.15, max(values) * 1.15


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten inside the span."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [tick for power in decades for step in (1, 2, 5) if low <= (tick := step * 10.0**power) <= high]


def _apart(places: Sequence[float], least: float) -> list[float]:
    """Move rising places down so that no two are closer than `least`."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + least) if moved else place)
    return moved


def _text(
    x: float, y: float, text: str, *, size: float, anchor: str = "start", colour: str = "#222", weight: str = "normal"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" {_FONT}>\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
