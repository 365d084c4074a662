"""What a profile reports: times, throughput and memory of one model on one machine, and of models side by side."""

from __future__ import annotations

from typing import Literal

from edged.contract.reports.part import PerformanceState, ReportPart


class NotMeasured(ReportPart):
    """Stands for an entry that could not be measured, e.g. a batch that does not fit into memory.

    Attributes:
        error: Why, one line.
    """

    error: str


class ProfiledModel(ReportPart):
    """The model that was profiled.

    Attributes:
        name: The name by which people call the model.
        id: Bundle id; None for a bare file.
        input: Height, width and channels.
        dtype: Type of the input, "uint8" or "int8".
        classes: Outputs of its head.
        operators: Layers of the graph.
        mb: Size of the file, 10^6 bytes.
        params: Weights, biases and other constants.
        macs: Multiply-accumulates for one image.
        images: Photos that it was profiled on.
    """

    name: str
    id: str | None = None
    input: tuple[int, int, int]
    dtype: str
    classes: int
    operators: int
    mb: float
    params: int
    macs: int
    images: int


class Machine(PerformanceState):
    """What a reader of the numbers must know of the machine.

    Attributes:
        processor: Its name.
        architecture: E.g. "aarch64".
        threads: Processors that the profile may use.
        memory_mb: All memory, 10^6 bytes.
        load: Mean number of runnable processes in the last minute, when the profile began.
        python: Version of the interpreter.
        edged: Version of edged.
    """

    processor: str
    architecture: str
    threads: int
    memory_mb: int
    load: float
    python: str
    edged: str


class OperatorCost(ReportPart):
    """What one operator of a graph costs by its shapes.

    Attributes:
        name: Name of its first output tensor.
        op: The operator, e.g. "CONV_2D".
        macs: Multiply-accumulates for one image.
        params: Weights, biases and other constants that it computes with.
        input_shape: Shape of its first input that is no constant.
        output_shape: Shape of its first output.
    """

    name: str
    op: str
    macs: int
    params: int
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


class Layer(OperatorCost):
    """One operator of the graph, in the order of execution: what it costs by its shapes, and as measured.

    Attributes:
        ms: Processor time of one run.
        share: Its share of the time of all layers, 0..1.
        slowest: Whether no other layer takes longer.
    """

    ms: float
    share: float
    slowest: bool


class LayersSum(ReportPart):
    """How well the layers explain the whole.

    Attributes:
        sum_ms: Time of all layers together, milliseconds.
        whole_ms: Time of the whole graph, run in the same rounds as the single layers, milliseconds.
        explained: `sum_ms` / `whole_ms`; None where the whole took no time that can be measured.
        explained_range: Least and greatest such ratio of a single round, of the rounds that count; absent in reports of
            older devices.
        call_us: Cost of a call, which was taken off each layer, microseconds.
        rounds: Number of times that every layer and the whole graph ran.
        exact: Whether the chain of layers gave the same scores as the whole, byte for byte.
        runtime: The interpreter.
        threads: Always 1.
    """

    sum_ms: float
    whole_ms: float
    explained: float | None = None
    explained_range: tuple[float, float] | None = None
    call_us: float
    rounds: int
    exact: bool
    runtime: str
    threads: int


class EndToEnd(ReportPart):
    """One inference from the camera to the broker's acknowledgement: medians, milliseconds.

    Attributes:
        frames: Number of frames that were measured.
        source: The camera's.
        publish_ms: From publishing to the acknowledgement; None where there was no broker.
        total_ms: Sum of the medians.
        note: Why there was no broker; absent where there was one.
    """

    frames: int
    source: str
    capture_ms: float
    preprocess_ms: float
    invoke_ms: float
    publish_ms: float | None = None
    total_ms: float
    note: str | None = None


class Times(ReportPart):
    """Times of single invocations, milliseconds; quantiles are nearest ranks.

    Attributes:
        images: Invocations that were measured; fewer than were asked for where time was up.
    """

    images: int
    total_ms: float
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Timing(Times):
    """Images classified one after another.

    Attributes:
        cpu_ms: Processor time of all threads per image.
        version: Of the runtime; None where its package does not tell.
        threads: For one invocation.
    """

    cpu_ms: float
    version: str | None = None
    threads: int


class BatchTiming(ReportPart):
    """Images classified in batches of one size.

    Attributes:
        images: That were classified.
        cpu_ms: Processor time of all threads per image.
        images_per_s: Throughput.
        batch_ms: Median of one batch.
        peak_mb: Most memory that the process had resident, 10^6 bytes.
        base_mb: The same before the batch, with the model loaded for single images.
    """

    images: int
    cpu_ms: float
    images_per_s: float
    batch_ms: float
    peak_mb: float
    base_mb: float


class GpuTimes(Times):
    """Images classified one after another on the GPU."""

    available: Literal[True]


class NoGpu(ReportPart):
    """There is no GPU, or it does not take the model.

    Attributes:
        error: Why, one line.
    """

    available: Literal[False]
    error: str


class ProfileReport(ReportPart):
    """The report of `cmd/profile` and `edged profile`. Parts that were not asked for are absent.

    Attributes:
        layers: Time per layer.
        layers_sum: Comes with `layers`.
        end_to_end: One inference from camera to broker.
        online: Number of images that was asked for → times of so many, one after another.
        batch: Size of a batch → throughput and memory.
        threads: Number of threads → times.
        runtimes: Name of a runtime → times.
        gpu: Times on a GPU where LiteRT finds one.
    """

    v: Literal[1]
    model: ProfiledModel
    machine: Machine
    layers: tuple[Layer, ...] | None = None
    layers_sum: LayersSum | None = None
    end_to_end: EndToEnd | NotMeasured | None = None
    online: dict[str, Timing | NotMeasured] | None = None
    batch: dict[str, BatchTiming | NotMeasured] | None = None
    threads: dict[str, Timing | NotMeasured] | None = None
    runtimes: dict[str, Timing | NotMeasured] | None = None
    gpu: GpuTimes | NoGpu | None = None


class ComparedModel(ReportPart):
    """One model beside others: a row of `edged profile --compare`.

    Attributes:
        name: The name by which people call the model.
        images: Photos that were shown to it.
        judged: Number of these photos that show one of its classes.
        accuracy: Share of the judged photos whose right class was the best, 0..1; None where there are none.
        top5: Share of the judged photos whose right class was among the best five, 0..1; None where there are none.
        ms: Median of one invocation.
        cpu_ms: Its median processor time, of all threads.
        mb: Size of the file, 10^6 bytes.
        macs: Multiply-accumulates for one image.
        params: Weights, biases and other constants.
        accuracy_per_ms: `accuracy` / `ms`.
        energy_mj: What the whole machine takes for one image, its preparing included; absent where no sensor tells.
        note: What a reader must know; absent where there is nothing.
    """

    name: str
    images: int
    judged: int
    accuracy: float | None
    top5: float | None
    ms: float
    cpu_ms: float
    mb: float
    macs: int
    params: int
    accuracy_per_ms: float | None
    energy_mj: float | None = None
    note: str | None = None
