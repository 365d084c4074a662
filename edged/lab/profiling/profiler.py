"""The profile of one model: every part that was asked for, as one report."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edged import __version__
from edged.contract.model_file import is_onnx
from edged.contract.reports import (
    BatchTiming,
    EndToEnd,
    GpuTimes,
    Layer,
    LayersSum,
    Machine,
    NoGpu,
    NotMeasured,
    ProfiledModel,
    ProfileReport,
    Timing,
)
from edged.errors import EdgedError, ModelError
from edged.jobs.requests import ProfileRequest
from edged.lab.photos import photo_files, read_prepared
from edged.lab.profiling import runtimes
from edged.lab.profiling.costs import arena_bytes, costs
from edged.lab.profiling.endtoend import profile_end_to_end
from edged.lab.profiling.layers import profile_layers
from edged.lab.profiling.worker import run_task
from edged.memory import available_bytes
from edged.resources import shipped_photos
from edged.sensors import performance
from edged.vision.flatbuffer import unpack
from edged.vision.graph import Graph
from edged.vision.network import Network

Tell = Callable[[str, float], None]
"""Takes what is being measured, and the fraction 0..1 of everything that is done."""

_WORKSPACE = 1.6
"""What a batch takes for each byte of live activations: the arena, XNNPACK's copy of it, and padding (measured)."""
_LIBRARIES = 512 * 2**20
"""Address space of libraries and thread stacks, which a limit on it counts too."""
_GPU_S = 60.0
"""For a driver to answer, or to hang."""
_TIMED = 100
"""Images for each number of threads and each runtime."""


def profile(request: ProfileRequest, tell: Tell = lambda _, __: None) -> ProfileReport:
    """Measure what `request.parts` names, one part after another.

    Returns:
        The parts that were asked for. An entry that cannot be measured (a batch that does not fit, a runtime that is
        not installed) says why.

    Raises:
        EdgedError: Nothing can be measured: no such model, not a classifier, no photo.
    """
    return _Profile(request, tell).run()


