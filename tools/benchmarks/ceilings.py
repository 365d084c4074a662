"""What could the best measure tell of these features? Published ones, larger networks, and oracles that see more.

    tools/bench ceilings --into tools/reports/ceilings.json   # on the report side of the photos, see `set_aside`
    tools/bench ceilings --side develop --seeds 2             # to try something out

**Strangers.** The draws of `unknown`, and the published measures of `outliers` on the same bottlenecks, on other
layers, and on larger networks. Each is given the limit that makes exactly the asked share of false alarms on fresh
taught photos, which a device must guess. Some know more: a head that was shown strangers, one that was shown photos of
other things, and the head that the network came with, told which of its thousand labels are taught.

**Labels that look wrong.** The wrong labels of `doubtful`, ranked by what knows all other labels' truth, by what has
more photos, and by the head that the network came with.

**Labels that help.** The runs of `suggest`, more published ways, and an oracle: see `oracle`.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import doubtful, oracle, retrain, suggestion, unknown
from benchmarks.deep_layers import Passed, pass_all
from benchmarks.kinds import KINDS
from benchmarks.outliers import NEIGHBOURS, Known, Real, mahalanobis, measures, neighbours, unit
from benchmarks.set_aside import Side, side_of
from benchmarks.targets import make_imagenet
from edged.codec import read_file
from edged.images import open_images
from edged.learning.bottlenecks import Backbone
from edged.learning.doubtful import doubt, judge_each
from edged.store import read_bundle

SHIPPED = "mobilenet_v2"
NETWORKS = (SHIPPED, "efficientnet_lite0_224_uint8_ptq", "resnet50_224_uint8_ptq", "inception_v3_299_quant")
EDGED = "edged"
EDGED_LABELS = "images suggest"
ASKED_STRANGERS = 0.05
CORRECTED = "edged, without what is mislabeled"
OWN_LABELS = "nearest by the network's own thousand labels"
NAMES = "the network's own head, told which of its thousand labels are taught"
SHOWN = {"a head that was shown 30 of the strangers": 30, "a head that was shown half of the strangers": 0}
_SHOWN_C = 10.0
"""Of the factors of ten from 1 to 1,000 the one that lets the fewest strangers of the develop side pass."""
OTHERS = "a head that was shown photos of other things"
EVERY = (("flowers", 30), ("flowers", 100), ("kinds", 30), ("handwriting", 30))
"""Set and photos a label, as in `unknown`."""
HARD = (("flowers", 30), ("kinds", 30))
"""Set and photos a label where other networks are tried: where too many strangers pass."""
SETS = ((SHIPPED, EVERY, "strangers"), *((network, HARD, "networks") for network in NETWORKS[1:]))
"""Network, the sets that are tried on it, and of what `RUNS` so many draws."""
LAYERS = ((14, 14, 96), (7, 7, 160), (7, 7, 960), (7, 7, 320))

RUNS = {"strangers": 5, "networks": 3, "doubtful": 10, "labels": 12}
"""So many draws of each set, the first ones of `unknown` (on other networks fewer), `doubtful` and `suggest`."""
Rows = NDArray[np.intp]


def backbone_of(name: str, data: Path, state: Path) -> Backbone:
    """Return a network: the shipped one, or one of the shared folder, installed in `state`."""
    folder = unknown.MODEL if name == SHIPPED else retrain.install(state / "networks", name, data / "models")
    return Backbone.of(read_bundle(folder), "auto")


def photos_of(data: Path, state: Path, side: Side, name: str) -> tuple[unknown.Photos, Passed]:
    """Return the photos of `unknown` as a network sees them, computed once."""
    file = state / f"{name}-{side}.npz"
    if not file.is_file():
        found = list(unknown.contents(data, side))
        shapes = LAYERS if name == SHIPPED else ()
        passed = pass_all((content for _, _, content in found), backbone_of(name, data, state), shapes)
        _keep(file, passed, source=[source for source, _, _ in found], label=[label for _, label, _ in found])
    kept = np.load(file)
    passed = _read(kept)
    return unknown.Photos(passed.features, kept["source"], kept["label"], passed.ids), passed


def kinds_of(data: Path, state: Path, name: str) -> tuple[Passed, Any]:
    """Return the photos of `doubtful`'s kinds on both sides as a network sees them, their labels and groups."""
    file = state / f"{name}-kinds.npz"
    if not file.is_file():
        folder = make_imagenet(data, state / "kinds", {kind: KINDS[kind] for kind in unknown.TAUGHT_KINDS})
        with closing(open_images(state, folder, 10_000.0)) as store:
            store.scan(settle_s=0)
            images = store.labeled()
        passed = pass_all((read_file(image.path) for image in images), backbone_of(name, data, state))
        _keep(file, passed, label=[image.label for image in images], groups=[image.group_id for image in images])
    kept = np.load(file)
    return _read(kept), kept


