"""What a training reports: its course, how good the new model is, and whether it may answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from edged.contract.reports.part import PerformanceState, ReportPart, Share
from edged.contract.reports.sources import BackboneChoice


class SkippedImage(ReportPart):
    """A file among the labeled images that the training could not use.

    Attributes:
        file: Its path below the folder of images.
        reason: Why, one line.
    """

    file: str | None = None
    reason: str | None = None


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
    left_out: Mapping[str, str] = {}
    unreadable: int | None = None


class Decision(ReportPart):
    """Whether the new model may answer, and why.

    Attributes:
        verdict: "promoted": better than the model that answered before, or shown to be not much worse. "refused":
            shown to be worse than is allowed, or too bad. "undecided": too few images tell. Absent in reports of older
            devices.
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
    fallen: Mapping[str, float] = {}
    renamed: Mapping[str, str] = {}


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
    classes: Mapping[str, ClassCurve] = {}


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
    hyperparameters: Mapping[str, bool | int | float] = {}
    skipped: tuple[SkippedImage, ...] = ()
    choice: BackboneChoice | None = None
    backbone: str | None = None
    counts: Mapping[str, int] = {}
    splits: Mapping[str, int] = {}
    left_out: Mapping[str, str] = {}
    training: HeadTraining | None = None
    accuracy: Accuracy | None = None
    classes: Mapping[str, ClassAccuracy] = {}
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
    seconds: Mapping[str, float] = {}
    peak_memory_mb: float | None = None
    performance: PerformanceState | None = None
