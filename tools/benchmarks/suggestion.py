"""How many labels `edgectl images suggest` saves, and how pure groups of strangers are: real photos, other ways beside.

    tools/bench suggest --into tools/reports/suggest.json    # on the report side of the photos, see `set_aside`
    tools/bench suggest --side develop --seeds 5             # to try something out

**Labels.** A device has 5 labeled photos a class and a pool of frames without labels. Each way names 20 of them, they
get their true labels, a head is made as a training makes it (four fifths of the images teach, by their hashes), and
its accuracy is that on photos that took no part; and so on. The goal is the accuracy that random choice reaches with
100 labels a class, or with all of the pool where it has fewer.

**Groups.** Some kinds of photos are strangers to the others, which are taught. Purity is the share of the strangers in
groups of three and more that are of the group's most frequent kind: what one label for the group would get right.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side, side_of
from benchmarks.targets import Groups, handwriting, make_imagenet
from edged.contract.hyperparameters import Hyperparameters
from edged.daemon.suggestions import JUDGES
from edged.images import group_alike, open_images, suggest
from edged.images.image import split_of
from edged.lab.chart import Axis, Chart, Series
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks
from edged.learning.recipe import make_head
from edged.store import read_bundle
from edged.vision.scores import softmax

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
KINDS_OF_THINGS = ("birds", "cold-blooded", "dogs", "food", "invertebrates", "kitchenware", "vehicles")
_THREE_GROUPS = {
    "animals": ("birds", "cold-blooded", "dogs", "invertebrates", "mammals"),
    "belongings": ("clothes", "electronics", "furniture", "instruments", "kitchenware", "sports", "tools"),
    "outdoors and food": ("buildings", "food", "landscapes", "plants", "vehicles"),
}
"""As few groups as it takes for a pool of several times 100 photos each, about equally large."""
TASKS = {
    "flowers": "flowers, 5 kinds",
    "groups": "ImageNet, 3 groups",
    "kinds": "ImageNet, 7 kinds",
    "handwriting": "handwritten digits",
}
STARTING, STEP, GOAL = 5, 20, 100
"""Labels a class at the start, labels that are asked for at once, and labels a class that set the goal."""
_ASIDE = 0.25
"""Share of a class that only judges."""
_SHOWN = 0.7
"""The ways but random choice go on to this share of the goal's labels."""

Vectors = np.ndarray[Any, np.dtype[np.float32]]
Numbers = np.ndarray[Any, np.dtype[np.intp]]


# -- photos ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photos:
    """The photos of a task on one side.

    Attributes:
        features: (n, d) bytes of their bottlenecks.
        bottlenecks: (n, d) what these mean.
        labels: (n,) index of their label.
        teaching: (n,) whether a training would learn from them.
        train: (n,) whether they are on its training side.
    """

    features: np.ndarray[Any, Any]
    bottlenecks: Vectors
    labels: Numbers
    teaching: np.ndarray[Any, np.dtype[np.bool_]]
    train: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.labels.max()) + 1


def embed(data: Path, state: Path) -> None:
    """Compute the bottlenecks of all photos, kept in `state`: a file for each task."""
    groups: Groups = {name: set().union(*(KINDS[kind] for kind in kinds)) for name, kinds in _THREE_GROUPS.items()}
    folders = {
        "flowers": data / "flowers",
        "groups": make_imagenet(data, state / "three groups", groups),
        "kinds": make_imagenet(data, state / "seven kinds", {name: KINDS[name] for name in KINDS_OF_THINGS}),
        "handwriting": _drawn_digits(state / "handwriting"),
    }
    for task, folder in folders.items():
        with closing(open_images(state, folder, 10_000.0)) as store:
            store.scan(settle_s=0)
            images = store.labeled()
            lost = complete(store, images, lambda _: ("plain",), backbone(), workers=1, tell=lambda _done, _of: None)
            if lost:
                raise SystemExit(f"{lost[0].task.path}: {lost[0].reason}")
            np.savez(
                state / f"suggest-{task}.npz",
                features=KeptBottlenecks(store, backbone()).array(images),
                labels=[image.label for image in images],
                groups=[image.group_id for image in images],
            )


def _drawn_digits(folder: Path) -> Path:
    for side in ("develop", "report"):
        for number, (digit, picture) in enumerate(handwriting(side)):  # type: ignore[arg-type]
            file = folder / str(digit) / f"{side}-{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), picture[:, :, ::-1])
    return folder


