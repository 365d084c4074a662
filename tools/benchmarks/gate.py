"""Does the gate tell better from worse? Simulated retrains on real photos, and the truth from photos that took no part.

    tools/bench gate --into tools/reports/gate.json          # on the report side of the photos, see `set_aside`
    tools/bench gate --side develop --retrains 300           # to try something out

Each retrain has an old and a new set of labeled photos, drawn from flowers or from kinds of ImageNet's photos. Both
models are trained, exported and run as a device does it; their true accuracies are those of the two files on photos
that neither set was drawn from. The rule before this one (refuse what is significantly worse on the test side, promote
all else) judges the same pairs of models.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side, side_of
from benchmarks.targets import make_imagenet
from edged.contract.hyperparameters import Hyperparameters
from edged.images import open_images
from edged.images.image import split_of
from edged.learning.bottlenecks import AUGMENTED, Backbone, complete
from edged.learning.comparison import Divisions, Taught, predict_left_out, share_right
from edged.learning.dataset import KeptBottlenecks
from edged.learning.export import export
from edged.learning.gate import Compared, TestSide, decide, file_drop, mean_recall
from edged.learning.recipe import Made, make_head
from edged.store import read_bundle
from edged.vision.network import HeadNetwork

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
SIZES = {"flowers": (5, 10, 20, 50, 100, 200), "kinds": (5, 10, 20)}
"""Task → photos a label of the larger set."""
LIMIT = 0.02
"""What counts as truly worse or better: the default tolerance of the gate."""
_DRAWN = 0.65
"""The share of a label's photos that sets are drawn from; the others only tell the truth."""
_BAD_RECIPES: tuple[dict[str, Any], ...] = (
    {"lr": 0.005, "epochs": 5},
    {"lr": 0.02, "epochs": 3},
    {"l2": 0.01},
    {"l2": 0.05},
)


