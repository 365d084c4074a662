"""One head of the images of many devices, without their photos: `pool` puts together what they share, `train` trains.

It is the training of `pipeline` on bottlenecks that are at hand: the same recipe, calibration, export and familiarity.
Whether the model may answer is not decided here: every device judges it by its own images (`offer`). So an image is
left out of the training if it, the same image elsewhere, or a near duplicate of it anywhere is on a test side; and
`judges` are made beside the model, heads that leave out one fifth of the images each, in the same way.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.contract.reports import Accuracy, TrainingReport
from edged.errors import RefusedError, TrainingError
from edged.images import SPLITS, LabeledImage, Split, alike_pairs
from edged.learning import judging, report
from edged.learning.calibration import Calibration, calibrate_scores
from edged.learning.comparison import FOLDS, Predictions, Taught, share_right
from edged.learning.dataset import Examples, Selection, select
from edged.learning.evaluation import evaluate
from edged.learning.exemplars import common_to, familiarity_of
from edged.learning.export import export, new_manifest
from edged.learning.judges import Judges
from edged.learning.recipe import make_head

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.contract.hyperparameters import Hyperparameters
    from edged.learning.bottlenecks import Backbone
    from edged.learning.sharing import Shared
    from edged.learning.softmax_regression import Fitted
    from edged.store import Manifest
    from edged.vision.quantization import Affine

ALIKE = 0.9
"""Images of two devices with near hashes are near duplicates if the cosine of their bottlenecks is at least this. Of
1,430 flower photos, near duplicates have 0.97 and more, one photo in a thousand has another that is so like it, and
photos of one flower have 0.7 to 0.8 with the one most like them."""
_STEPS = {"training": 0.05, "comparison": 0.5, "export": 0.85}


@dataclass(frozen=True)
class Pool:
    """The images of many devices as if they lay in one place.

    Attributes:
        images: The images, sorted by label, then hash; the folder of an image's path is the device that it came from.
        bottlenecks: (n, features) their bytes.
        affine: What the bytes mean.
        folds: (n, folds) bool, in which fifths each image is, see `judges`: near duplicates of it may be in others.
        twice: Images that were left out because another device, too, has them.
        contradictory: Images that were left out because devices call them by different labels, and no person or
            several persons have looked at them again.
        noisy: Whether the bottlenecks carry noise.
    """

    images: tuple[LabeledImage, ...]
    bottlenecks: NDArray[Any]
    affine: Affine
    folds: NDArray[np.bool_]
    twice: int
    contradictory: int
    noisy: bool = False


@dataclass(frozen=True)
class Pooled:
    """A model whose head was made of a pool.

    Attributes:
        model: Content of the .tflite file.
        labels: One per output.
        manifest: What is told of it.
        familiarity: Content of familiarity.npz; None: too few images tell, or they carry noise.
        judges: Heads like the model's, each made without a fifth of the images.
        report: Of the training.
    """

    model: bytes
    labels: tuple[str, ...]
    manifest: Manifest
    familiarity: bytes | None
    judges: Judges
    report: TrainingReport


def pool(shared: Mapping[str, Shared]) -> Pool:
    """Put together what devices have shared.

    Args:
        shared: Device → what it has shared; all with the same network and the same noise.

    Raises:
        RefusedError: They do not belong together.
    """
    first = next(iter(shared.values()))
    for device, why in unlike(shared).items():
        raise RefusedError(f"{device}: {why}")
    rows = [(device, row) for device, one in shared.items() for row in range(len(one.ids))]
    chosen, twice, contradictory = _without_copies(shared, rows)
    bottlenecks = (
        np.stack([shared[device].bottlenecks[row] for device, row in chosen])
        if chosen
        else np.zeros((0, first.bottlenecks.shape[1]), first.bottlenecks.dtype)
    )
    group_of, split_of, folds_of_group = _groups(shared, rows, chosen, bottlenecks, first.affine)
    images = [
        LabeledImage(
            sha256=one.ids[row],
            id=one.ids[row][:16],
            file=str(Path(device, one.ids[row][:16])),
            label=one.labels[one.label_of[row]],
            split=split_of[group_of[number]],
            group_id=group_of[number],
            width=0,
            height=0,
            bytes=0,
            confirmed=bool(one.confirmed[row]),
        )
        for number, (device, row) in enumerate(chosen)
        for one in (shared[device],)
    ]
    order = sorted(range(len(images)), key=lambda number: (images[number].label, images[number].sha256))
    folds = np.zeros((len(order), FOLDS), bool)
    for place, number in enumerate(order):
        folds[place, sorted(folds_of_group[group_of[number]])] = True
    return Pool(
        tuple(images[number] for number in order), bottlenecks[np.array(order, np.intp)], first.affine, folds, twice,
        contradictory, first.noise is not None,
    )  # fmt: skip


def unlike(shared: Mapping[str, Shared]) -> dict[str, str]:
    """Return the devices whose bottlenecks do not belong together with those of most, and why.

    Args:
        shared: Device → what it has shared.
    """
    kinds = {
        device: (one.backbone_sha256, one.affine, one.bottlenecks.shape[1:], one.bottlenecks.dtype, one.noise)
        for device, one in shared.items()
    }
    ((usual, _),) = Counter(kinds.values()).most_common(1)
    why = "its bottlenecks are of another network, or have other noise"
    return {device: why for device, kind in kinds.items() if kind != usual}


def train(
    pooled: Pool, backbone: Backbone, hyperparameters: Hyperparameters, run: str, tell: Callable[[str, float], None]
) -> Pooled:
    """Train one head of a pool, and put it on the network below it.

    Args:
        pooled: The images.
        backbone: The network that has made their bottlenecks.
        hyperparameters: How to train.
        run: Name of the training.
        tell: Called with the stage and the share 0..1 that is done.

    Raises:
        RefusedError: The images do not allow it, see `dataset.select`.
        TrainingError: They cannot be told apart.
    """
    selection = select(pooled.images, judged=not pooled.noisy)
    row_of = {image.sha256: row for row, image in enumerate(pooled.images)}
    rows = np.array([row_of[image.sha256] for image in selection.images], np.intp)
    features, folds = pooled.bottlenecks[rows], pooled.folds[rows]
    sides = {split: _examples(selection, features, split) for split in SPLITS}
    tell("training", _STEPS["training"])
    made = make_head(
        (sides["train"].features, sides["train"].labels),
        (sides["validation"].features, sides["validation"].labels),
        classes=len(selection.labels),
        affine=pooled.affine,
        hyperparameters=hyperparameters,
    )
    tell("comparison", _STEPS["comparison"])
    label_of = np.array([selection.labels.index(image.label) for image in selection.images], np.intp)
    groups = [image.group_id for image in selection.images]
    taught = Taught(features, label_of, len(selection.labels), pooled.affine, made.recipe)
    judges, predictions = _judges(taught, folds)
    # What heads make of noise says nothing of the scores that clean images will get.
    calibration = None if pooled.noisy else calibrate_scores(predictions, label_of)
    head = made.head if calibration is None else made.head.divided(calibration.temperature)
    tell("export", _STEPS["export"])
    model = export(backbone.model, head, _as_the_network_writes(features, pooled.affine, backbone))
    familiarity = None
    if not pooled.noisy and predictions.logits is not None and calibration is not None:
        left_out = predictions.logits / np.float32(calibration.temperature)
        familiarity = familiarity_of(
            features, pooled.affine, groups, common_to(backbone), (head.weights, head.bias), left_out
        )
    right = share_right(predictions.free, label_of)
    told = _report(run, hyperparameters, selection, made.chosen, calibration, backbone)
    told = told.model_copy(
        update={
            "accuracy": _accuracy(model, head, backbone, sides["test"], right),
            "model": hashlib.sha256(model).hexdigest()[:12],
        }
    )
    manifest = new_manifest(model, backbone, told)
    kept = None if familiarity is None else familiarity.encode()
    return Pooled(model, selection.labels, manifest, kept, judges, told)


# -- putting together --------------------------------------------------------------------------------------------------

_Row = tuple[str, int]
"""A device, and the row of an image among those that it has shared."""


def _without_copies(shared: Mapping[str, Shared], rows: list[_Row]) -> tuple[list[_Row], int, int]:
    """Return one row of each image, how many copies were left out, and how many images with contradictory labels."""
    copies: dict[str, list[_Row]] = {}
    for device, row in rows:
        copies.setdefault(shared[device].ids[row], []).append((device, row))
    chosen, contradictory = [], 0
    for same in copies.values():
        confirmed = [one for one in same if shared[one[0]].confirmed[one[1]]]
        trusted = confirmed or same
        labels = {shared[device].labels[shared[device].label_of[row]] for device, row in trusted}
        if len(labels) > 1:
            contradictory += 1
        else:
            chosen.append(trusted[0])
    return chosen, len(rows) - len(copies), contradictory


def _groups(
    shared: Mapping[str, Shared], rows: list[_Row], chosen: list[_Row], bottlenecks: NDArray[Any], affine: Affine
) -> tuple[list[str], dict[str, Split], dict[str, set[int]]]:
    """Return the group of near duplicates of each chosen image, the side of each group, and its fifths.

    A group is on the test side if any image of it is, on any device, and else on the side that stops a training if any
    is there.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        parent.setdefault(group, group)
        while parent[group] != group:
            parent[group] = parent[parent[group]]
            group = parent[group]
        return group

    def unite(one: str, other: str) -> None:
        low, high = sorted((root(one), root(other)))
        parent[high] = low

    seen: dict[str, str] = {}
    for device, row in rows:
        id_, group = shared[device].ids[row], shared[device].groups[row]
        unite(seen.setdefault(id_, group), group)
    groups = [shared[device].groups[row] for device, row in chosen]
    if len(shared) > 1 and all(one.hashes is not None for one in shared.values()):
        for one, other in _near(shared, chosen, bottlenecks, affine):
            unite(groups[one], groups[other])
    strictest: dict[str, int] = {}
    folds: dict[str, set[int]] = {}
    for device, row in rows:
        group = root(shared[device].groups[row])
        strictest[group] = max(strictest.get(group, 0), int(shared[device].split_of[row]))
        folds.setdefault(group, set()).add(int(shared[device].fold_of[row]))
    return [root(group) for group in groups], {group: SPLITS[side] for group, side in strictest.items()}, folds


