"""The protocol buffers' wire format: fields out of bytes, and bytes out of fields. It knows no message.

A file of ONNX is one such message. Reading and writing it takes no more than this page, so that networks can be
converted, and a head replaced, where neither `onnx` nor `protobuf` is installed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from edged.errors import ModelError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN = 1 << 63

Field = tuple[int, int | memoryview]
"""Number and value: an unsigned integer, or bytes. Fixed-width fields are their bytes."""


def fields(message: memoryview) -> Iterator[Field]:
    """Yield the fields of a message in their order.

    Raises:
        ModelError: It is cut off or damaged.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            length = 4 if kind == _FIXED32 else 8
        else:
            raise ModelError("truncated or damaged ONNX model")
        if number == 0 or length > end - at:
            raise ModelError("truncated or damaged ONNX model")
        yield number, message[at : at + length]
        at += length


def grouped(message: memoryview) -> dict[int, list[int | memoryview]]:
    """Return number → values of the fields of a message.

    Raises:
        ModelError: It is cut off or damaged.
    """
    found: dict[int, list[int | memoryview]] = {}
    for number, value in fields(message):
        found.setdefault(number, []).append(value)
    return found


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2 * _SIGN - 1), at
        shift += 7
    raise ModelError("truncated or damaged ONNX model")


def signed(value: int) -> int:
    """Return the int64 that an unsigned integer stands for."""
    return value - 2 * _SIGN if value >= _SIGN else value


def integers(value: int | memoryview) -> list[int]:
    """Return the int64s of a repeated field's part: one, or many of them packed."""
    if isinstance(value, int):
        return [signed(value)]
    found, at = [], 0
    while at < len(value):
        one, at = _varint(value, at)
        found.append(signed(one))
    return found


def floats(value: int | memoryview) -> list[float]:
    """Return the floats of a repeated field's part: one, or many of them packed."""
    if isinstance(value, int) or len(value) % 4:
        raise ModelError("truncated or damaged ONNX model")
    return [one for (one,) in struct.iter_unpack("<f", value)]


def text(value: int | memoryview) -> str:
    """Return a field's text."""
    return data(value).decode("utf-8", "replace")


def data(value: int | memoryview) -> bytes:
    """Return a field's bytes."""
    return bytes(part(value))


def part(value: int | memoryview) -> memoryview:
    """Return a field that holds bytes or another message."""
    if isinstance(value, int):
        raise ModelError("truncated or damaged ONNX model")
    return value


def integer(value: int | memoryview) -> int:
    """Return a field's int64."""
    if not isinstance(value, int):
        raise ModelError("truncated or damaged ONNX model")
    return signed(value)


def put_integer(number: int, value: int) -> bytes:
    """Write an integer field."""
    return _put_varint(number << 3 | _VARINT) + _put_varint(value % (2 * _SIGN))


def put_float(number: int, value: float) -> bytes:
    """Write a float field."""
    return _put_varint(number << 3 | _FIXED32) + struct.pack("<f", value)


def put_bytes(number: int, value: bytes | str | Iterable[bytes]) -> bytes:
    """Write a field of bytes or text; of several pieces, those of another message."""
    content = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b"".join(value)
    return _put_varint(number << 3 | _BYTES) + _put_varint(len(content)) + content


def put_integers(number: int, values: Iterable[int]) -> bytes:
    """Write a packed field of integers."""
    return put_bytes(number, [_put_varint(value % (2 * _SIGN)) for value in values])


def put_floats(number: int, values: Iterable[float]) -> bytes:
    """Write a packed field of floats."""
    return put_bytes(number, [struct.pack("<f", value) for value in values])


def _put_varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