# -- photos ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """The photos of a task on one side.

    Attributes:
        features: (n, 4, d) bytes of their bottlenecks: plain, mirrored, cropped, darker or brighter.
        labels: (n,) index of their label.
        groups: n ids of groups of near duplicates.
    """

    features: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    groups: tuple[str, ...]


def embed(data: Path, state: Path) -> None:
    """Compute the bottlenecks of all photos, kept in `state`: `flowers.npz` and `kinds.npz`."""
    backbone = Backbone.of(read_bundle(MODEL), "auto")
    folders = {"flowers": data / "flowers", "kinds": make_imagenet(data, state / "kinds", KINDS)}
    for task, folder in folders.items():
        with closing(open_images(state, folder, 10_000.0)) as store:
            store.scan(settle_s=0)
            images = store.labeled()
            lost = complete(store, images, lambda _: AUGMENTED, backbone, workers=1, tell=lambda _done, _of: None)
            if lost:
                raise SystemExit(f"{lost[0].task.path}: {lost[0].reason}")
            kept = KeptBottlenecks(store, backbone)
            np.savez(
                state / f"{task}.npz",
                features=np.stack([kept.array(images, view) for view in AUGMENTED], axis=1),
                labels=[image.label for image in images],
                groups=[image.group_id for image in images],
            )


@lru_cache
def photos(state: Path, task: str, side: Side) -> Photos:
    """Return the photos of a task on one side."""
    kept = np.load(state / f"{task}.npz")
    own = np.array([side_of(group) == side for group in kept["groups"].tolist()])
    _, labels = np.unique(kept["labels"][own], return_inverse=True)
    return Photos(kept["features"][own], labels, tuple(kept["groups"][own].tolist()))


@lru_cache
def backbone() -> Backbone:
    """Return the shipped network."""
    return Backbone.of(read_bundle(MODEL), "auto")


# -- retrains ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Labeled:
    """A labeled image: a view of a photo of a task."""

    task: str
    photo: int
    view: int
    group: str
    label: int


@dataclass
class Retrain:
    """What an old and a new model are made of.

    Attributes:
        random: Source of all choices.
        task: "flowers" or "kinds".
        photos: The task's photos.
        others: The other task's photos.
        size: Photos a label of the larger set.
        old, new: The labeled images of the old and of the new model.
        how_old, how_new: Their hyperparameters.
    """

    random: np.random.Generator
    task: str
    photos: Photos
    others: Photos
    size: int
    old: list[Labeled] = field(default_factory=list)
    new: list[Labeled] = field(default_factory=list)
    how_old: Hyperparameters = field(default_factory=Hyperparameters)
    how_new: Hyperparameters = field(default_factory=Hyperparameters)

    def __post_init__(self) -> None:
        self.classes = int(self.photos.labels.max()) + 1
        order = [self.random.permutation(np.flatnonzero(self.photos.labels == label)) for label in range(self.classes)]
        self._drawn = [list(photos[: int(_DRAWN * len(photos))]) for photos in order]
        self._aside = [list(photos[int(_DRAWN * len(photos)) :]) for photos in order]

    @property
    def half(self) -> int:
        """Photos a label of an old set that grows to `size`."""
        return max(self.size // 2, 5)

    @property
    def more(self) -> int:
        """By how many photos a label it grows."""
        return max(self.size - self.half, 3)

    @property
    def truth(self) -> list[int]:
        """Photos that neither set was drawn from."""
        return [int(photo) for photos in (*self._aside, *self._drawn) for photo in photos]

    def draw(self, label: int, count: int, *, as_label: int | None = None, wrong: float = 0.0) -> list[Labeled]:
        """Draw photos of a label that no set has yet, as many as there are; `wrong`: the share with a wrong label."""
        images = []
        for _ in range(min(count, len(self._drawn[label]))):
            photo = int(self._drawn[label].pop())
            given = label if as_label is None else as_label
            if wrong and self.random.random() < wrong:
                given = int(self.random.choice([other for other in range(self.classes) if other != label]))
            images.append(Labeled(self.task, photo, 0, self.photos.groups[photo], given))
        return images

    def about(self, count: int) -> int:
        """Return a count as people have it: not the same for each label."""
        return max(5, round(count * self.random.uniform(0.8, 1.2)))

    def each(self, count: Callable[[int], int], **how: Any) -> list[Labeled]:
        """Draw photos of each label, so many of each."""
        return [image for label in range(self.classes) for image in self.draw(label, count(label), **how)]


def clean(one: Retrain) -> None:
    """As many again."""
    one.old = one.each(lambda _: one.about(one.half))
    one.new = one.old + one.each(lambda _: one.more)


def few(one: Retrain) -> None:
    """A tenth more."""
    one.old = one.each(lambda _: one.about(one.size))
    one.new = one.old + one.each(lambda _: int(one.random.integers(0, max(2, one.size // 10) + 1)))


def skewed(one: Retrain) -> None:
    """Many more of one or two labels, none of the others."""
    one.old = one.each(lambda _: one.about(one.half))
    chosen = one.random.permutation(one.classes)[: int(one.random.integers(1, 3))]
    one.new = one.old + [image for label in chosen for image in one.draw(int(label), 2 * one.size)]


def mislabeled_10(one: Retrain) -> None:
    """A tenth of the new labels is wrong, and every other time of the old ones too."""
    _mislabeled(one, 0.1)


def mislabeled_30(one: Retrain) -> None:
    """The same with 30 %."""
    _mislabeled(one, 0.3)


def _mislabeled(one: Retrain, wrong: float) -> None:
    one.old = one.each(lambda _: one.about(one.half), wrong=wrong if one.random.random() < 0.5 else 0.0)
    times = int(one.random.integers(1, 3))
    one.new = one.old + one.each(lambda _: times * one.more, wrong=wrong)


def near_duplicates(one: Retrain) -> None:
    """Views of the same photos that are not recognised as such, on all sides of the split."""
    one.old = one.each(lambda _: one.about(one.half))
    fresh = one.each(lambda _: max(one.more // 3, 1))
    burst = [image for image in one.old if one.random.random() < 0.5] if one.random.random() < 0.5 else []
    views = [
        replace(image, view=view, group=hashlib.sha256(f"{image.group}{view}".encode()).hexdigest())
        for image in [*fresh, *burst]
        for view in (1, 2, 3)
    ]
    one.new = one.old + fresh + views


def foreign(one: Retrain) -> None:
    """A label's new photos show something else altogether."""
    one.old = one.each(lambda _: one.about(one.half))
    unlucky = int(one.random.integers(one.classes))
    one.new = one.old + one.each(lambda label: 0 if label == unlucky else one.more)
    kind = int(one.random.integers(one.others.labels.max() + 1))
    strange = one.random.permutation(np.flatnonzero(one.others.labels == kind))[
        : int(one.random.integers(one.more, 2 * one.size))
    ]
    task = next(task for task in SIZES if task != one.task)
    one.new += [Labeled(task, int(photo), 0, one.others.groups[photo], unlucky) for photo in strange]


