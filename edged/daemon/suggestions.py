"""Which kept frames to label next, and which of them show the same unknown thing: `images_suggest`, `images_groups`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edged.contract.messages import UNKNOWN
from edged.daemon.engine import read_familiarity
from edged.daemon.images import describe
from edged.errors import CommandError
from edged.images import group_alike, suggest, variant
from edged.vision.graph import parse_graph
from edged.vision.network import HeadNetwork

if TYPE_CHECKING:
    from edged.contract.commands import Command, ImagesGroupsArgs, ImagesSuggestArgs
    from edged.images import ImageStore, LabeledImage, StoredImage
    from edged.settings import ModelSettings
    from edged.store import Bundle
    from edged.types import Vector
    from edged.vision.familiarity import Familiarity
    from edged.vision.network import Bottlenecks
    from edged.vision.quantization import Affine

CONSIDERED = 2000
"""Frames that are looked at, the newest. More would take more memory than a small device can spare: 4 n² bytes."""
GROUPED = 1000
"""Strangers that are grouped, the newest: the time goes with the square of the number."""
JUDGES = 10
"""Labeled images on the test side that will do. While there are fewer, frames of that side are suggested too; then only
those that a training learns from. Cross-validation judges by every labeled image; the test side checks the file."""
_LIKELY = 2


@dataclass(frozen=True)
class _Reader:
    """What the bottlenecks of a bundle's network mean, and what its head makes of them."""

    bundle: Bundle
    head: HeadNetwork
    affine: Affine
    dtype: Literal["uint8", "int8"]
    features: int
    familiarity: Familiarity | None
    unknown: float

    @classmethod
    def of(cls, bundle: Bundle, settings: ModelSettings) -> _Reader:
        model = bundle.read_model()
        graph = parse_graph(model)
        dtype: Literal["uint8", "int8"] = "uint8" if graph.bottleneck_dtype == "uint8" else "int8"
        head = HeadNetwork(model, runtime=settings.engine)
        features = graph.head.features
        known = read_familiarity(bundle, features) if settings.unknown else None
        return cls(bundle, head, graph.bottleneck_quantization, dtype, features, known, settings.unknown)

    def array(self, rows: Sequence[bytes]) -> Bottlenecks:
        joined = b"".join(rows)
        array: Bottlenecks = np.frombuffer(joined, np.dtype(self.dtype)).reshape(len(rows), self.features)
        return array

    def strange(self, bottlenecks: Vector, images: Sequence[StoredImage]) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return whether frames show something unknown: now, or where the model cannot tell, when they were kept."""
        if self.familiarity is None:
            return np.array([image.reason == UNKNOWN for image in images], bool)
        scores = self.familiarity.scores(bottlenecks)
        return np.array([self.familiarity.familiarity(float(score)) < self.unknown for score in scores], bool)


@dataclass(frozen=True)
class _Frames:
    """Frames that wait for a label, and the labeled images, as the model that answers sees them.

    Attributes:
        images: n frames, the newest first, one of each group of near duplicates.
        bottlenecks: (n, d) of them.
        scores: (n, c) what the model makes of them.
        strange: (n,) whether they show something unknown.
        teaching: (n,) whether a training would learn from them; else they would judge.
        taught: (m, d) bottlenecks of the labeled images.
        labels: (m,) numbers of their labels.
        judges: How many labeled images are on the test side.
        waiting: How many frames have no label, with those that are not among `images`.
    """

    reader: _Reader
    images: list[StoredImage]
    bottlenecks: Vector
    scores: Vector
    strange: np.ndarray[Any, np.dtype[np.bool_]]
    teaching: np.ndarray[Any, np.dtype[np.bool_]]
    taught: Vector
    labels: np.ndarray[Any, np.dtype[np.intp]]
    judges: int
    waiting: int

    def likely(self, row: int) -> list[dict[str, Any]]:
        """Return the best labels of a frame and their scores."""
        scores = self.scores[row]
        best = np.argsort(-scores, kind="stable")[:_LIKELY]
        labels = self.reader.bundle.labels
        return [{"label": labels[index], "score": round(float(scores[index]), 4)} for index in best]


class Suggestions:
    """`images_suggest` and `images_groups`.

    Args:
        store: The images.
        running: Returns the bundle that answers frames.
        settings: `[model]`.
    """

    def __init__(self, store: ImageStore, running: Callable[[], Bundle], settings: ModelSettings) -> None:
        self._store = store
        self._running = running
        self._settings = settings
        self._reader: _Reader | None = None
        self._groups: dict[str, list[str]] = {}

    def suggest(self, command: Command[ImagesSuggestArgs]) -> dict[str, Any]:
        """Report the frames whose labels would help most."""
        frames = self._look()
        enough = frames.judges >= JUDGES
        found = suggest(
            frames.bottlenecks,
            command.args.count,
            taught=frames.taught,
            # The scores of a model that was made of other labels do not tell where these are in doubt.
            scores=frames.scores if frames.reader.bundle.manifest.training is not None else None,
            strange=frames.strange,
            teaching=frames.teaching if enough else None,
        )
        return {
            "images": [
                {**describe(frames.images[one.row]), "why": one.why, "likely": frames.likely(one.row)} for one in found
            ],
            "unlabeled": frames.waiting,
            "considered": len(frames.images),
            "judging": int(np.count_nonzero(~frames.teaching)) if enough else 0,
        }

    def groups(self, command: Command[ImagesGroupsArgs]) -> dict[str, Any]:
        """Report the frames that show something unknown, in groups; `members` knows them from now on."""
        frames = self._look()
        strangers = np.flatnonzero(frames.strange)[:GROUPED]
        found = group_alike(frames.bottlenecks[strangers], frames.taught, frames.labels)
        groups = [[frames.images[strangers[row]] for row in rows] for rows in found]
        self._groups = {images[0].sha256: [image.sha256 for image in images] for images in groups}
        return {
            "groups": [
                {
                    "id": images[0].id,
                    "size": len(images),
                    "images": [image.id for image in images],
                    "likely": frames.likely(int(strangers[rows[0]])),
                }
                for images, rows in list(zip(groups, found, strict=True))[: command.args.limit]
            ],
            "all": len(found),
            "strangers": len(strangers),
            "unlabeled": frames.waiting,
            "considered": len(frames.images),
        }

    def members(self, group: str) -> tuple[str, list[str]]:
        """Return a group's id, and the sha256 of the members that it had when it was reported last.

        Args:
            group: The first digits of its id.

        Raises:
            CommandError: None was reported, or more than one.
        """
        found = [sha256 for sha256 in self._groups if sha256.startswith(group.lower())]
        if not found:
            raise CommandError(f"group {group}: none that was listed begins so; ask for the groups again")
        if len(found) > 1:
            raise CommandError(f"group {group}: more than one id begins so; give more digits")
        return found[0][:16], self._groups[found[0]]

    # -- inside --------------------------------------------------------------------------------------------------------

    def _look(self) -> _Frames:
        self._store.scan(workers=1)
        bundle = self._running()
        if self._reader is None or self._reader.bundle.id != bundle.id:
            self._reader = _Reader.of(bundle, self._settings)
        reader = self._reader
        kept = self._store.plain_embeddings(bundle.manifest.backbone_sha256, variant(bundle.manifest.input.crop))
        labeled = self._store.labeled()
        taught = [image for image in labeled if image.sha256 in kept]
        images = _one_of_each(
            [image for image in self._store.newest(unlabeled=True, limit=CONSIDERED) if image.sha256 in kept], labeled
        )
        rows = reader.array([kept[image.sha256] for image in images])
        bottlenecks = reader.affine.dequantize(rows)
        _, labels = np.unique([image.label for image in taught], return_inverse=True)
        return _Frames(
            reader,
            images,
            bottlenecks,
            reader.head.scores(rows),
            reader.strange(bottlenecks, images),
            np.array([image.split != "test" for image in images], bool),
            reader.affine.dequantize(reader.array([kept[image.sha256] for image in taught])),
            labels.astype(np.intp),
            sum(image.split == "test" for image in labeled),
            self._store.unlabeled(),
        )


def _one_of_each(images: Sequence[StoredImage], labeled: Sequence[LabeledImage]) -> list[StoredImage]:
    """Leave out near duplicates of labeled images, and of each other."""
    known = {image.group_id for image in labeled}
    fresh = {image.group_id: image for image in reversed(images) if image.group_id not in known}
    return [image for image in images if fresh.get(image.group_id) is image]
