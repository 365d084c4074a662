"""How alike a frame is to what a network was taught: a conformal p-value from its bottleneck. Pure numpy.

A softmax layer shares all probability out among the labels that it knows, whatever it sees. Two measures tell more,
and a frame counts as strange as soon as one of them says so:

* similarity: the mean cosine of its bottleneck to the nearest of some hundred taught ones (Sun et al. 2022,
  "Out-of-Distribution Detection with Deep Nearest Neighbors"). What nearly all bottlenecks of a network have in common
  would make any two of them alike, so most of it is taken off first: see `common_direction`.
* energy: log Σ exp of the head's logits (Liu et al. 2020, "Energy-based Out-of-distribution Detection"). It tells kinds
  apart that are near to taught ones, for which similarity is blind.

Both are counted in standard deviations of held-out taught images, and the soft minimum of the two is the score. The
familiarity of a frame is the share of held-out taught images whose score is no greater, (1 + k) / (1 + n): a frame that
shows what was taught falls below a limit of 2 % in 2 of 100 cases (Vovk et al. 2005, "Algorithmic Learning in a Random
World").
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from edged.errors import ModelError
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from edged.types import Vector

    Bottlenecks = NDArray[np.uint8] | NDArray[np.int8]

MOST_EXEMPLARS = 300
"""Of a network that was retrained. One as it was installed may bring a prototype of each of its labels instead."""
_MOST_READ = 4096
NEIGHBOURS = 5
"""So many of the nearest exemplars are averaged."""
_ENOUGH_CLASSES = 100
"""Only the head of a network that tells so many classes apart says what its bottlenecks have in common."""
_COMMON_SHARE = 0.75
"""How much of the common direction is taken off: chosen by hand among quarters on the photos of the develop side, from
which no reported number comes."""
_MOST_BYTES = 64 * 2**20
"""Of all arrays of a file that is read: many times what a large network needs. A small archive can hold much more."""
_VERSION = 1


def common_direction(head: NDArray[np.float32]) -> Vector:
    """Return what all bottlenecks of a network have in common, to be taken off bottlenecks of length 1.

    No photo is needed for that: the rows of a classifier's head, less their mean, point to what tells a class from the
    others; where negative they point to what it lacks, and bottlenecks behind a ReLU have no negative parts. So the
    mean of their positive parts stands for the mean bottleneck of all that the network was trained on.

    Args:
        head: (classes, features) weights of the head that the network was trained with.

    Returns:
        (features,) float32; zeros where the classes are too few to stand for the world.
    """
    if len(head) < _ENOUGH_CLASSES:
        return np.zeros(head.shape[1], np.float32)
    return np.asarray(_COMMON_SHARE * prototypes(head).mean(axis=0), np.float32)


def prototypes(head: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return bottlenecks of length 1 that stand for the classes of a head, (classes, features); no photo is needed."""
    return unit(np.maximum(head - head.mean(axis=0), 0))


def of_head(
    head: NDArray[np.float32], affine: Affine, dtype: type[np.uint8] | type[np.int8], similarity: NDArray[np.float32]
) -> Familiarity:
    """Return what tells how alike a frame is to what a network was trained on, without any photo of that.

    Its exemplars are the prototypes of the head's classes; only similarity counts.

    Args:
        head: (classes, features) weights of the head that the network was trained with.
        affine: Scale and zero point of the network's bottlenecks.
        dtype: Of the bottlenecks.
        similarity: (n,) of photos of what the network was trained on, see `head_similarities`, or quantiles of them.
    """
    spread = Spread.of(similarity)
    held_out = np.sort(spread.standardise(similarity))
    return Familiarity(_exemplars(head, affine, dtype), affine, common_direction(head), spread, None, held_out)


