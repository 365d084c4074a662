"""A broker that says what it is told to say, for what no real one does on demand: the least of MQTT 5, no TLS."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field

from tests.mosquitto import HOST
from tests.waiting import PATIENCE_S

CONNECT, PUBLISH, SUBSCRIBE, PING, DISCONNECT = 1, 3, 8, 12, 14


@dataclass
class ScriptedBroker:
    """Lets everybody in, one after the other.

    Attributes:
        acknowledges: Whether messages get their PUBACK.
        keep_alive_s: What it wants of clients, and enforces as MQTT 5 says (3.1.2.10): 1.5 times that; 0: nothing.
        heard: Kinds of the packets that have come, and the protocol level of each CONNECT.
    """

    acknowledges: bool = True
    keep_alive_s: int = 0
    heard: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = socket.create_server((HOST, 0))
        self._near: socket.socket | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://{HOST}:{self._server.getsockname()[1]}"

    def count(self, kind: int) -> int:
        return sum(one == kind for one, _ in self.heard)

    def close(self) -> None:
        for end in (self._server, self._near):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_S)
        self._server.close()

    def _run(self) -> None:
        while True:
            try:
                self._near, _ = self._server.accept()
            except OSError:
                return
            with self._near, contextlib.suppress(OSError, EOFError):
                self._near.settimeout(self.keep_alive_s * 1.5 or PATIENCE_S)
                while self._answer(self._near):
                    pass

    def _answer(self, near: socket.socket) -> bool:
        """Take a packet; False: its sender says goodbye."""
        first = _read(near, 1)[0]
        size = shift = 0
        while (digit := _read(near, 1)[0]) & 0x80:
            size += (digit & 0x7F) << shift
            shift += 7
        body = _read(near, size + (digit << shift))
        kind = first >> 4
        self.heard.append((kind, body[6] if kind == CONNECT else 0))
        if kind == CONNECT:
            told = struct.pack("!BH", 0x13, self.keep_alive_s) if self.keep_alive_s else b""
            near.sendall(bytes([0x20, 3 + len(told), 0, 0, len(told)]) + told)
        elif kind == SUBSCRIBE:
            near.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")
        elif kind == PUBLISH and first & 0x06 and self.acknowledges:
            end = 2 + int.from_bytes(body[:2], "big")
            near.sendall(b"\x40\x02" + body[end : end + 2])
        elif kind == PING:
            near.sendall(b"\xd0\x00")
        return kind != DISCONNECT


def _read(near: socket.socket, size: int) -> bytes:
    read = b""
    while len(read) < size:
        more = near.recv(size - len(read))
        if not more:
            raise EOFError
        read += more
    return read
