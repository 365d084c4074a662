"""The HTTP server: who asks gets the page, and nobody can keep others from it."""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Callable, Iterator

import pytest

from edged.metrics import server as module
from edged.metrics.server import AT_ONCE, MetricsServer, url
from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until

Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve something, and return the port."""
    servers: list[MetricsServer] = []

    def begin(encode: module.Encode = lambda accept: (f"for {accept}\n".encode(), "text/x"), host: str = HOST) -> int:
        port = free_port()
        servers.append(MetricsServer((host, port), encode))
        servers[-1].start()
        wait_until(lambda: answers(host, port), what="an open port")
        return port

    yield begin
    for server in servers:
        server.stop(PATIENCE_S)


def answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


def ask(port: int, path: str = "/metrics", method: str = "GET", host: str = HOST) -> tuple[int, str, str]:
    """Return status, content type and body."""
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    connection.request(method, path, headers={"Accept": "a/b"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, answer.headers["Content-Type"], body


def test_one_page_and_nothing_else(serve: Serve) -> None:
    port = serve()
    assert ask(port) == (200, "text/x", "for a/b\n")
    assert ask(port, "/metrics?x=1") == (200, "text/x", "for a/b\n")
    assert ask(port, method="HEAD") == (200, "text/x", "")
    status, _, body = ask(port, "/")
    assert (status, "/metrics" in body) == (200, True)
    assert ask(port, "/../etc/passwd")[0] == 404
    assert ask(port, method="POST")[0] == 501


def test_of_ip_version_6_too(serve: Serve) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("needs the loopback address of IPv6")
    assert ask(serve(host="::1"), host="::1")[0] == 200
    assert url("::1", 80) == "http://[::1]:80/metrics"


def test_a_page_that_cannot_be_made_is_told_and_the_next_one_is_made(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [RuntimeError("a defect")]

    def encode(_: str) -> tuple[bytes, str]:
        if faults:
            raise faults.pop()
        return b"well", "text/x"

    port = serve(encode)
    assert ask(port)[0] == 500
    assert "a defect" in caplog.text
    assert ask(port)[2] == "well"


def test_readers_that_say_nothing_are_few_and_cut_off(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    port = serve()
    monkeypatch.setattr(module, "PATIENCE_S", 2 * PATIENCE_S)
    silent = [socket.create_connection((HOST, port), timeout=PATIENCE_S) for _ in range(AT_ONCE + 1)]
    # One of them finds no room, and its connection closed, while the others are waited for.
    closed, _, _ = select.select(silent, [], [], PATIENCE_S)
    assert {one.recv(1) for one in closed} == {b""}
    for one in silent:
        one.close()
    wait_until(lambda: served(port), what="room")

    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    with socket.create_connection((HOST, port), timeout=PATIENCE_S) as slow:
        slow.sendall(b"GET /metrics HTTP/1.0\r\nAcc")
        assert slow.recv(1) == b""


def served(port: int) -> bool:
    try:
        return ask(port)[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def test_a_port_that_is_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)
    told: list[str | None] = []
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        server = MetricsServer((HOST, port), lambda _: (b"well", "text/x"), lambda: told.append(server.trouble))
        server.start()
        wait_until(lambda: told, what="the trouble")
    wait_until(lambda: server.trouble is None, what="the port")
    assert ask(port)[2] == "well"
    server.stop(PATIENCE_S)
    assert told == [f"metrics: http://{HOST}:{port}/metrics: cannot listen: Address already in use", None]
    assert not answers(HOST, port)


def test_a_host_that_is_none_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer(("no-such-host.invalid", 9184), lambda _: (b"", ""))
    server.start()
    wait_until(lambda: server.trouble, what="the trouble")
    server.stop(PATIENCE_S)
    assert server.trouble is not None
    assert server.trouble.startswith("metrics: http://no-such-host.invalid:9184/metrics: cannot listen: ")


def test_one_that_was_never_started_is_stopped() -> None:
    MetricsServer((HOST, 1), lambda _: (b"", "")).stop()
