import math

import numpy as np
import pytest

from edged.selection.features import FEATURES, GROUPS, costs_ms, extract


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
    assert sum(found[f"edge_length{n}"] for n in range(1, 8)) >= 4


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


def test_each_feature_has_a_cost():
    costs = costs_ms([np.zeros((120, 160, 3), np.uint8)])
    assert tuple(costs) == FEATURES
    assert all(cost > 0 for cost in costs.values())
    assert costs["edge_length1"] == costs["edge_angle7"]
    assert set(GROUPS["edges"]) >= {"edge_length1", "edge_angle7"}
