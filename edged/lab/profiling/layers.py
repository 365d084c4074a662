"""Time per layer: each operator is cut out, runs alone on its real input, and all together are held against the whole.

The Python interpreters do not give out their operator profiler. So every operator becomes a model of its own, opened
in the same runtime with the same delegate (XNNPACK packs its weights as it does in the whole). In each round all of
them run once in the graph's order, each on the tensor that the one before has just made, and then the whole graph
runs. The cost of a call, measured on a graph without operators, is taken off each. The chain's result must equal the
whole's byte for byte, in every round.

The sum and the whole come from the same rounds, the quiet quarter of all, so that what a busy machine does to one it
does to the other: a round counts for both or for none. `explained` is their ratio, and `explained_range` tells between
which ratios the single rounds of that quarter lie.

**Where an operator's memory lies in the caches decides whether the sum explains the whole.** In the whole, activations
go through one small arena over and over; operators that stand alone have an arena each, all of which together do not
fit into a cache. Operators that are merely invoked one after another sum to more than the whole, and to less where each
runs twice in a row and the second run is timed (tools/reports/profiling.md has the numbers). So the output is written
once before a layer is timed, then its input is copied from where the layer before has just left it: both are in the
cache, as in the whole, and the weights are not. A neighbour that fills the caches of the machine still moves the ratio;
the range shows it.

All of this happens on one thread and is measured in that thread's processor time, which a busy machine does not
stretch: an operator alone would pay for waking a pool of threads that the whole wakes once. The report's `threads`
tells what more threads bring the whole.

What a runtime merges in the whole (XNNPACK folds a PAD into the convolution behind it, for one) costs its own time
here: the sum then lies above the whole, and `explained` says by how much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.contract.reports import Layer, LayersSum
from edged.errors import ModelError
from edged.lab.profiling.costs import costs
from edged.lab.profiling.cutting import cut_out, without_operators
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
"""The percentage of the rounds that counts: those in which everything together took least. A process that ran in
between has emptied the caches, which costs processor time too, and this leaves such rounds out."""


@dataclass(frozen=True, slots=True)
class Round:
    """Processor times of one round, ms.

    Attributes:
        layers: Of each operator, with the cost of its call.
        whole: Of the whole graph, with the cost of its call.
        call: Of a call of no operator.
    """

    layers: tuple[float, ...]
    whole: float
    call: float


@dataclass(frozen=True, slots=True)
class _Step:
    """One operator in an interpreter of its own; `sources`: who has made each input, or the values themselves."""

    runner: Runner
    sources: tuple[tuple[Runner, int] | NDArray[Any], ...]

    def fill(self) -> None:
        """Bring the output's memory into the cache, then the inputs: they may share it."""
        for place in range(len(self.runner.outputs)):
            self.runner.clear(place)
        for place, source in enumerate(self.sources):
            if isinstance(source, tuple):
                maker, output = source
                self.runner.put_from(place, maker, output)
            else:
                self.runner.put(place, source)


class LayerTimer:
    """All operators of a model, each in an interpreter of its own.

    Args:
        model: Content of a .tflite file.
        image: The model's input, RGB (1, height, width, 3) uint8.
        runtime: Name of an interpreter, one of `runtimes.NAMES`.
        clock: Nanoseconds of processor time of this thread.

    Attributes:
        exact: Whether the chain has given the whole's output, byte for byte, in every round so far.

    Raises:
        ModelError: The runtime refuses the model or one of its operators.
    """

    def __init__(
        self, model: bytes, image: NDArray[np.uint8], *, runtime: str, clock: Callable[[], int] = time.thread_time_ns
    ) -> None:
        self._clock = clock
        graph = unpack(model)
        self.costs = costs(graph)
        self._whole = Runner(model, runtime=runtime, threads=1)
        given = image if self._whole.dtype == np.uint8 else (image ^ 0x80).view(np.int8)
        self._image = given
        source = int(graph.subgraphs[0].inputs[0])
        made: dict[int, tuple[Runner, int] | NDArray[Any]] = {source: given}
        self._steps: list[_Step] = []
        for position in range(len(self.costs)):
            cut = cut_out(graph, [position])
            runner = Runner(cut.model, runtime=runtime, threads=1)
            self._steps.append(_Step(runner, tuple(made[index] for index in cut.inputs)))
            made |= {index: (runner, place) for place, index in enumerate(cut.outputs)}
        output = int(graph.subgraphs[0].outputs[0])
        self._last = made[output]
        empty = without_operators(graph, output)
        self._idle = [Runner(empty, runtime=runtime, threads=1) for _ in range(_IDLE)]
        self.exact = True

    def round(self) -> Round:
        """Run everything once."""
        times = []
        for step in self._steps:
            step.fill()
            times.append(step.runner.invoke(self._clock))
        # Right behind the last operator, each an interpreter that was not touched for a round: as the operators were.
        call = float(np.median([runner.invoke(self._clock) for runner in self._idle]))
        self._whole.put(0, self._image)
        whole = self._whole.invoke(self._clock)
        last = self._last[0].get(self._last[1]) if isinstance(self._last, tuple) else self._last
        self.exact = self.exact and bool(np.array_equal(self._whole.get(), last))
        return Round(tuple(times), whole, call)


