"""What a measuring process reports, on a clock and a network that are known, and on a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.errors import ModelError
from edged.lab.profiling import tasks
from tests.networks import made


class Clock:
    """Wall and processor time; the second goes twice as fast."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def process_time(self) -> float:
        return 2 * self.now


class Known:
    """A runner that takes 4 ms for each image, and 8 ms more for each call; its scores are the images' sums."""

    made: list[Known] = []  # noqa: RUF012 - emptied by each test

    def __init__(self, model: bytes, **options: Any) -> None:
        self.model, self.options, self.seen = model, options, list[Any]()
        Known.made.append(self)

    def infer(self, images: Any) -> float:
        took_ms = 8.0 + 4.0 * len(images)
        self.seen.append(images.copy())
        CLOCK.now += took_ms / 1e3
        return took_ms

    def get(self) -> Any:
        wrong = self.model == b"wrong batch" and len(self.seen[-1]) > 1
        return self.seen[-1].reshape(len(self.seen[-1]), -1).sum(axis=1, keepdims=True) + int(wrong)


CLOCK = Clock()


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A request of the known network and three images."""
    CLOCK.now = 100.0
    Known.made = []
    monkeypatch.setattr(tasks, "Runner", Known)
    monkeypatch.setattr(tasks, "time", CLOCK)
    monkeypatch.setattr(tasks, "with_free_batch", lambda model: model)
    np.save(tmp_path / "images.npy", np.arange(12, dtype=np.uint8).reshape(3, 2, 2))
    (tmp_path / "model").write_bytes(b"model")
    return {
        "images": tmp_path / "images.npy", "model": tmp_path / "model", "runtime": "litert", "threads": 3,
        "count": 5, "seconds": 60.0,
    }  # fmt: skip


def test_timing_counts_what_comes_after_the_warming_up(known: dict[str, Any]) -> None:
    found = tasks.run_timing(known)
    (runner,) = Known.made
    assert [int(images[0, 0, 0]) for images in runner.seen] == [0, 4, 8, 0, 4, 8, 0, 4], "three, then five, in turn"
    assert (runner.model, runner.options) == (b"model", {"runtime": "litert", "threads": 3})
    assert {key: found[key] for key in ("images", "total_ms", "mean_ms", "p50_ms", "p99_ms", "cpu_ms", "threads")} == {
        "images": 5, "total_ms": 60.0, "mean_ms": 12.0, "p50_ms": 12.0, "p99_ms": 12.0, "cpu_ms": 24.0, "threads": 3
    }  # fmt: skip
    assert found["version"] == tasks.version("litert")


def test_a_batch_tells_images_a_second_and_the_rest_of_each_call(known: dict[str, Any]) -> None:
    found = tasks.run_batch({**known, "batch": 2})
    single, freed = Known.made
    assert (len(single.seen), freed.options) == (1, {"runtime": "litert", "threads": 3, "batch": 2})
    assert [len(images) for images in freed.seen] == [2] * 4, "one to warm up, then three, for at least five images"
    assert {key: found[key] for key in ("images", "cpu_ms", "images_per_s", "batch_ms")} == {
        "images": 6, "cpu_ms": 16.0, "images_per_s": 125.0, "batch_ms": 16.0
    }  # fmt: skip
    assert 0 < found["base_mb"] <= found["peak_mb"]


def test_a_batch_larger_than_the_images_begins_with_the_first_again(known: dict[str, Any]) -> None:
    found = tasks.run_batch({**known, "batch": 5})
    assert Known.made[1].seen[0][:, 0, 0].tolist() == [0, 4, 8, 0, 4]
    assert found["images"] == 5


def test_a_batch_of_one_needs_no_other_graph(known: dict[str, Any]) -> None:
    found = tasks.run_batch({**known, "batch": 1})
    assert len(Known.made) == 1
    assert (found["images"], found["batch_ms"]) == (5, 12.0)


def test_a_batch_that_gives_other_scores_is_refused(known: dict[str, Any]) -> None:
    known["model"].write_bytes(b"wrong batch")
    with pytest.raises(ModelError, match="a batch of 2 gives other scores than its images alone"):
        tasks.run_batch({**known, "batch": 2})


def test_no_new_call_begins_after_the_time(known: dict[str, Any]) -> None:
    assert tasks.run_timing({**known, "count": 1000, "seconds": 0.03})["images"] == 3
    assert tasks.run_timing({**known, "count": 2, "seconds": 0.0})["images"] == 1


def test_a_real_network_is_timed_alone_and_in_batches(tmp_path: Path) -> None:
    network = made("made_v1_128")
    (tmp_path / "model").write_bytes(network.model)
    np.save(tmp_path / "images.npy", np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8))
    request = {
        "images": tmp_path / "images.npy", "model": tmp_path / "model", "runtime": "litert", "threads": 1,
        "count": 4, "seconds": 60.0,
    }  # fmt: skip
    alone, batch = tasks.TASKS["timing"](request), tasks.TASKS["batch"]({**request, "batch": 3})
    assert (alone["images"], batch["images"]) == (4, 6)
    assert alone["cpu_ms"] > 0
    assert batch["images_per_s"] == pytest.approx(3e3 / batch["batch_ms"], rel=0.5)


def test_rounded_times_are_in_milliseconds() -> None:
    found = tasks.summarize([1.23456, 2.34567, 3.45678])
    assert found == {
        "images": 3, "total_ms": 7.037, "mean_ms": 2.3457, "p50_ms": 2.3457, "p95_ms": 3.4568, "p99_ms": 3.4568
    }  # fmt: skip
