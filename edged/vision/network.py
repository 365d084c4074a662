"""Running a network: one small port over LiteRT, tflite_runtime and ONNX Runtime."""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from edged.contract.model_file import is_onnx
from edged.errors import ModelError
from edged.types import Inference
from edged.vision.graph import parse_graph, read_graph
from edged.vision.native_log import without_chatter
from edged.vision.preprocess import IMAGENET_CROP, fit
from edged.vision.quantization import Affine
from edged.vision.runtime_wheels import how_to_get
from edged.vision.scores import softmax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edged.types import Image, Vector

    Bottlenecks = NDArray[np.uint8] | NDArray[np.int8]

Runtime = str
"""What shall run a network: "auto", "litert", "tflite_runtime" or "onnx"; behind a colon the providers of ONNX Runtime
in order, e.g. "onnx:tensorrt,cuda", see `settings.ModelSettings.engine`. An .onnx file always runs on ONNX Runtime, and
"onnx" converts a .tflite file as it opens it."""
_MODULES = {"litert": "ai_edge_litert.interpreter", "tflite_runtime": "tflite_runtime.interpreter"}


def _parted(runtime: Runtime) -> tuple[str, tuple[str, ...]]:
    """Return a runtime's name and its providers."""
    name, _, providers = runtime.partition(":")
    return name, tuple(filter(None, providers.split(",")))


def _interpreter_class(runtime: str) -> tuple[str, Any]:
    """Return the runtime's name and its Interpreter; "auto" prefers LiteRT, measured 12 times faster on x86."""
    failures = []
    for name in _MODULES if runtime == "auto" else [runtime]:
        try:
            return name, importlib.import_module(_MODULES[name]).Interpreter
        except (ImportError, OSError) as error:  # OSError: the wheel is there, its shared library does not load
            failures.append(f"{name} ({error})")
    advice = how_to_get("tflite-runtime" if runtime == "tflite_runtime" else "ai-edge-litert")
    raise ModelError(f"no TFLite runtime can be imported: {'; '.join(failures)}; {advice}")


def why_not_litert() -> str | None:
    """Return why an installed LiteRT cannot be imported; None where it can, or is not installed."""
    try:
        importlib.import_module(_MODULES["litert"])
    except ModuleNotFoundError as error:
        return None if error.name in (_MODULES["litert"], "ai_edge_litert") else str(error)
    except (ImportError, OSError) as error:
        return str(error)
    return None


