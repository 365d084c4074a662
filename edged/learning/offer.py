"""A model that was made elsewhere, judged on this device's own images beside the model that answers now.

It is the gate of a training (`gate`). With the heads that come with the model (`judges`) every labeled image judges, as
it does in a training; without them only the test side, which whoever made the model must have left out, as `pooled`
does. The model that answers is made again for it, or has heads of that kind too, or its file judges (`incumbent`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.reports import Judgement
from edged.errors import StorageError
from edged.images import open_images
from edged.learning import gate, judging, report
from edged.learning.acceptance import Acceptance
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import FOLDS, Divisions, Predictions
from edged.learning.dataset import Examples, KeptBottlenecks, Selection
from edged.learning.gate import Compared
from edged.learning.incumbent import Incumbent
from edged.learning.judges import Judges
from edged.learning.request import JudgeRequest, Progress
from edged.plural import counted
from edged.store import read_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from edged.images import ImageStore, LabeledImage
    from edged.store import Bundle

_TEST_SIDE, _EVERY_IMAGE = Divisions(divisions=1, folds=1), Divisions(divisions=1, folds=FOLDS)
"""Fold 0 of the first division is the test side, see `comparison.places`."""


def judge(request: JudgeRequest, tell: Callable[[Progress], None]) -> Judgement:
    """Compare a model with the one that answers, and decide whether it may answer; nothing is promoted.

    Args:
        request: Which model, and how it is judged.
        tell: Called with the progress.

    Raises:
        RefusedError: The heads that judge do not belong to the model.
        EdgedError: A model, the index or an image fails.
    """
    bundle, current = read_bundle(request.model), read_bundle(request.current)
    tell(Progress("scan", 0.0))
    with closing(open_images(request.state_dir, None, request.images_max_mb)) as store:
        store.scan()
        everything = store.labeled()
        if lost := sorted({image.label for image in everything} & set(current.labels) - set(bundle.labels)):
            names = ", ".join(lost)
            why = f"it does not know {names}, which the model that answers does, and of which there are images here"
            return _told(request, bundle, Acceptance(gate.Verdict("refused", why), None, current.id), 0)
        backbone = Backbone.of(bundle, request.runtime, crop=bundle.manifest.input.crop)
        judges = _judges(request.judges, bundle, backbone)
        known = [image for image in everything if image.label in bundle.labels]
        wanted = known if judges is not None else [image for image in known if image.split == "test"]
        unreadable = complete(
            store,
            wanted,
            lambda _: ("plain",),
            backbone,
            workers=request.workers or os.cpu_count() or 1,
            tell=lambda done, of: tell(Progress("bottlenecks", 0.05 + 0.5 * done / max(of, 1))),
        )
        gone = {one.task.sha256 for one in unreadable}
        images = [image for image in wanted if image.sha256 not in gone]
        if not images:
            return _untested(request, bundle, current)
        return _Offer(request, bundle, current, backbone, judges, images, everything, store).judged(tell)


def _judges(path: Path | None, bundle: Bundle, backbone: Backbone) -> Judges | None:
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    return Judges.decode(data, len(bundle.labels), backbone.features)


def _untested(request: JudgeRequest, bundle: Bundle, current: Bundle) -> Judgement:
    """Return the judgement where there is no image of a label that the model knows."""
    none = "there is no image here to judge it by"
    if request.untested:
        verdict = gate.Verdict("promoted", f"{none}; it is taken as others have judged it")
    else:
        verdict = gate.Verdict("undecided", none)
    return _told(request, bundle, Acceptance(verdict, None, current.id), 0)


@dataclass(frozen=True)
class _Offer:
    """A model and the images that judge it, of which there is at least one."""

    request: JudgeRequest
    bundle: Bundle
    current: Bundle
    backbone: Backbone
    judges: Judges | None
    images: Sequence[LabeledImage]
    everything: Sequence[LabeledImage]
    store: ImageStore

    def judged(self, tell: Callable[[Progress], None]) -> Judgement:
        """Return the judgement."""
        bundle, images = self.bundle, self.images
        kept = KeptBottlenecks(self.store, self.backbone)
        label_of = self._labels(bundle)
        test = [row for row, image in enumerate(images) if image.split == "test"]
        examples = Examples(tuple(images[row] for row in test), kept.array(images)[test], label_of[test])
        file_scores = judging.scores_of(self.backbone.model, self.backbone, examples)
        judging.spot_check(self.backbone.model, self.backbone, examples)
        tell(Progress("comparison", 0.6))
        scores = file_scores if self.judges is None else self._by_judges(self.judges, kept, self.backbone)
        selection = Selection(tuple(images), bundle.labels, {})
        incumbent = Incumbent(self.current, selection, self.everything, self.store, self.backbone, kept)
        compared = file = None
        if incumbent.comparable:
            incumbent.complete(
                workers=self.request.workers or os.cpu_count() or 1,
                tell=lambda done, of: tell(Progress("comparison", 0.6 + 0.3 * done / max(of, 1))),
            )
            compared = self._compared(scores, incumbent, kept)
            file = incumbent.test_side(file_scores, examples.images)
        right = (scores.argmax(axis=1) == label_of).astype(np.float64)
        accuracy = float(right.mean())
        how = self.request.hyperparameters
        verdict = gate.decide(
            accuracy,
            gate.mean_recall(right, label_of),
            len(bundle.labels),
            min_accuracy=how.min_accuracy,
            tolerance=how.tolerance,
            compared=compared,
            file=file,
            same=bundle.id == self.current.id,
        )
        if compared is None:
            if verdict.verdict == "promoted":  # the gate has no word for how few they may be
                verdict = replace(verdict, reason=f"{verdict.reason} ({counted(len(images), 'image')})")
            accepted = Acceptance(verdict, accuracy, self.current.id)
        else:
            accepted = Acceptance(verdict, accuracy, self.current.id, verdict.previous, incumbent.made_again)
        return _told(self.request, bundle, accepted, len(images))

    def _labels(self, bundle: Bundle) -> NDArray[np.intp]:
        return np.array([bundle.labels.index(image.label) for image in self.images], np.intp)

    def _by_judges(self, judges: Judges, kept: KeptBottlenecks, backbone: Backbone) -> NDArray[np.float32]:
        """Return (n, classes) of the images, each by a head that was not made of it."""
        groups = [image.group_id for image in self.images]
        return judges.logits(kept.array(self.images), backbone.affine, groups)

    def _compared(self, scores: NDArray[np.float32], incumbent: Incumbent, kept: KeptBottlenecks) -> Compared:
        """Return what both models make of the images whose labels both know."""
        current = self._judges_of_current()
        if self.judges is not None and current is not None:
            return self._both_by_judges(scores, current, kept)
        new = Predictions.of(scores[np.newaxis], incumbent.outputs)
        if self.judges is None:
            # Neither model was made of any of them: none is one that only the new model has learned.
            found = incumbent.compare(new, incumbent.predict(_TEST_SIDE))
            return replace(found, fresh=np.zeros(len(found.new), bool))
        return incumbent.compare(new, incumbent.predict(_EVERY_IMAGE))

    def _judges_of_current(self) -> Judges | None:
        """Return the heads that judge for the model that answers, where its network is the same."""
        if self.current.manifest.backbone_sha256 != self.backbone.sha256:
            return None
        path = self.request.current_judges
        return _judges(path, self.current, self.backbone) if path is not None and path.is_file() else None

    def _both_by_judges(self, scores: NDArray[np.float32], current: Judges, kept: KeptBottlenecks) -> Compared:
        old, labels = self.current, self.bundle.labels
        names = tuple(label for label in labels if label in old.labels)
        rows = [row for row, image in enumerate(self.images) if image.label in names]
        label = np.array([names.index(self.images[row].label) for row in rows], np.intp)
        theirs = self._by_judges(current, kept, self.backbone)[rows]
        ours = scores[rows]
        new, before = ([known.index(name) for name in names] for known in (labels, old.labels))
        return Compared(
            [self.images[row].group_id for row in rows],
            label,
            names,
            _share(ours[:, new].argmax(axis=1) == label),
            _share(theirs[:, before].argmax(axis=1) == label),
            _share(ours.argmax(axis=1) == np.array(new, np.intp)[label]),
            _share(theirs.argmax(axis=1) == np.array(before, np.intp)[label]),
            np.zeros(len(rows), bool),
        )


def _share(right: NDArray[np.bool_]) -> NDArray[np.float64]:
    return right.astype(np.float64)


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
