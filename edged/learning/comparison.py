"""Two ways to a model, compared on every labeled image: paired cross-validation on kept bottlenecks. Pure numpy.

Bottlenecks are there already and a head takes a fraction of a second, so every image can be a test image: the model
that answers now and the new one are made again, each by its own recipe and of its own images, once for every fold,
and judge the images of the fold, which neither was made of. Near duplicates lie in one fold. Several divisions into
folds are averaged where images are few, so that it matters less how they fell.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.learning.recipe import Recipe
    from edged.learning.softmax_regression import Features
    from edged.vision.quantization import Affine

FOLDS = 5
_ENOUGH_IMAGES = 1000
"""So many judged images tell enough: of more, only some folds are judged."""
_ENOUGH_JUDGEMENTS = 500
"""Fewer images are divided into folds several times, up to so many judgements of an image in all."""
_MOST_DIVISIONS = 4


@dataclass(frozen=True)
class Taught:
    """One way to a model: what it is made of, and how.

    Attributes:
        features: (n, d) bytes of the bottlenecks of its n images, or (n, views, d).
        labels: (n,) index of each image's label among the model's.
        classes: Number of the model's labels.
        affine: Scale and zero point of the bytes.
        recipe: How its head is made.
    """

    features: Features
    labels: NDArray[np.intp]
    classes: int
    affine: Affine
    recipe: Recipe


@dataclass(frozen=True)
class Divisions:
    """Which folds are judged.

    Attributes:
        divisions: Number of ways in which the images are divided into folds.
        folds: Number of folds of each division that are judged, 1..`FOLDS`.
    """

    divisions: int
    folds: int

    @classmethod
    def for_images(cls, images: int, views: int = 1) -> Divisions:
        """Return what is enough for so many images with so many views each, and costs no more than it needs to."""
        rows = max(images * views, 1)
        divisions = max(1, min(_MOST_DIVISIONS, round(_ENOUGH_JUDGEMENTS / rows)))
        return cls(divisions, min(FOLDS, math.ceil(FOLDS * _ENOUGH_IMAGES / rows)))


def places(groups: Sequence[str], division: int) -> NDArray[np.float64]:
    """Return the place of each image, 0 ≤ place < 1; those of a group of near duplicates have the same.

    Args:
        groups: n ids of groups, sha256 as 64 hex digits.
        division: 0: the place that says on which side of a training the image is, see `images.image.split_of`, so
            that the last fold is its test side. Others: another place each.
    """
    ids = groups if division == 0 else [hashlib.sha256(f"{group}:{division}".encode()).hexdigest() for group in groups]
    return np.array([int(group[:8], 16) for group in ids]) / 2**32


@dataclass(frozen=True)
class Predictions:
    """What models that were not made of an image say it shows.

    Attributes:
        free: (divisions, n) the label that a model prefers; −1: not judged.
        bound: (divisions, n) the label that it prefers among some that it was asked for; −1: not judged.
        logits: (divisions, n, classes) float32, which `free` was taken from, NaN: not judged; None: only labels are
            known, as of an exported file.
    """

    free: NDArray[np.int16]
    bound: NDArray[np.int16]
    logits: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, scores: NDArray[np.float32], among: Sequence[int]) -> Predictions:
        """Return the predictions of scores (divisions, n, classes); `among` may be empty."""
        free = scores.argmax(axis=2).astype(np.int16)
        if not among:
            return cls(free, np.full_like(free, -1))
        columns = np.array(among, np.int16)
        return cls(free, columns[scores[:, :, columns].argmax(axis=2)])

    def at(self, images: Sequence[int]) -> Predictions:
        """Return the predictions of some of the images, in their order."""
        rows = np.array(images, np.intp)
        return Predictions(
            self.free[:, rows], self.bound[:, rows], None if self.logits is None else self.logits[:, rows]
        )


def predict_left_out(
    taught: Taught, groups: Sequence[str], divisions: Divisions, among: Sequence[int] = ()
) -> Predictions:
    """Let heads that were not made of an image say what it shows, for every image of the folds.

    Args:
        taught: The images and how heads are made of them.
        groups: n ids of groups of near duplicates, as for `places`.
        divisions: Which folds.
        among: Labels that `Predictions.bound` is chosen from.
    """
    free = np.full((divisions.divisions, len(groups)), -1, np.int16)
    bound = free.copy()
    logits = np.full((*free.shape, taught.classes), np.nan, np.float32)
    plain = taught.features[:, 0] if taught.features.ndim == 3 else taught.features
    folds = [
        (division, left_out)
        for division in range(divisions.divisions)
        for place in (places(groups, division),)
        for fold in range(divisions.folds)
        if (left_out := _in_fold(place, fold)).any()
    ]
    heads = taught.recipe.fit_each(
        taught.features,
        taught.labels,
        [~left_out for _, left_out in folds],
        classes=taught.classes,
        affine=taught.affine,
    )
    for (division, left_out), head in zip(folds, heads, strict=True):
        if head is None:
            continue
        logits[division, left_out] = head.logits(plain[left_out], taught.affine)
        answers = Predictions.of(logits[division, left_out][np.newaxis], among)
        free[division, left_out], bound[division, left_out] = answers.free[0], answers.bound[0]
    return Predictions(free, bound, logits)


@dataclass(frozen=True)
class LeftOut:
    """What `predict_left_out` found, as it is kept beside a model: the next training compares with it.

    Attributes:
        made_of: Hash of all that the answers come from, see `made_of`; empty: they were taken over from a model of
            nearly the same images, see `step`.
        folds: Number of folds of each division that were judged.
        answers: (divisions, n) the label that a model prefers, −1: not judged; see `Predictions.free`.
        tested: (n,) the label that the exported file prefers, −1: not a test image; None: not known.
    """

    made_of: str
    folds: int
    answers: NDArray[np.int16]
    tested: NDArray[np.int16] | None = None

    def with_tested(self, test: NDArray[np.bool_], scores: NDArray[np.float32]) -> LeftOut:
        """Return the same with what the exported file says of the test side.

        Args:
            test: (n,) which images are on it.
            scores: (test images, classes) in their order.
        """
        tested = np.full(len(test), -1, np.int16)
        tested[test] = scores.argmax(axis=1)
        return replace(self, tested=tested)

    def encode(self) -> bytes:
        """Return JSON."""
        told = {"v": 1, "made_of": self.made_of, "folds": self.folds, "answers": self.answers.tolist()}
        if self.tested is not None:
            told["tested"] = self.tested.tolist()
        return (json.dumps(told, separators=(",", ":")) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes) -> LeftOut | None:
        """Return what was encoded; None: it is damaged, or of another version."""
        try:
            told = json.loads(content)
            answers = np.array(told["answers"])
            tested = np.array(told["tested"]) if "tested" in told else answers[0]
            known = told["v"] == 1 and answers.ndim == 2 and answers.dtype.kind == tested.dtype.kind == "i"
            greatest = max(np.abs(answers).max(initial=0), np.abs(tested).max(initial=0))
            if not known or tested.shape != answers.shape[1:] or greatest > np.iinfo(np.int16).max:
                return None
            own = tested.astype(np.int16) if "tested" in told else None
            return cls(str(told["made_of"]), int(told["folds"]), answers.astype(np.int16), own)
        except (ValueError, KeyError, TypeError, IndexError):
            return None

    def of_folds(self, groups: Sequence[str], divisions: Divisions) -> NDArray[np.int16] | None:
        """Return the answers of these folds, (divisions, n) as `Predictions.free`; None: some were not judged.

        Args:
            groups: n ids of groups of near duplicates, as for `places`.
            divisions: Which folds.
        """
        have, count = self.answers.shape
        if count != len(groups) or have < divisions.divisions or self.folds < divisions.folds:
            return None
        answers = self.answers[: divisions.divisions].copy()
        for division in range(divisions.divisions):
            place = places(groups, division)
            for fold in range(divisions.folds, self.folds):
                answers[division, _in_fold(place, fold)] = -1
        return answers


def made_of(taught: Taught, groups: Sequence[str]) -> str:
    """Return a hash of all that the answers of `predict_left_out` come from, but for the folds that are judged.

    Args:
        taught, groups: As for `predict_left_out`.
    """
    scale, zero_point = taught.affine
    how = (taught.recipe, taught.classes, float(scale), int(zero_point), taught.features.shape, taught.features.dtype)
    hashed = hashlib.sha256(repr(how).encode())
    hashed.update("".join(groups).encode())
    hashed.update(taught.labels.astype("<i8").tobytes())
    hashed.update(np.ascontiguousarray(taught.features).data)
    return hashed.hexdigest()


def folds_of(groups: Sequence[str]) -> NDArray[np.uint8]:
    """Return the fold 0..`FOLDS` − 1 of each image in the first division, by the id of its group of near duplicates."""
    place = places(groups, 0)
    inside = np.array([_in_fold(place, fold) for fold in range(FOLDS)]).reshape(FOLDS, len(groups))
    folds: NDArray[np.uint8] = inside.argmax(axis=0).astype(np.uint8)
    return folds


def _in_fold(place: NDArray[np.float64], fold: int) -> NDArray[np.bool_]:
    """Return whether images are in a fold; fold 0 is the last part of the places, the next one that before it."""
    share = 1 / FOLDS
    turned = (place + fold * share) % 1.0
    inside: NDArray[np.bool_] = turned >= 1 - share
    return inside


def share_right(predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return how often each image was given its label, 0..1 over the divisions; NaN: it was never judged.

    Args:
        predicted: (divisions, n) labels, −1: not judged.
        labels: (n,) the right ones.
    """
    judged = (predicted >= 0).sum(axis=0)
    right = (predicted == labels).sum(axis=0)
    return np.where(judged > 0, right / np.maximum(judged, 1), np.nan)
