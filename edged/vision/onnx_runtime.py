"""Runs .onnx files: ONNX Runtime behind the few calls of a TFLite interpreter that `network` makes."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.errors import NotInstalledError
from edged.vision.onnx_file import read
from edged.vision.onnx_graph import quantization_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

_SUFFIX = "ExecutionProvider"
_ERRORS_ONLY = 3
NOT_INSTALLED = "onnxruntime is not installed; pip install 'edged[onnx]'"
ACCELERATED_BATCH = 32
"""Images that an accelerator gets at once where many wait: one alone keeps few of its cores at work."""


def load() -> Any:
    """Import ONNX Runtime, and keep it from reporting to Microsoft.

    From 1.29 on its builds for Linux send events about each model to mobile.events.data.microsoft.com and keep an
    identifier of the device in ~/.cache/Microsoft, unless this variable is set before the import (its docs/Privacy.md).

    Raises:
        NotInstalledError: It is not installed, or its library does not load.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        if error.name != "onnxruntime":
            raise NotInstalledError(f"onnxruntime does not load: {error}") from error
        raise NotInstalledError(NOT_INSTALLED) from error
    except (ImportError, OSError) as error:
        raise NotInstalledError(f"onnxruntime does not load: {' '.join(str(error).split())}") from error


def is_installed() -> bool:
    """Whether ONNX Runtime is there, without importing it; whether it loads, only `load` knows."""
    return find_spec("onnxruntime") is not None


def providers_built_in() -> list[str]:
    """Return the providers that this ONNX Runtime was built for, as the settings name them.

    Raises:
        NotInstalledError: It is not there.
    """
    return [short_name(name) for name in load().get_available_providers()]


def choose_providers(wanted: Sequence[str], available: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return which providers to take, and which are not there.

    Args:
        wanted: In order, e.g. "tensorrt", "cuda"; the CPU's always comes last.
        available: As this ONNX Runtime calls them, e.g. "CUDAExecutionProvider".

    Returns:
        Names of those that are available, as ONNX Runtime calls them; of the others, as they are wanted.
    """
    by_name = {short_name(name): name for name in available}
    chosen = [by_name[name] for name in dict.fromkeys([*wanted, "cpu"]) if name in by_name]
    return chosen, [name for name in dict.fromkeys(wanted) if name not in by_name]


def short_name(provider: str) -> str:
    """Return a provider's name in the settings, e.g. "cuda" for "CUDAExecutionProvider"."""
    return provider.removesuffix(_SUFFIX).lower()


class Interpreter:
    """One session.

    Args:
        model_content: Content of an .onnx file.
        num_threads: For one invocation.
        providers: See `choose_providers`.

    Attributes:
        providers: What was taken, in order, as the settings name it.
        batch: So many images are best given at once.

    Raises:
        NotInstalledError: ONNX Runtime is not there.
        ModelError: The file is damaged.
        RuntimeError: ONNX Runtime refuses the file.
    """

    def __init__(self, model_content: bytes, num_threads: int, providers: Sequence[str] = ()) -> None:
        runtime = load()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # A thread that waits for work by spinning takes a core from the daemon's others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        chosen, missing = choose_providers(providers, runtime.get_available_providers())
        for name in missing:
            log.warning("this onnxruntime has no provider %s; it has %s", name, ", ".join(map(short_name, chosen)))
        try:
            self._session = runtime.InferenceSession(model_content, options, providers=chosen)
        except Exception as error:  # its own exceptions have no common base but this
            raise RuntimeError(str(error)) from error
        self.providers = tuple(short_name(name) for name in self._session.get_providers())
        for name in (short_name(each) for each in chosen if each not in self._session.get_providers()):
            log.warning("provider %s cannot be loaded; %s", name, f"the model runs on {', '.join(self.providers)}")
        file = read(model_content)
        self._inputs = [(value, (1.0, 0)) for value in file.inputs]
        self._outputs = [(value, quantization_of(file, value.name)) for value in file.outputs]
        free = all(value.shape[:1] == (None,) for value in [*file.inputs, *file.outputs])
        self.batch = ACCELERATED_BATCH if free and self.providers[0] != "cpu" else 1
        self._fed: dict[str, NDArray[Any]] = {}
        self._left: list[NDArray[Any]] = []

    def get_input_details(self) -> list[dict[str, Any]]:
        """Describe the inputs; a free dimension is 1."""
        return [_details(index, *each) for index, each in enumerate(self._inputs)]

    def get_output_details(self) -> list[dict[str, Any]]:
        """Describe the outputs; a free dimension is 1."""
        return [_details(index, *each) for index, each in enumerate(self._outputs)]

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        """Do nothing: the batch is free."""

    def allocate_tensors(self) -> None:
        """Do nothing: a session is ready."""

    def set_tensor(self, index: int, values: NDArray[Any]) -> None:
        """Give an input its values."""
        self._fed[self._inputs[index][0].name] = values

    def invoke(self) -> None:
        """Run the network.

        Raises:
            RuntimeError: ONNX Runtime fails, or a value does not fit.
        """
        try:
            self._left = self._session.run(None, self._fed)
        except Exception as error:  # its own exceptions have no common base but this
            raise RuntimeError(str(error)) from error

    def get_tensor(self, index: int) -> NDArray[Any]:
        """Return an output's values."""
        return self._left[index]


def _details(index: int, value: Any, quantization: tuple[float, int]) -> dict[str, Any]:
    shape = np.array([1 if size is None else size for size in value.shape], np.int32)
    return {"index": index, "shape": shape, "dtype": value.dtype.type, "quantization": quantization}
