"""From an .onnx file that a person brings to one that edged runs: `onnx_adoption`, with what only a run tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edged.codec import read_image
from edged.errors import EdgedError, ModelError, NotInstalledError
from edged.resources import shipped_photos
from edged.vision.graph import parse_graph
from edged.vision.onnx_adoption import Pixels, look_at
from edged.vision.onnx_file import read
from edged.vision.onnx_graph import OnnxGraph
from edged.zoo.bottleneck_range import Range, measure

if TYPE_CHECKING:
    from edged.types import Image

_MOST_PHOTOS = 64


def adopt(
    model: bytes,
    images: Sequence[Image],
    *,
    pixels: Pixels | None = None,
    size: tuple[int, int] | None = None,
    folder: Path | None = None,
    measure: Callable[[bytes, Sequence[Image]], Range] = measure,
) -> bytes:
    """Return the content of an .onnx file that edged runs; the same bytes where it is one already.

    Args:
        model: Content of the file.
        images: By which the range of the bottleneck is measured: RGB, at least one, of any size.
        pixels: How RGB becomes the file's input; None: as its metadata says.
        size: Width and height of the input, where the file leaves them open.
        folder: Where weights may lie in a file of their own; a file: that one.
        measure: Runs the network; in this process, if it is a child process already.

    Raises:
        ConfigError: The file does not say how RGB becomes its input, or how large that is; ONNX Runtime is not there.
        ModelError: It is no image classifier, or does not run.
    """
    if is_ready(model) and pixels is None:
        return model
    file = read(model, folder)
    source = look_at(file, pixels, size)
    try:
        seen = measure(source.for_measuring(), images)
    except NotInstalledError:
        raise
    except ModelError:
        if file.inputs[0].shape[0] != 1:
            raise
        seen = None  # windows in it, say, whose number is that of one image: with another batch they do not fit
    if seen is None or not seen.batched:
        source = look_at(file, pixels, size, one_by_one=True)
        seen = measure(source.for_measuring(), images)
    return OnnxGraph(source.adopted(seen.low, seen.high)).expose_bottleneck()


def is_ready(model: bytes) -> bool:
    """Say whether edged runs a file as it is."""
    try:
        parse_graph(model)
    except ModelError:
        return False
    return True


def read_photos(folder: Path | None = None) -> list[Image]:
    """Return photos by which a range can be measured: those that can be read in a folder; None: those of edged."""
    found: list[Image] = []
    folder = folder or shipped_photos()
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        if len(found) == _MOST_PHOTOS:
            break
        try:
            found.append(read_image(path))
        except (EdgedError, OSError):
            continue  # a licence beside the photos, say
    return found
