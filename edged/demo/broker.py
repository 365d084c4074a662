"""A small MQTT broker for the demonstration, in a process of its own: `python -m edged.demo.broker PORT`.

amqtt speaks MQTT 3.1.1; whoever runs edged for real runs Mosquitto or another grown broker.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any


async def serve(port: int) -> None:
    """Listen on 127.0.0.1 until the parent closes our standard input."""
    from amqtt.broker import Broker

    configuration: dict[str, Any] = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(configuration)
    await broker.start()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await broker.shutdown()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)  # amqtt logs every client's going as an error
    asyncio.run(serve(int(sys.argv[1])))
