"""Whose commands are carried out: each way of forging one, against the dispatcher and its ledger."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged import signing
from edged.contract.commands import COMMANDS
from edged.contract.signature import PublicKey, Signature, join, split, statement
from edged.errors import ConfigError
from edged.mqtt.dispatcher import Dispatcher
from edged.mqtt.events import Received
from edged.mqtt.ledger import Ledger
from edged.mqtt.trust import Trust
from tests.waiting import PATIENCE_S

pytest.importorskip("nacl", reason="needs PyNaCl (pip install pynacl)")

OURS, THEIRS = signing.PrivateKey(b"\x01" * 32), signing.PrivateKey(b"\x02" * 32)
WINDOW = timedelta(minutes=10)
"""What is promised; written down here too, so that it is not changed by a slip."""


def body(id_: str = "a1", *, ts: datetime | None = None, **args: Any) -> bytes:
    moment = (ts or datetime.now(timezone.utc)).isoformat()
    return json.dumps({"id": id_, "ts": moment, "args": args}, separators=(",", ":")).encode()


def signed(content: bytes, *, name: str = "snapshot", target: str = "d1", key: signing.PrivateKey = OURS) -> bytes:
    return join(content, Signature(PublicKey(key.public), key.sign(statement(target, name, content))))


class Device:
    """The dispatcher of device d1, which trusts one key."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path)
        self.trust = Trust([f"{PublicKey(OURS.public).text} ours"])
        self.acks: list[dict[str, Any]] = []
        self.ran: list[str] = []

    def gets(self, payload: bytes, *, name: str = "snapshot", target: str = "d1", retained: bool = False) -> str:
        """Deliver a message; return what its ack says: `accepted`, or the error."""
        dispatcher = Dispatcher(
            ledger=self.ledger,
            registry=COMMANDS,
            publish=lambda topic, ack: self.acks.append({"topic": topic, **json.loads(ack)}),
            answer=lambda reply, ack: None,
            check=lambda reply, command: None,
            job=lambda _: None,
            on_command=lambda command: self.ran.append(command.id),
            trust=self.trust,
        )
        dispatcher.deliver(Received(f"edged/{target}/cmd/{name}", payload, retained))
        dispatcher.start()
        dispatcher.stop(PATIENCE_S)
        ack = self.acks.pop()
        assert self.acks == []
        assert ack["topic"] == f"ack/{ack['id']}"
        said: str = ack.get("error") or ack["status"]
        return said


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path / "commands.sqlite")
    yield one
    one.ledger.close()


def altered(payload: bytes, old: bytes, new: bytes) -> bytes:
    assert payload.count(old) == 1
    return payload.replace(old, new)


def respelled(payload: bytes) -> bytes:
    """The same signature in another spelling: the last four bits of 88 digits of base64 are not of the 64 bytes."""
    digit = payload[-5:-4]
    return payload[:-5] + bytes([digit[0] + 1]) + payload[-4:]