def swapped(one: Retrain) -> None:
    """A label's new photos are those of another label."""
    one.old = one.each(lambda _: one.about(one.half))
    here, there = (int(label) for label in one.random.permutation(one.classes)[:2])
    one.new = one.old + [
        image
        for label in range(one.classes)
        for image in one.draw(label, one.more, as_label=there if label == here else None)
    ]


def removed(one: Retrain) -> None:
    """Most of the photos are gone."""
    one.old = one.each(lambda _: one.about(one.size))
    stay = one.random.uniform(0.15, 0.6)
    seen: dict[int, int] = {}
    for image in one.old:
        seen[image.label] = seen.get(image.label, 0) + 1
        if seen[image.label] <= 5 or one.random.random() < stay:
            one.new.append(image)


def corrected(one: Retrain) -> None:
    """Wrong labels, 10 or 30 %, were put right."""
    one.new = one.each(lambda _: one.about(one.size))
    wrong = float(one.random.choice([0.1, 0.3]))
    for image in one.new:
        others = [label for label in range(one.classes) if label != image.label]
        label = int(one.random.choice(others)) if one.random.random() < wrong else image.label
        one.old.append(replace(image, label=label))


def other_recipe(one: Retrain) -> None:
    """The same photos, but one of the two models is hardly trained, or tied down."""
    one.old = one.each(lambda _: one.about(one.size))
    one.new = list(one.old)
    bad = Hyperparameters(**_BAD_RECIPES[int(one.random.integers(len(_BAD_RECIPES)))])
    if one.random.random() < 0.5:
        one.how_new = bad
    else:
        one.how_old = bad


SCENARIOS: dict[str, Callable[[Retrain], None]] = {
    "clean": clean,
    "few more": few,
    "skewed": skewed,
    "10 % mislabeled": mislabeled_10,
    "30 % mislabeled": mislabeled_30,
    "near duplicates": near_duplicates,
    "foreign photos": foreign,
    "labels swapped": swapped,
    "photos removed": removed,
    "labels corrected": corrected,
    "another recipe": other_recipe,
}


def plan() -> Iterator[tuple[str, int, str, int]]:
    """Yield task, size, scenario and seed of each retrain, without end."""
    seed = 0
    while True:
        for task, sizes in SIZES.items():
            for size in sizes:
                for name in SCENARIOS:
                    yield task, size, name, seed
        seed += 1


# -- one retrain -------------------------------------------------------------------------------------------------------


