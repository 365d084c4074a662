"""Whether the new model may answer: its cross-validation, the model that answers now beside it, and the gate."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edged.learning import gate
from edged.learning.comparison import Divisions, Taught, predict_left_out, share_right
from edged.learning.incumbent import Incumbent

if TYPE_CHECKING:
    from collections.abc import Callable

    from edged.contract.hyperparameters import Hyperparameters
    from edged.learning.bottlenecks import Backbone
    from edged.learning.dataset import Examples, KeptBottlenecks, Selection
    from edged.learning.recipe import Recipe
    from edged.types import Vector


@dataclass(frozen=True)
class Candidate:
    """A new model that wants to answer.

    Attributes:
        model: The exported file.
        backbone: The network below its head.
        kept: The bottlenecks of this network.
        selection: The labeled images that it was made of, and its labels.
        recipe: How its head was made.
        test: The test side.
        scores: What the exported file makes of the test side, (n, labels).
        logits: What its head made of it before quantization, (n, labels).
    """

    model: bytes
    backbone: Backbone
    kept: KeptBottlenecks
    selection: Selection
    recipe: Recipe
    test: Examples
    scores: Vector
    logits: Vector

    @property
    def id(self) -> str:
        """Its bundle's id."""
        return hashlib.sha256(self.model).hexdigest()[:12]


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
        left_out: (divisions, images of the selection, labels) logits of heads that were not made of an image, NaN:
            none judged it; see `comparison.Predictions`.
    """

    verdict: gate.Verdict
    accuracy: float | None
    against: str | None = None
    previous: float | None = None
    made_again: bool | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: Vector | None = None


def judge(
    candidate: Candidate,
    incumbent: Incumbent | None,
    hyperparameters: Hyperparameters,
    *,
    workers: int,
    tell: Callable[[int, int], None],
) -> Acceptance:
    """Cross-validate a new model, compare it with the one that answers now, and decide.

    Args:
        candidate: The new model.
        incumbent: The model that answers now; None: there is none.
        hyperparameters: Their `min_accuracy` and `tolerance` count.
        workers: Number of threads.
        tell: Called with the number of images whose bottlenecks are there, and of all, where the model that answers
            now has another network.

    Raises:
        ModelError: The current model fails.
    """
    rival = incumbent if incumbent is not None and incumbent.comparable else None
    if rival is not None:
        rival.complete(workers=workers, tell=tell)
    selection, backbone, augment = candidate.selection, candidate.backbone, candidate.recipe.hyperparameters.augment
    features = candidate.kept.in_views(selection.images, augment=augment)
    label_of = np.array([selection.labels.index(image.label) for image in selection.images], np.intp)
    groups = [image.group_id for image in selection.images]
    divisions = Divisions.for_images(len(groups), features.shape[1] if augment else 1)
    if rival is None:  # only a rough number is asked for
        divisions = replace(divisions, divisions=1)
    if backbone.bundle.manifest.tuned:  # a network that has seen all but the test side: that is fold 0
        divisions = Divisions(1, 1)
    taught = Taught(features, label_of, len(selection.labels), backbone.affine, candidate.recipe)
    outputs = () if rival is None else rival.outputs
    with ThreadPoolExecutor(1) as beside:
        new_predictions = beside.submit(predict_left_out, taught, groups, divisions, outputs)
        old = None if rival is None else rival.predict(divisions)
        new = new_predictions.result()
    right = share_right(new.free, label_of)
    judged = ~np.isnan(right)
    accuracy = float(right[judged].mean()) if judged.any() else None
    compared = None if rival is None or old is None else rival.compare(new, old)
    verdict = gate.decide(
        accuracy,
        gate.mean_recall(right[judged], label_of[judged]),
        len(selection.labels),
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
        return Acceptance(verdict, accuracy, None if incumbent is None else incumbent.id, left_out=new.logits)
    renamed = tuple(sorted(rival.renamed.items()))
    return Acceptance(verdict, accuracy, rival.id, verdict.previous, rival.made_again, renamed, new.logits)
