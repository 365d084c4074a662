"""A training after a few more images: what the version that answers knows already is taken over, and told.

One image among thousands changes a head, and hardly anything that was found out about heads like it. So a step computes
the head, the exported file and its comparison with the file that answers, on the test side, which neither has seen; the
number of epochs, the cross-validation, the temperature, the learning curve and the doubts about the other labels stand
as they were computed last. Whatever does not clearly pass the gate so is computed anew, as is everything after 1 % of
the images in all, or where `retrain` comes again without any change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from edged.contract.reports import DoubtfulLabels, TakenOver, TrainingReport
from edged.errors import ModelError
from edged.learning import gate
from edged.learning.acceptance import Acceptance
from edged.learning.comparison import LeftOut, share_right
from edged.learning.export import sha256_of
from edged.learning.incumbent import recipe_of
from edged.learning.review import carried_on
from edged.vision.familiarity import Familiarity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.contract.hyperparameters import Hyperparameters
    from edged.learning.bottlenecks import Backbone
    from edged.learning.dataset import Examples, KeptBottlenecks, Selection
    from edged.learning.recipe import Recipe
    from edged.learning.softmax_regression import Fitted
    from edged.store import Bundle
    from edged.types import Vector

MOST = 0.01
"""So many images, as a share of all, may be new or have another label since everything was computed last."""
PARTS = ("epochs", "cross-validation", "temperature", "familiarity", "doubtful labels", "learning curve")
"""What a report names as taken over."""


@dataclass(frozen=True)
class _Known:
    """What the version that answers knows.

    Attributes:
        report: Of its training.
        recipe: How its head was made.
        left_out: What heads that were not made of an image said of it.
        familiarity: Its exemplars and its head.
    """

    report: TrainingReport
    recipe: Recipe
    left_out: LeftOut
    familiarity: Familiarity


class Step:
    """One such training; made by `step_from`.

    Args:
        current: The version that answers.
        known: What it knows.
        selection: The labeled images that the new model is made of.
        taught: Image id → label of those that the current one was made of; all of them are in the selection.

    Attributes:
        recipe: How the head is made.
        taken_over: What the report says of it.
        left_out: What the next training takes up.
    """

    def __init__(self, current: Bundle, known: _Known, selection: Selection, taught: dict[str, str]) -> None:
        self._current, self._known, self._selection, self._taught = current, known, selection, taught
        self.recipe = known.recipe
        images = selection.images
        # In the order in which the current one was made of them, see `Selection`.
        row_of = {image.id: row for row, image in enumerate(images)}
        self._old = np.array(
            sorted((row_of[id_] for id_ in taught), key=lambda row: (taught[images[row].id], images[row].sha256)),
            np.intp,
        )
        self._new = [row for row, image in enumerate(images) if image.id not in taught]
        self._changed = [row for row, image in enumerate(images) if taught.get(image.id) != image.label]
        before = known.report.taken_over
        self.taken_over = TakenOver(
            version=current.id if before is None else before.version,
            images=len(self._changed) + (0 if before is None or before.images is None else before.images),
            parts=PARTS,
        )
        self._labels = np.array([selection.labels.index(image.label) for image in images], np.intp)
        self.left_out = self._continued()

    @property
    def judges(self) -> list[int]:
        """Rows of the test images that have the label that the current version was taught."""
        images = self._selection.images
        return [row for row, image in enumerate(images) if image.split == "test" and self._keeps_label(row)]

    def is_small(self, tolerance: float) -> bool:
        """Whether so little has changed that this may be a step, and the test side is large enough to judge it."""
        few = (self.taken_over.images or 0) <= MOST * len(self._selection.images)
        return bool(self._changed) and few and len(self.judges) >= gate.more_images(None, tolerance)

    def calibrated(self, head: Fitted) -> Fitted:
        """Return the head divided by the temperature that was found last."""
        found = self._known.report.calibration
        return head if found is None or found.temperature is None else head.divided(found.temperature)

    def look_at_new(self, kept: KeptBottlenecks, backbone: Backbone) -> None:
        """Let the current version's head say what the new images show: it was not made of them."""
        images = self._selection.images
        if not self._new:
            return
        taught_groups = {images[row].group_id for row in self._old}
        logits = self._logits(kept, backbone, self._new)
        for row, answer in zip(self._new, logits.argmax(axis=1), strict=True):
            if images[row].group_id not in taught_groups:  # else it was made of nearly the same image
                self.left_out.answers[:, row] = answer

    def judge(
        self, model: bytes, test: Examples, scores: Vector, logits: Vector, hyperparameters: Hyperparameters
    ) -> Acceptance:
        """Compare the exported file with that which answers, on test images that neither has seen, and decide.

        Args:
            model: The exported file.
            test: The test side.
            scores: What the exported file makes of the test side, (n, labels).
            logits: What its head made of it before quantization, (n, labels).
            hyperparameters: Their `min_accuracy` and `tolerance` count.
        """
        images, labels = self._selection.images, self._labels
        right = share_right(self.left_out.answers, labels)
        judged = ~np.isnan(right)
        accuracy = float(right[judged].mean()) if judged.any() else None
        place = {image.sha256: number for number, image in enumerate(test.images)}
        rows = np.array(self.judges, np.intp)
        new = scores.argmax(axis=1)[[place[images[row].sha256] for row in rows]] == labels[rows]
        old = self._tested()[rows] == labels[rows]
        verdict = gate.decide(
            accuracy,
            gate.mean_recall(right[judged], labels[judged]),
            len(self._selection.labels),
            min_accuracy=hyperparameters.min_accuracy,
            tolerance=hyperparameters.tolerance,
            head=gate.TestSide(
                scores.argmax(axis=1) == test.labels,
                logits.argmax(axis=1) == test.labels,
            ),
            file=gate.TestSide(new, old),
            compared=gate.Compared(
                [images[row].group_id for row in rows], labels[rows], self._selection.labels,
                new.astype(float), old.astype(float), new.astype(float), old.astype(float), np.zeros(len(rows), bool),
            ),
            same=self._current.manifest.sha256 == sha256_of(model),
        )  # fmt: skip
        return Acceptance(verdict, accuracy, self._current.id, verdict.previous, made_again=False)

    def familiarity(self, kept: KeptBottlenecks, backbone: Backbone, head: Fitted) -> Familiarity:
        """Return the current version's with the new head, and the new images among exemplars and held-out scores.

        What the current version says of an image that it was not made of is the score of a held-out one.
        """
        known = self._known.familiarity
        assert known.head is not None  # see `_known`
        exemplars, scores = known.exemplars, known.held_out
        if self._new:
            bottlenecks = kept.array([self._selection.images[row] for row in self._new])
            exemplars = np.concatenate([exemplars, bottlenecks])
            scores = np.sort(np.concatenate([scores, known.scores(backbone.affine.dequantize(bottlenecks))]))
        own = replace(known.head, weights=head.weights, bias=head.bias)
        return replace(known, exemplars=exemplars, head=own, held_out=scores)

    def doubtful(self, kept: KeptBottlenecks, backbone: Backbone) -> DoubtfulLabels:
        """Return the doubtful labels: the others as they were, those of the new images by the current version."""
        before, images = self._known.report.doubtful or DoubtfulLabels(), self._selection.images
        touched = {images[row].group_id for row in self._changed}
        rows = [row for row, image in enumerate(images) if image.group_id in touched]
        logits = self._logits(kept, backbone, rows).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        odds = powers / powers.sum(axis=1, keepdims=True)
        known = np.array([images[row].id in self._taught for row in rows], bool)
        return carried_on(before, images, self._selection.labels, rows, odds, known)

    def report(self, told: TrainingReport) -> TrainingReport:
        """Return a report with what was taken over."""
        before = self._known.report
        curve = before.learning_curve
        if curve is not None:
            points = tuple(point.model_copy(update={"taken_over": True}) for point in curve.points)
            curve = curve.model_copy(update={"points": points})
        more = {"training": before.training, "calibration": before.calibration, "learning_curve": curve}
        more = {name: value for name, value in more.items() if value is not None}
        return told.model_copy(update={**more, "taken_over": self.taken_over})

    # -- inside --------------------------------------------------------------------------------------------------------

    def _keeps_label(self, row: int) -> bool:
        image = self._selection.images[row]
        return self._taught.get(image.id) == image.label

    def _continued(self) -> LeftOut:
        """Return what heads said of the images before, and −1 of the new ones."""
        before = self._known.left_out
        answers = np.full((len(before.answers), len(self._selection.images)), -1, np.int16)
        answers[:, self._old] = before.answers
        return LeftOut("", before.folds, answers)

    def _tested(self) -> NDArray[np.int16]:
        """Return what the file that answers says of each test image, −1: not a test image, or new."""
        tested = np.full(len(self._selection.images), -1, np.int16)
        if self._known.left_out.tested is not None:
            tested[self._old] = self._known.left_out.tested
        return tested

    def _logits(self, kept: KeptBottlenecks, backbone: Backbone, rows: list[int]) -> NDArray[np.float32]:
        head = self._known.familiarity.head
        assert head is not None  # see `_known`
        real: Vector = backbone.affine.dequantize(kept.array([self._selection.images[row] for row in rows]))
        return np.asarray(real @ head.weights.T + head.bias, np.float32)


