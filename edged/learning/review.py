"""A review of the labels that the images have: which look wrong, and which photos of one thing have two."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.reports import DoubtfulImage, DoubtfulLabels, NearDuplicate
from edged.errors import RefusedError
from edged.images import open_images
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import MIN_IMAGES, KeptBottlenecks
from edged.learning.doubtful import MOST_AT_ONCE, NAMED, contradictions, doubt, judge_each, likely_wrong
from edged.learning.report import rounded
from edged.learning.request import Progress, ReviewRequest
from edged.plural import counted
from edged.store import read_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import LabeledImage
    from edged.learning.doubtful import Contradiction

_MOST = 500
_MOST_NEAR = 3
_NO_SHARE = 0.01
"""Of wrong labels, where none was estimated."""


def review(request: ReviewRequest, tell: Callable[[Progress], None]) -> DoubtfulLabels:
    """Look at the device's labeled images, compute the bottlenecks that are missing, and name doubtful labels.

    Args:
        request: Where they are, and what is asked for.
        tell: Called with the progress.

    Raises:
        RefusedError: There is no labeled image.
        EdgedError: A model or the index fails.
    """
    tell(Progress("scan", 0.0))
    with closing(open_images(request.state_dir, None, request.images_max_mb)) as store:
        store.scan()
        images = store.labeled()
        if not images:
            raise RefusedError("there is no labeled image; `edgectl images push` sends some")
        backbone = Backbone.of(read_bundle(request.backbone), request.runtime)
        unreadable = complete(
            store,
            images,
            lambda _: ("plain",),
            backbone,
            workers=request.workers or os.cpu_count() or 1,
            tell=lambda done, of: tell(
                Progress("bottlenecks", 0.05 + 0.85 * done / max(of, 1), {"done": done, "of": of})
            ),
        )
        tell(Progress("comparison", 0.9))
        lost = {one.task.sha256 for one in unreadable}
        told = doubtful_labels(
            [image for image in images if image.sha256 not in lost],
            KeptBottlenecks(store, backbone),
            backbone,
            limit=request.limit,
        )
    return told.model_copy(update={"unreadable": len(lost)}) if lost else told


def doubtful_labels(
    images: Sequence[LabeledImage],
    kept: KeptBottlenecks,
    backbone: Backbone,
    *,
    limit: int | None = None,
    at_once: int = MOST_AT_ONCE,
) -> DoubtfulLabels:
    """Return the labels that the other images contradict.

    Args:
        images: The labeled images, with a bottleneck each.
        kept: The bottlenecks.
        backbone: The network that has made them.
        limit: So many images are told of, also those whose label is more likely right; None: those that are not.
        at_once: More images than this are judged in parts, see `doubtful.judge_each`.
    """
    counts = Counter(image.label for image in images)
    labels = sorted(counts)
    label_of = np.array([labels.index(image.label) for image in images], np.intp)
    groups = [image.group_id for image in images]
    right = np.array([image.confirmed for image in images], bool)
    bursts = {label for label in labels if len({image.group_id for image in images if image.label == label}) < 2}
    told_apart = [counts[label] >= MIN_IMAGES and label not in bursts for label in labels]
    learned = np.flatnonzero(told_apart)
    own = np.flatnonzero(np.isin(label_of, learned)) if len(learned) > 1 else np.empty(0, np.intp)
    odds, share = np.zeros((len(images), len(labels))), None
    wrong, looks_like = np.zeros(len(images)), np.zeros(len(images), np.intp)
    if len(own):
        given = np.searchsorted(learned, label_of[own])
        features = kept.array([images[int(number)] for number in own])
        scores = judge_each(
            features,
            given,
            [groups[number] for number in own],
            classes=len(learned),
            affine=backbone.affine,
            at_once=at_once,
        )
        doubts = doubt(scores, given, right[own])
        odds[own[:, np.newaxis], learned] = doubts.odds
        wrong[own], looks_like[own], share = doubts.wrong, learned[doubts.looks_like], doubts.share
    twice = contradictions(label_of, groups, odds, right)
    told = _told_twice(twice, images, labels, odds)
    others = np.setdiff1d(own[~right[own]], np.array([one.image for one in twice], np.intp))
    others = others[np.argsort(-wrong[others], kind="stable")]
    named = int(np.count_nonzero(wrong[others] > NAMED))
    told += [
        _doubtful(images[number], labels[looks_like[number]], float(wrong[number]))
        for number in others[: named if limit is None else max(0, limit - len(told))]
    ]
    report = DoubtfulLabels(
        images=tuple(told[: _MOST if limit is None else limit]),
        number=len(twice) + named,
        judged=len(own),
        right=int(right.sum()),
        left_out={
            label: f"{counted(counts[label], 'image')}; at least {MIN_IMAGES} of two labels are needed"
            if counts[label] < MIN_IMAGES or label not in bursts
            else f"{counted(counts[label], 'image')}, all of them near duplicates; none can judge another"
            for label in labels
            if label not in {labels[number] for number in learned} or not len(own)
        },
    )
    return report if share is None else report.model_copy(update={"share": rounded(share)})


def carried_on(
    before: DoubtfulLabels,
    images: Sequence[LabeledImage],
    labels: Sequence[str],
    rows: Sequence[int],
    odds: NDArray[np.float64],
    known: NDArray[np.bool_],
) -> DoubtfulLabels:
    """Return the labels that looked wrong before and still stand, and those of some images that are judged anew.

    Args:
        before: What `doubtful_labels` has found, of fewer images.
        images: The labeled images.
        labels: Their labels, sorted.
        rows: Which images are judged anew: those that have come, or got another label, and their near duplicates.
        odds: (rows, labels) what the model that answers makes of them, each row adds up to 1.
        known: (rows,) whether it was made of them: then it only tells which label near duplicates should have.
    """
    anew = [images[row] for row in rows]
    label_of = np.array([labels.index(image.label) for image in anew], np.intp)
    right = np.array([image.confirmed for image in anew], bool)
    twice = contradictions(label_of, [image.group_id for image in anew], odds, right)
    told = _told_twice(twice, anew, labels, odds)
    wrong = likely_wrong(odds, label_of, before.share or _NO_SHARE)
    others = odds.copy()
    others[np.arange(len(anew)), label_of] = -1.0
    named = {one.image for one in twice}
    for number in np.argsort(-wrong, kind="stable"):
        if wrong[number] > NAMED and not (right[number] or known[number] or int(number) in named):
            told.append(_doubtful(anew[number], labels[int(others[number].argmax())], float(wrong[number])))
    settled = {image.id for image in images if image.confirmed} | {image.id for image in anew}
    stand = [one for one in before.images if one.id not in settled]
    return before.model_copy(
        update={
            "images": (*told, *stand)[:_MOST],
            "number": max(0, (before.number or 0) - (len(before.images) - len(stand))) + len(told),
            "right": sum(image.confirmed for image in images),
        }
    )


def _told_twice(
    twice: Sequence[Contradiction], images: Sequence[LabeledImage], labels: Sequence[str], odds: NDArray[np.float64]
) -> list[DoubtfulImage]:
    """Tell of images that show the same as others under another label; `odds` as for `contradictions`."""
    return [
        _doubtful(
            images[one.image],
            labels[one.looks_like],
            _confidence(odds[one.image], labels.index(images[one.image].label), one.looks_like),
            [images[number] for number in one.near],
        )
        for one in twice
    ]


def _doubtful(
    image: LabeledImage, looks_like: str, confidence: float | None, near: Sequence[LabeledImage] = ()
) -> DoubtfulImage:
    told = DoubtfulImage(
        id=image.id, file=image.path.name, label=image.label, looks_like=looks_like, confidence=rounded(confidence, 3)
    )
    if not near:
        return told
    return told.model_copy(
        update={"near": tuple(NearDuplicate(id=one.id, label=one.label) for one in near[:_MOST_NEAR])}
    )


def _confidence(odds: NDArray[np.float64], own: int, other: int) -> float | None:
    """Return how likely the other of two labels is the right one; None where not both were judged."""
    both = odds[own] + odds[other]
    return float(odds[other] / both) if odds[own] > 0 and odds[other] > 0 else None
