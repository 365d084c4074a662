"""The TCP connection below TLS and WebSocket, which paho hands out only wrapped in them."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Protocol

log = logging.getLogger(__name__)


class Stream(Protocol):
    """What paho reads from and writes to."""

    def fileno(self) -> int:
        """Return the number of the connection's file."""


def send_at_once(_client: object, _userdata: object, stream: Stream) -> None:
    """Switch off Nagle's algorithm (RFC 896), by which a small packet waits until the one before it was acknowledged.

    The other side's kernel delays that acknowledgement by up to 40 ms (RFC 1122, 4.2.3.2), and MQTT's packets are
    small. This is a callback for paho's `on_socket_open`.
    """
    with _below(stream) as connection:
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def hang_up(stream: Stream) -> None:
    """End the connection without a word of TLS, WebSocket or MQTT, as if this machine had lost its power."""
    with _below(stream) as connection:
        connection.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def _below(stream: Stream) -> Iterator[socket.socket]:
    try:
        with socket.socket(fileno=os.dup(stream.fileno())) as connection:
            yield connection
    except (OSError, ValueError) as error:  # ValueError: closed meanwhile, its number is -1
        log.debug("already gone: %s", error)
