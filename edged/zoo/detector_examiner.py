"""The child process of a detector's examination: `python -m edged.zoo.detector_examiner`."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from edged import process
from edged.errors import ModelError
from edged.jobs.process import serve
from edged.zoo.detector_examination import DETECTOR_EXAMINER, DetectorRequest, ExaminedDetector
from edged.zoo.examination import FRAME_S, OPEN_S
from edged.zoo.examiner import decoded, reading

if TYPE_CHECKING:
    from edged.types import Image
    from edged.vision.detector import Detector


def examine(request: DetectorRequest, _: Callable[[dict[str, str]], None]) -> ExaminedDetector:
    """Open a detector and look with it; see `detector_examination.examine_detector` for what is raised."""
    process.keep_frame_memory()  # one heap: a thread's own reserves address space, which is what is limited
    import numpy as np

    from edged.vision.detector import Detector, tflite_runtime
    from edged.vision.network import import_runtime

    with reading():
        model = Path(request.model).read_bytes()
        runtime = import_runtime(tflite_runtime(request.runtime))
        process.limit_memory(request.memory_bytes)
        begin = time.process_time()
        detector = Detector(model, runtime=runtime, threads=request.threads)
        if (seconds := time.process_time() - begin) > OPEN_S:
            raise ModelError(f"takes {seconds:.1f} s of a processor core to open; at most {OPEN_S:g} s are allowed")
        noise = np.random.default_rng(0).integers(0, 256, (detector.height, detector.width, 3), np.uint8)
        grey = np.full((detector.height, detector.width, 3), 127, np.uint8)
        images = [grey, noise, *map(decoded, request.frames)]
        times_ms = [_look(detector, image) for image in islice(cycle(images), request.count)]
    return ExaminedDetector(
        runtime=detector.runtime,
        width=detector.width,
        height=detector.height,
        outputs=detector.said.outputs,
        mean=detector.said.normalization.mean,
        std=detector.said.normalization.std,
        most=detector.most,
        invoke_ms=float(np.median(times_ms)),
    )


def _look(detector: Detector, image: Image) -> float:
    """Look at an image; return the time of the invocation, milliseconds."""
    begin = time.monotonic()
    detector.detect(image, 0.0)
    if (seconds := time.monotonic() - begin) > FRAME_S:
        raise ModelError(f"takes {seconds:.1f} s for one image; at most {FRAME_S:g} s are allowed")
    if not detector.is_finite():
        raise ModelError("answers an image with values that are not finite")
    return detector.invoke_ms


if __name__ == "__main__":
    serve(DETECTOR_EXAMINER, examine)
