"""What a detector's .tflite file says of itself: which output is which, and how pixels become its input.

A detector of the SSD kind has four outputs: boxes, classes, scores and their count. TFLite_Detection_PostProcess makes
them in this order, but a file may list them in any other, as those do that TensorFlow 2 exports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from edged.errors import ModelError
from edged.vision.flatbuffer import damage_as_model_error, unpack

Role = Literal["boxes", "classes", "scores", "count"]
ROLES: tuple[Role, ...] = ("boxes", "classes", "scores", "count")
POSTPROCESS = b"TFLite_Detection_PostProcess"
"""The operator that makes detections of an SSD's anchors, class predictions and box encodings."""
_METADATA = b"TFLITE_METADATA"
_MOST_NUMBERS = 4
"""Of a list of one or three, so many are read: a damaged one may be said to have any number."""
_NORMALIZATION_OPTIONS = 1
"""Place in the union ProcessUnitOptions of TensorFlow Lite's metadata_schema.fbs."""
_WORDS: dict[str, tuple[str, ...]] = {
    "classes": ("class", "categor", "label"),
    "scores": ("score", "confidence", "probab"),
}
"""What stands in the names of these two outputs, whose shapes are the same."""


class Normalization(NamedTuple):
    """How a pixel 0..255 becomes a real number: minus `mean`, over `std`; one value, or one for each of R, G and B."""

    mean: tuple[float, ...] = (127.5,)
    std: tuple[float, ...] = (127.5,)


class DetectorFile(NamedTuple):
    """What is read from the file.

    Attributes:
        outputs: What each of its outputs is, in the file's order.
        normalization: Of an input of real numbers: as the file's metadata says, and else −1 to 1.
    """

    outputs: tuple[Role, ...]
    normalization: Normalization


def read_detector_file(model: bytes) -> DetectorFile:
    """Read it.

    Raises:
        ModelError: Truncated or damaged, not four outputs, or it cannot be told which is which.
    """
    unpacked = unpack(model)
    with damage_as_model_error():
        if len(unpacked.subgraphs or []) < 1:
            raise ModelError("has no subgraph")
        graph = unpacked.subgraphs[0]
        outputs = [int(index) for index in _listed(graph.outputs)]
        if len(outputs) != len(ROLES):
            raise ModelError(f"has {len(outputs)} output(s); a detector has four: {', '.join(ROLES)}")
        roles = _made_by_postprocess(unpacked, graph, outputs) or _named(unpacked, graph, outputs)
        return DetectorFile(roles, _normalization(unpacked) or Normalization())


def _made_by_postprocess(model: Any, graph: Any, outputs: Sequence[int]) -> tuple[Role, ...] | None:
    """Return what the outputs are where the operator makes them: its own order says so, whatever they are called."""
    for operator in graph.operators or ():
        if model.operatorCodes[operator.opcodeIndex].customCode == POSTPROCESS:
            made = [int(index) for index in operator.outputs]
            if sorted(made) == sorted(outputs):
                return tuple(ROLES[made.index(index)] for index in outputs)
    return None


def _named(model: Any, graph: Any, outputs: Sequence[int]) -> tuple[Role, ...]:
    """Return what the outputs are by their shapes and names.

    Raises:
        ModelError: They do not tell.
    """
    shapes = [[int(size) for size in _listed(graph.tensors[index].shape)] for index in outputs]
    boxes = [at for at, shape in enumerate(shapes) if len(shape) == 3 and shape[0] == 1 and shape[2] == 4]
    counts = [at for at, shape in enumerate(shapes) if shape in ([], [1])]
    left = [at for at, shape in enumerate(shapes) if len(shape) == 2 and shape[0] == 1]
    if len(boxes) == len(counts) == 1 and len(left) == 2:
        names = [_names(model, graph, index) for index in outputs]
        scores, classes = (
            [at for at in left if _has(names[at], _WORDS[role]) and not _has(names[at], _WORDS[other])]
            for role, other in (("scores", "classes"), ("classes", "scores"))
        )
        # One that is named tells the other one, too.
        score = scores[0] if len(scores) == 1 else next((at for at in left if classes == [sum(left) - at]), None)
        if score is not None:
            places: dict[int, Role] = {boxes[0]: "boxes", counts[0]: "count", score: "scores"}
            return tuple(places.get(at, "classes") for at in range(len(outputs)))
    shown = ", ".join(
        f"{(graph.tensors[index].name or b'?').decode(errors='replace')} {shape}"
        for index, shape in zip(outputs, shapes, strict=True)
    )
    raise ModelError(
        f"it cannot be told which of its outputs are boxes, classes, scores and their count: {shown}; "
        f"{POSTPROCESS.decode()} must make them, or their shapes and names must say it"
    )


def _has(names: Sequence[str], words: Sequence[str]) -> bool:
    return any(word in name for name in names for word in words)


def _listed(values: Any) -> list[Any]:
    """Return the entries of a vector of the file; a field that is not there is None."""
    return [] if values is None else list(values)


def _names(model: Any, graph: Any, index: int) -> list[str]:
    """Return what a tensor is called: by itself, and by a signature of the model."""
    names = [graph.tensors[index].name]
    for signature in model.signatureDefs or ():
        names += [output.name for output in signature.outputs or () if int(output.tensorIndex) == index]
    return [name.decode(errors="replace").lower() for name in names if name]


def _normalization(model: Any) -> Normalization | None:
    """Return what the first NormalizationOptions of the first input in the file's metadata say; None: nothing."""
    for entry in model.metadata or ():
        if entry.name == _METADATA:
            return _read_metadata(bytes(bytearray(model.buffers[entry.buffer].data)))
    return None


def _read_metadata(content: bytes) -> Normalization | None:
    """Read TFLite's model metadata, a FlatBuffer of another schema; these are the places of its fields."""
    from flatbuffers import encode, number_types
    from flatbuffers.table import Table

    def tables(table: Table, field: int) -> list[Table]:
        offset = table.Offset(4 + 2 * field)
        if not offset:
            return []
        start = table.Vector(offset)
        places = [start + 4 * at for at in range(min(table.VectorLen(offset), len(content) // 4))]
        return [Table(content, table.Indirect(place)) for place in places]

    def floats(table: Table, field: int) -> tuple[float, ...]:
        offset = table.Offset(4 + 2 * field)
        if not offset:
            return ()
        start, count = table.Vector(offset), min(table.VectorLen(offset), _MOST_NUMBERS)
        return tuple(float(table.Get(number_types.Float32Flags, start + 4 * at)) for at in range(count))

    model = Table(content, encode.Get(number_types.UOffsetTFlags.packer_type, content, 0))
    for subgraph in tables(model, 3)[:1]:  # ModelMetadata.subgraph_metadata
        for tensor in tables(subgraph, 2)[:1]:  # SubGraphMetadata.input_tensor_metadata
            for unit in tables(tensor, 4):  # TensorMetadata.process_units
                kind, options = unit.Offset(4), unit.Offset(6)  # ProcessUnit.options_type, .options
                if not (kind and options):
                    continue
                if unit.Get(number_types.Uint8Flags, unit.Pos + kind) == _NORMALIZATION_OPTIONS:
                    chosen = Table(content, 0)
                    unit.Union(chosen, options)
                    return _checked(Normalization(floats(chosen, 0), floats(chosen, 1)))
    return None


def _checked(said: Normalization) -> Normalization:
    sound = all(len(values) in (1, 3) and all(map(math.isfinite, values)) for values in said)
    if not sound or not all(said.std):
        raise ModelError(f"its metadata says mean {list(said.mean)} and std {list(said.std)}; one or three are needed")
    return said
