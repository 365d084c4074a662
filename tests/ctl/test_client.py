"""The client against real brokers: Mosquitto with MQTT 5, amqtt with 3.1.1 only, logins, lost connections."""

from __future__ import annotations

import gc
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack, Job
from edged.ctl.client import Client
from edged.ctl.errors import AccessRefusedError, NoAnswerError, RejectedError, UnreachableError
from edged.ctl.jobs import finish, follow
from edged.ctl.subscription import Incoming, Subscription
from edged.mqtt.broker import brokers
from edged.settings import MqttSettings
from tests.ctl.conftest import Unhurried
from tests.ctl.device import JPEG, ScriptedDevice
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until


def client_of(port: int, *, timeout_s: float = PATIENCE_S, **login: object) -> Client:
    settings = MqttSettings.model_validate({"url": f"mqtt://127.0.0.1:{port}"} | login)
    return Unhurried(brokers(settings), timeout_s=timeout_s)


def test_a_command_gives_ack_job_and_image(broker_port: int) -> None:
    with ScriptedDevice(broker_port), client_of(broker_port) as client:
        ack = client.command("tx2-01", "snapshot")
        assert [job.status for job in client.jobs(ack.id)] == ["succeeded"]
        assert client.image(ack.id) == JPEG
        with pytest.raises(RejectedError, match="unknown; main"):
            client.command("tx2-01", "snapshot", {"camera": "attic"})
        with pytest.raises(NoAnswerError, match=r"within 0\.2 s"):
            client.command("tx2-99", "snapshot", timeout_s=0.2)


class FloodedDevice(ScriptedDevice):
    """Has no room for the first copies of a command, and says so of some.

    Args:
        port: Where the broker listens.
        lost: It says nothing of so many copies, …
        busy: …and then of so many that it is busy.
    """

    hears_copies = True

    def __init__(self, port: int, *, lost: int, busy: int) -> None:
        super().__init__(port)
        self._lost, self._busy = lost, busy

    def _accepts(self, name: str, command: CommandMessage) -> bool:
        seen = len(self.commands)
        if self._lost < seen <= self._lost + self._busy:
            error = f"busy: too many {name} commands wait; send it again later"
            self._answer("ack", command, Ack(id=command.id, status="rejected", error=error))
        return seen > self._lost + self._busy


@pytest.mark.parametrize(("lost", "busy"), [(1, 0), (0, 2), (1, 1)])
def test_a_command_for_which_there_is_no_room_is_sent_again_under_the_same_id(
    broker_port: int, lost: int, busy: int
) -> None:
    with FloodedDevice(broker_port, lost=lost, busy=busy) as device, client_of(broker_port) as client:
        ack = client.command("tx2-01", "status")
        assert [job.status for job in client.jobs(ack.id)] == ["succeeded"]
        assert {command.id for _, command in device.commands} == {ack.id}
        assert len(device.commands) > lost + busy


def test_a_device_that_stays_busy_is_told_to_be(broker_port: int) -> None:
    with FloodedDevice(broker_port, lost=0, busy=1000) as device, client_of(broker_port) as client:
        with pytest.raises(RejectedError, match="refuses status: busy: too many status commands wait"):
            client.command("tx2-01", "status", timeout_s=8)
        assert len(device.commands) > 1
        large = {"data": "x" * 20_000}
        with pytest.raises(NoAnswerError, match="did not answer telemetry"):
            client.command("tx2-99", "telemetry", large, timeout_s=1.5)