NOT_OF_THIS = "its signature is not of this command to d1: it is another one's, or for another device, or something was"
FORGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "unsigned": (body, "is not signed; this device takes only commands signed by one of its trusted keys"),
    "empty": (lambda: b"", "is not signed"),
    "null": (lambda: altered(body(), b'"args"', b'"signature":null,"args"'), "its signature is not where one is"),
    "by another key": (
        lambda: signed(body(), key=THEIRS),
        f"is signed by {PublicKey(THEIRS.public).text}, which is not in security.trusted_keys here",
    ),
    "by another key that says it is ours": (
        lambda: join(body(), Signature(PublicKey(OURS.public), THEIRS.sign(statement("d1", "snapshot", body())))),
        NOT_OF_THIS,
    ),
    "of another command's name": (lambda: signed(body(), name="status"), NOT_OF_THIS),
    "for another device": (lambda: signed(body(), target="d2"), NOT_OF_THIS),
    "for all, sent to one": (lambda: signed(body(), target="all"), NOT_OF_THIS),
    "altered arguments": (lambda: altered(signed(body(quality=50)), b'"quality":50', b'"quality":60'), NOT_OF_THIS),
    "altered id": (lambda: altered(signed(body()), b'"a1"', b'"a2"'), NOT_OF_THIS),
    "altered time": (lambda: altered(signed(body()), b"+00:00", b"+00:01"), NOT_OF_THIS),
    "only a space more": (lambda: altered(signed(body()), b',"args"', b', "args"'), NOT_OF_THIS),
    "a member more": (lambda: altered(signed(body()), b"{}", b'{"quality":1}'), NOT_OF_THIS),
    "a signature of a signature": (lambda: altered(signed(signed(body(), key=THEIRS)), b'"a1"', b'"a2"'), NOT_OF_THIS),
    "of another algorithm": (
        lambda: altered(signed(body()), b"ed25519:", b"rsa:"),
        "its signature is of another algorithm than ed25519",
    ),
    "no base64": (
        lambda: altered(signed(body()), b"ed25519:", b"ed25519:*"),
        "not ed25519:KEY:SIGNATURE with 32 and 64",
    ),
    "base64 with other bits that say nothing": (lambda: respelled(signed(body())), "not ed25519:KEY:SIGNATURE"),
    "cut off": (lambda: signed(body())[:-8] + b'"}', "not ed25519:KEY:SIGNATURE"),
    "huge": (
        lambda: body()[:-1] + b',"signature":"ed25519:' + b"A" * 60_000 + b'"}',
        "its signature is not where one is: the last member, written without spaces, and short",
    ),
    "zeros": (
        lambda: join(body(), Signature(PublicKey(OURS.public), bytes(64))),
        NOT_OF_THIS,
    ),
    "not the last member": (
        lambda: signed(body())[:-1] + b',"v":1}',
        "its signature is not where one is",
    ),
    "larger than its command": (lambda: signed(body(camera="c" * 70_000)), "bytes; at most 65536 are allowed"),
}


@pytest.mark.parametrize("how", FORGED)
def test_what_is_forged_is_rejected_with_the_reason_and_leaves_no_trace(device: Device, how: str) -> None:
    make, why = FORGED[how]
    said = device.gets(make())
    assert said.startswith("snapshot: ")
    assert why in said
    assert device.ran == []
    assert [device.ledger.answer(id_) for id_ in ("a1", "a2", "unknown")] == [None] * 3
    assert device.gets(signed(body())) == "accepted", "nobody can use up an id"
    assert device.ran == ["a1"]


@pytest.mark.parametrize(("key", "target"), [(OURS, "d1"), (OURS, "all")])
def test_what_a_trusted_key_has_signed_runs(device: Device, key: signing.PrivateKey, target: str) -> None:
    assert device.gets(signed(body(), target=target, key=key), target=target) == "accepted"
    assert device.ran == ["a1"]


def test_one_for_the_fleet_cannot_be_turned_on_one_device_nor_the_other_way(device: Device) -> None:
    assert NOT_OF_THIS.replace("d1", "all") in device.gets(signed(body(), target="d1"), target="all")
    assert device.ran == []


@pytest.mark.parametrize(("ago", "which"), [(WINDOW, "ago"), (-WINDOW, "ahead"), (timedelta(days=20_000), "ago")])
def test_a_clock_that_is_too_far_away_is_told_with_both_times(device: Device, ago: timedelta, which: str) -> None:
    second = timedelta(seconds=1) if ago > timedelta(0) else -timedelta(seconds=1)
    then = datetime.now(timezone.utc) - ago - second * (30 if which == "ahead" else 1)
    said = device.gets(signed(body(ts=then)))
    assert f"was signed at {then.isoformat()} by the sender's clock, and it is 20" in said
    assert f"by this device's: more than 10 minutes {which}" in said
    inside = datetime.now(timezone.utc) - ago * (0 if ago > WINDOW else 0.9)
    assert device.gets(signed(body(ts=inside))) == "accepted"


def test_one_that_tells_no_time_is_rejected(device: Device) -> None:
    said = device.gets(signed(b'{"id":"a1"}'))
    assert said == "snapshot: ts: is missing; a signed command must tell when it was signed"
    said = device.gets(signed(b'{"id":"a1","ts":null}'))
    assert "ts: is missing" in said


def test_what_was_recorded_is_answered_again_while_it_is_known_and_too_old_later(device: Device) -> None:
    recorded = signed(body())
    assert [device.gets(recorded), device.gets(recorded)] == ["accepted", "accepted"]
    assert device.ran == ["a1"]
    forged = altered(recorded, b"{}", b'{"quality":1}')
    assert NOT_OF_THIS in device.gets(forged), "an id that is known opens nothing"
    assert "are allowed" in device.gets(signed(body(camera="c" * 70_000))), "nor does it where nothing was looked at"
    old = signed(body("a2", ts=datetime.now(timezone.utc) - WINDOW - timedelta(seconds=1)))
    assert "more than 10 minutes ago" in device.gets(old)
    assert device.ran == ["a1"]


