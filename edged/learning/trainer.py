"""The trainer: `python -m edged.learning.trainer`, a child process that trains; and its work for `edged retrain`.

Imports nothing heavy: the process first steps back behind the daemon, and numpy must find its threads limited.
"""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from edged.errors import EdgedError, RefusedError
from edged.jobs.process import serve
from edged.learning.request import TRAINER, Needed, Outcome, Progress, TrainingRequest

if TYPE_CHECKING:
    from edged.learning.request import Choose

_TELL_S = 0.1
"""Least time between two messages of the same stage."""


def run_here(request: TrainingRequest, tell: Callable[[Progress], None], choose: Choose | None = None) -> Outcome:
    """Run the pipeline in this process; whatever it raises becomes an outcome. The arguments are those of `train`."""
    try:
        from edged.learning.pipeline import train

        return train(request, tell, choose)
    except RefusedError as error:
        return Outcome("rejected", error=str(error))
    except EdgedError as error:
        return Outcome("failed", error=str(error))
    except MemoryError:
        return Outcome("failed", error="the trainer has run out of memory")
    except Exception as error:  # the top of a process
        logging.getLogger(__name__).exception("the trainer has failed")
        return Outcome("failed", error=f"internal error ({type(error).__name__}); the daemon's log tells more")


def run_child(request: TrainingRequest, tell: Callable[[Progress], None], choose: Choose | None = None) -> Outcome:
    """Run the pipeline as the work of a child process: progress within a stage is told only now and then."""
    gc.disable()  # what libraries make while they are loaded is no garbage; looking for some takes a tenth of the time
    stage, at = "", 0.0

    def tell_now_and_then(progress: Progress) -> None:
        nonlocal stage, at
        now = time.monotonic()
        if progress.stage != stage or now - at >= _TELL_S:
            stage, at = progress.stage, now
            tell(progress)

    return run_here(request, tell_now_and_then, choose)


def load(text: str) -> None:
    """Import all that a training needs, before there is one, and read the networks that it will look at.

    Args:
        text: What is needed, see `Needed`.
    """
    gc.disable()
    from pydantic import BaseModel

    from edged.contract import hyperparameters, reports
    from edged.learning import pipeline  # noqa: F401 - for what it imports
    from edged.store import read_bundle
    from edged.vision.flatbuffer import schema
    from edged.vision.graph import read_graph
    from edged.vision.network import import_runtime

    needed = Needed.decode(text)
    schema()
    import_runtime(needed.runtime)
    for model in [*vars(reports).values(), *vars(hyperparameters).values()]:
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
            model.model_rebuild()  # else its first use does
    for folder in needed.bundles:
        with suppress(EdgedError):  # the training will say what is wrong
            read_graph(read_bundle(folder).read_model())


if __name__ == "__main__":
    serve(TRAINER, run_child, load)
