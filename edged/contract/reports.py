"""What a training and a profile report: typed models, written by the device and read by both command lines.

A report travels as JSON in `job.report`. What was not measured is absent. Readers ignore fields that they do not know.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

Share: TypeAlias = float
"""A share of all, 0..1; written so because one class below has a field whose name on the wire is `float`."""


class ReportPart(BaseModel):
    """Base of everything in a report: frozen, finite numbers, and tolerant of fields that a newer device adds.

    Its validator is built when the first report is read or written: most processes that import this module never do.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; fields that were never set are left out."""
        return self.model_dump(mode="json")

    @model_serializer(mode="wrap")
    def _write_what_was_set(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out fields that were never set, also where the report is a part of another message."""
        return {name: value for name, value in write(self).items() if name in self.model_fields_set}


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


class PerformanceState(ReportPart):
    """What the machine was set to: who measures again must set it so. What it does not tell is absent.

    Attributes:
        l4t: Release of a Jetson's Linux, e.g. "35.4.1".
        nvpmodel: A Jetson's power mode.
        jetson_clocks: Whether a Jetson's clocks are locked.
        governor: Of the cores' clocks.
        clock_mhz: Some of "cpu", "gpu" → megahertz, when the work began.
        clock_range_mhz: Some of "cpu", "gpu" → the limits in force.
    """

    l4t: str | None = None
    nvpmodel: str | None = None
    jetson_clocks: bool | None = None
    governor: str | None = None
    clock_mhz: dict[str, int] | None = None
    clock_range_mhz: dict[str, tuple[int, int]] | None = None


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


class SkippedImage(ReportPart):
    """A file among the labeled images that the training could not use.

    Attributes:
        file: Its path below the folder of images.
        reason: Why, one line.
    """

    file: str | None = None
    reason: str | None = None


class RankedSource(ReportPart):
    """One installed network as a source to start the training from. What is not known, or not measured, is absent.

    Attributes:
        name: The name by which people call the model.
        id: Bundle id.
        dataset: What the network was trained on.
        source_images: Number of images in that dataset.
        divergence: How far the labeled images are from the dataset's, nats; 0: alike.
        score: Estimate of how well it suits the labeled images; higher is better.
        accuracy: Accuracy of heads on its bottlenecks, measured by cross-validation, 0..1.
        error: Standard error of `accuracy`, as if images were independent.
        images: Labeled images that `accuracy` was measured on; in a race, those that this network has seen.
        frame_ms: Time of one invocation on the device, milliseconds; measured where there is a limit.
        memory_mb: Memory that running it takes there, 10^6 bytes; likewise.
        seconds: What estimating or measuring it took.
        warning: Why to keep away from it.
    """

    name: str | None = None
    id: str | None = None
    dataset: str | None = None
    source_images: int | None = None
    divergence: float | None = None
    score: float | None = None
    accuracy: Share | None = None
    error: float | None = None
    images: int | None = None
    frame_ms: float | None = None
    memory_mb: float | None = None
    seconds: float | None = None
    warning: str | None = None


class BackboneChoice(ReportPart):
    """How a training with `backbone = auto` chose its network, and what `edged sources rank --json` prints.

    Attributes:
        chosen: Name of the network that is likely best.
        way: What decided: "race"; "exact": cross-validated heads on every network and all images; "evidence": LogME;
            "divergence": how near the images are to what each network was trained on, and its published accuracy;
            "limits": one network alone was within the limits of time and memory.
        reason: Why, one line.
        exact: Whether accuracies were measured on all images.
        rounds: Of the race.
        images: Labeled images that were looked at; the test side was not.
        no_transfer: Accuracy without any pre-trained network, 0..1; None where it was not measured.
        seconds: What the ranking took.
        sources: All networks, the best first.
    """

    chosen: str | None = None
    way: str | None = None
    reason: str | None = None
    exact: bool | None = None
    rounds: int | None = None
    images: int | None = None
    no_transfer: Share | None = None
    seconds: float | None = None
    sources: tuple[RankedSource, ...] = ()