@lru_cache
def photos(state: Path, task: str, side: Side) -> Photos:
    """Return the photos of a task on one side."""
    kept = np.load(state / f"suggest-{task}.npz")
    groups = kept["groups"].tolist()
    own = np.array([side_of(group) == side for group in groups])
    _, labels = np.unique(kept["labels"][own], return_inverse=True)
    splits = np.array([split_of(group) for group in groups])[own]
    features = kept["features"][own]
    return Photos(features, backbone().affine.dequantize(features), labels, splits != "test", splits == "train")


@lru_cache
def backbone() -> Backbone:
    """Return the shipped network."""
    return Backbone.of(read_bundle(MODEL), "auto")


# -- ways to choose ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """What a way chooses from.

    Attributes:
        photos: The task's photos.
        pool: (n,) those without a label.
        labeled: (m,) those with one.
        scores: (n, classes) what the head of the labeled ones makes of the pool.
        random: Source of chance.
    """

    photos: Photos
    pool: Numbers
    labeled: Numbers
    scores: Vectors
    random: np.random.Generator

    @property
    def margins(self) -> Vectors:
        """By how much the best score is above the second."""
        best = np.sort(self.scores, axis=1)
        return np.asarray(best[:, -1] - best[:, -2], np.float32)


def at_random(choice: Choice, count: int) -> Numbers:
    """Return photos drawn at random."""
    return choice.random.choice(choice.pool, count, replace=False)


def suggested(choice: Choice, count: int) -> Numbers:
    """Return those that the device suggests."""
    judges = np.count_nonzero(~choice.photos.teaching[choice.labeled])
    return _suggested(choice, count, only_teaching=bool(judges >= JUDGES))


def suggested_of_all(choice: Choice, count: int) -> Numbers:
    """As the device suggests, but with photos of the side that only judges among them."""
    return _suggested(choice, count, only_teaching=False)


def smallest_margin(choice: Choice, count: int) -> Numbers:
    """Return those whose two best scores are nearest to each other (T. Scheffer, C. Decomain, S. Wrobel, 2001)."""
    return choice.pool[np.argsort(choice.margins, kind="stable")[:count]]


def smallest_margin_that_teaches(choice: Choice, count: int) -> Numbers:
    """As `smallest_margin`, of photos that a training learns from."""
    order = choice.pool[np.argsort(choice.margins, kind="stable")]
    return order[choice.photos.teaching[order]][:count]


def core_set(choice: Choice, count: int) -> Numbers:
    """Return those furthest from all that have a label (O. Sener, S. Savarese, 2018: k-centre greedy)."""
    lengths = np.linalg.norm(choice.photos.bottlenecks, axis=1, keepdims=True)
    pointing = choice.photos.bottlenecks / lengths
    pool = pointing[choice.pool]
    nearest = (pool @ pointing[choice.labeled].T).max(axis=1)
    chosen: list[int] = []
    for _ in range(count):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, pool @ pool[chosen[-1]])
        nearest[chosen] = np.inf
    return choice.pool[chosen]


def _suggested(choice: Choice, count: int, *, only_teaching: bool) -> Numbers:
    values = choice.photos.bottlenecks
    found = suggest(
        values[choice.pool],
        count,
        taught=values[choice.labeled],
        scores=choice.scores,
        teaching=choice.photos.teaching[choice.pool] if only_teaching else None,
    )
    return choice.pool[[one.row for one in found]]


ALL_FRAMES = "suggest, of all frames"
TEACHING_MARGIN = "margin, of frames that teach"
WAYS: dict[str, Callable[[Choice, int], Numbers]] = {
    "images suggest": suggested,
    "random": at_random,
    "margin": smallest_margin,
    "core-set": core_set,
    ALL_FRAMES: suggested_of_all,
    TEACHING_MARGIN: smallest_margin_that_teaches,
}


# -- labels ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        aside: Photos that only judge.
        labeled, pool: Photos with a label and without.
        goal: Labels in all that random choice has in the end.
        random: Source of chance.
    """

    aside: Numbers
    labeled: Numbers
    pool: Numbers
    goal: int
    random: np.random.Generator

    @property
    def shown(self) -> int:
        """How many labels all ways but random choice have in the end."""
        return math.ceil(_SHOWN * self.goal)


