"""Charts as SVG text: lines and dots over two axes, and bars. No library; readable in a browser and on GitHub.

Pure: numbers in, text out. Renderers of SVG that know little (librsvg, GitHub) are enough: no styles, no opacity.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#666666",
    "#8a5aa8",
    "#8a6d4f",
    "#b5303c",
)
"""The first seven are Okabe and Ito's, told apart by people who do not see all colours."""
_TEXT, _GREY, _GRID = "#222222", "#555555", "#dddddd"
_FONT = 'font-family="DejaVu Sans, Helvetica, Arial, sans-serif"'
_EM = 0.62
"""Mean width of a letter, as a share of the size of the font."""
_MOST_DOTS = 20
"""A line of more points has no dots: they would touch."""
_DOT, _LARGEST_DOT, _SMALLEST_DOT = 5.0, 24.0, 2.5
"""Radii without a line through the dots, pixels: all alike, and with areas."""
_STEPS = 8

Place = Callable[[float, float], tuple[float, float]]
"""From values on the axes to pixels."""


@dataclass(frozen=True)
class Axis:
    """What is along one side.

    Attributes:
        label: Text.
        log: Whether it is logarithmic; all values are above 0 then.
        percent: Whether values are fractions, shown in percent.
        ticks: Where it is labelled; none: at round values.
    """

    label: str
    log: bool = False
    percent: bool = False
    ticks: Sequence[float] = ()

    def position(self, value: float) -> float:
        """Return where a value is on the scale, before it is stretched to pixels."""
        return math.log10(value) if self.log else value

    def text(self, value: float) -> str:
        """Write a value beside its tick."""
        return f"{100 * value:.10g} %" if self.percent else f"{value:.10g}"

    def limits(self, values: Sequence[float], *, rounded: bool) -> tuple[float, float]:
        """Return the ends of the axis: the outermost values, or round ones beyond them.

        Args:
            values: What is drawn.
            rounded: Whether the ends are to be ticks.
        """
        low, high = min(values), max(values)
        if self.log:
            return low / 1.15, high * 1.15
        if rounded:
            step = _round_step((high - low or 1.0) / _STEPS)
            low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
            return low, high if high > low else low + step
        return low, high if high > low else low + 1.0

    def places(self, low: float, high: float) -> list[float]:
        """Return where ticks are: 1, 2 and 5 times powers of ten, or at most eight equal steps."""
        if self.ticks:
            return [tick for tick in self.ticks if low <= tick <= high]
        if self.log:
            decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            return [tick for power in decades for step in (1, 2, 5) if low <= (tick := step * 10.0**power) <= high]
        step = _round_step((high - low) / _STEPS)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True)
class Series:
    """Points of one colour.

    Attributes:
        name: In the legend; series of the same name and colour are one entry there. "": not in the legend.
        points: (x, y).
        spread: How far y may be off at each point, drawn as a band; none, or as many as points.
        line: Whether a line goes through the points; else each is a larger dot.
        labels: What is written beside each point; none, or as many as points.
        areas: How much each dot covers beside the largest of the chart; none (all alike), or as many as points.
        colour: "#rrggbb"; None: the next one of `COLOURS`.
    """

    name: str
    points: Sequence[tuple[float, float]]
    spread: Sequence[float] = ()
    line: bool = True
    labels: Sequence[str] = ()
    areas: Sequence[float] = ()
    colour: str | None = None


