"""What is measured in a process of its own, because memory, runtimes and accelerators are a process's affair.

Imports neither OpenCV nor the rest of edged: what such a process weighs is the runtime, the model and the batch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edged.errors import ModelError
from edged.lab.profiling.cutting import with_free_batch
from edged.lab.profiling.runtimes import Runner, version
from edged.memory import peak_mb

_WARM = 3
_NO_GPU = "no GPU here"


def run_timing(request: Mapping[str, Any]) -> dict[str, Any]:
    """Classify images one by one: request {model, images, runtime, threads, count, seconds} → `summarize`, cpu_ms."""
    images = np.load(request["images"])
    runner = Runner(Path(request["model"]).read_bytes(), runtime=request["runtime"], threads=request["threads"])
    for place in range(_WARM):
        runner.infer(images[place % len(images)][np.newaxis])
    begin = time.process_time()
    times = measure(
        lambda place: runner.infer(images[place % len(images)][np.newaxis]), request["count"], request["seconds"]
    )
    # Of all threads; beside the wall's time it tells how far others on the machine were in the way.
    cpu_ms = (time.process_time() - begin) * 1e3 / len(times)
    return summarize(times) | {
        "cpu_ms": round(cpu_ms, 4),
        "version": version(request["runtime"]),
        "threads": request["threads"],
    }


def run_batch(request: Mapping[str, Any]) -> dict[str, Any]:
    """Classify in batches: request as for `run_timing`, with `batch` → {images, images_per_s, peak_mb, …}.

    Raises:
        ModelError: The model cannot be batched.
    """
    images, batch, model = np.load(request["images"]), int(request["batch"]), Path(request["model"]).read_bytes()
    options = {"runtime": request["runtime"], "threads": request["threads"]}
    single = Runner(model, **options)
    single.infer(images[:1])
    first = single.get()
    base_mb = peak_mb()
    freed = single if batch == 1 else Runner(with_free_batch(model), batch=batch, **options)
    full = images[np.arange(batch) % len(images)]
    freed.infer(full)
    rows = freed.get()
    # An accelerator adds real numbers in another order, and may round the last of 8 bits in another way.
    steps = 1 if str(request["runtime"]).startswith("onnx:") else 0
    if rows.shape[0] != batch or np.abs(rows[0].astype(int) - first[0]).max() > steps:
        raise ModelError(f"cannot be batched: a batch of {batch} gives other scores than its images alone")
    begin = time.process_time()
    times = measure(lambda _: freed.infer(full), -(-request["count"] // batch), request["seconds"])
    cpu_ms = (time.process_time() - begin) * 1e3 / (len(times) * batch)
    seconds = sum(times) / 1e3
    return {
        "images": len(times) * batch,
        "cpu_ms": round(cpu_ms, 4),
        "images_per_s": round(len(times) * batch / seconds, 2),
        "batch_ms": round(float(np.median(times)), 3),
        "peak_mb": peak_mb(),
        "base_mb": base_mb,
    }


def run_gpu(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run on the GPU that LiteRT's accelerator finds: request as for `run_timing`.

    Raises:
        ModelError: There is none, or it does not take the whole model.
    """
    try:
        from ai_edge_litert.compiled_model import CompiledModel
        from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    except (ImportError, OSError) as error:
        raise ModelError(f"{_NO_GPU}: this LiteRT has no accelerators ({error})") from error
    images = np.load(request["images"])
    try:
        compiled = CompiledModel.from_buffer(
            Path(request["model"]).read_bytes(), hardware_accel=HardwareAccelerator.GPU
        )
        if not compiled.is_fully_accelerated():
            raise ModelError("the GPU does not take all of the model's operators")
        given, taken = compiled.create_input_buffers(0), compiled.create_output_buffers(0)
        details = compiled.get_output_tensor_details(next(iter(compiled.get_signature_list())))
        size = int(np.prod(next(iter(details.values()))["shape"]))

        def once(place: int) -> float:
            begin = time.perf_counter_ns()
            given[0].write(np.ascontiguousarray(images[place % len(images)]))
            compiled.run_by_index(0, given, taken)
            taken[0].read(size, np.uint8)  # waits for the device
            return (time.perf_counter_ns() - begin) / 1e6

        for place in range(_WARM):
            once(place)
        return summarize(measure(once, request["count"], request["seconds"])) | {"available": True}
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{_NO_GPU}: LiteRT's accelerator finds none that runs this model") from error


def summarize(times_ms: Sequence[float]) -> dict[str, Any]:
    """Return the fields of `reports.Times`: images, total, mean and nearest-rank quantiles, milliseconds."""
    p50, p95, p99 = np.quantile(times_ms, (0.5, 0.95, 0.99), method="inverted_cdf").tolist()
    total = math.fsum(times_ms)
    return {
        "images": len(times_ms),
        "total_ms": round(total, 3),
        "mean_ms": round(total / len(times_ms), 4),
        "p50_ms": round(p50, 4),
        "p95_ms": round(p95, 4),
        "p99_ms": round(p99, 4),
    }


def measure(once: Callable[[int], float], count: int, seconds: float) -> list[float]:
    """Call `once` with 0, 1, 2, …, at most `count` times and, after the first, for at most so many seconds.

    Args:
        once: Does the work and returns the milliseconds that count.
        count: At least 1.
        seconds: The time after which no new call begins.
    """
    deadline = time.monotonic() + seconds
    times = [once(0)]
    while len(times) < count and time.monotonic() < deadline:
        times.append(once(len(times)))
    return times


TASKS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "timing": run_timing,
    "batch": run_batch,
    "gpu": run_gpu,
}
