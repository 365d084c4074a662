"""The contract on each broker that it is tested on: what is kept, what is answered, who speaks for the dead.

There is one of each for all tests here: RabbitMQ and a cluster of NATS take long to start.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edged.contract.commands import Args, Command
from edged.contract.messages import Info, Job, ModelInfo
from edged.ctl import fleet
from edged.ctl.choice import Choice
from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.mqtt.events import Version
from edged.mqtt.link import Link
from edged.settings import MqttSettings
from tests.mosquitto import HOST, Mosquitto
from tests.mqtt.conftest import DEVICE, Patient, wait_for
from tests.nats import Cluster, Node
from tests.rabbitmq import RabbitMQ
from tests.waiting import PATIENCE_S

Broker = Mosquitto | Node | RabbitMQ
MakeLink = Callable[..., Link]
PROCESS = Path(__file__).with_name("process.py")

INFO = Info(
    device=DEVICE, state="running", versions={}, cameras={}, runtime="none", sensors="none", commands=["status"]
)
MODEL = ModelInfo(id="0123456789ab", name="flowers", backbone="mobilenet_v2", labels=["rose"])


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    node = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        yield node.start()
    finally:
        node.close()


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    cluster = Cluster(tmp_path_factory.mktemp("nats"))
    try:
        yield cluster.start().nodes[0]
    finally:
        cluster.close()


@pytest.fixture(scope="module")
def one_mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    try:
        yield broker.start()
    finally:
        broker.kill()


@pytest.fixture(params=["one_mosquitto", "nats", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    found: Broker = request.getfixturevalue(request.param)
    return found


def speaks_5(broker: Broker) -> bool:
    """Whether it speaks MQTT 5: NATS does not, RabbitMQ does from 3.13 on."""
    if isinstance(broker, RabbitMQ):
        version = re.search(r"Starting RabbitMQ (\d+)\.(\d+)", broker.log)
        assert version is not None
        return (int(version[1]), int(version[2])) >= (3, 13)
    return isinstance(broker, Mosquitto)


class Subscriber:
    """A client that names each topic, as RabbitMQ wants it; `kept`: the broker keeps its session while it is away."""

    def __init__(self, broker: Broker, *topics: str, kept: str = "") -> None:
        self.seen: list[paho.MQTTMessage] = []
        ready: list[bool] = []
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, kept, clean_session=not kept, protocol=MQTTProtocolVersion.MQTTv311
        )
        filters = [(f"edged/{DEVICE}/{topic}", 1) for topic in topics]
        client.reconnect_delay_set(1, 1)
        client.on_connect = lambda client, *_: client.subscribe(filters)
        client.on_subscribe = lambda *_: ready.append(True)
        client.on_message = lambda _c, _d, message: self.seen.append(message)
        client.connect(HOST, broker.port)
        client.loop_start()
        wait_for(lambda: ready, "a subscription")

    def of(self, topic: str) -> list[bytes]:
        return [message.payload for message in list(self.seen) if message.topic == f"edged/{DEVICE}/{topic}"]

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes


def kept(broker: Broker, *topics: str) -> dict[str, bytes]:
    """Return what somebody who comes now is told as kept, on each of these topics.

    A cluster keeps a message a moment after it has handed it out: who comes in between hears nothing, and comes again.
    """
    found: dict[str, bytes] = {}

    def told() -> bool:
        with Subscriber(broker, *topics) as late:
            end = time.monotonic() + 2.0
            while len(late.seen) < len(topics) and time.monotonic() < end:
                time.sleep(0.01)
            found.update((one.topic.rpartition("/")[2], one.payload) for one in list(late.seen) if one.retain)
        return found.keys() == set(topics)

    wait_for(told, f"{topics}, kept")
    return found


@pytest.fixture
def device(broker: Broker, link: MakeLink) -> Callable[..., Link]:
    """A factory of a device that answers `status`."""

    def make(version: Version = "5") -> Link:
        def status(command: Command[Args]) -> None:
            made.retained("info", INFO.encode())
            made.retained("model", MODEL.encode())
            made.job(Job(id=command.id, cmd=command.name, status="succeeded", progress=1))

        retry = Patient()
        retry.protocol = version
        made = link(broker.url, retry=retry, on_command=status)
        made.retained("info", INFO.encode())
        made.retained("model", MODEL.encode())
        wait_for(lambda: made.connected, "connected")
        assert retry.protocol == (version if speaks_5(broker) else "3.1.1")
        return made

    return make


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_state_is_kept_and_results_arrive_once_and_in_order(
    broker: Broker, device: Callable[..., Link], version: Version
) -> None:
    with Subscriber(broker, "result/main", "state") as live:
        running = device(version)
        for number in range(200):
            running.publish("result/main", str(number).encode())
        wait_for(lambda: len(live.of("result/main")) >= 200, "all results")
        assert live.of("result/main") == [str(number).encode() for number in range(200)]
        assert {message.qos for message in live.seen} == {1}
        wait_for(lambda: running.backlog == 0, "all acknowledged")
        told = kept(broker, "state", "info", "model")
        assert told["state"] == b"online"
        assert ModelInfo.model_validate_json(told["model"]).name == "flowers"
        running.stop(PATIENCE_S)
        wait_for(lambda: live.of("state")[-1:] == [b"offline"], "offline")


def test_edgectl_finds_the_device_and_is_answered(
    broker: Broker, device: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "_LIVE_S", PATIENCE_S)
    monkeypatch.setattr(fleet, "_CALL_S", PATIENCE_S)
    with Subscriber(broker, "state") as seen:
        running = device()
        wait_for(lambda: seen.of("state")[-1:] == [b"online"], "online")
        with Client(brokers(MqttSettings(url=broker.url)), timeout_s=PATIENCE_S) as client:
            for choice in (None, Choice.parse(DEVICE), Choice.parse("d*")):
                (found,) = fleet.look(client, choice, live=True).devices.values()
                assert (found.id, found.online, found.answered) == (DEVICE, True, True), choice
                assert found.info is not None
                assert found.model is not None
            assert fleet.addressed(client, None).ids == (DEVICE,)
            ack = client.command(DEVICE, "status")
            assert [job.status for job in client.jobs(ack.id)][-1] == "succeeded"
            running.stop(PATIENCE_S)
            assert fleet.look(client, Choice.parse(DEVICE)).devices[DEVICE].state == "offline"


def test_a_dot_in_a_name_stays_one_but_on_rabbitmq(broker: Broker, device: Callable[..., Link]) -> None:
    with Subscriber(broker, "result/cam.1") as seen:
        device().publish("result/cam.1", b"0")
        wait_for(lambda: seen.seen, "the result")
        told = seen.seen[0].topic.removeprefix(f"edged/{DEVICE}/")
        assert told == ("result/cam/1" if isinstance(broker, RabbitMQ) else "result/cam.1"), "tools/reports/brokers.md"


def test_the_last_will_speaks_for_a_killed_device(broker: Broker, tmp_path: Path) -> None:
    with Subscriber(broker, "state") as seen:
        command = [sys.executable, str(PROCESS), broker.url, str(tmp_path / "killed"), "0", "1"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            wait_for(lambda: seen.of("state")[-1:] == [b"online"], "online")
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: seen.of("state")[-1:] == [b"offline"], "the will")
    wait_for(lambda: kept(broker, "state") == {"state": b"offline"}, "the will, kept")


def test_a_picture_that_is_too_large_holds_nothing_up(broker: Broker, device: Callable[..., Link]) -> None:
    picture = bytes(1_500_000)  # NATS takes a megabyte, and ends the connection on more
    with Subscriber(broker, "result/main", "image/large") as seen:
        running = device()
        running.publish("image/large", picture)
        for number in range(10):
            running.publish("result/main", str(number).encode())
        wait_for(lambda: len(seen.of("result/main")) >= 10, "all results")
        assert seen.of("result/main") == [str(number).encode() for number in range(10)]
        assert (seen.of("image/large") == [picture]) == (not isinstance(broker, Node))
        wait_for(lambda: running.backlog == 0, "nothing left")


@pytest.mark.timeout(1200)
def test_rabbitmq_is_killed_under_load_and_every_result_arrives(rabbitmq: RabbitMQ, link: MakeLink) -> None:
    with Subscriber(rabbitmq, "result/main", kept="archive") as archive:
        running = link(rabbitmq.url)
        over, sent = threading.Event(), 0

        def publish() -> None:
            nonlocal sent
            while not over.wait(0.005):
                running.publish("result/main", str(sent).encode())
                sent += 1

        publisher = threading.Thread(target=publish)
        publisher.start()
        wait_for(lambda: len(archive.of("result/main")) > 100, "results")
        rabbitmq.kill()
        wait_for(lambda: not running.connected, "noticed")
        rabbitmq.start()
        before = len(archive.of("result/main"))
        wait_for(lambda: len(archive.of("result/main")) > before + 100, "results after it")
        over.set()
        publisher.join()
        wait_for(lambda: {int(one) for one in archive.of("result/main")} == set(range(sent)), "every one of them")
        in_order = list(dict.fromkeys(int(one) for one in archive.of("result/main")))
        assert in_order == sorted(in_order)
    wait_for(lambda: kept(rabbitmq, "state") == {"state": b"online"}, "what is kept")
