"""Training curves as TensorBoard event files, written without TensorFlow.

An event file is a TFRecord file (tensorflow/core/lib/io/record_writer.h) of `Event` messages
(tensorflow/core/util/event.proto) in the protocol buffers' wire format. Scalars need seven fields of it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, reflected
_MASK_DELTA = 0xA282EAD8


def _make_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _make_table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data` (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """Frame `data` as one TFRecord: length, its checksum, data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    """The checksum as TFRecord stores it: rotated and shifted, because data may itself contain checksums."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def scalars(step: int, values: Mapping[str, float], wall_time: float) -> bytes:
    """Return an `Event` with one scalar summary per tag.

    Args:
        step: The x axis.
        values: Tag → value.
        wall_time: Seconds since the epoch.
    """
    summary = b"".join(
        _bytes(1, _bytes(1, tag.encode()) + _tag(2, 5) + struct.pack("<f", value)) for tag, value in values.items()
    )
    return _tag(1, 1) + struct.pack("<d", wall_time) + _tag(2, 0) + _varint(step) + _bytes(5, summary)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _bytes(field: int, data: bytes) -> bytes:
    return _tag(field, 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


class EventFile:
    """Writes scalars to `<folder>/events.out.tfevents.…`; flushed after each step, so that TensorBoard can follow.

    Args:
        folder: One run; made.

    Raises:
        OSError: It cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        now = time.time()
        self.path = folder / f"events.out.tfevents.{int(now)}.edged.{os.getpid()}"
        self._file = self.path.open("wb")
        self._write(_tag(1, 1) + struct.pack("<d", now) + _bytes(3, b"brain.Event:2"))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write one step's values by tag."""
        self._write(scalars(step, values, time.time()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        self._file.write(record(event))
        self._file.flush()
