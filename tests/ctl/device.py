"""A scripted device on the real wire: it follows the contract as `edged run` does, without camera or network."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edged.contract.commands import CommandMessage
from edged.contract.messages import (
    Ack,
    CameraInfo,
    Info,
    Job,
    Latency,
    Message,
    ModelInfo,
    Result,
    ResultLatency,
    Score,
    Telemetry,
)
from tests.waiting import PATIENCE_S, wait_until

JPEG = b"\xff\xd8\xff\xe0 not really a picture \xff\xd9"


class ScriptedDevice:
    """One device; `commands` keeps what it was told, `results` publishes on demand.

    Args:
        port: Where the broker listens on 127.0.0.1.
        device: Its id.
        silent: Whether it leaves commands unanswered.
        cameras: Names of its cameras.
    """

    hears_copies = False
    """Whether a command that comes again under the same id is another one to it: edgectl sends one again that is not
    answered soon. To a real device it is not; and tests must not count copies, since any answer may be late."""

    def __init__(
        self,
        port: int,
        device: str = "tx2-01",
        *,
        silent: bool = False,
        prefix: str = "edged",
        cameras: Sequence[str] = ("main",),
    ) -> None:
        self.id = device
        self.commands: list[tuple[str, CommandMessage]] = []
        self.info = Info(
            device=device,
            state="running",
            versions={"edged": "0.1.0"},
            cameras={
                name: CameraInfo(source=str(at), state="running", width=640, height=480)
                for at, name in enumerate(cameras)
            },
            runtime="litert 2.3.0",
            sensors="jtop 4.3",
            commands=["set", "snapshot", "status", "telemetry"],
        )
        self.model = ModelInfo(
            id="0123456789ab", name="mobilenet_v2", backbone="mobilenet_v2", labels=["cat", "dog"], accuracy=0.791
        )
        self.telemetry = Telemetry(
            power_mw={"VDD_IN": 4120, "VDD_GPU": 340},
            temp_c={"CPU": 48.5, "GPU": 46.0},
            load={"cpu": 0.42, "gpu": 0.13},
            clock_mhz={"cpu": 2035},
            latency_ms=Latency(p50=12.3, p95=15.0, p99=19.5, max=44.0),
            fps=14.2,
            frames=71,
            dropped=3,
            outbox=0,
        )
        self._heard: set[str] = set()
        self._silent = silent
        self._port = port
        self._base = f"{prefix}/{device}"
        self._ready = threading.Event()
        self._mqtt = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._mqtt.on_connect = self._on_connect
        self._mqtt.on_subscribe = lambda *_: self._ready.set()
        self._mqtt.on_message = self._hear
        self._mqtt.will_set(f"{self._base}/state", b"offline", qos=1, retain=True)

    def __enter__(self) -> ScriptedDevice:
        self._mqtt.connect("127.0.0.1", self._port)
        self._mqtt.loop_start()
        assert self._ready.wait(PATIENCE_S)
        self.describe()
        self.say("state", b"online", retain=True)
        return self

    def __exit__(self, *_: object) -> None:
        wait_until(self._mqtt.is_connected, what="the broker, which a test may have started again")
        self.say("state", b"offline", retain=True)
        self._mqtt.disconnect()
        self._mqtt.loop_stop()
        del self._mqtt  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes

    def say(self, topic: str, payload: Message | bytes, *, retain: bool = False) -> None:
        data = payload if isinstance(payload, bytes) else payload.encode()
        self._mqtt.publish(f"{self._base}/{topic}", data, qos=1, retain=retain).wait_for_publish(PATIENCE_S)

    def describe(self) -> None:
        self.say("info", self.info, retain=True)
        self.say("model", self.model, retain=True)

    def see(self, label: str = "cat", score: float = 0.93, *, camera: str = "main", seq: int = 0) -> None:
        self.say(f"result/{camera}", self.result(label, score, camera=camera, seq=seq))

    def result(self, label: str = "cat", score: float = 0.93, *, camera: str = "main", seq: int = 0) -> Result:
        return Result(
            seq=seq,
            camera=camera,
            model="0123456789ab",
            label=label,
            score=score,
            top=[Score(label=label, score=score)],
            latency_ms=ResultLatency(capture=1.0, preprocess=2.0, invoke=7.0, total=10.4),
        )

    def _on_connect(self, client: paho.Client, *_: Any) -> None:
        names = (f"{self._base}/cmd/+", f"{self._base.rsplit('/', 1)[0]}/all/cmd/+")
        client.subscribe([(name, 1) for name in names])

    def _hear(self, client: paho.Client, data: object, message: paho.MQTTMessage) -> None:
        id_ = CommandMessage.model_validate_json(message.payload).id
        if self.hears_copies or id_ not in self._heard:
            self._heard.add(id_)
            self._on_message(client, data, message)

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        # Answers must not wait for PUBACK here: this is the network thread.
        name = message.topic.rsplit("/", 1)[1]
        command = CommandMessage.model_validate_json(message.payload)
        self.commands.append((name, command))
        if self._silent:
            return
        if self._accepts(name, command):
            self._answer("ack", command, Ack(id=command.id, status="accepted"))
            getattr(self, f"_do_{name}")(command)

    def _accepts(self, name: str, command: CommandMessage) -> bool:
        if name == "snapshot" and command.args.get("camera") not in (None, *self.info.cameras):
            known = ", ".join(self.info.cameras)
            self._answer("ack", command, Ack(id=command.id, status="rejected", error=f"camera 'x': unknown; {known}"))
            return False
        return True

    def _answer(self, kind: str, command: CommandMessage, message: Message | bytes) -> None:
        data = message if isinstance(message, bytes) else message.encode()
        self._mqtt.publish(f"{self._base}/{kind}/{command.id}", data, qos=1)

    def _job(self, command: CommandMessage, status: Any, cmd: str, **more: Any) -> None:
        self._answer("job", command, Job(id=command.id, cmd=cmd, status=status, **more))

    def _do_telemetry(self, _: CommandMessage) -> None:
        self._mqtt.publish(f"{self._base}/telemetry", self.telemetry.encode(), qos=0)

    def _do_status(self, command: CommandMessage) -> None:
        self._do_telemetry(command)
        self._job(command, "succeeded", "status", progress=1, report={})

    def _do_snapshot(self, command: CommandMessage) -> None:
        self._answer("image", command, JPEG)
        self._job(command, "succeeded", "snapshot", progress=1, report=json.loads(self.result().encode()))

    def _do_set(self, command: CommandMessage) -> None:
        if command.args.get("fps") == 999:
            self._job(command, "failed", "set", error="camera main: cannot be that fast")
        else:
            self._job(command, "succeeded", "set", progress=1, report=command.args)

    def _do_models_list(self, command: CommandMessage) -> None:
        named = {"name": self.model.name, "id": self.model.id, "kind": "installed", "accuracy": self.model.accuracy}
        models = [{**named, "backbone": self.model.backbone, "classes": 2, "current": True, "previous": False}]
        self._job(command, "succeeded", "models_list", progress=1, report={"models": models})

    def _do_jobs(self, command: CommandMessage) -> None:
        self._job(command, "succeeded", "jobs", progress=1, report={"jobs": []})

    def _do_train(self, command: CommandMessage) -> None:
        for step, stage in enumerate(("bottlenecks", "train", "evaluate")):
            self._job(command, "running", "train", stage=stage, progress=step / 3)
        self._job(command, "succeeded", "train", stage="done", progress=1, report={"accuracy": 0.9})
