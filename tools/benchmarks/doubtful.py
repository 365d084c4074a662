"""Are labels that look wrong the wrong ones? Labels of real photos are changed, and doubtful images ranked.

    tools/bench doubtful --into tools/reports/doubtful.json   # on the report side of the photos, see `set_aside`
    tools/bench doubtful --side develop --seeds 3             # to try something out

A set with n wrong labels is ranked, and what counts is how many of the first n are wrong ones. Labels are changed at
random, or to the label that cross-validated heads confuse it with most. Beside `edged.learning.doubtful`: heads that
were made without the image (lowest probability of its label), confident learning with these heads, nearest neighbours
that disagree, the lowest probability in a head that was made of all images, and a random order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side, side_of
from benchmarks.targets import handwriting, make_imagenet
from edged.contract.hyperparameters import Hyperparameters
from edged.images import open_images
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import FOLDS, Divisions, Taught, predict_left_out
from edged.learning.dataset import KeptBottlenecks
from edged.learning.doubtful import doubt, judge_each
from edged.learning.recipe import Recipe
from edged.store import read_bundle

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
ASKED = 0.78
"""Of the first n, so many shall be wrong ones: flowers, 5 % at random, all photos."""
SETS: dict[str, tuple[int, ...]] = {"flowers": (30, 100, 0), "kinds": (30, 0), "handwriting": (30, 0)}
"""Set → photos a label; 0: all that the side has."""
_KINDS = ("birds", "cold-blooded", "dogs", "food", "invertebrates", "kitchenware", "vehicles")
SHARES = (0.0, 0.01, 0.05, 0.1, 0.2)
USUAL = 0.05
"""The share that is measured with fewer photos, too, and with confusable labels."""
WAYS = {
    "edged": "edged",
    "heads": "cross-validated heads",
    "confident": "confident learning",
    "neighbours": "20 nearest neighbours",
    "in_sample": "head made of all",
    "random": "random order",
}
_NEIGHBOURS = 20
_RECIPE = Recipe(Hyperparameters(), epochs=10)
"""About as many epochs as find the most wrong labels on the develop side: heads that are trained longer learn them."""


# -- photos ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """The photos of a set on one side: (n, d) bytes of bottlenecks, (n,) labels, n ids of groups, names of labels."""

    features: NDArray[np.int8] | NDArray[np.uint8]
    labels: NDArray[np.intp]
    groups: tuple[str, ...]
    names: tuple[str, ...]


def embed(data: Path, state: Path, backbone: Backbone) -> None:
    """Compute the bottlenecks of all photos of both sides, kept in `state`: a file for each set."""
    digits = state / "handwriting"
    for side in ("develop", "report"):
        for number, (digit, picture) in enumerate(handwriting(side)):
            (digits / str(digit)).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(digits / str(digit) / f"{side}-{number}.png"), picture[:, :, ::-1])
    kinds = make_imagenet(data, state / "kinds", {name: KINDS[name] for name in _KINDS})
    for name, folder in {"flowers": data / "flowers", "kinds": kinds, "handwriting": digits}.items():
        with closing(open_images(state, folder, 10_000.0)) as store:
            store.scan(settle_s=0)
            images = store.labeled()
            lost = complete(store, images, lambda _: ("plain",), backbone, workers=1, tell=lambda _done, _of: None)
            if lost:
                raise SystemExit(f"{lost[0].task.path}: {lost[0].reason}")
            np.savez(
                state / f"{name}.npz",
                features=KeptBottlenecks(store, backbone).array(images),
                labels=[image.label for image in images],
                groups=[image.group_id for image in images],
            )


def photos(state: Path, name: str, side: Side) -> Photos:
    """Return the photos of a set on one side."""
    kept = np.load(state / f"{name}.npz")
    own = np.array([side_of(group) == side for group in kept["groups"].tolist()])
    names, labels = np.unique(kept["labels"][own], return_inverse=True)
    return Photos(kept["features"][own], labels, tuple(kept["groups"][own].tolist()), tuple(names.tolist()))


def drawn(all_: Photos, per_label: int, random: np.random.Generator) -> Photos:
    """Return so many photos of each label; 0: all."""
    if not per_label:
        return all_
    rows = [random.permutation(np.flatnonzero(all_.labels == label))[:per_label] for label in range(len(all_.names))]
    chosen = np.sort(np.concatenate(rows))
    groups = tuple(all_.groups[row] for row in chosen)
    return Photos(all_.features[chosen], all_.labels[chosen], groups, all_.names)


def confused_with(all_: Photos, backbone: Backbone) -> NDArray[np.intp]:
    """Return for each label the one that cross-validated heads see most in its photos."""
    odds = _left_out(all_, all_.labels, backbone)
    classes = len(all_.names)
    seen = np.array([odds[all_.labels == label].mean(axis=0) for label in range(classes)])
    return np.asarray((seen - 2 * np.eye(classes)).argmax(axis=1), np.intp)


def spoiled(
    labels: NDArray[np.intp], classes: int, share: float, random: np.random.Generator, to: NDArray[np.intp] | None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Change a share of labels, to any other one or to `to`; return the labels and which were changed."""
    wrong = random.permutation(len(labels))[: round(share * len(labels))]
    given = labels.copy()
    given[wrong] = (
        (labels[wrong] + random.integers(1, classes, len(wrong))) % classes if to is None else to[labels[wrong]]
    )
    return given, wrong


