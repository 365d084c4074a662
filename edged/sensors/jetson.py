"""A Jetson through the jtop service (jetson-stats), which reads more than a plain user may."""

from __future__ import annotations

import importlib
import logging
import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edged.logs import Rarely
from edged.sensors import sysfs
from edged.sensors.jtop_data import PROPERTIES, parse
from edged.sensors.tegra import TegraSensors
from edged.types import Reading

_logger = logging.getLogger(__name__)

_SOCKET = "run/jtop.sock"
_SERVICE_PACKAGES = (
    "usr/local/lib/python3*/dist-packages/jetson_stats-*",
    "usr/lib/python3/dist-packages/jetson_stats-*",
)
"""Where `sudo pip3 install jetson-stats` puts what the service runs; the folder's name has its version."""
_CONNECT_S = 5.0
_STALE_S = 15.0
"""The service sends every second; silence for this long means that it has died or hangs."""
_RETRY_S = 30.0


# What jtop's client raises where its minor version is not the service's.
_MISMATCH = re.compile(r"Mismatch version jtop service: \[(?P<service>[^\]]*)\] and client: \[(?P<client>[^\]]*)\]")


class JtopClient(Protocol):
    """What is used of `jtop.jtop`, a thread that keeps the newest data of the service."""

    def start(self) -> None:
        """Connect and wait for the first data; may block, raises almost anything."""

    def attach(self, observer: Callable[[Any], None]) -> None:
        """Call `observer` after every update."""

    def close(self) -> None:
        """Disconnect; may block."""


class JtopSensors:
    """Sensors of a running jtop service. While it is away sysfs answers, and it is looked for again."""

    name = "jtop"

    def __init__(self, root: Path, client: Callable[[], JtopClient]) -> None:
        """Args:
        root: Where `sys` lies; jtop does not tell whether the machine is throttled.
        client: Makes an unstarted client.
        """
        self._root = root
        self._without = TegraSensors(root)
        self._make_client = client
        self._client: JtopClient | None = None
        self._updated = 0.0
        self._tried = 0.0
        self._rarely = Rarely(_logger, every_s=600)
        self.problem: str | None = None

    def connect(self) -> bool:
        """Connect within some seconds; say whether data has arrived."""
        self._tried = time.monotonic()
        # No SimpleQueue: before Python 3.13 a signal may make its `get` wait longer than it is told to, for ever.
        answers: queue.Queue[JtopClient | Exception] = queue.Queue()

        def start() -> None:
            try:
                client = self._make_client()
                client.attach(self._on_update)
                client.start()
                answers.put(client)
            except Exception as error:  # noqa: BLE001 - top of a thread; the client unpickles what the service sends
                answers.put(error)

        # jtop's own calls have no timeout: a thread that never comes back is left behind, the daemon goes on.
        threading.Thread(target=start, name="jtop-connect", daemon=True).start()
        try:
            answer = answers.get(timeout=_CONNECT_S)
        except queue.Empty:
            answer = TimeoutError(f"no answer within {_CONNECT_S:g} s")
        if isinstance(answer, Exception):
            self.problem = f"jtop cannot be used, reading without it: {explain(answer)}"
            self._rarely.log("%s", self.problem)
            return False
        self.problem = None
        self._client, self._updated = answer, time.monotonic()
        self._rarely.reset()
        return True

    def read(self) -> Reading:
        """Return the newest data of the service, or what sysfs has while the service is away."""
        if self._client is not None and time.monotonic() - self._updated > _STALE_S:
            self._rarely.log("jtop has sent nothing for %g s", _STALE_S)
            self.close()
        if self._client is None and (time.monotonic() - self._tried < _RETRY_S or not self.connect()):
            return self._without.read()
        return parse(properties_of(self._client), throttled=sysfs.cooling_throttled(self._root))

    def close(self) -> None:
        """Disconnect, in the background: jtop waits for a thread of its own first."""
        client, self._client = self._client, None
        if client is not None:
            threading.Thread(target=client.close, name="jtop-close", daemon=True).start()

    def _on_update(self, _client: Any) -> None:
        self._updated = time.monotonic()


def explain(error: Exception) -> str:
    """Say in one line what a connection ended with; where versions differ, which library fits the service."""
    text = " ".join(str(error).split()) or type(error).__name__
    if (versions := _MISMATCH.match(text)) is None:
        return text
    told = f"its service is version {versions['service']} and the library {versions['client']}"
    pin = _pin(versions["service"])
    return told if pin is None else f"{told}; pip install '{pin}'"


def _pin(version: str) -> str | None:
    """Return what pip is asked for so that the library fits a service; None where its version says nothing."""
    minor = re.match(r"\d+\.\d+", version)
    return None if minor is None else f"jetson-stats=={minor[0]}.*"


def library_of_service(root: Path = Path("/")) -> str:
    """Return what pip is to install, so that the library's minor version is that of the service.

    The service runs in the system's own Python, whose folders of packages anybody may list. Where it is not found, that
    is the extra, which takes the newest library.
    """
    for pattern in _SERVICE_PACKAGES:
        for folder in sorted(root.glob(pattern)):
            if (pin := _pin(folder.name.split("-")[1])) is not None:
                return pin
    return "edged[jetson]"


def find_jtop(root: Path = Path("/")) -> JtopSensors | str | None:
    """Return sensors to connect; or, in one line, why a service that is there cannot be used; None: there is none."""
    path = root / _SOCKET
    if not path.exists():
        return None
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            probe.connect(str(path))
    except PermissionError:
        return f"{path}: not allowed; add this user to the group jtop"
    except OSError as error:
        return f"{path}: the jtop service does not answer ({error.strerror or error})"
    try:
        library = importlib.import_module("jtop")
    except ImportError:
        return f"the jtop service runs, but this Python lacks its library: pip install '{library_of_service(root)}'"
    return JtopSensors(root, library.jtop)


def properties_of(client: Any) -> dict[str, Any]:
    """Return the client's properties as plain dictionaries; one that this version lacks, or fails at, is absent."""
    properties: dict[str, Any] = {}
    for name in PROPERTIES:
        try:
            value = getattr(client, name)
            # gpu and memory are mappings of jtop's own kind
            properties[name] = dict(value.items()) if hasattr(value, "items") else value
        except (AttributeError, KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
            continue  # the properties compute on data that a board may not have
    return properties
