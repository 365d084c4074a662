"""The job of a training while it runs: where it stands, and the pulse that tells it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edged.contract.messages import Job

if TYPE_CHECKING:
    from edged.learning.request import TrainingRequest
    from edged.mqtt.link import Link

log = logging.getLogger(__name__)

PUBLISH_S = 0.25
"""The job's state is published this often, also when nothing has changed."""


@dataclass(frozen=True, slots=True)
class State:
    """What a running job tells; one value, so that no thread sees half of a change."""

    stage: str | None = None
    progress: float = 0.0
    detail: dict[str, Any] = field(default_factory=dict)


class TrainingJob:
    """The training at hand.

    Args:
        request: What is trained; its `run` is the job's id.
        versions: Ids of those that were there before.
        link: Where states go.

    Attributes:
        cancelled: It shall end.
        why: What the cancelled job will say.
        decided: It is too late to cancel.
        state: The newest one.
    """

    def __init__(self, request: TrainingRequest, versions: frozenset[str], link: Link) -> None:
        self.id = request.run
        self.request = request
        self.versions = versions
        self.cancelled = threading.Event()
        self.why = "cancelled on request"
        self.decided = False
        self.state = State()
        self._link = link
        self._telling = threading.Lock()

    def reach(self, state: State) -> None:
        """Take a new state; another stage is published at once."""
        new = state.stage != self.state.stage
        self.state = state
        if new:
            self._publish()

    @contextmanager
    def pulse(self) -> Iterator[None]:
        """Publish the state again and again; nothing of it follows the end.

        On a thread of its own: starting a process, loading a model or a slow disk must not make the job fall silent.
        """
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(ended,), name="training-progress")
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, ended: threading.Event) -> None:
        try:
            self._publish()
            while not ended.wait(PUBLISH_S):
                self._publish()
        except Exception:  # the top of a thread; the training goes on
            log.exception("training %s: its progress is no longer told", self.id)

    def _publish(self) -> None:
        with self._telling:  # in the order in which it happened
            state = self.state
            self._link.job(
                Job(
                    id=self.id,
                    cmd="retrain",
                    status="running",
                    stage=state.stage,
                    progress=round(state.progress, 4),
                    report=state.detail or None,
                )
            )
