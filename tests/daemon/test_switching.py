"""Changing the model under a running frame loop, and a new one that fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.daemon import switching
from edged.daemon.engine import Engine, load_engine
from edged.daemon.loop import PROBATION_FRAMES
from edged.daemon.rehearsal import KEPT, Rehearsal
from edged.errors import ModelError
from edged.settings import ModelSettings
from edged.store import Store
from edged.types import Frame
from edged.vision.network import Network
from tests.daemon.bench import Bench
from tests.waiting import PATIENCE_S, wait_until

REHEARSED = 1 + PROBATION_FRAMES
"""Invocations before a new engine sees a live frame: one on grey, the others on kept frames."""


class Weakling(Network):
    """Runs once, to be let in, and a few times more."""

    good_for = 1
    runs = 0

    def invoke(self, prepared: Any) -> Any:
        self.runs += 1
        if self.runs > self.good_for:
            raise ModelError("the delegate has gone")
        return super().invoke(prepared)


def weaken(monkeypatch: pytest.MonkeyPatch, *, good_for: int) -> None:
    """Let every engine that is opened from now on fail after so many invocations."""
    monkeypatch.setattr(Weakling, "good_for", good_for)
    monkeypatch.setattr(
        switching, "open_engine", lambda bundle, *_: Engine(bundle, Weakling(bundle.read_model(), threads=1))
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def test_every_frame_is_answered_by_the_old_or_the_new_model(bench: Bench) -> None:
    before, new = bench.switch.running.id, bench.trained("new")
    bench.switch.use(new, patience_s=PATIENCE_S)
    assert bench.switch.running.id == new.id
    assert bench.published == 1
    assert bench.answered.count(new.id) >= PROBATION_FRAMES  # the patience was enough
    switched = bench.answered.index(new.id)
    assert set(bench.answered[:switched]) == {before}
    assert set(bench.answered[switched:]) == {new.id}
    assert bench.misses() <= 1
    assert bench.store.current("mobilenet_v2").id == new.id
    assert bench.switch.rollback().id == before
    assert bench.store.current("mobilenet_v2").id == before
    with pytest.raises(ModelError, match="nothing to roll back to"):
        bench.switch.rollback()


@pytest.mark.parametrize("answers", [0, 1, PROBATION_FRAMES - 1])
def test_a_new_model_that_fails_on_probation_goes_and_says_so(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answers: int
) -> None:
    before, new = bench.weak_one()
    weaken(monkeypatch, good_for=REHEARSED + answers)
    with pytest.raises(ModelError, match=rf"{new.id} fails \(the delegate has gone\); the old one is back"):
        bench.switch.use(new, patience_s=PATIENCE_S)
    wait_until(lambda: bench.published == 2, what="the model published again")
    assert bench.switch.running.id == before
    assert bench.store.current("mobilenet_v2").id == before
    assert bench.answered.count(new.id) == answers
    assert bench.misses() <= 1  # the frame that failed was answered too
    seen = len(bench.answered)
    wait_until(lambda: len(bench.answered) > seen, what="further frames")


@pytest.mark.parametrize("good_for", [0, 1, REHEARSED - 1])
def test_a_model_that_fails_on_the_newest_frames_answers_none(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, good_for: int
) -> None:
    before, new = bench.weak_one()
    bench.darken()  # no live frame can tell
    weaken(monkeypatch, good_for=good_for)
    with pytest.raises(ModelError, match=rf"{new.id} fails \(the delegate has gone\); the old one goes on"):
        bench.switch.use(new)
    assert bench.published == 0
    assert bench.switch.running.id == before
    assert bench.store.previous("mobilenet_v2") is None, "it was never promoted"


def test_the_verdict_does_not_wait_for_a_slow_camera(bench: Bench) -> None:
    wait_until(lambda: bench.answered, what="a frame to rehearse on")
    bench.darken()
    new = bench.trained("new")
    bench.switch.use(new)
    assert new.id not in bench.answered
    assert bench.switch.running.id == bench.store.current("mobilenet_v2").id == new.id


def test_live_frames_are_watched_after_the_verdict(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    before, new = bench.weak_one()
    bench.darken()
    weaken(monkeypatch, good_for=REHEARSED + 2)
    bench.switch.use(new)
    assert bench.switch.running.id == new.id
    bench.camera.dark = False
    wait_until(lambda: bench.published == 2, what="the model published again")
    assert bench.switch.running.id == bench.store.current("mobilenet_v2").id == before
    assert bench.answered.count(new.id) == 2


def test_kept_frames_are_few_and_small() -> None:
    rehearsal, bundle = Rehearsal(), Store(Path("/nowhere")).find("mobilenet_v2")
    engine = load_engine(bundle, ModelSettings(threads=1))
    seen: list[tuple[int, ...]] = []

    class Counting(Engine):
        def invoke(self, prepared: Any, image: Any = None) -> Any:
            seen.append(() if image is None else image.shape)
            return super().invoke(prepared, image)

    for second in range(20):
        picture = np.zeros((1080, 1920, 3), np.uint8)
        rehearsal(Frame("main", second, picture, second * 10**9, 0.0, 0.0), None, engine)  # type: ignore[arg-type]  # unused
    rehearsal.run(Counting(bundle, engine.network))
    assert seen == [(), *[(224, 398, 3)] * PROBATION_FRAMES]
    assert sum(len(frames) for frames in rehearsal._frames.values()) == KEPT


def test_who_has_waited_enough_goes_on(bench: Bench) -> None:
    bench.camera.left = PROBATION_FRAMES - 1
    asked: list[int] = []
    bench.switch.use(
        bench.trained("new"), patience_s=PATIENCE_S, enough=lambda: len(asked) > 2 or bool(asked.append(1))
    )
    assert len(asked) == 3


def test_some_live_answers_are_enough_for_who_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the model that fails on a later one is taken back all the same."""
    before, new = bench.weak_one()
    seen = threading.Event()

    class Slow(Weakling):
        def invoke(self, prepared: Any) -> Any:
            if self.runs == REHEARSED + 2:
                seen.wait(PATIENCE_S)
            return super().invoke(prepared)

    monkeypatch.setattr(Weakling, "good_for", REHEARSED + 2)
    monkeypatch.setattr(
        switching, "open_engine", lambda bundle, *_: Engine(bundle, Slow(bundle.read_model(), threads=1))
    )
    bench.switch.use(new, patience_s=PATIENCE_S, answers=2)
    assert not seen.is_set()
    assert bench.answered.count(new.id) == 2
    assert bench.switch.running.id == new.id
    seen.set()
    wait_until(lambda: bench.published == 2, what="the model published again")
    assert bench.switch.running.id == bench.store.current("mobilenet_v2").id == before


