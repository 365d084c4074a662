"""`configs/node-red-flow.json` in a real Node-RED, on a real Mosquitto, with a device that follows the contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edged.contract.commands import COMMANDS
from edged.contract.messages import CameraLabel
from tests.conftest import REPOSITORY
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import Mosquitto
from tests.nodered import NodeRed
from tests.waiting import wait_until

FLOW: list[dict[str, Any]] = json.loads((REPOSITORY / "configs" / "node-red-flow.json").read_text(encoding="utf-8"))
SNAPSHOT, RETRAIN = (
    next(node["id"] for node in FLOW if node["type"] == "inject" and node["name"] == name)
    for name in ("snapshot", "retrain")
)


def flow_for(port: int, *, longest_wait_s: float = 300.0) -> list[dict[str, Any]]:
    """Return the flow as somebody has set it up: with a broker, and a time to wait for an ack."""
    nodes: list[dict[str, Any]] = json.loads(json.dumps(FLOW))
    for node in nodes:
        if node["type"] == "mqtt-broker":
            node |= {"broker": "127.0.0.1", "port": str(port)}
        for variable in node.get("env", []):
            if variable["name"] == "LONGEST_WAIT_S":
                variable["value"] = str(longest_wait_s)
    return nodes


@pytest.fixture
def node_red(tmp_path: Path) -> Iterator[Callable[..., NodeRed]]:
    """A factory of a running Node-RED with the flow."""
    running: list[NodeRed] = []

    def start(port: int, **settings: float) -> NodeRed:
        running.append(NodeRed(tmp_path / "node-red", flow_for(port, **settings)))
        return running[-1].start()

    yield start
    for one in running:
        one.close()


def label(name: str, score: float) -> CameraLabel:
    return CameraLabel(label=name, score=score, since="2026-01-31T12:00:00.000Z")


def test_labels_commands_and_states_pass_through_the_flow(
    mosquitto: Callable[..., Mosquitto], node_red: Callable[..., NodeRed]
) -> None:
    broker = mosquitto()
    with ScriptedDevice(broker.port) as device:
        device.say("label/main", label("cat", 0.9312), retain=True)
        peer = node_red(broker.port)
        # Every node of the flow is of a type that this Node-RED brings along.
        assert {node["type"] for node in FLOW} - {"tab"} <= {
            name for module in peer.modules() if not module.get("err") and module["enabled"] for name in module["types"]
        }
        peer.wait_for_log("[debug:label] tx2-01, main: cat (93 %)")  # what was retained
        device.say("label/main", label("cat", 0.8), retain=True)  # the same once more, as after a restart
        device.say("label/main", b"", retain=True)  # the camera is gone
        device.say("label/main", label("dog", 0.5), retain=True)
        peer.wait_for_log("[debug:label] tx2-01, main: dog (50 %)")
        assert peer.log.count("[debug:label]") == 2

        peer.press(SNAPSHOT)
        peer.wait_for_log("[debug:done] tx2-01, snapshot: accepted")
        peer.wait_for_log("[debug:done] tx2-01, snapshot: succeeded")
        name, command = device.commands[0]
        args, rest = COMMANDS[name].model_validate(command.args), command.model_dump(include={"ts", "expires"})
        assert (name, args.model_fields_set, all(rest.values())) == ("snapshot", set(), True)
        peer.press(SNAPSHOT, device="tx2-01", command="snapshot", args={"camera": "x"})
        peer.wait_for_log("[debug:not done] tx2-01, snapshot: rejected: camera 'x': unknown; main")
        peer.press(SNAPSHOT, device="tx2-01", command="set", args={"fps": 999})
        peer.wait_for_log("[debug:not done] tx2-01, set: failed: camera main: cannot be that fast")
        assert (peer.log.count("[debug:done]"), peer.log.count("[debug:not done]")) == (3, 2)  # `set` was accepted
        assert "[debug:alarm]" not in peer.log
    peer.wait_for_log("[debug:alarm] tx2-01 is offline")
    with ScriptedDevice(broker.port):
        peer.wait_for_log("[debug:alarm] tx2-01 is online")
    peer.wait_for_log("[debug:alarm] tx2-01 is offline", count=2)
    assert "[error]" not in peer.log


def test_a_command_without_an_ack_is_told(
    mosquitto: Callable[..., Mosquitto], node_red: Callable[..., NodeRed]
) -> None:
    broker = mosquitto()
    with ScriptedDevice(broker.port, silent=True) as device:
        device.say("label/main", label("cat", 0.9312), retain=True)
        peer = node_red(broker.port, longest_wait_s=0.5)
        peer.wait_for_log("[debug:label] tx2-01, main: cat (93 %)")  # what is pressed before it is connected is lost
        peer.press(RETRAIN)
        peer.wait_for_log("[debug:not done] tx2-01, retrain: no ack within 0.5 s")
        wait_until(lambda: device.commands, what="the command, which the device may hear later than that")
        ((name, command),) = device.commands
        assert COMMANDS[name].model_validate(command.args).model_fields_set == set()
        assert name == "retrain"