def _near(
    shared: Mapping[str, Shared], chosen: list[_Row], bottlenecks: NDArray[Any], affine: Affine
) -> list[tuple[int, int]]:
    """Return pairs of chosen images that are near duplicates; on one device it has found them by itself."""
    hashes = np.zeros((len(chosen), 8), np.uint8)
    for number, (device, row) in enumerate(chosen):
        own = shared[device].hashes
        if own is not None:
            hashes[number] = own[row]

    def cosine(one: int, other: int) -> float:
        first, second = affine.dequantize(bottlenecks[[one, other]])
        return float(first @ second / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12))

    return [
        (one, other)
        for one, other in alike_pairs(hashes)
        if chosen[one][0] != chosen[other][0] and cosine(one, other) >= ALIKE
    ]


# -- training ----------------------------------------------------------------------------------------------------------


def _judges(taught: Taught, folds: NDArray[np.bool_]) -> tuple[Judges, Predictions]:
    """Return heads that leave out a fifth of the images each, and what each makes of the images that it left out.

    Args:
        taught: The images and how heads are made of them.
        folds: (n, folds) bool, in which fifths each image is.
    """
    weights = np.zeros((FOLDS, taught.classes, taught.features.shape[1]), np.float32)
    bias = np.zeros((FOLDS, taught.classes), np.float32)
    logits = np.full((1, len(taught.labels), taught.classes), np.nan, np.float32)
    free = np.full((1, len(taught.labels)), -1, np.int16)
    for fold in range(FOLDS):
        left_out = folds[:, fold]
        own = ~left_out
        try:
            one = taught.recipe.fit(
                taught.features[own], taught.labels[own], classes=taught.classes, affine=taught.affine
            )
        except TrainingError:  # what is left may be the same image again and again
            continue  # a judge that knows nothing praises nobody
        weights[fold], bias[fold] = one.weights, one.bias
        if left_out.any():
            logits[0, left_out] = one.logits(taught.features[left_out], taught.affine)
            free[0, left_out] = logits[0, left_out].argmax(axis=1)
    return Judges(weights, bias), Predictions(free, np.full_like(free, -1), logits)


