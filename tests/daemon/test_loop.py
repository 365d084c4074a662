"""The frame loop, its cameras faked on their port and its networks on theirs: which frame is answered by whom."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from edged.daemon.loop import PROBATION_FRAMES, FrameLoop, Swap
from edged.errors import ModelError
from edged.types import Frame, Region

IMAGE = np.zeros((8, 8, 3), np.uint8)


class FakeCameras:
    """As many frames as wanted, each prepared by what `set_prepare` named last, like a capture thread's slot of one."""

    def __init__(self, prepare: Callable[..., Any]) -> None:
        self.prepare = prepare
        self.left = 0
        self.seq = 0
        self.slot: Frame | None = None
        self.interval: float | None = None
        self.regions: tuple[Region, ...] | None = None

    def set_prepare(self, prepare: Callable[..., Any]) -> None:
        self.prepare = prepare

    def interval_s(self, camera: str) -> float | None:
        return self.interval

    def fill(self) -> None:
        """Put the next frame into the slot, prepared as of now."""
        self.slot = Frame("main", self.seq, IMAGE, 0, 0.0, 0.0, prepared=self.prepare(IMAGE), prepared_by=self.prepare)
        if self.regions is not None:
            self.slot = Frame("main", self.seq, IMAGE, 0, 0.0, 0.0, regions=self.regions)
        self.seq += 1

    def take(self, timeout_s: float) -> Frame | None:
        if self.slot is None and self.left > 0:
            self.fill()
        self.left = max(0, self.left - 1)
        frame, self.slot = self.slot, None
        return frame


@dataclass(frozen=True)
class FakeBundle:
    id: str
    name: str = "fake"


@dataclass(eq=False)
class FakeEngine:
    """Marks what it prepares, and fails on the invocations that it is told to fail on."""

    bundle: FakeBundle
    fails: Callable[[int], bool] = lambda _: False
    invoked: list[str] = field(default_factory=list)

    def prepare(self, image: Any) -> str:
        return f"prepared by {self.bundle.id}"

    def prepare_region(self, image: Any) -> str:
        return self.prepare(image)

    def invoke(self, prepared: str, image: Any = None) -> str:
        self.invoked.append(prepared)
        if self.fails(len(self.invoked)):
            raise ModelError("invocation failed: out of luck")
        return f"answer of {self.bundle.id}"


class Loop:
    def __init__(self, **engine: Any) -> None:
        self.old = FakeEngine(FakeBundle("old"), **engine)
        self.cameras = FakeCameras(self.old.prepare)
        self.answers: list[tuple[int, str, str]] = []
        self.steps: list[bool] = []
        self.lost: list[str] = []
        self.tracks: list[str] = []
        self.loop = FrameLoop(
            self.cameras,  # type: ignore[arg-type]  # fakes
            self.old,  # type: ignore[arg-type]
            self._sink,
            self.steps.append,
            finish=lambda frame: self.tracks.append(f"end of {frame.seq}"),
            regions_max={"main": 3},
        )

    def _sink(self, frame: Frame, outputs: Any, engine: Any) -> None:
        self.answers.append((frame.seq, engine.bundle.id, outputs))
        if frame.region is not None:
            self.tracks.append(frame.region.track)

    def run(self, frames: int) -> None:
        self.cameras.left += frames
        for _ in range(frames):
            self.loop.step()

    def swap(self, engine: FakeEngine) -> None:
        self.loop.swap(Swap(engine, lambda error: self.lost.append(str(error))))  # type: ignore[arg-type]  # a fake


def new_engine(fails: Callable[[int], bool] = lambda _: False) -> FakeEngine:
    return FakeEngine(FakeBundle("new"), fails)


def test_a_swap_costs_no_frame() -> None:
    loop = Loop()
    loop.run(3)
    loop.swap(new_engine())
    loop.run(3)
    assert [(seq, model) for seq, model, _ in loop.answers] == [(n, "old" if n < 3 else "new") for n in range(6)]
    assert all(outputs == f"answer of {model}" for _, model, outputs in loop.answers)
    assert loop.steps == [True] * 6


def test_a_frame_prepared_for_the_old_model_is_prepared_anew() -> None:
    loop = Loop()
    loop.cameras.fill()  # captured before the swap
    new = new_engine()
    loop.swap(new)
    loop.run(2)
    assert new.invoked == ["prepared by new"] * 2
    assert loop.old.invoked == []


