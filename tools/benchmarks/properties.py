"""What MQTT 5's properties cost: bytes of a result, and processor time of publishing one, paired, on a real Mosquitto.

    PYTHONPATH=tools python -m benchmarks.properties --into tools/reports/properties.json

One connection of edged's own publishes blocks of results with QoS 1 and waits for every acknowledgement; the ways take
turns, another one first in each round, so that what else the machine does hits all of them alike. The processor time is
that of this process: the device's side of it, network thread and all, without the broker's.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from benchmarks.live import Broker
from edged.contract.channels import JSON
from edged.contract.messages import Result, ResultLatency, Score
from edged.mqtt import properties
from edged.mqtt.broker import brokers
from edged.mqtt.connection import WINDOW
from edged.mqtt.events import Acknowledged
from edged.mqtt.session import Session, open_session
from edged.settings import MqttSettings

TOPIC = "edged/tx2-01/result/main"
RESULT = Result(
    seq=1234, boot="5f0c91ab", camera="main", model="0123456789ab", label="Egyptian cat", score=0.8123,
    familiarity=0.4211,
    top=[Score(label=label, score=0.1234) for label in ("Egyptian cat", "tabby", "tiger cat", "lynx", "window screen")],
    latency_ms=ResultLatency(capture=3.51, preprocess=1.25, invoke=7.53, total=14.02),
).encode()  # fmt: skip
"""A result with the five labels that one has by default."""

_AS_IT_IS = properties.of_message
Way = Callable[..., "Properties | None"]


def _anew(topic: str, payload: bytes, *, retain: bool) -> Properties:  # noqa: ARG001 - takes the place of `of_message`
    made = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho annotates only in part
    made.ContentType = JSON
    made.PayloadFormatIndicator = 1
    return made


WAYS: dict[str, Way] = {
    "none": lambda *_, **__: None,
    "content type": _AS_IT_IS,
    "content type, put together anew for each": _anew,
    "content type and user properties": lambda topic, payload, **_: _AS_IT_IS(topic, payload, retain=True),
}
"""The first is how it was, the second how it is."""


def measure(rounds: int, block: int) -> dict[str, Any]:
    """Publish; return the numbers.

    Args:
        rounds: In each, every way publishes a block.
        block: Results.
    """
    names = list(WAYS)
    spent: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, closing(Broker(Path(folder))) as broker:
        settings = MqttSettings(url=(f"mqtt://127.0.0.1:{broker.port}",))
        session = open_session(brokers(settings), purpose="bench", will_topic="edged/tx2-01/state", timeout_s=60)
        if session.error is not None or session.connection.protocol != "5":
            sys.exit(f"bench: no connection of MQTT 5: {session.error}")
        try:
            for turn in range(rounds + 1):
                for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
                    properties.of_message = WAYS[name]  # type: ignore[assignment]  # where `Connection` looks it up
                    seconds = _publish(session, block)
                    if turn:  # the first round warms up
                        spent[name].append(seconds / block * 1e6)
        finally:
            properties.of_message = _AS_IT_IS
            session.close()
    return {
        "result_bytes": len(RESULT),
        "rounds": rounds,
        "block": block,
        "cores": os.cpu_count(),
        "ways": {
            name: {
                "bytes": 1 if (told := way(TOPIC, RESULT, retain=False)) is None else len(told.pack()),
                "cpu_us": round(statistics.median(spent[name]), 1),
                "more_us": round(statistics.median(map(_minus, spent[name], spent[names[0]])), 1),
                "blocks_us": [round(one, 1) for one in spent[name]],
            }
            for name, way in WAYS.items()
        },
    }


def _minus(one: float, other: float) -> float:
    return one - other


def _publish(session: Session, block: int) -> float:
    """Publish so many results, and wait for their acknowledgements; return the processor time."""
    begin = time.process_time()
    sent = acknowledged = 0
    while acknowledged < block:
        if sent < block and sent - acknowledged < WINDOW:
            if session.connection.publish(TOPIC, RESULT, qos=1, retain=False) is None:
                sys.exit("bench: the connection is gone")
            sent += 1
            continue
        acknowledged += _wait(session.events)
    return time.process_time() - begin


def _wait(events: queue.Queue[Any]) -> int:
    event = events.get(timeout=60)
    if not isinstance(event, Acknowledged):
        sys.exit(f"bench: {event}")
    return 1


def main() -> None:
    """Measure, print, and write where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--block", type=int, default=400, help="results")
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the numbers there too")
    args = parser.parse_args()
    numbers = measure(args.rounds, args.block)
    if args.into is not None:
        args.into.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    for name, way in numbers["ways"].items():
        print(f"{name:42} {way['bytes']:3} bytes  {way['cpu_us']:6.1f} µs  {way['more_us']:+5.1f} µs")


if __name__ == "__main__":
    main()
