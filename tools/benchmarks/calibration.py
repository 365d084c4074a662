"""Do scores mean what they say? Retrains on real photos, and their files' scores on photos that took no part.

    tools/bench calibration --into tools/reports/calibration.json  # on the report side of the photos, see `set_aside`
    tools/bench calibration --side develop --seeds 3               # to try something out

Each retrain draws labeled photos, is trained and exported as a device does it, and its quantized file is run on the
photos that were not drawn: once with the temperature that cross-validation has found, once without one. A third of each
label's photos, or more, judges. Handwriting needs scikit-learn, which has the digits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.gate import MODEL, Photos, backbone
from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side, side_of
from benchmarks.targets import handwriting, make_imagenet
from edged.contract.hyperparameters import Hyperparameters
from edged.images import open_images
from edged.images.image import split_of
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.calibration import calibrate_scores, constant_quality, quality, squared_error, temperature
from edged.learning.comparison import Divisions, Taught, predict_left_out
from edged.learning.dataset import KeptBottlenecks
from edged.learning.export import export
from edged.learning.recipe import make_head
from edged.learning.softmax_regression import Fitted
from edged.store import read_bundle
from edged.vision.network import HeadNetwork

SETS = ("flowers", "kinds", "handwriting")
SIZES = (30, 100, None)
"""Labeled photos a label; None: all that may be drawn."""
ASKED = 0.03
"""The expected calibration error that was asked for, from 30 photos a label on."""
_KINDS = ("birds", "cold-blooded", "dogs", "food", "invertebrates", "kitchenware", "vehicles")
"""Kinds of ImageNet's photos of which there are most."""
_DRAWN = 2 / 3
"""The greatest share of a label's photos that is drawn."""


# -- photos ------------------------------------------------------------------------------------------------------------


def embed(data: Path, state: Path) -> None:
    """Compute the bottlenecks of all photos, kept in `state`: a file for each set and side."""
    kinds = make_imagenet(data, state / "kinds", {name: KINDS[name] for name in _KINDS})
    folders: list[tuple[str, Path, tuple[Side, ...]]] = [
        ("flowers", data / "flowers", ("develop", "report")),
        ("kinds", kinds, ("develop", "report")),
    ]
    for side in ("develop", "report"):
        folder = state / f"handwriting-{side}"
        for number, (digit, picture) in enumerate(handwriting(side)):
            (folder / str(digit)).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / str(digit) / f"{number}.png"), picture)
        folders.append(("handwriting", folder, (side,)))
    network = Backbone.of(read_bundle(MODEL), "auto")
    for name, folder, sides in folders:
        with closing(open_images(state / f"{folder.name}-index", folder, 10_000.0)) as store:
            store.scan(settle_s=0)
            images = store.labeled()
            lost = complete(store, images, lambda _: ("plain",), network, workers=1, tell=lambda _done, _of: None)
            if lost:
                raise SystemExit(f"{lost[0].task.path}: {lost[0].reason}")
            kept = KeptBottlenecks(store, network)
            for side in sides:
                own = [image for image in images if len(sides) == 1 or side_of(image.group_id) == side]
                np.savez(
                    state / f"{name}-{side}.npz",
                    features=kept.array(own),
                    labels=[image.label for image in own],
                    groups=[image.group_id for image in own],
                )


@lru_cache
def photos(state: Path, name: str, side: Side) -> Photos:
    """Return the photos of a set on one side; features (n, d)."""
    kept = np.load(state / f"{name}-{side}.npz")
    _, labels = np.unique(kept["labels"], return_inverse=True)
    return Photos(kept["features"], labels, tuple(kept["groups"].tolist()))


