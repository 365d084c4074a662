"""From a quantized .tflite classifier to the same network as ONNX: the same weights, scales and zero points.

Every tensor that TFLite keeps in 8 bits stands in the ONNX graph between a QuantizeLinear and a DequantizeLinear, and
the operators between them work on real numbers. ONNX Runtime's CPU provider merges each such group into one operator
on 8 bits; any other provider computes real numbers that are rounded where TFLite rounds them. So one file serves all.

Inside, all 8-bit values are uint8, int8 ones 128 higher: with both operands unsigned, x86 without VNNI has no
instruction that saturates a sum. Tensors of four dimensions are NCHW inside and NHWC outside. The batch is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import ModelError
from edged.vision.flatbuffer import affine_of, damage_as_model_error, dtype_name, operator_name, unpack
from edged.vision.onnx_file import Attribute, Model, Node, Value, write
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SAME = 0
_TO_NCHW, _TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_NO_ACTIVATION, _RELU, _RELU_N1_TO_1, _RELU6 = 0, 1, 2, 3
_BIT = 1e-3
"""Of a step of 8 bits: less than what lies between two different means of a window's bytes."""
_LIMITS = {_RELU: (0.0, np.inf), _RELU_N1_TO_1: (-1.0, 1.0), _RELU6: (0.0, 6.0)}


def convert(model: bytes, *, unsigned: bool = False) -> bytes:
    """Return the content of an .onnx file that computes what a .tflite file computes.

    Args:
        model: The .tflite file's content: a quantized network with one image input and 8-bit outputs.
        unsigned: Let all inputs and outputs be uint8; else they keep the types that they have in the .tflite file.

    Raises:
        ModelError: It is damaged, or has an operator that has no counterpart here.
    """
    unpacked = unpack(model)
    with damage_as_model_error():
        return write(_Converter(unpacked, unsigned).convert())