def test_a_model_that_cannot_be_loaded_changes_nothing(bench: Bench) -> None:
    new = bench.trained("cut")
    (new.path / "model.tflite").write_bytes(b"short")
    with pytest.raises(ModelError, match="damaged"):
        bench.switch.use(replace(new))
    assert bench.published == 0
    assert bench.store.previous("mobilenet_v2") is None


def test_after_the_end_nothing_is_promoted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop does not wait for a command for ever; what it promoted later was blamed for an end in order."""
    before, new = bench.switch.running.id, bench.trained("new")
    opened = switching.open_engine

    def overtaken(*args: Any) -> Engine:
        bench.switch.end(in_order=True)
        return opened(*args)

    monkeypatch.setattr(switching, "open_engine", overtaken)
    with pytest.raises(ModelError, match=f"model {new.id} is not tried, for the daemon stops"):
        bench.switch.use(new)
    assert bench.switch.running.id == bench.store.current("mobilenet_v2").id == before
    assert not (bench.store.path / "trial.json").exists()


def test_after_the_end_a_rollback_blames_nobody(bench: Bench) -> None:
    """A training that is cancelled by the stop goes back, late as that may be."""
    before = bench.switch.running.id
    bench.switch.use(bench.trained("new"))
    bench.switch.end(in_order=True)
    assert bench.switch.rollback().id == before
    assert json.loads((bench.store.path / "trial.json").read_bytes())["starts"] == 0


@pytest.mark.parametrize("back", [False, True])
def test_nobody_waits_for_frames_of_a_loop_that_has_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, back: bool
) -> None:
    """A stop waited for a promotion that waited for the frame loop, which the stop had ended."""
    before, new = bench.switch.running.id, bench.trained("new")
    if back:
        bench.switch.use(new)
    bench.close()
    monkeypatch.setattr(switching, "HAND_OVER_S", PATIENCE_S)
    published = bench.published
    changing = threading.Thread(target=bench.switch.rollback if back else lambda: bench.switch.use(new), daemon=True)
    changing.start()
    wait_until(lambda: bench.store.current("mobilenet_v2").id == (before if back else new.id), what="the promotion")
    assert changing.is_alive(), "it waits for the loop"
    bench.switch.request_stop()
    changing.join(PATIENCE_S / 2)
    assert not changing.is_alive()
    assert bench.published == published + 1


def test_the_end_waits_for_a_promotion_at_hand(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    new, lock, came = bench.trained("new"), threading.Lock(), threading.Event()
    promote, paused = bench.store.promote, bench.store.paused
    ending = threading.Thread(target=bench.switch.end, kwargs={"in_order": True})

    class Watched:
        def __enter__(self) -> None:
            if not lock.acquire(blocking=False):
                came.set()
                lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    def overtaken(*args: Any, **options: Any) -> Any:
        ending.start()
        assert came.wait(PATIENCE_S), "the end neither waits nor goes past"
        return promote(*args, **options)

    def going_past(version: str) -> None:
        paused(version)
        came.set()

    monkeypatch.setattr(bench.switch, "_changing", Watched())
    monkeypatch.setattr(bench.store, "promote", overtaken)
    monkeypatch.setattr(bench.store, "paused", going_past)
    bench.switch.use(new)
    ending.join(PATIENCE_S)
    told = json.loads((bench.store.path / "trial.json").read_bytes())
    assert (told["id"], told["starts"]) == (new.id, 0)


def test_an_end_before_the_new_model_answers_blames_nobody(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    new = bench.trained("new")
    monkeypatch.setattr(bench.switch, "_swap", lambda *_: bench.switch.end(in_order=True))
    bench.switch.use(new)
    assert bench.switch.running.id != new.id
    told = json.loads((bench.store.path / "trial.json").read_bytes())
    assert (told["id"], told["starts"]) == (new.id, 0)


def test_only_some_versions_stay(bench: Bench) -> None:
    ids = [bench.switch.use(bench.trained(f"v{number}")).id for number in range(3)]
    assert {version.id for version in bench.store.versions()} == set(ids[1:])


def test_who_goes_back_while_live_answers_are_awaited_loses_no_version(bench: Bench) -> None:
    """Where they were removed meanwhile, the model that answers again had nothing left to roll back to."""
    new, _, _ = (bench.trained(name) for name in ("new", "old", "older"))
    bench.camera.left = PROBATION_FRAMES - 1
    asked: list[int] = []

    def enough() -> bool:
        asked.append(len(bench.store.versions()))
        return len(asked) >= 4

    bench.switch.use(new, patience_s=PATIENCE_S, enough=enough)
    assert set(asked) == {4}
    assert len(bench.store.versions()) == 4


def test_who_may_yet_go_back_loses_no_version(bench: Bench) -> None:
    new, _, _ = (bench.trained(name) for name in ("new", "old", "older"))
    bench.switch.use(new, enough=lambda: True)
    assert len(bench.store.versions()) == 4
