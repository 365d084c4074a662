"""What a bundle's signature is of: everything that decides its answers, and the same on both ends of the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import signing
from edged.contract.signature import PublicKey, Signature
from edged.contract.signed_bundle import BundleSignature, facts, statement
from edged.ctl.client import command_json
from edged.mqtt.trust import Trust

pytest.importorskip("nacl", reason="needs PyNaCl (pip install pynacl)")

OURS, THEIRS = signing.PrivateKey(b"\x01" * 32), signing.PrivateKey(b"\x02" * 32)
BUNDLE: dict[str, Any] = {
    "name": "flowers",
    "crop": 0.875,
    "model": "a" * 64,
    "labels": ["daisy", "été"],
    "manifest": {"name": "flowers", "training": {"accuracy": 0.9}},
    "familiarity": "b" * 64,
}


def signed(key: signing.PrivateKey = OURS, **more: Any) -> str:
    told = facts(**{**BUNDLE, **more})
    return BundleSignature(Signature(PublicKey(key.public), key.sign(statement(told))), told).encode()


def why(text: str, **more: Any) -> str:
    """What a device that trusts one key says of a bundle; empty: it is good."""
    try:
        assert Trust([PublicKey(OURS.public).text]).check_bundle(text, facts(**{**BUNDLE, **more}))
    except ValueError as error:
        return str(error)
    return ""


def test_it_is_good_where_all_is_as_it_was_signed() -> None:
    assert why(signed()) == ""
    assert why(signed(manifest=None, familiarity=None), manifest=None, familiarity=None) == ""


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"name": "trees"}, "signature: name trees is not what was signed, flowers"),
        ({"crop": 1.0}, "signature: crop 1.0 is not what was signed, 0.875"),
        ({"model": "c" * 64}, f"signature: model.tflite {'c' * 64} is not what was signed, {'a' * 64}"),
        ({"labels": ["été", "daisy"]}, "signature: labels.txt "),
        ({"manifest": {"name": "flowers", "training": {"accuracy": 0.91}}}, "signature: manifest.json "),
        ({"manifest": None}, "signature: manifest.json was signed, and is not there"),
        ({"familiarity": "d" * 64}, "signature: familiarity.npz "),
        ({"familiarity": None}, "signature: familiarity.npz was signed, and is not there"),
    ],
)
def test_whatever_is_altered_is_named(more: dict[str, Any], reason: str) -> None:
    assert why(signed(), **more).startswith(reason)


def test_what_was_not_there_is_not_signed() -> None:
    said = why(signed(familiarity=None))
    assert said == "signature: familiarity.npz was not there when the bundle was signed"


def test_of_nobody_whom_it_trusts() -> None:
    said = why(signed(THEIRS))
    assert said == f"signature: is by {PublicKey(THEIRS.public).text}, which is not in security.trusted_keys here"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("name flowers", "name trees", "signature: is not of what the file says; it was altered after it was signed"),
        ("\nname flowers", "", "signature: is not as `edgectl models sign` writes it"),
        ("ed25519:", "rsa:", "its signature is of another algorithm"),
        ("crop 0.875\n", "crop 0.875\ncrop 0.875\n", "signature: is not as"),
        ("\nmodel", "\r\nmodel", "signature: is not"),
        ("familiarity.npz", "x" * 5000, "at most 4096 are allowed"),
    ],
)
def test_a_file_that_was_altered(old: str, new: str, reason: str) -> None:
    text = signed()
    assert text.count(old) == 1
    assert reason in why(text.replace(old, new), name="trees" if "trees" in new else "flowers")


def test_without_keys_nothing_is_looked_at() -> None:
    assert not Trust().check_bundle("anything", {})


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(manifest=st.dictionaries(TEXT, JSON, max_size=4))
def test_a_manifest_is_the_same_on_both_ends_of_the_wire(manifest: dict[str, Any]) -> None:
    sent = json.loads(command_json("a1", {"manifest": manifest}, 60))["args"]["manifest"]
    assert facts(**{**BUNDLE, "manifest": sent}) == facts(**{**BUNDLE, "manifest": manifest})