def step_from(
    current: Bundle, selection: Selection, backbone: Backbone, hyperparameters: Hyperparameters
) -> Step | None:
    """Return the step from the version that answers to one of these images.

    Args:
        current: The version that answers.
        selection: The labeled images that the new model is made of, and its labels.
        backbone: The network below the new model's head.
        hyperparameters: Of the new model.

    Returns:
        None where everything has to be computed: too much has changed, an image or a label has gone, the recipe or the
        network is another one, the version does not know enough, or the test side is too small to judge a step.
    """
    taught, manifest = current.read_taught(), current.manifest
    if (
        taught is None
        or manifest.tuned
        or backbone.bundle.manifest.tuned
        or (manifest.backbone_sha256, manifest.input.crop) != (backbone.sha256, backbone.crop)
        or current.labels != selection.labels
        or not taught.keys() <= {image.id for image in selection.images}
    ):
        return None
    known = _known(current, len(taught), backbone)
    if known is None or known.report.hyperparameters != hyperparameters.model_dump():
        return None
    step = Step(current, known, selection, taught)
    return step if step.is_small(hyperparameters.tolerance) else None


def _known(current: Bundle, images: int, backbone: Backbone) -> _Known | None:
    """Return what a version knows; None: not enough, or it is damaged."""
    recipe, kept, strange = recipe_of(current), current.read_left_out(), current.read_familiarity()
    if recipe is None or kept is None or strange is None:
        return None
    left_out = LeftOut.decode(kept)
    try:
        report = TrainingReport.model_validate(current.manifest.training)
        familiarity = Familiarity.decode(strange, backbone.features)
    except (ValidationError, ModelError):
        return None
    if left_out is None or left_out.tested is None or left_out.answers.shape[1] != images or familiarity.head is None:
        return None
    return _Known(report, recipe, left_out, familiarity)
