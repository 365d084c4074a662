"""The interpreters that can run a .tflite file side by side, TensorFlow's own and ONNX Runtime among them.

ONNX Runtime is given the file converted; behind a colon stand its providers, e.g. "onnx:cuda".
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edged.errors import ModelError
from edged.vision.native_log import without_chatter
from edged.vision.runtime_wheels import how_to_get

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("litert", "tflite_runtime", "onnx", "tensorflow")
_MODULES = {
    "litert": "ai_edge_litert.interpreter",
    "tflite_runtime": "tflite_runtime.interpreter",
    "onnx": "onnxruntime",
}
_PACKAGES = {
    "litert": ("ai-edge-litert",),
    "tflite_runtime": ("tflite-runtime",),
    "onnx": ("onnxruntime", "onnxruntime-gpu"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64"),
}


def name_of(runtime: str) -> str:
    """Return a runtime's name without its providers."""
    return runtime.partition(":")[0]


def side_by_side() -> list[str]:
    """Return all runtimes; ONNX Runtime also with each accelerator that it was built for."""
    found = list(NAMES)
    if _is_importable("onnx"):
        from edged.vision import onnx_runtime

        others = [name for name in onnx_runtime.providers_built_in() if name not in ("cpu", "azure")]
        found[3:3] = [f"onnx:{name}" for name in others]
    return found


def is_installed(runtime: str) -> bool:
    """Whether the runtime is there, without importing it."""
    runtime = name_of(runtime)
    return importlib.util.find_spec(_MODULES.get(runtime, runtime).split(".", maxsplit=1)[0]) is not None


def _is_importable(runtime: str) -> bool:
    """Whether the runtime's library loads: a wheel may be installed that asks for a newer glibc than there is."""
    try:
        importlib.import_module(_MODULES[runtime])
    except (ImportError, OSError):
        return False
    return True


def missing(runtime: str) -> str:
    """Say that a runtime is not installed, and how it would be."""
    runtime = name_of(runtime)
    extra = runtime in ("tensorflow", "onnx")
    package = f"'edged[{runtime}]'" if extra else _PACKAGES[runtime][0]
    return f"{runtime} is not installed; {how_to_get(package)}"


def resolve(runtime: str) -> str:
    """Return the name of an installed runtime; "auto" prefers LiteRT where it can be imported, as `Network` does.

    Raises:
        ModelError: It is unknown or not installed.
    """
    if name_of(runtime) == "auto":
        return resolve(next((name for name in NAMES[:2] if _is_importable(name)), NAMES[0]))
    if name_of(runtime) != "onnx":
        runtime = name_of(runtime)  # providers are ONNX Runtime's
    if name_of(runtime) not in NAMES:
        raise ModelError(f"runtime {runtime!r}: unknown; use auto, {', '.join(NAMES)}")
    if not is_installed(runtime):
        raise ModelError(missing(runtime))
    return runtime


def version(runtime: str) -> str | None:
    """Return the installed version of a runtime."""
    for package in _PACKAGES[name_of(runtime)]:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return None


def threads_available() -> int:
    """Return the processors that this process may use."""
    return len(os.sched_getaffinity(0))


class Runner:
    """A model in one interpreter.

    Args:
        model: Content of a .tflite file.
        runtime: A name of `side_by_side`; TensorFlow belongs into a process of its own.
        threads: How many an invocation uses.
        batch: Images per invocation; more than one wants a model with a free batch dimension.

    Attributes:
        dtype: Type of the model's input.

    Raises:
        ModelError: The runtime cannot be imported, or refuses the model or the batch.
    """

    def __init__(self, model: bytes, *, runtime: str, threads: int, batch: int = 1) -> None:
        self._interpreter = _interpreter(model, runtime, threads)
        self._runtime = runtime
        try:
            with without_chatter():
                first = self._interpreter.get_input_details()[0]
                if batch > 1:
                    shape = [batch, *(int(size) for size in first["shape"][1:])]
                    self._interpreter.resize_tensor_input(first["index"], shape)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            what = "refuses the model" if batch == 1 else f"refuses a batch of {batch}"
            raise ModelError(f"{runtime} {what}: {' '.join(str(error).split())}") from error
        self.inputs = [int(each["index"]) for each in self._interpreter.get_input_details()]
        self.outputs = [int(each["index"]) for each in self._interpreter.get_output_details()]
        self.dtype: Any = first["dtype"]

    def put(self, place: int, values: NDArray[Any]) -> None:
        """Fill an input."""
        self._interpreter.set_tensor(self.inputs[place], values)

    def put_from(self, place: int, maker: Runner, output: int) -> None:
        """Fill an input with another model's output, straight out of that one's memory."""
        self._interpreter.set_tensor(self.inputs[place], maker._view(output))

    def clear(self, place: int) -> None:
        """Write zeros to an output: its memory is in the cache then."""
        self._view(place).fill(0)

    def _view(self, output: int) -> NDArray[Any]:
        """The memory of an output; nobody may keep it, an invocation is refused while it is in use."""
        values: NDArray[Any] = self._interpreter.tensor(self.outputs[output])()
        return values

    def get(self, place: int = 0) -> NDArray[Any]:
        """Return a copy of an output."""
        values: NDArray[Any] = self._interpreter.get_tensor(self.outputs[place])
        return values

    def invoke(self, clock: Callable[[], int] = time.perf_counter_ns) -> float:
        """Run once; return the time of the invocation alone by a clock in nanoseconds, milliseconds.

        Raises:
            ModelError: The runtime failed.
        """
        try:
            begin = clock()
            self._interpreter.invoke()
            return (clock() - begin) / 1e6
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self._runtime} cannot run the model: {' '.join(str(error).split())}") from error

    def infer(self, images: NDArray[np.uint8]) -> float:
        """Hand over a batch of RGB images (n, height, width, 3), run, fetch the scores; return milliseconds."""
        begin = time.perf_counter_ns()
        self.put(0, images if images.dtype == self.dtype else (images ^ 0x80).view(self.dtype))  # int8: 128 lower
        self.invoke()
        self.get()
        return (time.perf_counter_ns() - begin) / 1e6


def _interpreter(model: bytes, runtime: str, threads: int) -> Any:
    if name_of(runtime) == "onnx":
        return _onnx_interpreter(model, runtime, threads)
    try:
        if runtime == "tensorflow":
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            module = importlib.import_module("tensorflow").lite
        else:
            module = importlib.import_module(_MODULES[runtime])
    except (ImportError, OSError) as error:  # OSError: the wheel is there, its shared library does not load
        raise ModelError(missing(runtime) if not is_installed(runtime) else f"{runtime}: {error}") from error
    try:
        with without_chatter():
            return module.Interpreter(model_content=model, num_threads=threads)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{runtime} refuses the model: {' '.join(str(error).split())}") from error


def _onnx_interpreter(model: bytes, runtime: str, threads: int) -> Any:
    from edged.vision import onnx_runtime
    from edged.vision.onnx_conversion import convert

    wanted = [name for name in runtime.partition(":")[2].split(",") if name]
    try:
        interpreter = onnx_runtime.Interpreter(convert(model), threads, wanted)
    except RuntimeError as error:
        raise ModelError(f"{runtime} refuses the model: {' '.join(str(error).split())}") from error
    if wanted and interpreter.providers[0] != wanted[0]:  # it would be measured under another's name
        raise ModelError(f"this onnxruntime does not run it on {wanted[0]}, but on {interpreter.providers[0]}")
    return interpreter
