"""A model's file: which of the two kinds it is, by its first bytes, and what it is called in a bundle's folder."""

from __future__ import annotations

import re
from pathlib import Path

MODEL, ONNX_MODEL = "model.tflite", "model.onnx"
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])", re.DOTALL)
"""How an .onnx file begins to say that a tensor lies in another file; the byte is the length of that file's name."""


def is_tflite(data: bytes) -> bool:
    """Whether this begins as a .tflite file."""
    return data[4:8] == b"TFL3"


def is_onnx(data: bytes) -> bool:
    """Whether this may be an .onnx file: it begins with the field of its version, as every writer's does."""
    return data[:1] == b"\x08" and not is_tflite(data)


def file_name(model: bytes) -> str:
    """Return what the file of a network is called, by its content."""
    return ONNX_MODEL if is_onnx(model) else MODEL


def file_in(folder: Path) -> Path:
    """Return where the network of a bundle's folder lies, or would lie."""
    onnx = folder / ONNX_MODEL
    return onnx if onnx.is_file() else folder / MODEL


def weight_files(model: bytes) -> set[str]:
    """Return the names of the files beside an .onnx file in which its weights lie, as its exporter may have put them.

    They are found without a reader of such files, which a light edgectl has not: a text of the same bytes among the
    weights would be one more name, of a file that is not there.
    """
    found = {model[match.end() : match.end() + match[1][0]] for match in _LOCATION.finditer(model)}
    return {name.decode("utf-8", "replace") for name in found}
