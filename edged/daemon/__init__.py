"""The running daemon."""

from edged.daemon.app import Daemon

__all__ = ["Daemon"]
