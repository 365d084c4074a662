"""A detector's first invocations, in a child process as those of a classifier: see `examination`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edged.jobs.process import Child
from edged.zoo.examination import EncodedFrame, encoded, in_child

if TYPE_CHECKING:
    from edged.types import Image
    from edged.vision.network import Runtime


@dataclass(frozen=True)
class DetectorRequest:
    """What the child is to open.

    Attributes:
        model: Path of the .tflite file.
        runtime, threads: See `vision.detector.Detector`.
        frames: Images to look at.
        count: So many images in all.
        memory_bytes: What the model may take.
    """

    model: str
    runtime: str
    threads: int
    frames: list[EncodedFrame]
    count: int
    memory_bytes: int


@dataclass(frozen=True)
class ExaminedDetector:
    """What the child has seen.

    Attributes:
        runtime: Name of the interpreter.
        width, height: Of the input, pixels.
        outputs, mean, std: See `vision.detector_file.DetectorFile`.
        most: So many detections of one image at most.
        invoke_ms: Median time of an invocation.
    """

    runtime: str
    width: int
    height: int
    outputs: tuple[Literal["boxes", "classes", "scores", "count"], ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    most: int
    invoke_ms: float


DETECTOR_EXAMINER: Child[DetectorRequest, dict[str, str], ExaminedDetector] = Child(
    module="edged.zoo.detector_examiner",
    name="examination",
    request=DetectorRequest,
    progress=dict,
    outcome=ExaminedDetector,
    niceness=5,
    keeps_errors=True,
)


def examine_detector(
    model: bytes | Path, *, runtime: Runtime = "auto", threads: int = 1, frames: Sequence[Image] = (), count: int = 3
) -> ExaminedDetector:
    """Let a child process open a detector and look with it at a grey image, one of noise, and the given ones.

    Args:
        model: Content of a .tflite file, or its path.
        runtime, threads: See `vision.detector.Detector`.
        frames: RGB images of any size; each is looked at.
        count: So many images at least; where that is more than there are, they come again in turn.

    Raises:
        ModelError: It is no detector, the runtime refuses it, it takes too much memory or time, its answers are not
            finite, or it ends the process that runs it.
    """
    count = max(count, 2 + len(frames))
    return in_child(
        DETECTOR_EXAMINER,
        model,
        lambda path, memory_bytes: DetectorRequest(path, runtime, threads, encoded(frames), count, memory_bytes),
        f"has not looked at {count} images",
    )
