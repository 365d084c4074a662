"""What devices were told to do and what became of it: as far as it was heard since the console runs."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from edged.contract.commands import COMMANDS
from edged.contract.messages import FINAL, Ack, Job
from edged.ctl.subscription import Incoming

TOPICS = ("ack/+", "job/+")
"""Below a device. Not the commands themselves, among them are megabytes of photos and models."""
_KEPT = 60
_QUESTIONS = ("status", "snapshot", "jobs", "models_list", "images_have", "images_list", "images_get", "images_suggest",
              "images_groups", "images_doubtful", "bottlenecks_part")  # fmt: skip
"""They change nothing, and pages ask them again and again."""


_NAMED = re.compile(r"(?P<name>\w{1,40}): (?P<why>.*)", re.DOTALL)
_BUSY = re.compile(r"busy: too many (?P<name>\w{1,40}) commands wait")


class CommandLog:
    """The newest commands of one device, and the numbers that its current training has told.

    Attributes:
        version: Grows with each change.
        curve: (epoch, loss, accuracy) of the training whose id is `run`.
    """

    __slots__ = ("_entries", "curve", "run", "version")

    def __init__(self) -> None:
        self._entries: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.version = 0
        self.run: str | None = None
        self.curve: list[tuple[int, float | None, float | None]] = []

    def take(self, message: Incoming) -> None:
        """Keep what an ack or a job says."""
        if message.levels[0] == "job":
            job = message.decode(Job)
            if job is not None:
                self._take_job(job)
        elif message.levels[0] == "ack":
            ack = message.decode(Ack)
            if ack is not None and ack.status == "rejected":
                self._take_refusal(ack)

    def _take_refusal(self, ack: Ack) -> None:
        """An ack has no command's name, but what a device says of it begins with it, nearly always."""
        told = ack.error or ""
        named = _NAMED.match(told)
        name, why = (named["name"], named["why"]) if named is not None and named["name"] in COMMANDS else (None, told)
        busy = _BUSY.match(told)
        if busy is not None and busy["name"] in COMMANDS:
            name = busy["name"]
        if name not in _QUESTIONS:
            self._put(ack.id, {"cmd": name, "status": "rejected", "ts": ack.ts, "error": why or None})

    def _take_job(self, job: Job) -> None:
        if job.cmd in _QUESTIONS:
            return
        line = {"cmd": job.cmd, "status": job.status, "ts": job.ts, "stage": job.stage, "progress": job.progress}
        before = self._entries.get(job.id)
        if before is not None and before["status"] in FINAL:  # the retained state may come later than the last one
            return
        self._put(job.id, {**line, "began": before.get("began") if before else job.ts, "error": job.error})
        if job.cmd == "retrain" and job.status == "running":
            self._take_epoch(job.id, job.report or {})

    def _take_epoch(self, run: str, report: dict[str, Any]) -> None:
        if run != self.run:
            self.run, self.curve = run, []
        epoch = report.get("epoch")
        if isinstance(epoch, int) and (not self.curve or epoch > self.curve[-1][0]):
            self.curve.append((epoch, _number(report.get("loss")), _number(report.get("accuracy"))))

    def _put(self, id_: str, entry: dict[str, Any]) -> None:
        self._entries[id_] = {"id": id_, **entry}
        self._entries.move_to_end(id_)
        while len(self._entries) > _KEPT:
            self._entries.popitem(last=False)
        self.version += 1

    def as_json(self) -> list[dict[str, Any]]:
        """Return the entries, newest first."""
        return list(reversed(self._entries.values()))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
