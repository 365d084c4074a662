"""Brokers as `configs/` sets them up for a fleet: the shipped files in a real Mosquitto and a real NATS, over TLS."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from tests.certificates import Authority, Certificate
from tests.conftest import REPOSITORY
from tests.mosquitto import HOST, binary, free_port
from tests.nats import binary as nats_binary
from tests.waiting import PATIENCE_S, wait_until

CONFIGS = REPOSITORY / "configs"
USERS = ("tx2-01", "tx2-02", "dashboard", "operator", "homeassistant")


def password(user: str) -> str:
    return f"of {user}"


class Certificates:
    """What both brokers and all clients need; made once."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.others = Authority(folder / "ours"), Authority(folder / "others")
        self.server = self.ours.sign("server")
        self.expired = self.ours.sign("server", expired=True)
        self.elsewhere = self.ours.sign("server", of="DNS:broker.example")
        self.clients = {user: self.ours.sign(user, of=f"DNS:{user}") for user in USERS}


class Server:
    """A broker process. `ports`: that for passwords, and that where a client must show a certificate."""

    def __init__(self, folder: Path, command: list[str], ports: dict[str, int]) -> None:
        self.ports = ports
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for_log(self, text: str) -> Server:
        def logged() -> bool:
            assert self._process.poll() is None, self.log
            return text in self.log

        wait_until(logged, what=f"{text!r} in the broker's log")
        return self

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(PATIENCE_S)


def start_mosquitto(folder: Path, made: Certificates, server: Certificate) -> Server:
    """Run configs/mosquitto-fleet.conf; one process serves both kinds of login."""
    folder.mkdir()
    ports = {"password": free_port(), "certificate": free_port()}
    text = (CONFIGS / "mosquitto-fleet.conf").read_text()
    files = {"server.crt": server.file, "server.key": server.key, "ca.crt": made.ours.file}
    for name, path in files.items():
        text = re.sub(rf"(?m)^(\w+) /etc/mosquitto/{re.escape(name)}$", rf"\1 {path}", text)
    text = text.replace("/etc/mosquitto/", f"{folder}/")
    for port, name in (("8883", "password"), ("8884", "certificate")):
        text, count = re.subn(rf"(?m)^listener {port}$", f"listener {ports[name]} {HOST}", text)
        assert count == 1
    acl, passwords, config = folder / "edged.acl", folder / "edged.passwd", folder / "mosquitto.conf"
    acl.write_text((CONFIGS / "mosquitto.acl").read_text())
    passwords.write_text("".join(f"{user}:{password(user)}\n" for user in USERS))
    for file in (acl, passwords):
        file.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True)
    config.write_text(f"{text}\nuser root\n")
    return Server(folder, [binary(), "-v", "-c", str(config)], ports).wait_for_log(" running")


def start_nats(folder: Path, made: Certificates, server: Certificate, *, mutual: bool) -> Server:
    """Run configs/nats.conf; a process serves one kind of login."""
    folder.mkdir()
    port = free_port()
    text = (CONFIGS / "nats.conf").read_text()
    changes = {
        "127.0.0.1:4222": f"{HOST}:{free_port()}",
        "0.0.0.0:8883": f"{HOST}:{port}",
        "/var/lib/nats": str(folder / "streams"),
        "/etc/nats/server.crt": str(server.file),
        "/etc/nats/server.key": str(server.key),
        "/etc/nats/ca.crt": str(made.ours.file),
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    if mutual:
        text = text.replace("#ca_file", "ca_file").replace("#verify_and_map", "verify_and_map")
        text = re.sub(r", password: \$\w+", "", text).replace('include "./passwords.conf"', "")
    lines = (f'{user.upper().replace("-", "_")}_PASSWORD: "{password(user)}"\n' for user in USERS)
    (folder / "passwords.conf").write_text("".join(lines))
    (folder / "nats.conf").write_text(text)
    command = [nats_binary(), "-c", str(folder / "nats.conf")]
    return Server(folder, command, {"certificate" if mutual else "password": port}).wait_for_log("Server is ready")
