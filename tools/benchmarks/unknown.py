"""Does a device know what it was not taught? Taught and strange photos, a class left out, and what it costs.

    tools/bench unknown --into tools/reports/unknown.json       # on the report side of the photos, see `set_aside`

Three sets are taught, with 30 and 100 photos a label, drawn with several seeds: flowers, kinds of ImageNet's photos,
handwritten digits. A head is trained and cross-validated as a device does it, and what it keeps of the taught photos
judges the bottlenecks of photos that took no part. A *false alarm* is a photo of a taught kind that is called unknown;
a stranger *passes* that is not. *Near* strangers are those of a label that was left out of the teaching.
Beside what edged does stand the measures that it is made of, alone, each with held-out taught photos of its own:
similarity to the nearest taught bottlenecks, energy, and the softmax's probability, which people use today. What always
answers "known" or "unknown" has an area under the curve (AUROC) of 0.5.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn import KINDS as DRAWN_KINDS
from benchmarks.drawn import draw
from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side
from benchmarks.targets import DRAWN, FIRST_SEED, flower_photos, handwriting, imagenet
from edged.codec import decode, read_file
from edged.contract.hyperparameters import Hyperparameters
from edged.images.image import split_of
from edged.learning.acceptance import CrossValidation
from edged.learning.bottlenecks import Backbone
from edged.learning.comparison import Divisions, LeftOut, Taught, predict_left_out
from edged.learning.exemplars import common_to, familiarity_of
from edged.learning.recipe import make_head
from edged.learning.softmax_regression import Fitted
from edged.plural import counted
from edged.store import read_bundle
from edged.vision.familiarity import Familiarity, energies

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
TAUGHT_KINDS = ("birds", "cold-blooded", "dogs", "food", "invertebrates", "kitchenware", "vehicles")
WITH_FLOWERS = {309, 308, *range(321, 327), 580, 723, 738, 883, *range(984, 999)}
"""Classes of ImageNet whose photos show flowers or plants, or what sits on them: bees, butterflies, pots, vases."""
PHOTOS = (30, 100)
LIMITS = (0.02, 0.05)
SEEDS = 20
"""Draws of the taught photos. With 30 a label, the share of false alarms differs by a point from draw to draw."""
_NEAR_SEEDS = 5
"""Draws with each label left out."""
_DRAWN_EACH = 60
_NEVER_TRAINED_AGAIN = LeftOut("", 0, np.empty((0, 0), np.int16))

Bottlenecks = NDArray[np.uint8] | NDArray[np.int8]


# -- photos ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """All photos of one side as bottlenecks.

    Attributes:
        features: (n, d) bytes.
        source: n names: "flowers", "imagenet", "handwriting" or "drawn".
        label: n labels; of ImageNet the number of the class.
        ids: n ids, sha256 as 64 hex digits.
    """

    features: Bottlenecks
    source: NDArray[np.str_]
    label: NDArray[np.str_]
    ids: NDArray[np.str_]


@dataclass(frozen=True)
class Set:
    """A set of things that may be taught.

    Attributes:
        rows: (n,) where its photos stand.
        labels: (n,) from 0.
        strangers: Name → rows of photos that show something else.
    """

    rows: NDArray[np.intp]
    labels: NDArray[np.intp]
    strangers: Mapping[str, NDArray[np.intp]]


def contents(data: Path, side: Side) -> Iterator[tuple[str, str, bytes]]:
    """Yield source, label and content of the file of each photo of one side, always in the same order."""
    for kind, files in flower_photos(data, side).items():
        for file in files:
            yield "flowers", kind, read_file(file)
    for file, number in imagenet(data, side):
        yield "imagenet", str(number), read_file(file)
    pictures = [("handwriting", str(digit), picture) for digit, picture in handwriting(side)]
    for kind in DRAWN:
        names = DRAWN_KINDS[kind][0]
        for number in range(_DRAWN_EACH):
            seed = FIRST_SEED[side] + number // len(names)
            pictures.append(("drawn", kind, draw(kind, names[number % len(names)], seed)))
    for source, label, picture in pictures:
        done, png = cv2.imencode(".png", np.ascontiguousarray(picture[:, :, ::-1]))
        if not done:
            raise OSError("OpenCV writes no PNG")
        yield source, label, png.tobytes()


def read_photos(data: Path, side: Side, backbone: Backbone) -> Photos:
    """Pass all photos of one side through the network."""
    network = backbone.network()
    rows: list[tuple[str, str, str, Any]] = []
    for source, label, content in contents(data, side):
        name = hashlib.sha256(content).hexdigest()
        picture = decode(content, (network.width, network.height), crop=backbone.crop)
        rows.append((source, label, name, network.embed(backbone.prepare(network, picture, "plain", name))))
    sources, labels, ids, features = zip(*rows, strict=True)
    return Photos(np.stack(features), np.array(sources), np.array(labels), np.array(ids))


def sets(photos: Photos) -> dict[str, Set]:
    """Return what is taught, and who is a stranger to it."""
    of = {name: np.flatnonzero(photos.source == name) for name in ("flowers", "imagenet", "handwriting", "drawn")}
    number = np.array(
        [int(label) if net else -1 for label, net in zip(photos.label, photos.source == "imagenet", strict=True)]
    )
    kind = np.full(len(number), -1)
    for place, name in enumerate(TAUGHT_KINDS):
        kind[np.isin(number, sorted(KINDS[name]))] = place
    plain = of["imagenet"][~np.isin(number[of["imagenet"]], sorted(WITH_FLOWERS))]
    taught = np.flatnonzero(kind >= 0)

    def named(name: str) -> NDArray[np.intp]:
        return np.asarray(np.unique(photos.label[of[name]], return_inverse=True)[1], np.intp)

    drawings = {"digits": of["handwriting"], "drawings": of["drawn"]}
    return {
        "flowers": Set(
            of["flowers"],
            named("flowers"),
            {"ImageNet": of["imagenet"], "ImageNet without plants": plain, **drawings},
        ),
        "kinds": Set(taught, kind[taught], {"flowers": of["flowers"], **drawings}),
        "handwriting": Set(
            of["handwriting"],
            named("handwriting"),
            {"ImageNet": of["imagenet"], "flowers": of["flowers"], "drawings": of["drawn"]},
        ),
    }


# -- what judges -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """A measure of familiarity: scores of bottlenecks (n, d) → (n,), and those of held-out taught photos, ascending."""

    score: Callable[[Bottlenecks], NDArray[np.float64]]
    held_out: NDArray[np.float64]

    def familiarity(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the conformal p-values of scores."""
        lower = np.searchsorted(self.held_out, scores, side="right")
        return np.asarray((1 + lower) / (1 + len(self.held_out)), np.float64)