def import_runtime(runtime: Runtime, model: bytes = b"") -> Runtime:
    """Import what a network needs, which else its first one does; return the runtime that it will run on.

    Args:
        runtime: As for `Network`.
        model: Content of the file that it will run, where that is known.

    Raises:
        ModelError: It cannot be imported.
    """
    name, _ = _parted(runtime)
    if name == "onnx" or is_onnx(model):
        from edged.vision import onnx_runtime

        onnx_runtime.load()
        return runtime
    return _interpreter_class(name)[0]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What an invocation left, quantized: (classes,) scores or logits, (features,) bottleneck, and its time."""

    scores: Bottlenecks
    bottleneck: Bottlenecks
    invoke_ms: float


class Network:
    """A quantized classifier, ready to run.

    Args:
        model: Content of a .tflite or .onnx file.
        runtime: Which interpreter, see `Runtime`.
        threads: For one invocation.
        crop: See `preprocess.fit`.
        outputs: What the model's outputs are, where that is known and the bottleneck is one of them: then the graph is
            not read, which takes 14 MB and some time. None: find out.

    Attributes:
        runtime: Name of the interpreter in use.
        providers: What ONNX Runtime runs it on, in order; empty with the other runtimes.
        batch: So many images are best given at once to `embed_all`: 1 on a processor, which gains nothing by more.
        width, height: Of the input, pixels.
        classes: Number of outputs.
        features: Width of the bottleneck.
        bottleneck_affine: How the bytes of `embed` become real numbers.
        bottleneck_dtype: Of these bytes, uint8 or int8.

    Raises:
        ModelError: The file is no quantized classifier, or the runtime refuses it.
    """

    def __init__(
        self,
        model: bytes,
        *,
        runtime: Runtime = "auto",
        threads: int = 1,
        crop: float = IMAGENET_CROP,
        outputs: tuple[Literal["scores", "logits"], Literal["bottleneck"]] | None = None,
    ) -> None:
        if outputs is None:
            graph = parse_graph(model)
            model, self._softmax = graph.expose_bottleneck(), graph.head.softmax
        else:
            self._softmax = outputs[0] == "scores"
        self.runtime, self._interpreter = open_interpreter(model, runtime, threads)
        self.providers: tuple[str, ...] = getattr(self._interpreter, "providers", ())
        self.batch: int = getattr(self._interpreter, "batch", 1)
        image, *_ = self._interpreter.get_input_details()
        try:
            scores, bottleneck = self._interpreter.get_output_details()
        except ValueError as error:
            raise ModelError("the bottleneck is not its second output, as its manifest says") from error
        _, self.height, self.width, _ = map(int, image["shape"])
        self.classes, self.features = int(scores["shape"][-1]), int(bottleneck["shape"][-1])
        self._check_sizes(int(np.prod(scores["shape"])), int(np.prod(bottleneck["shape"])))
        self._crop = crop
        self._signed = image["dtype"] == np.int8
        self._input = int(image["index"])
        self._scores, self._scores_affine = int(scores["index"]), Affine(*scores["quantization"])
        self._bottleneck, self.bottleneck_affine = int(bottleneck["index"]), Affine(*bottleneck["quantization"])
        self.bottleneck_dtype: type[np.uint8] | type[np.int8] = bottleneck["dtype"]

    def prepare(self, image: Image, *, quick: bool = False) -> Image:
        """Make the input of `infer` from an RGB frame of any size: (height, width, 3) uint8; `quick`: see `fit`."""
        return fit(image, self.width, self.height, self._crop, quick=quick)

    def infer(self, prepared: Image) -> Inference:
        """Run the network on one prepared image.

        Raises:
            ModelError: The runtime failed, or the image has another shape than the input.
        """
        return self.decode(self.invoke(prepared))

    def invoke(self, prepared: Image) -> Outputs:
        """Do the part of `infer` that needs the interpreter; `decode` may follow on another thread.

        Raises:
            ModelError: As `infer`.
        """
        invoke_ms = self._invoke(prepared)
        tensor = self._interpreter.get_tensor
        outputs = Outputs(tensor(self._scores).reshape(-1), tensor(self._bottleneck).reshape(-1), invoke_ms)
        self._check_sizes(outputs.scores.size, outputs.bottleneck.size)  # a graph may choose them anew each time
        return outputs

    def decode(self, outputs: Outputs) -> Inference:
        """Make real numbers from an invocation's bytes."""
        scores = self._scores_affine.dequantize(outputs.scores)
        embedding = self.bottleneck_affine.dequantize(outputs.bottleneck)
        return Inference(scores if self._softmax else softmax(scores), embedding, outputs.invoke_ms)

    def embed(self, prepared: Image) -> Bottlenecks:
        """Run the network on one prepared image for its bottleneck alone, as a cache keeps it.

        Returns:
            (features,) uint8 or int8; `bottleneck_affine.dequantize` of it is the `Inference.embedding`.

        Raises:
            ModelError: As `infer`.
        """
        self._invoke(prepared)
        return self._interpreter.get_tensor(self._bottleneck).reshape(-1)  # type: ignore[no-any-return] # untyped library

    def embed_all(self, prepared: Sequence[Image]) -> Bottlenecks:
        """Do as `embed` for several images, `batch` of them at a time.

        Returns:
            (n, features) uint8 or int8.

        Raises:
            ModelError: As `infer`.
        """
        if self.batch == 1:
            return cast("Bottlenecks", np.stack([self.embed(image) for image in prepared]))
        rows: list[Bottlenecks] = []
        for begin in range(0, len(prepared), self.batch):
            images = np.stack(prepared[begin : begin + self.batch])
            self._run(images)
            rows.append(self._interpreter.get_tensor(self._bottleneck).reshape(len(images), self.features))
        return cast("Bottlenecks", np.concatenate(rows))

    def _check_sizes(self, scores: int, features: int) -> None:
        """Raise ModelError where an output is no vector: there would be scores without a label."""
        if scores != self.classes or features != self.features:
            raise ModelError(
                f"gives {scores} scores of {self.classes} classes and a bottleneck of {features} values, "
                f"{self.features} wide; one vector each is needed"
            )

    def _invoke(self, prepared: Image) -> float:
        return self._run(prepared[np.newaxis])

    def _run(self, batch: NDArray[np.uint8]) -> float:
        """Run the interpreter on (n, height, width, 3); return the time of the invocation alone, milliseconds."""
        if self._signed:
            batch = (batch ^ 0x80).view(np.int8)  # uint8 − 128
        try:
            self._interpreter.set_tensor(self._input, batch)
            begin = time.perf_counter_ns()
            self._interpreter.invoke()
            return (time.perf_counter_ns() - begin) / 1e6
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"invocation failed: {' '.join(str(error).split())}") from error


