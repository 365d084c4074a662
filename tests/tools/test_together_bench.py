"""Learning together, simulated: how photos are dealt, what stands beside the common head, and what the page says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.images import LabeledImage
from edged.images.image import split_of
from edged.learning.bottlenecks import Backbone
from edged.learning.privacy import Noise
from edged.store import read_bundle
from tests.conftest import REPOSITORY

LABELS = ("daisy", "roses", "tulips", "weeds")


def images(each: int) -> list[LabeledImage]:
    found = []
    for label in LABELS:
        for number in range(each):
            sha256 = hashlib.sha256(f"{label} {number}".encode()).hexdigest()
            found.append(LabeledImage(sha256, sha256[:16], sha256, label, split_of(sha256), sha256, 0, 0, 100))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_photos_are_dealt_evenly_or_one_or_two_classes_each(seed: int) -> None:
    from benchmarks import together

    everything = images(50)
    even, skewed = (together.deal(everything, way, np.random.default_rng(seed)) for way in together.WAYS)
    assert set(np.bincount(even)) == {20}
    assert set(skewed) <= set(range(together.DEVICES))
    for number in range(together.DEVICES):
        kinds = {image.label for image, device in zip(everything, skewed, strict=True) if device == number}
        assert 1 <= len(kinds) <= 2


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The whole measurement on clouds of bottlenecks, two devices, and the retrain in one place left out."""
    from benchmarks import together

    backbone = Backbone.of(read_bundle(REPOSITORY / "models" / "mobilenet_v2"), "auto")
    everything = images(20)
    random = np.random.default_rng(0)
    centres = random.normal(0, 8, (len(LABELS), backbone.features))
    clouds = [centres[LABELS.index(image.label)] + random.normal(0, 30, backbone.features) for image in everything]
    made = together.Photos(
        tmp_path, everything, np.clip(clouds, -128, 127).astype(np.int8),
        {image.sha256: bytes.fromhex(image.sha256[:16]) for image in everything},
    )  # fmt: skip
    monkeypatch.setattr(together, "DEVICES", 2)
    monkeypatch.setattr(together, "SETS", ("flowers",))
    monkeypatch.setattr(together, "LEVELS", {"deafening": Noise(1.0, 100.0)})
    monkeypatch.setattr(together, "photos", lambda *_: made)
    monkeypatch.setattr(together, "one_place", lambda *_: {"accuracy": 0.9, "seconds": 1.0})
    return together.measure(tmp_path, tmp_path, side="develop", seeds=1, private_seeds=1)


def test_the_common_head_stands_beside_what_could_embarrass_it(numbers: dict[str, Any]) -> None:
    from benchmarks import together

    told = numbers["sets"]["flowers"]
    for way in together.WAYS:
        (run,) = told[way]
        assert run["together"] > 0.7
        assert run["together"] >= run["alone"]
        assert sum(run["verdicts"].values()) == 2
        assert run["bytes"] > 1000
        assert told[f"private, {way}"]["deafening"][0] < 0.7
    (skewed,) = told[together.WAYS[1]]
    assert skewed["alone"] < 0.8 * skewed["together"]  # nobody alone knows all labels
    assert told["found_again"]["deafening"] < 0.2
    assert numbers["levels"]["deafening"]["epsilon"] < 0.1
    assert json.loads(together.encode(numbers))["sets"]["flowers"]["images"] == 80
    rows = list(together.table(numbers))
    assert len(rows) == 4
    assert all("90.0 %" in row for row in rows[2:])  # one place
    assert len(list(together.private_table(numbers))) == 3
    assert "points below one place" in " ".join(together.sentences(numbers))
