"""What is told of a ranking, and what a network may cost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edged import resources
from edged.errors import ModelError
from edged.lab.sources import footprint
from edged.lab.sources.cross_validation import CrossValidation
from edged.lab.sources.footprint import Footprint, measure
from edged.lab.sources.known_sources import KnownSource, read_known_sources
from edged.lab.sources.ranking import Ranking, Standing, accuracy_of, best_first
from edged.learning import Limits
from edged.memory import peak_mb
from edged.store import Bundle, Manifest, read_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIPPED = resources.shipped("models") / "mobilenet_v2"


def bundle(name: str, id_: str = "0" * 12) -> Bundle:
    manifest = {"name": name, "sha256": "0" * 64, "input": {"width": 8, "height": 8}}
    return Bundle(Path("nowhere"), id_, Manifest.model_validate(manifest), ("a", "b"))


def measured(right: int, of: int) -> CrossValidation:
    return CrossValidation(np.arange(of) < right, np.full(of, 0.5))


def test_a_ranking_tells_what_is_known_of_each_network_and_nothing_else() -> None:
    source = KnownSource("ImageNet", 1_281_167, 0.72, np.ones(3), 10)
    first = Standing(
        bundle("first", "1" * 12), source, 0.123456, 3.456789, measured(2, 3), 1.23456, Footprint(4.5, 20.25), "beware"
    )
    ranking = Ranking((first, Standing(bundle("second"))), 17, "exact", 0.123456, "it is", 12.345, rounds=3)
    report = ranking.report().to_json()
    assert report == {
        "chosen": "first",
        "way": "exact",
        "reason": "it is",
        "exact": True,
        "images": 17,
        "rounds": 3,
        "no_transfer": 0.1235,
        "seconds": 12.35,
        "sources": [
            {
                "name": "first",
                "id": "1" * 12,
                "dataset": "ImageNet",
                "source_images": 1_281_167,
                "divergence": 0.1235,
                "score": 3.4568,
                "accuracy": 0.6667,
                "error": 0.2722,
                "images": 3,
                "frame_ms": 4.5,
                "memory_mb": 20.25,
                "seconds": 1.2346,
                "warning": "beware",
            },
            {"name": "second", "id": "0" * 12},
        ],
    }


def test_the_more_accurate_come_first_then_the_surer_then_by_name() -> None:
    heads = {
        "d": ([1, 1, 0], [0.6, 0.6, 0.3]),
        "b": ([1, 1, 0], [0.5, 0.5, 0.2]),
        "a": ([1, 1, 0], [0.5, 0.5, 0.2]),
        "e": ([1, 0, 0], [0.9, 0.9, 0.9]),
        "c": ([1, 1, 1], [0.4, 0.4, 0.4]),
    }
    made = [
        Standing(bundle(name), measured=CrossValidation(np.array(correct, bool), np.array(likelihood)))
        for name, (correct, likelihood) in heads.items()
    ]
    assert [one.bundle.name for one in best_first(made)] == ["c", "d", "a", "b", "e"]


def test_only_the_exact_way_is_exact_and_what_is_not_known_is_absent() -> None:
    report = Ranking((Standing(bundle("only")),), 5, "race", None, "it is", 1.0).report().to_json()
    assert report["exact"] is False
    assert not {"no_transfer", "rounds"} & report.keys()


def test_an_accuracy_is_a_measured_one() -> None:
    assert accuracy_of(Standing(bundle("one"), measured=measured(3, 4))) == 0.75
    with pytest.raises(ModelError, match="one: has not been measured"):
        accuracy_of(Standing(bundle("one")))


@pytest.mark.parametrize(
    ("limits", "excess"),
    [
        (Limits(), None),
        (Limits(within_ms=12.34), None),
        (Limits(memory_mb=50.0), None),
        (Limits(within_ms=12.3), "takes 12.3 ms a frame, more than 12.3"),
        (Limits(memory_mb=49.5), "takes 50 MB, more than 49.5"),
        (Limits(within_ms=12, memory_mb=50), "takes 12.3 ms a frame, more than 12"),
        (Limits(within_ms=20, memory_mb=40), "takes 50 MB, more than 40"),
        (Limits(within_ms=1, memory_mb=1), "takes 12.3 ms a frame, more than 1; takes 50 MB, more than 1"),
    ],
)
def test_what_is_over_a_limit_says_by_what(limits: Limits, excess: str | None) -> None:
    assert Footprint(12.34, 50.0).excess(limits) == excess


def test_a_network_is_weighed_in_a_process_of_its_own() -> None:
    found = measure(read_bundle(SHIPPED), runtime="auto", threads=1)
    assert found.frame_ms > 0.1
    model_mb = (SHIPPED / "model.tflite").stat().st_size / 1e6
    assert model_mb < found.memory_mb < 40 * model_mb, "at least its weights, far less than this process"


class Invoked:
    """A network that takes what it is told to, and notes how it was opened."""

    height, width = 3, 4

    def __init__(self, durations_ms: list[float], clock: Clock) -> None:
        self.frames: list[object] = []
        self._durations_ms, self._clock = durations_ms, clock

    def __call__(self, model: bytes, **options: object) -> Invoked:
        self.model, self.options = model, options
        return self

    def invoke(self, frame: NDArray[np.uint8]) -> SimpleNamespace:
        assert (frame.shape, frame.dtype) == ((3, 4, 3), np.uint8)
        took_ms = self._durations_ms[min(len(self.frames), len(self._durations_ms) - 1)]
        self.frames.append(frame)
        self._clock.now += took_ms / 1e3
        return SimpleNamespace(invoke_ms=took_ms)


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("durations_ms", "runs", "frame_ms"),
    [
        ([1.0, 2.0, 9.0, 8.0, 7.1234, 8.0], 2 + 30, 7.123),  # the first two do not count
        ([500.0, 500.0, 300.0, 301.0, 302.0, 299.0, 400.0], 2 + 5, 299.0),  # five in any case
        ([0.0, 0.0, 100.0], 2 + 10, 100.0),  # no new one after a second
    ],
)
def test_a_frame_takes_the_shortest_of_some_invocations(
    durations_ms: list[float], runs: int, frame_ms: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, peaks = Clock(), [20.04, 51.5]
    network = Invoked(durations_ms, clock)
    monkeypatch.setattr("edged.vision.network.Network", network)
    monkeypatch.setattr(footprint, "time", clock)
    monkeypatch.setattr(footprint, "peak_mb", lambda: peaks.pop(0))
    found = footprint._weigh(footprint.Weighing(SHIPPED, "litert", 3), lambda _: None)
    assert len(network.frames) == runs
    assert found == Footprint(frame_ms, 31.5)
    shipped = read_bundle(SHIPPED)
    assert network.model == shipped.read_model()
    assert network.options == {
        "runtime": "litert", "threads": 3, "crop": shipped.manifest.input.crop, "outputs": shipped.manifest.outputs
    }  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this kernel cannot forget a peak")
def test_the_weighing_of_a_network_leaves_out_what_the_process_needed_before() -> None:
    held = bytearray(100_000_000)  # resident at its peak, and given back
    held[::4096] = b"x" * len(held[::4096])
    del held
    before = peak_mb()
    footprint._forget_peak()
    assert peak_mb() < before


def test_a_network_that_cannot_run_says_why() -> None:
    with pytest.raises(ModelError, match="nowhere: no such model folder"):
        measure(bundle("one"), runtime="auto", threads=1)


def test_the_table_is_read_as_it_is_written(tmp_path: Path) -> None:
    table = {
        "reference": {"sha256": ["r" * 64, "s" * 64]},
        "datasets": {
            "Toys": {
                "images": 300,
                "photos": 20,
                "mean": "ADwAQAA+",  # 1, 2 and 1.5 as half floats, little endian
                "networks": [
                    {"sha256": "a" * 64, "imagenet_top1": 0.7},
                    {"sha256": "0" * 64, "imagenet_top1": 0.6},
                ],
            }
        },
    }
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    known = read_known_sources(path)
    assert known.reference_sha256 == {"r" * 64, "s" * 64}
    source = known.by_sha256["a" * 64]
    assert (source.dataset, source.images, source.accuracy, source.photos) == ("Toys", 300, 0.7, 20)
    assert (source.mean.tolist(), source.mean.dtype) == ([1.0, 2.0, 1.5], np.float64)
    found = known.of(bundle("any"))
    assert found is not None
    assert found.accuracy == 0.6, "by the sha256 of its backbone"
    unknown = Manifest.model_validate({"name": "u", "sha256": "b" * 64, "input": {"width": 8, "height": 8}})
    assert known.of(Bundle(Path("nowhere"), "b" * 12, unknown, ())) is None