@dataclass(frozen=True)
class Trained:
    """What a training makes of taught photos.

    Attributes:
        head: Of all of them, divided by its temperature.
        left_out: (divisions, n, classes) what heads that were not made of a photo make of it, NaN where none did.
    """

    head: Fitted
    left_out: NDArray[np.float32]


def train(photos: Photos, rows: NDArray[np.intp], labels: NDArray[np.intp], backbone: Backbone) -> Trained:
    """Train and cross-validate as a device does it."""
    features, classes, affine = photos.features[rows], int(labels.max()) + 1, backbone.affine
    groups = [str(one) for one in photos.ids[rows]]
    side = np.array([split_of(group) for group in groups])
    train, validation = side == "train", side == "validation"
    made = make_head(
        (features[train], labels[train]), (features[validation], labels[validation]),
        classes=classes, affine=affine, hyperparameters=Hyperparameters(),
    )  # fmt: skip
    taught = Taught(features, labels, classes, affine, made.recipe)
    predictions = predict_left_out(taught, groups, Divisions.for_images(len(rows)))
    crossed = CrossValidation(predictions, labels, classes, _NEVER_TRAINED_AGAIN)
    calibration = crossed.calibration()
    left_out = crossed.logits(calibration)
    if left_out is None or calibration is None:
        raise RuntimeError("the cross-validation has kept no logits")
    return Trained(made.head.divided(calibration.temperature), left_out)


