"""Layers on real models: all there, adding up, and nothing else than the whole."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged.contract.reports import LayersSum
from edged.lab.profiling.layers import Round, profile_layers, summarize_rounds
from edged.terminal.profile import explained_text
from tests.conftest import HAS_SHARED_DATA
from tests.vision.conftest import network_file, noise_for

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize("runtime", ["litert", "tflite_runtime"])
def test_the_layers_explain_the_whole(model: bytes, noise: NDArray[np.uint8], runtime: str) -> None:
    """The median of five: tools/reports/layers.json has the spread of single runs, alone and on a loaded machine."""
    pytest.importorskip({"litert": "ai_edge_litert", "tflite_runtime": "tflite_runtime"}[runtime])
    runs = [profile_layers(model, noise[:1], runtime=runtime, rounds=16, seconds=10) for _ in range(5)]
    assert 0.88 < statistics.median(whole.explained or 0.0 for _, whole in runs) < 1.18
    for layers, whole in runs:
        assert whole.exact
        assert whole.explained is not None
        assert whole.explained_range is not None
        assert whole.explained_range[0] <= whole.explained <= whole.explained_range[1]
        assert len(layers) == 67
        assert sum(layer.share for layer in layers) == pytest.approx(1, abs=1e-3)
        assert sum(layer.ms for layer in layers) == pytest.approx(whole.sum_ms, rel=1e-3)
        (slowest,) = [layer for layer in layers if layer.slowest]
        assert slowest.ms == max(layer.ms for layer in layers)
        assert (layers[0].op, layers[0].input_shape) == ("QUANTIZE", (1, 224, 224, 3))


def clock_of(interval_us: Callable[[int], int]) -> Callable[[], int]:
    """A clock that is read before and after each invocation: the n-th one takes `interval_us(n)`."""

    def times() -> Iterator[int]:
        now = number = 0
        while True:
            yield now
            now += 1000 * interval_us(number)
            number += 1
            yield now

    return times().__next__


def test_a_report_says_what_the_clock_said(model: bytes, noise: NDArray[np.uint8]) -> None:
    """The real network on a clock that is known: layer n takes n + 20 µs, a call 10 µs, the whole 6 ms."""
    idle = 9

    def interval_us(number: int) -> int:
        place = number % (67 + idle + 1)
        return 20 + place if place < 67 else 10 if place < 67 + idle else 6000

    layers, whole = profile_layers(
        model, noise[:1], runtime="litert", rounds=8, seconds=60, clock=clock_of(interval_us)
    )
    assert [layer.ms for layer in layers] == pytest.approx([(10 + place) / 1000 for place in range(67)], abs=1e-5)
    assert whole.call_us == pytest.approx(10)
    assert whole.sum_ms == pytest.approx(sum(10 + place for place in range(67)) / 1000, abs=1e-4)
    assert whole.whole_ms == pytest.approx(5.99, abs=1e-4)
    assert whole.explained == pytest.approx(whole.sum_ms / 5.99, abs=1e-3)
    assert layers[-1].slowest


def test_load_that_hits_a_whole_round_cancels() -> None:
    """Every round is slower by a factor of its own; layers and whole of a round share it, so the ratio stays."""
    random = np.random.default_rng(0)
    plain = random.uniform(0.01, 0.2, 40)
    rounds = []
    for factor in 1 + random.exponential(1.0, 30):
        rounds.append(Round(tuple(plain * factor), float(plain.sum() / 0.9 * factor), 0.0))
    found = summarize_rounds(rounds)
    assert found.explained == pytest.approx(0.9)
    assert found.range == pytest.approx((0.9, 0.9))
    assert found.layers / found.total == pytest.approx(plain / plain.sum())


def test_rounds_that_were_disturbed_do_not_count() -> None:
    calm = [Round((1.0, 2.0), 3.0, 0.0)] * 10
    found = summarize_rounds([*calm, *[Round((5.0, 2.0), 3.0, 0.0)] * 20])
    assert list(found.layers) == [1.0, 2.0]
    assert (found.whole, found.explained) == (3.0, 1.0)


def test_the_cost_of_a_call_is_taken_off_every_layer_and_once_off_the_whole() -> None:
    found = summarize_rounds([Round((1.5, 2.5, 0.4), 5.5, 0.5)] * 4)
    assert list(found.layers) == [1.0, 2.0, 0.0]
    assert (found.whole, found.explained) == (5.0, pytest.approx(0.6))


def test_a_whole_that_takes_no_time_explains_nothing() -> None:
    found = summarize_rounds([Round((1.0,), 0.5, 0.5)] * 4)
    assert (found.explained, found.range) == (None, None)


def test_the_quiet_quarter_is_that_of_operators_and_whole_together() -> None:
    """One round is quick for the operators, another for the whole; neither is quiet, the four between are."""
    rounds = [Round((1.0,), 99.0, 0.0), Round((99.0,), 1.0, 0.0), *[Round((4.0,), 5.0, 0.0)] * 2]
    rounds += [Round((50.0,), 50.0, 0.0)] * 4
    found = summarize_rounds(rounds)
    assert (found.layers.tolist(), found.whole, found.range) == ([4.0], 5.0, (0.8, 0.8))


def test_numbers_are_means_of_the_quiet_rounds_and_the_range_is_theirs() -> None:
    quiet = [Round((1.0, 2.0), 3.0, 0.0), Round((2.0, 2.0), 2.0, 0.0)]
    found = summarize_rounds([*quiet, *[Round((9.0, 9.0), 9.0, 0.0)] * 6])
    assert found.layers.tolist() == [1.5, 2.0]
    assert (found.total, found.whole, found.explained) == (3.5, 2.5, pytest.approx(1.4))
    assert found.range == (1.0, 2.0)


def test_the_cost_of_a_call_is_the_median_of_all_rounds() -> None:
    rounds = [Round((3.0,), 4.0, call) for call in (0.5, 9.0, 1.0)]
    found = summarize_rounds(rounds)
    assert (found.call, found.layers.tolist(), found.whole) == (1.0, [2.0], 3.0)


def test_people_read_the_spread_beside_the_ratio() -> None:
    numbers = {"sum_ms": 1.0, "whole_ms": 1.0, "call_us": 1.0, "rounds": 4, "exact": True, "runtime": "x", "threads": 1}
    told = LayersSum.model_validate({**numbers, "explained": 1.012, "explained_range": (0.95, 1.1)})
    assert explained_text(told) == "101.2% explained, 95.0% to 110.0% in single rounds"
    older = LayersSum.model_validate({**numbers, "explained": 1.012})
    assert explained_text(older) == "101.2% explained"


NAMES = ["made_v1_128", "made_birds", "made_inception", "made_resnet"]
NAMES += ["mobilenet_v1_0.25_128_quant", "efficientnet_lite0_224_uint8_ptq"] if HAS_SHARED_DATA else []


@pytest.mark.parametrize("name", NAMES)
def test_the_chain_of_every_kind_is_exact(name: str) -> None:
    model = network_file(name)
    _, whole = profile_layers(model, noise_for(model, 1), runtime="litert", rounds=3, seconds=1)
    assert whole.exact
