"""A model's file: which of the two kinds it is, by its first bytes, and what it is called in a bundle's folder."""

from __future__ import annotations

from pathlib import Path

MODEL, ONNX_MODEL = "model.tflite", "model.onnx"


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
