"""What fine-tuning reports beside the training of the head: how the layers before it were retrained."""

from __future__ import annotations

from edged.contract.reports.part import ReportPart, Share
from edged.contract.reports.training import TrainingReport


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
