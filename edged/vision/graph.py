"""What a quantized .tflite classifier is: its input, its classifier head, its bottleneck. Only bytes go in and out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edged.contract.model_file import is_onnx
from edged.errors import ModelError
from edged.vision.flatbuffer import affine_of, copy_of, damage_as_model_error, dtype_name, operator_name, pack, unpack
from edged.vision.head import Head, Input, check_head
from edged.vision.surgery import HeadWriter, cut_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.vision.onnx_graph import OnnxGraph
    from edged.vision.quantization import Affine

# What may stand between the head and the output, and between the bottleneck and the head, without changing meaning.
_PASS_THROUGH = {"RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE"}
_TAIL = _PASS_THROUGH | {"SOFTMAX"}


class Graph:
    """A quantized image classifier, read from the bytes of a .tflite file.

    Args:
        model: The file's content.
        unpacked: What `flatbuffer.unpack` makes of it, where that is at hand; None: it is read.

    Attributes:
        input: The image input.
        head: The classifier head.
        bottleneck_quantization: How bottleneck bytes become real numbers.
        bottleneck_dtype: "uint8" or "int8".

    Raises:
        ModelError: Not a TFLite file, truncated, float, not an image network, or without a classifier head.
    """

    def __init__(self, model: bytes, unpacked: Any = None) -> None:
        self._model = unpack(model) if unpacked is None else unpacked
        self._bytes = model
        with damage_as_model_error():
            if len(self._model.subgraphs or []) != 1:
                raise ModelError(f"has {len(self._model.subgraphs or [])} subgraphs; a classifier has 1")
            self._subgraph = self._model.subgraphs[0]
            self._output = self._single_output()
            self.input = self._read_input()
            self._head_operator, self.head = self._find_head()
            self._bottleneck = self._find_bottleneck()
            bottleneck = self._tensor(self._bottleneck)
            self.bottleneck_quantization: Affine = affine_of(bottleneck)
            self.bottleneck_dtype = dtype_name(bottleneck)
            affine_of(self._tensor(self._output))

    @property
    def unpacked(self) -> Any:
        """The `ModelT` of the file; whoever changes it changes a `flatbuffer.copy_of` it."""
        return self._model

    @property
    def bottleneck_tensor(self) -> int:
        """Index of the tensor that the head reads."""
        return self._bottleneck

    @property
    def outputs(self) -> tuple[Literal["scores", "logits"], Literal["bottleneck"]] | None:
        """What a bundle's manifest says of the outputs; None where the bottleneck is not the second one."""
        if [int(index) for index in self._subgraph.outputs][1:] != [self._bottleneck]:
            return None
        return "scores" if self.head.softmax else "logits", "bottleneck"

    def expose_bottleneck(self) -> bytes:
        """Return the model with the bottleneck as its second output; the same bytes where it is one already."""
        if self.outputs is not None:
            return self._bytes
        model = copy_of(self._model)
        model.subgraphs[0].outputs = [self._output, self._bottleneck]
        return pack(model)

    def replace_head(
        self, weights: NDArray[np.float32], bias: NDArray[np.float32], logits_range: tuple[float, float]
    ) -> bytes:
        """Return the model with a new final layer and the bottleneck as its second output.

        The new tail is int8: [QUANTIZE →] [RESHAPE →] 1×1 CONV_2D → RESHAPE → SOFTMAX [→ QUANTIZE]. A convolution,
        because every TFLite runtime knows its per-channel form; QUANTIZE, because older graphs are uint8, which has
        none.

        Args:
            weights: (classes, features), for real-valued bottlenecks.
            bias: (classes,).
            logits_range: Least and greatest logit that the activation's 8 bits must tell apart.

        Raises:
            ModelError: Shapes do not fit the bottleneck, or a value is not finite.
        """
        check_head(self.head, weights, bias, logits_range)
        model, output_dtype = copy_of(self._model), dtype_name(self._tensor(self._output))
        with damage_as_model_error():
            content = HeadWriter(model, self._bottleneck, output_dtype).write(weights, bias, logits_range)
        # What was written is what would be read: whoever looks at the file next need not unpack it.
        _RECENT.keep(content, Graph(content, model))
        return content

    def head_weights(self) -> NDArray[np.float32]:
        """Return the weights of the classifier head, (classes, features), for real-valued bottlenecks.

        Raises:
            ModelError: The file is damaged.
        """
        kernel = self._tensor(int(self._head_operator.inputs[1]))
        with damage_as_model_error():
            data = np.asarray(self._model.buffers[kernel.buffer].data, np.uint8)
            values = data.view(np.int8 if dtype_name(kernel) == "int8" else np.uint8)
            scales = np.asarray(kernel.quantization.scale, np.float32)
            zero_points = np.asarray(kernel.quantization.zeroPoint, np.float32)
            rows = values.reshape(self.head.classes, self.head.features).astype(np.float32)
            return np.asarray((rows - zero_points[:, np.newaxis]) * scales[:, np.newaxis], np.float32)

    def head_only(self) -> bytes:
        """Return what stands behind the bottleneck as a model of its own, for judging a head on cached bottlenecks.

        Its input is the bottleneck, of the shape that the whole graph gives it with a first dimension that may be
        resized to any batch; its output is the whole graph's first output, byte for byte.
        """
        model = copy_of(self._model)
        with damage_as_model_error():
            return cut_tail(model, self._bottleneck, self._output)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _single_output(self) -> int:
        """The scores' tensor: the only output, or the first of two where an earlier surgery added the bottleneck."""
        if len(self._subgraph.outputs) not in (1, 2):
            raise ModelError(f"has {len(self._subgraph.outputs)} outputs; a classifier has 1")
        return int(self._subgraph.outputs[0])

    def _read_input(self) -> Input:
        if len(self._subgraph.inputs) != 1:
            raise ModelError(f"has {len(self._subgraph.inputs)} inputs; an image classifier has 1")
        tensor = self._tensor(int(self._subgraph.inputs[0]))
        shape = [int(size) for size in (tensor.shape if tensor.shape is not None else [])]
        dtype = dtype_name(tensor)
        if dtype not in ("uint8", "int8"):
            raise ModelError(f"input is {dtype}; a quantized model with uint8 or int8 input is needed")
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3 or min(shape) < 1:
            raise ModelError(f"input has shape {shape}; an RGB image [1, height, width, 3] is needed")
        return Input(height=shape[1], width=shape[2], dtype="uint8" if dtype == "uint8" else "int8")

    def _find_head(self) -> tuple[Any, Head]:
        """Walk back from the first output over softmax and reshapes to the operator that makes the logits."""
        dtype = dtype_name(self._tensor(self._output))
        if dtype not in ("uint8", "int8"):
            raise ModelError(f"output is {dtype}; a quantized model with uint8 or int8 output is needed")
        operator, names = self._walk_back(self._output, _TAIL)
        name = "nothing" if operator is None else operator_name(self._model, operator)
        if operator is None or name not in ("FULLY_CONNECTED", "CONV_2D"):
            raise ModelError(
                f"no classifier head: the output comes from {name}, not from a FULLY_CONNECTED or 1×1 CONV_2D"
            )
        source, kernel = self._tensor(int(operator.inputs[0])), self._tensor(int(operator.inputs[1]))
        shape = [int(size) for size in kernel.shape]
        if name == "CONV_2D" and (shape[1:3] != [1, 1] or list(source.shape[1:3]) != [1, 1]):
            raise ModelError(
                f"no classifier head: the last CONV_2D has kernel {shape} and is not 1×1 on a pooled tensor"
            )
        if dtype_name(source) not in ("uint8", "int8"):
            raise ModelError(f"the classifier head works on {dtype_name(source)}; a fully quantized model is needed")
        if len(shape) < 2 or min(shape) < 1:
            raise ModelError(f"the classifier head has weights of shape {shape}")
        kind: Literal["FULLY_CONNECTED", "CONV_2D"] = "CONV_2D" if name == "CONV_2D" else "FULLY_CONNECTED"
        return operator, Head(kind=kind, features=shape[-1], classes=shape[0], softmax="SOFTMAX" in names)

    def _walk_back(self, index: int, passing: set[str]) -> tuple[Any | None, list[str]]:
        """Return the first operator before tensor `index` that is not `passing`, and the names of those passed."""
        producers = self._producers()
        names: list[str] = []
        while (operator := producers.get(index)) is not None:
            name = operator_name(self._model, operator)
            if name not in passing:
                break
            names.append(name)
            if len(names) > len(producers):  # only a damaged file has a cycle
                raise ModelError("truncated or damaged TensorFlow Lite model")
            index = int(operator.inputs[0])
        return operator, names

    def _find_bottleneck(self) -> int:
        """The head's input; behind reshapes where an earlier surgery has exposed the tensor before them."""
        second = [int(index) for index in self._subgraph.outputs[1:]]
        producers = self._producers()
        start = index = int(self._head_operator.inputs[0])
        for _ in producers:
            if index in second:
                return index
            operator = producers.get(index)
            if operator is None or operator_name(self._model, operator) not in _PASS_THROUGH:
                break
            index = int(operator.inputs[0])
        return start

    def _producers(self) -> dict[int, Any]:
        return {int(index): operator for operator in self._subgraph.operators for index in operator.outputs}

    def _tensor(self, index: int) -> Any:
        if not 0 <= index < len(self._subgraph.tensors):
            raise ModelError("truncated or damaged TensorFlow Lite model")
        return self._subgraph.tensors[index]