@dataclass(frozen=True)
class Chart:
    """Lines and dots over two axes.

    Attributes:
        title: Above it.
        x, y: The axes.
        series: In the order of the legend; at least one point in all.
        legend_at_ends: Whether a name stands where its line ends, and not in a list.
        width, height: Pixels inside the axes.
        note: What a reader must know, a line below the title.
    """

    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    legend_at_ends: bool = False
    width: int = 500
    height: int = 340
    note: str = ""

    _LEFT, _BOTTOM = 66, 52

    @property
    def _top(self) -> int:
        return 64 if self.note else 44

    def svg(self) -> str:
        """Return the picture."""
        points = [point for series in self.series for point in series.points]
        dots = any(series.labels for series in self.series)  # with room around them
        reach = [y + sign * off for series in self.series for y, off in _offs(series) for sign in (-1, 1)]
        xs = self.x.limits([x for x, _ in points], rounded=dots)
        ys = self.y.limits(reach, rounded=True)
        low = self.x.position(xs[0]), self.y.position(ys[0])
        high = self.x.position(xs[1]), self.y.position(ys[1])

        def place(x: float, y: float) -> tuple[float, float]:
            along = (self.x.position(x) - low[0]) / (high[0] - low[0])
            up = (self.y.position(y) - low[1]) / (high[1] - low[1])
            return self._LEFT + along * self.width, self._top + (1 - up) * self.height

        colours = self._colours()
        names = [series.name for series in self.series if series.name]
        parts = [_text(self._LEFT, 24, self.title, size=15, bold=True)]
        parts += [_text(self._LEFT, 44, self.note, size=11, colour=_GREY)] if self.note else []
        parts += self._axes(place, xs, ys)
        largest = max((area for series in self.series for area in series.areas), default=1.0)
        for series, colour in zip(self.series, colours, strict=True):
            parts += _drawn(series, colour, place, largest)
        parts += _labels(self.series, colours, place, largest, right=self._LEFT + self.width)
        parts += self._ends(colours, place) if self.legend_at_ends else self._legend(colours)
        beside = 44 + _EM * 12 * max(map(len, names)) if names else 24.0
        return _document(self._LEFT + self.width + beside, self._top + self.height + self._BOTTOM, parts)

    def _colours(self) -> list[str]:
        """Return each series' colour; one that has its own does not use one up."""
        free = iter(COLOURS * (1 + len(self.series) // len(COLOURS)))
        return [series.colour or next(free) for series in self.series]

    def _axes(self, place: Place, xs: tuple[float, float], ys: tuple[float, float]) -> Iterator[str]:
        left, floor, right = self._LEFT, self._top + self.height, self._LEFT + self.width
        for value in self.y.places(*ys):
            _, y = place(xs[0], value)
            yield f'<path d="M{left} {y:.1f}H{right}" stroke="{_GRID}"/>'
            yield _text(left - 8, y + 4, self.y.text(value), anchor="end")
        for value in self.x.places(*xs):
            x, _ = place(value, ys[0])
            yield f'<path d="M{x:.1f} {self._top}V{floor}" stroke="{_GRID}"/>'
            yield f'<path d="M{x:.1f} {floor}v5" stroke="{_TEXT}"/>'
            yield _text(x, floor + 19, self.x.text(value), anchor="middle")
        yield f'<path d="M{left} {floor}H{right}" stroke="{_TEXT}"/>'
        yield _text(left + self.width / 2, floor + 40, self.x.label, anchor="middle")
        yield (
            f'<text transform="translate(16 {self._top + self.height / 2:.1f}) rotate(-90)" font-size="12" '
            f'text-anchor="middle" fill="{_TEXT}">{escape(self.y.label)}</text>'
        )

    def _legend(self, colours: Sequence[str]) -> Iterator[str]:
        entries = dict.fromkeys(
            (series.name, colour, series.line)
            for series, colour in zip(self.series, colours, strict=True)
            if series.name
        )
        left = self._LEFT + self.width + 14
        for number, (name, colour, line) in enumerate(entries):
            y = self._top + 8 + 20 * number
            if line:
                yield f'<path d="M{left} {y}h18" stroke="{colour}" stroke-width="2.5"/>'
            else:
                yield _dot(left + 9, y, colour, 5)
            yield _text(left + 24, y + 4, name)

    def _ends(self, colours: Sequence[str], place: Place) -> Iterator[str]:
        """Write each name where its line ends, further down where another one stands already."""
        ends = sorted(
            (place(*series.points[-1])[1], series.name, colour)
            for series, colour in zip(self.series, colours, strict=True)
            if series.name and series.points
        )
        lowest = -math.inf
        for y, name, colour in ends:
            lowest = max(y, lowest + 14)
            yield _text(self._LEFT + self.width + 10, lowest + 4, name, colour=colour)


@dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
        label: On its left.
        value: Its length, at least 0.
        kind: What it is coloured by.
        note: On its right.
        tooltip: Shown under the pointer.
        marked: Whether its note stands out.
    """

    label: str
    value: float
    kind: str
    note: str
    tooltip: str = ""
    marked: bool = False


@dataclass(frozen=True)
class BarChart:
    """Bars from the left, one below the other, coloured by kind.

    Attributes:
        title, subtitle: Above it.
        bars: From the top.
        legend: Kind → what the legend calls it. It may leave some out.
        kinds: Every kind, in the order in which they get colours; the last colour is for all that are left.
    """

    title: str
    subtitle: str
    bars: Sequence[Bar]
    legend: Mapping[str, str]
    kinds: Sequence[str]

    _WIDTH, _LEFT, _RIGHT, _TOP = 860, 250, 150, 74

    def svg(self) -> str:
        """Return the picture."""
        row = 11 if len(self.bars) > 40 else 15
        scale = (self._WIDTH - self._LEFT - self._RIGHT) / (max(bar.value for bar in self.bars) or 1.0)
        colours = {kind: COLOURS[min(place, len(COLOURS) - 1)] for place, kind in enumerate(self.kinds)}
        parts = [_text(12, 24, self.title, size=16, bold=True), _text(12, 42, self.subtitle, size=11, colour=_GREY)]
        x = 12.0
        for kind, legend in self.legend.items():
            parts.append(f'<rect x="{x:.0f}" y="52" width="10" height="10" fill="{colours[kind]}"/>')
            parts.append(_text(x + 14, 61, legend, size=10))
            x += 26 + 6.4 * len(legend)
        for number, bar in enumerate(self.bars):
            top, length = self._TOP + number * row, max(scale * bar.value, 0.5)
            colour = "#b00020" if bar.marked else _GREY
            parts += [
                _text(self._LEFT - 6, top + row - 3, bar.label, size=row - 3, anchor="end"),
                f'<rect x="{self._LEFT}" y="{top + 1}" width="{length:.1f}" height="{row - 2}" '
                f'fill="{colours[bar.kind]}"><title>{escape(bar.tooltip or bar.label)}</title></rect>',
                _text(self._LEFT + length + 5, top + row - 3, bar.note, size=row - 3, colour=colour),
            ]
        return _document(self._WIDTH, self._TOP + len(self.bars) * row + 12, parts)


def _offs(series: Series) -> Iterator[tuple[float, float]]:
    """Yield y and how far it may be off."""
    yield from zip((y for _, y in series.points), series.spread or [0.0] * len(series.points), strict=True)


def _radii(series: Series, largest: float) -> list[float]:
    """Return each dot's radius where no line goes through: all alike, or by the areas."""
    if not series.areas:
        return [_DOT] * len(series.points)
    return [max(_LARGEST_DOT * math.sqrt(area / largest), _SMALLEST_DOT) for area in series.areas]


def _drawn(series: Series, colour: str, place: Place, largest: float) -> Iterator[str]:
    """Draw the band, the line and the dots."""
    places = [place(x, y) for x, y in series.points]
    if series.spread:
        offs = list(zip((x for x, _ in series.points), _offs(series), strict=True))
        upper = [place(x, y + off) for x, (y, off) in offs]
        lower = [place(x, y - off) for x, (y, off) in offs]
        yield f'<path d="{_path([*upper, *reversed(lower)])}Z" fill="{_pale(colour)}"/>'
    if series.line and places:
        yield f'<path d="{_path(places)}" fill="none" stroke="{colour}" stroke-width="2.2" stroke-linejoin="round"/>'
    if series.line and len(places) <= _MOST_DOTS:
        for x, y in places:
            yield _dot(x, y, colour, 2.6)
    elif not series.line:
        for (x, y), radius in zip(places, _radii(series, largest), strict=True):
            yield _bubble(x, y, colour, radius) if series.areas else _dot(x, y, colour, 5)


def _labels(
    series: Sequence[Series], colours: Sequence[str], place: Place, largest: float, *, right: float
) -> Iterator[str]:
    """Write beside the points that have labels, where no other label, point or line is in the way."""
    labelled = [
        (*place(*point), radius, label, colour, bool(one.areas))
        for one, colour in zip(series, colours, strict=True)
        for point, radius, label in zip(one.points, _radii(one, largest), one.labels, strict=False)
    ]
    if not labelled:
        return
    taken = [(x - r - 1, y - r - 1, x + r + 1, y + r + 1) for x, y, r, *_ in labelled]
    taken += [(x - 2, y - 2, x + 2, y + 2) for one in series if one.line for x, y in _along(one.points, place)]
    for x, y, radius, label, colour, bubble in labelled:
        width, beside = _EM * 12 * len(label), radius + 4
        sides = (("start", x + beside), ("end", x - beside - width))
        spots = [(anchor, left, y + 4 + down) for anchor, left in sides for down in (0, 12, -12, 24, -24, 36)]
        if bubble:  # right above or below belongs to it, and so does what is far away but in its colour
            near = [("middle", x - width / 2, base) for base in (y - beside - 2, y + beside + 10)]
            far = [(anchor, left, y + 4 + down) for down in (-36, 48, -48, 60) for anchor, left in sides]
            spots = [spots[0], spots[6], *near, *spots, *far]
        boxes = [
            (anchor, (left, base - 10, left + width, base + 2))
            for anchor, left, base in spots
            if left + width < right + 8
        ]
        free = [each for each in boxes if not any(_overlap(each[1], other) for other in taken)]
        anchor, box = (free or boxes or [("start", (x + beside, y - 6, x + beside + width, y + 6))])[0]
        taken.append(box)
        if bubble:
            yield from _leader(x, y, radius, box, colour)
        at = {"start": box[0], "middle": x, "end": box[0] + width}[anchor]
        yield _text(at, box[1] + 10, label, anchor=anchor, colour=colour)


def _leader(x: float, y: float, radius: float, box: tuple[float, float, float, float], colour: str) -> Iterator[str]:
    """Lead from a bubble's edge to words that are not right beside it."""
    to_x, to_y = min(max(x, box[0]), box[2]), min(max(y, box[1]), box[3])
    away = math.hypot(to_x - x, to_y - y)
    if away > radius + 8:
        from_x, from_y = x + (to_x - x) * radius / away, y + (to_y - y) * radius / away
        yield f'<path d="M{from_x:.1f} {from_y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="{colour}"/>'


def _along(points: Sequence[tuple[float, float]], place: Place) -> Iterator[tuple[float, float]]:
    """Yield pixels along a line, close to each other."""
    for (x, y), (next_x, next_y) in itertools.pairwise(place(*point) for point in points):
        steps = 1 + int(math.hypot(next_x - x, next_y - y) / 4)
        for step in range(steps + 1):
            yield x + (next_x - x) * step / steps, y + (next_y - y) * step / steps


def _overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _path(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _dot(x: float, y: float, colour: str, radius: float) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{colour}"/>'


def _bubble(x: float, y: float, colour: str, radius: float) -> str:
    """Draw a dot whose middle is seen through it, where others may lie below."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="none" stroke="{colour}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.5" fill="{colour}"/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 12,
    anchor: str = "start",
    colour: str = _TEXT,
    bold: bool = False,
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(text)}</text>"
    )


def _document(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" {_FONT}>\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _pale(colour: str) -> str:
    """Return a tint; opacity is not known to every renderer."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.2 * (255 - part)):02x}" for part in parts)


def _round_step(rough: float) -> float:
    """Return 1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
