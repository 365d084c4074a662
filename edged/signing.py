"""Ed25519 signatures, by PyNaCl (libsodium): the only file that knows this library, which is an extra of edged's.

A private key is a file as OpenSSL writes one (PKCS #8 in PEM, RFC 8410), for its user alone.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from edged.errors import ConfigError

_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 bytes of the seed in the DER of an Ed25519 key: RFC 8410, section 10.3."""
_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
_MAX_FILE_BYTES = 10_000


class PrivateKey:
    """What signs.

    Args:
        seed: 32 random bytes.

    Raises:
        ConfigError: PyNaCl is not installed.
    """

    def __init__(self, seed: bytes) -> None:
        check_library("to sign")
        from nacl.signing import SigningKey

        self._key = SigningKey(seed)
        self.public: bytes = self._key.verify_key.encode()
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature, 64 bytes."""
        signature: bytes = self._key.sign(message).signature
        return signature


def check_library(why: str) -> None:
    """Raise ConfigError where PyNaCl is not installed; `why` says what it is needed for."""
    try:
        import nacl.signing  # noqa: F401 - that it can be imported is what is asked
    except ImportError as error:
        raise ConfigError(f"PyNaCl is needed {why}, and is not installed: pip install pynacl") from error


def verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether the private key of `public` (32 bytes) has signed `message`; whatever else they are: no."""
    from nacl.exceptions import CryptoError
    from nacl.signing import VerifyKey

    try:
        VerifyKey(public).verify(message, signature)
    except (CryptoError, ValueError):  # ValueError: of another length
        return False
    return True


def generate(path: Path, *, replace: bool = False) -> PrivateKey:
    """Make a new key and write it to a file that only its user may read.

    Args:
        path: Where to; its folder is made.
        replace: Take the place of a file that is there.

    Raises:
        ConfigError: There is a file, or it cannot be written; PyNaCl is not installed.
    """
    seed = os.urandom(32)
    key = PrivateKey(seed)
    body = base64.b64encode(_PKCS8 + seed).decode()
    content = f"{_BEGIN}\n{body}\n{_END}\n".encode()
    written = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123 - the mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            written.replace(path)
    except FileExistsError as error:
        raise ConfigError(f"{path}: is there already; a key that is lost cannot be made again (--replace)") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}") from error
    return key


def read(path: Path) -> PrivateKey:
    """Read a private key.

    Raises:
        ConfigError: It cannot be read, others may read it, or it is none; PyNaCl is not installed.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    if stat.S_ISREG(mode) and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"{path}: this key is open to others than its user: chmod 600 {path}")
    lines = content.decode("ascii", "replace").split("\n")
    try:
        der = base64.b64decode("".join(lines[lines.index(_BEGIN) + 1 : lines.index(_END)]), validate=True)
    except (ValueError, binascii.Error):
        der = b""
    if not der.startswith(_PKCS8) or len(der) != len(_PKCS8) + 32:
        raise ConfigError(f"{path}: is no private Ed25519 key in PEM, as `edgectl keygen` makes it")
    return PrivateKey(der[len(_PKCS8) :])
