"""A client of MQTT 5 that keeps every message with its properties, and may publish with some."""

from __future__ import annotations

import json
from typing import Any

from paho.mqtt.client import Client as Paho
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.mosquitto import HOST
from tests.waiting import wait_until


class Subscriber:
    """Subscribes to everything, with QoS 1."""

    def __init__(self, port: int) -> None:
        self.seen: list[MQTTMessage] = []
        self._granted: set[int] = set()
        self._client = Paho(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.on_message = lambda _, __, message: self.seen.append(message)
        self._client.on_subscribe = lambda _, __, mid, *___: self._granted.add(mid)
        self._client.connect(HOST, port)
        self._client.loop_start()
        _, mid = self._client.subscribe("#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        wait_until(lambda: mid in self._granted, what="a subscription")

    def all(self, topic: str) -> list[MQTTMessage]:
        wait_until(lambda: any(message.topic == topic for message in list(self.seen)), what=topic)
        return [message for message in list(self.seen) if message.topic == topic]

    def payloads(self, topic: str) -> list[bytes]:
        return [message.payload for message in list(self.seen) if message.topic == topic]

    def told(self, topic: str) -> dict[str, Any]:
        """Return the properties of the newest message on a topic, once there is one."""
        newest = self.all(topic)[-1]
        assert newest.properties is not None
        told: dict[str, Any] = newest.properties.json()  # type: ignore[no-untyped-call]  # paho annotates only in part
        return told

    def wait_for_online(self) -> None:
        """Wait until d1 reads commands: it subscribes before it says `online`."""
        wait_until(lambda: self.payloads("edged/d1/state")[-1:] == [b"online"], what="d1 online")

    def command(self, name: str, id_: str, **properties: Any) -> None:
        """Send a command to d1, which must be online: else nobody would hear it."""
        self.wait_for_online()
        told = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # as above
        for key, value in properties.items():
            setattr(told, key, value)
        self._client.publish(f"edged/d1/cmd/{name}", json.dumps({"id": id_}), qos=1, properties=told)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        del self._client  # it and its callbacks hold each other, and paho closes its inner sockets only when it goes
