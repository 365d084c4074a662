"""How large the values of a network's bottleneck become, measured by a child process: the first to open the file."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edged import process
from edged.errors import ChildError, ChildTimeoutError, ModelError
from edged.jobs.process import Child, ChildProcess
from edged.memory import available_bytes
from edged.zoo.examination import LEAST_BYTES, SHARE, TIMEOUT_S

if TYPE_CHECKING:
    from edged.types import Image


@dataclass(frozen=True)
class RangeRequest:
    """What the child is to run.

    Attributes:
        model: Path of an .onnx file with the bottleneck as its second output, real numbers; the input is RGB bytes.
        images: (height, width, base64 of RGB bytes).
        memory_bytes: What the model may take.
    """

    model: str
    images: list[tuple[int, int, str]]
    memory_bytes: int


@dataclass(frozen=True)
class Range:
    """What the child has seen.

    Attributes:
        low, high: Least and greatest value.
        batched: Whether two images at once give what each gives alone.
    """

    low: float
    high: float
    batched: bool


RANGER: Child[RangeRequest, dict[str, str], Range] = Child(
    module="edged.zoo.ranger",
    name="measurement of the bottleneck",
    request=RangeRequest,
    progress=dict,
    outcome=Range,
    niceness=5,
    keeps_errors=True,
)


def measure(model: bytes, images: Sequence[Image]) -> Range:
    """Let a child process run a network on images.

    Args:
        model: Content of an .onnx file, see `RangeRequest`.
        images: RGB, at least one, of any size.

    Raises:
        NotInstalledError: ONNX Runtime is not there.
        ModelError: The runtime refuses the file, it takes too much memory or time, or its values are not finite.
    """
    memory_bytes = max(LEAST_BYTES, round(available_bytes() * SHARE))
    pixels = [(len(image), image.shape[1], base64.b64encode(image.tobytes()).decode()) for image in images]
    try:
        with process.file_in_memory("model") as file:
            file.write(model)
            file.flush()
            request = RangeRequest(f"/proc/self/fd/{file.fileno()}", pixels, memory_bytes)
            with ChildProcess(RANGER, request, timeout_s=TIMEOUT_S, descriptors=[file.fileno()]) as child:
                return child.wait()
    except OSError as error:
        raise ModelError(f"cannot be tried: {error.strerror or error}") from error
    except ChildTimeoutError as error:
        raise ModelError(f"has not classified {len(images)} images after {TIMEOUT_S:g} s") from error
    except ChildError as error:
        if error.out_of_memory:
            raise ModelError(f"takes more than the {memory_bytes / 1e6:.0f} MB of memory that it may have") from error
        raise ModelError(f"ends the process that runs it: {error}") from error