class TrainingHistory(ReportPart):
    """How the training of the head came to it: an entry an epoch, of some epochs evenly spread where there were many.

    Attributes:
        epoch: Which, from 1.
        loss: Mean weighted cross-entropy of the training images in it.
        accuracy: Accuracy on the training images in it, 0..1.
        validation_loss: Mean weighted cross-entropy of the validation images after it; absent without any.
        validation_accuracy: Accuracy on the validation images after it, 0..1; absent without any.
    """

    epoch: tuple[int, ...] = ()
    loss: tuple[float | None, ...] = ()
    accuracy: tuple[Share | None, ...] = ()
    validation_loss: tuple[float | None, ...] = ()
    validation_accuracy: tuple[Share | None, ...] = ()


class HeadTraining(ReportPart):
    """How the training of the head went.

    Attributes:
        epochs: Passes over the training images.
        best_epoch: The epoch whose weights were taken, from 1.
        cuts: Epochs, from 1, after which the learning rate was cut, up to the best one.
        stopped: What ended the training: "epochs" or "patience".
        loss: Mean weighted cross-entropy of the training images in the best epoch.
        validation_loss: Mean weighted cross-entropy of the validation images in the best epoch; None where there are
            none.
        history: Loss and accuracy of its epochs; absent in reports of older devices.
    """

    epochs: int | None = None
    best_epoch: int | None = None
    cuts: tuple[int, ...] = ()
    stopped: str | None = None
    loss: float | None = None
    validation_loss: float | None = None
    history: TrainingHistory | None = None


class Accuracy(ReportPart):
    """Shares of images whose best class is their label, 0..1.

    Attributes:
        float: Accuracy of the head before quantization on the test images.
        quantized: Accuracy of the exported model, as it runs, on the test images.
        cross_validated: Accuracy on all labeled images of heads that were made like this one without them; None:
            nothing was judged.
        validation: Accuracy on the validation images of the head that was made without them; absent without any.
        previous: Accuracy of the model that answered before, on the images that judged both; None where there are
            none, absent where no model was compared.
    """

    float: Share | None = None
    quantized: Share | None = None
    cross_validated: Share | None = None
    validation: Share | None = None
    previous: Share | None = None


class ClassAccuracy(ReportPart):
    """The exported model on the test images of one label.

    Attributes:
        images: Test images with this label.
        precision: Share of right ones among the images predicted as this label; None where there are none.
        recall: Share of this label's images that were predicted as it; None where there are none.
    """

    images: int | None = None
    precision: Share | None = None
    recall: Share | None = None


class ConfusedPair(ReportPart):
    """Two labels that the model confuses: `count` test images of `label` were predicted as `predicted`."""

    label: str | None = None
    predicted: str | None = None
    count: int | None = None


class ConfusionMatrix(ReportPart):
    """The test images by their label, and by what the exported model took them for.

    Attributes:
        labels: Of the rows and of the columns, in this order.
        counts: For each label a row: how many of its test images were taken for each label.
    """

    labels: tuple[str, ...] = ()
    counts: tuple[tuple[int, ...], ...] = ()


class WorstImage(ReportPart):
    """A test image that is far from its label: mislabeled, or worth more images like it.

    Attributes:
        id: The image's id on the device.
        file: Name of its file.
        label: Its label.
        predicted: What the model says.
        score: The model's score of `label`, 0..1.
    """

    id: str | None = None
    file: str | None = None
    label: str | None = None
    predicted: str | None = None
    score: float | None = None


class NearDuplicate(ReportPart):
    """An image that shows nearly the same as a doubtful one, under another label."""

    id: str | None = None
    label: str | None = None


class DoubtfulImage(ReportPart):
    """An image whose label looks wrong.

    Attributes:
        id: The image's id on the device.
        file: Name of its file.
        label: Its label.
        looks_like: The label that it likely should have.
        confidence: Probability that its label is wrong, 0..1; None where its label has too few images to tell.
        near: Images that show nearly the same under another label, three at most; absent without any.
    """

    id: str | None = None
    file: str | None = None
    label: str | None = None
    looks_like: str | None = None
    confidence: Share | None = None
    near: tuple[NearDuplicate, ...] = ()


