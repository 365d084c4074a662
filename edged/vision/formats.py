"""Which kind of file a model is, by its first bytes: so what reads .onnx files is imported where there is one."""

from __future__ import annotations


def is_onnx(data: bytes) -> bool:
    """Whether this may be an .onnx file: it begins with the field of its version, as every writer's does."""
    return data[:1] == b"\x08" and data[4:8] != b"TFL3"
