"""The HTTP server of the metrics: one page, a few readers at a time, none of whom can hold it up.

An address that cannot be had is tried again: another process may still have the port, or the interface comes up later.
Frames go on without metrics.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import socketserver
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

log = logging.getLogger(__name__)

PATH = "/metrics"
AT_ONCE = 4
"""Readers at a time; a further one finds its connection closed."""
PATIENCE_S = 10.0
"""So long one may take, from its connection to its last byte."""
RETRY_S = 10.0
"""How often an address that cannot be had is tried."""

Encode = Callable[[str], "tuple[bytes, str]"]
"""Accept header → the page and its content type."""


def url(host: str, port: int) -> str:
    """Return where the metrics are."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"


class MetricsServer:
    """Serves the metrics on threads of its own.

    Args:
        address: Host, a name or an address of either IP version, and port.
        encode: Writes the page.
        changed: Called on this object's thread after each change of `trouble`.
    """

    def __init__(self, address: tuple[str, int], encode: Encode, changed: Callable[[], object] = lambda: None) -> None:
        self.trouble: str | None = None
        """Why nobody can read them, one line; None while all is well."""
        self._address = address
        self._encode = encode
        self._changed = changed
        self._stopping = threading.Event()
        self._wake: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen; returns at once."""
        self._wake, woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=(woken,), name="metrics", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close the port and end the thread, waiting at most `timeout_s`."""
        self._stopping.set()
        if self._wake is not None and self._thread is not None:
            self._wake.close()
            self._thread.join(timeout_s)

    def _run(self, woken: socket.socket) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    server = _Server(self._address, self._encode)
                except OSError as error:
                    self._tell(f"metrics: {url(*self._address)}: cannot listen: {error.strerror or error}")
                    self._stopping.wait(RETRY_S)
                    continue
                with server:
                    log.info("metrics: %s", url(*self._address))
                    self._tell(None)
                    self._serve(server, woken)
        except Exception:  # the top of a thread; frames go on
            log.exception("serving the metrics has failed; frames go on without it")
        finally:
            woken.close()

    def _serve(self, server: _Server, woken: socket.socket) -> None:
        """Answer until `stop`."""
        with selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                selector.select()
                if not self._stopping.is_set():
                    server.handle_request()

    def _tell(self, trouble: str | None) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble is not None:
            log.error("%s; frames go on, it is tried again every %g s", trouble, RETRY_S)
        self._changed()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A listening socket; each connection gets a thread, within bounds."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    timeout = 0  # whoever calls `handle_request` has waited

    def __init__(self, address: tuple[str, int], encode: Encode) -> None:
        (family, _, _, _, place), *_ = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = family
        self.encode = encode
        self._room = threading.Semaphore(AT_ONCE)
        super().__init__(place, _Handler)  # type: ignore[arg-type]  # of IPv6 it has four parts

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread of its own, where there is room."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer; who takes too long is cut off."""
        end = threading.Timer(PATIENCE_S, _cut_off, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as the library calls it
        """Who goes away, or is cut off, is no news."""
        log.debug("metrics: a reader at %s was not answered", client_address, exc_info=True)


def _cut_off(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended meanwhile
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def version_string(self) -> str:
        """Name the software, and no versions."""
        return "edged"

    def do_GET(self) -> None:
        """Send the page."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Send what stands before it."""
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        status, content_type = HTTPStatus.OK, "text/plain; charset=utf-8"
        path = self.path.partition("?")[0]
        if path == PATH:
            try:
                body, content_type = self.server.encode(self.headers.get("Accept", ""))
            except Exception:  # the top of a thread
                log.exception("the metrics cannot be told")
                status, body = HTTPStatus.INTERNAL_SERVER_ERROR, b"internal error; the daemon's log tells more\n"
        elif path == "/":
            body = f"edged: metrics for Prometheus are at {PATH}\n".encode()
        else:
            status, body = HTTPStatus.NOT_FOUND, f"there is only {PATH}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the library calls it
        """Requests are no news."""
        log.debug("metrics: %s: %s", self.address_string(), format % args)