class DoubtfulLabels(ReportPart):
    """Labels that the other images contradict: the report of `cmd/images_doubtful`, and a part of a training's.

    Attributes:
        images: Photos of one thing under two labels, then the others, the most doubtful first; as many as asked for.
        number: How many images there are whose label is more likely wrong than right.
        share: Estimated share of wrong labels among the judged ones, 0..1; absent where none was judged.
        judged: Number of images that were judged by all others.
        right: Images that a person has looked at and found right; these are not named again.
        left_out: Label whose images could not be judged → why.
        unreadable: Images that could not be read.
    """

    images: tuple[DoubtfulImage, ...] = ()
    number: int | None = None
    share: Share | None = None
    judged: int | None = None
    right: int | None = None
    left_out: dict[str, str] = {}
    unreadable: int | None = None


class Decision(ReportPart):
    """Whether the new model may answer, and why.

    Attributes:
        verdict: "promoted": better than the model that answered before, or shown to be not much worse. "refused":
            worse, or too bad. "undecided": too few images tell. Absent in reports of older devices.
        promote: Whether it may answer: it is promoted, or undecided and accepted.
        accepted: Whether a person promotes it although too few images tell; absent where the verdict is clear.
        reason: Why, one line.
        against: Id of the model that it was compared with; None: with none.
        images: Images that both were measured on.
        difference: New accuracy − old accuracy on these images; None where nothing was compared.
        low, high: Its interval, each end passed by chance in 5 % of cases; None where nothing was compared.
        noise: In reports of older devices: the greatest drop that chance explains.
        made_again: Whether the old model was made again without the images that it judged; else its file judged images
            that it was not made of. None where nothing was compared.
        more_images: So many more labeled images would likely decide it; absent where it is decided.
        fallen: Label → how far its recall fell, where it fell too far; absent without any.
        renamed: Label of the old model → its name now; absent without any.
    """

    verdict: Literal["promoted", "refused", "undecided"] | None = None
    promote: bool | None = None
    accepted: bool | None = None
    reason: str | None = None
    against: str | None = None
    images: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    noise: float | None = None
    made_again: bool | None = None
    more_images: int | None = None
    fallen: dict[str, float] = {}
    renamed: dict[str, str] = {}


class ScoreQuality(ReportPart):
    """What scores are worth as probabilities; of the image's best class, where a class is not named.

    Attributes:
        error: Expected calibration error, 0..1: how far the accuracy lies from the score, over 15 bins of equal width.
        chance: The error that exact scores would show on as many images.
        brier: Brier score, 0..1: mean of (score − 1)² of images that are right, and score² of the others.
        log_loss: Mean of −ln of the label's score.
    """

    error: float | None = None
    chance: float | None = None
    brier: float | None = None
    log_loss: float | None = None


class ReliabilityBin(ReportPart):
    """Images with similar scores: their number, mean best score, and the share whose best class is their label."""

    images: int | None = None
    score: Share | None = None
    accuracy: Share | None = None


class Calibration(ReportPart):
    """How scores were made to mean something, cross-validated: on images that a head like the new one was not made of.

    Attributes:
        temperature: What the logits were divided by; it is part of the head's weights.
        images: Images that were judged.
        before: What scores were worth without the temperature.
        after: What they are worth with it.
        constant: What the accuracy would be worth as the score of every image: its error is 0, it tells nothing.
        bins: Reliability of the scores with the temperature: bins of equal width, lowest scores first, without empty
            ones.
    """

    temperature: float | None = None
    images: int | None = None
    before: ScoreQuality | None = None
    after: ScoreQuality | None = None
    constant: ScoreQuality | None = None
    bins: tuple[ReliabilityBin, ...] = ()


class TaughtExamples(ReportPart):
    """What the bundle keeps of the taught images, to tell how alike a frame is to them.

    Attributes:
        exemplars: Bottlenecks that frames are compared with.
        held_out: Taught images whose likeness to the others a frame's is ranked among.
    """

    exemplars: int | None = None
    held_out: int | None = None


class CurvePoint(ReportPart):
    """Test accuracy of the head, 0..1, after training on `images` images; None without test images.

    Attributes:
        taken_over: Whether it stands as it was measured for an earlier model, because few images have come since.
    """

    images: int | None = None
    accuracy: Share | None = None
    taken_over: bool = False


class ClassCurve(ReportPart):
    """Recall of one label against the number of training images, and the outlook.

    Attributes:
        recall: The share of this label's test images that the head names, 0..1; one for each point of the curve.
        gain_per_100: What 100 more training images, shared out among the labels as those that there are, would likely
            add to it, 0..1.
    """

    recall: tuple[Share, ...] = ()
    gain_per_100: float | None = None