# -- rankings ----------------------------------------------------------------------------------------------------------


def _softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _left_out(some: Photos, given: NDArray[np.intp], backbone: Backbone) -> NDArray[np.float64]:
    """Return (n, classes): probabilities of heads that were not made of an image, of logits averaged over divisions."""
    taught = Taught(some.features, given, len(some.names), backbone.affine, _RECIPE)
    logits = predict_left_out(taught, some.groups, Divisions(2, FOLDS)).logits
    return _softmax(np.nan_to_num(logits).mean(axis=0))


def baselines(
    some: Photos, given: NDArray[np.intp], backbone: Backbone, random: np.random.Generator
) -> dict[str, NDArray[np.float64]]:
    """Return way → (n,) how sure it is of each label; the lowest are its first."""
    rows, classes = np.arange(len(given)), len(some.names)
    odds = _left_out(some, given, backbone)
    head = _RECIPE.fit(some.features, given, classes=classes, affine=backbone.affine)
    real = backbone.affine.dequantize(some.features)
    real = real / np.linalg.norm(real, axis=1, keepdims=True)
    near = real @ real.T
    groups = np.unique(np.array(some.groups), return_inverse=True)[1]
    near[groups[:, np.newaxis] == groups] = -np.inf
    neighbours = given[np.argsort(-near, axis=1)[:, :_NEIGHBOURS]]
    votes = np.stack([(neighbours == label).mean(axis=1) for label in range(classes)], axis=1)
    return {
        "heads": odds[rows, given],
        "confident": _confident(odds, given),
        "neighbours": _margin(votes, given),
        "in_sample": _softmax(head.logits(some.features, backbone.affine))[rows, given],
        "random": random.random(len(given)),
    }


