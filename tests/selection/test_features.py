import math

import cv2
import numpy as np
import pytest

from edged.selection.features import FEATURES, GROUPS, View, costs_ms, extract


def by_name(image):
    return dict(zip(FEATURES, extract(image).tolist(), strict=True))


def test_names_are_the_published_ones():
    assert FEATURES[:6] == (
        "n_keypoints",
        "avg_brightness",
        "brightness_rms",
        "avg_perc_brightness",
        "perc_brightness_rms",
        "contrast",
    )
    assert {"edge_length1", "edge_length7", "edge_angle1", "edge_angle7", "hue1", "hue7"} <= set(FEATURES)
    assert {"area_by_perim", "aspect_ratio"} <= set(FEATURES)
    assert len(FEATURES) == len(set(FEATURES)) == 29


def test_a_plain_colour():
    found = by_name(np.full((90, 120, 3), (200, 100, 50), np.uint8))
    perceived = math.sqrt(0.241 * 200**2 + 0.691 * 100**2 + 0.068 * 50**2)
    assert found["avg_perc_brightness"] == pytest.approx(perceived, rel=1e-4)
    assert found["perc_brightness_rms"] == pytest.approx(perceived, rel=1e-4)
    assert found["avg_brightness"] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, abs=1)
    assert found["contrast"] == 0
    assert found["n_keypoints"] == 0
    assert sum(found[f"edge_length{n}"] for n in range(1, 8)) == 0
    assert found["hue1"] == 1
    assert found["area_by_perim"] == 0
    assert found["aspect_ratio"] == pytest.approx(120 / 90)


def test_root_mean_square_is_above_the_mean_where_brightness_varies():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:50] = 255
    found = by_name(image)
    assert found["avg_brightness"] == pytest.approx(127.5, abs=1)
    assert found["brightness_rms"] == pytest.approx(255 / math.sqrt(2), abs=1)
    assert found["perc_brightness_rms"] > found["avg_perc_brightness"]
    assert found["contrast"] == pytest.approx(0.5, abs=0.01)


def test_a_rectangle_is_the_main_object_and_its_edges_have_two_directions():
    image = np.zeros((200, 256, 3), np.uint8)
    image[60:140, 28:228] = 255
    found = by_name(image)
    assert found["aspect_ratio"] == pytest.approx(200 / 80, rel=0.1)
    assert found["area_by_perim"] == pytest.approx(200 * 80 / (2 * 280), rel=0.1)
    angles = np.array([found[f"edge_angle{n}"] for n in range(1, 8)])
    assert angles.sum() == pytest.approx(1, abs=1e-5)
    assert angles[[0, 3, 6]].sum() == pytest.approx(1, abs=0.05)
    assert angles[0] + angles[6] == pytest.approx(400 / 560, abs=0.1)
    assert angles[3] == pytest.approx(160 / 560, abs=0.1)
    assert sum(found[f"edge_length{n}"] for n in range(1, 8)) >= 4
    assert found["edge_length7"] >= 2, "200 pixels are more than 6/7 of half the diagonal"
    assert found["edge_length3"] + found["edge_length4"] >= 2, "80 pixels are about half of it"


def test_the_main_object_is_the_largest():
    image = np.zeros((200, 256, 3), np.uint8)
    image[20:60, 20:220] = 255
    image[120:180, 100:120] = 255
    assert by_name(image)["aspect_ratio"] == pytest.approx(200 / 40, rel=0.1)
    square = np.zeros((64, 64, 3), np.uint8)
    square[20:40, 20:40] = 255
    assert by_name(square)["aspect_ratio"] == 1


@pytest.mark.parametrize(("end", "bin_"), [((180, 180), 2), ((180, 74), 1), ((74, 180), 3)])
def test_directions_are_told_apart(end, bin_):
    """Lines at 45, 18 and 72 degrees, falling and, mirrored, rising."""
    image = np.zeros((200, 200, 3), np.uint8)
    cv2.line(image, (40, 40) if end == (180, 180) else (20, 20), end, (255, 255, 255), 3)
    falling, rising = by_name(image), by_name(np.ascontiguousarray(image[:, ::-1]))
    assert falling[f"edge_angle{bin_}"] > 0.8
    assert rising[f"edge_angle{8 - bin_}"] > 0.8


