"""Whose commands are carried out: everybody's, or only those that a trusted key has signed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta

from edged import signing
from edged.contract import signed_bundle
from edged.contract.signature import PublicKey, split, statement

SIGNED_WINDOW = timedelta(minutes=10)
"""How far the `ts` of a signed command may be from this device's clock, in the past and in the future."""
REMEMBERED_S = 2 * SIGNED_WINDOW.total_seconds()
"""For so long at least its id is remembered, so that one that somebody has recorded is either known or too old."""


class Trust:
    """The trusted keys. They may be changed from any thread.

    Args:
        keys: As in `security.trusted_keys`; none: whoever the broker lets publish may command.

    Raises:
        ConfigError: There are keys, and PyNaCl is not installed.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._keys: frozenset[bytes] = frozenset()
        self.change(keys)

    @property
    def needed(self) -> bool:
        """Whether a command must be signed."""
        return bool(self._keys)

    def change(self, keys: Iterable[str]) -> None:
        """Trust these keys from now on, and no others; raises as the constructor does."""
        parsed = frozenset(PublicKey.parse(key).raw for key in keys)
        if parsed:
            signing.check_library("for security.trusted_keys")
        self._keys = parsed

    def check_bundle(self, text: str, facts: Mapping[str, str], *, but: Collection[str] = ()) -> bool:
        """Verify the signature of a bundle; whether that could be done: without keys, nothing is looked at.

        Args:
            text: The content of its file `signature`.
            facts: What the bundle is, see `contract.signed_bundle`.
            but: Names of facts that are not compared.

        Raises:
            ValueError: It is none, of nobody whom this device trusts, or of another bundle.
        """
        keys = self._keys
        if not keys:
            return False
        signed = signed_bundle.BundleSignature.parse(text)
        key = signed.signature.key
        if key.raw not in keys:
            raise ValueError(f"signature: is by {key.text}, which is not in security.trusted_keys here")
        if not signing.verify(key.raw, signed.signature.raw, signed_bundle.statement(signed.facts)):
            raise ValueError("signature: is not of what the file says; it was altered after it was signed")
        signed.check(facts, but=but)
        return True

    def open(self, topic: str, payload: bytes) -> bytes:
        """Return what of a command may be parsed: the very bytes that were signed, or all where none must be.

        Args:
            topic: `…/<device or all>/cmd/<name>`.
            payload: As received, not larger than its command may be.

        Raises:
            ValueError: Why this device does not take it.
        """
        keys = self._keys
        if not keys:
            return payload
        try:
            body, signature = split(payload)
        except ValueError as error:
            raise ValueError(f"{error}; this device takes only commands signed by one of its trusted keys") from error
        if signature.key.raw not in keys:
            raise ValueError(f"is signed by {signature.key.text}, which is not in security.trusted_keys here")
        target, _, name = topic.rsplit("/", 3)[1:]
        if not signing.verify(signature.key.raw, signature.raw, statement(target, name, body)):
            raise ValueError(
                f"its signature is not of this command to {target}: it is another one's, or for another device, or "
                "something was altered after it was signed"
            )
        return body
