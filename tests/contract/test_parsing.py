"""Commands: from bytes to a command, or one line that says why not."""

import contextlib
import json
import re
import tracemalloc
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract import parsing
from edged.contract.commands import COMMANDS, Args, ModelsAddArgs, SnapshotArgs
from edged.contract.parsing import CommandRejectedError, decode, find_id, validate
from edged.errors import CommandError

NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


def read(payload, name="snapshot", retained=False):
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return validate(decode(f"edged/d1/cmd/{name}", body), retained=retained, now=NOW)


def test_a_good_command():
    command = read(
        {
            "v": 1,
            "id": "a-1_Z",
            "ts": "2026-01-31T11:59:59Z",
            "expires": "2026-01-31T12:01:00Z",
            "args": {"quality": 80},
        }
    )
    assert (command.id, command.name, command.args.quality, command.args.camera) == ("a-1_Z", "snapshot", 80, None)


BAD = [
    (b'{"id": "a", "args": {"camera": "\\ud800"}}', "a", "'\\ud800' holds half of a character"),
    (b'{"id": "a", "args": {"\\udfff": [{"x": ["\\ud83d"]}]}}', "a", "holds half of a character"),
    (b"{", "unknown", "not JSON"),
    (b"", "unknown", "not JSON"),
    (b"\xff\xfe", "unknown", "not UTF-8"),
    (b"[1]", "unknown", "an object is needed"),
    (b"[" * 20000, "unknown", "nested too deeply"),
    (b'{"id": "a1", "args": {"quality": NaN}}', "a1", "NaN is not allowed"),
    ({}, "unknown", "id = None"),
    ({"id": 7}, "unknown", "id = 7"),
    ({"id": "a/b"}, "unknown", "1 to 64 of"),
    ({"id": "a\n"}, "unknown", "1 to 64 of"),
    ({"id": "x" * 65}, "unknown", "1 to 64 of"),
    ({"id": "a1", "v": 2}, "a1", "v = 2"),
    ({"id": "a1", "arg": {}}, "a1", "arg: unknown field; allowed: v, id, ts, expires, args"),
    ({"id": "a1", "args": []}, "a1", "args = []"),
    ({"id": "a1", "args": {"qality": 1}}, "a1", "args.qality: unknown field; allowed: camera, quality"),
    ({"id": "a1", "args": {"quality": "high"}}, "a1", "args.quality = 'high'"),
    ({"id": "a1", "args": {"quality": 101}}, "a1", "less than or equal to 100"),
    ({"id": "a1", "args": {"camera": "c" * 5000, "quality": "q" * 5000}}, "a1", "…"),
    ({"id": "a1", "ts": "yesterday"}, "a1", "ts = 'yesterday'"),
    ({"id": "a1", "expires": "2026-01-31T11:59:59.999Z"}, "a1", "expired at"),
    ({"id": "a1", "ts": "2026-01-30T11:00:00Z"}, "a1", "more than 24 hours ago"),
    ({"id": "a1", "args": {"camera": "c" * Args.max_bytes}}, "a1", "at most 65536 are allowed"),
]


@pytest.mark.parametrize(("payload", "id_", "text"), BAD, ids=[text for _, _, text in BAD])
def test_a_bad_command_is_rejected_under_its_id(payload, id_, text):
    with pytest.raises(CommandRejectedError) as caught:
        read(payload)
    assert caught.value.id == id_
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_unknown_and_retained():
    with pytest.raises(CommandRejectedError, match=r"'dance': unknown command; known here: .*set, snapshot, status"):
        read({"id": "a1"}, name="dance")
    with pytest.raises(CommandRejectedError, match="was published retained"):
        read({"id": "a1"}, retained=True)


def test_a_limit_of_its_own(monkeypatch):
    monkeypatch.setattr(SnapshotArgs, "max_bytes", 10)
    with pytest.raises(CommandRejectedError, match="at most 10"):
        read({"id": "a1"})


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(
        lambda v: json.dumps({"id": v}).encode()
    )
)
def test_no_bytes_raise_anything_else(payload):
    with contextlib.suppress(CommandError):
        read(payload)


def test_what_is_too_large_is_not_parsed(monkeypatch):
    monkeypatch.setattr(parsing.json, "loads", lambda *_, **__: pytest.fail("parsed"))
    document = decode("edged/d1/cmd/snapshot", b'{"id": "a1", "args": "' + b"x" * Args.max_bytes + b'"}')
    assert (document.id, document.content) == ("a1", None)
    assert "at most 65536 are allowed" in (document.fault or "")


def test_every_command_is_declared_once():
    own = [one for one in Args.__subclasses__() if one.__module__.startswith("edged.")]  # tests may declare more
    assert len(COMMANDS) == len(own)
    assert all(args.command == name and args.__doc__ for name, args in COMMANDS.items())


@pytest.mark.parametrize(
    ("payload", "id_"),
    [
        (b'{"args": {"id": "inner"}, "id": "outer"}', "outer"),
        (b'{"id": "first", "args": {"jpeg": "' + b"x" * 10_000 + b'"}}', "first"),
        (b'{"args": {"jpeg": "' + b"x" * 10_000 + b'"}, "id": "late"}', "unknown"),
        (b"{", "unknown"),
        (b"", "unknown"),
    ],
)
def test_the_id_of_what_nobody_has_time_to_parse(payload, id_):
    assert find_id(payload) == id_


@pytest.mark.parametrize("piece", [b"[]", b"{}", b'""', b"0"])
def test_a_payload_of_millions_of_entries_is_not_decoded(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded, 11 MB of `[]` take 260 MB and hold all threads up for seconds."""
    monkeypatch.setattr(parsing, "_json", lambda _: pytest.fail("it was parsed"))
    payload = b'{"id": "a1", "args": {"labels": [' + b",".join([piece] * 100_001) + b"]}}"
    document = decode("edged/tx2/cmd/models_add", payload)
    assert document.id == "a1"
    assert re.fullmatch(r"\d+ entries of lists and objects; at most 100000 are allowed", document.fault or "")


def test_a_network_of_many_classes_can_be_sent() -> None:
    """As many as ImageNet-21k has."""
    labels = [f"noun {number}, another noun" for number in range(21_841)]
    message = {"id": "a1", "args": {"sha256": "0" * 64, "name": "large", "labels": labels}}
    document = decode("edged/tx2/cmd/models_add", json.dumps(message).encode())
    command = validate(document, retained=False, now=NOW)
    assert isinstance(command.args, ModelsAddArgs)
    assert command.args.labels == labels


def test_a_name_of_thousands_of_characters_is_not_repeated() -> None:
    with pytest.raises(CommandRejectedError) as caught:
        read(b"no json", name="x\n" * 30_000)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("key", ["x" * 30_000, "a\nb", "\u2028"])
def test_a_key_is_repeated_in_part_and_in_one_line(key: str) -> None:
    with pytest.raises(CommandRejectedError, match="unknown field") as caught:
        read({"id": "a1", "args": {key: 1}})
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("wrong", "text"), [("1", "should be a valid string"), ('"\u200b"', "invisible character")])
def test_many_wrong_labels_are_one_mistake(wrong: str, text: str) -> None:
    """Pydantic's errors about all of them took 150 MB."""
    labels = f'"a", {wrong},' + f"{wrong}," * 90_000 + wrong
    payload = f'{{"id": "a1", "args": {{"sha256": "{"0" * 64}", "name": "m", "labels": [{labels}]}}}}'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(CommandRejectedError, match=rf"args\.labels\.1 = .*{text}"):
            read(payload, name="models_add")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
