"""sd_notify against a real datagram socket, and against none."""

import os
import socket

import pytest

from edged.daemon import supervision
from edged.daemon.supervision import Watchdog, notify_ready, notify_status, notify_stopping
from tests.waiting import PATIENCE_S


@pytest.fixture(params=["path", "abstract"])
def systemd(request, short_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = str(short_path / "notify") if request.param == "path" else f"@edged-test-{os.getpid()}"
        receiver.bind(name if name[0] == "/" else "\0" + name[1:])
        receiver.settimeout(PATIENCE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield receiver


def test_ready_status_stopping(systemd):
    assert notify_ready("classifying\nmain, 41 °C")
    assert systemd.recv(1000).decode() == "READY=1\nSTATUS=classifying main, 41 °C"
    assert notify_status("classifying,\nmodel b")
    assert systemd.recv(1000) == b"STATUS=classifying, model b"
    assert notify_stopping()
    assert systemd.recv(1000) == b"STOPPING=1\nSTATUS=stopping"


def test_the_watchdog_is_fed_at_most_three_times_per_limit(systemd, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    clock = [100.0]
    monkeypatch.setattr(supervision.time, "monotonic", lambda: clock[0])
    watchdog = Watchdog()
    assert watchdog.interval_s == 10
    sent = []
    for second in range(31):
        clock[0] = 100.0 + second
        if watchdog.ping():
            sent.append(second)
            assert systemd.recv(1000) == b"WATCHDOG=1"
    assert sent == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("usec", "pid"), [(None, None), ("0", None), ("soon", None), ("30000000", "1")], ids=["unset", "0", "text", "pid"]
)
def test_nobody_watches(systemd, monkeypatch, usec, pid):
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    watchdog = Watchdog()
    assert watchdog.interval_s is None
    assert not watchdog.ping()


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify_ready("up")
    monkeypatch.setenv("NOTIFY_SOCKET", "@")
    assert not notify_ready("up")


@pytest.mark.parametrize("address", ["/nowhere/notify", "@edged-nobody-listens", "/" + "x" * 300])
def test_a_dead_socket_never_raises(monkeypatch, address):
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert not notify_ready("still here")
    assert not Watchdog().ping()


def test_a_socket_that_nobody_empties_does_not_block_for_ever(systemd, monkeypatch):
    monkeypatch.setattr(supervision, "_SEND_TIMEOUT_S", 0.01)
    assert not all(notify_ready("x") for _ in range(2000))
