"""What the brokers of `configs/` refuse: who is not let in, and who may say and hear what. README has the table."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edged.ctl.client import Client
from edged.ctl.errors import AccessRefusedError, RejectedError
from edged.mqtt.broker import brokers
from edged.mqtt.probe import try_logins
from edged.settings import MqttSettings
from tests.certificates import Certificate
from tests.mosquitto import HOST
from tests.mqtt.fleets import USERS, Certificates, Server, password, start_mosquitto, start_nats
from tests.waiting import PATIENCE_S, wait_until

# paho leaves a socket whose TLS handshake failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
BOTH = pytest.mark.parametrize("kind", ["mosquitto", "nats"])
LOGINS = pytest.mark.parametrize("login", ["password", "certificate"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates") / "all")


class Brokers:
    """Those that a test has asked for, started when it does."""

    def __init__(self, folder: Path, made: Certificates) -> None:
        self._folder, self.made = folder, made
        self._running: dict[str, Server] = {}

    def port(self, kind: str, login: str, server: Certificate | None = None) -> int:
        server = server or self.made.server
        key = f"{kind} {server.file.name} {login if kind == 'nats' else ''}"
        if key not in self._running:
            folder = self._folder / f"{len(self._running)}"
            if kind == "mosquitto":
                self._running[key] = start_mosquitto(folder, self.made, server)
            else:
                self._running[key] = start_nats(folder, self.made, server, mutual=login == "certificate")
        return self._running[key].ports[login]

    def close(self) -> None:
        for server in self._running.values():
            server.close()


@pytest.fixture(scope="module")
def running(made: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    all_of_them = Brokers(tmp_path_factory.mktemp("brokers"), made)
    yield all_of_them
    all_of_them.close()


def settings(made: Certificates, port: int, folder: Path, **more: object) -> MqttSettings:
    """Return `[mqtt]` of device tx2-01; `secret` and `certificate` are its login."""
    values = {"url": f"mqtts://{HOST}:{port}", "ca_file": made.ours.file, "username": "tx2-01", **more}
    if isinstance(secret := values.pop("secret", None), str):
        file = folder / "password"
        file.write_text(secret)
        file.chmod(0o600)
        values["password_file"] = file
    if isinstance(certificate := values.pop("certificate", None), Certificate):
        values |= {"cert_file": certificate.file, "key_file": certificate.key, "username": None}
    return MqttSettings.model_validate(values)


def refused(of: MqttSettings) -> str | None:
    """Why edged is not let in, or goes away itself; None: it is let in."""
    (login,) = try_logins(of, "tx2-01", PATIENCE_S)
    return login.error


@BOTH
def test_with_a_password(kind: str, running: Brokers, tmp_path: Path) -> None:
    made = running.made
    port = running.port(kind, "password")
    right = {"secret": password("tx2-01")}
    assert refused(settings(made, port, tmp_path, **right)) is None
    assert "refused user 'tx2-01'" in str(refused(settings(made, port, tmp_path, secret="wrong")))
    assert "refused user 'tx2-09'" in str(refused(settings(made, port, tmp_path, username="tx2-09", **right)))
    assert "refused a login without a user" in str(refused(settings(made, port, tmp_path, username=None)))
    assert "certificate is not trusted" in str(
        refused(settings(made, port, tmp_path, ca_file=made.others.file, **right))
    )
    plain = settings(made, port, tmp_path, url=f"mqtt://{HOST}:{port}", ca_file=None, **right)
    assert refused(plain) is not None, "without TLS"
    expired = settings(made, running.port(kind, "password", made.expired), tmp_path, **right)
    assert "certificate has expired" in str(refused(expired))
    elsewhere = settings(made, running.port(kind, "password", made.elsewhere), tmp_path, **right)
    assert "IP address mismatch" in str(refused(elsewhere))


@BOTH
def test_with_a_certificate(kind: str, running: Brokers, tmp_path: Path) -> None:
    made = running.made
    port = running.port(kind, "certificate")
    mine = made.clients["tx2-01"]
    assert refused(settings(made, port, tmp_path, certificate=mine)) is None
    assert refused(settings(made, port, tmp_path, secret=password("tx2-01"))) is not None, "a password alone"
    of_others = made.others.sign("tx2-01", of="DNS:tx2-01")
    assert refused(settings(made, port, tmp_path, certificate=of_others)) is not None, "of another authority"
    of_yesterday = made.ours.sign("tx2-01", of="DNS:tx2-01", expired=True)
    assert refused(settings(made, port, tmp_path, certificate=of_yesterday)) is not None, "expired"
    wrong = settings(made, port, tmp_path, certificate=mine, ca_file=made.others.file)
    assert "certificate is not trusted" in str(refused(wrong))


FILTERS = ("edged/tx2-01/cmd/+", "edged/tx2-02/cmd/+", "edged/all/cmd/+", "edged/+/state", "edged/+/result/+",
           "edged/#", "#", "$MQTT/sub/#", "homeassistant/#", "homeassistant/status")  # fmt: skip


class User:
    """A client that is logged in over TLS, and subscribed to whatever it can get."""

    def __init__(self, name: str, of: MqttSettings, *, version: MQTTProtocolVersion) -> None:
        self.name, self._settings, self._version = name, of, version
        self.heard: list[tuple[str, str, bool]] = []
        self._client = self._connect(f"{name}-listens")
        self._client.on_message = lambda _c, _d, m: self.heard.append((m.topic, m.payload.decode(), m.retain))
        answered: list[int] = []
        self._client.on_subscribe = lambda _c, _d, mid, *_: answered.append(mid)
        for count, name_ in enumerate(FILTERS, 1):
            self._client.subscribe(name_, 1)
            wait_until(lambda count=count: len(answered) == count, what=f"{name}'s subscription")

    def _connect(self, client_id: str, will: str | None = None) -> paho.Client:
        (broker,) = brokers(self._settings)
        ready: list[bool] = []
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=self._version)
        assert broker.tls is not None
        client.tls_set_context(broker.tls)
        if self._settings.username is not None:
            client.username_pw_set(self._settings.username, broker.password())
        if will is not None:
            client.will_set(will, f"will of {self.name}", 1, True)
        client.on_connect = lambda _c, _d, _f, reason, _p: ready.append(not reason.is_failure)
        client.connect(broker.host, broker.port)
        client.loop_start()
        wait_until(lambda: ready, what=f"{self.name} connected")
        assert ready[0] or will is not None
        return client

    def say(self, topic: str, text: str | None = None, *, retain: bool = False) -> str:
        """Publish and return the answer; over a connection of its own: Mosquitto may end one on which it denies it."""
        client = self._connect(f"{self.name}-says")
        over: list[str] = []
        client.on_publish = lambda _c, _d, _m, reason, _p: over.append(str(reason))
        client.on_disconnect = lambda *_: over.append("disconnected")
        client.publish(topic, self.name if text is None else text, qos=1, retain=retain)
        wait_until(lambda: over, what="an answer to a message")
        answer = over[0]
        client.on_disconnect = None
        client.disconnect()
        client.loop_stop()
        return answer

    def vanish(self, will: str) -> None:
        """Connect with a Last Will, and drop the connection."""
        client = self._connect(f"{self.name}-dies", will)
        gone: list[bool] = []
        client.on_disconnect = lambda *_: gone.append(True)
        if (stream := client.socket()) is not None:
            with socket.socket(fileno=os.dup(stream.fileno())) as connection:  # without TLS around it
                connection.shutdown(socket.SHUT_RDWR)
            wait_until(lambda: gone, what="the end of the connection")
        client.loop_stop()

    def got(self) -> set[tuple[str, str]]:
        return {(topic.removeprefix("edged/"), text) for topic, text, _ in self.heard}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@BOTH
@LOGINS
def test_who_says_and_hears_what(kind: str, login: str, running: Brokers, tmp_path: Path) -> None:
    made, port = running.made, running.port(kind, login)
    version = MQTTProtocolVersion.MQTTv5 if (kind, login) == ("mosquitto", "password") else MQTTProtocolVersion.MQTTv311

    def user(name: str, **more: object) -> User:
        (folder := tmp_path / name).mkdir(exist_ok=True)
        own = {"secret": password(name)} if login == "password" else {"certificate": made.clients[name]}
        return User(name, settings(made, port, folder, **{"username": name, **own, **more}), version=version)

    users = {name: user(name) for name in USERS}
    answers = {
        (name, topic): one.say(f"edged/{topic}")
        for name, one in users.items()
        for topic in ("tx2-01/state", "tx2-01/result/main", "tx2-01/cmd/status", "tx2-02/cmd/status", "all/cmd/status",
                      f"{name}/ack/a1")
    }  # fmt: skip
    users["dashboard"].say("edged/tx2-01/cmd/rollback", "kept", retain=True)
    users["tx2-02"].say("edged/tx2-01/state", "kept", retain=True)
    users["tx2-02"].vanish("edged/tx2-01/state")
    users["tx2-01"].vanish("edged/tx2-01/state")
    wait_until(lambda: ("tx2-01/state", "will of tx2-01") in users["dashboard"].got(), what="a Last Will")
    for name, topic in (("operator", "all/cmd/status"), ("tx2-01", "tx2-01/result/main")):
        users[name].say(f"edged/{topic}", "end")
    for name, one in users.items():
        watches = name in ("dashboard", "operator", "homeassistant")
        last = "tx2-01/result/main" if watches else "all/cmd/status"
        wait_until(lambda one=one, last=last: (last, "end") in one.got(), what=f"the end, for {name}")

    to_all = {("all/cmd/status", "operator"), ("all/cmd/status", "end")}
    assert users["tx2-01"].got() == to_all | {
        ("tx2-01/cmd/status", "operator"),
        ("tx2-01/cmd/status", "tx2-01"),  # to itself
    }
    assert users["tx2-02"].got() == to_all | {("tx2-02/cmd/status", "operator"), ("tx2-02/cmd/status", "tx2-02")}
    told = {("tx2-01/state", "tx2-01"), ("tx2-01/state", "will of tx2-01"), ("tx2-01/ack/a1", "tx2-01"),
            ("tx2-02/ack/a1", "tx2-02"), ("tx2-01/result/main", "tx2-01"), ("tx2-01/result/main", "end")}  # fmt: skip
    assert users["dashboard"].got() == told
    assert users["homeassistant"].got() >= told
    assert users["operator"].got() == told | users["tx2-01"].got() | users["tx2-02"].got()

    users["operator"].say("edged/tx2-01/cmd/set", "kept", retain=True)
    again = user("tx2-01")
    users["operator"].say("edged/tx2-01/cmd/status", "new")
    wait_until(lambda: len(again.got()) >= 2, what="a command, and the one that was kept, in whichever order")
    assert again.got() == {("tx2-01/cmd/status", "new"), ("tx2-01/cmd/set", "kept")}, "none is kept but a commander's"
    assert {text for _, text, retained in again.heard if retained} == {"kept"}, "which edged can tell, and rejects"
    if version == MQTTProtocolVersion.MQTTv5:
        denied = {key for key, answer in answers.items() if answer != "Success"}
        assert {answers[key] for key in denied} == {"Not authorized"}
        assert ("dashboard", "tx2-01/cmd/status") in denied
        assert ("operator", "tx2-01/cmd/status") not in denied
    users["operator"].say("edged/tx2-01/cmd/set", "", retain=True)  # a Mosquitto serves the other kind of login too
    users["tx2-01"].say("edged/tx2-01/state", "", retain=True)
    for one in (again, *users.values()):
        one.close()


@BOTH
def test_a_device_describes_itself_to_home_assistant_and_none_else(kind: str, running: Brokers, tmp_path: Path) -> None:
    made, port = running.made, running.port(kind, "certificate")

    def user(name: str) -> User:
        (folder := tmp_path / name).mkdir()
        of = settings(made, port, folder, certificate=made.clients[name])
        return User(name, of, version=MQTTProtocolVersion.MQTTv311)

    users = {name: user(name) for name in ("tx2-01", "tx2-02", "dashboard", "homeassistant")}
    for name, one in users.items():
        one.say("homeassistant/device/tx2-01/config")
        one.say(f"homeassistant/device/{name}/config" if name != "tx2-02" else "homeassistant/device/dashboard/config")
        one.say("homeassistant/status")
        one.say("edged/tx2-01/cmd/set")
        one.say("edged/tx2-01/cmd/models_use")
        one.say("edged/tx2-01/alert/drift")
    users["homeassistant"].say("homeassistant/status", "end")
    for name in ("tx2-01", "tx2-02", "homeassistant"):
        wait_until(lambda name=name: ("homeassistant/status", "end") in users[name].got(), what=f"the end, for {name}")
    users["tx2-01"].say("edged/tx2-01/state", "end")
    wait_until(lambda: ("tx2-01/state", "end") in users["dashboard"].got(), what="the end, for the watcher")

    def heard(name: str, start: str) -> set[tuple[str, str]]:
        return {(topic, text) for topic, text in users[name].got() if topic.startswith(start) and text != "end"}

    status = ("homeassistant/status", "homeassistant")
    assert heard("homeassistant", "homeassistant/") == {("homeassistant/device/tx2-01/config", "tx2-01"), status}
    assert heard("tx2-01", "homeassistant/") == heard("tx2-02", "homeassistant/") == {status}
    assert heard("dashboard", "homeassistant/") == set()
    own = {("tx2-01/cmd/set", "tx2-01"), ("tx2-01/cmd/models_use", "tx2-01")}
    assert heard("tx2-01", "tx2-01/") == own | {("tx2-01/cmd/set", "homeassistant")}
    assert heard("homeassistant", "tx2-01/alert/") == {("tx2-01/alert/drift", "tx2-01")}
    for one in users.values():
        one.close()


@BOTH
def test_a_certificate_says_who_one_is_and_no_name_does(kind: str, running: Brokers, tmp_path: Path) -> None:
    made, port = running.made, running.port(kind, "certificate")
    of = settings(made, port, tmp_path, certificate=made.clients["tx2-01"])
    device = User("tx2-01", of, version=MQTTProtocolVersion.MQTTv311)
    pretender = of.model_copy(update={"username": "operator"})
    other = User("pretender", pretender, version=MQTTProtocolVersion.MQTTv311)
    other.say("edged/all/cmd/status")
    other.close()
    device.say("edged/tx2-01/cmd/status", "end")
    wait_until(lambda: ("tx2-01/cmd/status", "end") in device.got(), what="the end")
    assert device.got() == {("tx2-01/cmd/status", "end")}
    device.close()


def test_edgectl_tells_that_the_broker_denied_a_command(running: Brokers, tmp_path: Path) -> None:
    port = running.port("mosquitto", "password")
    of = settings(running.made, port, tmp_path, username="dashboard", secret=password("dashboard"))
    with Client(brokers(of), timeout_s=PATIENCE_S) as client:
        with pytest.raises(RejectedError, match="does not let this user publish edged/tx2-01/cmd/set"):
            client.command("tx2-01", "set", {"fps": 1})
        with pytest.raises(AccessRefusedError):
            client.publish("dashboard/state", b"online")