def _examples(selection: Selection, features: NDArray[Any], split: Split) -> Examples:
    own = np.array([row for row, image in enumerate(selection.images) if image.split == split], np.intp)
    images = tuple(selection.images[row] for row in own)
    return Examples(images, features[own], np.array([selection.labels.index(image.label) for image in images], np.intp))


def _as_the_network_writes(features: NDArray[Any], affine: Affine, backbone: Backbone) -> NDArray[Any]:
    """Return bytes as bytes of the network's own bottleneck; those with noise have another scale."""
    if affine == backbone.affine:
        return features
    real = affine.dequantize(features)
    return backbone.affine.quantize(real, np.uint8 if backbone.dtype == "uint8" else np.int8)


def _accuracy(model: bytes, head: Fitted, backbone: Backbone, test: Examples, right: NDArray[np.float64]) -> Accuracy:
    judged = right[~np.isnan(right)]
    told = Accuracy(cross_validated=report.rounded(float(judged.mean())) if len(judged) else None)
    if not len(test.labels):
        return told
    scores = judging.scores_of(model, backbone, test)
    logits = head.logits(test.features, backbone.affine)
    return told.model_copy(
        update={
            "float": report.rounded(evaluate(logits, test.labels).accuracy),
            "quantized": report.rounded(evaluate(scores, test.labels).accuracy),
        }
    )


def _report(
    run: str,
    hyperparameters: Hyperparameters,
    selection: Selection,
    chosen: Fitted,
    calibration: Calibration | None,
    backbone: Backbone,
) -> TrainingReport:
    counts = Counter(image.split for image in selection.images)
    told = TrainingReport(
        run=run,
        hyperparameters=hyperparameters.model_dump(),
        backbone=backbone.bundle.backbone,
        counts=selection.counts(),
        splits={str(split): counts[split] for split in SPLITS},
        left_out=selection.left_out,
        training=report.training(chosen),
    )
    return report.with_what_is_known(told, calibration, None, None)
