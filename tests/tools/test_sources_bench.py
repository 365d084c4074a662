"""What the measurement of the choice of a source takes for the default's choice and its time, on made networks."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edged.lab.sources.cross_validation import CrossValidation
from edged.lab.sources.race import FEW, SHARE
from edged.vision.quantization import Affine
from tests.conftest import REPOSITORY

LABELS = 3
NOISES = (60, 90, 60, 120)
PASS_S = (2.0, 0.5, 0.5, 0.1)
"""The first and the third network are alike; the first is slow."""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    from benchmarks import sources

    monkeypatch.setattr(sources, "prior", lambda _entrant: None)
    return sources


def target(bench: ModuleType, photos: int) -> Any:
    random = np.random.default_rng(0)
    labels = np.arange(photos) % LABELS
    means = random.integers(80, 176, (LABELS, 16))
    entrants = []
    for noise, pass_s in zip(NOISES, PASS_S, strict=True):
        features = means[labels] + np.random.default_rng(noise).normal(0, noise, (photos, 16))
        features = np.clip(features, 0, 255).astype(np.uint8)
        one = bench.Entrant(SimpleNamespace(), features, Affine(0.02, 0), np.full(photos, pass_s), 1.0, None)
        entrants.append(one)
    return bench.Target(labels, [str(number) for number in range(photos)], entrants)


def test_fewer_photos_than_the_limit_are_all_seen_and_all_paid_for(bench: ModuleType) -> None:
    few = target(bench, FEW - 1)
    choice = bench.by_default(few, 0)
    ranks = [bench.cross_validated(few, one, 0).rank for one in few.entrants]
    assert ranks[choice.network] == max(ranks)
    assert (choice.rounds, choice.photos, choice.worse, choice.slow) == (1, FEW - 1, 0, 0)
    assert bench.passes_s(few) == pytest.approx(4 * 1.0 + (FEW - 1) * sum(PASS_S))
    assert bench.passes_s(few) < choice.seconds < bench.passes_s(few) * 1.2


def test_more_photos_are_raced_over(bench: ModuleType) -> None:
    many = target(bench, FEW)
    chosen, raced = bench.by_default(many, 0), bench.by_race(many, 0)
    assert (chosen.network, chosen.rounds, chosen.photos) == (raced.network, raced.rounds, raced.photos)
    assert chosen.rounds > 1
    assert chosen.worse + chosen.slow > 0
    assert chosen.seconds < 1.1 * SHARE * bench.passes_s(many)


def test_exact_ranks_by_right_ones_and_between_equals_by_how_sure_they_were(bench: ModuleType) -> None:
    def found(right: int, likelihood: float) -> float:
        return float(bench.in_order(CrossValidation(np.arange(10) < right, np.full(10, likelihood))))

    assert found(6, 0.1) > found(5, 0.9)
    assert found(6, 0.3) > found(6, 0.2)
