"""Charts are read back as XML: what is drawn, where, and that words do not stand on each other."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest

from edged.lab.chart import Axis, Bar, BarChart, Chart, Series

SVG = "{http://www.w3.org/2000/svg}"


def elements(svg: str, kind: str) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter(SVG + kind))


def texts(svg: str) -> list[str]:
    return ["".join(one.itertext()) for one in elements(svg, "text")]


Box = tuple[float, float, float, float]


def box(text: ET.Element) -> Box:
    """About where words stand: left, top, right, bottom."""
    width, x, y = 7 * len(text.text or ""), float(text.get("x", "")), float(text.get("y", ""))
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return left, y - 10, left + width, y + 2


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def test_lines_have_dots_names_and_two_axes() -> None:
    chart = Chart(
        "t",
        Axis("batch", log=True, ticks=(1, 20)),
        Axis("images/s", log=True),
        [Series("a", [(1, 10), (20, 30)]), Series("b & c", [(1, 11), (20, 31)])],
        legend_at_ends=True,
    )
    svg = chart.svg()
    assert len(elements(svg, "circle")) == 4
    assert {"t", "batch", "images/s", "a", "b & c", "1", "20", "10"} <= set(texts(svg))
    ends = [float(one.get("y", "")) for one in elements(svg, "text") if one.text in ("a", "b & c")]
    assert abs(ends[0] - ends[1]) >= 14, "the lines end at nearly the same place, their names do not"


def test_points_are_where_the_axes_say() -> None:
    chart = Chart("t", Axis("x"), Axis("y", percent=True), [Series("", [(0, 0.5), (5, 0.75), (10, 1.0)])])
    first, middle, last = elements(chart.svg(), "circle")
    assert float(middle.get("cx", "")) == pytest.approx((float(first.get("cx", "")) + float(last.get("cx", ""))) / 2)
    assert float(first.get("cy", "")) > float(middle.get("cy", "")) > float(last.get("cy", ""))
    ticks = {text: one for one, text in zip(elements(chart.svg(), "text"), texts(chart.svg()), strict=True)}
    assert float(ticks["50 %"].get("y", "")) - 4 == pytest.approx(float(first.get("cy", "")))
    assert float(ticks["10"].get("x", "")) == pytest.approx(float(last.get("cx", "")))


def test_a_spread_is_a_band_and_counts_for_the_axis() -> None:
    svg = Chart("t", Axis("x"), Axis("y"), [Series("a", [(0, 5), (1, 5)], spread=[5, 5])]).svg()
    assert any((one.get("d") or "").endswith("Z") for one in elements(svg, "path"))
    assert {"0", "10"} <= set(texts(svg))


def test_labels_of_near_points_do_not_stand_on_each_other() -> None:
    points = [(3.0, 0.80), (3.1, 0.80), (3.2, 0.801)]
    names = ["mobilenet", "efficientnet", "resnet"]
    svg = Chart("t", Axis("ms", log=True), Axis("top-1"), [Series("", points, line=False, labels=names)]).svg()
    boxes = [box(one) for one in elements(svg, "text") if one.text in names]
    assert len(boxes) == 3
    assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if overlap(one, other)]


def test_bubbles_cover_what_they_stand_for_and_words_do_not_stand_on_each_other() -> None:
    names = [*(f"mobilenet_v2_number_{number}" for number in range(6)), "resnet50"]
    places = [*((3.4 + number / 50, 74.0 + number / 4) for number in range(6)), (25.5, 125.0)]
    series = [
        Series("", [place], line=False, labels=[name], areas=[4.0 if name == "resnet50" else 1.0])
        for place, name in zip(places, names, strict=True)
    ]
    svg = Chart("t", Axis("x", log=True), Axis("y"), series, width=720, note="areas: MACs").svg()
    radii = [float(one.get("r", "")) for one in elements(svg, "circle") if one.get("fill") == "none"]
    assert [round((radii[-1] / radius) ** 2) for radius in radii] == [4] * 6 + [1]
    boxes = [box(one) for one in elements(svg, "text") if one.text in names]
    assert len(boxes) == len(names)
    assert not [(one, other) for one, other in itertools.combinations(boxes, 2) if overlap(one, other)]
    assert [one for one in elements(svg, "path") if "L" in one.get("d", "")], "words further away are led to"
    heights = {one.text: float(one.get("y", "")) for one in elements(svg, "text") if one.get("y")}
    assert heights["t"] < heights["areas: MACs"] < min(y for text, y in heights.items() if (text or "").isdigit())


@pytest.mark.parametrize("points", [[(1.0, 0.5)], [(1.0, 0.5), (1.0, 0.5)]])
@pytest.mark.parametrize("log", [False, True])
def test_one_place_is_enough(points: list[tuple[float, float]], log: bool) -> None:
    svg = Chart("t", Axis("x", log=log), Axis("y", log=log), [Series("a", points)]).svg()
    assert "nan" not in svg
    assert len(elements(svg, "circle")) == len(points)


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("one", 2.0, "CONV", "2 ms", "tip <b>"), Bar("two", 1.0, "ADD", "1 ms", marked=True)]
    svg = BarChart("t", "s", bars, {"CONV": "CONV 67%"}, ["CONV", "ADD"]).svg()
    _, legend, long, short = elements(svg, "rect")
    assert float(long.get("width", "")) == pytest.approx(2 * float(short.get("width", "")))
    assert legend.get("fill") == long.get("fill") != short.get("fill")
    assert "tip <b>" in ["".join(one.itertext()) for one in elements(svg, "title")]
