"""The made networks are what they stand for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from edged.vision.flatbuffer import operator_name, unpack
from tests.networks import KINDS, made
from tests.vision.conftest import MADE, REAL


def operators(model: bytes) -> set[str]:
    graph = unpack(model)
    return {operator_name(graph, operator) for operator in graph.subgraphs[0].operators}


def test_each_real_network_has_a_made_one_of_its_kind() -> None:
    stands_for = {kind.like: name for name, kind in KINDS.items() if kind.like}
    assert sorted(stands_for) == sorted(REAL)
    for real, name in stands_for.items():
        assert dataclasses.replace(MADE[name], features=REAL[real].features) == REAL[real]


def test_the_real_networks_have_no_other_operators(shared_data: Path) -> None:
    manifest = json.loads((shared_data / "models" / "manifest.json").read_text())["models"]
    stands_for = {kind.like: name for name, kind in KINDS.items() if kind.like}
    assert sorted(f"{like}.tflite" for like in stands_for) == sorted(entry["file"] for entry in manifest)
    for entry in manifest:
        real = operators((shared_data / "models" / entry["file"]).read_bytes())
        assert real <= operators(made(stands_for[Path(entry["file"]).stem]).model)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_small(name: str) -> None:
    assert len(made(name).model) < 800_000
