"""What MQTT 5 tells of a message, as a subscriber sees it; and acks on response topics, by Debian's mosquitto_rr."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged import __version__
from edged.contract.messages import Ack, Message, Telemetry
from edged.ctl.client import Client
from edged.mqtt.broker import brokers
from edged.mqtt.link import Link
from edged.settings import MqttSettings
from tests.contract.test_messages import EXAMPLES
from tests.mosquitto import HOST, Mosquitto
from tests.mqtt.conftest import Patient, wait_for
from tests.mqtt.subscriber import Subscriber
from tests.waiting import PATIENCE_S

JSON = {"PayloadFormatIndicator": 1, "ContentType": "application/json"}
KEPT = JSON | {"UserProperty": [("edged", __version__), ("v", "1")]}
JPEG, PNG = b"\xff\xd8\xff\xe0 a picture", b"\x89PNG\r\n a picture"


MakeSubscriber = Callable[[int], Subscriber]
MakeLink = Callable[..., Link]
MakeBroker = Callable[..., Mosquitto]


@pytest.fixture
def subscribe() -> Iterator[MakeSubscriber]:
    made: list[Subscriber] = []

    def make(port: int) -> Subscriber:
        made.append(Subscriber(port))
        return made[-1]

    yield make
    for one in made:
        one.close()


def publish_all(link: Link) -> None:
    """Publish something of each kind."""
    info, alert, result = (EXAMPLES[name] for name in ("info", "alert", "result"))
    assert isinstance(info, Message)
    assert isinstance(alert, Message)
    assert isinstance(result, Message)
    link.retained("info", info.encode())
    link.retained("alert/drift", alert.encode())
    link.publish("result/main", result.encode())
    link.publish("telemetry", Telemetry(fps=1, frames=1, dropped=0, outbox=0).encode(), qos=0)
    link.image("a1", JPEG)
    link.image("a2", PNG)
    link.publish("bottlenecks/a3", b"\x00\x01")
    link.retained("alert/camera", b"")
    link.retained("homeassistant/device/d1/config", b'{"device":{}}', whole=True)
    link.publish("ack/a4", Ack(id="a4", status="accepted").encode())


def test_a_subscriber_is_told_the_kind_of_each_message(
    mosquitto: MakeBroker, link: MakeLink, subscribe: MakeSubscriber
) -> None:
    broker = mosquitto()
    seen = subscribe(broker.port)
    running = link(broker.url)
    wait_for(lambda: running.connected, "connected")
    publish_all(running)
    text = {**KEPT, "ContentType": "text/plain"}
    assert seen.told("edged/d1/state") == text
    assert seen.told("edged/d1/info") == KEPT
    assert seen.told("homeassistant/device/d1/config") == KEPT
    assert seen.told("edged/d1/alert/drift") == KEPT
    for topic in ("result/main", "telemetry", "ack/a4"):
        assert seen.told(f"edged/d1/{topic}") == JSON, "without user properties, which cost bytes with each"
    assert seen.told("edged/d1/image/a1") == {"ContentType": "image/jpeg"}
    assert seen.told("edged/d1/image/a2") == {"ContentType": "image/png"}
    assert seen.told("edged/d1/bottlenecks/a3") == {"ContentType": "application/octet-stream"}
    assert seen.told("edged/d1/alert/camera") == {}, "there is nothing in it"
    running._connection.close(with_will=True)  # type: ignore[union-attr]  # as a cut cable would
    wait_for(lambda: b"offline" in seen.payloads("edged/d1/state"), "the Last Will")
    (will,) = [one for one in seen.all("edged/d1/state") if one.payload == b"offline"]
    assert will.properties is not None
    assert will.properties.json() == text  # type: ignore[no-untyped-call]  # as above


def test_what_comes_back_from_the_disk_keeps_its_kind(
    mosquitto: MakeBroker, link: MakeLink, subscribe: MakeSubscriber
) -> None:
    broker = mosquitto()
    broker.stop()
    first = link(broker.url)
    publish_all(first)
    first.stop(0)
    broker.start()
    seen = subscribe(broker.port)
    link(broker.url)
    assert seen.told("edged/d1/ack/a4") == JSON, "the last of what was on disk"
    assert seen.told("edged/d1/result/main") == JSON
    assert seen.told("edged/d1/image/a1") == {"ContentType": "image/jpeg"}
    assert seen.told("edged/d1/bottlenecks/a3") == {"ContentType": "application/octet-stream"}


def test_in_mqtt_3_1_1_there_is_none_of_it(mosquitto: MakeBroker, link: MakeLink, subscribe: MakeSubscriber) -> None:
    broker = mosquitto()
    seen = subscribe(broker.port)
    retry = Patient()
    retry.protocol = "3.1.1"
    running = link(broker.url, retry=retry)
    wait_for(lambda: running.connected, "connected")
    publish_all(running)
    seen.command("jobs", "c1", ResponseTopic="mine")
    assert json.loads(seen.all("edged/d1/ack/c1")[0].payload)["status"] == "accepted"
    running.publish("result/end", b"{}")
    seen.all("edged/d1/result/end")
    elsewhere = {message.topic for message in seen.seen if not message.topic.startswith("edged/d1/")}
    assert elsewhere == {"homeassistant/device/d1/config"}
    assert all(seen.told(topic) == {} for topic in {one.topic for one in seen.seen} if "/cmd/" not in topic)


def test_edgectl_lets_the_broker_drop_a_command_that_nobody_reads_in_time(
    mosquitto: MakeBroker, subscribe: MakeSubscriber
) -> None:
    broker = mosquitto()
    seen = subscribe(broker.port)
    with Client(brokers(MqttSettings(url=(broker.url,))), timeout_s=PATIENCE_S) as client:
        client.publish("d1/cmd/status", b'{"id": "c1"}', expires_s=90.2)
        client.publish("d1/info", b"", retain=True)
    assert seen.told("edged/d1/cmd/status") == JSON | {"MessageExpiryInterval": 91}
    assert seen.told("edged/d1/info") == {}


def test_mosquitto_rr_gets_its_ack(mosquitto: MakeBroker, link: MakeLink, subscribe: MakeSubscriber) -> None:
    if (program := shutil.which("mosquitto_rr")) is None:
        pytest.skip("needs mosquitto_rr (apt install mosquitto-clients)")
    broker = mosquitto()
    ran: list[str] = []
    seen = subscribe(broker.port)
    link(broker.url, on_command=lambda command: ran.append(command.id))
    seen.wait_for_online()

    def ask(name: str, payload: str, response: str, *more: str) -> dict[str, Any]:
        asked = subprocess.run(
            [program, "-V", "5", "-h", HOST, "-p", str(broker.port), "-t", f"edged/d1/cmd/{name}", "-e", response,
             "-m", payload, "-q", "1", "-F", '{"said": %p, "kind": "%C", "correlation": "%D"}', *more],
            capture_output=True, text=True, timeout=PATIENCE_S, check=True,
        )  # fmt: skip
        told: dict[str, Any] = json.loads(asked.stdout)
        assert told["kind"] == "application/json"
        return told

    told = ask("jobs", '{"id": "c1"}', "replies/7", "-D", "publish", "correlation-data", "abc")
    assert Ack.model_validate(told["said"]).status == "accepted"
    assert told["correlation"] == "abc"
    told = ask("dance", '{"id": "c2"}', "edged/d1/response/7")
    assert told["said"]["error"].startswith("'dance': unknown command")
    assert told["correlation"] == ""
    assert ask("jobs", '{"id": "c3"}', "edged/d1/ack/c3")["said"]["id"] == "c3", "where it goes anyway"
    wait_for(lambda: ran == ["c1", "c3"], "what was accepted")


@pytest.mark.parametrize("hangs_up", [False, True])
def test_an_ack_that_the_broker_refuses_is_given_up(
    mosquitto: MakeBroker,
    link: MakeLink,
    subscribe: MakeSubscriber,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    hangs_up: bool,
) -> None:
    """Where `max_queued_messages` is 0, Mosquitto 2.0.11 ends the connection besides on what it refuses."""
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite #\nuser device\ntopic write edged/d1/#\ntopic read edged/d1/cmd/+\n")
    broker = mosquitto(
        users={"device": "secret"}, extra=f"acl_file {rules}\nmax_queued_messages {0 if hangs_up else 1000}"
    )
    password = tmp_path / "password"
    password.write_text("secret")
    running = link(broker.url, username="device", password_file=password)
    seen = subscribe(broker.port)
    seen.all("edged/d1/state")
    seen.command("jobs", "c1", ResponseTopic="elsewhere", CorrelationData=b"x")
    wait_for(lambda: "broker refused an ack on response topic elsewhere (Not authorized)" in caplog.text, "a line")
    if hangs_up:
        wait_for(lambda: seen.payloads("edged/d1/state") == [b"online", b"offline", b"online"], "a new connection")
    seen.command("jobs", "c2", ResponseTopic="edged/d1/response/mine", CorrelationData=b"\x00y")
    (answer,) = seen.all("edged/d1/response/mine")
    assert json.loads(answer.payload)["id"] == "c2"
    assert seen.told("edged/d1/response/mine") == JSON | {"CorrelationData": b"\x00y".hex()}
    assert caplog.text.count("broker refused") == 1, "and not again"
    assert len(seen.all("edged/d1/ack/c1")) == 1 or hangs_up
    wait_for(lambda: running.backlog == 0, "all acknowledged")
    assert seen.payloads("elsewhere") == []
