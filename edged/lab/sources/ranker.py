"""Which of the installed networks to start from: by a race, exactly by heads on each, or by estimates without heads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, RefusedError
from edged.lab.sources import footprint, remarks
from edged.lab.sources.cross_validation import CrossValidation, cross_validate
from edged.lab.sources.known_sources import IMAGENET, KnownSource, read_known_sources
from edged.lab.sources.race import FEW, Place, race
from edged.lab.sources.ranking import Ranking, Standing, Way, accuracy_of, best_first
from edged.lab.sources.transferability import divergence, log_evidence, p2l, profile
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks, Selection
from edged.plural import counted
from edged.vision.preprocess import fit as fit_image
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import ImageStore, LabeledImage, Split
    from edged.learning import Limits
    from edged.store import Bundle
    from edged.vision.network import Bottlenecks, Network, Runtime

Tell = Callable[[str, int, int], None]
"""Told which network's bottlenecks are computed, how many images are done, and of how many."""
_SIDE = 16
"""Width and height, pixels, of the small images that a head without any transfer is trained on."""


class UnaffordableError(RefusedError):
    """No installed network is within the limits."""


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
        limits: What a network may cost; None: anything. With limits every network is run and measured first.

    Raises:
        RefusedError: There is nothing to choose from.
        UnaffordableError: No network is within the limits.
        ModelError: A network cannot be run.
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
        limits: Limits | None = None,
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
        self._dear: list[Standing] = []
        self._footprints: dict[str, footprint.Footprint] = {}
        if limits:
            self._keep_within(limits)

    def race(self, seed: int = 0, progress: Callable[[float], None] = lambda _: None) -> Ranking:
        """Rank by a race: see `edged.lab.sources.race`. Fewer images than its `FEW` are ranked as by `measure`.

        Args:
            seed: Of the order of the images, of the folds and of the heads.
            progress: Told how much of the race's time is spent, 0..1.

        Raises:
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        if len(self._bundles) == 1:
            return self._only(began)
        if len(self._images) < FEW:
            return self.measure(seed, progress)
        runners = [_Runner(self, bundle) for bundle in self._bundles]
        groups = [image.group_id for image in self._images]
        run = race(runners, self._labels(self._images), groups, clock=time.monotonic, seed=seed, progress=progress)
        standings = [self._raced(place, run.places[0]) for place in run.places]
        images = len(self._images) - len(run.unreadable)
        return self._ranking("race", standings, images, remarks.why_first(standings, run), began, rounds=run.rounds)

    def estimate(self) -> Ranking:
        """Rank by `transferability.p2l`: one pass of the images through the reference network.

        Raises:
            RefusedError: The reference network is not installed, or no source is known.
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        if len(self._bundles) == 1:
            return self._only(began)
        known = read_known_sources()
        reference = next((one for one in self._bundles if one.manifest.sha256 in known.reference_sha256), None)
        if reference is None:
            raise RefusedError(
                "the reference network (the shipped mobilenet_v2) is not installed; "
                "`edged sources rank` without --divergence does without it"
            )
        images, features, affine = self._bottlenecks(reference)
        target = profile(affine.dequantize(features))
        standings = [self._estimated(bundle, known.of(bundle), target) for bundle in self._bundles]
        standings.sort(key=lambda one: (one.score is None, -(one.score or 0.0), one.bundle.name))
        first = standings[0]
        if first.source is None or first.score is None:
            raise RefusedError("what the installed networks were trained on is not known; a race measures them")
        standings = remarks.warn_of_lower_scores(standings, self._current)
        reason = (
            f"estimated, without a look at labels: published top-1 of its architecture on ImageNet "
            f"{first.source.accuracy:.1%}, trained on {counted(first.source.images, 'image')} of "
            f"{first.source.dataset}, whose divergence from these {counted(len(images), 'image')} is "
            f"{first.divergence:.3f} (0: alike)"
        )
        return self._ranking("divergence", standings, len(images), reason, began)

    def evidence(self) -> Ranking:
        """Rank by `transferability.log_evidence`: one pass of the images through every network, no training.

        Raises:
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        if len(self._bundles) == 1:
            return self._only(began)
        standings = []
        for bundle in self._bundles:
            started = time.monotonic()
            images, features, affine = self._bottlenecks(bundle)
            score = log_evidence(affine.dequantize(features), self._labels(images))
            source = read_known_sources().of(bundle)
            standings.append(Standing(bundle, source, score=score, seconds=time.monotonic() - started))
        standings = remarks.warn_of_lower_scores(standings, self._current)
        standings.sort(key=lambda one: (-(one.score or 0.0), one.bundle.name))
        reason = (
            f"its bottlenecks of {counted(len(self._images), 'image')} explain the labels best: log evidence "
            f"{standings[0].score:.3f} per image, then {standings[1].bundle.name} {standings[1].score:.3f}"
        )
        return self._ranking("evidence", standings, len(self._images), reason, began)

    def measure(self, seed: int = 0, progress: Callable[[float], None] = lambda _: None) -> Ranking:
        """Rank by what a head on each network's bottlenecks does on images that it was not trained on.

        Args:
            seed: Of the folds and of the heads.
            progress: Told which share of the networks is measured, 0..1.

        Raises:
            EdgedError: An image set or a model fails.
        """
        began = time.monotonic()
        if len(self._bundles) == 1:
            return self._only(began)
        known = read_known_sources()
        standings = []
        for bundle in self._bundles:
            started = time.monotonic()
            images, features, affine = self._bottlenecks(bundle)
            measured = self._cross_validate(images, features, affine, seed)
            source = known.of(bundle)
            standings.append(Standing(bundle, source, measured=measured, seconds=time.monotonic() - started))
            progress(len(standings) / len(self._bundles))
        baseline = self._no_transfer(seed)
        standings = best_first(remarks.warn_of_less_accurate(standings, baseline, self._current))
        first, second = standings[0], standings[1]
        reason = (
            f"{counted(len(self._images), 'image')}: all networks saw all of them; {accuracy_of(first):.1%} right by "
            f"cross-validation, then {second.bundle.name} {accuracy_of(second):.1%}; without transfer {baseline:.1%}"
        )
        return self._ranking("exact", standings, len(self._images), reason, began, baseline=baseline)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _keep_within(self, limits: Limits) -> None:
        for bundle in self._bundles:
            measured = footprint.measure(bundle, runtime=self._runtime, threads=limits.threads)
            self._footprints[bundle.id] = measured
            excess = measured.excess(limits)
            if excess is not None:
                source = read_known_sources().of(bundle)
                self._dear.append(Standing(bundle, source, footprint=measured, warning=excess))
        dear = {one.bundle.id for one in self._dear}
        self._bundles = [bundle for bundle in self._bundles if bundle.id not in dear]
        if not self._bundles:
            by_name = {one.bundle.name: self._footprints[one.bundle.id] for one in self._dear}
            fastest = min(by_name, key=lambda name: by_name[name].frame_ms)
            lightest = min(by_name, key=lambda name: by_name[name].memory_mb)
            told = (
                f"{fastest}, the fastest, takes {by_name[fastest].frame_ms:.1f} ms a frame; "
                f"{lightest}, the smallest, takes {by_name[lightest].memory_mb:.0f} MB"
            )
            raise UnaffordableError(f"none of the {len(self._dear)} installed networks is within the limits: {told}")

    def _ranking(
        self,
        way: Way,
        standings: Sequence[Standing],
        images: int,
        reason: str,
        began: float,
        *,
        baseline: float | None = None,
        rounds: int | None = None,
    ) -> Ranking:
        """Return the ranking, with what every network costs and those that cost too much behind the others."""
        weighed = [replace(one, footprint=self._footprints.get(one.bundle.id)) for one in standings]
        if self._dear:
            reason += f"; {counted(len(self._dear), 'network')} over the limits"
        return Ranking((*weighed, *self._dear), images, way, baseline, reason, time.monotonic() - began, rounds=rounds)

    def _only(self, began: float) -> Ranking:
        """Return what there is to say where one network is left."""
        bundle = self._bundles[0]
        standing = Standing(bundle, read_known_sources().of(bundle))
        return self._ranking("limits", [standing], 0, "the only one within the limits", began)

    def _raced(self, place: Place, winner: Place) -> Standing:
        bundle = self._bundles[place.runner]
        return Standing(
            bundle,
            read_known_sources().of(bundle),
            score=place.merit,
            measured=place.measured,
            seconds=place.seconds,
            warning=remarks.of_place(place, winner),
        )

    def _pass(self, backbone: Backbone, images: Sequence[LabeledImage], idle: list[Network] | None = None) -> set[str]:
        """Complete a network's bottlenecks of some images; return the hashes of those that cannot be read."""
        unreadable = complete(
            self._store,
            images,
            lambda _image: ("plain",),
            backbone,
            workers=self._workers,
            tell=lambda done, of: self._tell(backbone.bundle.name, done, of),
            idle=idle,
        )
        return {one.task.sha256 for one in unreadable}

    def _bottlenecks(self, bundle: Bundle) -> tuple[list[LabeledImage], Any, Affine]:
        backbone = Backbone.of(bundle, self._runtime)
        lost = self._pass(backbone, self._images)
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


