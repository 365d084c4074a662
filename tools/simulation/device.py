"""A simulated device: edged's own link, ledger, outbox and contract; only camera, network and sensors are a script.

It takes models, whole or as a patch of the shipped one, by the daemon's own uploads, and forgets them.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import random
import uuid
from pathlib import Path
from typing import Any

from edged import resources
from edged.contract import patch
from edged.contract.commands import (
    COMMANDS,
    Args,
    Command,
    ModelsAddArgs,
    ModelsChunkArgs,
    ModelsListArgs,
    SetArgs,
    StatusArgs,
    TelemetryArgs,
)
from edged.contract.messages import (
    CameraInfo,
    Familiarity,
    Info,
    Job,
    Latency,
    ModelInfo,
    Result,
    ResultLatency,
    Score,
    Seen,
    Telemetry,
)
from edged.daemon.uploads import Uploads
from edged.errors import CommandError
from edged.mqtt.ledger import Ledger
from edged.mqtt.link import Link
from edged.mqtt.outbox import Outbox
from edged.settings import MqttSettings

LABELS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
MODEL = "51a70ded0000"


@functools.cache
def shipped_model() -> bytes:
    """Return the content of the shipped network's file, which each device has."""
    return (resources.shipped("models") / "mobilenet_v2" / "model.tflite").read_bytes()


class SimulatedDevice:
    """One device. `frame` and `measure` publish what a daemon would; commands are answered as they come.

    Args:
        name: Its id.
        settings: `[mqtt]`.
        folder: Gets its outbox and ledger.
    """

    def __init__(self, name: str, settings: MqttSettings, folder: Path) -> None:
        self.name = name
        self.fps = 1.0
        self._boot = uuid.uuid4().hex[:8]
        self._dice = random.Random(name)
        self._label = self._dice.choice(LABELS)
        self._seq = 0
        self._seen: Seen | None = None
        self._temperature = 40 + 10 * self._dice.random()
        self._uploads = Uploads(folder / "uploads")
        self._link = Link(
            settings=settings,
            device=name,
            outbox=Outbox(folder / "outbox.sqlite", 16),
            ledger=Ledger(folder / "commands.sqlite"),
            on_command=self._carry_out,
            registry=COMMANDS,
        )

    @property
    def connected(self) -> bool:
        """Whether the broker has let it in."""
        return self._link.connected

    @property
    def backlog(self) -> int:
        """Messages that the broker has not acknowledged."""
        return self._link.backlog

    def start(self) -> None:
        """Begin to connect."""
        self._describe()
        self._link.start()

    def stop(self) -> None:
        """Say `offline` and disconnect."""
        self._link.stop(2.0)

    def frame(self) -> None:
        """Publish one result. What the camera sees changes now and then."""
        if self._dice.random() < 0.05:
            self._label = self._dice.choice(LABELS)
        invoke_ms = self._dice.uniform(20, 30)
        score = self._dice.uniform(0.6, 0.99)
        result = Result(
            seq=self._seq,
            boot=self._boot,
            camera="main",
            model=MODEL,
            label=self._label,
            score=round(score, 4),
            familiarity=round(self._dice.random(), 3),
            top=[Score(label=self._label, score=round(score, 4))],
            latency_ms=ResultLatency(
                capture=2.0, preprocess=1.5, invoke=round(invoke_ms, 2), total=round(invoke_ms + 4, 2)
            ),
        )
        self._seq += 1
        self._seen = Seen(label=result.label, score=result.score, familiarity=result.familiarity)
        self._link.publish("result/main", result.encode())

    def measure(self) -> None:
        """Publish telemetry."""
        self._link.publish("telemetry", self._telemetry().encode(), qos=0)

    def _telemetry(self) -> Telemetry:
        self._temperature = min(80.0, max(35.0, self._temperature + self._dice.uniform(-1, 1)))
        return Telemetry(
            power_mw={"VDD_IN": self._dice.randrange(3500, 5500)},
            temp_c={"CPU": round(self._temperature, 1)},
            load={"cpu": round(self._dice.uniform(0.2, 0.6), 2)},
            latency_ms=Latency(p50=25.0, p95=29.0, p99=30.0, max=35.0),
            fps=self.fps,
            frames=self._seq,
            dropped=0,
            outbox=self._link.backlog,
            boot=self._boot,
            familiarity=Familiarity(mean=round(self._dice.uniform(0.45, 0.55), 3), unknown=0.02, frames=self._seq),
            seen={"main": self._seen} if self._seen is not None else None,
        )

    def _describe(self) -> None:
        info = Info(
            device=self.name,
            boot=self._boot,
            state="running",
            versions={"edged": "simulated"},
            cameras={"main": CameraInfo(source="simulated", state="running", width=640, height=480)},
            runtime="simulated",
            sensors="simulated",
            commands=sorted(COMMANDS),
        )
        model = ModelInfo(id=MODEL, name="flowers", backbone="mobilenet_v2", labels=LABELS, accuracy=0.9)
        self._link.retained("info", info.encode())
        self._link.retained("model", model.encode())

    def _carry_out(self, command: Command[Args]) -> None:
        """Do what a daemon does for the command, on the link's command thread.

        Raises:
            CommandError: A simulated device cannot do that.
        """
        if isinstance(command.args, StatusArgs):
            self._describe()
            self.measure()
            report: dict[str, Any] = {"model": MODEL}
        elif isinstance(command.args, TelemetryArgs):
            self.measure()
            return  # such a command has no job
        elif isinstance(command.args, SetArgs):
            self.fps = command.args.fps if command.args.fps is not None else self.fps
            report = command.args.model_dump(exclude_none=True)
        elif isinstance(command.args, ModelsChunkArgs):
            args = command.args
            self._uploads.receive(args.sha256, args.size, args.offset, base64.b64decode(args.data))
            return  # such a command has no job
        elif isinstance(command.args, ModelsListArgs):
            shipped = hashlib.sha256(shipped_model()).hexdigest()[:12]
            report = {"models": [{"name": "mobilenet_v2", "id": shipped, "kind": "installed", "current": True}]}
        elif isinstance(command.args, ModelsAddArgs):
            report = self._add(command.args)
        else:
            raise CommandError(f"a simulated device does not know {command.name}")
        self._link.job(Job(id=command.id, cmd=command.name, status="succeeded", progress=1, report=report))

    def _add(self, args: ModelsAddArgs) -> dict[str, Any]:
        """Make sure that the model that was sent is the one that was meant.

        Raises:
            CommandError: It is not, or parts of it are missing.
        """
        sent = args.patch or args.sha256
        model = self._uploads.take(sent, "model" if args.patch is None else "patch")
        if args.patch is not None:
            try:
                model = patch.apply(shipped_model(), model)
            except patch.PatchError as error:
                raise CommandError(f"patch {sent[:12]}: {error}") from error
            if hashlib.sha256(model).hexdigest() != args.sha256:
                raise CommandError(f"patch {sent[:12]}: it makes another model")
        self._uploads.forget(sent)
        return {"name": args.name, "id": args.sha256[:12], "classes": len(args.labels)}
