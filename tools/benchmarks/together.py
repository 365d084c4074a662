"""What learning together brings: ten devices with a tenth of the photos each, and what noise on bottlenecks costs.

    tools/bench together --into tools/reports/together.json    # on the report side of the photos, see `set_aside`
    tools/bench together --side develop --seeds 1              # to try something out

The devices are simulated: what each shares is encoded and read again, and put together and trained by the code of
`edgectl learn`. Beside it stand the devices' own heads, the mean of these heads, the constant answer, and `edged
retrain` on a folder with all photos. All are exported files, and judge the same images: the test sides of all devices.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.kinds import KINDS
from benchmarks.set_aside import Side
from benchmarks.targets import flower_photos, imagenet
from edged.contract.hyperparameters import Hyperparameters
from edged.ctl.commands import learn
from edged.errors import RefusedError, TrainingError
from edged.images import LabeledImage, open_images
from edged.learning import TrainingRequest
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import FOLDS, Divisions, Taught, predict_left_out
from edged.learning.dataset import KeptBottlenecks, select
from edged.learning.export import export
from edged.learning.gate import Compared, decide, mean_recall
from edged.learning.pipeline import train as retrain
from edged.learning.pooled import Pooled, pool, train
from edged.learning.privacy import Noise, clipped, epsilon, noisy
from edged.learning.recipe import Recipe, make_head
from edged.learning.sharing import Shared, hidden, shared_of
from edged.learning.softmax_regression import Fitted
from edged.store import read_bundle
from edged.vision.network import HeadNetwork

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
DEVICES = 10
SETS = ("flowers", "kinds")
WAYS = ("evenly", "one or two classes each")
LEVELS: dict[str, Noise | None] = {"none": None, **{name: Noise(*level) for name, level in learn.LEVELS.items()}}
"""The levels of `edgectl learn --private`."""
DELTA = 1e-5
LIMIT = 0.003
"""Learning together shall cost no more accuracy than this against all photos in one place."""


@dataclass(frozen=True)
class Photos:
    """The photos of a set on one side.

    Attributes:
        folder: A folder with a folder per label.
        images: The images, as a device with all of them would have them.
        bottlenecks: (n, features) their bottlenecks.
        hashes: sha256 → difference hash.
    """

    folder: Path
    images: list[LabeledImage]
    bottlenecks: np.ndarray[Any, Any]
    hashes: dict[str, bytes]

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that can be learned."""
        return select(self.images).labels


def photos(data: Path, state: Path, name: str, side: Side, backbone: Backbone) -> Photos:
    """Return the photos of a set on one side; their bottlenecks are kept in `state`."""
    folder = state / side / name
    if not folder.exists():
        if name == "flowers":
            files = [(kind, file) for kind, found in flower_photos(data, side).items() for file in found]
        else:
            files = [(kind, file) for file, number in imagenet(data, side) for kind in KINDS if number in KINDS[kind]]
        for label, file in files:
            link = folder / label / f"{file.parent.name}_{file.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    with closing(open_images(state, folder, 10_000.0)) as store:
        store.scan(settle_s=0)
        images = store.labeled()
        complete(store, images, lambda _: ("plain",), backbone, workers=1, tell=lambda _done, _of: None)
        return Photos(folder, images, KeptBottlenecks(store, backbone).array(images), store.hashes())