class _Converter:
    """Converts one model; used once. Of tensor i, `q{i}` is the 8-bit form and `r{i}` the real one."""

    def __init__(self, model: Any, unsigned: bool) -> None:
        self._tflite = model
        self._unsigned = unsigned
        self._subgraph = model.subgraphs[0]
        self._onnx = Model([], {}, [], [])
        self._dequantized: set[str] = set()
        self._pads: dict[int, tuple[int, NDArray[np.int32]]] = {}
        self._convert_operator: dict[str, Callable[[Any], None]] = {
            "ADD": self._add,
            "AVERAGE_POOL_2D": self._pool,
            "CONCATENATION": self._concatenation,
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._fully_connected,
            "MAX_POOL_2D": self._pool,
            "MEAN": self._mean,
            "PAD": self._pad,
            "QUANTIZE": self._quantize,
            "RESHAPE": self._reshape,
            "SOFTMAX": self._softmax,
            "SQUEEZE": self._reshape,
        }

    def convert(self) -> Model:
        for index in map(int, self._subgraph.inputs):
            self._input(index)
        for operator in self._subgraph.operators:
            name = operator_name(self._tflite, operator)
            if name not in self._convert_operator:
                raise ModelError(f"has the operator {name}, which is not converted to ONNX")
            self._convert_operator[name](operator)
        for index in map(int, self._subgraph.outputs):
            self._output(index)
        return self._onnx

    # -- tensors -------------------------------------------------------------------------------------------------------

    def _tensor(self, index: int) -> Any:
        if not 0 <= index < len(self._subgraph.tensors):
            raise ModelError("truncated or damaged TensorFlow Lite model")
        return self._subgraph.tensors[index]

    def _shape(self, index: int) -> list[int]:
        shape = self._tensor(index).shape
        return [] if shape is None else [int(size) for size in shape]

    def _constant(self, index: int) -> NDArray[Any]:
        """The values of a constant, in its own type and shape."""
        tensor = self._tensor(index)
        data = self._tflite.buffers[tensor.buffer].data
        if data is None:
            raise ModelError(f"has an operator {(tensor.name or b'?').decode(errors='replace')} without constants")
        dtype = np.dtype(dtype_name(tensor))
        return np.asarray(data, np.uint8).view(dtype.newbyteorder("<")).astype(dtype).reshape(self._shape(index))

    def _affine(self, index: int) -> Affine:
        """The quantization of the unsigned form of an activation."""
        tensor = self._tensor(index)
        affine, dtype = affine_of(tensor), dtype_name(tensor)
        if dtype not in ("uint8", "int8"):
            raise ModelError(f"works on {dtype}; a fully quantized model is needed")
        return Affine(affine.scale, affine.zero_point + 128) if dtype == "int8" else affine

    def _outer_dtype(self, index: int) -> np.dtype[Any]:
        return np.dtype("uint8" if self._unsigned else dtype_name(self._tensor(index)))

    def _input(self, index: int) -> None:
        shape, dtype = self._shape(index), self._outer_dtype(index)
        name = f"input{index}"
        self._onnx.inputs.append(Value(name, dtype, (None, *shape[1:])))
        if len(shape) == 4:
            name = self._node("Transpose", [name], f"nchw{index}", perm=_TO_NCHW)
        self._as_unsigned(name, index, dtype)

    def _as_unsigned(self, name: str, index: int, dtype: np.dtype[Any]) -> None:
        """Make `q{index}` of an 8-bit tensor."""
        if dtype == np.uint8:
            self._node("Identity", [name], f"q{index}")
            return
        affine = affine_of(self._tensor(index))
        real = self._node("DequantizeLinear", [name, *self._scale(affine, np.int8)], f"signed{index}")
        self._node("QuantizeLinear", [real, *self._scale(self._affine(index))], f"q{index}")

    def _output(self, index: int) -> None:
        shape, dtype = self._shape(index), self._outer_dtype(index)
        name = f"q{index}"
        if dtype == np.int8:
            affine = affine_of(self._tensor(index))
            name = self._node("QuantizeLinear", [self._real(index), *self._scale(affine, np.int8)], f"int8_{index}")
        if len(shape) == 4 and shape[1] * shape[2] == 1:  # the order of the bytes is the same
            size = self._keep(f"nhwc{index}_shape", np.array([-1, *shape[1:]], np.int64))
            name = self._node("Reshape", [name, size], f"nhwc{index}")
        elif len(shape) == 4:
            name = self._node("Transpose", [name], f"nhwc{index}", perm=_TO_NHWC)
        name = self._node("Identity", [name], f"output{index}")
        self._onnx.outputs.append(Value(name, dtype, (None, *shape[1:])))

    def _real(self, index: int) -> str:
        """The name of a tensor's real numbers."""
        name = f"r{index}"
        if name not in self._dequantized:
            self._dequantized.add(name)
            self._node("DequantizeLinear", [f"q{index}", *self._scale(self._affine(index))], name)
        return name

    def _scale(self, affine: Affine, dtype: type[np.uint8] | type[np.int8] = np.uint8) -> list[str]:
        """The names of a scale and a zero point."""
        scale = self._keep(f"scale_{affine.scale!r}", np.array(affine.scale, np.float32))
        name = f"zero_{np.dtype(dtype)}_{affine.zero_point}"
        return [scale, self._keep(name, np.array(affine.zero_point, dtype))]

    def _keep(self, name: str, values: NDArray[Any]) -> str:
        self._onnx.constants[name] = values
        return name

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Attribute) -> str:
        self._onnx.nodes.append(Node(op, inputs, [output], attributes, name=output))
        return output

    def _finish(self, real: str, index: int, activation: int = _NO_ACTIVATION) -> None:
        """Make `q{index}` of the real numbers that an operator made."""
        affine = self._affine(index)
        low, high = _LIMITS.get(activation, (-np.inf, np.inf))
        least, most = (affine.scale * (limit - affine.zero_point) for limit in (0, 255))
        half = affine.scale / 2
        if activation not in (_NO_ACTIVATION, *_LIMITS):
            raise ModelError(f"has a fused activation {activation}, which is not converted to ONNX")
        if least < low - half or most > high + half:  # else 8 bits hold nothing beyond the activation's limits
            limits = [self._keep(f"limit_{limit}", np.array(limit, np.float32)) for limit in (low, high)]
            real = self._node("Clip", [real, *limits], f"clipped{index}")
        self._node("QuantizeLinear", [real, *self._scale(affine)], f"q{index}")

    # -- weights -------------------------------------------------------------------------------------------------------

    def _weights(self, index: int, channels: int, arrange: Callable[[NDArray[Any]], NDArray[Any]]) -> tuple[str, Any]:
        """Add weights as uint8.

        Args:
            index: Of the tensor.
            channels: Number of outputs.
            arrange: Returns the values in ONNX's order, outputs first.

        Returns:
            Name of the real weights; their scales, one or one per output.
        """
        tensor = self._tensor(index)
        quantization = tensor.quantization
        if quantization is None or quantization.scale is None or dtype_name(tensor) not in ("uint8", "int8"):
            raise ModelError(f"has weights of type {dtype_name(tensor)}; a fully quantized model is needed")
        scales = np.asarray(quantization.scale, np.float32)
        zeros = np.asarray(quantization.zeroPoint, np.int64)
        values = arrange(self._constant(index))
        if values.dtype == np.int8:
            values, zeros = (values.astype(np.int16) + 128).astype(np.uint8), zeros + 128
        attributes: dict[str, Attribute] = {}
        if len(scales) == channels and channels > 1:
            attributes["axis"] = 0
        elif len(scales) != 1:
            raise ModelError(f"has weights with {len(scales)} scales for {channels} channels")
        else:
            scales, zeros = scales.reshape(()), zeros.reshape(())
        names = [
            self._keep(f"w{index}", np.ascontiguousarray(values)),
            self._keep(f"w{index}_scale", scales),
            self._keep(f"w{index}_zero", zeros.astype(np.uint8)),
        ]
        return self._node("DequantizeLinear", names, f"rw{index}", **attributes), scales

    def _bias(self, operator: Any, channels: int, scales: NDArray[np.float32]) -> list[str]:
        """Add the bias, int32, where there is one; its scale is that of the products."""
        index = int(operator.inputs[2]) if len(operator.inputs) > 2 else -1
        if index < 0:
            return []
        values = self._constant(index).reshape(-1)
        if values.dtype != np.int32 or len(values) != channels:
            raise ModelError("has a bias that does not fit its weights")
        scale = scales * np.float32(self._affine(int(operator.inputs[0])).scale)
        names = [self._keep(f"b{index}", values), self._keep(f"b{index}_scale", np.asarray(scale, np.float32))]
        names.append(self._keep(f"b{index}_zero", np.zeros(scale.shape, np.int32)))
        attributes: dict[str, Attribute] = {"axis": 0} if scale.ndim else {}
        return [self._node("DequantizeLinear", names, f"rb{index}", **attributes)]

    # -- operators -----------------------------------------------------------------------------------------------------

    def _convolution(self, operator: Any) -> None:
        options, depthwise = operator.builtinOptions, operator_name(self._tflite, operator) == "DEPTHWISE_CONV_2D"
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        kernel = self._shape(int(operator.inputs[1]))
        channels = kernel[3] if depthwise else kernel[0]
        order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
        weights, scales = self._weights(int(operator.inputs[1]), channels, lambda values: values.transpose(order))
        bias = self._bias(operator, channels, scales)
        before, dilations = source, (options.dilationHFactor or 1, options.dilationWFactor or 1)
        pads = self._padding(operator, kernel[1:3], dilations)
        if source in self._pads and options.padding != _SAME:  # a PAD before it is part of it
            before, around = self._pads[source]
            pads = [int(around[axis, side]) for side in (0, 1) for axis in (1, 2)]
        real = self._node(
            "Conv",
            [self._real(before), weights, *bias],
            f"f{target}",
            kernel_shape=tuple(kernel[1:3]),
            strides=(int(options.strideH), int(options.strideW)),
            dilations=tuple(int(each) for each in dilations),
            pads=tuple(pads),
            group=self._shape(source)[3] if depthwise else 1,
        )
        self._finish(real, target, options.fusedActivationFunction)

    def _padding(self, operator: Any, kernel: list[int], dilations: tuple[int, int] = (1, 1)) -> list[int]:
        """Pixels at the top, left, bottom and right."""
        options = operator.builtinOptions
        if options.padding != _SAME:
            return [0, 0, 0, 0]
        into, out = self._shape(int(operator.inputs[0]))[1:3], self._shape(int(operator.outputs[0]))[1:3]
        begin, end = [], []
        for axis, stride in enumerate((options.strideH, options.strideW)):
            reach = (kernel[axis] - 1) * int(dilations[axis]) + 1
            total = max((out[axis] - 1) * int(stride) + reach - into[axis], 0)
            begin.append(total // 2)
            end.append(total - total // 2)
        return begin + end

    def _fully_connected(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        channels, features = self._shape(int(operator.inputs[1]))
        weights, scales = self._weights(int(operator.inputs[1]), channels, lambda values: values)
        bias = self._bias(operator, channels, scales)
        real = self._real(source)
        if len(self._shape(source)) != 2:
            real = self._flat(real, source, [-1, features])
        real = self._node("Gemm", [real, weights, *bias], f"f{target}", transB=1)
        self._finish(real, target, operator.builtinOptions.fusedActivationFunction)

    def _add(self, operator: Any) -> None:
        target = int(operator.outputs[0])
        real = self._node("Add", [self._real(int(index)) for index in operator.inputs], f"f{target}")
        self._finish(real, target, operator.builtinOptions.fusedActivationFunction)

    def _pool(self, operator: Any) -> None:
        options, target = operator.builtinOptions, int(operator.outputs[0])
        kernel = [int(options.filterHeight), int(options.filterWidth)]
        pads = self._padding(operator, kernel)
        averages = operator_name(self._tflite, operator) == "AVERAGE_POOL_2D"
        real = self._node(
            "AveragePool" if averages else "MaxPool",
            [self._real(int(operator.inputs[0]))],
            f"f{target}",
            kernel_shape=tuple(kernel),
            strides=(int(options.strideH), int(options.strideW)),
            pads=tuple(pads),
        )
        if averages and (any(pads) or kernel[0] * kernel[1] % 2 == 0):
            # An even number of values often has a mean halfway between two bytes: TFLite takes the upper one,
            # QuantizeLinear the even one.
            bit = self._keep(f"bit{target}", np.array(self._affine(target).scale * _BIT, np.float32))
            real = self._node("Add", [real, bit], f"up{target}")
        self._finish(real, target, options.fusedActivationFunction)

    def _mean(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        axes = sorted(int(axis) for axis in self._constant(int(operator.inputs[1])).reshape(-1))
        if axes != [1, 2] or len(self._shape(source)) != 4:
            raise ModelError(f"has a MEAN over the axes {axes}, which is not converted to ONNX")
        real = self._node("GlobalAveragePool", [self._real(source)], f"f{target}")
        if len(self._shape(target)) == 2:
            real = self._flat(real, target, [-1, self._shape(target)[-1]])
        self._finish(real, target)

    def _concatenation(self, operator: Any) -> None:
        target, axis = int(operator.outputs[0]), int(operator.builtinOptions.axis)
        rank = len(self._shape(target))
        axis %= rank
        if rank == 4:
            axis = _TO_NCHW.index(axis)
        real = self._node("Concat", [self._real(int(index)) for index in operator.inputs], f"f{target}", axis=axis)
        self._finish(real, target, operator.builtinOptions.fusedActivationFunction)

    def _pad(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        around = self._constant(int(operator.inputs[1])).astype(np.int32).reshape(-1, 2)
        if len(around) != 4 or around[0].any() or around[3].any():
            raise ModelError("has a PAD of other dimensions than height and width, which is not converted to ONNX")
        readers = [each for each in self._subgraph.operators if target in [int(index) for index in each.inputs]]
        kinds = {operator_name(self._tflite, each) for each in readers}
        paddings = {each.builtinOptions.padding for each in readers if hasattr(each.builtinOptions, "padding")}
        if kinds <= {"CONV_2D", "DEPTHWISE_CONV_2D"} and _SAME not in paddings:
            self._pads[target] = (source, around)
            return
        pads = [int(around[axis, side]) for side in (0, 1) for axis in (0, 3, 1, 2)]
        names = [self._keep(f"pads{target}", np.array(pads, np.int64)), self._keep("nothing", np.array(0, np.float32))]
        self._finish(self._node("Pad", [self._real(source), *names], f"f{target}"), target)

    def _quantize(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        ours, theirs = self._affine(source), self._affine(target)
        if np.float32(ours.scale) == np.float32(theirs.scale) and ours.zero_point == theirs.zero_point:
            self._node("Identity", [f"q{source}"], f"q{target}")
        else:
            self._finish(self._real(source), target)

    def _reshape(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        shape = self._shape(target)
        real = self._real(source)
        if len(shape) == 4:
            if self._shape(source)[1:3] != [1, 1] and len(self._shape(source)) == 4 and shape != self._shape(source):
                raise ModelError("has a RESHAPE of an image, which is not converted to ONNX")
            if len(self._shape(source)) != 4 and shape[1:3] != [1, 1]:
                raise ModelError("has a RESHAPE to an image, which is not converted to ONNX")
            shape = [shape[axis] for axis in _TO_NCHW]
        self._finish(self._flat(real, source, [-1, *shape[1:]], name=f"f{target}"), target)

    def _flat(self, real: str, index: int, shape: list[int], name: str | None = None) -> str:
        """Give real numbers another shape; those of an image in the order in which TFLite has them."""
        source = self._shape(index)
        if len(source) == 4 and source[1] * source[2] > 1 and len(shape) != 4:
            real = self._node("Transpose", [real], f"{name or f'flat{index}'}_nhwc", perm=_TO_NHWC)
        key = self._keep("shape_" + "_".join(map(str, shape)), np.array(shape, np.int64))
        return self._node("Reshape", [real, key], name or f"flat_{real}")

    def _softmax(self, operator: Any) -> None:
        source, target = int(operator.inputs[0]), int(operator.outputs[0])
        if abs(operator.builtinOptions.beta - 1.0) > 1e-6:
            raise ModelError(f"has a SOFTMAX with beta {operator.builtinOptions.beta}, which is not converted to ONNX")
        self._finish(self._node("Softmax", [self._real(source)], f"f{target}", axis=-1), target)