def start(all_: Photos, task: str, seed: int) -> Start:
    """Draw which photos judge, and which are labeled first."""
    random = np.random.default_rng([seed, list(TASKS).index(task)])
    of_class = [random.permutation(np.flatnonzero(all_.labels == label)) for label in range(all_.classes)]
    aside = np.concatenate([found[: round(_ASIDE * len(found))] for found in of_class])
    drawn = [found[round(_ASIDE * len(found)) :] for found in of_class]
    labeled = np.concatenate([found[:STARTING] for found in drawn])
    pool = np.concatenate([found[STARTING:] for found in drawn])
    return Start(aside, labeled, pool, min(GOAL * all_.classes, len(labeled) + len(pool)), random)


def learn(state: Path, side: Side, task: str, way: str, seed: int) -> list[tuple[int, float]]:
    """Return the accuracy with so many labels, again and again, as a way chooses them."""
    all_ = photos(state, task, side)
    begun = start(all_, task, seed)
    labeled, pool, last = begun.labeled, begun.pool, begun.goal if way == "random" else begun.shown
    points = []
    while True:
        head = head_of(all_, labeled)
        points.append((len(labeled), share_right(head, all_, begun.aside)))
        wanted = min(STEP, last - len(labeled))
        if wanted <= 0:
            return points
        scores = softmax(head.logits(all_.features[pool], backbone().affine))
        chosen = WAYS[way](Choice(all_, pool, labeled, scores, begun.random), wanted)
        if not len(chosen):
            return points
        labeled, pool = np.concatenate([labeled, chosen]), np.setdiff1d(pool, chosen)


def head_of(all_: Photos, labeled: Numbers) -> Any:
    """Make a head as a training does; with no two labels on the training side of all images."""
    train, validation = labeled[all_.train[labeled]], labeled[all_.teaching[labeled] & ~all_.train[labeled]]
    if len(np.unique(all_.labels[train])) < 2:
        train, validation = labeled, labeled[:0]
    return make_head(
        (all_.features[train], all_.labels[train]),
        (all_.features[validation], all_.labels[validation]),
        classes=all_.classes,
        affine=backbone().affine,
        hyperparameters=Hyperparameters(),
    ).head


def share_right(head: Any, all_: Photos, rows: Numbers) -> float:
    """Return the share of photos that a head names rightly."""
    return float(np.mean(head.logits(all_.features[rows], backbone().affine).argmax(axis=1) == all_.labels[rows]))


# -- groups ------------------------------------------------------------------------------------------------------------


def group(state: Path, side: Side, task: str, seed: int) -> dict[str, Any]:
    """Group the photos of two to four kinds that were not taught, 15 to 40 of each, beside 40 of each taught kind."""
    all_ = photos(state, task, side)
    random = np.random.default_rng([seed, list(TASKS).index(task), 1])
    kinds = random.permutation(all_.classes)
    strange = 1 if all_.classes == 3 else int(random.integers(2, min(4, all_.classes - 2) + 1))
    strangers, taught = (
        np.concatenate(
            [
                random.permutation(np.flatnonzero(all_.labels == kind))[: int(random.integers(15, 41)) if new else 40]
                for kind in some
            ]
        )
        for new, some in ((True, kinds[:strange]), (False, kinds[strange:]))
    )
    found = group_alike(all_.bottlenecks[strangers], all_.bottlenecks[taught], all_.labels[taught])
    large = [all_.labels[strangers[rows]] for rows in found if len(rows) >= 3]
    inside = sum(map(len, large))
    return {
        "task": task,
        "kinds": strange,
        "strangers": len(strangers),
        "groups": len(large),
        "inside": inside,
        "right": sum(int(np.bincount(labels).max()) for labels in large),
    }


# -- all of it ---------------------------------------------------------------------------------------------------------


def measure(data: Path, state: Path, *, side: Side, seeds: int, workers: int) -> dict[str, Any]:
    """Learn and group.

    Args:
        data: The folder with the photos.
        state: Where bottlenecks are kept.
        side: Which photos.
        seeds: How often, each time with other photos aside and others labeled first.
        workers: Processes.
    """
    state.mkdir(parents=True, exist_ok=True)
    if not all((state / f"suggest-{task}.npz").is_file() for task in TASKS):
        embed(data, state)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are enough
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = {
            (task, way): [pool.submit(learn, state, side, task, way, seed) for seed in range(seeds)]
            for task in TASKS
            for way in WAYS
        }
        groups = [pool.submit(group, state, side, task, seed) for task in TASKS for seed in range(seeds)]
        tasks = {
            task: _task(photos(state, task, side), {way: [job.result() for job in runs[task, way]] for way in WAYS})
            for task in TASKS
        }
        rows = [job.result() for job in groups]
    return {"side": side, "seeds": seeds, "tasks": tasks, "groups": rows}


