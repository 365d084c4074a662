"""From the proof of what is on trial to its end, while the daemon runs: see `store.trial`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from edged.errors import ModelError

log = logging.getLogger(__name__)

SETTLED_S = 60.0
"""How long what has proved itself must have worked to be believed in whatever happens to the daemon."""


class Proof:
    """What is on trial has classified live frames: notes it now, and a minute later that the trial is over.

    Made on the main thread, which has frames to classify: it returns at once.

    Args:
        what: What is on trial, for a warning.
        proved, settled: Write these to the disk.
    """

    def __init__(self, what: str, proved: Callable[[], None], settled: Callable[[], None]) -> None:
        threading.Thread(target=keep_trial, args=(what, proved), name="model-proof").start()
        self._timer = threading.Timer(SETTLED_S, keep_trial, (what, settled))
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Let the trial go on: the daemon ends, or something else is on trial by now."""
        self._timer.cancel()


def keep_trial(what: str, write: Callable[[], None]) -> None:
    """Write what is known of a trial; a disk that does not take it keeps nobody from working."""
    try:
        write()
    except ModelError as error:
        log.warning("what is known of the trial of %s cannot be kept: %s", what, error)