def draw(given: Photos, size: int | None, seed: int) -> np.ndarray[Any, Any]:
    """Return the photos of a retrain, `size` of each label; None: two thirds. A group of near duplicates is one photo.

    Raises:
        ValueError: A label has too few.
    """
    random = np.random.default_rng([seed, size or 0])
    _, first = np.unique(np.array(given.groups), return_index=True)
    drawn: list[int] = []
    for label in range(int(given.labels.max()) + 1):
        own = random.permutation(first[given.labels[first] == label])
        most = int(_DRAWN * len(own))
        if size is not None and most < size:
            raise ValueError(f"label {label} has {len(own)} photos: too few to draw {size} of them")
        drawn += own[: size or most].tolist()
    return np.array(drawn)


# -- one retrain -------------------------------------------------------------------------------------------------------


def simulate(state: Path, side: Side, name: str, size: int | None, seed: int) -> dict[str, Any] | None:
    """Carry out one retrain; None: there are too few photos, or a label has none to train on."""
    given = photos(state, name, side)
    try:
        drawn = draw(given, size, seed)
    except ValueError:
        return None
    groups = [given.groups[photo] for photo in drawn]
    features, labels, classes = given.features[drawn], given.labels[drawn], int(given.labels.max()) + 1
    split = np.array([split_of(group) for group in groups])
    train, validation = split == "train", split == "validation"
    if len(np.unique(labels[train])) < classes:
        return None
    affine = backbone().affine
    made = make_head(
        (features[train], labels[train]), (features[validation], labels[validation]),
        classes=classes, affine=affine, hyperparameters=Hyperparameters(),
    )  # fmt: skip
    taught = Taught(features, labels, classes, affine, made.recipe)
    divisions = Divisions(1, Divisions.for_images(len(groups)).folds)
    found = calibrate_scores(predict_left_out(taught, groups, divisions), labels)
    if found is None:
        return None
    members = set(groups)
    truth = np.array([row for row, group in enumerate(given.groups) if group not in members])

    def judged(head: Fitted) -> tuple[dict[str, float], np.ndarray[Any, Any]]:
        model = export(backbone().model, head, features)
        scores = HeadNetwork(model).scores(given.features[truth]).astype(np.float64)
        best, right = scores.max(axis=1), scores.argmax(axis=1) == given.labels[truth]
        told = asdict(quality(scores, given.labels[truth])) | {"squared": squared_error(best, right)}
        return _rounded(told | {"score": float(best.mean()), "accuracy": float(right.mean())}), right

    before, _ = judged(made.head)
    after, right = judged(made.head.divided(found.temperature))
    likeliest = temperature(made.head.logits(given.features[truth], affine), given.labels[truth])
    oracle, _ = judged(made.head.divided(likeliest))
    # As many as were labeled, but fresh: what a training leaves out is judged by a head that is not quite this one.
    fresh = np.random.default_rng([seed, size or 0]).choice(truth, len(groups))
    guessed = temperature(made.head.logits(given.features[fresh], affine), given.labels[fresh])
    on_fresh, _ = judged(made.head.divided(guessed))
    return {
        "set": name,
        "size": size,
        "seed": seed,
        "images": len(groups),
        "truth_photos": len(truth),
        "temperature": round(found.temperature, 4),
        "before": before,
        "after": after,
        "oracle": {"temperature": round(likeliest, 4)} | oracle,
        "fresh": {"temperature": round(guessed, 4)} | on_fresh,
        "constant": _rounded(asdict(constant_quality(right, classes))),
        "told": _rounded(asdict(found.after)) | {"images": found.images},
    }


def _rounded(numbers: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 6) for name, value in numbers.items()}


# -- all of them -------------------------------------------------------------------------------------------------------


def measure(data: Path, state: Path, *, side: Side, seeds: int) -> dict[str, Any]:
    """Carry out retrains.

    Args:
        data: The folder with the photos.
        state: Where bottlenecks are kept.
        side: Which photos.
        seeds: How many of each set and size.
    """
    state.mkdir(parents=True, exist_ok=True)
    if not (state / "handwriting-report.npz").is_file():
        embed(data, state)
    found = [simulate(state, side, name, size, seed) for name in SETS for size in SIZES for seed in range(seeds)]
    return {"side": side, "seeds": seeds, "asked": ASKED, "rows": [row for row in found if row is not None]}


