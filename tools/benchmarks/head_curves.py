"""Validation accuracy of a retrained head by epoch, and test accuracy by images per class.

    cd tools && python -m benchmarks.head_curves --state DIR [--images ../../shared/data/flowers]

Writes reports/head-curves.json, of which `reports/finetuning.py` makes its page, and the same curves as TensorBoard
runs under `<state>/runs/`: tensorboard --logdir <state>/runs
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edged.contract.hyperparameters import Hyperparameters
from edged.images import open_images
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import Examples, KeptBottlenecks, select
from edged.learning.softmax_regression import Fitted, fit
from edged.learning.tensorboard import Curves, EventFile
from edged.store import Store

REPORTS = Path(__file__).resolve().parent.parent / "reports"
PER_CLASS = (5, 10, 25, 50, 100, 250)
RATES = (0.005, 0.1, 1.0)
EPOCHS = 60


def examples_of(state: Path, images: Path, backbone: Backbone) -> tuple[dict[str, Examples], int]:
    """Return the splits' bottlenecks and the number of labels; computes what was not computed yet."""
    store = open_images(state, images, 10_000.0)
    try:
        store.scan()
        selection = select(store.labeled())
        complete(
            store, selection.images, lambda _: ("plain",), backbone, workers=1,
            tell=lambda _done, _of: None,
        )  # fmt: skip
        kept = KeptBottlenecks(store, backbone)
        splits = {split: kept.examples(selection, split, augment=False) for split in ("train", "validation", "test")}
    finally:
        store.close()
    return splits, len(selection.labels)


class HeadCurves:
    """Trains heads on parts of one set of bottlenecks."""

    def __init__(self, splits: dict[str, Examples], classes: int, backbone: Backbone) -> None:
        self._splits, self._classes, self._backbone = splits, classes, backbone

    def fit(self, hyperparameters: Hyperparameters, rows: Any = slice(None)) -> Fitted:
        """Train on some of the training images, all of validation."""
        train, validation = self._splits["train"], self._splits["validation"]
        return fit(
            train.features[rows],
            train.labels[rows],
            classes=self._classes,
            affine=self._backbone.affine,
            validation=(validation.features, validation.labels),
            hyperparameters=hyperparameters,
        )

    def test_accuracy(self, fitted: Fitted) -> float:
        """0..1, of the float head."""
        test = self._splits["test"]
        return float((fitted.logits(test.features, self._backbone.affine).argmax(axis=1) == test.labels).mean())

    def drawn(self, per_class: int, seed: int) -> Any:
        """Draw training images of each class; nested: the first ones stay as `per_class` grows."""
        labels, random = self._splits["train"].labels, np.random.default_rng(seed)
        order = [random.permutation(np.flatnonzero(labels == label)) for label in range(self._classes)]
        return np.concatenate([rows[:per_class] for rows in order])


def main() -> int:
    """Measure both curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="state directory: bottlenecks and runs lie there")
    parser.add_argument("--images", type=Path, default=Path("../../shared/data/flowers"))
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=REPORTS / "head-curves.json")
    args = parser.parse_args()
    backbone = Backbone.of(Store(args.state).find(args.backbone), "auto")
    splits, classes = examples_of(args.state, args.images, backbone)
    curves = HeadCurves(splits, classes, backbone)
    runs = args.state / "runs"

    by_epoch: dict[str, list[float]] = {}
    for lr in RATES:
        fitted = curves.fit(Hyperparameters(lr=lr, epochs=EPOCHS, patience=EPOCHS))
        events = Curves(runs / f"head-lr{lr:g}")
        for epoch in fitted.history:
            events.add(epoch)
        events.close()
        by_epoch[f"lr {lr:g}"] = [epoch.validation_accuracy or 0.0 for epoch in fitted.history]

    by_images: dict[int, list[float]] = {}
    epochs: dict[int, list[int]] = {}
    for per_class in PER_CLASS:
        fits = [curves.fit(Hyperparameters(seed=seed), curves.drawn(per_class, seed)) for seed in range(args.seeds)]
        by_images[per_class] = [curves.test_accuracy(fitted) for fitted in fits]
        epochs[per_class] = [fitted.best_epoch for fitted in fits]
    for seed in range(args.seeds):
        file = EventFile(runs / f"head-images-seed{seed}")
        for per_class in PER_CLASS:
            file.add(per_class, {"accuracy by images per class": by_images[per_class][seed]})
        file.close()

    numbers = {
        "images": args.images.name,
        "backbone": args.backbone,
        "seeds": args.seeds,
        "splits": {split: len(examples.labels) for split, examples in splits.items()},
        "by_epoch": by_epoch,
        "by_images": by_images,
        "best_epoch": epochs,
    }
    args.out.write_text(json.dumps(numbers) + "\n", encoding="utf-8")
    for count, values in by_images.items():
        best = f"best epoch {np.mean(epochs[count]):.0f}"
        print(f"{count:4} per class: {np.mean(values):.1%} ± {np.std(values):.1%}, {best}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