class LearningCurve(ReportPart):
    """Accuracy against the number of training images, and the outlook.

    Attributes:
        points: From few images to all.
        gain_per_100: What 100 more training images would likely add to the accuracy, 0..1; None: no estimate.
        classes: Label → the same of its recall, where at least 30 test images have it; of more than 30 such labels
            those that would gain most. Absent without any.
    """

    points: tuple[CurvePoint, ...] = ()
    gain_per_100: float | None = None
    classes: dict[str, ClassCurve] = {}


class TakenOver(ReportPart):
    """What a training after a few more images has taken over instead of computing it.

    Attributes:
        version: Id of the last version for which everything was computed.
        images: How many images were added, or got another label, since then.
        parts: What stands as it was then: "epochs", "cross-validation", "temperature", "familiarity", "doubtful
            labels", "learning curve"; the new images are judged by the version that answered before.
    """

    version: str | None = None
    images: int | None = None
    parts: tuple[str, ...] = ()


class TrainingReport(ReportPart):
    """The report of `cmd/retrain` and `edged retrain`, also in the manifest of the bundle that came out.

    Whatever can be absent is: devices of older versions did not report everything, and a training that ended early has
    not come to every part.

    Attributes:
        run: Name of the training: the job's id.
        hyperparameters: Name → value, see `contract.hyperparameters`; of an older device, those that it had.
        skipped: Files that could not be used.
        choice: How the backbone was chosen; absent where it was named.
        backbone: Name of the network that has got a new head.
        counts: Label → images.
        splits: "train", "validation" and "test" → images.
        left_out: Label that was not trained on → why.
        training: Epochs and losses of the training of the head.
        accuracy: Accuracy of the head, of the new and of the old model.
        classes: Label → how good the new model is on it.
        confused: Pairs of labels, the ten most confused ones, most confused first.
        confusion: All pairs of labels; absent with more than 30 labels, and in reports of older devices.
        worst: Test images, the furthest from their label first.
        doubtful: Images of all sides whose label looks wrong, 20 at most, and how many there are.
        spot_checks: Images on which the whole exported model and its head alone gave the same scores.
        decision: Whether the new model may answer.
        calibration: How far scores can be taken for probabilities; absent where no image was left out to tell.
        familiarity: What frames will be compared with; absent where too few images could be held out.
        learning_curve: What more images would bring.
        taken_over: What was not computed anew, after a few more images; absent where everything was.
        model: Id of the new bundle; absent where it was refused.
        seconds: Stage → what it took; "total" too.
        peak_memory_mb: Most memory that the training process held, 10^6 bytes; None where the kernel does not tell.
        performance: What the machine was set to when the training began; absent where it tells nothing of it.
    """

    run: str | None = None
    hyperparameters: dict[str, bool | int | float] = {}
    skipped: tuple[SkippedImage, ...] = ()
    choice: BackboneChoice | None = None
    backbone: str | None = None
    counts: dict[str, int] = {}
    splits: dict[str, int] = {}
    left_out: dict[str, str] = {}
    training: HeadTraining | None = None
    accuracy: Accuracy | None = None
    classes: dict[str, ClassAccuracy] = {}
    confused: tuple[ConfusedPair, ...] = ()
    confusion: ConfusionMatrix | None = None
    worst: tuple[WorstImage, ...] = ()
    doubtful: DoubtfulLabels | None = None
    spot_checks: int | None = None
    decision: Decision | None = None
    calibration: Calibration | None = None
    familiarity: TaughtExamples | None = None
    learning_curve: LearningCurve | None = None
    taken_over: TakenOver | None = None
    model: str | None = None
    seconds: dict[str, float] = {}
    peak_memory_mb: float | None = None
    performance: PerformanceState | None = None


class Bottlenecks(ReportPart):
    """What a device has made ready for a head that is trained elsewhere: the report of `cmd/bottlenecks_get`.

    Attributes:
        sha256: Of the whole, by which `bottlenecks_part` asks for it.
        bytes: Size of the whole.
        images: Images that are in it.
        counts: Label → images.
        backbone: Name of the network that has made the bottlenecks.
        backbone_sha256: Hash of its file: only bottlenecks of one file belong together.
        photo_bytes: What the photos take, which stay where they are.
        unreadable: Labeled images that could not be read.
        clip, sigma: The noise that is in it; absent without.
    """

    sha256: str
    bytes: int
    images: int
    counts: dict[str, int] = {}
    backbone: str
    backbone_sha256: str
    photo_bytes: int | None = None
    unreadable: int | None = None
    clip: float | None = None
    sigma: float | None = None