def table(numbers: dict[str, Any]) -> str:
    """Tell what scores are worth before and after, as Markdown; errors and accuracies in percent."""
    lines = [
        "| photos a label: in all | that judge | accuracy | temperature | calibration error without it | with it "
        "| asked | by chance alone | chance taken off: without | with | Brier score without | with | the constant's |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in SETS:
        for size in SIZES:
            rows = [row for row in numbers["rows"] if (row["set"], row["size"]) == (name, size)]
            if rows:
                lines.append(_line(name, size, rows, numbers["asked"]))
    return "\n".join(lines)


def _line(name: str, size: int | None, rows: Sequence[dict[str, Any]], asked: float) -> str:
    def mean(part: str, value: str) -> float:
        return float(np.mean([row[part][value] for row in rows]))

    temperatures = [row["temperature"] for row in rows]
    images = round(float(np.mean([row["images"] for row in rows])))
    without, with_ = mean("before", "error"), mean("after", "error")
    cells = [
        f"{name}, {'all' if size is None else size}: {images:,}",
        f"{round(float(np.mean([row['truth_photos'] for row in rows]))):,}",
        f"{mean('after', 'accuracy'):.1%}",
        f"{np.mean(temperatures):.2f} ± {np.std(temperatures):.2f}",
        f"{without:.1%}",
        f"**{with_:.1%}**",
        f"≤ {asked:.0%}",
        f"{mean('after', 'chance'):.1%}",
        f"{true_error([row['before']['squared'] for row in rows]):.1%}",
        f"{true_error([row['after']['squared'] for row in rows]):.1%}",
        f"{mean('before', 'brier'):.3f}",
        f"{mean('after', 'brier'):.3f}",
        f"{mean('constant', 'brier'):.3f}",
    ]
    return f"| {' | '.join(cells)} |"


def true_error(squared: Sequence[float]) -> float:
    """Return the root of the mean of squared errors without the share of chance, 0 where chance explains all."""
    return float(np.sqrt(max(np.mean(squared), 0.0)))


def sentences(numbers: dict[str, Any]) -> list[str]:
    """Tell how many retrains there were, and how near the training's own report comes."""
    rows = numbers["rows"]
    changed = np.mean([row["after"]["accuracy"] - row["before"]["accuracy"] for row in rows])
    told = [row["told"]["error"] for row in rows]
    promised = np.mean([row["after"]["score"] - row["after"]["accuracy"] for row in rows])
    biased = np.exp(np.mean([np.log(row["temperature"] / row["oracle"]["temperature"]) for row in rows]))

    def errors(temperature_of: str) -> str:
        return ", ".join(
            f"{np.mean([row[temperature_of]['error'] for row in some]):.1%} ({name}, {'all' if size is None else size})"
            for name in SETS
            for size in SIZES
            if (some := [row for row in rows if (row["set"], row["size"]) == (name, size)])
        )

    return [
        f"{len(rows)} retrains, {numbers['seeds']} of each row. On average, the temperature changes the accuracy of",
        f"the exported file by {100 * changed:+.2f} points, its mean score lies {100 * promised:+.1f} points from its",
        f"accuracy, and the calibration error that the training reports, of fewer images, is {np.mean(told):.1%}.",
        "With the temperature that is the likeliest for the judging photos themselves, which no retrain can know, the",
        f"error would be {errors('oracle')}. On average, the temperature that is found is {biased:.2f} times that.",
        "With the likeliest for only as many of the judging photos as were labeled, drawn with replacement, instead of",
        f"a cross-validation, it would be {errors('fresh')}.",
    ]


def encode(numbers: dict[str, Any]) -> str:
    """Return the content of the raw file: JSON, a line for each retrain."""
    head = json.dumps({name: value for name, value in numbers.items() if name != "rows"})[1:-1]
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in numbers["rows"])
    return f'{{{head}, "rows": [\n{rows}\n]}}\n'