def test_frames_are_looked_at_with_a_longest_side_of_256_pixels():
    assert View(np.zeros((512, 1024, 3), np.uint8)).rgb.shape == (128, 256, 3)
    assert View(np.zeros((1024, 512, 3), np.uint8)).rgb.shape == (256, 128, 3)
    assert View(np.zeros((2, 1024, 3), np.uint8)).rgb.shape == (1, 256, 3)
    assert View(np.zeros((1024, 2, 3), np.uint8)).rgb.shape == (256, 1, 3)
    small = np.zeros((100, 256, 3), np.uint8)
    assert View(small).rgb is small
    stripes = np.zeros((64, 1024, 3), np.uint8)
    stripes[:, ::4] = 255
    assert abs(View(stripes).rgb.astype(int) - 64).max() <= 1, "pixels are averaged, not skipped"


def test_a_corner_is_what_differs_by_more_than_20_grey_levels():
    def corners(contrast):
        image = np.full((100, 100, 3), 100, np.uint8)
        image[20:100:20, 50] += contrast  # four dots
        return by_name(image)["n_keypoints"]

    assert corners(25) == 4
    assert corners(18) == 0


def test_an_edge_begins_where_it_is_steep_and_goes_on_where_it_is_less_so():
    """Steps of 60, 35, 20 and 40 grey levels; their gradients (Sobel) are four times that: 200 begins, 100 goes on."""
    image = np.full((160, 100, 3), 100, np.uint8)
    for part, step in enumerate((60, 35, 20, 40)):
        image[40 * part : 40 * part + 40, 50:] += step
    rows = View(image).edges.any(axis=1)
    assert rows[5:75].all()
    assert not rows[85:].any()


@pytest.mark.parametrize(
    ("colour", "bin_"),
    [((255, 0, 0), 1), ((255, 255, 0), 2), ((0, 255, 0), 3), ((0, 255, 255), 4), ((0, 0, 255), 5), ((255, 0, 255), 6)],
)
def test_hues_lie_on_the_wheel(colour, bin_):
    image = np.full((10, 10, 3), colour, np.uint8)
    image[5:] = (255, 0, 10)  # just before red again
    found = by_name(image)
    assert (found[f"hue{bin_}"], found["hue7"]) == (0.5, 0.5)


def test_only_what_is_asked_for_and_in_that_order():
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    everything = by_name(image)
    some = ("hue3", "contrast", "n_keypoints")
    assert extract(image, some).tolist() == [everything[name] for name in some]
    assert extract(image, some).dtype == np.float32


def test_every_image_size_gives_finite_numbers():
    rng = np.random.default_rng(1)
    for shape in ((1, 1, 3), (2, 900, 3), (700, 3, 3), (480, 640, 3)):
        assert np.isfinite(extract(rng.integers(0, 256, shape, dtype=np.uint8))).all()


def test_a_cost_is_the_median_in_milliseconds(monkeypatch):
    clock = iter(sorted([*range(0, 10**9, 10**7), *(one + 3_000_000 for one in range(0, 10**9, 10**7))]))
    monkeypatch.setattr("edged.selection.features.time.perf_counter_ns", lambda: next(clock))
    assert set(costs_ms([np.zeros((8, 8, 3), np.uint8)] * 3).values()) == {3.0}


def test_each_feature_has_a_cost():
    costs = costs_ms([np.zeros((120, 160, 3), np.uint8)])
    assert tuple(costs) == FEATURES
    assert all(cost > 0 for cost in costs.values())
    assert costs["edge_length1"] == costs["edge_angle7"]
    assert set(GROUPS["edges"]) >= {"edge_length1", "edge_angle7"}