def parse_graph(model: bytes) -> Graph | OnnxGraph:
    """Return the graph of a model file's content, by its format.

    Raises:
        ModelError: As `Graph` or `OnnxGraph`.
    """
    if not is_onnx(model):
        return Graph(model)
    from edged.vision.onnx_graph import OnnxGraph

    return OnnxGraph(model)


def read_graph(model: bytes) -> Graph | OnnxGraph:
    """Return the graph of a model file's content, as `parse_graph` does; of the last files it is kept.

    A training looks at the same three again and again: the one that it starts from, the new one and the one that
    answers. Reading takes 45 ms and 14 MB for MobileNetV2: not for the daemon, which runs on.
    """
    return _RECENT.find(model) or _RECENT.keep(model, parse_graph(model))


class _Recent:
    """The graphs of the last files, the one that was asked for last in front."""

    _MOST = 3

    def __init__(self) -> None:
        self._graphs: list[tuple[bytes, Graph | OnnxGraph]] = []
        self._lock = threading.Lock()

    def find(self, model: bytes) -> Graph | OnnxGraph | None:
        """Return the graph of a file's content; None: it is not here."""
        with self._lock:
            found = next((one for one in self._graphs if one[0] == model), None)
            if found is not None:
                self._graphs.remove(found)
                self._graphs.insert(0, found)
        return None if found is None else found[1]

    def keep(self, model: bytes, graph: Graph | OnnxGraph) -> Graph | OnnxGraph:
        """Keep a graph, and return it."""
        with self._lock:
            others = [one for one in self._graphs if one[0] != model]
            self._graphs = [(model, graph), *others][: self._MOST]
        return graph


_RECENT = _Recent()
