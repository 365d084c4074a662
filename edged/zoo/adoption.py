"""From an .onnx file that a person brings to one that edged runs: `onnx_adoption`, with what only a run tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edged.errors import ModelError
from edged.vision.graph import parse_graph
from edged.vision.onnx_adoption import Pixels, look_at
from edged.vision.onnx_file import read
from edged.vision.onnx_graph import OnnxGraph
from edged.zoo.bottleneck_range import measure

if TYPE_CHECKING:
    from edged.types import Image


def adopt(
    model: bytes,
    images: Sequence[Image],
    *,
    pixels: Pixels | None = None,
    size: tuple[int, int] | None = None,
    folder: Path | None = None,
) -> bytes:
    """Return the content of an .onnx file that edged runs; the same bytes where it is one already.

    Args:
        model: Content of the file.
        images: By which the range of the bottleneck is measured: RGB, at least one, of any size.
        pixels: How RGB becomes the file's input; None: as its metadata says.
        size: Width and height of the input, where the file leaves them open.
        folder: Where weights may lie in a file of their own.

    Raises:
        ConfigError: The file does not say how RGB becomes its input, or how large that is; ONNX Runtime is not there.
        ModelError: It is no image classifier, or does not run.
    """
    if _is_ready(model) and pixels is None:
        return model
    source = look_at(read(model, folder), pixels, size)
    seen = measure(source.for_measuring(), images)
    if not seen.batched:
        source = source.one_by_one()
        seen = measure(source.for_measuring(), images)
    return OnnxGraph(source.adopted(seen.low, seen.high)).expose_bottleneck()


def _is_ready(model: bytes) -> bool:
    try:
        parse_graph(model)
    except ModelError:
        return False
    return True
