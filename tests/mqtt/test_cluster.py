"""A broker of several nodes: where one is gone the next is used, and nothing that was handed out is missed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged.ctl.client import Client
from edged.ctl.errors import AccessRefusedError, UnreachableError
from edged.errors import LinkError
from edged.mqtt.broker import brokers
from edged.mqtt.events import Closed
from edged.mqtt.link import Link
from edged.mqtt.retry import OTHERS_S, Retry
from edged.settings import MqttSettings
from tests.mosquitto import Mosquitto
from tests.mqtt.conftest import DEVICE, Watcher, wait_for
from tests.nats import Cluster
from tests.waiting import PATIENCE_S

MakeLink = Callable[..., Link]
Watch = Callable[..., Watcher]


class Unhurried(Retry):
    """Decides as it does on a device, but gives up no attempt because this machine is slow, only a refused one."""

    def patience_s(self, host: str) -> float:
        return PATIENCE_S


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path / "nats")
    try:
        yield made.start()
    finally:
        made.close()


def test_a_dead_address_is_passed_over_at_once_and_the_next_one_used(
    mosquitto: Callable[..., Mosquitto], link: MakeLink
) -> None:
    dead, first, second = mosquitto(), mosquitto(), mosquitto()
    dead.stop()
    running = link(f"{dead.url}, {first.url}, {second.url}", retry=Unhurried(device=DEVICE, brokers=3))
    wait_for(lambda: running.connected, "connected to the second")
    assert f"{first.port}" in running.broker
    first.stop()
    wait_for(lambda: running.connected and f"{second.port}" in running.broker, "connected to the third")
    second.stop()
    first.start()
    wait_for(lambda: running.connected and f"{first.port}" in running.broker, "connected to the second again")


def test_a_frozen_node_is_given_up_for_the_next(mosquitto: Callable[..., Mosquitto], link: MakeLink) -> None:
    frozen, alive = mosquitto(), mosquitto()
    frozen.pause()
    try:
        running = link(f"{frozen.url},{alive.url}", retry=Retry(device=DEVICE, brokers=2))
        wait_for(lambda: running.connected, "connected")
    finally:
        frozen.go_on()
    assert f"{alive.port}" in running.broker


def test_delays_grow_when_all_have_failed_and_not_with_each() -> None:
    retry = Retry(device=DEVICE, shortest_s=1.0, longest_s=30.0, brokers=3, dice=lambda: 1.0)
    failed = Closed(None, "unreachable", "nobody", 0)  # type: ignore[arg-type] # it is not looked at
    assert [retry.closed(0.0, failed)[0] for _ in range(9)] == [1, 1, 1, 2, 2, 2, 4, 4, 4]
    assert retry.patience_s("far") == OTHERS_S


def test_edgectl_tries_them_in_turn_and_goes_on_with_the_next(
    mosquitto: Callable[..., Mosquitto], link: MakeLink
) -> None:
    dead, first, second = mosquitto(), mosquitto(), mosquitto()
    dead.stop()
    link(f"{second.url}")
    urls = f"{dead.url},{first.url},{second.url}"
    client = Client(brokers(MqttSettings(url=urls)), timeout_s=PATIENCE_S)
    with client, client.subscribe("+/state") as states:
        first.stop()
        message = states.get(PATIENCE_S)
        assert message is not None
        assert (message.device, message.payload) == (DEVICE, b"online")


def test_edgectl_tells_of_a_refused_login_also_where_the_first_address_is_dead(
    mosquitto: Callable[..., Mosquitto],
) -> None:
    dead, locked, gone = mosquitto(), mosquitto(users={"door": "secret"}, allow_anonymous=False), mosquitto()
    dead.stop()
    gone.stop()

    def why(*asked: Mosquitto) -> LinkError:
        with pytest.raises(LinkError) as told:
            Client(brokers(MqttSettings(url=",".join(one.url for one in asked))), timeout_s=PATIENCE_S).__enter__()
        return told.value

    refused = why(dead, locked, gone)
    assert isinstance(refused, AccessRefusedError), refused
    assert f"{locked.port} refuses a login without a user" in str(refused)
    nowhere = why(dead, gone)
    assert isinstance(nowhere, UnreachableError)
    assert str(nowhere).count("connection refused") == 2
    assert all(f":{one.port}:" in str(nowhere) for one in (dead, gone))


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_websockets_carry_all_that_tcp_does(
    mosquitto: Callable[..., Mosquitto], link: MakeLink, watch: Watch, tls: bool
) -> None:
    broker = mosquitto(websockets=True, tls=tls)
    login = {"ca_file": broker.ca_file} if tls else {}
    commands: list[str] = []
    running = link(broker.websockets_url, on_command=lambda command: commands.append(command.id), **login)
    wait_for(lambda: running.connected, "connected")
    client = Client(brokers(MqttSettings(url=broker.websockets_url, **login)), timeout_s=PATIENCE_S)
    with client, client.subscribe("+/result/+", "+/state") as seen:
        for number in range(300):  # small ones, many in a packet of TCP, and some that fill several
            running.publish("result/main", json.dumps([number, "x" * (200_000 if number % 100 == 99 else 10)]).encode())
        results = []
        while len(results) < 300:
            message = seen.get(PATIENCE_S)
            assert message is not None
            if message.levels[0] == "result":
                results.append(json.loads(message.payload)[0])
        assert results == list(range(300))
        acks = [client.command(DEVICE, "status") for _ in range(20)]
        wait_for(lambda: commands == [ack.id for ack in acks], "the commands, which run after their acks")
        broker.kill()
        wait_for(lambda: not running.connected, "noticed")
        broker.start()
        wait_for(lambda: running.connected, "connected again")


@pytest.mark.timeout(1200)
def test_one_node_of_three_is_killed_under_load_and_every_result_arrives(
    cluster: Cluster, link: MakeLink, watch: Watch
) -> None:
    first, _, third = cluster.nodes
    seen = watch(third.port, qos=1)
    running = link(cluster.urls, retry=Unhurried(device=DEVICE, brokers=3))
    wait_for(lambda: running.connected, "connected")
    assert f"{first.port}" in running.broker
    over, sent = threading.Event(), 0

    def publish() -> None:
        nonlocal sent
        while not over.wait(0.005):
            running.publish("result/main", json.dumps(sent).encode())
            sent += 1

    publisher = threading.Thread(target=publish)
    publisher.start()
    wait_for(lambda: len(seen.of("result/main")) > 100, "results")
    first.kill()
    wait_for(lambda: running.connected and f"{first.port}" not in running.broker, "another node")
    before = len(seen.of("result/main"))
    wait_for(lambda: len(seen.of("result/main")) > before + 100, "results by another node")
    over.set()
    publisher.join()
    wait_for(lambda: running.backlog == 0, "all taken")
    wait_for(lambda: {json.loads(one) for one in seen.of("result/main")} == set(range(sent)), "every one of them")
    # What the dead node had taken and was about to hand out, the others hand out 30 s later, in the midst of newer ones
    # and with the flag DUP. That is the cluster's order; what has no such flag comes in the order of the link.
    in_order = list(dict.fromkeys(json.loads(one) for one in seen.once("result/main")))
    assert in_order == sorted(in_order)


def test_status_is_told_through_every_node(cluster: Cluster, link: MakeLink) -> None:
    first, *others = cluster.nodes
    running = link(first.url)
    wait_for(lambda: running.connected, "connected")
    for node in others:

        def told(url: str = node.url) -> bool:
            """Whether who comes now is told: a node learns of what is kept a while after the one that took it."""
            client = Client(brokers(MqttSettings(url=url)), timeout_s=PATIENCE_S)
            with client, client.subscribe("+/state") as states:
                message = states.get(1.0)
            assert message is None or (message.device, message.payload) == (DEVICE, b"online")
            return message is not None

        wait_for(told, f"the device's state by {node.url}")
