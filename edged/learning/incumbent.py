"""The model that answers now, beside a new one: which labels and images both know, and what each makes of them.

Where the images that the current model was made of are known and still there, it is made again without those that it
has to judge, see `comparison`. Else its file judges images that it was not made of.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from edged.contract.hyperparameters import Hyperparameters
from edged.contract.reports import TrainingReport
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import (
    Divisions,
    LeftOut,
    Predictions,
    Taught,
    made_of,
    predict_left_out,
    share_right,
)
from edged.learning.dataset import KeptBottlenecks
from edged.learning.gate import Compared, TestSide
from edged.learning.learning_curve import CurvePoint
from edged.learning.recipe import Recipe
from edged.vision.network import HeadNetwork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edged.images import ImageStore, LabeledImage
    from edged.learning.dataset import Selection
    from edged.store import Bundle
    from edged.types import Vector

_RENAMED = 0.9
"""A label is taken to have another name now if so many of its images carry the same new one."""
_STILL_THERE = 0.9
"""A model is made again if, of the images of the labels that both know, so many that it was made of are still there."""


@dataclass(frozen=True, slots=True)
class _SharedLabels:
    """The labels that both models know.

    Attributes:
        names: Their names now.
        new: Output of the new model for each.
        old: Output of the current model for each.
    """

    names: tuple[str, ...]
    new: tuple[int, ...]
    old: tuple[int, ...]


class Incumbent:
    """The model that answers now, where a new one may take its place.

    Args:
        current: Its bundle.
        selection: The labeled images and the labels that the new model is made of.
        everything: All labeled images, also those that the new model is not made of.
        store: Where bottlenecks are kept.
        backbone: The network below the new model's head.
        kept: Bottlenecks of this network.

    Attributes:
        id: Bundle id.
        renamed: Label of this model → its name now, where that is another one.
        made_again: Whether it can be made again; else its file judges.

    Raises:
        ModelError: Its bundle is damaged.
    """

    def __init__(
        self,
        current: Bundle,
        selection: Selection,
        everything: Sequence[LabeledImage],
        store: ImageStore,
        backbone: Backbone,
        kept: KeptBottlenecks,
    ) -> None:
        self._current, self._selection, self._store = current, selection, store
        self._taught = current.read_taught()
        self.id = current.id
        self.renamed = renamed_labels(self._taught or {}, {image.id: image.label for image in everything})
        self._shared = self._shared_labels(selection.labels)
        self._own = Backbone.of(current, backbone.runtime, crop=current.manifest.input.crop)
        self._same = (self._own.sha256, self._own.crop) == (backbone.sha256, backbone.crop)
        self._kept = kept if self._same else KeptBottlenecks(store, self._own)
        self._head: HeadNetwork | None = None
        self._recipe = recipe_of(current)
        tuned = current.manifest.tuned or backbone.bundle.manifest.tuned
        # In the order in which it was made of them, whatever they are called now.
        taught = self._taught or {}
        self._made_of = sorted(
            (image for image in everything if image.id in taught),
            key=lambda image: (taught[image.id], image.sha256),
        )
        outputs = {current.labels[output] for output in self._shared.old}
        needed = sum(label in outputs for label in taught.values())
        there = sum(taught[image.id] in outputs for image in self._made_of)
        self.made_again = (
            self._taught is not None and self._recipe is not None and not tuned and there >= _STILL_THERE * needed
        )
        known = set(self._shared.names)
        self._judged = [
            image
            for image in selection.images
            if image.label in known and (image.split == "test" or not tuned) and self._may_judge(image)
        ]
        # Its file judges them, as they are new to it; where its network is another one, that would cost an inference
        # for each.
        self._fresh = [
            image
            for image in selection.images
            if self.made_again and self._same and image.label in known and image.id not in (self._taught or {})
        ]
        self._test = [image for image in selection.images if image.label in known and image.split == "test"]

    @property
    def comparable(self) -> bool:
        """Whether there is anything to compare: with one label in common both would always be right."""
        return len(self._shared.names) > 1

    @property
    def outputs(self) -> tuple[int, ...]:
        """The new model's outputs for the labels that both know."""
        return self._shared.new

    def complete(self, *, workers: int, tell: Callable[[int, int], None]) -> None:
        """Compute the bottlenecks of its own network that are missing; images that cannot be read judge nothing.

        Args:
            workers: Number of threads.
            tell: Called with the number of images whose bottlenecks are there, and of all.

        Raises:
            ModelError: Its network fails.
        """
        if not self.comparable:
            return
        images = [*self._judged, *self._test, *(self._made_of if self.made_again else [])]
        needed = list({image.sha256: image for image in images}.values())
        lost = {
            one.task.sha256
            for one in complete(self._store, needed, lambda _: ("plain",), self._own, workers=workers, tell=tell)
        }
        self._judged, self._test, self._made_of = (
            [image for image in images if image.sha256 not in lost]
            for images in (self._judged, self._test, self._made_of)
        )

    def predict(self, divisions: Divisions) -> Predictions:
        """Return what it makes of the images that judge both: those that both were made of, then fresh ones."""
        shared, labels = self._shared, self._current.labels
        if not (self.made_again and self._taught is not None and self._recipe is not None):
            return Predictions.of(self._scores(self._judged)[np.newaxis], shared.old)
        features = self._kept.in_views(self._made_of, augment=self._recipe.hyperparameters.augment)
        own = np.array([labels.index(self._taught[image.id]) for image in self._made_of], np.intp)
        taught = Taught(features, own, len(labels), self._own.affine, self._recipe)
        groups = [image.group_id for image in self._made_of]
        predictions = self._kept_predictions(taught, groups, divisions)
        if predictions is None:
            predictions = predict_left_out(taught, groups, divisions, shared.old)
        again = predictions.at(_rows(self._judged, self._made_of))
        if not self._fresh:
            return again
        file = Predictions.of(self._scores(self._fresh)[np.newaxis], shared.old)
        return Predictions(
            *(
                np.concatenate([one, np.repeat(other, len(one), axis=0)], axis=1)
                for one, other in ((again.free, file.free), (again.bound, file.bound))
            )
        )

    def compare(self, new: Predictions, old: Predictions) -> Compared:
        """Return what both make of the images that judge both.

        Args:
            new: What the new model makes of all images of the selection.
            old: What `predict` has returned.
        """
        shared = self._shared
        judges = [*self._judged, *self._fresh]
        label = np.array([shared.names.index(image.label) for image in judges], np.intp)
        ours, theirs = np.array(shared.new, np.intp)[label], np.array(shared.old, np.intp)[label]
        new = new.at(_rows(judges, self._selection.images))
        new_right, old_right = share_right(new.bound, ours), share_right(old.bound, theirs)
        new_free, old_free = share_right(new.free, ours), share_right(old.free, theirs)
        both = ~(np.isnan(new_right) | np.isnan(old_right))
        groups = [image.group_id for image, judged in zip(judges, both, strict=True) if judged]
        fresh = np.arange(len(judges)) >= len(self._judged)
        return Compared(
            groups, label[both], shared.names, new_right[both], old_right[both], new_free[both], old_free[both],
            fresh[both],
        )  # fmt: skip

    def test_side(self, scores: Vector, test: Sequence[LabeledImage]) -> TestSide:
        """Return what both files make of the test images whose labels both know.

        Args:
            scores: The new file's scores of the test images (n, its labels).
            test: These images.
        """
        shared = self._shared
        label = np.array([shared.names.index(image.label) for image in self._test], np.intp)
        new = Predictions.of(scores[np.newaxis], shared.new).at(_rows(self._test, test))
        old = Predictions.of(self._scores(self._test)[np.newaxis], shared.old)
        return TestSide(
            new.bound[0] == np.array(shared.new, np.intp)[label], old.bound[0] == np.array(shared.old, np.intp)[label]
        )

    # -- inside --------------------------------------------------------------------------------------------------------

    def _shared_labels(self, labels: Sequence[str]) -> _SharedLabels:
        mine = [self.renamed.get(label, label) for label in self._current.labels]
        names = tuple(label for label in labels if label in mine)
        return _SharedLabels(
            names, tuple(labels.index(name) for name in names), tuple(mine.index(name) for name in names)
        )

    def _may_judge(self, image: LabeledImage) -> bool:
        """Whether an image can judge this model: it was not made of it, or is made again without it."""
        if self._taught is None:
            # What comes with edged, and says how accurate it is on which photos, saw none of them; another one perhaps
            # all but the test side.
            known = self._current.manifest.training is None and self._current.manifest.accuracy is not None
            return known or image.split == "test"
        label = self._taught.get(image.id)
        if self.made_again:
            return label is not None and self.renamed.get(label, label) == image.label
        return label is None or image.split == "test"

    def _kept_predictions(self, taught: Taught, groups: Sequence[str], divisions: Divisions) -> Predictions | None:
        """Return what its own training found; None: not known, or not of these images, labels and folds."""
        content = self._current.read_left_out()
        kept = None if content is None else LeftOut.decode(content)
        # Of what a model prefers among some of its labels nothing is kept.
        if kept is None or self._shared.old != tuple(range(taught.classes)) or kept.made_of != made_of(taught, groups):
            return None
        answers = kept.of_folds(groups, divisions)
        return None if answers is None else Predictions(answers, answers)

    def _scores(self, images: Sequence[LabeledImage]) -> Vector:
        """Run the file's head on kept bottlenecks; (n, its labels)."""
        if not images:
            return np.zeros((0, len(self._current.labels)), np.float32)
        if self._head is None:
            self._head = HeadNetwork(self._own.model, runtime=self._own.runtime)
        return self._head.scores(self._kept.array(images))


