"""The list of a network's operators: a chain from the input to the scores, cut in two at the bottleneck."""

from __future__ import annotations

import numpy as np
import pytest

from edged.vision.graph import Graph
from edged.vision.operators import operators
from tests.vision.conftest import EXPECTED, network_file


@pytest.mark.parametrize("name", EXPECTED)
def test_every_network_is_a_backbone_and_a_head(name: str) -> None:
    expected, found = EXPECTED[name], operators(network_file(name))
    assert found[0].outputs[0].shape[-3:] == (expected.size, expected.size, 3)
    before: dict[str, int] = {}
    for one in found:
        for maker, place in one.inputs:
            assert place < before[maker], "an operator reads what was made before it"
        before[one.name] = len(one.outputs)
    assert len(before) == len(found), "names are unique"
    parts = [one.part for one in found]
    assert parts == sorted(parts, key=["input", "backbone", "head"].index)
    head = [one for one in found if one.part == "head"]
    (classifier,) = [one for one in head if one.kind == expected.head]
    assert classifier.constants[0][0] == expected.classes
    assert classifier.constants[0][-1] == expected.features
    assert ("SOFTMAX" in {one.kind for one in head}) == expected.softmax
    assert all(one.name.startswith(f"{one.part}/") for one in found[1:])


@pytest.mark.parametrize("name", EXPECTED)
def test_a_new_head_stands_where_the_old_one_stood(name: str) -> None:
    model = network_file(name)
    features = EXPECTED[name].features
    retrained = Graph(model).replace_head(np.ones((3, features), np.float32), np.zeros(3, np.float32), (-1.0, 1.0))
    before, after = ([one for one in operators(each) if one.part != "head"] for each in (model, retrained))
    assert [(one.name, one.kind, one.outputs) for one in after] == [(one.name, one.kind, one.outputs) for one in before]
    head = [one for one in operators(retrained) if one.part == "head"]
    assert head[-1].outputs[0].shape[-1] == 3
    (classifier,) = [one for one in head if one.kind == "CONV_2D"]
    assert classifier.constants == ((3, 1, 1, features), (3,))
    assert head[0].inputs == ((before[-1].name, 0),)
