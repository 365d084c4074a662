"""From an .onnx classifier as PyTorch exports it to the form that edged runs; the network itself stays as it is.

In front comes what makes its input of RGB bytes: the normalisation, and NCHW. Where its bottleneck is made of real
numbers, it is kept in 8 bits from here on, in a range that must be measured: so cached bottlenecks are bytes, and what
judges a new head on them judges what will run. A network that is quantized already (QDQ) keeps its own 8 bits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import ConfigError, ModelError
from edged.vision.head import LONGEST_SIDE, check_sides
from edged.vision.onnx_file import Model, Node, Value, damage_as_model_error, write
from edged.vision.onnx_graph import Tensors, eight_bit_source, find_head, needed_for, used
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_LEAST_OPSET = 11
_FLOAT = 1
_IMAGE, _KEPT, _KNOWN = "edged/image", "edged/kept", "edged/known"
_MARGIN = 1.5
"""The range of a bottleneck is so much wider than what a few photos show; what lies beyond saturates."""
_RANGES = {"NominalRange_0_255": (0.0, 1 / 255), "Normalized_0_1": (0.0, 1.0), "Normalized_1_1": (0.5, 0.5)}
"""What the metadata of ONNX files may call a range of pixels → mean and standard deviation of the same."""


@dataclass(frozen=True, slots=True)
class Pixels:
    """How RGB becomes a network's input: (value / 255 − mean) / std, for each of the three channels.

    Attributes:
        mean, std: Shares of full scale, in the order R, G, B.
        bgr: Whether the network wants blue first.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    bgr: bool = False

    @classmethod
    def of(cls, mean: Sequence[float], std: Sequence[float], *, bgr: bool = False) -> Pixels:
        """Make it of one number or three.

        Raises:
            ConfigError: There are neither one nor three, or a standard deviation is not above 0.
        """
        both = []
        for name, values in (("mean", mean), ("std", std)):
            three = tuple(map(float, values)) * (3 if len(values) == 1 else 1)
            if len(three) != 3 or not np.isfinite(three).all() or (name == "std" and min(three) <= 0):
                raise ConfigError(
                    f"{name} {','.join(map(str, values))}: use one number or three, e.g. 0.485,0.456,0.406"
                )
            both.append(three)
        return cls(both[0], both[1], bgr)

    @classmethod
    def in_file(cls, file: Model) -> Pixels | None:
        """Return what a file's metadata says; None: nothing.

        Raises:
            ModelError: Nothing that is understood.
        """
        told = file.metadata
        bgr = told.get("Image.BitmapPixelFormat", "").lower().startswith("bgr")
        try:
            if "mean" in told and "std" in told:
                return cls.of(_numbers(told["mean"]), _numbers(told["std"]), bgr=bgr)
            if (range_ := told.get("Image.NominalPixelRange")) is None:
                return None
            mean, std = _RANGES[range_]
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise ModelError(f"its metadata on pixels is not understood: {error}") from error
        return cls.of([mean], [std], bgr=bgr)