def _keep(file: Path, passed: Passed, **more: Any) -> None:
    layers = {f"layer {name}": values for name, values in passed.layers.items()}
    part = file.with_suffix(".part.npz")
    np.savez(part, features=passed.features, logits=passed.logits, ids=passed.ids, **layers, **more)
    part.replace(file)


def _read(kept: Any) -> Passed:
    layers = {name.partition(" ")[2]: kept[name] for name in kept.files if name.startswith("layer ")}
    return Passed(kept["features"], kept["logits"], layers, kept["ids"])


# -- strangers ---------------------------------------------------------------------------------------------------------


def exact_limit(right: Real, share: float) -> float:
    """Return the limit below which no more than a share of the scores of fresh taught photos lies, as near as it gets.

    A device must guess it from photos that it was taught.
    """
    return float(np.sort(right)[math.floor(share * len(right))])


def shown(known: Real, strangers: Real, values: Real) -> Real:
    """Return what a linear head says of bottlenecks that was shown strangers; greater: more alike to what is known."""
    from sklearn.linear_model import LogisticRegression

    both = unit(np.concatenate([known, strangers]))
    truth = np.arange(len(both)) < len(known)
    head = LogisticRegression(C=_SHOWN_C, class_weight="balanced", max_iter=1000).fit(both, truth)
    return np.asarray(head.decision_function(unit(values)), np.float64)


def probabilities(logits: Real) -> Real:
    """Return the softmax of rows."""
    return np.asarray(np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)), np.float64)


def of_kinds(logits: Real, kinds: Sequence[str] = unknown.TAUGHT_KINDS) -> Real:
    """Return the probabilities of kinds of ImageNet's classes, (n, kinds), as a network's own head has them."""
    own = probabilities(logits)[:, -1000:]  # where there are 1,001, the first one is the background
    return np.stack([own[:, sorted(KINDS[kind])].sum(axis=1) for kind in kinds], axis=1)


@functools.cache
def looked_at() -> dict[str, Any]:
    """Return what somebody has seen on photos: of what, which were looked at, and on which it was found."""
    found: dict[str, Any] = json.loads(Path(__file__).with_name("looked_at.json").read_text(encoding="utf-8"))
    return found


def other_things(photos: unknown.Photos, taught: Rows) -> Rows:
    """Return ImageNet's photos of every second class, without plants and what is taught: no stranger that judges."""
    number = np.array(
        [int(label) if net else 0 for label, net in zip(photos.label, photos.source == "imagenet", strict=True)]
    )
    odd = (number % 2 == 1) & ~np.isin(number, sorted(unknown.WITH_FLOWERS))
    return np.setdiff1d(np.flatnonzero(odd), taught)