def simulate(state: Path, side: Side, task: str, size: int, scenario: str, seed: int) -> dict[str, Any] | None:
    """Carry out one retrain; None: the old or the new set cannot be learned at all."""
    other = next(name for name in SIZES if name != task)
    random = np.random.default_rng([seed, size, list(SCENARIOS).index(scenario), list(SIZES).index(task)])
    one = Retrain(random, task, photos(state, task, side), photos(state, other, side), size)
    SCENARIOS[scenario](one)
    pools = {task: one.photos, other: one.others}
    sides = []
    for images, how in ((one.old, one.how_old), (one.new, one.how_new)):
        features = np.stack([pools[image.task].features[image.photo, image.view] for image in images])
        labels = np.array([image.label for image in images], np.intp)
        split = np.array([split_of(image.group) for image in images])
        train, validation = split == "train", split == "validation"
        if len(np.unique(labels[train])) < 2:
            return None
        made = make_head(
            (features[train], labels[train]), (features[validation], labels[validation]),
            classes=one.classes, affine=backbone().affine, hyperparameters=how,
        )  # fmt: skip
        model = export(backbone().model, made.head, features)
        sides.append(_Model(images, features, labels, split, made, HeadNetwork(model)))
    old, new = sides
    truth = one.truth
    right = [one_.right(one.photos.features[truth, 0], one.photos.labels[truth]) for one_ in sides]
    gained = right[1].astype(float) - right[0].astype(float)
    return {
        "task": task,
        "size": size,
        "scenario": scenario,
        "seed": seed,
        "old_images": len(one.old),
        "new_images": len(one.new),
        "truth_photos": len(truth),
        "old_accuracy": round(float(right[0].mean()), 4),
        "new_accuracy": round(float(right[1].mean()), 4),
        "gain": round(float(gained.mean()), 4),
        "gain_error": round(float(gained.std() / math.sqrt(len(gained))), 4),
        **_judge(old, new, one.classes),
    }