class HeadNetwork:
    """The classifier head of a model alone, run on cached bottlenecks: the whole graph's scores, byte for byte.

    Args:
        model: Content of the whole file.
        runtime: Which interpreter, see `Runtime`.

    Raises:
        ModelError: As `Network`.
    """

    _BATCH = 256  # bounds the interpreter's arena, and is long past the cost of one call

    def __init__(self, model: bytes, *, runtime: Runtime = "auto") -> None:
        graph = read_graph(model)
        self.runtime, self._interpreter = open_interpreter(graph.head_only(), runtime, 1)
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._softmax = graph.head.softmax
        self._affine = Affine(*self._output["quantization"])

    def scores(self, bottlenecks: Bottlenecks) -> Vector:
        """Return the class probabilities of (n, features) bottleneck bytes: (n, classes) float32.

        Raises:
            ModelError: The bottlenecks' width or dtype is not this model's, or the runtime failed.
        """
        scores = self._affine.dequantize(self.raw(bottlenecks))
        return scores if self._softmax else softmax(scores)

    def raw(self, bottlenecks: Bottlenecks) -> Bottlenecks:
        """Return the whole graph's first output for each row, quantized as it is: (n, classes)."""
        index, classes = int(self._input["index"]), int(self._output["shape"][-1])
        shape = [int(size) for size in self._input["shape"]]
        if bottlenecks.ndim != 2 or bottlenecks.shape[1] != shape[-1] or bottlenecks.dtype != self._input["dtype"]:
            raise ModelError(
                f"bottlenecks of shape {bottlenecks.shape} and type {bottlenecks.dtype} do not fit a head that takes "
                f"{shape[-1]} features of type {np.dtype(self._input['dtype'])}"
            )
        raw = np.empty((len(bottlenecks), classes), self._output["dtype"])
        batch = 0
        try:
            for begin in range(0, len(bottlenecks), self._BATCH):
                rows = np.ascontiguousarray(bottlenecks[begin : begin + self._BATCH])
                if len(rows) != batch:
                    batch = len(rows)
                    self._interpreter.resize_tensor_input(index, [batch, *shape[1:]])
                    self._interpreter.allocate_tensors()
                self._interpreter.set_tensor(index, rows.reshape([batch, *shape[1:]]))
                self._interpreter.invoke()
                raw[begin : begin + batch] = self._interpreter.get_tensor(self._output["index"]).reshape(batch, -1)
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.runtime} cannot run the head alone: {' '.join(str(error).split())}") from error
        return raw


def open_interpreter(model: bytes, runtime: Runtime, threads: int) -> tuple[str, Any]:
    """Return the name of the interpreter that takes a network, and it, ready to run.

    Args:
        model: Content of a .tflite or .onnx file.
        runtime, threads: See `Network`.

    Raises:
        ModelError: The runtime is not there, or refuses the file.
    """
    name, providers = _parted(runtime)
    try:
        if name == "onnx" or is_onnx(model):
            if name not in ("auto", "onnx"):
                raise ModelError(f'{name} runs no .onnx file; model.runtime must be "onnx" or "auto"')
            from edged.vision import onnx_runtime  # 1 MB and some time, which no .tflite file needs

            return "onnx", onnx_runtime.Interpreter(model if is_onnx(model) else _converted(model), threads, providers)
        name, interpreter_class = _interpreter_class(name)
        with without_chatter():
            interpreter = interpreter_class(model_content=model, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name} refuses the model: {' '.join(str(error).split())}") from error
    return name, interpreter


def _converted(model: bytes) -> bytes:
    from edged.vision.onnx_conversion import convert

    return convert(model)
