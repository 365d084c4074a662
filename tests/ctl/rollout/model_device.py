"""A scripted device that has models: it installs, uses and takes back, and tells telemetry of the one that answers."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Literal

from edged.contract.commands import CommandMessage
from edged.contract.messages import (
    Ack,
    Fallback,
    Familiarity,
    Job,
    Latency,
    Message,
    ModelInfo,
    Telemetry,
    timestamp,
)
from edged.contract.reports import SideBySide
from tests.ctl.device import ScriptedDevice

OLD = "f68388c93b64"
TELEMETRY_S = 0.05
ELSEWHERE = "c0ffee"
"""Id of a job that somebody else has asked for."""


class ModelDevice(ScriptedDevice):
    """One device, which answers with `OLD` at first.

    Args:
        port: Where the broker listens on 127.0.0.1.
        device: Its id.
        p95_ms: Id of a model → its latency; 20 ms of one that is not named.
        gives_up: Ids of models that it takes back by itself as soon as they answer.
        accuracies: Id of a model → how well it names the device's 20 test images; None: the device has none.

    Attributes:
        history: Ids of the models that have answered, the last one does.
        done: Command → how often it was carried out.
        stall: Name of a command that it carries out and never says so; None: it answers all.
        stalled: Set when that has happened.
        comparing: Whether a comparison is going on that somebody else has asked for: another one is rejected, and a
            while later the first one ends.
    """

    def __init__(
        self,
        port: int,
        device: str,
        *,
        p95_ms: dict[str, float] | None = None,
        gives_up: tuple[str, ...] = (),
        accuracies: dict[str, float] | None = None,
    ) -> None:
        super().__init__(port, device)
        self.history = [OLD]
        self.installed = {OLD: "mobilenet_v2"}
        self.done: Counter[str] = Counter()
        self.stall: str | None = None
        self.stalled = threading.Event()
        self.comparing = False
        self._left = 0
        self._latencies = p95_ms or {}
        self._gives_up = gives_up
        self._accuracies = accuracies
        self._over = threading.Event()
        self._telling = threading.Thread(target=self._tell)
        self.model = self._model()

    def __enter__(self) -> ModelDevice:
        super().__enter__()
        self._telling.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        self._telling.join()
        super().__exit__(*args)

    @property
    def current(self) -> str:
        return self.history[-1]

    def _tell(self) -> None:
        while not self._over.wait(TELEMETRY_S):
            p95 = self._latencies.get(self.current, 20.0)
            message = Telemetry(
                latency_ms=Latency(p50=p95, p95=p95, p99=p95, max=p95),
                fps=10.0,
                frames=1,
                dropped=0,
                outbox=0,
                boot="5f0c91ab",
                familiarity=Familiarity(mean=0.5, unknown=0.02, frames=10),
            )
            self._publish("telemetry", message)
            if self._left:
                self._left -= 1
                self.comparing = self._left > 0
                status: Literal["running", "succeeded"] = "running" if self.comparing else "succeeded"
                self._publish(f"job/{ELSEWHERE}", Job(id=ELSEWHERE, cmd="models_compare", status=status))

    def _publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        self._mqtt.publish(
            f"{self._base}/{topic}", message.encode(), qos=0 if topic == "telemetry" else 1, retain=retain
        )

    def describe_model(self) -> None:
        """Tell which model answers, after a test has changed that."""
        self.say("model", self._model(), retain=True)

    def _model(self, fallback: Fallback | None = None) -> ModelInfo:
        return ModelInfo(
            id=self.current,
            name=self.installed[self.current],
            backbone="mobilenet_v2",
            labels=["cat", "dog"],
            previous=self.history[-2] if len(self.history) > 1 else None,
            fallback=fallback,
        )

    def _answer(self, kind: str, command: CommandMessage, message: Message | bytes) -> None:
        if self.stall is not None and self.commands[-1][0] == self.stall and not isinstance(message, Ack):
            self.stalled.set()
            return
        super()._answer(kind, command, message)

    def _ended(self, command: CommandMessage, cmd: str, report: dict[str, Any]) -> None:
        self.done[cmd] += 1
        self._job(command, "succeeded", cmd, progress=1, report=report)

    def _do_models_list(self, command: CommandMessage) -> None:
        previous = self.history[-2] if len(self.history) > 1 else None
        rows = [
            {"id": id_, "name": name, "current": id_ == self.current, "previous": id_ == previous}
            for id_, name in self.installed.items()
        ]
        self._ended(command, "models_list", {"models": rows})

    def _do_models_chunk(self, command: CommandMessage) -> None:
        del command  # at once: its ack is all

    def _do_models_add(self, command: CommandMessage) -> None:
        self.installed[command.args["sha256"][:12]] = command.args["name"]
        self._ended(command, "models_add", {"id": command.args["sha256"][:12], "name": command.args["name"]})

    def _do_models_use(self, command: CommandMessage) -> None:
        wanted = command.args["model"]
        if self.current != wanted:
            self.history.append(wanted)
        self._publish("model", self._model(), retain=True)
        self._ended(command, "models_use", {"id": wanted, "name": self.installed[wanted]})
        if wanted in self._gives_up:
            self.history.pop()
            given_up = Fallback(id=wanted, reason="the daemon ended while it was on trial", since=timestamp())
            self._publish("model", self._model(given_up), retain=True)

    def _do_models_compare(self, command: CommandMessage) -> None:
        if self.comparing:
            self._left = self._left or 5
            error = f"a comparison of models is running: {ELSEWHERE}"
            self._job(command, "rejected", "models_compare", error=error)
            return
        told = SideBySide(model=command.args["model"], name="birds", against=self.current, images=0)
        if self._accuracies is None:
            told = told.model_copy(update={"why": "no labeled image of the test side"})
        else:
            after, before = self._accuracies[told.model], self._accuracies[self.current]
            chance = abs(after - before) < 0.2
            found = {"images": 20, "accuracy": after, "previous": before, "beyond_chance": not chance}
            told = told.model_copy(update=found)
        self._ended(command, "models_compare", told.to_json())

    def _do_rollback(self, command: CommandMessage) -> None:
        self.history.pop()
        self._publish("model", self._model(), retain=True)
        self._ended(command, "rollback", {"id": self.current})
