"""Tell systemd how we are: the datagrams of sd_notify(3) and the watchdog. Does nothing without systemd."""

from __future__ import annotations

import logging
import os
import socket
import time

_logger = logging.getLogger(__name__)

_SEND_TIMEOUT_S = 1.0


def notify_ready(status: str) -> bool:
    """Say that the daemon does its work (READY=1), with one line for `systemctl status`."""
    return _send("READY=1", _status(status))


def notify_status(status: str) -> bool:
    """Change the line for `systemctl status`."""
    return _send(_status(status))


def notify_reloading() -> bool:
    """Say that the configuration is read again; `notify_ready` ends that."""
    return _send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def notify_stopping() -> bool:
    """Say that the daemon is on its way out."""
    return _send("STOPPING=1", _status("stopping"))


class Watchdog:
    """Feeds systemd's watchdog. Ping from the main loop, and only where the loop has really advanced."""

    def __init__(self) -> None:
        self.interval_s = _watchdog_interval_s()
        """At most one ping is sent in this time: a third of systemd's limit. None: nobody watches."""
        self._sent_at: float | None = None

    def ping(self) -> bool:
        """Send WATCHDOG=1 unless one was sent just before; say whether it was sent. Cheap enough for every frame."""
        if self.interval_s is None:
            return False
        now = time.monotonic()
        if self._sent_at is not None and now - self._sent_at < self.interval_s:
            return False
        if not _send("WATCHDOG=1"):
            return False
        self._sent_at = now
        return True


def _watchdog_interval_s() -> float | None:
    """Read $WATCHDOG_USEC, unless $WATCHDOG_PID says that it is meant for another process."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 1e6 / 3


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())


def _send(*assignments: str) -> bool:
    """Send one datagram to $NOTIFY_SOCKET: a path, or `@name` in the abstract namespace."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@") or len(address) < 2:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.settimeout(_SEND_TIMEOUT_S)
            datagram.sendto("\n".join(assignments).encode(), address)
    except OSError as error:
        _logger.debug("systemd was not told %s: %s", assignments[0], error)
        return False
    return True
