"""Time per layer: each operator is cut out, runs alone on its real input, and all together are held against the whole.

The Python interpreters do not give out their operator profiler. So every operator becomes a model of its own, opened
in the same runtime with the same delegate (XNNPACK packs its weights as it does in the whole). In each round all of
them run once in the graph's order, each on the tensor that the one before has made, and then the whole graph runs:
caches, clocks and neighbours on the machine treat both alike. The cost of a call, measured on a graph without
operators, is taken off each. The chain's result must equal the whole's byte for byte.

All of this happens on one thread and is measured in that thread's processor time, which a busy machine does not
stretch: an operator alone would pay for waking a pool of threads that the whole wakes once. The report's `threads`
tells what more threads bring the whole.

What a runtime merges in the whole (XNNPACK folds a PAD into the convolution behind it, for one) costs its own time
here: the sum then lies above the whole, and `explained` says by how much.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.contract.reports import Layer, LayersSum
from edged.errors import ModelError
from edged.lab.profiling.costs import costs
from edged.lab.profiling.cutting import Cut, cut_out, without_operators
from edged.lab.profiling.runtimes import Runner
from edged.vision.flatbuffer import unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.contract.reports import ProfileReport

_LEGEND = 6
"""Operators that the picture's legend names: those that take most of the time."""
_WARM_ROUNDS = 2
_LEAST_ROUNDS = 3
_IDLE = 9
"""Interpreters without operators whose median tells the cost of a call."""
_QUIET = 25
"""The percentile of the rounds that is reported: a process that ran in between has emptied the caches, which costs
processor time too, and a lower percentile leaves such rounds out."""


class LayerTimer:
    """All operators of a model, each in an interpreter of its own.

    Args:
        model: Content of a .tflite file.
        image: The model's input, RGB (1, height, width, 3) uint8.
        runtime: Name of an interpreter, one of `runtimes.NAMES`.

    Raises:
        ModelError: The runtime refuses the model or one of its operators.
    """

    def __init__(self, model: bytes, image: NDArray[np.uint8], *, runtime: str) -> None:
        graph = unpack(model)
        self.costs = costs(graph)
        self._whole = Runner(model, runtime=runtime, threads=1)
        given = image if self._whole.dtype == np.uint8 else (image ^ 0x80).view(np.int8)
        self._image = given
        source = int(graph.subgraphs[0].inputs[0])
        values: dict[int, NDArray[Any]] = {source: given}
        self._steps: list[tuple[Runner, list[NDArray[Any]]]] = []
        for position in range(len(self.costs)):
            cut = cut_out(graph, [position])
            self._steps.append(self._open(cut, values, runtime))
        output = int(graph.subgraphs[0].outputs[0])
        empty = without_operators(graph, output)
        self._idle = [Runner(empty, runtime=runtime, threads=1) for _ in range(_IDLE)]
        self._whole.put(0, given)
        self._whole.invoke()
        self.exact = bool(np.array_equal(self._whole.get(), values[output]))

    def round(self) -> tuple[list[float], float, float]:
        """Run everything once; return processor time, ms: of each operator, of the whole, of a call of no operator."""
        times = []
        for runner, inputs in self._steps:
            for place, value in enumerate(inputs):
                runner.put(place, value)
            times.append(runner.invoke(time.thread_time_ns))
        # Right behind the last operator, each an interpreter that was not touched for a round: as the operators were.
        call = float(np.median([runner.invoke(time.thread_time_ns) for runner in self._idle]))
        self._whole.put(0, self._image)
        return times, self._whole.invoke(time.thread_time_ns), call

    def _open(self, cut: Cut, values: dict[int, NDArray[Any]], runtime: str) -> tuple[Runner, list[NDArray[Any]]]:
        """Make one operator ready and run it, so that the next one has its input."""
        runner = Runner(cut.model, runtime=runtime, threads=1)
        inputs = [values[index] for index in cut.inputs]
        for place, value in enumerate(inputs):
            runner.put(place, value)
        runner.invoke()
        values |= {index: runner.get(place) for place, index in enumerate(cut.outputs)}
        return runner, inputs