def test_a_frame_that_nobody_prepared_is_prepared() -> None:
    loop = Loop()
    loop.cameras.slot = Frame("main", 0, IMAGE, 0, 0.0, 0.0)
    loop.loop.step()
    assert loop.old.invoked == ["prepared by old"]


def test_of_two_swaps_at_once_the_later_counts() -> None:
    loop = Loop()
    first, second = new_engine(), FakeEngine(FakeBundle("newer"))
    loop.swap(first)
    loop.swap(second)
    loop.run(2)
    assert [model for _, model, _ in loop.answers] == ["newer"] * 2
    assert first.invoked == []


def test_a_new_model_that_fails_gives_the_frame_back() -> None:
    loop = Loop()
    loop.run(1)
    loop.swap(new_engine(fails=lambda number: number == 3))
    loop.run(5)
    assert [model for _, model, _ in loop.answers] == ["old", "new", "new", "old", "old", "old"]
    assert [seq for seq, _, _ in loop.answers] == list(range(6))
    assert loop.lost == ["invocation failed: out of luck"]
    assert loop.cameras.prepare == loop.old.prepare
    assert loop.loop.engine is loop.old


def test_after_its_probation_a_model_stays_whatever_happens(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    new = new_engine(fails=lambda number: PROBATION_FRAMES < number <= PROBATION_FRAMES + 3)
    loop.swap(new)
    with caplog.at_level(logging.ERROR):
        loop.run(PROBATION_FRAMES + 5)
    assert loop.loop.engine is new
    assert loop.lost == []
    assert len(loop.answers) == PROBATION_FRAMES + 2
    assert loop.steps.count(False) == 3, "a frame without an answer is no success that readiness may rest on"
    assert len(caplog.records) == 1, "a repeated failure is told once"


def test_a_failure_now_and_then_does_not_end_the_process() -> None:
    loop = Loop(fails=lambda number: number % 50 != 0)
    loop.run(500)
    assert len(loop.answers) == 10


def test_failing_again_and_again_ends_the_process_with_its_reason() -> None:
    loop = Loop(fails=lambda _: True)
    with pytest.raises(ModelError, match=r"^invocation failed: out of luck$"):
        loop.run(500)
    assert loop.answers == []
    assert True not in loop.steps


def test_without_a_frame_the_loop_still_turns() -> None:
    loop = Loop()
    loop.loop.step()
    new = new_engine()
    loop.swap(new)
    loop.loop.step()
    assert loop.steps == [False, False]
    assert loop.loop.engine is new, "a swap waits for no frame"


def five(**more: Any) -> tuple[Region, ...]:
    return tuple(Region(str(number), (0, 0, 0.5, 0.5), number, **more) for number in (5, 4, 3, 2, 1))


def test_regions_are_classified_in_turn_and_the_frame_after_them() -> None:
    loop = Loop()
    loop.cameras.regions = five()
    loop.run(2)
    assert loop.tracks == ["5", "4", "3", "end of 0", "2", "1", "5", "end of 1"]
    assert loop.steps == [True] * 2


def test_a_frame_whose_time_is_over_gets_one_region() -> None:
    loop = Loop()
    loop.cameras.regions, loop.cameras.interval = five(), 0.0
    loop.run(2)
    assert loop.tracks == ["5", "end of 0", "4", "end of 1"]


def test_a_frame_without_anything_to_classify_is_done_too() -> None:
    loop = Loop()
    loop.cameras.regions = five(visible=False)
    loop.run(1)
    loop.cameras.regions = ()
    loop.run(1)
    assert loop.tracks == ["end of 0", "end of 1"]
    assert loop.steps == [True] * 2
    assert loop.old.invoked == []


def test_a_new_model_proves_itself_also_where_nothing_moves() -> None:
    loop = Loop()
    loop.cameras.regions = ()
    proved: list[bool] = []
    new = new_engine()
    loop.loop.swap(Swap(new, lambda _: None, lambda: proved.append(True)))  # type: ignore[arg-type]  # a fake
    loop.run(PROBATION_FRAMES + 3)
    assert proved == [True]
    assert len(new.invoked) == PROBATION_FRAMES
    assert loop.answers == [], "nothing is told of what was classified for the trial alone"


def test_a_new_model_that_fails_on_a_region_is_taken_back_and_no_region_is_lost() -> None:
    loop = Loop()
    loop.cameras.regions = five()
    loop.swap(new_engine(lambda number: number == 2))
    loop.run(1)
    assert loop.tracks == ["5", "4", "3", "end of 0"]
    assert [model for _, model, _ in loop.answers] == ["new", "old", "old"]
    assert loop.lost == ["invocation failed: out of luck"]
