"""Logging: journald with priorities under systemd, short lines on stderr elsewhere."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time

_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))
"""Logging level → syslog priority, as in sd-daemon(3)."""


class PriorityFormatter(logging.Formatter):
    """Puts `<N>` before every line, which journald takes off again as the line's priority."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, each line prefixed: journald splits at newlines."""
        priority = next(priority for level, priority in _PRIORITIES if record.levelno >= level)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def configure_logging(verbose: bool, device: str | None = None) -> None:
    """Send the log of this process to journald where systemd listens, else to stderr. Replaces earlier handlers.

    Args:
        verbose: Also tell what happens to each frame (edged's DEBUG); libraries stay at INFO.
        device: `device.id`, for the journal's field DEVICE. A line's own fields CAMERA, MODEL and JOB come from the
            `extra=` of the call that logs it.
    """
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(_handler({} if device is None else {"DEVICE": device}))
    root.setLevel(logging.INFO)
    logging.getLogger("edged").setLevel(logging.DEBUG if verbose else logging.INFO)


def _handler(fields: dict[str, str]) -> logging.Handler:
    handler: logging.Handler
    if not _stderr_is_journal():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S"))
        return handler
    try:
        journal = importlib.import_module("systemd.journal")
    except ImportError:
        handler = logging.StreamHandler()
        handler.setFormatter(PriorityFormatter("%(name)s: %(message)s"))
        return handler
    handler = journal.JournalHandler(SYSLOG_IDENTIFIER="edged", **fields)  # keeps the logger's name in the field LOGGER
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    return handler


def _stderr_is_journal() -> bool:
    """Compare $JOURNAL_STREAM with stderr: the variable is also inherited by children whose stderr goes elsewhere."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed, replaced by a test, or None
        return False
    return stream == f"{stderr.st_dev}:{stderr.st_ino}"


class Rarely:
    """Logs a failure that repeats: the first time, then every so often with a count of what was left out.

    One object per failure; any thread may use it.
    """

    def __init__(self, logger: logging.Logger, *, every_s: float = 300.0, level: int = logging.WARNING) -> None:
        self._logger = logger
        self._every_s = every_s
        self._level = level
        self._lock = threading.Lock()
        self._logged_at: float | None = None
        self._left_out = 0

    def log(self, message: str, *args: object) -> bool:
        """Log like `logging.Logger.log`, or count; say whether it was logged."""
        with self._lock:
            now = time.monotonic()
            if self._logged_at is not None and now - self._logged_at < self._every_s:
                self._left_out += 1
                return False
            left_out, self._left_out, self._logged_at = self._left_out, 0, now
        if left_out:
            message, args = message + " (%d more like this)", (*args, left_out)
        self._logger.log(self._level, message, *args)
        return True

    def reset(self) -> None:
        """Call when all is well again: the next failure is news."""
        with self._lock:
            self._logged_at, self._left_out = None, 0
