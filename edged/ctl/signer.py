"""The key with which edgectl signs what it sends, read when the first command is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from edged import signing
from edged.contract.signature import PublicKey, Signature, join, statement
from edged.ctl.user_folder import user_folder


def default_key_file() -> Path:
    """Where `edgectl keygen` puts a key: $EDGECTL_SIGNING_KEY, else `edged/key` in $XDG_CONFIG_HOME or ~/.config."""
    if given := os.environ.get("EDGECTL_SIGNING_KEY"):
        return Path(given).expanduser()
    return user_folder() / "key"


def find_signer(given: str | None) -> Signer | None:
    """Return what signs commands.

    Args:
        given: The file that the user named; None: the default one, where it is there.
    """
    path = default_key_file() if given is None else Path(given).expanduser()
    return Signer(path) if given is not None or os.environ.get("EDGECTL_SIGNING_KEY") or path.exists() else None


class Signer:
    """Signs with the key of a file. Safe to use from any thread.

    Args:
        path: Of the private key; read when it is first needed, so that what only looks on needs neither it nor PyNaCl.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._key: signing.PrivateKey | None = None

    def command(self, target: str, name: str, body: bytes) -> bytes:
        """Return a command's JSON object with its signature.

        Args:
            target: A device's id, or `all`.
            name: The command's.
            body: The object.

        Raises:
            ConfigError: The key cannot be used.
        """
        return join(body, self.sign(statement(target, name, body)))

    def sign(self, message: bytes) -> Signature:
        """Sign a statement; raises as `command` does."""
        with self._lock:
            if self._key is None:
                self._key = signing.read(self._path)
        return Signature(PublicKey(self._key.public), self._key.sign(message))