def test_an_id_is_remembered_until_its_command_is_too_old(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    accept_all = device.ledger.accept_all

    def noted(commands: Any, *, keep_s: float) -> None:
        asked.append(keep_s)
        accept_all(commands, keep_s=keep_s)

    monkeypatch.setattr(device.ledger, "accept_all", noted)
    device.gets(signed(body()))
    device.trust.change(())
    device.gets(body("a2"))
    assert asked == [2 * WINDOW.total_seconds(), 0.0], "it may be signed as far in the future as in the past"


def test_the_rest_of_the_contract_holds_for_signed_ones_too(device: Device) -> None:
    assert "was published retained" in device.gets(signed(body()), retained=True)
    assert "args.quality = 'x'" in device.gets(signed(body(quality="x")))
    assert "unknown command" in device.gets(signed(body(), name="dance"), name="dance")
    late = signed(altered(body(), b'"args"', b'"expires":"2020-01-01T00:00:00Z","args"'))
    assert "expired at 2020" in device.gets(late)
    assert "not JSON" in device.gets(signed(b'{"id":"a1",}'))


def test_without_keys_a_signature_is_passed_over(device: Device) -> None:
    device.trust.change(())
    assert device.gets(signed(body(), key=THEIRS)) == "accepted"
    assert device.gets(body("a2")) == "accepted"


def test_what_is_not_ours_is_not_parsed(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edged.mqtt.dispatcher.decode", lambda *_: pytest.fail("parsed"))
    assert "is not signed" in device.gets(body(camera="c" * 5000))


def test_without_the_library_keys_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nacl.signing", None)
    Trust(())
    with pytest.raises(ConfigError) as caught:
        Trust([PublicKey(OURS.public).text])
    assert str(caught.value) == "PyNaCl is needed for security.trusted_keys, and is not installed: pip install pynacl"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(content=st.dictionaries(st.text(), JSON, min_size=1, max_size=4), ascii_only=st.booleans())
def test_whatever_is_signed_is_verified_byte_for_byte(content: dict[str, Any], ascii_only: bool) -> None:
    text = json.dumps(content, ensure_ascii=ascii_only)
    sent = text.encode("utf-8", "surrogatepass")
    whole = signed(sent)
    assert split(whole)[0] == sent
    assert Trust([PublicKey(OURS.public).text]).open("edged/d1/cmd/snapshot", whole) == sent
    assert list(json.loads(whole)) == [*(key for key in json.loads(text) if key != "signature"), "signature"]


@given(at=st.integers(min_value=0), bit=st.integers(0, 7))
def test_no_bit_of_it_can_be_altered(at: int, bit: int) -> None:
    whole = bytearray(signed(b'{"id":"a1","ts":"2026-01-31T11:59:59Z","args":{"label":"\xc3\xa9","x":1e3}}'))
    whole[at % len(whole)] ^= 1 << bit
    with pytest.raises(ValueError, match="sign"):
        Trust([PublicKey(OURS.public).text]).open("edged/d1/cmd/snapshot", bytes(whole))


@given(st.binary())
def test_any_bytes_are_a_reason_and_nothing_worse(data: bytes) -> None:
    trust = Trust([PublicKey(OURS.public).text])
    for payload in (
        data,
        b'{"id":"a","signature":"' + data + b'"}',
        join(b'{"a":1}', Signature(PublicKey(OURS.public), data)),
    ):
        with pytest.raises(ValueError, match="sign"):
            trust.open("edged/d1/cmd/status", payload)


@pytest.mark.parametrize(
    "line",
    ["", "ed25519", "ed25519:", "ed25519:AAAA", "rsa:" + "A" * 43 + "=", "A" * 43 + "=", f"ed25519:{'é' * 43}=",
     "ed25519:" + base64.b64encode(bytes(33)).decode(), "-----BEGIN PRIVATE KEY-----"],
)  # fmt: skip
def test_what_is_no_public_key(line: str) -> None:
    with pytest.raises(ValueError, match="use ed25519:BASE64, as edgectl keygen prints it"):
        PublicKey.parse(line)
