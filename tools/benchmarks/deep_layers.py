"""What else a network says of a photo than its bottleneck: its own logits, and layers before the bottleneck.

One pass gives all of it. A layer's value is the mean of each of its channels over the picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edged.codec import decode
from edged.learning.bottlenecks import Backbone
from edged.vision.flatbuffer import copy_of, operator_name, pack
from edged.vision.graph import read_graph
from edged.vision.network import open_interpreter
from edged.vision.quantization import Affine


@dataclass(frozen=True)
class Passed:
    """What a network made of n photos.

    Attributes:
        features: (n, d) bytes of bottlenecks.
        logits: (n, classes) of the head that the network came with.
        layers: Name → (n, channels).
        ids: n ids, sha256 as 64 hex digits.
    """

    features: NDArray[Any]
    logits: NDArray[np.float32]
    layers: dict[str, NDArray[np.float32]]
    ids: NDArray[np.str_]


def pass_all(contents: Iterable[bytes], backbone: Backbone, shapes: Sequence[tuple[int, int, int]] = ()) -> Passed:
    """Pass photos through a network.

    Args:
        contents: Their files.
        backbone: The network; a .tflite file.
        shapes: (height, width, channels) of the layers that are wanted: of several, the last one counts.
    """
    graph, network = read_graph(backbone.model), backbone.network()
    model = copy_of(graph.unpacked)
    (part,) = model.subgraphs
    logits = next(
        (int(one.inputs[0]) for one in part.operators if operator_name(model, one) == "SOFTMAX"), int(part.outputs[0])
    )
    last = {tuple(int(size) for size in one.shape[1:]): index for index, one in enumerate(part.tensors) if _is_map(one)}
    wanted = {"logits": logits} | {" × ".join(map(str, shape)): last[shape] for shape in shapes}
    part.outputs = [graph.bottleneck_tensor, *wanted.values()]
    _, interpreter = open_interpreter(pack(model), "auto", 1)
    (entry,), found = interpreter.get_input_details(), interpreter.get_output_details()
    affines = [Affine(*one["quantization"]) for one in found]
    features, ids = [], []
    others: dict[str, list[NDArray[np.float32]]] = {name: [] for name in wanted}
    for content in contents:
        name = hashlib.sha256(content).hexdigest()
        picture = decode(content, (network.width, network.height), crop=backbone.crop)
        prepared = backbone.prepare(network, picture, "plain", name)[np.newaxis]
        interpreter.set_tensor(
            entry["index"], (prepared ^ 0x80).view(np.int8) if entry["dtype"] == np.int8 else prepared
        )
        interpreter.invoke()
        values = [interpreter.get_tensor(one["index"]) for one in found]
        features.append(values[0].reshape(-1).copy())
        for layer, value, affine in zip(wanted, values[1:], affines[1:], strict=True):
            others[layer].append(affine.dequantize(value).reshape(-1, value.shape[-1]).mean(axis=0))
        ids.append(name)
    layers = {layer: np.stack(rows) for layer, rows in others.items()}
    return Passed(np.stack(features), layers.pop("logits"), layers, np.array(ids))


def _is_map(tensor: Any) -> bool:
    return tensor.shape is not None and len(tensor.shape) == 4
