"""Which of the installed networks to start from: ranked by estimates, or exactly, by a head on each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, RefusedError
from edged.lab.sources.cross_validation import CrossValidation, cross_validate
from edged.lab.sources.known_sources import KnownSource, read_known_sources
from edged.lab.sources.ranking import Ranking, Standing, accuracy_of
from edged.lab.sources.transferability import divergence, log_evidence, p2l, profile
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks, Selection
from edged.learning.gate import TestSide, file_drop
from edged.plural import counted
from edged.vision.preprocess import fit as fit_image
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import ImageStore, LabeledImage, Split
    from edged.store import Bundle
    from edged.vision.network import Runtime

Tell = Callable[[str, int, int], None]
"""Told which network's bottlenecks are computed, how many images are done, and of how many."""
_SIDE = 16
"""Width and height, pixels, of the small images that a head without any transfer is trained on."""


class Ranker:
    """Ranks installed networks for a set of labeled images.

    Args:
        store: Where bottlenecks are kept.
        selection: The labeled images; its test side is left alone, so that it can still judge what is chosen.
        bundles: The networks to rank, usually all that are installed.
        current: The model that runs; others are compared with it.
        runtime: Which interpreter.
        workers: Threads.
        tell: Called with the progress.
        splits: Which sides of the images to look at.

    Raises:
        RefusedError: There is nothing to choose from.
    """

    def __init__(
        self,
        store: ImageStore,
        selection: Selection,
        bundles: Sequence[Bundle],
        *,
        current: Bundle | None,
        runtime: Runtime,
        workers: int,
        tell: Tell = lambda _name, _done, _of: None,
        splits: Collection[Split] = ("train", "validation"),
    ) -> None:
        backbones = {bundle.manifest.backbone_sha256: bundle for bundle in reversed(bundles)}
        self._bundles = sorted(backbones.values(), key=lambda bundle: bundle.name)
        if len(self._bundles) < 2:
            have = ", ".join(bundle.name for bundle in self._bundles) or "none"
            raise RefusedError(
                f"nothing to choose from: {len(self._bundles)} backbone is installed ({have}); "
                "`edged models list` shows what can be pulled"
            )
        self._store, self._selection = store, selection
        self._images = [image for image in selection.images if image.split in splits]
        self._current = None if current is None else current.manifest.backbone_sha256
        self._runtime: Runtime = runtime
        self._workers = workers
        self._tell = tell

    def estimate(self) -> Ranking:
        """Rank by `transferability.p2l`: one pass of the images through the reference network.

        Raises:
            RefusedError: The reference network is not installed, or no source is known.
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        known = read_known_sources()
        reference = next((one for one in self._bundles if one.manifest.sha256 in known.reference_sha256), None)
        if reference is None:
            raise RefusedError(
                "the reference network (the shipped mobilenet_v2) is not installed; "
                "`edged sources rank --exact` does without it"
            )
        images, features, affine = self._bottlenecks(reference)
        target = profile(affine.dequantize(features))
        standings = [self._estimated(bundle, known.of(bundle), target) for bundle in self._bundles]
        standings.sort(key=lambda one: (one.score is None, -(one.score or 0.0), one.bundle.name))
        first = standings[0]
        if first.source is None or first.score is None:
            raise RefusedError("what the installed networks were trained on is not known; `--exact` measures them")
        standings = self._warn_of_lower_scores(standings)
        reason = (
            f"estimated from one pass of {counted(len(images), 'image')}: it was trained on "
            f"{counted(first.source.images, 'image')} of {first.source.dataset}, whose divergence from these is "
            f"{first.divergence:.3f} (0: alike)"
        )
        return Ranking(tuple(standings), len(images), False, None, reason, time.monotonic() - began)

    def evidence(self) -> Ranking:
        """Rank by `transferability.log_evidence`: one pass of the images through every network, no training.

        Raises:
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        standings = []
        for bundle in self._bundles:
            started = time.monotonic()
            images, features, affine = self._bottlenecks(bundle)
            score = log_evidence(affine.dequantize(features), self._labels(images))
            source = read_known_sources().of(bundle)
            standings.append(Standing(bundle, source, score=score, seconds=time.monotonic() - started))
        standings = self._warn_of_lower_scores(standings)
        standings.sort(key=lambda one: (-(one.score or 0.0), one.bundle.name))
        reason = (
            f"its bottlenecks of {counted(len(self._images), 'image')} explain the labels best: log evidence "
            f"{standings[0].score:.3f} per image, then {standings[1].bundle.name} {standings[1].score:.3f}"
        )
        return Ranking(tuple(standings), len(self._images), False, None, reason, time.monotonic() - began)

    def measure(self, seed: int = 0) -> Ranking:
        """Rank by what a head on each network's bottlenecks does on images that it was not trained on.

        Raises:
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        known = read_known_sources()
        standings = []
        for bundle in self._bundles:
            started = time.monotonic()
            images, features, affine = self._bottlenecks(bundle)
            measured = self._cross_validate(images, features, affine, seed)
            source = known.of(bundle)
            standings.append(Standing(bundle, source, measured=measured, seconds=time.monotonic() - started))
        baseline = self._no_transfer(seed)
        standings = [self._warned(one, baseline, standings) for one in standings]
        standings.sort(key=lambda one: (-accuracy_of(one), one.bundle.name))
        first, second = standings[0], standings[1]
        reason = (
            f"measured by cross-validation on {counted(len(self._images), 'image')}: {accuracy_of(first):.1%}, "
            f"then {second.bundle.name} {accuracy_of(second):.1%}; without transfer {baseline:.1%}"
        )
        return Ranking(tuple(standings), len(self._images), True, baseline, reason, time.monotonic() - began)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _bottlenecks(self, bundle: Bundle) -> tuple[list[LabeledImage], Any, Affine]:
        backbone = Backbone.of(bundle, self._runtime)
        unreadable = complete(
            self._store,
            self._images,
            lambda _image: ("plain",),
            backbone,
            workers=self._workers,
            tell=lambda done, of: self._tell(bundle.name, done, of),
        )
        lost = {one.task.sha256 for one in unreadable}
        images = [image for image in self._images if image.sha256 not in lost]
        if not images:
            raise ImageError("none of the labeled images can be read")
        self._images = images
        return images, KeptBottlenecks(self._store, backbone).array(images), backbone.affine

    def _labels(self, images: Sequence[LabeledImage]) -> NDArray[np.intp]:
        index = {label: number for number, label in enumerate(self._selection.labels)}
        return np.array([index[image.label] for image in images], np.intp)

    def _cross_validate(self, images: list[LabeledImage], features: Any, affine: Affine, seed: int) -> CrossValidation:
        return cross_validate(
            features,
            self._labels(images),
            [image.group_id for image in images],
            classes=len(self._selection.labels),
            affine=affine,
            seed=seed,
        )

    def _no_transfer(self, seed: int) -> float:
        counts = Counter(image.label for image in self._images)
        majority = max(counts.values()) / len(self._images)
        pixels = np.stack([_pixels(image) for image in self._images])
        return max(majority, self._cross_validate(self._images, pixels, Affine(1 / 255, 0), seed).accuracy)

    def _estimated(self, bundle: Bundle, source: KnownSource | None, target: NDArray[np.floating[Any]]) -> Standing:
        if source is None:
            return Standing(bundle, warning="what it was trained on is not known")
        away = divergence(target, profile(source.mean[np.newaxis]))
        return Standing(bundle, source, away, p2l(away, source.images, source.accuracy))

    def _warn_of_lower_scores(self, standings: list[Standing]) -> list[Standing]:
        running = next((one for one in standings if one.bundle.manifest.backbone_sha256 == self._current), None)
        if running is None or running.score is None:
            return standings
        limit = running.score
        text = f"likely worse than the current {running.bundle.name}"
        return [replace(one, warning=text) if one.score is not None and one.score < limit else one for one in standings]

    def _warned(self, one: Standing, baseline: float, standings: list[Standing]) -> Standing:
        running = next((each for each in standings if each.bundle.manifest.backbone_sha256 == self._current), None)
        if accuracy_of(one) <= baseline:
            return replace(one, warning=f"negative transfer: no better than no transfer at all ({baseline:.1%})")
        if one.measured is None or running is None or running.measured is None or one is running:
            return one
        if len(one.measured.correct) != len(running.measured.correct):
            return one
        if file_drop(TestSide(one.measured.correct, running.measured.correct), running.bundle.name) is None:
            return one
        return replace(one, warning=f"worse than the current {running.bundle.name} by more than the noise")


def _pixels(image: LabeledImage) -> NDArray[np.uint8]:
    try:
        pixels = fit_image(decode(read_file(image.path), (_SIDE, _SIDE)), _SIDE, _SIDE, 1.0)
    except FileNotFoundError as error:
        raise ImageError(f"{image.path}: is gone") from error
    return pixels.reshape(-1)