def _task(all_: Photos, runs: dict[str, list[list[tuple[int, float]]]]) -> dict[str, Any]:
    return {"photos": len(all_.labels), "classes": all_.classes, **race(runs)}


def race(runs: Mapping[str, Sequence[list[tuple[int, float]]]]) -> dict[str, Any]:
    """Return the mean curve of each way, and with how many labels it reaches what random choice has in the end.

    Args:
        runs: Way → runs, each of (labels, accuracy) as far as it went; one is "random".
    """
    curves = {}
    for way, points in runs.items():
        shortest = min(map(len, points))
        accuracy = np.array([[share for _, share in run[:shortest]] for run in points])
        curves[way] = {
            "labels": [labels for labels, _ in points[0][:shortest]],
            "accuracy": accuracy.mean(axis=0).round(4).tolist(),
            "error": (accuracy.std(axis=0, ddof=1) / math.sqrt(len(accuracy))).round(4).tolist(),
        }
    labels, goal = curves["random"]["labels"][-1], curves["random"]["accuracy"][-1]
    return {
        "goal": {"labels": labels, "accuracy": goal},
        "reached": {way: reached(curve, goal) for way, curve in curves.items()},
        "curves": curves,
    }


def reached(curve: dict[str, Any], goal: float) -> int | None:
    """Return with how many labels a curve reaches an accuracy, and keeps it at the next point; None: it does not."""
    accuracy = [*curve["accuracy"], math.inf]
    for number, labels in enumerate(curve["labels"]):
        if min(accuracy[number : number + 2]) >= goal:
            return int(labels)
    return None


# -- pages -------------------------------------------------------------------------------------------------------------


def table(numbers: dict[str, Any]) -> str:
    """Tell with how many labels which way reaches the goal, as Markdown."""
    shown = tuple(WAYS)
    lines = [f"| photos | goal | {' | '.join(f'**{way}**' if way == shown[0] else way for way in shown)} |"]
    lines.append("|---|---|" + "--:|" * len(shown))
    for task, one in numbers["tasks"].items():
        goal = one["goal"]
        cells = [TASKS[task], f"{goal['accuracy']:.1%}, random with {goal['labels']}"]
        for way in shown:
            labels = one["reached"][way]
            most = one["curves"][way]["labels"][-1]
            share = "" if labels is None or way == "random" else f" ({labels / goal['labels']:.0%})"
            cells.append(f"over {most}" if labels is None else f"{labels}{share}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sentences(numbers: dict[str, Any]) -> Iterator[str]:
    """Tell how pure groups of strangers are, and from how many runs all of this comes."""
    parts = []
    for task, name in TASKS.items():
        rows = [row for row in numbers["groups"] if row["task"] == task]
        inside = sum(row["inside"] for row in rows)
        right = sum(row["right"] for row in rows) / max(inside, 1)
        count, kinds = (sum(row[what] for row in rows) / len(rows) for what in ("groups", "kinds"))
        parts.append(f"{name} {right:.0%} ({count:.1f} groups for {kinds:.1f} kinds)")
    yield f"Means of {numbers['seeds']} runs, 20 labels at a time from 5 a class on; the goal is random choice with"
    yield "100 a class, or with all photos where there are fewer. Groups of three strangers and more are pure to:"
    yield f"{'; '.join(parts)}."


def chart(numbers: dict[str, Any], task: str) -> str:
    """Draw the curves of a task as SVG."""
    one = numbers["tasks"][task]
    series = [
        Series(
            way,
            list(zip(curve["labels"], curve["accuracy"], strict=True)),
            spread=curve["error"] if way in ("images suggest", "random") else (),
        )
        for way, curve in one["curves"].items()
    ]
    title = f"{TASKS[task]}: accuracy on photos that took no part"
    return Chart(title, Axis("labels"), Axis("accuracy", percent=True), series).svg()


def encode(numbers: dict[str, Any]) -> str:
    """Return the content of the raw file."""
    return json.dumps(numbers, ensure_ascii=False) + "\n"


def draw(numbers: dict[str, Any], folder: Path) -> None:
    """Write the pictures of all tasks beside the raw file."""
    for task in TASKS:
        (folder / f"suggest-{task}.svg").write_text(chart(numbers, task), encoding="utf-8")
