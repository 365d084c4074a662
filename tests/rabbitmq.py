"""A real RabbitMQ node for tests: its MQTT plugin alone, with its own folder, ports, cookie and name server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, has_ended, wait_until

_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe"
"""A client of MQTT 3.1.1 with a clean session."""
_LET_IN = b"\x20\x02\x00\x00"


def _program(name: str) -> str:
    """Where a program is; Debian keeps the server, without what hands it to a service's user, where no PATH looks."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/lib/rabbitmq/bin")
    if found is not None and Path(found).resolve().name == "rabbitmq-script-wrapper":
        found = shutil.which(name, path="/usr/lib/rabbitmq/bin")
    if found is None:
        pytest.skip("needs RabbitMQ (tools/test --brokers unpacks Debian's)")
    return found


class RabbitMQ:
    """A node, and the Erlang name server that it registers with.

    Args:
        folder: For its configuration, log, cookie and database.
        extra: More lines of configuration.
    """

    def __init__(self, folder: Path, extra: str = "") -> None:
        self._server, self._epmd = _program("rabbitmq-server"), _program("epmd")
        self.port = free_port()
        self._folder = folder
        self._names = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._name_server: subprocess.Popen[bytes] | None = None
        (folder / "enabled_plugins").write_text("[rabbitmq_mqtt].\n")
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp = none\nmqtt.listeners.tcp.1 = {HOST}:{self.port}\n"
            "mqtt.retained_message_store = rabbit_mqtt_retained_msg_store_dets\nlog.file = false\nlog.console = true\n"
            f"{extra}\n"
        )

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        return (self._folder / "rabbitmq.log").read_text(errors="replace")

    def start(self) -> RabbitMQ:
        """Start, and wait until a client is let in."""
        environment = self._environment()
        with (self._folder / "rabbitmq.log").open("ab") as log:
            if self._name_server is None:
                command = [self._epmd, "-port", str(self._names), "-address", HOST]
                self._name_server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
            self._process = subprocess.Popen(
                [self._server], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        wait_until(self._lets_in, what="RabbitMQ to let a client in")
        return self

    def kill(self) -> None:
        """Kill the node, as if its machine had died."""
        if self._process is not None:
            all_of_it = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children(recursive=True)]
            for one in all_of_it:
                one.send_signal(signal.SIGKILL)
            self._process.wait(PATIENCE_S)
            wait_until(lambda: all(map(has_ended, all_of_it)), what="the end of RabbitMQ")
            self._process = None

    def close(self) -> None:
        """End it all."""
        self.kill()
        if self._name_server is not None:
            self._name_server.kill()
            self._name_server.wait(PATIENCE_S)
            self._name_server = None

    def _environment(self) -> dict[str, str]:
        """What keeps it away from a RabbitMQ that this machine may have, and from the files of its user."""
        others = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(others)}
        folder = self._folder
        return kept | {
            "HOME": str(folder),  # the cookie's place
            "ERL_EPMD_PORT": str(self._names),
            "RABBITMQ_NODENAME": f"edged-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "db"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _lets_in(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log
        try:
            with socket.create_connection((HOST, self.port), 5) as client:
                client.sendall(_CONNECT)
                return client.recv(4) == _LET_IN
        except OSError:
            return False
