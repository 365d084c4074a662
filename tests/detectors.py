"""Small detectors of the SSD kind, made where a test runs: they find what is brighter than what lies around it.

A convolution compares the brightness inside of each anchor with that of a ring around it; the operator that stands at
the end of real SSD files, TFLite_Detection_PostProcess, makes boxes, classes, scores and their count of that. Quantized
as TensorFlow 1 exports them, or of real numbers and with the outputs in another order, as TensorFlow 2 does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import flatbuffers
import numpy as np
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from edged.codec import read_image
from edged.vision.flatbuffer import pack, schema, unpack
from tests.crafted import CRAFTED

ROLES = ("boxes", "classes", "scores", "count")
TF1 = tuple(
    (role, f"TFLite_Detection_PostProcess{suffix}") for role, suffix in zip(ROLES, ("", ":1", ":2", ":3"), strict=True)
)
TF2 = tuple(
    (role, f"StatefulPartitionedCall:{at}")
    for role, at in zip(("scores", "boxes", "count", "classes"), "1302", strict=True)
)
SIZE = 96
MOST = 10
_RING, _STRIDE = 6, 4
_SIZE_SCALE = 5.0
_STEEPNESS, _LEAST = 30.0, 0.15
"""Of the score: how it grows with the contrast, a share of full scale, and where it is a half."""


@dataclass(frozen=True)
class Kind:
    """What a detector is like.

    Attributes:
        thing: Width and height of what it finds, shares of the frame.
        quantized: uint8 all through, or real numbers.
        outputs: (role, name) of each, in the file's order.
        direct: Whether the outputs are those of the operator, or what a RESHAPE makes of them.
        normalization: Mean and std that the file's metadata tell.
        finite: False: what its boxes are made of is not a number; only where it is not quantized.
        signed: int8 images in, which become real numbers at once; only where it is not quantized.
        coarse: Scores are uint8; only where the outputs are not the operator's.
        enlarged: How many times larger its boxes are than what it finds.
        options: Other ones of the operator than usual.
    """

    thing: tuple[float, float] = (0.2, 0.36)
    quantized: bool = True
    outputs: tuple[tuple[str, str], ...] = TF1
    direct: bool = True
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    finite: bool = True
    signed: bool = False
    coarse: bool = False
    enlarged: float = 1.0
    options: tuple[tuple[str, Any], ...] = ()


def make(kind: Kind | None = None) -> bytes:
    """Return the content of a .tflite file; None: quantized, as TensorFlow 1 exports one."""
    return _Maker(kind or Kind()).make()


class _Maker:
    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._model, self._graph = schema().ModelT(), schema().SubGraphT()
        self._model.version, self._model.description = 3, b"made"
        self._model.subgraphs, self._model.buffers, self._model.operatorCodes = [self._graph], [], []
        self._graph.tensors, self._graph.operators = [], []
        self._buffer(b"")

    def make(self) -> bytes:
        width, height = (round(SIZE * share) for share in self._kind.thing)
        kernel = (height + 2 * _RING, width + 2 * _RING)
        rows, columns = ((SIZE - side) // _STRIDE + 1 for side in kernel)
        image = given = self._activation("normalized_input_image_tensor", [1, SIZE, SIZE, 3], 1 / 128, 128)
        if self._kind.signed:
            given = self._real("signed", [1, SIZE, SIZE, 3])
            self._graph.tensors[given].type = schema().TensorType.INT8
            self._graph.tensors[given].quantization = _quantization(1 / 128, 0)
            self._operator("DEQUANTIZE", [given], [image])
        weights = np.zeros((2, *kernel, 3), np.float32)
        weights[1] = -1 / (kernel[0] * kernel[1] - height * width)
        weights[1, _RING:-_RING, _RING:-_RING] = 1 / (height * width)
        weights *= _STEEPNESS / 3 / 2  # the input spans 2 units, in three channels
        bias = np.array([-10, -_STEEPNESS * _LEAST], np.float32)
        logits = self._convolution("classes", image, weights, bias, [1, rows, columns, 2], 20 / 255, 128)
        scores = self._activation("convert_scores", [1, rows, columns, 2], 1 / 256, 0)
        self._operator("LOGISTIC", [logits], [scores])
        larger = _SIZE_SCALE * math.log(self._kind.enlarged)
        encoded = np.array([0, 0, larger, larger] if self._kind.finite else [np.nan] * 4, np.float32)
        encodings = self._convolution(
            "boxes",
            image,
            np.zeros((4, *kernel, 3), np.float32),
            encoded,
            [1, rows, columns, 4],
            0.1,
            128,
        )
        flat = [
            self._reshaped(encodings, "Squeeze", [1, rows * columns, 4], 0.1, 128),
            self._reshaped(scores, "concat", [1, rows * columns, 2], 1 / 256, 0),
        ]
        tops, lefts = np.mgrid[:rows, :columns] * _STRIDE + _RING
        centres = (tops + height / 2, lefts + width / 2)
        anchors = np.stack([*centres, np.full_like(centres[0], height), np.full_like(centres[0], width)], axis=-1)
        made = self._postprocess([*flat, self._anchors(anchors.reshape(-1, 4) / SIZE)])
        self._graph.inputs = [given]
        self._graph.outputs = [made[role] for role, _ in self._kind.outputs]
        if self._kind.normalization is not None:
            self._describe(*self._kind.normalization)
        return pack(self._model)

    def _postprocess(self, inputs: list[int]) -> dict[str, int]:
        shapes = {"boxes": [1, MOST, 4], "classes": [1, MOST], "scores": [1, MOST], "count": [1]}
        names = dict(self._kind.outputs)
        made = {role: self._real(names[role] if self._kind.direct else f"made {role}", shapes[role]) for role in ROLES}
        options = {
            "max_detections": MOST, "max_classes_per_detection": 1, "detections_per_class": 0, "num_classes": 1,
            "use_regular_nms": False, "nms_score_threshold": 1e-8, "nms_iou_threshold": 0.3,
            "y_scale": 10.0, "x_scale": 10.0, "h_scale": _SIZE_SCALE, "w_scale": _SIZE_SCALE,
            "_output_quantized": True, "_support_output_type_float_in_quantized_op": True,
            **dict(self._kind.options),
        }  # fmt: skip
        operator = self._operator("TFLite_Detection_PostProcess", inputs, [made[role] for role in ROLES])
        operator.customOptions = np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8)
        if self._kind.direct:
            return made
        passed = {role: self._real(names[role], shapes[role]) for role in ROLES}
        for role in ROLES:
            if role == "scores" and self._kind.coarse:
                tensor = self._graph.tensors[passed[role]]
                tensor.type, tensor.quantization = schema().TensorType.UINT8, _quantization(1 / 256, 0)
                self._operator("QUANTIZE", [made[role]], [passed[role]])
            else:
                self._reshape(made[role], passed[role], shapes[role])
        return passed

    def _describe(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        """Add TFLite's model metadata that says how pixels become the input."""
        metadata = schema().MetadataT()
        metadata.name, metadata.buffer = b"TFLITE_METADATA", self._buffer(normalization(mean, std))
        self._model.metadata = [metadata]

    # -- the schema's objects ------------------------------------------------------------------------------------------

    def _convolution(
        self,
        name: str,
        image: int,
        weights: NDArray[Any],
        bias: NDArray[Any],
        shape: list[int],
        scale: float,
        zero: int,
    ) -> int:
        result = self._activation(name, shape, scale, zero)
        if self._kind.quantized:
            one = max(float(np.abs(weights).max()) / 127, 1e-6)
            kernel = self._activation(f"{name}/weights", list(weights.shape), one, 128)
            content = (np.rint(weights / one) + 128).astype(np.uint8)
            added = self._real(f"{name}/bias", [len(bias)])
            tensor = self._graph.tensors[added]
            tensor.type, tensor.quantization = schema().TensorType.INT32, _quantization(one / 128, 0)
            tensor.buffer = self._buffer(np.rint(np.nan_to_num(bias) / (one / 128)).astype(np.int32).tobytes())
        else:
            kernel, content = self._real(f"{name}/weights", list(weights.shape)), weights.astype(np.float32)
            added = self._real(f"{name}/bias", [len(bias)])
            self._graph.tensors[added].buffer = self._buffer(bias.tobytes())
        self._graph.tensors[kernel].buffer = self._buffer(content.tobytes())
        operator = self._operator("CONV_2D", [image, kernel, added], [result])
        options = schema().Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = schema().Padding.VALID, _STRIDE, _STRIDE
        options.dilationHFactor = options.dilationWFactor = 1
        operator.builtinOptionsType, operator.builtinOptions = schema().BuiltinOptions.Conv2DOptions, options
        return result

    def _anchors(self, anchors: NDArray[Any]) -> int:
        if not self._kind.quantized:
            index, content = self._real("anchors", list(anchors.shape)), anchors.astype(np.float32)
        else:
            index = self._activation("anchors", list(anchors.shape), 1 / 255, 0)
            content = np.rint(anchors * 255).astype(np.uint8)
        self._graph.tensors[index].buffer = self._buffer(content.tobytes())
        return index

    def _reshaped(self, source: int, name: str, shape: list[int], scale: float, zero: int) -> int:
        result = self._activation(name, shape, scale, zero)
        self._reshape(source, result, shape)
        return result

    def _reshape(self, source: int, result: int, shape: list[int]) -> None:
        operator, options = self._operator("RESHAPE", [source], [result]), schema().ReshapeOptionsT()
        options.newShape = shape
        operator.builtinOptionsType, operator.builtinOptions = schema().BuiltinOptions.ReshapeOptions, options

    def _buffer(self, content: bytes) -> int:
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(content, np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _real(self, name: str, shape: list[int]) -> int:
        tensor = schema().TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name.encode(), shape, schema().TensorType.FLOAT32, 0
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _activation(self, name: str, shape: list[int], scale: float, zero: int) -> int:
        """Add a tensor of what flows through the network: uint8 where that is quantized."""
        index = self._real(name, shape)
        if self._kind.quantized:
            tensor = self._graph.tensors[index]
            tensor.type, tensor.quantization = schema().TensorType.UINT8, _quantization(scale, zero)
        return index

    def _operator(self, name: str, inputs: list[int], outputs: list[int]) -> Any:
        code, operator = schema().OperatorCodeT(), schema().OperatorT()
        builtin = getattr(schema().BuiltinOperator, name, None)
        if builtin is None:
            builtin, code.customCode = schema().BuiltinOperator.CUSTOM, name.encode()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = 1
        self._model.operatorCodes.append(code)
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self._model.operatorCodes) - 1, inputs, outputs
        self._graph.operators.append(operator)
        return operator