def _numbers(text: str) -> list[float]:
    """Numbers as people write them into metadata: "0.5, 0.5, 0.5" or "[0.5, 0.5, 0.5]"."""
    found = json.loads(text if text.lstrip().startswith("[") else f"[{text}]")
    return [float(each) for each in found]


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a file before it has run.

    Attributes:
        file: Its content, with an input of RGB bytes.
        real_bottleneck: Name of the real numbers that the head reads, where they are not kept in 8 bits.
    """

    file: Model
    real_bottleneck: str | None

    def for_measuring(self) -> bytes:
        """Return an .onnx file of two outputs: what the first is, and the bottleneck as it is, (batch, features)."""
        output = self.file.outputs[0]
        tensors = Tensors(self.file)
        name = self.real_bottleneck
        if name is None:
            name = find_head(self.file, tensors).source
        nodes = [*self.file.nodes, Node("Flatten", [name], ["edged/measured"], {"axis": 1})]
        measured = Value("edged/measured", np.dtype(np.float32), (self.batch, None))
        return write(used(replace(self.file, nodes=nodes, outputs=[output, measured])))

    @property
    def batch(self) -> int | None:
        """Images that the file takes at once; None: any number."""
        return self.file.inputs[0].shape[0]

    def adopted(self, low: float, high: float) -> bytes:
        """Return the content of the .onnx file that edged runs.

        Args:
            low, high: Least and greatest value of the bottleneck that photos have shown.
        """
        file = self.file
        if self.real_bottleneck is not None:
            affine = Affine.from_range(low * _MARGIN, high * _MARGIN)
            file = _kept_in_bytes(file, self.real_bottleneck, Affine(affine.scale, affine.zero_point + 128))
        nodes = needed_for(file.nodes, {file.outputs[0].name})
        return write(used(replace(file, nodes=nodes)))


def look_at(
    file: Model, pixels: Pixels | None, size: tuple[int, int] | None = None, *, one_by_one: bool = False
) -> Source:
    """Give a classifier an input of RGB bytes, and find its bottleneck.

    Args:
        file: As it was exported.
        pixels: How RGB becomes its input; None: as its metadata says.
        size: Width and height of the input, where the file leaves them open.
        one_by_one: Whether it gets one image at a time, its operators as they were exported; else any number.

    Raises:
        ConfigError: Neither says how RGB becomes its input, or how large that is.
        ModelError: It is no image classifier.
    """
    with damage_as_model_error():
        if file.opsets.get("", 0) < _LEAST_OPSET:
            raise ModelError(
                f"has opset {file.opsets.get('', 0)}; export it with opset {_LEAST_OPSET} or later, best 17"
            )
        if not file.outputs:
            raise ModelError("has no output; a classifier has 1")
        classes = file.outputs[0].shape[-1:] or (None,)
        file = replace(file, outputs=[replace(file.outputs[0], shape=(None, *classes))])
        file = _with_image_input(file, pixels, size, one_by_one=one_by_one)
        tensors = Tensors(file)
        head = find_head(file, tensors)
        file = replace(file, nodes=_flattened_behind(head.node, file, tensors))
        tensors = Tensors(file)
        file = replace(file, outputs=[replace(file.outputs[0], shape=(file.inputs[0].shape[0], len(head.weights)))])
        kept = eight_bit_source(head.source, tensors)
        if kept is not None and tensors.affine(kept) is not None:
            return Source(file, None)
        return Source(file, head.source)


def _with_image_input(file: Model, pixels: Pixels | None, size: tuple[int, int] | None, *, one_by_one: bool) -> Model:
    if len(file.inputs) != 1:
        raise ModelError(f"has {len(file.inputs)} inputs; an image classifier has 1")
    old = file.inputs[0]
    if len(old.shape) != 4 or 3 not in (old.shape[1], old.shape[3]):
        raise ModelError(f"input has shape {_shown(old)}; a batch of RGB images is needed")
    planes = old.shape[1] == 3
    height, width = old.shape[2:4] if planes else old.shape[1:3]
    if size is not None and (height not in (None, size[1]) or width not in (None, size[0])):
        raise ConfigError(f"--size {size[0]}x{size[1]}: the file's input has shape {_shown(old)}")
    if size is not None and max(size) > LONGEST_SIDE:
        raise ConfigError(f"--size {size[0]}x{size[1]}: at most {LONGEST_SIDE} a side are taken")
    width, height = size if size is not None else (width, height)
    if height is None or width is None:
        raise ConfigError(f"input has shape {_shown(old)}; say how large: --size 224x224")
    check_sides(width, height)
    nodes, constants = _front(old, planes, pixels or Pixels.in_file(file))
    rest, freed = _free_the_batch(file) if old.shape[0] == 1 and not one_by_one else (file.nodes, {})
    image = Value(_IMAGE, np.dtype(np.uint8), (1 if one_by_one else None, height, width, 3))
    return replace(file, nodes=[*nodes, *rest], constants={**file.constants, **freed, **constants}, inputs=[image])


def _front(old: Value, planes: bool, pixels: Pixels | None) -> tuple[list[Node], dict[str, NDArray[Any]]]:
    """Operators from RGB bytes to the old input."""
    nodes: list[Node] = []
    constants: dict[str, NDArray[Any]] = {}
    name = _IMAGE
    if pixels is not None and pixels.bgr:
        constants["edged/bgr"] = np.array([2, 1, 0], np.int64)
        nodes.append(Node("Gather", [name, "edged/bgr"], ["edged/swapped"], {"axis": 3}))
        name = "edged/swapped"
    if old.dtype == np.float32:
        if pixels is None:
            raise ConfigError(
                "the file does not say how pixels become its input; say it: --mean 0.485,0.456,0.406 "
                "--std 0.229,0.224,0.225 for what torchvision trains, --mean 0 --std 1 for 0 to 1"
            )
        order = slice(None, None, -1) if pixels.bgr else slice(None)
        std, mean = np.array(pixels.std)[order], np.array(pixels.mean)[order]
        constants["edged/factor"] = (1 / (255 * std)).astype(np.float32)
        constants["edged/shift"] = (-mean / std).astype(np.float32)
        nodes += [
            Node("Cast", [name], ["edged/cast"], {"to": _FLOAT}),
            Node("Mul", ["edged/cast", "edged/factor"], ["edged/scaled"]),
            Node("Add", ["edged/scaled", "edged/shift"], ["edged/normal"]),
        ]
        name = "edged/normal"
    elif old.dtype != np.uint8:
        raise ModelError(f"input is {old.dtype}; float32 or uint8 is needed")
    last = (
        Node("Transpose", [name], [old.name], {"perm": (0, 3, 1, 2)})
        if planes
        else Node("Identity", [name], [old.name])
    )
    return [*nodes, last], constants


def _free_the_batch(file: Model) -> tuple[list[Node], dict[str, NDArray[Any]]]:
    """Let every Reshape to [1, …] keep its input's first dimension: what was exported for one image then takes more."""
    nodes, constants = [], {}
    tensors = Tensors(file)
    for node in file.nodes:
        shape = tensors.constant(node.inputs[1]) if node.op == "Reshape" and len(node.inputs) > 1 else None
        if shape is not None and shape.ndim == 1 and len(shape) > 1 and shape[0] == 1:
            name = f"edged/shape/{node.outputs[0]}"
            constants[name] = np.array([0, *shape[1:]], np.int64)
            kept = {key: value for key, value in node.attributes.items() if key != "allowzero"}  # 0: as it comes
            nodes.append(replace(node, inputs=[node.inputs[0], name], attributes=kept))
        else:
            nodes.append(node)
    return nodes, constants


