"""A real Mosquitto for tests: its own port, files and certificates; stopped, killed and started again at will."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S

HOST = "127.0.0.1"


def binary() -> str:
    """Where Mosquitto is; Debian keeps it where a user's PATH does not look."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip("needs mosquitto (apt install mosquitto)")
    return found


def free_port() -> int:
    """Find a port that nobody listens on, and that the kernel gives to nobody's outgoing connection meanwhile."""
    while True:
        port = random.SystemRandom().randrange(15_000, 32_000)  # below Linux's ephemeral ones
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


class Mosquitto:
    """A broker process.

    Args:
        folder: For its configuration, log and database.
        users: Name → password; None: none.
        allow_anonymous: Whether a client without a user is let in.
        tls: Serve TLS with certificates made by `certificates`.
        client_certificates: With `tls`: demand one that our CA signed.
        persistence: Keep the database, saved after every change.
        websockets: Speak MQTT by WebSockets, too.
        extra: More lines of configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: dict[str, str] | None = None,
        allow_anonymous: bool = True,
        tls: bool = False,
        client_certificates: bool = False,
        persistence: bool = False,
        websockets: bool = False,
        extra: str = "",
    ) -> None:
        self.folder = folder
        self.port = free_port()
        self.tls = tls
        self.ca_file = folder / "ca.crt"
        self._binary = binary()
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} {HOST}", f"allow_anonymous {str(allow_anonymous).lower()}"]
        lines.append("set_tcp_nodelay true")  # else a packet waits until the one before is acknowledged
        lines.append("max_queued_messages 0")  # a test that is not scheduled for a while shall miss nothing either
        if os.getuid() == 0:
            lines.append("user root")  # it may not read our folder otherwise
        if users is not None:
            lines.append(f"password_file {folder / 'users'}")
            self.set_users(users)
        encryption = []
        if tls:
            certificates(folder)
            encryption += [f"cafile {self.ca_file}", f"certfile {folder / 'server.crt'}"]
            encryption += [f"keyfile {folder / 'server.key'}"]
            encryption += [f"require_certificate {str(client_certificates).lower()}"]
        lines += encryption
        self._websockets_port = free_port()
        self._ports = (self.port, self._websockets_port) if websockets else (self.port,)
        if websockets:
            lines += [f"listener {self._websockets_port} {HOST}", "protocol websockets", *encryption]
        if persistence:
            lines += ["persistence true", f"persistence_location {folder}/", "autosave_on_changes true"]
            lines += ["autosave_interval 1"]
        self._config = folder / "mosquitto.conf"
        self._config.write_text("\n".join([*lines, extra, ""]))

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{HOST}:{self.port}"

    @property
    def websockets_url(self) -> str:
        return f"{'wss' if self.tls else 'ws'}://{HOST}:{self._websockets_port}"

    @property
    def log(self) -> str:
        return (self.folder / "mosquitto.log").read_text(errors="replace")

    def set_users(self, users: dict[str, str]) -> None:
        path = self.folder / "users"
        path.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
        path.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True)

    def start(self) -> Mosquitto:
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([self._binary, "-v", "-c", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                for port in self._ports:
                    socket.create_connection((HOST, port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise RuntimeError(f"mosquitto did not start: {self.log}")

    def reload(self) -> None:
        """Read the password file again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """Keep every connection open and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None


def certificates(folder: Path) -> None:
    """Make ca.crt, server.crt/.key for localhost, client.crt/.key, and an other.crt that signed nothing."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for authority in ("ca", "other"):
        openssl("req", "-x509", *key, "-keyout", f"{authority}.key", "-out", f"{authority}.crt", "-days", "2",
                "-subj", f"/CN=edged test {authority}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    (folder / "names").write_text(f"subjectAltName=DNS:localhost,IP:{HOST}\n")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.crt", "-days", "2", "-extfile", "names")  # fmt: skip
        (folder / f"{name}.key").chmod(0o600)
