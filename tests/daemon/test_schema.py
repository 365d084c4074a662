"""What a real daemon says, and is told by a real edgectl, is what the schemas and the table of channels say."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged.contract.channels import CHANNELS, PARAMETERS, Channel
from edged.ctl.client import Client
from edged.ctl.errors import RejectedError
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.daemon.running import Running
from tests.mosquitto import Mosquitto
from tests.mqtt.subscriber import Subscriber
from tests.schema.checking import check_messages
from tests.waiting import PATIENCE_S, wait_until

FINAL = ("succeeded", "failed")


def channel_of(below: str) -> Channel:
    """The one kind of topic that a topic is."""
    parameter = "|".join(f"<{name}>" for name in PARAMETERS)
    (found,) = [one for one in CHANNELS if re.fullmatch(re.sub(parameter, "[^/]+", one.topic), below)]
    return found


def test_what_a_daemon_says_and_is_told_fits(broker: Mosquitto, run: Callable[..., Running], tmp_path: Path) -> None:
    seen = Subscriber(broker.port)
    daemon = run(broker.url)
    try:
        seen.all("edged/dut/result/main")
        seen.all("edged/dut/telemetry")
        with Client(brokers(MqttSettings(url=(broker.url,))), timeout_s=PATIENCE_S) as client:
            for name, args in {
                "status": {}, "set": {"top": 2}, "snapshot": {"quality": 50}, "jobs": {"limit": 3},
                "images_list": {"unlabeled": True}, "models_list": {},
            }.items():  # fmt: skip
                ack = client.command("dut", name, args)
                assert list(client.jobs(ack.id, silence_s=PATIENCE_S))[-1].status in FINAL
            with pytest.raises(RejectedError, match="unknown command"):
                client.command("dut", "dance")
        newest = len(seen.payloads("edged/dut/telemetry"))
        wait_until(lambda: len(seen.payloads("edged/dut/telemetry")) > newest, what="telemetry of what was done")
        assert daemon.stop() == 0
        wait_until(lambda: seen.payloads("edged/dut/state")[-1:] == [b"offline"], what="offline")
    finally:
        seen.close()
    said: dict[str, list[Any]] = defaultdict(list)
    heard: set[str] = set()
    for message in seen.seen:
        kind, _, below = message.topic.removeprefix("edged/dut/").partition("/")
        if kind == "cmd":
            if below != "dance":
                said[f"cmd/{below}"].append(json.loads(message.payload))
            continue
        channel = channel_of(message.topic.removeprefix("edged/dut/"))
        heard.add(channel.topic)
        assert (message.qos, message.retain) == (channel.qos, channel.retain), message.topic
        assert message.properties is not None
        content = getattr(message.properties, "ContentType", None)
        assert content == (channel.content[0] if message.payload else None), message.topic
        if channel.says is not None and message.payload:
            said[kind].append(json.loads(message.payload))
        elif channel.texts:
            assert message.payload.decode() in channel.texts
    untold = {"bottlenecks/<id>", "job", "picture/<camera>"}  # nothing was trained, and no Home Assistant is to find it
    assert heard == {one.topic for one in CHANNELS} - untold
    done = check_messages(tmp_path, said)
    assert done.returncode == 0, done.stdout