def test_follow_shows_lines_and_returns_the_final_job(broker_port: int, capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedDevice(broker_port), client_of(broker_port) as client:
        job = follow(client, client.command("tx2-01", "train").id, device="tx2-01", cmd="train")
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "tx2-01 train:   0% bottlenecks"
        assert lines[-1] == "tx2-01 train: 100% done"
        assert finish(job, "tx2-01") == 0
        follow(client, client.command("tx2-01", "train").id, device="tx2-01", cmd="train", as_json=True)
    printed = capsys.readouterr()
    assert Job.model_validate_json(printed.out).report == {"accuracy": 0.9}
    assert printed.err == ""


def test_a_job_of_somebody_else_is_found_by_the_retained_state(broker_port: int) -> None:
    with ScriptedDevice(broker_port) as device, client_of(broker_port) as client:
        device.say("job", Job(id="j1", cmd="retrain", status="running", progress=0.5), retain=True)
        states = client.jobs("j1", device="tx2-01")
        assert next(states).progress == 0.5
        device.say("job/j1", Job(id="j1", cmd="retrain", status="cancelled"))
        assert [job.status for job in states] == ["cancelled"]


class Interrupted(ScriptedDevice):
    """Loses the last message on `job/<id>`, as a device does that is killed just before it is sent."""

    def _do_retrain(self, command: CommandMessage) -> None:
        self._job(command, "running", "retrain", stage="training", progress=0.5)
        last = Job(id=command.id, cmd="retrain", status="succeeded", progress=1)
        self._mqtt.publish(f"{self._base}/job", last.encode(), qos=1, retain=True)


def test_the_end_of_a_training_is_heard_from_the_retained_state_too(broker_port: int) -> None:
    with Interrupted(broker_port) as device, client_of(broker_port) as client:
        device.say("job", Job(id="j1", cmd="retrain", status="failed", error="of another"), retain=True)
        states = list(client.jobs(client.command("tx2-01", "retrain").id))
        assert [(job.status, job.progress) for job in states] == [("running", 0.5), ("succeeded", 1.0)]


def test_another_s_training_is_no_answer(broker_port: int) -> None:
    with ScriptedDevice(broker_port, silent=True) as device, client_of(broker_port) as client:
        device.say("job", Job(id="j1", cmd="retrain", status="running", progress=0.5), retain=True)
        with pytest.raises(NoAnswerError):
            client.command("tx2-01", "retrain", timeout_s=1)


def test_what_has_arrived_is_not_lost_to_the_clock() -> None:
    subscription = Subscription(("+/state",), lambda _: None)
    for seq in range(3):
        subscription.arrived.put(Incoming("d", ("state",), b"online", bool(seq % 2), float(seq)))
    assert [message.at for message in subscription.drain(quiet_s=0, limit_s=0)] == [0, 1, 2]


_INTERRUPTED = """
import os, signal, threading
from edged.ctl.subscription import Subscription

signal.signal(signal.SIGUSR1, lambda *_: None)
waiting = threading.Thread(target=Subscription(("+/state",), print).get, args=(0.5,), daemon=True)
waiting.start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # so that the thread that waits is interrupted by it
print("begun", flush=True)
waiting.join(30)
print("waits on" if waiting.is_alive() else "is over", flush=True)
os._exit(0)
"""


def test_who_is_stopped_and_gets_a_signal_waits_no_longer_than_told() -> None:
    with subprocess.Popen([sys.executable, "-c", _INTERRUPTED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(1)  # the time to wait is over meanwhile
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "is over\n"


def test_a_login_that_is_refused(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    port = mosquitto(users={"ann": "right"}, allow_anonymous=False).port
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    with pytest.raises(AccessRefusedError, match=r"(?i)refuses a login without a user: not authorized"):
        client_of(port).__enter__()
    secret.write_text("wrong\n")
    with pytest.raises(AccessRefusedError, match="refuses user 'ann'"):
        client_of(port, username="ann", password_file=secret).__enter__()
    secret.write_text("right\n")
    with client_of(port, username="ann", password_file=secret) as client:
        assert client.connected


def test_tls_needs_a_certificate_that_is_trusted(mosquitto: Callable[..., Mosquitto]) -> None:
    server = mosquitto(tls=True)
    url = f"mqtts://127.0.0.1:{server.port}"
    with client_of(server.port, url=url, ca_file=server.ca_file) as client:
        assert client.connected
    for other in ({}, {"ca_file": server.folder / "other.crt"}):
        with pytest.raises(AccessRefusedError, match=r"certificate not trusted.*--ca-file"):
            client_of(server.port, url=url, **other).__enter__()
    gc.collect()  # a socket that is still open, that of a failed handshake too, fails the test
    with pytest.raises(UnreachableError, match="mqtts:// is for TLS"):
        client_of(server.port).__enter__()


def test_what_is_no_broker_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        held: list[socket.socket] = []

        def take() -> None:
            for _ in range(2):  # MQTT 5, then 3.1.1
                held.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        with pytest.raises(UnreachableError, match="does not answer as an MQTT broker"):
            client_of(server.getsockname()[1], timeout_s=0.5).__enter__()
        thread.join()
        for one in held:
            one.close()


@pytest.mark.parametrize("refusal", [b"", bytes.fromhex("20020001"), bytes.fromhex("2003008400")])
def test_a_broker_that_knows_only_mqtt_3_1_1(refusal: bytes) -> None:
    """It closes the connection, refuses as 3.1.1 does, or refuses as MQTT 5 does."""
    levels: list[int] = []

    def serve(server: socket.socket) -> None:
        for answer in (refusal, bytes.fromhex("20020000")):
            connection = server.accept()[0]
            with connection:
                levels.append(connection.recv(1024)[8])  # after "MQTT": the protocol level
                connection.sendall(answer)
                if levels[-1] == 4:
                    connection.recv(1024)  # DISCONNECT

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE_S)
        thread = threading.Thread(target=serve, args=(server,))
        thread.start()
        with client_of(server.getsockname()[1]) as client:
            assert client.connected
        thread.join()
    assert levels == [5, 4]


def test_subscriptions_outlive_a_broker_s_restart(mosquitto: Callable[..., Mosquitto]) -> None:
    server = mosquitto()
    with client_of(server.port) as client:
        subscription = client.subscribe("+/result/+")
        server.restart()
        end = time.monotonic() + PATIENCE_S
        message = None
        while message is None and time.monotonic() < end:
            with ScriptedDevice(server.port) as device:
                device.see()
            message = subscription.get(1)
        assert message is not None
        assert message.levels == ("result", "main")


def test_what_is_sent_while_the_broker_is_away_arrives_once_it_is_back(mosquitto: Callable[..., Mosquitto]) -> None:
    server = mosquitto()
    with client_of(server.port) as client:
        server.stop()
        wait_until(lambda: not client.connected, what="the loss of the broker")
        sent = client.send("cam/cmd/image", b"{}")
        assert not sent.is_published()
        server.start()
        wait_until(sent.is_published, what="the message's PUBACK")


@given(
    st.lists(st.sampled_from(["a", "b", "+"]), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5),
)
def test_a_subscription_takes_what_paho_says_that_its_filter_means(
    pattern: list[str], rest: bool, levels: list[str]
) -> None:
    name = "/".join([*pattern, "#"] if rest else pattern)
    subscription = Subscription((name,), lambda _: None)
    assert subscription.takes(levels) == paho.topic_matches_sub(name, "/".join(levels))
