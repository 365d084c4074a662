"""Small classifiers in the form in which PyTorch exports them: NCHW, real numbers or QDQ, a Gemm on pooled features.

They are written with edged's own writer, so that no test needs PyTorch; what they compute is known from their weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edged.vision import protobuf as wire
from edged.vision.onnx_file import Model, Node, Value, write

SIZE, CLASSES, CHANNELS = 32, 4, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Exported:
    """A classifier.

    Attributes:
        model: The file.
        constants: Its weights, by name.
    """

    model: Model
    constants: dict[str, NDArray[Any]]

    @property
    def data(self) -> bytes:
        return write(self.model)

    def scores(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What it makes of an RGB image of its size, in plain numpy: logits and features."""
        planes = ((image / 255 - MEAN) / STD).transpose(2, 0, 1)
        kernel, size = self.constants["conv.weight"], SIZE // 2
        padded = np.pad(planes, ((0, 0), (1, 1), (1, 1)))
        windows = np.stack([padded[:, i : i + 2 * size : 2, j : j + 2 * size : 2] for i in range(3) for j in range(3)])
        mixed = np.einsum("ocw,wcyx->oyx", kernel.reshape(CHANNELS, 3, 9), windows)
        features = np.maximum(mixed + self.constants["conv.bias"][:, None, None], 0).mean(axis=(1, 2))
        logits = features @ self.constants["fc.weight"].T + self.constants["fc.bias"]
        return logits.astype(np.float32), features.astype(np.float32)


def exported(
    *, flatten: Literal["Flatten", "Reshape"] = "Flatten", batch: int | None = None, softmax: bool = False
) -> Exported:
    """Make one with weights from a seed.

    Args:
        flatten: Reshape is what `view(1, -1)` becomes, for one image alone.
        batch: 1: as it is exported without dynamic axes.
        softmax: With one at its end.
    """
    random = np.random.default_rng(3)
    constants: dict[str, NDArray[Any]] = {
        "conv.weight": (random.standard_normal((CHANNELS, 3, 3, 3)) * 0.3).astype(np.float32),
        "conv.bias": random.standard_normal(CHANNELS).astype(np.float32),
        "fc.weight": random.standard_normal((CLASSES, CHANNELS)).astype(np.float32),
        "fc.bias": random.standard_normal(CLASSES).astype(np.float32),
        "shape": np.array([1, -1], np.int64),
    }
    convolution = {"kernel_shape": (3, 3), "strides": (2, 2), "pads": (1, 1, 1, 1), "dilations": (1, 1), "group": 1}
    nodes = [
        Node("Conv", ["input", "conv.weight", "conv.bias"], ["/conv/out"], dict(convolution)),
        Node("Relu", ["/conv/out"], ["/relu/out"]),
        Node("GlobalAveragePool", ["/relu/out"], ["/pool/out"]),
        Node("Flatten", ["/pool/out"], ["/flat/out"], {"axis": 1})
        if flatten == "Flatten"
        else Node("Reshape", ["/pool/out", "shape"], ["/flat/out"], {"allowzero": 1}),
        Node("Gemm", ["/flat/out", "fc.weight", "fc.bias"], ["output"], {"alpha": 1.0, "beta": 1.0, "transB": 1}),
    ]
    if softmax:
        nodes[-1].outputs[0] = "logits"
        nodes.append(Node("Softmax", ["logits"], ["output"], {"axis": 1}))
    real = np.dtype(np.float32)
    model = Model(
        nodes,
        constants,
        [Value("input", real, (batch, 3, SIZE, SIZE))],
        [Value("output", real, (batch, CLASSES))],
        {"": 17},
    )
    return Exported(model, constants)


def quantized() -> Exported:
    """The same as quantizers leave it: int8 weights, every activation between QuantizeLinear and DequantizeLinear."""
    plain = exported()
    constants = dict(plain.constants)
    nodes: list[Node] = []

    def quantize(name: str, low: float, high: float) -> str:
        scale = (high - low) / 255
        constants[f"{name}/scale"] = np.array(scale, np.float32)
        constants[f"{name}/zero"] = np.array(round(-low / scale), np.uint8)
        pair = [f"{name}/scale", f"{name}/zero"]
        nodes.append(Node("QuantizeLinear", [name, *pair], [f"{name}/q"]))
        nodes.append(Node("DequantizeLinear", [f"{name}/q", *pair], [f"{name}/dq"]))
        return f"{name}/dq"

    def weights(name: str) -> str:
        values = constants[name]
        scales = np.abs(values).reshape(len(values), -1).max(axis=1) / 127
        shape = (-1, *([1] * (values.ndim - 1)))
        constants[f"{name}/q"] = np.rint(values / scales.reshape(shape)).astype(np.int8)
        constants[f"{name}/scale"] = scales.astype(np.float32)
        constants[f"{name}/zero"] = np.zeros(len(values), np.int8)
        names = [f"{name}/q", f"{name}/scale", f"{name}/zero"]
        nodes.append(Node("DequantizeLinear", names, [f"{name}/dq"], {"axis": 0}))
        return f"{name}/dq"

    conv, relu, pool, flat, gemm = plain.model.nodes
    given = [quantize("input", -2.2, 2.7), weights("conv.weight"), "conv.bias"]
    nodes += [replace(conv, inputs=given), relu]
    nodes.append(replace(pool, inputs=[quantize("/relu/out", 0, 12)]))
    nodes.append(replace(flat, inputs=[quantize("/pool/out", 0, 6)]))
    given = [quantize("/flat/out", 0, 6), weights("fc.weight"), "fc.bias"]
    nodes.append(replace(gemm, inputs=given, outputs=["logits"]))
    last = quantize("logits", -20, 20)
    nodes[-1].outputs[0] = "output"
    assert last == "logits/dq"
    return Exported(replace(plain.model, nodes=nodes, constants=constants), plain.constants)


def in_two_files(name: str) -> tuple[bytes, bytes]:
    """Return `exported()` as exporters write large networks: some weights are in a file of this name beside it."""
    source = exported()
    values = source.constants["fc.weight"]
    entries = (("location", name), ("offset", "16"), ("length", str(values.nbytes)))
    pairs = [bytes([10, len(key), *key.encode(), 18, len(value), *value.encode()]) for key, value in entries]
    tensor = bytes([10, 2, CLASSES, CHANNELS, 16, 1, 66, 9, *b"fc.weight"])
    tensor += b"".join(bytes([106, len(pair)]) + pair for pair in pairs) + bytes([112, 1])
    rest = {key: value for key, value in source.constants.items() if key != "fc.weight"}
    parts = []
    for number, value in wire.fields(memoryview(write(replace(source.model, constants=rest)))):
        if isinstance(value, int):
            parts.append(wire.put_integer(number, value))
        else:
            parts.append(wire.put_bytes(number, bytes(value) + (wire.put_bytes(5, tensor) if number == 7 else b"")))
    return b"".join(parts), bytes(16) + values.tobytes()