def teach(photos: Photos, rows: NDArray[np.intp], labels: NDArray[np.intp], backbone: Backbone) -> dict[str, Judge]:
    """Train on photos and return edged's measure and those that it is made of, alone."""
    return judges(photos, rows, train(photos, rows, labels, backbone), backbone)


def judges(photos: Photos, rows: NDArray[np.intp], trained: Trained, backbone: Backbone) -> dict[str, Judge]:
    """Return edged's measure and those that it is made of, alone."""
    features, affine, head, left_out = photos.features[rows], backbone.affine, trained.head, trained.left_out
    groups = [str(one) for one in photos.ids[rows]]
    none = np.zeros(features.shape[1], np.float32)
    judged = np.isfinite(left_out).all(axis=-1)
    each = [left_out[judged[:, one], one] for one in range(len(rows)) if judged[:, one].any()]

    def logits(some: Bottlenecks) -> NDArray[np.float32]:
        return np.asarray(head.logits(some, affine), np.float32)

    def best(some: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(some.max(axis=-1) - energies(some), np.float32)

    def linear(measure: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Judge:
        held_out = np.sort([float(measure(one).mean()) for one in each])
        return Judge(lambda some: np.asarray(measure(logits(some)), np.float64), held_out)

    return {
        "edged": _judge(
            familiarity_of(features, affine, groups, common_to(backbone), (head.weights, head.bias), left_out), affine
        ),
        "similarity": _judge(familiarity_of(features, affine, groups, none, None, None), affine),
        "energy": linear(energies),
        "softmax": linear(best),
    }


def _judge(known: Familiarity | None, affine: Any) -> Judge:
    if known is None:
        raise RuntimeError("too few photos are taught")
    return Judge(
        lambda some: np.array([known.score(one) for one in affine.dequantize(some)]), known.held_out.astype(np.float64)
    )


def auroc(taught: NDArray[np.float64], strange: NDArray[np.float64]) -> float:
    """Return how often a taught photo has a higher score than a strange one (Mann and Whitney's U; ties count half)."""
    every = np.concatenate([taught, strange])
    _, place, count = np.unique(every, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((ranks[: len(taught)].sum() - len(taught) * (len(taught) + 1) / 2) / (len(taught) * len(strange)))


# -- measuring ---------------------------------------------------------------------------------------------------------


def measure(data: Path, side: Side, seeds: int = SEEDS) -> dict[str, Any]:
    """Measure everything on one side of the photos."""
    backbone = Backbone.of(read_bundle(MODEL), "auto")
    photos = read_photos(data, side, backbone)
    far: list[dict[str, Any]] = []
    near: list[dict[str, Any]] = []
    milliseconds: list[float] = []
    for name, one in sets(photos).items():
        for per_label in PHOTOS:
            for seed in range(seeds):
                far += _far(photos, one, name, per_label, seed, backbone)
        for left_out in range(int(one.labels.max()) + 1):
            for seed in range(min(seeds, _NEAR_SEEDS)):
                near += _near(photos, one, name, left_out, seed, backbone)
    known = _example(photos, backbone)
    for row in backbone.affine.dequantize(photos.features[:500]):
        began = time.perf_counter()
        known.familiarity(known.score(row))
        milliseconds.append(1e3 * (time.perf_counter() - began))
    return {
        "side": side,
        "seeds": seeds,
        "photos": {name: int(np.count_nonzero(photos.source == name)) for name in np.unique(photos.source)},
        "far": far,
        "near": near,
        "shipped": _shipped(photos, backbone),
        "exemplars": len(known.exemplars),
        "ms": {"p50": float(np.median(milliseconds)), "p95": float(np.quantile(milliseconds, 0.95))},
    }


def enough(one: Set, per_label: int) -> bool:
    """Return whether so many photos of each label can be taught; the least number always can, as far as it goes."""
    return per_label <= min(PHOTOS) or bool(np.bincount(one.labels).min() * 3 // 4 >= per_label)


def draw_taught(
    labels: NDArray[np.intp], per_label: int, seed: int, without: int | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which photos are taught and which judge; of a label with too few photos a quarter judges."""
    random = np.random.default_rng(seed)
    taught, judging = [], []
    for label in np.unique(labels):
        if label == without:
            continue
        mine = random.permutation(np.flatnonzero(labels == label))
        count = min(per_label, len(mine) * 3 // 4)
        taught.append(mine[:count])
        judging.append(mine[count:])
    return np.concatenate(taught), np.concatenate(judging)


def _far(
    photos: Photos, one: Set, name: str, per_label: int, seed: int, backbone: Backbone
) -> Iterator[dict[str, Any]]:
    if not enough(one, per_label):
        return
    taught, judging = draw_taught(one.labels, per_label, seed)
    for way, judge in teach(photos, one.rows[taught], one.labels[taught], backbone).items():
        right = judge.score(photos.features[one.rows[judging]])
        strange = {who: judge.score(photos.features[rows]) for who, rows in one.strangers.items()}
        yield {
            "set": name,
            "photos": per_label,
            "seed": seed,
            "way": way,
            "false_alarms": {str(limit): float((judge.familiarity(right) < limit).mean()) for limit in LIMITS},
            "pass": {
                who: {str(limit): float((judge.familiarity(scores) >= limit).mean()) for limit in LIMITS}
                for who, scores in strange.items()
            },
            "pass_exact": {
                who: {str(limit): float((scores >= np.quantile(right, limit)).mean()) for limit in LIMITS}
                for who, scores in strange.items()
            },
            "auroc": {who: auroc(right, scores) for who, scores in strange.items()},
        }


def _near(
    photos: Photos, one: Set, name: str, left_out: int, seed: int, backbone: Backbone
) -> Iterator[dict[str, Any]]:
    taught, judging = draw_taught(one.labels, min(PHOTOS), seed, without=left_out)
    labels = np.asarray(np.unique(one.labels[taught], return_inverse=True)[1], np.intp)
    for way, judge in teach(photos, one.rows[taught], labels, backbone).items():
        right = judge.score(photos.features[one.rows[judging]])
        strange = judge.score(photos.features[one.rows[one.labels == left_out]])
        yield {"set": name, "left_out": left_out, "seed": seed, "way": way, "auroc": auroc(right, strange)}


def _example(photos: Photos, backbone: Backbone) -> Familiarity:
    """Return what a device keeps of 300 taught photos."""
    rows = np.flatnonzero(photos.source == "flowers")[:400]
    labels = np.unique(photos.label[rows], return_inverse=True)[1]
    weights = np.zeros((int(labels.max()) + 1, photos.features.shape[1]), np.float32)
    head = (weights, np.zeros(len(weights), np.float32))
    left_out = np.random.default_rng(0).normal(size=(1, len(rows), len(weights))).astype(np.float32)
    known = familiarity_of(
        photos.features[rows], backbone.affine, list(photos.ids[rows]), common_to(backbone), head, left_out
    )
    if known is None:
        raise RuntimeError("too few photos are taught")
    return known


def _shipped(photos: Photos, backbone: Backbone) -> dict[str, dict[str, float]]:
    """Return the share of photos that the network as it ships calls unknown: source → limit → share."""
    data = backbone.bundle.read_familiarity()
    if data is None:
        raise RuntimeError("the shipped network has no familiarity.npz")
    known = Familiarity.decode(data)
    found: dict[str, dict[str, float]] = {}
    for source in ("imagenet", "flowers", "handwriting", "drawn"):
        rows = backbone.affine.dequantize(photos.features[photos.source == source])
        shares = np.array([known.familiarity(known.score(row)) for row in rows])
        found[source] = {str(limit): float((shares < limit).mean()) for limit in LIMITS}
    return found


# -- telling -----------------------------------------------------------------------------------------------------------

_NAMES = {"edged": "edged", "similarity": "similarity alone", "energy": "energy alone", "softmax": "softmax alone"}


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables of README: far strangers, then near ones."""
    limits = [str(limit) for limit in LIMITS]
    titles = " | ".join(f"limit {float(limit):.0%}: false alarms | strangers that pass" for limit in limits)
    yield f"| taught, photos a label | strangers | {titles} | softmax alone, both limits |"
    yield f"|---|---|{'---|' * (2 * len(limits) + 1)}"
    for name, per_label in dict.fromkeys((row["set"], row["photos"]) for row in numbers["far"]):
        rows = [row for row in numbers["far"] if (row["set"], row["photos"]) == (name, per_label)]
        for who in rows[0]["pass"]:
            cells = []
            for limit in limits:
                cells.append(_spread([row["false_alarms"][limit] for row in rows if row["way"] == "edged"]))
                cells.append(_spread([row["pass"][who][limit] for row in rows if row["way"] == "edged"]))
            soft = [_mean([row["pass"][who][limit] for row in rows if row["way"] == "softmax"]) for limit in limits]
            yield f"| {name}, {per_label} | {who} | {' | '.join(cells)} | {', '.join(soft)} |"
    yield ""
    yield f"| left-out label, {min(PHOTOS)} photos a label: AUROC | {' | '.join(_NAMES.values())} |"
    yield f"|---|{'---|' * len(_NAMES)}"
    for name in dict.fromkeys(row["set"] for row in numbers["near"]):
        values = []
        for way in _NAMES:
            areas: dict[int, list[float]] = {}
            for row in numbers["near"]:
                if (row["set"], row["way"]) == (name, way):
                    areas.setdefault(row["left_out"], []).append(row["auroc"])
            found = [np.mean(some) for some in areas.values()]
            error = np.std(found, ddof=1) / math.sqrt(len(found))
            values.append(f"{np.mean(found):.3f} ± {error:.3f}")
        yield f"| {name} | {' | '.join(values)} |"


def sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands below the tables."""
    draws = len({row.get("seed", 0) for row in numbers["near"]})
    yield (
        "Asked: false alarms within 1 point of the limit, at most 5 % of far strangers pass, at most 0.3 ms a frame. "
        f"Shares are means over {numbers['seeds']} draws of the taught photos, ± their standard deviation. The areas "
        f"under the curve are means over the left-out labels, each of {counted(draws, 'draw')}; ± is their standard "
        f"error. A frame costs {numbers['ms']['p50']:.2f} ms with {numbers['exemplars']} exemplars."
    )
    exact = []
    for per_label in PHOTOS:
        taught = ("flowers", per_label, "edged")
        rows = [row for row in numbers["far"] if (row["set"], row["photos"], row["way"]) == taught]
        shares = [_mean([row["pass_exact"]["ImageNet"][str(limit)] for row in rows]) for limit in LIMITS]
        exact.append(f"{' and '.join(shares)} with {per_label} a label")
    yield (
        f"With a limit that exactly {' and '.join(f'{limit:.0%}' for limit in LIMITS)} of the judging photos of taught "
        f"things fall below, of ImageNet's photos there would pass for flowers: {', '.join(exact)}. That is the least "
        "without more false alarms."
    )


def shipped_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table of what the network as it ships calls unknown."""
    shipped = numbers["shipped"]
    yield "| called unknown | ImageNet | digits | drawings | flowers (some are labels of ImageNet) |"
    yield "|---|--:|--:|--:|--:|"
    for limit in LIMITS:
        shares = [_percent(shipped[who][str(limit)]) for who in ("imagenet", "handwriting", "drawn", "flowers")]
        yield f"| MobileNetV2 as it ships, limit {limit:.0%} | {' | '.join(shares)} |"


def _mean(values: Sequence[float]) -> str:
    return _percent(float(np.mean(values)))


def _spread(values: Sequence[float]) -> str:
    return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f} %"


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"