class Judgement(ReportPart):
    """How a device has judged a model that was made elsewhere: the report of `cmd/models_judge`.

    Attributes:
        model: Id of the model that was judged.
        name: Name under which it is installed.
        images: Images of this device that judged it.
        accuracy: Its accuracy on them; absent without any.
        previous: Accuracy of the model that answered, on those whose labels both know; absent without any.
        answers: Whether it answers now.
        decision: Why.
    """

    model: str
    name: str
    images: int
    accuracy: Share | None = None
    previous: Share | None = None
    answers: bool = False
    decision: Decision


class SideBySide(ReportPart):
    """A model beside the one that answers, on the device's own test images: the report of `cmd/models_compare`.

    Attributes:
        model: Id of the model.
        name: Its name.
        against: Id of the model that answers.
        images: Test images whose label the model that answers knows: they judge both.
        accuracy: Share of them that the model names rightly; absent where `why` tells that nothing was judged.
        previous: The same of the model that answers.
        beyond_chance: Whether chance alone would explain such a difference in fewer than 5 % of cases.
        unknown: Labels of these images that the model does not know: it is wrong on each of them; absent without any.
        why: Why nothing was judged, one line; absent where it was.
    """

    model: str
    name: str
    against: str
    images: int
    accuracy: Share | None = None
    previous: Share | None = None
    beyond_chance: bool | None = None
    unknown: tuple[str, ...] = ()
    why: str | None = None


class FineTuningEpoch(ReportPart):
    """One pass of fine-tuning over the training images.

    Attributes:
        epoch: From 1; 0: before the first pass, with a fitted head.
        lr: Learning rate of the head.
        loss: Mean loss of the training images, with smoothed labels, each measured before its step.
        accuracy: Accuracy on the training images, each before its step, 0..1.
        validation_loss: Mean loss of the validation images after the pass; None without any.
        validation_accuracy: Accuracy on the validation images after the pass, 0..1; None without any.
        seconds: What the pass took.
    """

    epoch: int
    lr: float
    loss: float
    accuracy: Share
    validation_loss: float | None
    validation_accuracy: Share | None
    seconds: float


class FineTuning(ReportPart):
    """How the layers before the head were retrained, and with which hyperparameters.

    Attributes:
        layers: Which: "head", "last-block", "all" or the number of blocks.
        multiplier: Factor on the learning rate of the layers before the head; 0 left these layers as they were.
        lr: Learning rate of the head.
        epochs: At most so many passes.
        batch: Images per step.
        patience: Epochs without a lower validation loss after which training ended.
        seed: Seed of the order of the images and of the flips.
        best_epoch: The epoch whose weights were kept; 0: only the head was fitted.
        keras_accuracy: Accuracy on the test images before quantization, 0..1; None without any.
        trained_parameters: Number of parameters that changed.
        trained_bytes: Bytes that these parameters take in the model.
        seconds: Stage of the TensorFlow process → what it took.
        history: One entry an epoch.
    """

    layers: str
    multiplier: float
    lr: float
    epochs: int
    batch: int
    patience: int
    seed: int
    best_epoch: int
    keras_accuracy: Share | None
    trained_parameters: int
    trained_bytes: int
    seconds: dict[str, float]
    history: tuple[FineTuningEpoch, ...]


class FineTuningReport(TrainingReport):
    """The report of `edged finetune`: that of the training of the head, and how the layers before it were retrained."""

    finetune: FineTuning


REPORTS: dict[str, type[ReportPart]] = {
    "retrain": TrainingReport,
    "profile": ProfileReport,
    "images_doubtful": DoubtfulLabels,
    "bottlenecks_get": Bottlenecks,
    "models_judge": Judgement,
    "finetune": FineTuningReport,
    "sources_rank": BackboneChoice,
}
"""What reports, a command or a command line of `edged` → the model of its report at the end of the job."""