def deal(images: list[LabeledImage], way: str, random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return the device of each image, 0 to `DEVICES` - 1: near duplicates are dealt like any other images."""
    labels = sorted({image.label for image in images})
    device = np.empty(len(images), np.intp)
    if way == "evenly":
        device[random.permutation(len(images))] = np.arange(len(images)) % DEVICES
        return device
    # Two places on each device, dealt to the classes in turn; each class is shared by its places.
    order = [labels[number] for number in random.permutation(len(labels))]
    places = random.permutation(np.repeat(np.arange(DEVICES), 2))
    of_label: dict[str, list[int]] = {label: [] for label in labels}
    for number, place in enumerate(places):
        of_label[order[number % len(order)]].append(int(place))
    for label, its in of_label.items():
        own = random.permutation([row for row, image in enumerate(images) if image.label == label])
        device[own] = np.array(its)[np.arange(len(own)) % len(its)]
    return device


@dataclass(frozen=True)
class Own:
    """A device's own model: its head, and which labels it knows; None: it cannot train, and says its one label."""

    head: Fitted | None
    recipe: Recipe | None
    model: bytes | None
    labels: tuple[str, ...]
    images: int


def own_model(everything: Photos, rows: np.ndarray[Any, Any], backbone: Backbone, how: Hyperparameters) -> Own:
    """Train a device's own model on its images alone."""
    images = [everything.images[row] for row in rows]
    counts = {label: sum(image.label == label for image in images) for label in {image.label for image in images}}
    most = max(counts, key=lambda label: (counts[label], label))
    try:
        selection = select(images, judged=False)
        place = {image.sha256: row for row, image in zip(rows, images, strict=True)}
        sides = []
        for split in ("train", "validation"):
            some = [image for image in selection.images if image.split == split]
            label_of = np.array([selection.labels.index(image.label) for image in some], np.intp)
            sides.append((everything.bottlenecks[[place[image.sha256] for image in some]], label_of))
        made = make_head(sides[0], sides[1], classes=len(selection.labels), affine=backbone.affine, hyperparameters=how)
    except (RefusedError, TrainingError):
        return Own(None, None, None, (most,), len(images))
    head = made.head
    file = export(backbone.model, head, everything.bottlenecks[[place[image.sha256] for image in selection.images]])
    return Own(head, made.recipe, file, selection.labels, len(images))


def answers(own: Own, features: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the label that a device's own model gives each image."""
    if own.model is None:
        return np.full(len(features), own.labels[0])
    return np.array(own.labels)[HeadNetwork(own.model).scores(features).argmax(axis=1)]


def mean_head(owns: list[Own], labels: tuple[str, ...]) -> Fitted:
    """Return the mean of the devices' heads, weighted by their images (McMahan et al. 2017, one round).

    What is common to all labels of a head says nothing, and is taken off before; a label that a device does not know
    then has weights and bias 0 there. Devices that cannot train alone have no head.
    """
    able = [own for own in owns if own.head is not None]
    features = able[0].head.weights.shape[1] if able[0].head is not None else 0
    weights, bias, total = np.zeros((len(labels), features)), np.zeros(len(labels)), 0
    for own in able:
        assert own.head is not None
        rows = [labels.index(label) for label in own.labels]
        weights[rows] += own.images * (own.head.weights - own.head.weights.mean(axis=0))
        bias[rows] += own.images * (own.head.bias - own.head.bias.mean())
        total += own.images
    head = able[0].head
    assert head is not None
    return replace(
        head, weights=(weights / total).astype(np.float32), bias=(bias / total).astype(np.float32), history=()
    )


def verdict(everything: Photos, rows: np.ndarray[Any, Any], own: Own, made: Pooled, backbone: Backbone,
            how: Hyperparameters) -> str:  # fmt: skip
    """Return what a device's gate says of the common model by its own images, as `edged.learning.offer` does."""
    rows = np.array([row for row in rows if everything.images[row].label in made.labels], np.intp)
    if not len(rows):
        return "no image"
    named = np.array([everything.images[row].label for row in rows])
    groups = [everything.images[row].group_id for row in rows]
    scores = made.judges.logits(everything.bottlenecks[rows], backbone.affine, groups)
    index = np.array([made.labels.index(label) for label in named], np.intp)
    right = (scores.argmax(axis=1) == index).astype(float)
    compared = None
    if own.recipe is not None and len(own.labels) > 1:
        known = np.isin(named, own.labels)
        place = np.array([own.labels.index(label) for label in named[known]], np.intp)
        taught = Taught(everything.bottlenecks[rows[known]], place, len(own.labels), backbone.affine, own.recipe)
        its = [group for group, has in zip(groups, known, strict=True) if has]
        old = predict_left_out(taught, its, Divisions(1, FOLDS)).free[0]
        ours = np.array([made.labels.index(label) for label in own.labels])
        judged = old >= 0
        compared = Compared(
            [group for group, has in zip(its, judged, strict=True) if has], place[judged], own.labels,
            (scores[known][:, ours].argmax(axis=1) == place).astype(float)[judged],
            (old == place).astype(float)[judged], right[known][judged],
            (old == place).astype(float)[judged], np.zeros(int(judged.sum()), bool),
        )  # fmt: skip
    decided = decide(
        float(right.mean()), mean_recall(right, index), len(made.labels),
        min_accuracy=how.min_accuracy, tolerance=how.tolerance, compared=compared,
    )  # fmt: skip
    return decided.verdict


def learned(
    everything: Photos, device: np.ndarray[Any, Any], backbone: Backbone, how: Hyperparameters, noise: Noise | None
) -> tuple[Pooled, dict[str, float]]:
    """Learn together as `edgectl learn` does; returns the model, and what it took."""
    wire: dict[str, bytes] = {}
    for number in range(DEVICES):
        own = np.flatnonzero(device == number)
        rows = [row for row in own if noise is None or everything.images[row].split != "test"]
        if not rows:
            continue
        shared = shared_of(
            [everything.images[row] for row in rows], everything.bottlenecks[rows], everything.hashes, backbone
        )
        if noise is not None:
            shared = hidden(shared, noise, f"secret of device {number}".encode())
        wire[f"line-{number}"] = shared.encode()
    began, processor = time.monotonic(), time.process_time()
    made = train(
        pool({name: Shared.decode(data) for name, data in wire.items()}),
        backbone, how, "bench", lambda _stage, _share: None,
    )  # fmt: skip
    took = {
        "seconds": time.monotonic() - began,
        "processor_s": time.process_time() - processor,
        "bytes": float(sum(map(len, wire.values()))),
    }
    return made, took


def cell(everything: Photos, way: str, backbone: Backbone, seed: int) -> dict[str, Any]:
    """Return what one dealing of the photos gives."""
    how = Hyperparameters(seed=seed)
    random = np.random.default_rng([seed, WAYS.index(way)])
    device = deal(everything.images, way, random)
    labels = everything.labels
    test = np.array([image.split == "test" and image.label in labels for image in everything.images])
    truth = np.array([image.label for image in everything.images])[test]
    features = everything.bottlenecks[test]
    made, took = learned(everything, device, backbone, how, None)
    right = np.array(made.labels)[HeadNetwork(made.model).scores(features).argmax(axis=1)] == truth
    owns = [own_model(everything, np.flatnonzero(device == number), backbone, how) for number in range(DEVICES)]
    alone = [float((answers(own, features) == truth).mean()) for own in owns]
    able = [own for own in owns if own.head is not None]
    mean = None
    if able:
        calibrating = everything.bottlenecks[~test]
        file = export(backbone.model, mean_head(owns, labels), calibrating)
        mean = float((np.array(labels)[HeadNetwork(file).scores(features).argmax(axis=1)] == truth).mean())
    verdicts: dict[str, int] = {}
    for number, own in enumerate(owns):
        said = verdict(everything, np.flatnonzero(device == number), own, made, backbone, how)
        verdicts[said] = verdicts.get(said, 0) + 1
    commonest = max(set(truth.tolist()), key=truth.tolist().count)
    return {
        "together": float(right.mean()),
        "alone": float(np.mean(alone)),
        "worst_alone": min(alone),
        "best_alone": max(alone),
        "cannot_train": len(owns) - len(able),
        "mean_of_heads": mean,
        "constant": float((truth == commonest).mean()),
        "verdicts": verdicts,
        **took,
    }


def one_place(everything: Photos, state: Path, seed: int) -> dict[str, float]:
    """Return the accuracy on the test side of `edged retrain` on a folder with all photos, and its seconds."""
    began = time.monotonic()
    outcome = retrain(
        TrainingRequest(
            state_dir=state, images=everything.folder, backbone=MODEL, run=f"bench-{seed}", images_max_mb=10_000.0,
            hyperparameters=Hyperparameters(seed=seed), workers=1, out=state / "one-place",
        ),
        lambda _: None,
    )  # fmt: skip
    accuracy = outcome.report.accuracy
    if accuracy is None or accuracy.quantized is None:
        raise SystemExit(f"{everything.folder}: {outcome.error}")
    return {"accuracy": accuracy.quantized, "seconds": time.monotonic() - began}


def measure(data: Path, state: Path, *, side: Side, seeds: int, private_seeds: int = 3) -> dict[str, Any]:
    """Measure both sets, dealt both ways, and what noise costs.

    Args:
        data: The shared data: `flowers/` and `imagenet/`.
        state: Keeps bottlenecks.
        side: Which photos.
        seeds: Dealings of each set.
        private_seeds: Dealings of each set and level of noise.
    """
    backbone = Backbone.of(read_bundle(MODEL), "auto")
    sets: dict[str, Any] = {}
    for name in SETS:
        everything = photos(data, state, name, side, backbone)
        selection = select(everything.images)
        told: dict[str, Any] = {
            "images": len(everything.images),
            "labels": len(selection.labels),
            "test_images": sum(image.split == "test" for image in selection.images),
            "photo_bytes": sum(image.bytes for image in everything.images),
            "one_place": [one_place(everything, state, seed) for seed in range(seeds)],
        }
        for way in WAYS:
            told[way] = [cell(everything, way, backbone, seed) for seed in range(seeds)]
            told[f"private, {way}"] = {
                level: [_private(everything, way, backbone, seed, noise) for seed in range(private_seeds)]
                for level, noise in LEVELS.items()
            }
        told["found_again"] = {level: found_again(everything, backbone, noise) for level, noise in LEVELS.items()}
        sets[name] = told
    return {
        "side": side, "devices": DEVICES, "cores": os.cpu_count(), "load": os.getloadavg()[0], "delta": DELTA,
        "levels": {
            level: None if noise is None else {
                "clip": noise.clip, "sigma": noise.sigma, "epsilon": round(epsilon(noise.sigma, DELTA), 2)
            }
            for level, noise in LEVELS.items()
        },
        "sets": sets,
    }  # fmt: skip


def found_again(everything: Photos, backbone: Backbone, noise: Noise | None) -> float:
    """Return the share of photos that whoever has the photo, and its network, finds among all noisy bottlenecks."""
    clean = backbone.affine.dequantize(everything.bottlenecks)
    if noise is None:
        released = clean
    else:
        bytes_, affine = noisy(
            everything.bottlenecks, backbone.affine, noise, b"secret", [image.sha256 for image in everything.images]
        )
        released, clean = affine.dequantize(bytes_), clipped(clean, noise.clip)
    # What tells one photo from the others is how far it lies from their mean, and in which direction.
    likeness = (clean - clean.mean(axis=0)) @ (released - released.mean(axis=0)).T
    return float((likeness.argmax(axis=1) == np.arange(len(clean))).mean())


def _private(everything: Photos, way: str, backbone: Backbone, seed: int, noise: Noise | None) -> float:
    device = deal(everything.images, way, np.random.default_rng([seed, WAYS.index(way)]))
    labels = everything.labels
    test = np.array([image.split == "test" and image.label in labels for image in everything.images])
    truth = np.array([image.label for image in everything.images])[test]
    made, _ = learned(everything, device, backbone, Hyperparameters(seed=seed), noise)
    found = np.array(made.labels)[HeadNetwork(made.model).scores(everything.bottlenecks[test]).argmax(axis=1)]
    return float((found == truth).mean())


def encode(numbers: Mapping[str, Any]) -> str:
    """Return JSON, rounded."""
    return json.dumps(_rounded(numbers), indent=1, ensure_ascii=False) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) and abs(value) >= 1e-3 else value


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of accuracies: mean and standard deviation over the dealings."""
    yield (
        "| photos | dealt | alone (worst to best device) | mean of their heads | **together** | one place | "
        "together − one place | moved, of photos | gates: promoted / undecided / refused |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|"
    for name, told in numbers["sets"].items():
        for way in WAYS:
            runs = told[way]
            one = [run["accuracy"] for run in told["one_place"]]
            difference = [run["together"] - place for run, place in zip(runs, one, strict=True)]
            alone = (
                f"{_percent([run['alone'] for run in runs])} ({min(run['worst_alone'] for run in runs):.0%} to "
                f"{max(run['best_alone'] for run in runs):.0%})"
            )
            means = [run["mean_of_heads"] for run in runs if run["mean_of_heads"] is not None]
            cells = (
                f"{name}, {told['images']:,} of {told['labels']} labels",
                way,
                alone,
                _percent(means) if means else "–",
                f"**{_percent([run['together'] for run in runs])}**",
                _percent(one),
                f"{100 * np.mean(difference):.2f} points".replace("-0.00", "0.00"),
                f"{np.mean([run['bytes'] for run in runs]) / 1e6:.2f} of {told['photo_bytes'] / 1e6:.1f} MB",
                " / ".join(
                    str(sum(run["verdicts"].get(said, 0) for run in runs))
                    for said in ("promoted", "undecided", "refused")
                ),
            )
            yield "| " + " | ".join(cells) + " |"


def private_table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the price of noise in accuracy."""
    columns = [(name, way) for name in numbers["sets"] for way in WAYS]
    yield (
        "| `--private` | clip, sigma | ε an image | a known photo is found again | "
        + " | ".join(f"{name}, {way}" for name, way in columns)
        + " |"
    )
    yield "|---|---|--:|--:|" + "--:|" * len(columns)
    for level, noise in numbers["levels"].items():
        shown = ("–", "–") if noise is None else (f"{noise['clip']:g}, {noise['sigma']:g}", f"{noise['epsilon']:,.0f}")
        cells = [_percent(numbers["sets"][name][f"private, {way}"][level]) for name, way in columns]
        found = " / ".join(f"{told['found_again'][level]:.0%}" for told in numbers["sets"].values())
        yield f"| {level} | {shown[0]} | {shown[1]} | {found} | " + " | ".join(cells) + " |"


def sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the numbers say."""
    within, runs = [], []
    for told in numbers["sets"].values():
        one = np.mean([run["accuracy"] for run in told["one_place"]])
        for way in WAYS:
            within.append(float(np.mean([run["together"] for run in told[way]])) >= one - LIMIT)
            runs += told[way]
    skewed = [run["cannot_train"] for told in numbers["sets"].values() for run in told[WAYS[1]]]
    yield (
        f"In {sum(within)} of {len(within)} rows together is no more than {100 * LIMIT:.1f} points below one place. "
        "The constant answer is right on "
        + ", ".join(f"{told[WAYS[0]][0]['constant']:.0%} ({name})" for name, told in numbers["sets"].items())
        + f". Of {numbers['devices']} devices with one or two classes, {np.mean(skewed):.1f} cannot train alone and "
        "say their one label; the others know no more than two, and where there are many labels they refuse a head "
        "that takes some images of these two for something else."
    )
    seconds, processor = ([run[key] for run in runs] for key in ("seconds", "processor_s"))
    yield (
        f"The workstation takes {min(processor):.1f} to {max(processor):.1f} s of processor time to put together and "
        f"train ({min(seconds):.1f} to {max(seconds):.1f} s at the lowest priority of a machine with "
        f"{numbers['cores']} cores, on which {numbers['load']:.0f} processes were ready to run at the end)."
    )


def _percent(values: list[float]) -> str:
    return f"{100 * np.mean(values):.1f} % ± {100 * np.std(values):.1f}"