def _margin(scores: NDArray[np.float64], given: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the score of each label less that of the best other one."""
    rows = np.arange(len(given))
    others = scores.copy()
    others[rows, given] = -np.inf
    return np.asarray(scores[rows, given] - others.max(axis=1))


def _confident(odds: NDArray[np.float64], given: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the margins, those off the diagonal of the confident joint first (Northcutt, Jiang, Chuang 2021).

    An image counts there as the most probable of the labels whose probability is at least the mean over the images that
    have the label.
    """
    classes = odds.shape[1]
    means = np.array(
        [odds[given == label, label].mean() if (given == label).any() else 1.0 for label in range(classes)]
    )
    sure = np.where(odds >= means, odds, -1.0)
    off = (sure.max(axis=1) > 0) & (sure.argmax(axis=1) != given)
    return np.asarray(_margin(odds, given) - 10.0 * off)


# -- all of them -------------------------------------------------------------------------------------------------------


def cells() -> Iterator[tuple[str, int, float, str]]:
    """Yield set, photos a label, share of wrong labels, and how they are changed."""
    for name, sizes in SETS.items():
        for share in SHARES:
            yield name, 0, share, "random"
        for size in sizes:
            if size:
                yield name, size, USUAL, "random"
            yield name, size, USUAL, "confusable"


def measure(data: Path, state: Path, *, side: Side, seeds: int) -> dict[str, Any]:
    """Rank sets with wrong labels.

    Args:
        data: The folder with the photos.
        state: Where bottlenecks are kept.
        side: Which photos.
        seeds: So many times for each set, other photos and other wrong labels each time.
    """
    state.mkdir(parents=True, exist_ok=True)
    backbone = Backbone.of(read_bundle(MODEL), "auto")
    if not all((state / f"{name}.npz").is_file() for name in SETS):
        embed(data, state, backbone)
    rows = []
    for name, size, share, way in cells():
        all_ = photos(state, name, side)
        to = confused_with(all_, backbone) if way == "confusable" else None
        runs = [_run(all_, size, share, to, backbone, seed) for seed in range(seeds if share or size else 1)]
        found = {key: _mean_and_sd([run[key] for run in runs]) for key in runs[0]}
        rows.append({"set": name, "per_label": size, "share": share, "changed": way, "seeds": len(runs), **found})
    return {"side": side, "asked": ASKED, "rows": rows}


def _mean_and_sd(values: list[float]) -> list[float]:
    return [round(float(np.mean(values)), 4), round(float(np.std(values)), 4)]


def _run(
    all_: Photos, size: int, share: float, to: NDArray[np.intp] | None, backbone: Backbone, seed: int
) -> dict[str, float]:
    """Return what one set gives; precision of each way at n only where there are wrong labels."""
    random = np.random.default_rng([seed, size, round(1000 * share), to is not None])
    some = drawn(all_, size, random)
    given, wrong = spoiled(some.labels, len(some.names), share, random, to)
    scores = judge_each(some.features, given, some.groups, classes=len(some.names), affine=backbone.affine)
    doubts = doubt(scores, given)
    named = doubts.ranked()[: doubts.named]
    told = {"photos": len(given), "wrong": len(wrong), "named": len(named), "estimated": doubts.share}
    if not len(wrong):
        return told
    orders = {"edged": doubts.ranked()}
    orders |= {way: np.argsort(sure, kind="stable") for way, sure in baselines(some, given, backbone, random).items()}
    told |= {way: float(np.isin(order[: len(wrong)], wrong).mean()) for way, order in orders.items()}
    right = np.isin(named, wrong)
    return told | {
        "named_wrong": float(right.sum()),
        "looks_right": float((doubts.looks_like[wrong] == some.labels[wrong]).mean()),
    }


def table(numbers: dict[str, Any]) -> str:
    """Tell how many of the first n are wrong ones, of each way, as Markdown."""
    lines = [
        "| photos | wrong labels | " + " | ".join(WAYS.values()) + " | named, wrong of them |",
        "|---|---|" + "--:|" * (len(WAYS) + 1),
    ]
    for row in numbers["rows"]:
        count = f"{row['set']}, {row['photos'][0]:,.0f}" + (
            f" ({row['per_label']} a label)" if row["per_label"] else ""
        )
        if not row["share"]:
            cells_ = ["–"] * len(WAYS) + [f"{row['named'][0]:.0f}"]
            lines.append(f"| {count} | none | " + " | ".join(cells_) + " |")
            continue
        shown = [f"{row[way][0]:.0%}" for way in WAYS]
        shown[0] = f"**{shown[0]}**"
        named = f"{row['named'][0]:.1f}, {row['named_wrong'][0]:.1f}"
        changed = "" if row["changed"] == "random" else " to a confusable one"
        lines.append(f"| {count} | {row['share']:.0%}{changed} | " + " | ".join([*shown, named]) + " |")
    return "\n".join(lines)


def sentences(numbers: dict[str, Any]) -> list[str]:
    """Tell the number that was asked for, beside what came out."""
    (asked,) = [
        row
        for row in numbers["rows"]
        if (row["set"], row["per_label"], row["share"], row["changed"]) == ("flowers", 0, USUAL, "random")
    ]
    error = asked["edged"][1] / max(asked["seeds"], 1) ** 0.5
    usual = [row for row in numbers["rows"] if row["share"] == USUAL and row["changed"] == "random"]
    looks = min(row["looks_right"][0] for row in usual)
    return [
        f"With {USUAL:.0%} of the flowers' labels wrong, **{asked['edged'][0]:.1%} ± {error:.1%}** of the first n were",
        f"wrong ones (asked: {numbers['asked']:.0%}). What a wrong label is said to look like is the right one in",
        f"{looks:.0%} or more in every set with so many. The last column: how many images are named by default,",
        "and how many of these have a wrong label.",
    ]


def encode(numbers: dict[str, Any]) -> str:
    """Return the content of the raw file: JSON, a line for each row."""
    head = json.dumps({name: value for name, value in numbers.items() if name != "rows"})[1:-1]
    return f'{{{head}, "rows": [\n' + ",\n".join(json.dumps(row) for row in numbers["rows"]) + "\n]}\n"
