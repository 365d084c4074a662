"""The child process of an examination: `python -m edged.zoo.examiner`."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from edged import process
from edged.errors import ModelError
from edged.jobs.process import serve
from edged.zoo.examination import EXAMINER, FRAME_S, OPEN_S, EncodedFrame, ExaminationRequest, Examined

if TYPE_CHECKING:
    from edged.types import Image
    from edged.vision.network import Network

_LONGEST = 200
"""Characters of a text that quotes what a library says."""
_DAMAGE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error)
"""What a reader of flatbuffers is led to by a file whose numbers are wrong."""


def examine(request: ExaminationRequest, _: Callable[[dict[str, str]], None]) -> Examined:
    """Open a model and classify images with it; see `examination.examine` for what is raised."""
    process.keep_frame_memory()  # one heap: a thread's own reserves address space, which is what is limited
    import numpy as np

    from edged.vision.network import import_runtime

    with reading():
        model = Path(request.model).read_bytes()
        runtime = import_runtime(request.runtime, model)
        process.limit_memory(request.memory_bytes)
        network, outputs = _open(model, request, runtime)
        noise = np.random.default_rng(0).integers(0, 256, (network.height, network.width, 3), np.uint8)
        grey = np.full((network.height, network.width, 3), 127, np.uint8)
        images = [grey, noise, *map(decoded, request.frames)]
        times_ms = [_classify(network, image) for image in islice(cycle(images), request.count)]
    return Examined(
        runtime=network.runtime,
        width=network.width,
        height=network.height,
        classes=network.classes,
        features=network.features,
        outputs=outputs,
        invoke_ms=float(np.median(times_ms)),
    )


@contextmanager
def reading() -> Iterator[None]:
    """Tell what a file that is cut off or damaged leads its readers to.

    Raises:
        ModelError: In place of their exceptions.
    """
    try:
        yield
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise ModelError(f"is damaged ({type(error).__name__}: {error})"[:_LONGEST]) from error


def _open(model: bytes, request: ExaminationRequest, runtime: str) -> tuple[Network, Any]:
    """Return the network, and what its outputs are."""
    from edged.vision.graph import parse_graph
    from edged.vision.network import Network

    begin = time.process_time()
    outputs: Any = request.outputs
    shown = outputs
    if outputs is None:
        graph = parse_graph(model)
        outputs, shown = graph.outputs, ("scores" if graph.head.softmax else "logits", "bottleneck")
        model = graph.expose_bottleneck()
        del graph  # 14 MB of small objects
    network = Network(model, runtime=runtime, threads=request.threads, crop=request.crop, outputs=cast("Any", shown))
    if (seconds := time.process_time() - begin) > OPEN_S:
        raise ModelError(f"takes {seconds:.1f} s of a processor core to open; at most {OPEN_S:g} s are allowed")
    return network, outputs


def decoded(frame: EncodedFrame) -> Image:
    """Return an RGB image of a request."""
    import numpy as np

    height, width, pixels = frame
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 3)


def _classify(network: Network, image: Image) -> float:
    """Classify an image; return the time of the invocation, milliseconds."""
    import numpy as np

    begin = time.monotonic()
    inference = network.infer(network.prepare(image))
    if (seconds := time.monotonic() - begin) > FRAME_S:
        raise ModelError(f"takes {seconds:.1f} s for one image; at most {FRAME_S:g} s are allowed")
    if not (np.isfinite(inference.scores).all() and np.isfinite(inference.embedding).all()):
        raise ModelError("answers an image with values that are not finite")
    return inference.invoke_ms


if __name__ == "__main__":
    serve(EXAMINER, examine)
