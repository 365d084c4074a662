"""How a command is signed: what exactly a signature is of, and how it is written. Pure, no cryptography.

The signature of a command is the last member of its JSON object, and is of the bytes of that object without it, as
they were sent: nothing is decoded, sorted or formatted anew before it is verified, so that numbers, escapes and keys
that come twice cannot mean one thing to the signer and another to the device. Whoever has verified it parses these same
bytes, and no others:

    {"id":"a1","ts":"2026-11-22T10:00:00.000Z","args":{}}                               is signed
    {"id":"a1","ts":"2026-11-22T10:00:00.000Z","args":{},"signature":"ed25519:…:…"}     is sent

What Ed25519 signs is `statement`: it names besides to whom the command goes (the device, or `all`) and what it is
called, which its topic tells and not its payload.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

ALGORITHM = "ed25519"
MAX_KEYS = 100
_MEMBER = b',"signature":"'
_MAX_VALUE = 400
"""Bytes of a signature's text; one is 145 long."""
_KEY_BYTES, _SIGNATURE_BYTES = 32, 64


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key as `security.trusted_keys` names it: `ed25519:BASE64 whose it is`."""

    raw: bytes
    comment: str = ""

    @property
    def text(self) -> str:
        """`ed25519:BASE64`."""
        return f"{ALGORITHM}:{base64.b64encode(self.raw).decode()}"

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Read a line that `edgectl keygen` has printed.

        Raises:
            ValueError: It is no public key; says what one is.
        """
        key, _, comment = line.strip().partition(" ")
        algorithm, _, encoded = key.partition(":")
        raw = _decode(encoded)
        if algorithm != ALGORITHM or raw is None or len(raw) != _KEY_BYTES:
            raise ValueError(f"use {ALGORITHM}:BASE64, as edgectl keygen prints it, and whose it is after a space")
        return cls(raw, comment.strip())


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signed, and the signature itself."""

    key: PublicKey
    raw: bytes

    @property
    def text(self) -> str:
        """`ed25519:BASE64 of the public key:BASE64 of the signature`."""
        return f"{self.key.text}:{base64.b64encode(self.raw).decode()}"

    @classmethod
    def parse(cls, text: str) -> Signature:
        """Read what `text` writes.

        Raises:
            ValueError: What is wrong with it.
        """
        algorithm, *parts = text.split(":")
        if algorithm != ALGORITHM:
            raise ValueError(f"its signature is of another algorithm than {ALGORITHM}")
        decoded = [_decode(part) for part in parts]
        if [None if part is None else len(part) for part in decoded] != [_KEY_BYTES, _SIGNATURE_BYTES]:
            raise ValueError(f"its signature is not {ALGORITHM}:KEY:SIGNATURE with 32 and 64 bytes in base64")
        key, raw = decoded
        assert key is not None
        assert raw is not None
        return cls(PublicKey(key), raw)


def statement(target: str, name: str, body: bytes) -> bytes:
    """Return what is signed for a command.

    Args:
        target: The device's id, or `all`: the level of the topic before `cmd`.
        name: The command's, the level after it.
        body: The JSON object as it is sent, but without its signature.
    """
    # No level of a topic holds a zero byte, so that the parts cannot be moved against each other.
    return b"\0".join((b"edged command 1", target.encode(), name.encode(), hashlib.sha256(body).digest()))


def join(body: bytes, signature: Signature) -> bytes:
    """Return a command's JSON object with its signature as the last member."""
    if not body.endswith(b"}") or body[:-1].rstrip()[-1:] in (b"", b"{"):
        raise ValueError("a JSON object with at least one member is needed")
    return body[:-1] + _MEMBER + signature.text.encode() + b'"}'


def split(payload: bytes) -> tuple[bytes, Signature]:
    """Return what `join` has joined. The body is not parsed: it may be no JSON at all.

    Raises:
        ValueError: There is no signature, or none that can be read; says what is wrong.
    """
    at = payload.rfind(_MEMBER, max(0, len(payload) - len(_MEMBER) - _MAX_VALUE - 2))
    if at < 0 or not payload.endswith(b'"}'):
        if b'"signature"' in payload:
            raise ValueError("its signature is not where one is: the last member, written without spaces, and short")
        raise ValueError("is not signed")
    value = payload[at + len(_MEMBER) : -2]
    return payload[:at] + b"}", Signature.parse(value.decode("ascii", "replace"))


def _decode(text: str) -> bytes | None:
    """Decode base64; None: it is none, or not written in the one way in which these bytes are."""
    try:
        raw = base64.b64decode(text.encode(), validate=True)
    except (ValueError, binascii.Error):
        return None
    return raw if base64.b64encode(raw).decode() == text else None