class _Profile:
    def __init__(self, request: ProfileRequest, tell: Tell) -> None:
        self._request = request
        self._tell = tell
        self._runtime = runtimes.resolve(request.runtime)
        try:
            self._model = request.model.read_bytes()
            if is_onnx(self._model):
                raise ModelError("is an .onnx file; what is profiled is a .tflite file, on runtime onnx, too")
            self._graph = Graph(self._model)
        except OSError as error:
            raise ModelError(f"{request.model}: cannot be read: {error.strerror}") from error
        except ModelError as error:
            raise ModelError(f"{request.model}: {error}") from error
        size = self._graph.input
        self._images = read_prepared(request.images, width=size.width, height=size.height, crop=request.crop)
        # A camera of photos reads one folder, without its subfolders.
        self._photos = photo_files(request.images or shipped_photos())[0].parent

    def run(self) -> ProfileReport:
        parts: dict[str, Callable[[Path], Any]] = {
            "layers": self._layers,
            "end_to_end": self._end_to_end,
            "online": self._online,
            "batch": self._batch,
            "threads": self._threads,
            "runtimes": self._runtimes,
            "gpu": self._gpu,
        }
        measured: dict[str, Any] = {}
        model, machine = self._describe(), describe_machine()
        chosen = [part for part in parts if part in self._request.parts]
        if runtimes.name_of(self._runtime) == "onnx" and "layers" in chosen:
            chosen.remove("layers")
            if not chosen:
                raise ModelError("layers are timed on a TFLite runtime, not on onnx: it merges them")
        # A file in memory, which the measuring processes open by this name: however this process ends, nothing stays.
        with open(os.memfd_create("images"), "w+b") as file:  # noqa: PTH123 - a descriptor, not a path
            np.save(file, self._images)
            file.flush()
            images = Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            for place, part in enumerate(chosen):
                self._done, self._part = place / len(chosen), 1 / len(chosen)
                self._stage(part, 0.0)
                measured[part] = parts[part](images)
        self._tell("done", 1.0)
        if "layers" in measured:
            measured["layers"], measured["layers_sum"] = measured["layers"]
        return ProfileReport(v=1, model=model, machine=machine, **measured)

    def _stage(self, name: str, fraction: float) -> None:
        self._tell(name, self._done + self._part * fraction)

    def _describe(self) -> ProfiledModel:
        counted = costs(unpack(self._model))
        return ProfiledModel(
            name=self._request.name,
            id=self._request.id,
            input=(self._graph.input.height, self._graph.input.width, 3),
            dtype=self._graph.input.dtype,
            classes=self._graph.head.classes,
            operators=len(counted),
            mb=round(len(self._model) / 1e6, 3),
            params=sum(cost.params for cost in counted),
            macs=sum(cost.macs for cost in counted),
            images=len(self._images),
        )

    def _layers(self, _: Path) -> tuple[tuple[Layer, ...], LayersSum]:
        return profile_layers(
            self._model,
            self._images[:1],
            runtime=self._runtime,
            seconds=self._request.seconds,
            tell=lambda fraction: self._stage("layers", fraction),
        )

    def _end_to_end(self, _: Path) -> EndToEnd | NotMeasured:
        request = self._request
        if self._runtime == "tensorflow":
            return NotMeasured(error="the daemon does not run on tensorflow")
        network = Network(
            self._model,
            runtime=self._runtime,
            threads=request.threads,
            crop=request.crop,
        )
        source = request.source or f"dir://{self._photos}"
        return profile_end_to_end(network, source, request.mqtt, device=request.device)

    def _online(self, images: Path) -> dict[str, Timing | NotMeasured]:
        counts = self._request.online
        entries = {}
        for place, count in enumerate(counts):
            self._stage(f"online, {count} images", place / len(counts))
            entries[str(count)] = self._timing(images, count=count)
        return entries

    def _batch(self, images: Path) -> dict[str, BatchTiming | NotMeasured]:
        sizes, live = self._request.batches, arena_bytes(unpack(self._model))
        entries = {}
        for place, size in enumerate(sizes):
            self._stage(f"batches of {size}", place / len(sizes))
            entries[str(size)] = self._one_batch(images, size, int(live * size * _WORKSPACE))
        return entries

    def _one_batch(self, images: Path, size: int, needed: int) -> BatchTiming | NotMeasured:
        needed += len(self._model) * 2 + 60_000_000  # packed weights; Python and the runtime
        free = available_bytes()
        if needed > free:
            return NotMeasured(
                error=f"a batch of {size} needs about {needed / 1e6:.0f} MB of memory; {free / 1e6:.0f} MB are free"
            )
        try:
            wanted = self._basic(images, count=self._request.batch_images) | {"batch": size}
            return BatchTiming.model_validate(run_task("batch", wanted, memory=free + _LIBRARIES))
        except MemoryError:
            return NotMeasured(
                error=f"a batch of {size} does not fit into the {free / 1e6:.0f} MB of memory that are free"
            )
        except ModelError as error:  # the runtimes have many words for a lack of memory
            tight = f"; it needs about {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free" if 2 * needed > free else ""
            return NotMeasured(error=f"{error}{tight}")

    def _threads(self, images: Path) -> dict[str, Timing | NotMeasured]:
        counts = thread_counts(runtimes.threads_available())
        entries = {}
        for place, threads in enumerate(counts):
            self._stage(f"{threads} threads", place / len(counts))
            entries[str(threads)] = self._timing(images, count=_TIMED, threads=threads)
        return entries

    def _runtimes(self, images: Path) -> dict[str, Timing | NotMeasured]:
        entries = {}
        names = runtimes.side_by_side()
        for place, name in enumerate(names):
            self._stage(name, place / len(names))
            entries[name] = (
                self._timing(images, count=_TIMED, runtime=name)
                if runtimes.is_installed(name)
                else NotMeasured(error=runtimes.missing(name))
            )
        return entries

    def _gpu(self, images: Path) -> GpuTimes | NoGpu:
        wanted = self._basic(images, count=_TIMED)
        try:
            return GpuTimes.model_validate(run_task("gpu", wanted, timeout_s=_GPU_S + self._request.seconds))
        except EdgedError as error:
            return NoGpu(available=False, error=str(error))

    def _timing(self, images: Path, **options: Any) -> Timing | NotMeasured:
        try:
            return Timing.model_validate(run_task("timing", self._basic(images, **options)))
        except ModelError as error:
            return NotMeasured(error=str(error))

    def _basic(self, images: Path, **options: Any) -> dict[str, Any]:
        return {
            "model": str(self._request.model),
            "images": str(images),
            "runtime": self._runtime,
            "threads": self._request.threads,
            "seconds": self._request.seconds,
            **options,
        }


def thread_counts(available: int) -> list[int]:
    """Return 1, 2, … up to 8, then doubled, and all."""
    few = list(range(1, min(available, 8) + 1))
    return sorted({*few, *(2**power for power in range(4, 8) if 2**power < available), available})


def describe_machine() -> Machine:
    """Return what a reader of the numbers must know of the machine."""
    return Machine(
        processor=_processor(),
        architecture=platform.machine(),
        threads=runtimes.threads_available(),
        memory_mb=round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e6),
        load=round(os.getloadavg()[0], 2),
        python=platform.python_version(),
        edged=__version__,
        **performance.told(),
    )


def _processor() -> str:
    """The model's name: x86 tells it in /proc/cpuinfo, ARM boards in the device tree."""
    for path, key in (("/proc/device-tree/model", None), ("/proc/cpuinfo", "model name")):
        try:
            text = Path(path).read_text(errors="replace")
        except OSError:
            continue
        if key is None:
            return text.strip("\0 \n")
        for line in text.splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return platform.machine()