def profile_layers(
    model: bytes,
    image: NDArray[np.uint8],
    *,
    runtime: str,
    rounds: int = 200,
    seconds: float = 20.0,
    tell: Callable[[float], None] = lambda _: None,
) -> tuple[tuple[Layer, ...], LayersSum]:
    """Time each layer.

    Args:
        model: Content of a .tflite file.
        image: The model's input, RGB (1, height, width, 3) uint8.
        runtime: Name of an interpreter, one of `runtimes.NAMES`.
        rounds: At most so many; the lower quartile of each operator counts.
        seconds: No new round begins after so long; three are run in any case.
        tell: Takes the fraction done.

    Returns:
        The layers in the order of execution, and how well they explain the whole.

    Raises:
        ModelError: As `LayerTimer`.
    """
    timer = LayerTimer(model, image, runtime=runtime)
    if not timer.costs:
        raise ModelError("has no operators to time")
    for _ in range(_WARM_ROUNDS):
        timer.round()
    parts: list[list[float]] = []
    wholes: list[float] = []
    calls: list[float] = []
    began = time.monotonic()
    while len(parts) < rounds and (len(parts) < _LEAST_ROUNDS or time.monotonic() - began < seconds):
        part, whole, call = timer.round()
        parts.append(part)
        wholes.append(whole)
        calls.append(call)
        tell(max(len(parts) / rounds, min((time.monotonic() - began) / seconds, 1.0)))
    call_ms = float(np.percentile(calls, _QUIET))
    times = np.maximum(np.percentile(np.asarray(parts), _QUIET, axis=0) - call_ms, 0.0)
    total, whole_ms = float(times.sum()), float(np.percentile(wholes, _QUIET)) - call_ms
    slowest = int(times.argmax())
    layers = tuple(
        Layer(
            **cost.model_dump(),
            ms=round(float(ms), 5),
            share=round(float(ms) / total, 5) if total else 0.0,
            slowest=place == slowest,
        )
        for place, (cost, ms) in enumerate(zip(timer.costs, times, strict=True))
    )
    return layers, LayersSum(
        sum_ms=round(total, 4),
        whole_ms=round(whole_ms, 4),
        explained=round(total / whole_ms, 4) if whole_ms > 0 else None,
        call_us=round(call_ms * 1e3, 2),
        rounds=len(parts),
        exact=timer.exact,
        runtime=runtime,
        threads=1,
    )


def draw_layers(report: ProfileReport) -> str:
    """Draw a bar per layer as SVG, in the graph's order, coloured by operator; the slowest is marked.

    Args:
        report: With `layers` and `layers_sum`.

    Raises:
        ValueError: They were not measured.
    """
    from edged.lab.chart import Bar, BarChart
    from edged.terminal.text import count, precise_milliseconds, shape

    layers, whole = report.layers, report.layers_sum
    if layers is None or whole is None:
        raise ValueError("a report without layers")
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer.op] = shares.get(layer.op, 0.0) + layer.share
    ops = sorted(shares, key=lambda op: -shares[op])
    explained = "" if whole.explained is None else f" ({whole.explained:.1%} explained)"
    return BarChart(
        f"{report.model.name}: time per layer",
        f"{len(layers)} layers, sum {whole.sum_ms:.2f} ms, whole {whole.whole_ms:.2f} ms{explained}, {whole.runtime}, "
        f"1 thread, {report.machine.processor}",
        [
            Bar(
                label=f"{place}  {shape(layer.input_shape)} → {shape(layer.output_shape)}",
                value=layer.ms,
                kind=layer.op,
                note=f"{precise_milliseconds(layer.ms)} ms"
                + (f", {count(layer.macs)}" if layer.macs else "")
                + ("  ◀ slowest" if layer.slowest else ""),
                tooltip=f"{layer.name}: {layer.op}, {precise_milliseconds(layer.ms)} ms, {layer.share:.2%}",
                marked=layer.slowest,
            )
            for place, layer in enumerate(layers)
        ],
        {op: f"{op} {shares[op]:.1%}" for op in ops[:_LEGEND]},
        ops,
    ).svg()