class _Runner:
    """A network of a `Ranker` in a race: its bottlenecks are kept in the image store, for the training that follows."""

    def __init__(self, ranker: Ranker, bundle: Bundle) -> None:
        self._ranker, self._bundle = ranker, bundle
        self._opened: Backbone | None = None
        # They stay open from round to round: opening one takes as long as some passes, and is paid once.
        self._networks: list[Network] = []
        source = read_known_sources().of(bundle)
        self.prior = source.accuracy if source is not None and source.dataset == IMAGENET else None

    @property
    def affine(self) -> Affine:
        """Scale and zero point of the bottlenecks."""
        return self._backbone.affine

    @property
    def _backbone(self) -> Backbone:
        if self._opened is None:
            self._opened = Backbone.of(self._bundle, self._ranker._runtime)
        return self._opened

    def look(self, images: NDArray[np.intp]) -> NDArray[np.intp]:
        """Pass images through the network that have no bottleneck yet; return those that cannot be read."""
        if not self._networks:
            self._networks = [self._backbone.network() for _ in range(max(self._ranker._workers, 1))]
        lost = self._ranker._pass(self._backbone, [self._ranker._images[image] for image in images], self._networks)
        return np.array([image for image in images if self._ranker._images[image].sha256 in lost], np.intp)

    def features(self, images: NDArray[np.intp]) -> Bottlenecks:
        """Return the bottlenecks of images: (n, d)."""
        kept = KeptBottlenecks(self._ranker._store, self._backbone)
        return kept.array([self._ranker._images[image] for image in images])


def _pixels(image: LabeledImage) -> NDArray[np.uint8]:
    try:
        pixels = fit_image(decode(read_file(image.path), (_SIDE, _SIDE)), _SIDE, _SIDE, 1.0)
    except FileNotFoundError as error:
        raise ImageError(f"{image.path}: is gone") from error
    return pixels.reshape(-1)
