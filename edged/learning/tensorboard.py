"""Training curves as TensorBoard event files, written without TensorFlow.

`Curves` writes those of one training, `EventFile` any scalars.

An event file is a TFRecord file (tensorflow/core/lib/io/record_writer.h) of `Event` messages
(tensorflow/core/util/event.proto) in the protocol buffers' wire format. Scalars need seven fields of it.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edged.learning.softmax_regression import EpochReport

log = logging.getLogger(__name__)

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
        folder: The folder of one run; it is made where it is missing.

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


class Curves:
    """Loss and accuracy per epoch, of training and validation; a disk that refuses them does not end the training.

    Args:
        folder: The folder of this training; two runs lie below it, "train" and "validation", so that TensorBoard draws
            them into one diagram.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, EventFile] = {}
        self._folder = folder
        self._failed = False

    def add(self, epoch: EpochReport) -> None:
        """Write one epoch."""
        self._write("train", epoch.epoch, {"loss": epoch.loss, "accuracy": epoch.accuracy, "lr": epoch.lr})
        if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
            values = {"loss": epoch.validation_loss, "accuracy": epoch.validation_accuracy}
            self._write("validation", epoch.epoch, values)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _write(self, run: str, step: int, values: dict[str, float]) -> None:
        if self._failed:
            return
        try:
            if run not in self._files:
                self._files[run] = EventFile(self._folder / run)
            self._files[run].add(step, values)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if not self._failed:
            log.warning("%s: no curves are written: %s", self._folder, error.strerror)
        self._failed = True
