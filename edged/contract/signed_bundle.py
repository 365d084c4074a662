"""The file `signature` in a bundle: who made it, and of what. Pure, no cryptography.

It is text: the signature, then a line for each thing that was signed. `models_add` carries it as it is, and the device
keeps it. Of the manifest it names what its JSON says, because a device writes a manifest of its own:

    ed25519:KEY:SIGNATURE
    name flowers
    crop 0.875
    model.tflite 9f86d081…
    labels.txt 60303ae2…
    manifest.json fd61a03a…
    familiarity.npz a4e62408…
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edged.contract.signature import Signature

SIGNATURE = "signature"
MAX_CHARACTERS = 4096
_NEEDED = ("name", "crop", "model.tflite", "labels.txt")


def facts(
    *,
    name: str,
    crop: float,
    model: str,
    labels: Sequence[str],
    manifest: Mapping[str, Any] | None,
    familiarity: str | None,
) -> dict[str, str]:
    """Return what is signed of a bundle: what it is, and what decides its answers.

    Args:
        name: What people call the model.
        crop: Part of a frame's shorter side that the centre crop keeps.
        model: Sha256 of model.tflite, in hex.
        labels: In the outputs' order.
        manifest: What manifest.json says; None: there is none.
        familiarity: Sha256 of familiarity.npz, in hex; None: there is none.
    """
    found = {"name": name, "crop": repr(float(crop)), "model.tflite": model}
    found["labels.txt"] = _sha256("".join(f"{label}\n" for label in labels).encode("utf-8", "surrogatepass"))
    if manifest is not None:
        found["manifest.json"] = _sha256(json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
    if familiarity is not None:
        found["familiarity.npz"] = familiarity
    return found


def statement(told: Mapping[str, str]) -> bytes:
    """Return what Ed25519 signs for facts."""
    return b"edged bundle 1\0" + _lines(told).encode()


@dataclass(frozen=True, slots=True)
class BundleSignature:
    """The content of a file `signature`."""

    signature: Signature
    facts: Mapping[str, str]

    def encode(self) -> str:
        """Return the file's text."""
        return f"{self.signature.text}\n{_lines(self.facts)}"

    @classmethod
    def parse(cls, text: str) -> BundleSignature:
        """Read the file's text; nothing is verified yet.

        Raises:
            ValueError: What is wrong with it.
        """
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"signature: {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
        first, _, rest = text.partition("\n")
        told = dict(line.split(" ", 1) for line in rest.split("\n") if " " in line)
        one = cls(Signature.parse(first), told)
        if one.encode() != text or not set(_NEEDED) <= told.keys():
            raise ValueError("signature: is not as `edgectl models sign` writes it")
        return one

    def check(self, found: Mapping[str, str], *, but: Collection[str] = ()) -> None:
        """Compare what was signed with what is there.

        Args:
            found: Facts of the bundle.
            but: Names of facts that are not compared.

        Raises:
            ValueError: Names the first that differs, was not signed, or is missing.
        """
        for what in [*found, *(self.facts.keys() - found.keys())]:
            signed, value = self.facts.get(what), found.get(what)
            if signed == value or what in but:
                continue
            if value is None:
                raise ValueError(f"signature: {what} was signed, and is not there")
            if signed is None:
                raise ValueError(f"signature: {what} was not there when the bundle was signed")
            raise ValueError(f"signature: {what} {value[:64]} is not what was signed, {signed[:64]}")


def _lines(told: Mapping[str, str]) -> str:
    return "".join(f"{what} {value}\n" for what, value in told.items())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