def recipe_of(bundle: Bundle) -> Recipe | None:
    """Return how a bundle's head was made; None: it is no retrained model, or does not tell."""
    try:
        report = TrainingReport.model_validate(bundle.manifest.training)
        hyperparameters = Hyperparameters.model_validate(
            {name: value for name, value in report.hyperparameters.items() if name in Hyperparameters.model_fields}
        )
    except ValidationError:
        return None
    training = report.training
    if training is None or not training.best_epoch:
        return None
    return Recipe(hyperparameters, training.best_epoch, training.cuts)


def earlier_points(
    bundle: Bundle, selection: Selection, backbone: Backbone, hyperparameters: Hyperparameters
) -> tuple[CurvePoint, ...]:
    """Return the points of a bundle's learning curve, where a new model is made as it was, of its images and others.

    Args:
        bundle: Of the model that answers now.
        selection: The labeled images that the new model is made of, and its labels.
        backbone: The network below the new model's head.
        hyperparameters: Of the new model.
    """
    try:
        report = TrainingReport.model_validate(bundle.manifest.training)
    except ValidationError:
        return ()
    taught, manifest = bundle.read_taught(), bundle.manifest
    if (
        taught is None
        or report.learning_curve is None
        or manifest.tuned
        or (manifest.backbone_sha256, manifest.input.crop) != (backbone.sha256, backbone.crop)
        or report.hyperparameters != hyperparameters.model_dump()
        or bundle.labels != selection.labels
        or not taught.items() <= {image.id: image.label for image in selection.images}.items()
    ):
        return ()
    points, classes = report.learning_curve.points, report.learning_curve.classes
    recalls = [classes[label].recall if label in classes else () for label in bundle.labels if classes]
    known = [one if len(one) == len(points) else (None,) * len(points) for one in recalls]
    return tuple(
        CurvePoint(point.images, point.accuracy, recalls=tuple(one[at] for one in known))
        for at, point in enumerate(points)
        if point.images is not None and point.accuracy is not None
    )


def renamed_labels(taught: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return label → its new name, for labels whose images have nearly all moved to one that was not there before.

    Args:
        taught: Image id → label, as it was.
        now: Image id → label, as it is now.
    """
    before, present = set(taught.values()), set(now.values())
    moved: dict[str, Counter[str]] = {}
    for image, label in taught.items():
        if label not in present and image in now:
            moved.setdefault(label, Counter())[now[image]] += 1
    names: dict[str, str] = {}
    for label, where in moved.items():
        name, count = where.most_common(1)[0]
        if name not in before and count >= _RENAMED * where.total():
            names[label] = name
    claims = Counter(names.values())
    return {label: name for label, name in names.items() if claims[name] == 1}  # two that became one are not renamed


def _rows(images: Sequence[LabeledImage], among: Sequence[LabeledImage]) -> list[int]:
    """Return where images stand among others."""
    rows = {image.sha256: row for row, image in enumerate(among)}
    return [rows[image.sha256] for image in images]
