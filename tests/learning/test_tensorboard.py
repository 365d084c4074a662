"""Event files: the framing by its definition, the messages by a reader of the wire format."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

from edged.learning.softmax_regression import EpochReport
from edged.learning.tensorboard import Curves, EventFile, crc32c, record


def fields(data: bytes) -> Iterator[tuple[int, object]]:
    """(field, value) of a protocol buffers message: varint, 64 bits, bytes or 32 bits."""

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    at = 0
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            size = varint()
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            size, form = (8, "<d") if tag & 7 == 1 else (4, "<f")
            yield tag >> 3, struct.unpack_from(form, data, at)[0]
            at += size


def events(path: Path) -> list[bytes]:
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        payload = data[at + 12 : at + 12 + length]
        assert data[at : at + 16 + length] == record(payload)
        found.append(payload)
        at += 16 + length
    return found


def steps(path: Path) -> list[tuple[int, dict[str, float]]]:
    """(step, {tag: value}) of each summary."""
    read = []
    for event in events(path)[1:]:
        outer = dict(fields(event))
        values = {}
        for _, value in fields(outer[5]):  # type: ignore[arg-type]  # field 5 is the summary's bytes
            inner = dict(fields(value))  # type: ignore[arg-type]  # and its field 1 a value's
            values[inner[1].decode()] = inner[2]  # type: ignore[attr-defined]
        read.append((int(outer[2]), values))  # type: ignore[call-overload]
    return read


def test_the_checksum_is_castagnoli_s() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C in every catalogue
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


def test_a_record_begins_with_its_length_and_the_masked_checksum_of_that() -> None:
    length = struct.pack("<Q", 3)
    crc = crc32c(length)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert record(b"abc")[:12] == length + struct.pack("<I", masked)


def test_scalars_come_back(tmp_path: Path) -> None:
    file = EventFile(tmp_path / "run")
    file.add(1, {"loss": 0.5, "accuracy": 0.25})
    file.add(300, {"loss": 0.125})
    file.close()
    assert dict(fields(events(file.path)[0]))[3] == b"brain.Event:2"
    assert steps(file.path) == [(1, {"loss": 0.5, "accuracy": 0.25}), (300, {"loss": 0.125})]


def test_a_training_has_two_runs(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "job")
    curves.add(EpochReport(1, 0.1, 1.0, 0.5, 0.75, 0.625))
    curves.add(EpochReport(2, 0.1, 0.5, 0.75, None, None))
    curves.close()
    (train,), (validation,) = (list((tmp_path / "job" / run).iterdir()) for run in ("train", "validation"))
    assert [step for step, _ in steps(train)] == [1, 2]
    ((step, values),) = steps(validation)
    assert (step, values) == (1, {"loss": 0.75, "accuracy": 0.625})
    assert math.isclose(steps(train)[0][1]["lr"], 0.1, rel_tol=1e-6)


def test_curves_that_cannot_be_written_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("a file where a folder is wanted")
    curves = Curves(tmp_path / "job")
    curves.add(EpochReport(1, 0.1, 1.0, 0.5, None, None))
    curves.close()