def _flattened_behind(head: Node, file: Model, tensors: Tensors) -> list[Node]:
    """Let no Reshape behind the head ask another tensor for the number of images: what the head reads may stand alone.

    That is what `scores.view(images.size(0), -1)` is exported as.
    """
    nodes = list(file.nodes)
    name = file.outputs[0].name
    while (node := tensors.producers[name]) is not head:
        if node.op == "Reshape" and tensors.constant(node.inputs[1]) is None:
            nodes[nodes.index(node)] = Node("Flatten", [node.inputs[0]], list(node.outputs), {"axis": 1})
        name = next(each for each in node.inputs if tensors.constant(each) is None)
    return nodes


def _kept_in_bytes(file: Model, bottleneck: str, affine: Affine) -> Model:
    """Let the head read the bottleneck from 8 bits."""
    head = find_head(file, Tensors(file)).node
    constants = {
        **file.constants,
        "edged/kept_scale": np.array(affine.scale, np.float32),
        "edged/kept_zero": np.array(affine.zero_point, np.uint8),
    }
    scale = ["edged/kept_scale", "edged/kept_zero"]
    nodes: list[Node] = []
    for node in file.nodes:
        if node is not head:
            nodes.append(node)
            continue
        nodes += [
            Node("QuantizeLinear", [bottleneck, *scale], [_KEPT]),
            Node("DequantizeLinear", [_KEPT, *scale], [_KNOWN]),
            replace(head, inputs=[_KNOWN, *head.inputs[1:]]),
        ]
    return replace(file, nodes=nodes, constants=constants)


def _shown(value: Value) -> str:
    return "×".join("?" if size is None else str(size) for size in value.shape)
