"""The child process of a measurement: `python -m edged.zoo.ranger`."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged import process
from edged.errors import ModelError
from edged.jobs.process import serve
from edged.zoo.bottleneck_range import RANGER, Range, RangeRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edged.types import Image

_LONGEST = 200
"""Characters of a text that quotes what the library says."""


def measure(request: RangeRequest, _: Callable[[dict[str, str]], None]) -> Range:
    """Do as `measured`, under a limit of memory; see `bottleneck_range.measure`."""
    process.keep_frame_memory()
    import numpy as np  # after the process has stepped back

    from edged.vision import onnx_runtime

    onnx_runtime.load()
    model = Path(request.model).read_bytes()
    process.limit_memory(request.memory_bytes)
    images = [
        np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(rows, columns, 3)
        for rows, columns, pixels in request.images
    ]
    return measured(model, images)


def measured(model: bytes, photos: Sequence[Image]) -> Range:
    """Run the network on each image alone, and on the first and the last at once, in this process.

    Args:
        model: Content of an .onnx file, see `bottleneck_range.RangeRequest`.
        photos: RGB, at least one, of any size.

    Raises:
        ModelError: The runtime refuses the file, or its values are not finite.
    """
    import numpy as np

    from edged.vision import onnx_runtime
    from edged.vision.preprocess import fit

    try:
        interpreter = onnx_runtime.Interpreter(model, 1)
        height, width = map(int, interpreter.get_input_details()[0]["shape"][1:3])
        images = [fit(photo, width, height)[np.newaxis] for photo in photos]

        def run(batch: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
            interpreter.set_tensor(0, batch)
            interpreter.invoke()
            return interpreter.get_tensor(0), interpreter.get_tensor(1)

        alone = [run(image) for image in images]
    except RuntimeError as error:
        raise ModelError(f"onnx refuses the model: {' '.join(str(error).split())}"[:_LONGEST]) from error
    values = np.concatenate([bottleneck.reshape(-1) for _, bottleneck in alone])
    if not np.isfinite(values).all():
        raise ModelError("answers an image with values that are not finite")
    try:
        together = run(np.concatenate([images[0], images[-1]]))
        batched = all(
            both.shape[0] == 2 and _alike(both[0], first[0]) and _alike(both[1], last[0])
            for both, first, last in zip(together, alone[0], alone[-1], strict=True)
        )
    except (RuntimeError, ValueError, IndexError):
        batched = False
    return Range(float(values.min()), float(values.max()), batched)


def _alike(one: object, other: object) -> bool:
    import numpy as np

    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=1e-3, atol=1e-3))


if __name__ == "__main__":
    serve(RANGER, measure)