def crashing() -> bytes:
    """Return a file with the outputs of a detector that ends the process that runs it (LiteRT 2.3.0, x86)."""
    model = unpack(CRAFTED["negative scale"]())
    graph = model.subgraphs[0]
    outputs = []
    for name, shape in (("boxes", [1, 2, 4]), ("classes", [1, 2]), ("scores", [1, 2]), ("count", [1])):
        buffer, tensor = schema().BufferT(), schema().TensorT()
        buffer.data = np.frombuffer(np.zeros(shape, np.float32).tobytes(), np.uint8)
        model.buffers.append(buffer)
        tensor.name, tensor.shape, tensor.type = name.encode(), shape, schema().TensorType.FLOAT32
        tensor.buffer = len(model.buffers) - 1
        graph.tensors.append(tensor)
        outputs.append(len(graph.tensors) - 1)
    graph.outputs, model.signatureDefs = outputs, None
    return pack(model)


def _quantization(scale: float, zero: int) -> Any:
    quantization = schema().QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = np.array([scale], np.float32), np.array([zero], np.int64)
    return quantization


def normalization(mean: tuple[float, ...], std: tuple[float, ...]) -> bytes:
    """Return TFLite's model metadata that says no more than how pixels become the first input."""
    builder = flatbuffers.Builder(0)

    def floats(values: tuple[float, ...]) -> int:
        return int(builder.CreateNumpyVector(np.array(values, np.float32)))

    def table(fields: int, *filled: tuple[int, int]) -> int:
        builder.StartObject(fields)
        for place, offset in filled:
            builder.PrependUOffsetTRelativeSlot(place, offset, 0)
        return int(builder.EndObject())

    def one(offset: int) -> int:
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(offset)
        return int(builder.EndVector())

    said = floats(mean), floats(std)
    options = table(2, (0, said[0]), (1, said[1]))
    builder.StartObject(2)  # ProcessUnit: which kind of options, and these
    builder.PrependUint8Slot(0, 1, 0)
    builder.PrependUOffsetTRelativeSlot(1, options, 0)
    unit = one(builder.EndObject())
    tensor = one(table(7, (4, unit)))
    subgraph = one(table(7, (2, tensor)))
    builder.Finish(table(8, (3, subgraph)), b"M001")
    return bytes(builder.Output())


def wall(*photos: tuple[Path, int, int], side: int = 64) -> NDArray[np.uint8]:
    """Return a dark picture of 320×180 pixels in which photos hang, each with the left top corner of its place."""
    image = np.full((180, 320, 3), 20, np.uint8)
    for photo, left, top in photos:
        image[top : top + side, left : left + side] = cv2.resize(
            read_image(photo), (side, side), interpolation=cv2.INTER_AREA
        )
    return image
