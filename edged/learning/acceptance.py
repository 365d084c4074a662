"""Whether the new model may answer: its cross-validation, the model that answers now beside it, and the gate.

The cross-validation comes before the export, which needs the temperature that it finds, see `calibration`; the gate
comes after it, because the exported file is judged too.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edged.learning import gate
from edged.learning.calibration import Calibration, calibrate_scores
from edged.learning.comparison import Divisions, LeftOut, Predictions, Taught, made_of, predict_left_out, share_right
from edged.learning.export import sha256_of
from edged.learning.incumbent import Incumbent

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edged.contract.hyperparameters import Hyperparameters
    from edged.learning.bottlenecks import Backbone
    from edged.learning.dataset import Examples, KeptBottlenecks, Selection
    from edged.learning.recipe import Recipe
    from edged.types import Vector


@dataclass(frozen=True)
class CrossValidation:
    """What heads that were not made of an image say it shows, and what the model that answers now says.

    Attributes:
        predictions: Of heads that were made like the new one, for the images of the selection.
        labels: (n,) index of each image's label.
        classes: Number of labels.
        left_out: What the next training takes up of it.
        old: Of the model that answers now, see `Incumbent.predict`; None: there is nothing to compare.
    """

    predictions: Predictions
    labels: NDArray[np.intp]
    classes: int
    left_out: LeftOut
    old: Predictions | None = None

    def calibration(self) -> Calibration | None:
        """Return the temperature for the new head, and what it is good for; None: no image was judged."""
        return calibrate_scores(self.predictions, self.labels)

    def logits(self, calibration: Calibration | None) -> NDArray[np.float32] | None:
        """Return what the heads make of the images, (divisions, n, classes), NaN where they did not judge.

        Args:
            calibration: Its temperature divides them, as it divides the new head.
        """
        found = self.predictions.logits
        return found if found is None or calibration is None else found / np.float32(calibration.temperature)


@dataclass(frozen=True)
class Candidate:
    """A new model that wants to answer.

    Attributes:
        model: The exported file.
        crossed: The cross-validation of its recipe.
        test: The test side.
        scores: What the exported file makes of the test side, (n, labels).
        logits: What its head made of it before quantization, (n, labels).
    """

    model: bytes
    crossed: CrossValidation
    test: Examples
    scores: Vector
    logits: Vector

    @property
    def id(self) -> str:
        """Its bundle's id."""
        return sha256_of(self.model)[:12]


@dataclass(frozen=True)
class Acceptance:
    """How a new model was judged.

    Attributes:
        verdict: The gate's.
        accuracy: Cross-validated accuracy of the new model on all labeled images, 0..1; None: nothing was judged.
        against: Id of the model that it was compared with; None: there is none.
        previous: Accuracy of that model on the images that judged both, 0..1; None: there are none.
        made_again: Whether that model was made again for the comparison; None: there was nothing to compare.
        renamed: Label of that model → its name now.
    """

    verdict: gate.Verdict
    accuracy: float | None
    against: str | None = None
    previous: float | None = None
    made_again: bool | None = None
    renamed: tuple[tuple[str, str], ...] = ()


def cross_validate(
    kept: KeptBottlenecks,
    selection: Selection,
    backbone: Backbone,
    recipe: Recipe,
    incumbent: Incumbent | None,
    *,
    workers: int,
    tell: Callable[[int, int], None],
) -> CrossValidation:
    """Make the new head and the model that answers now again, each without the images that they then judge.

    Args:
        kept: The bottlenecks of the network below the new head.
        selection: The labeled images that the new model is made of, and its labels.
        backbone: This network.
        recipe: How the new head was made.
        incumbent: The model that answers now; None: there is none.
        workers: Number of threads.
        tell: Called with the number of images whose bottlenecks are there, and of all, where the model that answers
            now has another network.

    Raises:
        ModelError: The current model fails.
    """
    rival = _rival(incumbent)
    if rival is not None:
        rival.complete(workers=workers, tell=tell)
    augment = recipe.hyperparameters.augment
    features = kept.in_views(selection.images, augment=augment)
    label_of = np.array([selection.labels.index(image.label) for image in selection.images], np.intp)
    groups = [image.group_id for image in selection.images]
    divisions = Divisions.for_images(len(groups), features.shape[1] if augment else 1)
    if rival is None:  # only a rough number is asked for
        divisions = replace(divisions, divisions=1)
    if backbone.bundle.manifest.tuned:  # a network that has seen all but the test side: that is fold 0
        divisions = Divisions(1, 1)
    taught = Taught(features, label_of, len(selection.labels), backbone.affine, recipe)
    outputs = () if rival is None else rival.outputs
    with ThreadPoolExecutor(1) as beside:
        new = beside.submit(predict_left_out, taught, groups, divisions, outputs)
        old = None if rival is None else rival.predict(divisions)
        predictions = new.result()
    left_out = LeftOut(made_of(taught, groups), divisions.folds, predictions.free)
    return CrossValidation(predictions, label_of, len(selection.labels), left_out, old)


def judge(candidate: Candidate, incumbent: Incumbent | None, hyperparameters: Hyperparameters) -> Acceptance:
    """Compare a new model with the one that answers now, and decide.

    Args:
        candidate: The new model.
        incumbent: The model that answers now, as for `cross_validate`.
        hyperparameters: Their `min_accuracy` and `tolerance` count.

    Raises:
        ModelError: The current model fails.
    """
    rival, crossed = _rival(incumbent), candidate.crossed
    right = share_right(crossed.predictions.free, crossed.labels)
    judged = ~np.isnan(right)
    accuracy = float(right[judged].mean()) if judged.any() else None
    compared = None if rival is None or crossed.old is None else rival.compare(crossed.predictions, crossed.old)
    verdict = gate.decide(
        accuracy,
        gate.mean_recall(right[judged], crossed.labels[judged]),
        crossed.classes,
        min_accuracy=hyperparameters.min_accuracy,
        tolerance=hyperparameters.tolerance,
        compared=compared,
        head=gate.TestSide(
            candidate.scores.argmax(axis=1) == candidate.test.labels,
            candidate.logits.argmax(axis=1) == candidate.test.labels,
        ),
        file=None if rival is None else rival.test_side(candidate.scores, candidate.test.images),
        same=incumbent is not None and incumbent.id == candidate.id,
    )
    if rival is None or compared is None:
        return Acceptance(verdict, accuracy, None if incumbent is None else incumbent.id)
    return Acceptance(
        verdict, accuracy, rival.id, verdict.previous, rival.made_again, tuple(sorted(rival.renamed.items()))
    )


def _rival(incumbent: Incumbent | None) -> Incumbent | None:
    """Return the model that answers now where it can be compared."""
    return incumbent if incumbent is not None and incumbent.comparable else None