@dataclass(frozen=True, slots=True)
class Summary:
    """What the rounds say, without the cost of the calls.

    Attributes:
        layers: Time of each operator, ms.
        whole: Time of the whole graph, ms; 0 or less where it cannot be told from a call.
        call: Cost of a call, ms.
        range: Least and greatest ratio of the layers' sum to the whole in a single round that counts.
    """

    layers: NDArray[np.float64]
    whole: float
    call: float
    range: tuple[float, float] | None

    @property
    def total(self) -> float:
        """Time of all operators together, ms."""
        return float(self.layers.sum())

    @property
    def explained(self) -> float | None:
        """The operators' time as a part of the whole's; None where the whole took no time that can be measured."""
        return self.total / self.whole if self.whole > 0 else None


def summarize_rounds(rounds: Sequence[Round]) -> Summary:
    """Average over the quiet quarter of the rounds: those in which operators and whole together took least.

    A round counts for the operators and for the whole, or for neither. Picking the quickest rounds of each by itself
    would compare what did not happen at the same time.
    """
    layers, wholes = np.array([one.layers for one in rounds]), np.array([one.whole for one in rounds])
    call = float(np.median([one.call for one in rounds]))
    together = layers.sum(axis=1) + wholes
    quiet = together <= np.percentile(together, _QUIET)
    own, whole = layers[quiet] - call, wholes[quiet] - call
    ratios = own.sum(axis=1) / whole if (whole > 0).all() else None
    return Summary(
        layers=np.maximum(own.mean(axis=0), 0.0),
        whole=float(whole.mean()),
        call=call,
        range=None if ratios is None else (float(ratios.min()), float(ratios.max())),
    )


def profile_layers(
    model: bytes,
    image: NDArray[np.uint8],
    *,
    runtime: str,
    rounds: int = 200,
    seconds: float = 20.0,
    tell: Callable[[float], None] = lambda _: None,
    clock: Callable[[], int] = time.thread_time_ns,
) -> tuple[tuple[Layer, ...], LayersSum]:
    """Time each layer.

    Args:
        model: Content of a .tflite file.
        image: The model's input, RGB (1, height, width, 3) uint8.
        runtime: Name of an interpreter, one of `runtimes.NAMES`.
        rounds: At most so many; the quiet quarter of them counts.
        seconds: No new round begins after so long; three are run in any case.
        tell: Takes the fraction done.
        clock: As `LayerTimer`.

    Returns:
        The layers in the order of execution, and how well they explain the whole.

    Raises:
        ModelError: As `LayerTimer`.
    """
    timer = LayerTimer(model, image, runtime=runtime, clock=clock)
    if not timer.costs:
        raise ModelError("has no operators to time")
    for _ in range(_WARM_ROUNDS):
        timer.round()
    done: list[Round] = []
    began = time.monotonic()
    while len(done) < rounds and (len(done) < _LEAST_ROUNDS or time.monotonic() - began < seconds):
        done.append(timer.round())
        tell(max(len(done) / rounds, min((time.monotonic() - began) / seconds, 1.0)))
    found = summarize_rounds(done)
    total, slowest = found.total, int(found.layers.argmax())
    layers = tuple(
        Layer(
            **cost.model_dump(),
            ms=round(float(ms), 5),
            share=round(float(ms) / total, 5) if total else 0.0,
            slowest=place == slowest,
        )
        for place, (cost, ms) in enumerate(zip(timer.costs, found.layers, strict=True))
    )
    return layers, LayersSum(
        sum_ms=round(total, 4),
        whole_ms=round(found.whole, 4),
        explained=None if found.explained is None else round(found.explained, 4),
        explained_range=None if found.range is None else (round(found.range[0], 4), round(found.range[1], 4)),
        call_us=round(found.call * 1e3, 2),
        rounds=len(done),
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
    from edged.terminal.profile import explained_text
    from edged.terminal.text import count, precise_milliseconds, shape

    layers, whole = report.layers, report.layers_sum
    if layers is None or whole is None:
        raise ValueError("a report without layers")
    shares: dict[str, float] = {}
    for layer in layers:
        shares[layer.op] = shares.get(layer.op, 0.0) + layer.share
    ops = sorted(shares, key=lambda op: -shares[op])
    explained = "" if whole.explained is None else f" ({explained_text(whole)})"
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