@dataclass(frozen=True)
class Draw:
    """One draw of taught photos, and all that a network says of photos.

    Attributes:
        photos: All of them.
        passed: What the network says of them.
        real: (n, d) their bottlenecks.
        taught, right: Rows of taught photos, and of others that show the same things.
        labels: Of the taught ones.
        strangers: Name → rows.
        name: Of the set.
    """

    photos: unknown.Photos
    passed: Passed
    real: Real
    taught: Rows
    right: Rows
    labels: Rows
    strangers: Mapping[str, Rows]
    name: str

    def ways(self, backbone: Backbone) -> Iterator[tuple[str, Callable[[Rows], Real]]]:
        """Yield the name of each way that has not seen a stranger, and it: rows of photos → scores."""
        trained = unknown.train(self.photos, self.taught, self.labels, backbone)
        for name, judge in unknown.judges(self.photos, self.taught, trained, backbone).items():
            if name == EDGED:
                yield name, lambda rows, judge=judge: judge.score(self.photos.features[rows])
        head = trained.head
        weights, bias = head.weights.astype(np.float64), head.bias.astype(np.float64)
        for name, score in measures(Known(self.real[self.taught], self.labels, weights, bias)):
            yield name, lambda rows, score=score: score(self.real[rows])
        own = np.sqrt(probabilities(self.passed.logits.astype(np.float64)))
        near = neighbours(own[self.taught], 5)
        yield OWN_LABELS, lambda rows: near(own[rows])
        for name, values in self.passed.layers.items():
            layer = values.astype(np.float64)
            taught = layer[self.taught]
            for count in NEIGHBOURS:
                near_there = neighbours(taught, count)
                yield f"layer {name}: nearest neighbour, k = {count}", lambda rows, f=near_there, v=layer: f(v[rows])
            far = mahalanobis(taught, self.labels)
            yield f"layer {name}: Mahalanobis", lambda rows, f=far, v=layer: f(v[rows])

    def _found(self, rows: Rows, what: str) -> NDArray[np.bool_]:
        """Return which photos somebody has found to show what their label does not say."""
        return np.isin(np.array([name[:12] for name in self.photos.ids[rows]]), looked_at()[what]["found"])

    def measure(self, backbone: Backbone, seed: int) -> Iterator[dict[str, Any]]:
        """Yield what each way lets pass."""
        for way, score in self.ways(backbone):
            right = score(self.right)
            yield {"way": way} | _told(right, {who: score(rows) for who, rows in self.strangers.items()})
            everything = np.concatenate([self.right, *self.strangers.values()])
            if (way, self.name) == (EDGED, "flowers") and self._found(everything, "blossoms").any():
                strange = {who: score(rows[~self._found(rows, "blossoms")]) for who, rows in self.strangers.items()}
                yield {"way": CORRECTED} | _told(right[~self._found(self.right, "no flower")], strange)
        random = np.random.default_rng(seed)
        for way, count in SHOWN.items():
            found = {}
            for who, rows in self.strangers.items():
                mixed = random.permutation(rows)
                first, rest = np.split(mixed, [count or len(rows) // 2])
                found[who] = tuple(
                    shown(self.real[self.taught], self.real[first], self.real[some]) for some in (self.right, rest)
                )
            told = [_told(right, {who: rest}) for who, (right, rest) in found.items()]
            yield {"way": way, "pass": _joined(told, "pass"), "auroc": _joined(told, "auroc")}
        others = other_things(self.photos, np.concatenate([self.taught, self.right]))
        told = shown(self.real[self.taught], self.real[others], self.real)
        unseen = {who: told[np.setdiff1d(rows, others)] for who, rows in self.strangers.items()}
        yield {"way": OTHERS} | _told(told[self.right], unseen)
        if self.name == "kinds":
            sure = of_kinds(self.passed.logits.astype(np.float64)).sum(axis=1)
            strange = {who: sure[rows] for who, rows in self.strangers.items()}
            yield {"way": NAMES} | _told(sure[self.right], strange)


def _told(right: Real, strange: Mapping[str, Real]) -> dict[str, Any]:
    limits = {str(share): exact_limit(right, share) for share in unknown.LIMITS}
    return {
        "pass": {
            who: {share: float((scores >= limit).mean()) for share, limit in limits.items()}
            for who, scores in strange.items()
        },
        "auroc": {who: unknown.auroc(right, scores) for who, scores in strange.items()},
    }


def _joined(told: Sequence[Mapping[str, Any]], what: str) -> dict[str, Any]:
    return {who: value for one in told for who, value in one[what].items()}


def strangers(
    data: Path, state: Path, side: Side, network: str, name: str, per_label: int, seeds: int
) -> list[dict[str, Any]]:
    """Return what each way lets pass of one set on one network, means over the draws of `unknown`."""
    backbone = backbone_of(network, data, state)
    photos, passed = photos_of(data, state, side, network)
    real = backbone.affine.dequantize(photos.features).astype(np.float64)
    one = unknown.sets(photos)[name]
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        taught, judging = unknown.draw_taught(one.labels, per_label, seed)
        rows, right = one.rows[taught], one.rows[judging]
        draw = Draw(photos, passed, real, rows, right, one.labels[taught], one.strangers, name)
        for told in draw.measure(backbone, seed):
            found.setdefault(told["way"], []).append(told)
    where = {"network": network, "set": name, "photos": per_label}
    return [where | {"way": way} | _mean(runs) for way, runs in found.items()]


def _mean(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    passing, areas = runs[0]["pass"], runs[0]["auroc"]
    return {
        "pass": {
            who: {limit: round(float(np.mean([run["pass"][who][limit] for run in runs])), 4) for limit in limits}
            for who, limits in passing.items()
        },
        "auroc": {who: round(float(np.mean([run["auroc"][who] for run in runs])), 4) for who in areas},
    }


# -- labels that look wrong --------------------------------------------------------------------------------------------

RIGHT_LABELS = "all other labels right"
MORE_PHOTOS = "right, and all photos"
OWN_HEAD = "the network's own head"


def doubtful_sets(data: Path, state: Path, side: Side, network: str, name: str, seeds: int) -> list[dict[str, Any]]:
    """Return how many of the first n are wrong ones, for those who know more than a device, with the same wrong labels.

    On kinds also with the bottlenecks of the larger networks, and with the probabilities that their own heads give the
    kinds: these were made of a million photos with right labels.
    """
    backbone, kinds = backbone_of(network, data, state), None
    if name == "kinds":
        all_, kinds = _kinds_on(data, state, network, side)
    else:
        all_ = doubtful.photos(state, name, side)
    known = judge_each(all_.features, all_.labels, all_.groups, classes=len(all_.names), affine=backbone.affine)
    rows = []
    for size in doubtful.SETS[name]:
        runs = [_ranked(all_, known, kinds, size, backbone, seed) for seed in range(seeds)]
        found = {way: _mean_and_error([run[way] for run in runs]) for way in runs[0]}
        rows.append({"network": network, "set": name, "per_label": size, "found": found})
    return rows


def _kinds_on(data: Path, state: Path, network: str, side: Side) -> tuple[doubtful.Photos, Real]:
    """Return the kinds' photos of one side as a network sees them, and its own probabilities of each kind."""
    passed, kept = kinds_of(data, state, network)
    own = np.array([side_of(group) == side for group in kept["groups"].tolist()])
    names, labels = np.unique(kept["label"][own], return_inverse=True)
    probable = of_kinds(passed.logits[own].astype(np.float64), names.tolist())
    return doubtful.Photos(passed.features[own], labels, tuple(kept["groups"][own].tolist()), tuple(names)), probable


def _ranked(
    all_: doubtful.Photos, known: Any, kinds: Real | None, size: int, backbone: Backbone, seed: int
) -> dict[str, float]:
    """Return way → share of the first n that are wrong, of one set that `doubtful` draws.

    Args:
        all_: The photos it is drawn of.
        known: What all of them say of each, by right labels, (n, classes).
        kinds: Probability of each kind by the network's own head, (n, classes).
        size: Photos a label; 0: all.
        backbone: The network.
        seed: Of the draw.
    """
    random = np.random.default_rng([seed, size, round(1000 * doubtful.USUAL), False])
    numbered = replace(all_, features=np.arange(len(all_.labels))[:, np.newaxis])
    rows = doubtful.drawn(numbered, size, random).features[:, 0]
    truth, groups, classes = all_.labels[rows], [all_.groups[row] for row in rows], len(all_.names)
    given, wrong = doubtful.spoiled(truth, classes, doubtful.USUAL, random, None)

    def judged(labels: Rows) -> Any:
        return judge_each(all_.features[rows], labels, groups, classes=classes, affine=backbone.affine)

    orders = {
        "edged": doubt(judged(given), given).ranked(),
        RIGHT_LABELS: doubt(judged(truth) if size else known[rows], given).ranked(),
        MORE_PHOTOS: doubt(known[rows], given).ranked(),
    }
    if kinds is not None:
        probable = kinds[rows] / kinds[rows].sum(axis=1, keepdims=True)
        orders[OWN_HEAD] = np.argsort(probable[np.arange(len(given)), given], kind="stable")
    return {way: float(np.isin(order[: len(wrong)], wrong).mean()) for way, order in orders.items()}


def _mean_and_error(values: Sequence[float]) -> list[float]:
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return [round(float(np.mean(values)), 4), round(float(error), 4)]


# -- all of it ---------------------------------------------------------------------------------------------------------


def measure(data: Path, state: Path, *, side: Side, seeds: int, workers: int) -> dict[str, Any]:
    """Measure all ceilings.

    Args:
        data: The folder with the photos and networks.
        state: Where bottlenecks are kept.
        side: Which photos.
        seeds: Draws of each set, no more than `RUNS` says.
        workers: Processes.
    """
    state.mkdir(parents=True, exist_ok=True)
    runs = {name: min(seeds, most) for name, most in RUNS.items()}
    for network in NETWORKS:
        photos_of(data, state, side, network)
        kinds_of(data, state, network)
    if not all((state / f"{name}.npz").is_file() for name in doubtful.SETS):
        doubtful.embed(data, state, backbone_of(SHIPPED, data, state))
    if not all((state / f"suggest-{task}.npz").is_file() for task in suggestion.TASKS):
        suggestion.embed(data, state)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the processes are enough
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        strange = [
            pool.submit(strangers, data, state, side, network, name, per_label, runs[kind])
            for network, sets, kind in SETS
            for name, per_label in sets
        ]
        wrong = [
            pool.submit(doubtful_sets, data, state, side, network, name, runs["doubtful"])
            for name in doubtful.SETS
            for network in (NETWORKS if name == "kinds" else (SHIPPED,))
        ]
        labels = {
            task: {
                way: [pool.submit(oracle.learn, state, side, task, way, seed) for seed in range(runs["labels"])]
                for way in oracle.WAYS
            }
            for task in oracle.TASKS
        }
        return {
            "side": side,
            "runs": runs,
            "strangers": [row for job in strange for row in job.result()],
            "doubtful": [row for job in wrong for row in job.result()],
            "labels": {
                task: oracle.told({way: [job.result() for job in jobs] for way, jobs in ways.items()})
                for task, ways in labels.items()
            },
        }


def encode(numbers: dict[str, Any]) -> str:
    """Return the content of the raw file: JSON, a line for each row."""
    parts = []
    for name, value in numbers.items():
        told = json.dumps(value, ensure_ascii=False)
        if isinstance(value, list):
            told = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in value) + "\n]"
        parts.append(f"{json.dumps(name)}: {told}")
    return "{" + ",\n".join(parts) + "}\n"


# -- telling -----------------------------------------------------------------------------------------------------------

SHORT = {
    SHIPPED: "MobileNetV2",
    "efficientnet_lite0_224_uint8_ptq": "EfficientNet-Lite0",
    "resnet50_224_uint8_ptq": "ResNet-50",
    "inception_v3_299_quant": "Inception v3",
}
PAIRS = (
    ("flowers", 30, "ImageNet"), ("flowers", 100, "ImageNet"), ("flowers", 30, "ImageNet without plants"),
    ("kinds", 30, "flowers"), ("kinds", 30, "digits"), ("kinds", 30, "drawings"),
)  # fmt: skip
"""Set, photos a label and strangers where more than 5 % pass."""
_TOLD_MORE = (*SHOWN, OTHERS, NAMES)
"""Ways that know more than a device does."""
_LAYER = "layer "


def published(way: str) -> bool:
    """Return whether a way is a published measure of the bottleneck, or of the network's own labels."""
    return way not in (EDGED, CORRECTED, *_TOLD_MORE) and not way.startswith(_LAYER)


def _passing(rows: Sequence[Mapping[str, Any]], pair: tuple[str, int, str], way: str) -> dict[str, float] | None:
    """Return limit → share of the strangers that pass; None: the way was not tried."""
    name, photos, who = pair
    for row in rows:
        if (row["set"], row["photos"], row["way"]) == (name, photos, way) and who in row["pass"]:
            return dict(row["pass"][who])
    return None


def _cell(passing: Mapping[str, float] | None) -> str:
    return "–" if passing is None else ", ".join(f"{share:.1%}" for share in passing.values())


def _best(found: Sequence[Mapping[str, float] | None]) -> dict[str, float] | None:
    """Return the smallest share at each limit, each maybe of another way."""
    some = [one for one in found if one is not None]
    return {limit: min(one[limit] for one in some) for limit in some[0]} if some else None


def strangers_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what each way lets pass on the shipped network, both limits."""
    rows = [row for row in numbers["strangers"] if row["network"] == SHIPPED]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    yield f"| strangers that pass | {' | '.join(f'{who} for {name}, {photos}' for name, photos, who in PAIRS)} |"
    yield f"|---|{'--:|' * len(PAIRS)}"

    def line(title: str, some: Sequence[str], mark: str = "") -> str:
        cells = [_cell(_best([_passing(rows, pair, way) for way in some])) for pair in PAIRS]
        return f"| {mark}{title}{mark} | {' | '.join(cells)} |"

    yield line(EDGED, [EDGED], "**")
    for way in filter(published, ways):
        yield line(way, [way])
    yield line("the best of these, chosen afterwards for each cell", list(filter(published, ways)), "**")
    for name in dict.fromkeys(way.partition(":")[0] for way in ways if way.startswith(_LAYER)):
        yield line(f"{name}, the best of four measures", [way for way in ways if way.startswith(f"{name}:")])
    for way in (CORRECTED, OTHERS, *SHOWN, NAMES):
        yield line(way, [way])


def networks_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what passes on larger networks."""
    pairs = [pair for pair in PAIRS if pair[:2] in HARD]
    yield f"| network | way | {' | '.join(f'{who} for {name}' for name, _, who in pairs)} |"
    yield f"|---|---|{'--:|' * len(pairs)}"
    for network in dict.fromkeys(row["network"] for row in numbers["strangers"]):
        rows = [row for row in numbers["strangers"] if row["network"] == network]
        best = [way for way in dict.fromkeys(row["way"] for row in rows) if published(way)]
        told = (EDGED, [EDGED]), ("the best of the published", best), *((way, [way]) for way in (*SHOWN, NAMES))
        for title, ways in told:
            cells = [_cell(_best([_passing(rows, pair, way) for way in ways])) for pair in pairs]
            yield f"| {SHORT[network]} | {title} | {' | '.join(cells)} |"


def doubtful_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many of the first n are wrong ones, of those who know more."""
    ways = (EDGED, RIGHT_LABELS, MORE_PHOTOS, OWN_HEAD)
    yield f"| photos, {doubtful.USUAL:.0%} of the labels wrong | network | {' | '.join(ways)} |"
    yield f"|---|---|{'--:|' * len(ways)}"
    for row in numbers["doubtful"]:
        size = f"{row['per_label']} a label" if row["per_label"] else "all"
        cells = [
            f"{row['found'][way][0]:.0%} ± {row['found'][way][1]:.0%}" if way in row["found"] else "–" for way in ways
        ]
        yield f"| {row['set']}, {size} | {SHORT[row['network']]} | {' | '.join(cells)} |"


def labels_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield with how many labels each way reaches what random choice has in the end."""
    yield f"| photos | goal | random choice reaches {oracle.NEARLY:.0%} of it | {' | '.join(oracle.WAYS)} |"
    yield f"|---|---|--:|{'--:|' * len(oracle.WAYS)}"
    for task, one in numbers["labels"].items():
        goal = one["goal"]["labels"]
        cells = [f"{one['nearly']} ({one['nearly'] / goal:.0%})"]
        for way in oracle.WAYS:
            labels, most = one["reached"][way], one["curves"][way]["labels"][-1]
            cells.append(f"over {most}" if labels is None else f"{labels} ({labels / goal:.0%})")
        told = f"{one['goal']['accuracy']:.1%} with {goal}"
        yield f"| {suggestion.TASKS[task]} | {told} | {' | '.join(cells)} |"


def table(numbers: Mapping[str, Any]) -> str:
    """Tell all of it as Markdown."""
    parts = (verdicts, strangers_table, networks_table, doubtful_table, labels_table)
    return "\n\n".join("\n".join(part(numbers)) for part in parts)


def verdicts(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is asked and hard, the best that was found for it, and what follows."""
    yield "| asked | edged, exact limit | the best without knowing more | what knows more | so |"
    yield "|---|--:|--:|--:|---|"
    rows = [row for row in numbers["strangers"] if row["network"] == SHIPPED]
    blind = [way for way in dict.fromkeys(row["way"] for row in rows) if published(way) or way.startswith(_LAYER)]
    for pair in PAIRS:
        for limit in map(str, unknown.LIMITS):
            edged, best, more = (
                _best([_passing(rows, pair, way) for way in ways]) for ways in ([EDGED], blind, list(SHOWN))
            )
            if edged is None or best is None or more is None:
                continue
            name, photos, who = pair
            what = f"at most {ASKED_STRANGERS:.0%} of {who} pass `unknown = {limit}` for {name}, {photos} a label"
            cells = [f"{one[limit]:.1%}" for one in (edged, best, more)]
            follows = _so(*(one[limit] <= ASKED_STRANGERS for one in (edged, best, more)), "with the exact limit")
            yield f"| {what} | {' | '.join(cells)} | {follows} |"
    for row in numbers["doubtful"]:
        if row["network"] == SHIPPED and row["set"] != "handwriting":
            found = {way: value[0] for way, value in row["found"].items()}
            more = max(value for way, value in found.items() if way not in (EDGED, RIGHT_LABELS))
            size = f"{row['per_label']} a label" if row["per_label"] else "all"
            reached = [found[EDGED] >= doubtful.ASKED, found[RIGHT_LABELS] >= doubtful.ASKED, more >= doubtful.ASKED]
            what = f"{doubtful.ASKED:.0%} of the first n have a wrong label, {row['set']}, {size}"
            cells = [f"{found[EDGED]:.0%}", f"{found[RIGHT_LABELS]:.0%}", f"{more:.0%}"]
            yield f"| {what} | {' | '.join(cells)} | {_so(*reached)} |"
    for task, one in numbers["labels"].items():
        goal, needed = one["goal"]["labels"], one["reached"]
        most = one["curves"][EDGED_LABELS]["labels"][-1]
        ways = [[EDGED_LABELS], [way for way in oracle.WAYS if way not in (*oracle.ORACLES, "random")]]
        counts = [min((needed[way] for way in some if needed[way]), default=None) for some in (*ways, [oracle.BLIND])]
        cells = [f"over {most / goal:.0%}" if count is None else f"{count / goal:.0%}" for count in counts]
        reached = [count is not None and count <= goal / 2 for count in counts]
        what = f"half of the labels of random choice do, {suggestion.TASKS[task]}"
        yield f"| {what} | {' | '.join(cells)} | {_so(*reached)} |"


def _so(edged: bool, best: bool, more: bool, reached: str = "reached") -> str:
    """Return what follows from what is reached; `reached`: what to call that of edged."""
    if edged:
        return reached
    if best:
        return "can be reached: another measure does"
    return "only by what knows more" if more else "not even by what knows more"


def looked_at_sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what somebody has seen on photos, and what passes without them."""
    found = {name: (len(one["looked"]), len(one["found"])) for name, one in looked_at().items()}
    passed, blossoms = found["blossoms"]
    called, other = found["no flower"]
    drawn, mixed = found["of the kinds"]
    rows = [row for row in numbers["strangers"] if row["network"] == SHIPPED]
    with_, without = (_cell(_passing(rows, PAIRS[0], way)) for way in (EDGED, CORRECTED))
    yield (
        f"The photos themselves were looked at. Of {passed} photos of ImageNet that passed as flowers in most of five "
        f"draws, {blossoms} show a blossom of some kind. Of {called} photos of flowers that were called unknown as "
        f"often, {other} show no flower, or one beside what is in front: a tractor, a bus, a dog, a ceiling. Without "
        f"these, {without} pass instead of {with_} (30 a label). Only photos that were judged wrongly were looked at, "
        f"so this is the best case. Of {drawn} photos of flowers that were drawn at random, {mixed} show something of "
        "the seven kinds: an insect, a swan, a bicycle, cups. That is not why flowers pass there."
    )