def head_similarities(
    head: NDArray[np.float32], affine: Affine, dtype: type[np.uint8] | type[np.int8], bottlenecks: Bottlenecks
) -> NDArray[np.float32]:
    """Return the similarity (n,) of bottlenecks (n, features) to the prototypes of a head, as `of_head` takes it."""
    common = common_direction(head)
    exemplars = directions(affine.dequantize(_exemplars(head, affine, dtype)), common)
    return nearest(directions(affine.dequantize(bottlenecks), common) @ exemplars.T)


def _exemplars(head: NDArray[np.float32], affine: Affine, dtype: type[np.uint8] | type[np.int8]) -> Bottlenecks:
    """Return the prototypes of a head as bytes."""
    chosen = prototypes(head)
    # Any length has the same direction: the longest that the bytes hold is the finest.
    top = affine.dequantize(np.array([np.iinfo(dtype).max], dtype))[0]
    return affine.quantize(chosen * (top / np.maximum(chosen.max(axis=1, keepdims=True), 1e-9)), dtype)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows (…, features) with length 1; a row of zeros stays one."""
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-9), np.float32)


def directions(bottlenecks: NDArray[np.float32], common: Vector) -> NDArray[np.float32]:
    """Return what cosines are taken of: bottlenecks (…, features) of length 1 without `common`, of length 1 again."""
    return unit(unit(bottlenecks) - common)


def nearest(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean of the `NEIGHBOURS` greatest along the last axis, (…, exemplars) → (…)."""
    count = min(NEIGHBOURS, cosines.shape[-1])
    return np.asarray(np.partition(cosines, -count, axis=-1)[..., -count:].mean(axis=-1), np.float32)


