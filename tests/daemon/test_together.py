"""A model that was made elsewhere is judged beside the one that answers, and answers only if that one still does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.contract.commands import Command, ModelsJudgeArgs
from edged.contract.messages import Job
from edged.daemon.together import Together
from edged.jobs.runner import JobRunner
from edged.store import Bundle
from tests.albums import LABELS, make_album
from tests.daemon.bench import Bench
from tests.heads import headed

SWAPPED = ("discs", "checks", "stripes")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("replaced", [False, True])
def test_a_model_that_was_compared_with_another_one_does_not_answer(
    bench: Bench, tmp_path: Path, replaced: bool
) -> None:
    """Between the verdict and the switch somebody uses another model, or installs another one under the name."""
    make_album(tmp_path / "images", 15)

    def add(taught: tuple[str, ...], name: str) -> Bundle:
        return bench.store.add(headed(taught), LABELS, name=name, width=224, height=224, replace=True)

    old, sound, other = add(SWAPPED, "old"), add(LABELS, "sound"), bench.store.find("mobilenet_v2")
    bench.darken()  # whoever judges has the machine for himself
    bench.switch.use(old, made_here=True)
    told: list[Job] = []

    def publish(job: Job) -> None:
        if job.stage == "swap" and not told:
            if replaced:
                add(SWAPPED, "sound")
            else:
                bench.switch.use(other, made_here=True)
            told.append(job)
        elif job.status != "running":
            told.append(job)

    runner = JobRunner(publish)
    nowhere: Any = None  # no bottleneck is sent
    together = Together(bench.settings, bench.store, bench.switch, runner, nowhere)
    together.judge(Command("1", ModelsJudgeArgs(model="sound")))
    for thread in runner._threads:
        thread.join()
    ended = told[-1]
    assert ended.status == "rejected", ended
    assert ended.error == (
        f"sound is another model by now ({old.id}), and {sound.id} was judged"
        if replaced
        else f"mobilenet_v2 ({other.id}) answers by now, and goes on; sound ({sound.id}) was compared with {old.id}"
    )
    assert ended.report is not None
    assert (ended.report["decision"]["verdict"], ended.report["answers"]) == ("promoted", False)
    assert bench.switch.running.id == (old if replaced else other).id
