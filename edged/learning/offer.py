"""A model that was made elsewhere, judged on this device's own test images beside the model that answers now.

It is the gate of a training (`gate`), on fewer images: those of the test side, which whoever made the model must have
left out, as `pooled` does. The new model is not made again: its file judges as it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.reports import Judgement
from edged.images import open_images
from edged.learning import gate, judging, report
from edged.learning.acceptance import Acceptance
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import Divisions, Predictions
from edged.learning.dataset import Examples, KeptBottlenecks, Selection
from edged.learning.incumbent import Incumbent
from edged.learning.request import JudgeRequest, Progress
from edged.plural import counted
from edged.store import read_bundle

if TYPE_CHECKING:
    from edged.images import ImageStore, LabeledImage
    from edged.store import Bundle

_TEST_SIDE = Divisions(divisions=1, folds=1)
"""Fold 0 of the first division is the test side, see `comparison.places`."""


def judge(request: JudgeRequest, tell: Callable[[Progress], None]) -> Judgement:
    """Compare a model with the one that answers, and decide whether it may answer; nothing is promoted.

    Args:
        request: Which model, and how it is judged.
        tell: Called with the progress.

    Raises:
        EdgedError: A model, the index or an image fails.
    """
    bundle, current = read_bundle(request.model), read_bundle(request.current)
    tell(Progress("scan", 0.0))
    with closing(open_images(request.state_dir, None, request.images_max_mb)) as store:
        store.scan()
        everything = store.labeled()
        if lost := _forgotten(bundle, current, everything):
            names = ", ".join(lost)
            why = f"it does not know {names}, which the model that answers does, and of which there are images here"
            return _told(request, bundle, Acceptance(gate.Verdict("refused", why), None, current.id), 0)
        backbone = Backbone.of(bundle, request.runtime, crop=bundle.manifest.input.crop)
        test = [image for image in everything if image.split == "test" and image.label in bundle.labels]
        workers = request.workers or os.cpu_count() or 1
        unreadable = complete(
            store,
            test,
            lambda _: ("plain",),
            backbone,
            workers=workers,
            tell=lambda done, of: tell(Progress("bottlenecks", 0.05 + 0.5 * done / max(of, 1))),
        )
        gone = {one.task.sha256 for one in unreadable}
        test = [image for image in test if image.sha256 not in gone]
        if not test:
            return _untested(request, bundle, current)
        return _compared(request, bundle, current, (test, everything), store, backbone, tell)


def _forgotten(bundle: Bundle, current: Bundle, everything: Sequence[LabeledImage]) -> list[str]:
    """Return the labels of this device's images that the model that answers knows and the new one does not."""
    here = {image.label for image in everything}
    return sorted(here & set(current.labels) - set(bundle.labels))


def _untested(request: JudgeRequest, bundle: Bundle, current: Bundle) -> Judgement:
    """Return the judgement where there is no test image of a label that the model knows."""
    none = "there is no test image here to judge it by"
    if request.untested:
        verdict = gate.Verdict("promoted", f"{none}; it is taken as others have judged it")
    else:
        verdict = gate.Verdict("undecided", none)
    return _told(request, bundle, Acceptance(verdict, None, current.id), 0)


def _compared(
    request: JudgeRequest,
    bundle: Bundle,
    current: Bundle,
    images: tuple[Sequence[LabeledImage], Sequence[LabeledImage]],
    store: ImageStore,
    backbone: Backbone,
    tell: Callable[[Progress], None],
) -> Judgement:
    """Return the judgement by test images, of which there is at least one; `images` are these, and all labeled ones."""
    test, everything = images
    kept = KeptBottlenecks(store, backbone)
    label_of = np.array([bundle.labels.index(image.label) for image in test], np.intp)
    examples = Examples(tuple(test), kept.array(test), label_of)
    scores = judging.scores_of(backbone.model, backbone, examples)
    judging.spot_check(backbone.model, backbone, examples)
    tell(Progress("comparison", 0.6))
    selection = Selection(tuple(test), bundle.labels, {})
    incumbent = Incumbent(current, selection, everything, store, backbone, kept)
    compared = file = None
    if incumbent.comparable:
        incumbent.complete(
            workers=request.workers or os.cpu_count() or 1,
            tell=lambda done, of: tell(Progress("comparison", 0.6 + 0.3 * done / max(of, 1))),
        )
        new = Predictions.of(scores[np.newaxis], incumbent.outputs)
        compared = incumbent.compare(new, incumbent.predict(_TEST_SIDE))
        # Neither model was made of any of them, so that none is one that only the new model has learned.
        compared = replace(compared, fresh=np.zeros(len(compared.new), bool))
        file = incumbent.test_side(scores, test)
    right = (scores.argmax(axis=1) == label_of).astype(np.float64)
    accuracy = float(right.mean())
    how = request.hyperparameters
    verdict = gate.decide(
        accuracy,
        gate.mean_recall(right, label_of),
        len(bundle.labels),
        min_accuracy=how.min_accuracy,
        tolerance=how.tolerance,
        compared=compared,
        file=file,
        same=bundle.id == current.id,
    )
    if compared is None:
        accepted = Acceptance(verdict, accuracy, current.id)
        if verdict.verdict == "promoted":  # the gate has no word for how few they may be
            verdict = replace(verdict, reason=f"{verdict.reason} ({counted(len(test), 'test image')})")
            accepted = replace(accepted, verdict=verdict)
    else:
        accepted = Acceptance(verdict, accuracy, current.id, verdict.previous, incumbent.made_again)
    return _told(request, bundle, accepted, len(test))


def _told(request: JudgeRequest, bundle: Bundle, accepted: Acceptance, images: int) -> Judgement:
    judgement = Judgement(
        model=bundle.id,
        name=bundle.name,
        images=images,
        answers=False,
        decision=report.decision(accepted, accept=request.accept),
    )
    more = {"accuracy": accepted.accuracy, "previous": accepted.previous}
    return judgement.model_copy(update={key: report.rounded(value) for key, value in more.items() if value is not None})