@dataclass(frozen=True)
class _Model:
    """A trained model and its labeled images."""

    images: list[Labeled]
    features: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any]
    split: np.ndarray[Any, Any]
    made: Made
    file: HeadNetwork

    def right(self, features: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return whether the exported file is right, per image."""
        if not len(labels):
            return np.zeros(0, bool)
        right: np.ndarray[Any, Any] = self.file.scores(features).argmax(axis=1) == labels
        return right

    def left_out(self, divisions: Divisions, classes: int) -> np.ndarray[Any, Any]:
        """Return how often heads that were not made of an image are right on it, 0..1."""
        taught = Taught(self.features, self.labels, classes, backbone().affine, self.made.recipe)
        groups = [image.group for image in self.images]
        return share_right(predict_left_out(taught, groups, divisions).free, self.labels)


def _judge(old: _Model, new: _Model, classes: int) -> dict[str, Any]:
    """Return the verdicts of the gate and of the rule before it."""
    divisions = Divisions.for_images(len(new.images))
    again, new_right = old.left_out(divisions, classes), new.left_out(divisions, classes)
    rows = {replace(image, label=0): row for row, image in enumerate(old.images)}
    places = [rows.get(replace(image, label=0)) for image in new.images]
    fresh = np.array([place is None for place in places])
    old_right = old.right(new.features, new.labels).astype(float)  # its file, on what is new to it
    for row, place in enumerate(places):
        if place is not None:  # with another label now it judges neither
            old_right[row] = again[place] if old.labels[place] == new.labels[row] else np.nan
    judges = np.flatnonzero(~np.isnan(old_right) & ~np.isnan(new_right))
    test = new.split == "test"
    files = TestSide(new.right(new.features[test], new.labels[test]), old.right(new.features[test], new.labels[test]))
    heads = new.made.head.logits(new.features[test], backbone().affine).argmax(axis=1) == new.labels[test]
    judged = ~np.isnan(new_right)
    how = Hyperparameters()
    verdict = decide(
        float(new_right[judged].mean()) if judged.any() else None,
        mean_recall(new_right[judged], new.labels[judged]),
        classes,
        min_accuracy=how.min_accuracy,
        tolerance=how.tolerance,
        head=TestSide(files.new, heads),
        file=files,
        compared=Compared(
            [new.images[row].group for row in judges], new.labels[judges],
            tuple(str(label) for label in range(classes)),
            new_right[judges], old_right[judges], new_right[judges], old_right[judges], fresh[judges],
        ),
    )  # fmt: skip
    passed = len(files.new) > 0 and files.new.mean() >= how.min_accuracy and file_drop(files, "") is None
    return {
        "verdict": verdict.verdict,
        "difference": None if verdict.difference is None else round(verdict.difference.mean, 4),
        "images": None if verdict.difference is None else verdict.difference.images,
        "fallen": len(verdict.fallen),
        "before": "promoted" if passed else "refused",
    }


# -- all of them -------------------------------------------------------------------------------------------------------


def measure(data: Path, state: Path, *, side: Side, retrains: int, workers: int) -> dict[str, Any]:
    """Carry out retrains.

    Args:
        data: The folder with the photos.
        state: Where bottlenecks are kept.
        side: Which photos.
        retrains: How many.
        workers: Processes.
    """
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "kinds.npz").is_file():
        embed(data, state)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are enough
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(simulate, state, side, *one) for one in islice(plan(), round(1.05 * retrains))]
        rows = [row for job in jobs if (row := job.result()) is not None][:retrains]
    return {"side": side, "retrains": len(rows), "limit": LIMIT, "rows": rows}


def table(numbers: dict[str, Any]) -> str:
    """Tell how often which rule promotes what is truly worse or better, as Markdown."""
    rows = numbers["rows"]
    lines = [
        "| retrains | number | truly worse | of them promoted | by the rule before | truly better | of them promoted "
        "| by the rule before | undecided |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in SCENARIOS:
        lines.append(_line(name, [row for row in rows if row["scenario"] == name]))
    lines.append(_line("**all**", rows))
    lines.append(_line("**50 photos a label and more**", [row for row in rows if row["size"] >= 50]))
    return "\n".join(lines)


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    worse = [row for row in rows if row["gain"] < -LIMIT]
    better = [row for row in rows if row["gain"] >= LIMIT]
    cells = [str(len(rows))]
    for some in (worse, better):
        cells += [str(len(some)), _share(some, "verdict"), _share(some, "before")]
    undecided = sum(row["verdict"] == "undecided" for row in rows)
    return f"| {name} | {' | '.join(cells)} | {undecided / max(len(rows), 1):.0%} |"


def _share(rows: list[dict[str, Any]], rule: str) -> str:
    promoted = sum(row[rule] == "promoted" for row in rows)
    return f"{promoted} ({promoted / len(rows):.0%})" if rows else "–"


def sentences(numbers: dict[str, Any]) -> list[str]:
    """Tell what the table says of promotions, by either rule, and how exact the truth is."""
    rows = numbers["rows"]
    parts = []
    for rule, name in (("verdict", "of the gate"), ("before", "of the rule before")):
        promoted = [row for row in rows if row[rule] == "promoted"]
        worse = sum(row["gain"] < -LIMIT for row in promoted)
        parts.append(f"{worse} of {len(promoted)} promotions {name} ({worse / max(len(promoted), 1):.1%})")
    error = float(np.median([row["gain_error"] for row in rows]))
    photos = sorted({row["truth_photos"] for row in rows})
    return [
        f"Truly more than {100 * LIMIT:.0f} points worse than the model they replaced were **{parts[0]}**",
        f"and {parts[1]}. The truth of a retrain is measured on {photos[0]:,} to {photos[-1]:,}",
        f"photos that took no part, with a standard error of {100 * error:.1f} points (median).",
    ]


def encode(numbers: dict[str, Any]) -> str:
    """Return the content of the raw file: JSON, a line for each retrain."""
    head = json.dumps({name: value for name, value in numbers.items() if name != "rows"})[1:-1]
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in numbers["rows"])
    return f'{{{head}, "rows": [\n{rows}\n]}}\n'
