"""Running a detector of the SSD kind: where in a frame something is. What it is, its own classes do not say here."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from edged.contract.model_file import is_onnx
from edged.errors import ModelError
from edged.vision.detector_file import ROLES, DetectorFile, Role, read_detector_file
from edged.vision.network import open_interpreter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.types import Box, Image
    from edged.vision.network import Runtime

_DTYPES = (np.uint8, np.int8, np.float32)
_EDGE_TPU = b"edgetpu-custom-op"
_MOST = 10_000
"""A file that announces more detections for one image is none that anybody made."""


class Detection(NamedTuple):
    """Something that was found.

    Attributes:
        score: How sure the detector is, 0..1.
        box: Where it is, inside of the frame.
    """

    score: float
    box: Box


class Detector:
    """A detector, ready to run.

    Args:
        model: Content of a .tflite file.
        runtime: Which interpreter, see `network.Runtime`. ONNX Runtime knows no TFLite_Detection_PostProcess: in its
            place the one that "auto" chooses runs it.
        threads: For one invocation.
        said: What the file says, where that is known; None: it is read, which takes memory and some time.

    Attributes:
        said: The same.
        runtime: Name of the interpreter in use.
        width, height: Of the input, pixels.
        most: So many detections of one image at most.

    Raises:
        ModelError: The file is no such detector, or the runtime refuses it.
    """

    def __init__(
        self, model: bytes, *, runtime: Runtime = "auto", threads: int = 1, said: DetectorFile | None = None
    ) -> None:
        if is_onnx(model):
            raise ModelError("is an .onnx file; a detector is a .tflite file")
        if _EDGE_TPU in model:
            raise ModelError(
                "is compiled for an Edge TPU, which edged does not use; take the file it was compiled from"
            )
        self.said = read_detector_file(model) if said is None else said
        self.runtime, self._interpreter = open_interpreter(model, tflite_runtime(runtime), threads)
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != len(ROLES):
            raise ModelError(f"has {len(inputs)} input(s) and {len(outputs)} output(s); a detector has one and four")
        (image,) = inputs
        shape = [int(size) for size in image["shape"]]
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1:
            raise ModelError(f"its input has shape {shape}; one RGB image, [1, height, width, 3], is needed")
        if image["dtype"] not in _DTYPES:
            raise ModelError(f"its input is {np.dtype(image['dtype'])}; uint8, int8 or float32 is needed")
        _, self.height, self.width, _ = shape
        self._input, self._dtype = int(image["index"]), image["dtype"]
        self._outputs: dict[Role, Any] = dict(zip(self.said.outputs, outputs, strict=True))
        self.most = int(np.prod(self._outputs["scores"]["shape"]))
        if not 1 <= self.most <= _MOST:
            raise ModelError(f"announces {self.most} detections; 1 to {_MOST} are allowed")
        self._mean, self._std = (np.array(values, np.float32) for values in self.said.normalization)
        self.invoke_ms = 0.0
        """Of the last invocation."""

    def detect(self, image: Image, least_score: float) -> list[Detection]:
        """Find what is in a frame.

        Args:
            image: RGB, of any size; all of it is looked at, stretched to the input's shape, as these networks learn it.
            least_score: What is less sure is left out.

        Returns:
            The surest first; boxes are clipped to the frame, and what is smaller than a pixel of it is left out.

        Raises:
            ModelError: The runtime failed, or its outputs are not what a detector gives.
        """
        self._run(self._prepared(image))
        scores, boxes = self._told()
        height, width = image.shape[:2]
        found = []
        for score, corners in zip(scores.tolist(), boxes.tolist(), strict=True):
            if not (score >= least_score and math.isfinite(sum(corners))):
                continue
            top, left, bottom, right = (min(max(corner, 0.0), 1.0) for corner in corners)
            if (right - left) * width >= 1 and (bottom - top) * height >= 1:
                found.append(Detection(score, (left, top, right - left, bottom - top)))
        return sorted(found, key=lambda detection: -detection.score)

    def is_finite(self) -> bool:
        """Whether all that the last invocation told is numbers."""
        scores, boxes = self._told()
        return bool(np.isfinite(scores).all() and np.isfinite(boxes).all())

    def _prepared(self, image: Image) -> NDArray[Any]:
        # Averaging over the covered area keeps aliasing out when shrinking; it does nothing useful when enlarging.
        method = cv2.INTER_AREA if image.shape[1] > self.width else cv2.INTER_LINEAR
        fitted = np.asarray(cv2.resize(image, (self.width, self.height), interpolation=method), np.uint8)
        if self._dtype == np.int8:
            return (fitted ^ 0x80).view(np.int8)  # uint8 − 128
        if self._dtype == np.uint8:
            return fitted
        return (fitted.astype(np.float32) - self._mean) / self._std

    def _run(self, prepared: NDArray[Any]) -> None:
        try:
            self._interpreter.set_tensor(self._input, prepared[np.newaxis])
            begin = time.perf_counter_ns()
            self._interpreter.invoke()
            self.invoke_ms = (time.perf_counter_ns() - begin) / 1e6
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"invocation failed: {' '.join(str(error).split())}") from error

    def _told(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the scores, (n,), and boxes, (n, 4), that count: what lies behind them is left from earlier."""
        scores, boxes, count = (self._values(role) for role in ("scores", "boxes", "count"))
        if count.size != 1 or boxes.size != 4 * scores.size or scores.size > _MOST:
            raise ModelError(f"gives {boxes.size} numbers of boxes, {scores.size} scores and {count.size} counts")
        told = float(count.reshape(-1)[0])
        if not math.isfinite(told):
            raise ModelError("counts its detections with what is no number")
        most = min(max(int(told), 0), scores.size)
        return scores.reshape(-1)[:most], boxes.reshape(-1, 4)[:most]

    def _values(self, role: Role) -> NDArray[np.float32]:
        output = self._outputs[role]
        values = self._interpreter.get_tensor(output["index"])
        scale, zero_point = output["quantization"]
        if np.issubdtype(values.dtype, np.floating) or not scale:
            return np.asarray(values, np.float32)
        return (np.asarray(values, np.float32) - np.float32(zero_point)) * np.float32(scale)


def tflite_runtime(runtime: Runtime) -> Runtime:
    """Return what runs a detector where this runs classifiers, see `Detector`."""
    return "auto" if runtime.partition(":")[0] == "onnx" else runtime
