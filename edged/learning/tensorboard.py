"""Training curves and the graph of the model as TensorBoard event files, written without TensorFlow.

`Curves` writes those of one training, `EventFile` any scalars and one graph.

An event file is a TFRecord file (tensorflow/core/lib/io/record_writer.h) of `Event` messages
(tensorflow/core/util/event.proto) in the protocol buffers' wire format. Scalars need seven fields of it. A graph is a
`GraphDef` (tensorflow/core/framework/graph.proto, node_def.proto, attr_value.proto) within an event.
"""

from __future__ import annotations

import logging
import os
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edged.vision.operators import Operator, operators

if TYPE_CHECKING:
    from edged.learning.calibration import Bin
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


_DTYPES = {"float32": 1, "uint8": 4, "int16": 5, "int8": 6, "int64": 9, "bool": 10}
"""Numbers of tensorflow/core/framework/types.proto; "int32" and what is not here go as 3."""
_PRODUCER = 1882
"""Version of the format that the writer claims, `GraphDef.versions`: TensorFlow 2.18's."""


def graph(model: bytes, wall_time: float) -> bytes:
    """Return an `Event` with the graph of a .tflite classifier, its backbone and its head in a name scope each.

    Args:
        model: Content of the file.
        wall_time: Seconds since the epoch.

    Raises:
        ModelError: As `edged.vision.graph.Graph`.
    """
    nodes = b"".join(_bytes(1, _node(operator)) for operator in operators(model))
    versions = _bytes(4, _tag(1, 0) + _varint(_PRODUCER))
    return _tag(1, 1) + struct.pack("<d", wall_time) + _bytes(4, nodes + versions)


def _node(operator: Operator) -> bytes:
    """A `NodeDef`; a reader shows `_output_shapes` beside the edges and the other attributes with the node."""
    node = _bytes(1, operator.name.encode())
    node += _bytes(2, {"INPUT": "Placeholder"}.get(operator.kind, operator.kind).encode())
    for name, place in operator.inputs:
        node += _bytes(3, (f"{name}:{place}" if place else name).encode())
    shapes = b"".join(_bytes(7, _shape(output.shape)) for output in operator.outputs)
    node += _attribute("_output_shapes", _bytes(1, shapes))
    node += _attribute("dtype", _tag(6, 0) + _varint(_DTYPES.get(operator.outputs[0].dtype, 3)))
    if operator.constants:
        constants = ", ".join("x".join(map(str, shape)) or "scalar" for shape in operator.constants)
        node += _attribute("constants", _bytes(2, constants.encode()))
    return node


def _attribute(name: str, value: bytes) -> bytes:
    return _bytes(5, _bytes(1, name.encode()) + _bytes(2, value))


def _shape(sizes: tuple[int, ...]) -> bytes:
    return b"".join(_bytes(2, _tag(1, 0) + _varint(size % 2**64)) for size in sizes)  # −1 as two's complement


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
    """Writes scalars and a graph to `<folder>/events.out.tfevents.…`.

    It is flushed after each step, so that TensorBoard can follow.

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

    def add_graph(self, model: bytes) -> None:
        """Write the graph of a .tflite classifier, see `graph`; a reader shows the last one."""
        self._write(graph(model, time.time()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: bytes) -> None:
        self._file.write(record(event))
        self._file.flush()


class Curves:
    """Loss and accuracy per epoch, of training and validation; graph and reliability of the model that came out.

    A disk that refuses them does not end the training.

    Args:
        folder: The folder of this training; runs lie below it, "train" and "validation", "scores" and "exact scores",
            so that TensorBoard draws each two into one diagram.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, EventFile] = {}
        self._folder = folder
        self._failed = False

    def add(self, epoch: EpochReport) -> None:
        """Write one epoch."""
        values = {"loss": epoch.loss, "accuracy": epoch.accuracy, "lr": epoch.lr}
        self._write("train", lambda file: file.add(epoch.epoch, values))
        if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
            held_out = {"loss": epoch.validation_loss, "accuracy": epoch.validation_accuracy}
            self._write("validation", lambda file: file.add(epoch.epoch, held_out))

    def add_graph(self, model: bytes) -> None:
        """Write the graph of the new model, the content of its .tflite file, into the run "train"."""
        self._write("train", lambda file: file.add_graph(model))

    def add_reliability(self, bins: Sequence[Bin]) -> None:
        """Write the reliability diagram: accuracy against score, in percent; of exact scores it is the diagonal."""

        def write(run: str, step: int, accuracy: float) -> None:
            self._write(run, lambda file: file.add(step, {"accuracy by score": accuracy}))

        for one in bins:
            write("scores", round(100 * one.score), one.accuracy)
            write("exact scores", round(100 * one.score), one.score)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _write(self, run: str, add: Callable[[EventFile], None]) -> None:
        if self._failed:
            return
        try:
            if run not in self._files:
                self._files[run] = EventFile(self._folder / run)
            add(self._files[run])
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if not self._failed:
            log.warning("%s: no curves are written: %s", self._folder, error.strerror)
        self._failed = True