def energies(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log Σ exp of logits (…, classes) → (…)."""
    return np.asarray(np.logaddexp.reduce(logits, axis=-1), np.float32)


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a measure over held-out taught images."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Spread:
        """Measure values (n,)."""
        return cls(float(values.mean()), max(float(values.std()), 1e-6))

    def standardise(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the values in standard deviations from the mean."""
        return np.asarray((values - self.mean) / self.deviation, np.float32)


@dataclass(frozen=True)
class Head:
    """The linear layer whose energy counts.

    Attributes:
        weights: (classes, features) float32, for real-valued bottlenecks.
        bias: (classes,) float32.
        energy: Of held-out taught images.
    """

    weights: NDArray[np.float32]
    bias: Vector
    energy: Spread


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What a network was taught, in a form that tells how alike a frame is to it.

    Attributes:
        exemplars: (n, features) bytes of taught bottlenecks.
        affine: Scale and zero point of these bytes.
        common: (features,) see `common_direction`.
        similarity: Of held-out taught images.
        head: What gives the energy; None: similarity alone counts.
        held_out: (m,) float32, ascending: scores of taught images that were held out.
    """

    exemplars: Bottlenecks
    affine: Affine
    common: Vector
    similarity: Spread
    head: Head | None
    held_out: NDArray[np.float32]
    _directions: NDArray[np.float32] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Dequantize the exemplars once; 4 bytes a feature stay in memory."""
        ready = directions(self.affine.dequantize(self.exemplars), self.common)
        object.__setattr__(self, "_directions", np.ascontiguousarray(ready))

    def score(self, bottleneck: Vector) -> float:
        """Return how alike a frame is to what was taught, in standard deviations of taught images; less is stranger.

        Args:
            bottleneck: (features,) float32.
        """
        return float(self.scores(bottleneck[np.newaxis])[0])

    def scores(self, bottlenecks: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `score`, for bottlenecks (n, features): (n,)."""
        cosines = directions(bottlenecks, self.common) @ self._directions.T
        similarity = self.similarity.standardise(nearest(cosines))
        if self.head is None:
            return similarity
        logits = bottlenecks @ self.head.weights.T + self.head.bias
        return soft_minimum(similarity, self.head.energy.standardise(energies(logits)))

    def familiarity(self, score: float) -> float:
        """Return the share of held-out taught images that are no more alike than a frame with this score, 0..1."""
        lower = int(np.searchsorted(self.held_out, np.float32(score), side="right"))
        return (1 + lower) / (1 + len(self.held_out))

    def encode(self) -> bytes:
        """Return the content of a bundle's familiarity.npz."""
        spreads = [self.similarity, *([] if self.head is None else [self.head.energy])]
        arrays: dict[str, Any] = {
            "version": np.array(_VERSION),
            "exemplars": self.exemplars,
            "affine": np.array([self.affine.scale, self.affine.zero_point], np.float64),
            "common": self.common.astype(np.float16),
            "spreads": np.array([[one.mean, one.deviation] for one in spreads], np.float64),
            "held_out": self.held_out.astype(np.float32),
        }
        if self.head is not None:
            arrays["weights"], arrays["bias"] = self.head.weights.astype(np.float16), self.head.bias
        file = io.BytesIO()
        np.savez(file, **arrays)  # numpy 1 would take any other keyword for the name of an array
        return file.getvalue()

    @classmethod
    def decode(cls, data: bytes, features: int | None = None) -> Familiarity:
        """Read the content of a familiarity.npz.

        Args:
            data: The content.
            features: Of the network that it shall be used with; None: of any.

        Raises:
            ModelError: It is damaged, of another network, or of a version that this edged does not know.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:  # which never unpacks more than it says here
                if (unpacked := sum(one.file_size for one in archive.infolist())) > _MOST_BYTES:
                    raise ModelError(
                        f"{unpacked / 1e6:.0f} MB when unpacked; at most {_MOST_BYTES / 1e6:.0f} MB are read"
                    )
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if int(arrays["version"]) != _VERSION:
                raise ModelError(f"version {arrays['version']} is not known here")
            scale, zero_point = arrays["affine"]
            spreads = [Spread(float(mean), float(deviation)) for mean, deviation in arrays["spreads"]]
            head = None
            if "weights" in arrays:
                head = Head(
                    arrays["weights"].astype(np.float32, casting="same_kind"),
                    arrays["bias"].astype(np.float32),
                    spreads[1],
                )
            read = cls(
                arrays["exemplars"],
                Affine(float(scale), int(zero_point)),
                arrays["common"].astype(np.float32),
                spreads[0],
                head,
                arrays["held_out"].astype(np.float32),
            )
        except ModelError:
            raise
        except Exception as error:  # numpy and zipfile raise whatever a damaged file leads them to
            raise ModelError(f"damaged: {error or type(error).__name__}") from error
        read._check()
        if features is not None and len(read.common) != features:
            raise ModelError(f"its bottlenecks have {len(read.common)} features, the model's {features}")
        return read

    def _check(self) -> None:
        features = self.common.shape
        fits = (
            self.exemplars.ndim == 2
            and self.exemplars.dtype in (np.uint8, np.int8)
            and 0 < len(self.exemplars) <= _MOST_READ
            and features == self.exemplars.shape[1:]
            and self.held_out.ndim == 1
            and len(self.held_out) > 0
            and (self.head is None or self.head.weights.shape == (*self.head.bias.shape, *features))
        )
        if not fits:
            raise ModelError("damaged: its arrays do not fit each other")
        real = [self.common, self.held_out, *([] if self.head is None else [self.head.weights, self.head.bias])]
        spreads = [self.similarity, *([] if self.head is None else [self.head.energy])]
        real.append(np.array([[one.mean, one.deviation] for one in spreads] + [[self.affine.scale, 0.0]], np.float32))
        sane = all(np.isfinite(one).all() for one in real) and all(one.deviation > 0 for one in spreads)
        if not sane or (np.diff(self.held_out) < 0).any():
            raise ModelError("damaged: its numbers make no sense")


def soft_minimum(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return −log(exp(−a) + exp(−b)) element by element: about the smaller one, less where both are small."""
    return np.asarray(-np.logaddexp(-one, -other), np.float32)
