"""What a head is trained on and judged by: which labeled images take part, and their bottlenecks as arrays.

`select` chooses the labels that can be learned; `KeptBottlenecks` reads the arrays of each split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from edged.errors import RefusedError
from edged.images import SPLITS, Split
from edged.learning.bottlenecks import AUGMENTED, View
from edged.plural import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import ImageStore, LabeledImage
    from edged.learning.bottlenecks import Backbone
    from edged.vision.network import Bottlenecks

MIN_IMAGES = 5
"""Images that a label needs to be learned; with fewer, none may fall to the test side."""
MIN_TRAIN = 2
"""Of a label's images, so many must have fallen to the training side."""


@dataclass(frozen=True)
class Selection:
    """Which images take part in a training.

    Attributes:
        images: The images, sorted by label, then sha256.
        labels: The labels, sorted; this is the order of the new model's outputs.
        left_out: Label that cannot be learned → why.
    """

    images: tuple[LabeledImage, ...]
    labels: tuple[str, ...]
    left_out: dict[str, str]

    def without(self, shas: Collection[str]) -> Selection:
        """Return the selection without some images; a label that has too few left goes too.

        Raises:
            RefusedError: Too few labels or test images are left, see `select`.
        """
        if not shas:
            return self
        again = select([image for image in self.images if image.sha256 not in shas])
        return Selection(again.images, again.labels, self.left_out | again.left_out)

    def of(self, split: Split) -> list[LabeledImage]:
        """Return the images of one split."""
        return [image for image in self.images if image.split == split]

    def counts(self) -> dict[str, int]:
        """Return label → images."""
        counts = Counter(image.label for image in self.images)
        return {label: counts[label] for label in self.labels}

    def split_counts(self) -> dict[Split, int]:
        """Return split → images."""
        counts = Counter(image.split for image in self.images)
        return {split: counts[split] for split in SPLITS}


def select(images: Sequence[LabeledImage], *, judged: bool = True) -> Selection:
    """Choose the labels that can be learned.

    Args:
        images: The labeled images.
        judged: Whether the test side judges the model here; False: it may be empty.

    Raises:
        RefusedError: There are fewer than two, or no image fell to the side that judges.
    """
    total = Counter(image.label for image in images)
    train = Counter(image.label for image in images if image.split == "train")
    left_out = {
        label: f"{counted(count, 'image')}, {train[label]} of them to train on; "
        f"at least {MIN_IMAGES} and {MIN_TRAIN} are needed"
        for label, count in sorted(total.items())
        if count < MIN_IMAGES or train[label] < MIN_TRAIN
    }
    labels = tuple(sorted(total.keys() - left_out.keys()))
    if len(labels) < 2:
        have = ", ".join(f"{label} {count}" for label, count in sorted(total.items())[:20]) or "no labeled image"
        raise RefusedError(f"training needs at least two labels of {MIN_IMAGES} images or more each; there are: {have}")
    chosen = tuple(image for image in images if image.label not in left_out)
    if judged and not any(image.split == "test" for image in chosen):
        raise RefusedError(
            f"none of the {len(chosen)} labeled images fell to the test side, which judges the model; label more"
        )
    return Selection(chosen, labels, left_out)


@dataclass(frozen=True)
class Examples:
    """The bottlenecks and labels of one split.

    Attributes:
        images: The n images, in the order of the rows.
        features: Bytes of their bottlenecks: (n, d), or (n, views, d) where the images have several views.
        labels: (n,) indices into `Selection.labels`.
    """

    images: tuple[LabeledImage, ...]
    features: Bottlenecks
    labels: NDArray[np.intp]


@dataclass(frozen=True)
class Splits:
    """The examples of a training: `train` is learned from, `validation` chooses the epoch, `test` judges the model."""

    train: Examples
    validation: Examples
    test: Examples

    @property
    def features(self) -> tuple[Bottlenecks, ...]:
        """The features of all sides: what an exported file is calibrated on."""
        return self.train.features, self.validation.features, self.test.features


def views_of(split: Split, augment: bool) -> tuple[View, ...]:
    """Return the views of an image: several in training with `augment`; validation and test see the plain one."""
    return AUGMENTED if augment and split == "train" else ("plain",)


class KeptBottlenecks:
    """The bottlenecks that the image store keeps, read once per view.

    Args:
        store: The image store.
        backbone: The network that has made them.
    """

    def __init__(self, store: ImageStore, backbone: Backbone) -> None:
        self._store, self._backbone = store, backbone
        self._kept: dict[View, dict[str, bytes]] = {}

    def splits(self, selection: Selection, *, augment: bool) -> Splits:
        """Return the selection as examples; every image's bottlenecks must have been computed."""
        train, validation, test = (
            self.examples(selection, split, augment=augment) for split in ("train", "validation", "test")
        )
        return Splits(train, validation, test)

    def examples(self, selection: Selection, split: Split, *, augment: bool) -> Examples:
        """Return one split of the selection; every image's bottlenecks must have been computed."""
        images = selection.of(split)
        index = {label: number for number, label in enumerate(selection.labels)}
        views = views_of(split, augment)
        arrays = [self.array(images, view) for view in views]
        features = arrays[0] if len(arrays) == 1 else cast("Bottlenecks", np.stack(arrays, axis=1))
        return Examples(tuple(images), features, np.array([index[image.label] for image in images], np.intp))

    def in_views(self, images: Sequence[LabeledImage], *, augment: bool) -> Bottlenecks:
        """Return the bottlenecks (n, features) of any images, or (n, views, features) with `augment`.

        Only images of the training side have other views than the plain one; elsewhere it stands for them.
        """
        plain = self.array(images)
        if not augment:
            return plain
        views = [plain]
        for view in AUGMENTED[1:]:
            other = plain.copy()
            have = [index for index, image in enumerate(images) if image.sha256 in self._of(view)]
            if have:
                other[have] = self.array([images[index] for index in have], view)
            views.append(other)
        return cast("Bottlenecks", np.stack(views, axis=1))

    def array(self, images: Sequence[LabeledImage], view: View = "plain") -> Bottlenecks:
        """Return (n, features) bytes of the images' bottlenecks."""
        kept = self._of(view)
        return self._backbone.array([kept[image.sha256] for image in images])

    def _of(self, view: View) -> dict[str, bytes]:
        if view not in self._kept:
            self._kept[view] = self._read(view)
        return self._kept[view]

    def _read(self, view: View) -> dict[str, bytes]:
        store, backbone = self._store, self._backbone
        kept = store.embeddings(backbone.sha256, backbone.variant(view))
        if view == "plain" and backbone.live_variant is not None:  # frames that the device kept, see `TRAINING_CROP`
            return store.embeddings(backbone.sha256, backbone.live_variant) | kept
        return kept
