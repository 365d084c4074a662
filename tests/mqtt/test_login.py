"""Who is let in: passwords, TLS, protocol versions, and two devices of one name."""

import asyncio
import threading

import pytest

from edged.errors import ConfigError
from edged.mqtt.broker import brokers as check
from edged.mqtt.retry import Retry
from edged.settings import MqttSettings
from tests.mosquitto import free_port
from tests.mqtt.conftest import DEVICE, wait_for
from tests.waiting import PATIENCE_S


def test_a_wrong_password_is_a_clear_state_and_heals_when_the_file_is_corrected(mosquitto, link, tmp_path):
    broker = mosquitto(users={"cam": "right"}, allow_anonymous=False)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    running = link(broker.url, username="cam", password_file=password)
    running.publish("result/main", b"0")
    wait_for(lambda: running.last_error is not None, "an error")
    assert "refused user 'cam'" in running.last_error
    assert "mqtt.password_file" in running.last_error
    assert not running.connected
    assert running.backlog == 1
    password.write_text("right\n")
    wait_for(lambda: running.connected and running.backlog == 0, "connected")


def test_no_user_where_one_is_needed(mosquitto, link):
    broker = mosquitto(users={"cam": "right"}, allow_anonymous=False)
    running = link(broker.url)
    wait_for(lambda: running.last_error is not None, "an error")
    assert "refused a login without a user" in running.last_error


def test_tls_with_our_authority_and_a_client_certificate(mosquitto, link):
    broker = mosquitto(tls=True, client_certificates=True)
    folder = broker.folder
    trusted = link(broker.url, ca_file=broker.ca_file, cert_file=folder / "client.crt", key_file=folder / "client.key")
    wait_for(lambda: trusted.connected, "connected")
    nameless = link(broker.url, ca_file=broker.ca_file, state="other", client_id="nameless")
    wait_for(lambda: nameless.last_error is not None, "an error")
    assert not nameless.connected


# paho leaves a socket whose TLS handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_authority_that_did_not_sign_the_broker(mosquitto, link):
    broker = mosquitto(tls=True)
    running = link(broker.url, ca_file=broker.folder / "other.crt")
    wait_for(lambda: running.last_error is not None, "an error")
    assert "certificate is not trusted" in running.last_error
    assert "mqtt.ca_file" in running.last_error
    plain = link(broker.url.replace("mqtts", "mqtt"), state="other")
    wait_for(lambda: plain.last_error is not None, "an error")
    assert not plain.connected


def test_default_ports():
    assert [one.port for one in check(MqttSettings(url="mqtt://b, mqtts://c,ws://d,wss://e"))] == [1883, 8883, 80, 443]
    assert check(MqttSettings(url="mqtt://[::1]"))[0].name == "[::1]:1883"


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"username": "u", "password_file": "/none"}, "mqtt.password_file = '/none': No such file"),
        ({"password_file": "/none"}, "mqtt.password_file: needs mqtt.username"),
        ({"url": "mqtt://b:99999"}, "the port must be 1 to 65535"),
        ({"url": "mqtts://b", "ca_file": "/none"}, "mqtt.ca_file = '/none': No such file"),
        ({"url": "mqtts://b", "ca_file": __file__}, "not a usable PEM file"),
        ({"url": "mqtts://b", "cert_file": __file__}, "mqtt.cert_file"),
        ({"url": "mqtts://b", "key_file": __file__}, "mqtt.key_file: needs mqtt.cert_file"),
        ({"url": "mqtt://b", "ca_file": __file__}, "mqtt.ca_file: only used with mqtts://"),
    ],
)
def test_bad_settings_are_one_clear_line(settings, text):
    with pytest.raises(ConfigError) as caught:
        check(MqttSettings(**settings))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_that_all_can_read_is_warned_about(tmp_path, caplog):
    password = tmp_path / "password"
    password.write_text("p")
    password.chmod(0o644)
    check(MqttSettings(username="u", password_file=password))
    assert "chmod 600" in caplog.text


@pytest.mark.filterwarnings(
    "ignore:::amqtt", "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_broker_that_only_knows_3_1_1(link, watch):
    broker_module = pytest.importorskip("amqtt.broker", reason="needs amqtt (pip install edged[demo])")
    port = free_port()
    up, over = threading.Event(), threading.Event()

    async def serve() -> None:
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
        broker = broker_module.Broker(config)
        await broker.start()
        up.set()
        await asyncio.to_thread(over.wait)
        await broker.shutdown()

    server = threading.Thread(target=lambda: asyncio.run(serve()))
    server.start()
    try:
        assert up.wait(PATIENCE_S)
        seen = watch(port)
        commands = []
        running = link(f"mqtt://127.0.0.1:{port}", on_command=commands.append, retry=Retry(device=DEVICE))
        seen.wait_for_online()
        for seq in range(200):
            running.publish("result/main", str(seq).encode())
        wait_for(lambda: running.backlog == 0, "acknowledged")
        wait_for(lambda: seen.of("result/main") == [str(seq).encode() for seq in range(200)], "all")
        seen.command("status", {"id": "a1"})
        assert seen.ack("a1")["status"] == "accepted"
        running.stop(PATIENCE_S)
        wait_for(lambda: seen.of("state")[-1:] == [b"offline"], "offline")
        seen.close()
    finally:
        over.set()
        server.join(PATIENCE_S)
