"""What is reported of networks as the source to start a training from."""

from __future__ import annotations

from edged.contract.reports.part import ReportPart, Share


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
