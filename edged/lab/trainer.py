"""The trainer of a training that chooses its backbone itself (`--backbone auto`): ranks the candidates, then trains.

`python -m edged.lab.trainer`: a thin entry around `edged.learning.trainer`. It imports nothing heavy either.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from edged.jobs.process import serve
from edged.learning import CHOOSING_TRAINER, Outcome, Progress, TrainingRequest
from edged.learning.trainer import run_child

if TYPE_CHECKING:
    from edged.images import ImageStore
    from edged.learning import Choice
    from edged.learning.dataset import Selection


def run(request: TrainingRequest, tell: Callable[[Progress], None]) -> Outcome:
    """Choose the backbone and train."""
    return run_child(request, tell, choose)


def choose(
    request: TrainingRequest, store: ImageStore, selection: Selection, tell: Callable[[int, int], None]
) -> Choice:
    """Choose the candidate that is likely best for these images: the first one of `Ranker.race`.

    Args:
        request: Its candidates are ranked; its current model is what the others are compared with.
        store: Where bottlenecks are kept.
        selection: The labeled images.
        tell: Told how many hundredths of the race's time are spent, and 100.

    Raises:
        RefusedError: There is nothing to choose from, or no way to.
        EdgedError: An image set or a model fails.
    """
    from edged.lab.sources import Ranker
    from edged.learning import Choice
    from edged.store import read_bundle

    ranking = Ranker(
        store,
        selection,
        [read_bundle(folder) for folder in request.candidates],
        current=None if request.current is None else read_bundle(request.current),
        runtime=request.runtime,
        workers=request.workers or os.cpu_count() or 1,
        limits=request.limits,
    ).race(progress=lambda share: tell(round(100 * share), 100))
    return Choice(ranking.best, ranking.report())


if __name__ == "__main__":
    serve(CHOOSING_TRAINER, run)
