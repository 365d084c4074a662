"""Which way chooses the best network to start from, and in what time: `tools/reports/sources.json`, by one command.

    cd tools && python -m benchmarks.sources --state DIR --work DIR [--data ../../shared/data] [--side report]

`--state` is a state directory in which the networks are installed (`edged models add`, `edged models pull`); `--work`
gets the targets and what passes gave, so that a second run invokes nothing. `benchmarks.sources_report` makes the
pages of it.

**Truth of a target**: for every network the mean of three cross-validations over all its photos, with seeds that no
way of choosing uses. The regret of a way is what the best network has more than the one that it chose. A race looks at
a part of the same photos, so this truth flatters `exact` and the race; where a target has at least `LEAST_TO_HALVE`
photos they are also judged by photos that none of them saw: the choice is made on one half, heads trained there are
judged on the other.

**Parts** say what any way could know: the regret if every network were cross-validated on a part of the photos, taken
in the order of a race; the time of that is the same part of the time of `exact`.

**The default** is `edged sources rank`: a race, and all photos in every network where they are fewer than `race.FEW`.
"race alone" races there, too.

Besides the targets of `build` the default, `exact` and LogME are measured on those of `build_many`, which are larger.

**Time** is processor time of one thread: what opening each network and passing each photo cost when they were
measured, and what heads and formulas cost now.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.passes import Entrant, Passes
from benchmarks.set_aside import Side
from benchmarks.targets import build, build_many
from edged.images import ImageStore, LabeledImage, open_images
from edged.lab.sources.cross_validation import CrossValidation, cross_validate
from edged.lab.sources.known_sources import IMAGENET, read_known_sources
from edged.lab.sources.race import FEW, SHARE, Race, race
from edged.lab.sources.racing import stratified_order
from edged.lab.sources.transferability import divergence, h_score, leep, log_evidence, p2l, profile
from edged.learning.softmax_regression import fit
from edged.process import limit_threads
from edged.store import Store

REFERENCE = "mobilenet_v2"
TRUTH_SEEDS = (101, 102, 103)
RACE_SEEDS = (0, 1, 2)
LEAST_TO_HALVE = 130
PARTS = (0.1, 0.25, 0.5)
OUT = Path(__file__).resolve().parents[1] / "reports" / "sources.json"


@dataclass(frozen=True)
class Target:
    """Photos of one target, in every network.

    Attributes:
        labels: (n,) from 0.
        groups: n ids of near duplicates.
        entrants: One per network, in the order of their names.
    """

    labels: NDArray[np.intp]
    groups: list[str]
    entrants: list[Entrant]

    def part(self, photos: NDArray[np.intp]) -> Target:
        """Return some photos of it."""
        cut = [
            Entrant(one.bundle, one.features[photos], one.affine, one.seconds[photos], one.opening_s, one.head)
            for one in self.entrants
        ]
        return Target(self.labels[photos], [self.groups[photo] for photo in photos], cut)

    @property
    def classes(self) -> int:
        """Number of labels."""
        return int(self.labels.max()) + 1


class Clock:
    """Processor time of this process, and what passes would have taken that are not repeated."""

    def __init__(self) -> None:
        self.passes_s = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.passes_s + time.process_time()


class Replayed:
    """A network in a race whose passes were measured before."""

    def __init__(self, entrant: Entrant, clock: Clock) -> None:
        self._entrant, self._clock = entrant, clock
        self._opened = False
        self.prior, self.affine = prior(entrant), entrant.affine

    def look(self, images: NDArray[np.intp]) -> NDArray[np.intp]:
        """Let the clock tell what the passes have cost; every photo can be read."""
        self._clock.passes_s += (0.0 if self._opened else self._entrant.opening_s) + float(
            self._entrant.seconds[images].sum()
        )
        self._opened = True
        return np.array([], np.intp)

    def features(self, images: NDArray[np.intp]) -> Any:
        """Return the bottlenecks."""
        return self._entrant.features[images]


def prior(entrant: Entrant) -> float | None:
    """Return the published top-1 of a network that was trained on ImageNet."""
    source = read_known_sources().of(entrant.bundle)
    return source.accuracy if source is not None and source.dataset == IMAGENET else None


def let_race(target: Target, seed: int, share: float = SHARE) -> Race:
    """Let all networks race on a target."""
    clock = Clock()
    runners = [Replayed(entrant, clock) for entrant in target.entrants]
    return race(runners, target.labels, target.groups, clock=clock, seed=seed, share=share)


@dataclass(frozen=True)
class Choice:
    """What a race, or the default, has chosen.

    Attributes:
        network: Its place.
        seconds: Time that it took.
        rounds: How many there were; 1 where all networks saw all photos.
        photos: How many the chosen network has seen.
        worse: How many networks were surely worse.
        slow: How many left for time.
    """

    network: int
    seconds: float
    rounds: int
    photos: int
    worse: int = 0
    slow: int = 0


def by_race(target: Target, seed: int, share: float = SHARE) -> Choice:
    """Return what a race chooses."""
    run = let_race(target, seed, share)
    left = [place.left for place in run.places]
    first = run.places[0]
    return Choice(
        first.runner, run.seconds, run.rounds, len(first.measured.correct), left.count("worse"), left.count("time")
    )


def by_default(target: Target, seed: int) -> Choice:
    """Return what `edged sources rank` chooses: see `Ranker.race`."""
    if len(target.labels) >= FEW:
        return by_race(target, seed)
    began = time.process_time()
    ranks = [cross_validated(target, one, seed).rank for one in target.entrants]
    seconds = passes_s(target) + time.process_time() - began
    return Choice(max(range(len(ranks)), key=ranks.__getitem__), seconds, 1, len(target.labels))


def passes_s(target: Target) -> float:
    """Return what passing all photos through all networks takes, seconds."""
    return sum(one.opening_s + float(one.seconds.sum()) for one in target.entrants)


def cross_validated(target: Target, entrant: Entrant, seed: int) -> CrossValidation:
    """Return what cross-validated heads make of the photos."""
    return cross_validate(
        entrant.features, target.labels, target.groups, classes=target.classes, affine=entrant.affine, seed=seed
    )


def on_parts(target: Target, worth: NDArray[np.float64]) -> dict[str, float]:
    """Return the mean regret of cross-validating every network on a part of the photos: part → regret."""
    found: dict[str, list[float]] = {str(part): [] for part in PARTS}
    for seed in RACE_SEEDS:
        order = stratified_order(target.labels, target.groups, seed)
        for part in PARTS:
            seen = target.part(order[: max(2 * target.classes, round(part * len(order)))])
            values = [cross_validated(seen, one, seed).accuracy for one in seen.entrants]
            found[str(part)].append(float(worth.max() - chosen_value(values, worth)))
    return {part: float(np.mean(regrets)) for part, regrets in found.items()}


def ways(target: Target, *, few: bool = False) -> dict[str, tuple[list[float], float]]:
    """Return the values by which each way but the race ranks the networks, and the time that it takes, seconds.

    Args:
        target: The photos.
        few: Leave out LEEP and the H-score.
    """
    reference = next(one for one in target.entrants if one.bundle.name == REFERENCE)
    reference_s = reference.opening_s + float(reference.seconds.sum())
    shape = profile(reference.affine.dequantize(reference.features))
    known = [read_known_sources().of(one.bundle) for one in target.entrants]
    away = [None if one is None else divergence(shape, profile(one.mean[np.newaxis])) for one in known]
    looks: dict[str, Callable[[Entrant], float]] = {
        "exact": lambda one: in_order(cross_validated(target, one, 0)),
        "LogME": lambda one: log_evidence(one.affine.dequantize(one.features), target.labels),
        "LEEP": lambda one: leep(one.head.scores(one.features), target.labels),
        "H-score": lambda one: h_score(one.affine.dequantize(one.features), target.labels),
    }
    if few:
        looks = {name: looks[name] for name in ("exact", "LogME")}
    found: dict[str, tuple[list[float], float]] = {}
    for name, look in looks.items():
        began = time.process_time()
        values = [look(one) for one in target.entrants]
        found[name] = (values, passes_s(target) + time.process_time() - began)
    found["divergence and top-1"] = (
        [
            -np.inf if one is None or nats is None else p2l(nats, one.images, one.accuracy)
            for one, nats in zip(known, away, strict=True)
        ],
        reference_s,
    )
    found["divergence alone"] = ([-np.inf if nats is None else -nats for nats in away], reference_s)
    found["top-1 alone"] = ([prior(one) or -np.inf for one in target.entrants], 0.0)
    return found


def in_order(found: CrossValidation) -> float:
    """Return a number that orders networks as `CrossValidation.rank` does: right ones, then the mean likelihood < 1."""
    accuracy, likelihood = found.rank
    return accuracy + likelihood / len(found.correct)


def chosen_value(values: Sequence[float], worth: NDArray[np.float64]) -> float:
    """Return the mean worth of those that a way ranks first: several where it cannot tell them apart."""
    array = np.array(values)
    return float(worth[array == array.max()].mean())


def measure(target: Target, *, few: bool = False) -> dict[str, Any]:
    """Return what every way chooses on a target, what that is worth, and its time.

    Args:
        target: The photos.
        few: Measure only what tells large targets from the usual ones.
    """
    names = [one.bundle.name for one in target.entrants]
    truths = np.array(
        [[cross_validated(target, one, seed).correct for seed in TRUTH_SEEDS] for one in target.entrants], np.float64
    )
    worth = truths.mean(axis=(1, 2))
    found = ways(target, few=few)
    exact_s = found["exact"][1]
    per_photo = truths.mean(axis=1)  # of each network, the mean of the seeds
    best = int(worth.argmax())

    def paired_error(one: int) -> float:
        """Return the standard error of how much better the best network is than this one, on the same photos."""
        return float((per_photo[best] - per_photo[one]).std(ddof=1) / np.sqrt(len(target.labels)))

    result: dict[str, Any] = {
        "photos": len(target.labels),
        "labels": target.classes,
        "exact_s": exact_s,
        "accuracy": dict(zip(names, worth.tolist(), strict=True)),
        "best": names[best],
        "best_error": float(per_photo[best].std(ddof=1) / np.sqrt(len(target.labels))),
        "second_error": paired_error(int(np.argsort(worth)[-2])),
        "random": float(worth.max() - worth.mean()),
        "ways": {
            name: {
                "regret": float(worth.max() - chosen_value(values, worth)),
                "share": seconds / exact_s,
                "chosen": names[int(np.argmax(values))],
            }
            for name, (values, seconds) in found.items()
        },
    }

    def judged(choices: Sequence[Choice]) -> dict[str, Any]:
        """Return what choices with several seeds are worth."""
        return {
            "regret": float(np.mean([worth.max() - worth[one.network] for one in choices])),
            "share": float(np.mean([one.seconds for one in choices])) / exact_s,
            "chosen": [names[one.network] for one in choices],
            "rounds": [one.rounds for one in choices],
            "photos_seen": [one.photos for one in choices],
            "worse": [one.worse for one in choices],
            "time": [one.slow for one in choices],
            "paired_error": float(np.mean([paired_error(one.network) for one in choices])),
        }

    chosen = [by_default(target, seed) for seed in RACE_SEEDS]
    raced = chosen if len(target.labels) >= FEW else [by_race(target, seed) for seed in RACE_SEEDS]
    result["ways"]["default"], result["ways"]["race alone"] = judged(chosen), judged(raced)
    if few:
        return result
    result["ways"]["race, twice the time"] = judged([by_race(target, seed, 2 * SHARE) for seed in RACE_SEEDS])
    result["parts"] = on_parts(target, worth)
    if len(target.labels) >= LEAST_TO_HALVE:
        result["unseen"] = unseen(target)
    return result


def unseen(target: Target) -> dict[str, Any]:
    """Return the regrets where the choice is made on one half of the photos and judged on the other, both ways."""
    order = stratified_order(target.labels, target.groups, 77)
    side_of_group: dict[str, int] = {}
    for place, photo in enumerate(order):
        side_of_group.setdefault(target.groups[int(photo)], place % 2)
    side = np.array([side_of_group[group] for group in target.groups])
    regrets: dict[str, list[float]] = {}
    for half in (0, 1):
        chosen_on, judged_on = target.part(np.flatnonzero(side == half)), target.part(np.flatnonzero(side != half))
        worth = np.array(
            [
                judge(one, other, chosen_on, judged_on)
                for one, other in zip(chosen_on.entrants, judged_on.entrants, strict=True)
            ]
        )
        found = ways(chosen_on)
        for name, (values, _) in found.items():
            regrets.setdefault(name, []).append(float(worth.max() - chosen_value(values, worth)))
        for name, choice in (("default", by_default(chosen_on, 0)), ("race alone", by_race(chosen_on, 0))):
            regrets.setdefault(name, []).append(float(worth.max() - worth[choice.network]))
        regrets.setdefault("random", []).append(float(worth.max() - worth.mean()))
    return {"regret": {name: float(np.mean(values)) for name, values in regrets.items()}}


def judge(one: Entrant, other: Entrant, chosen_on: Target, judged_on: Target) -> float:
    """Return the accuracy, on photos of one half, of a head that was trained on the other."""
    head = fit(one.features, chosen_on.labels, classes=chosen_on.classes, affine=one.affine)
    return float((head.logits(other.features, other.affine).argmax(axis=1) == judged_on.labels).mean())


def read(folder: Path, state: Path) -> tuple[list[LabeledImage], NDArray[np.intp]]:
    """Return the photos of a target and their labels, as numbers from 0."""
    store: ImageStore
    with closing(open_images(state, folder, 1000.0)) as store:
        store.scan(settle_s=0)
        images = store.labeled()
    names = sorted({image.label for image in images})
    return images, np.array([names.index(image.label) for image in images], np.intp)


def main() -> int:
    """Measure every target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../../shared/data"))
    parser.add_argument("--side", choices=("develop", "report"), default="report")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    limit_threads()
    side: Side = args.side
    installed = Store(args.state).installed()
    passes = Passes(args.work / "passes.sqlite")
    usual = build(args.data, args.work / "targets", side)
    many = build_many(args.data, args.work / "targets", side)
    targets = {name: read(folder, args.state) for name, folder in {**usual, **many}.items()}
    for bundle in installed:
        passes.complete(bundle, [image for images, _ in targets.values() for image in images])
    results: dict[str, dict[str, Any]] = {"targets": {}, "many": {}}
    for name, (images, labels) in targets.items():
        entrants = [passes.of(bundle, images) for bundle in installed]
        target = Target(labels, [image.group_id for image in images], entrants)
        found = measure(target, few=name in many)
        results["many" if name in many else "targets"][name] = found
        told = {way: round(100 * value["regret"], 1) for way, value in found["ways"].items()}
        print(name, len(images), told, file=sys.stderr, flush=True)
    networks = {
        bundle.name: {
            "dataset": None if (source := read_known_sources().of(bundle)) is None else source.dataset,
            "pass_ms": passes.mean_ms(bundle),
        }
        for bundle in installed
    }
    numbers = {"side": side, "race_seeds": len(RACE_SEEDS), "networks": networks, **results}
    args.out.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
