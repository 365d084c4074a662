"""Is the estimated choice of a source the right one? Estimates beside cross-validated heads on every installed network.

    cd tools && python -m benchmarks.sources --state DIR --work DIR [--data ../../shared/data] --out sources.json

`--state` is a state directory in which the networks are installed (`edged models add`, `edged models pull`). Targets
are photos of ../shared/data, linked into `--work`. Bottlenecks are kept, so a second run takes seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.targets import IMAGENET_TARGETS, make_flowers, make_imagenet
from edged.images import ImageStore, open_images
from edged.lab.sources.ranker import Ranker
from edged.lab.sources.ranking import Ranking
from edged.lab.sources.transferability import h_score, leep, log_evidence
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.dataset import KeptBottlenecks, Selection
from edged.store import Bundle, Store
from edged.vision.network import HeadNetwork

PER_FLOWER = 200
LEAST = 35  # photos that no ImageNet network was trained on, to measure them alone too
IN_THE_TABLE = "eli"  # photos that edged/lab/sources/known_sources.json was made of: no target is estimated from them


def measure(name: str, folder: Path, fresh: Path, store: Store, state: Path, seed: int) -> dict[str, Any]:
    """Return estimates and measurements of one target."""
    exact, others = _exact(folder, store, state, seed)
    estimated, estimate_s = _estimate(fresh, store, state)
    rows = {row["name"]: row for row in exact.report().to_json()["sources"]}
    for row in estimated.report().to_json()["sources"]:
        rows[row["name"]] |= {key: row[key] for key in ("divergence", "score", "dataset", "source_images")}
    for source, values in others.items():
        rows[source] |= values
    result = {
        "target": name,
        "images": exact.images,
        "estimated_from": estimated.images,
        "no_transfer": exact.baseline,
        "exact_s": exact.seconds,
        "estimate_s": estimate_s,
        "sources": list(rows.values()),
    }
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


@contextmanager
def _opened(folder: Path, store: Store, state: Path) -> Iterator[tuple[ImageStore, Selection, Ranker]]:
    """Lend the images, all of them as a selection, and a ranker of all installed networks for them."""
    with closing(open_images(state, folder, 1000.0)) as images:
        images.scan()
        everything = images.labeled()
        selection = Selection(tuple(everything), tuple(sorted({image.label for image in everything})), {})
        yield (
            images,
            selection,
            Ranker(
                images,
                selection,
                store.installed(),
                current=store.find("mobilenet_v2"),
                runtime="auto",
                workers=1,
                splits=("train", "validation", "test"),
            ),
        )


def _exact(folder: Path, store: Store, state: Path, seed: int) -> tuple[Ranking, dict[str, dict[str, float]]]:
    with _opened(folder, store, state) as (images, selection, ranker):
        seconds = {bundle.name: _bottlenecks(bundle, images, selection) for bundle in store.installed()}
        ranking = ranker.measure(seed)
        others = {one.bundle.name: _look(one.bundle, images, selection) for one in ranking.standings}
    for source, values in others.items():
        values["bottlenecks_s"] = seconds[source]
    return ranking, others


def _bottlenecks(bundle: Bundle, images: ImageStore, selection: Selection) -> float:
    """Compute the bottlenecks before anything else is timed; return seconds."""
    began = time.monotonic()
    backbone = Backbone.of(bundle, "auto")
    complete(images, selection.images, lambda _: ("plain",), backbone, workers=1, tell=lambda _done, _of: None)
    return time.monotonic() - began


def _look(bundle: Bundle, images: ImageStore, selection: Selection) -> dict[str, float]:
    """Return the estimators that need the source's own view of the images."""
    backbone = Backbone.of(bundle, "auto")
    rows = KeptBottlenecks(images, backbone).array(selection.images)
    labels = np.array([selection.labels.index(image.label) for image in selection.images])
    features = backbone.affine.dequantize(rows)
    return {
        "leep": leep(HeadNetwork(backbone.model).scores(rows), labels),
        "h_score": h_score(features, labels),
        "log_evidence": log_evidence(features, labels),
    }


def _estimate(folder: Path, store: Store, state: Path) -> tuple[Ranking, float]:
    began = time.monotonic()
    with _opened(folder, store, state) as (_, _, ranker):
        ranking = ranker.estimate()
    return ranking, time.monotonic() - began


def main() -> int:
    """Measure every target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    store, data, work = Store(args.state), args.data, args.work
    results = []
    for name, groups in IMAGENET_TARGETS.items():
        folder = make_imagenet(data, work / name, groups)
        fresh = make_imagenet(data, work / f"{name}-fresh", groups, without=IN_THE_TABLE)
        results.append(measure(name, folder, fresh, store, args.state, args.seed))
        if results[-1]["estimated_from"] >= LEAST:
            results.append(measure(f"{name}-fresh", fresh, fresh, store, args.state, args.seed))
    flowers = make_flowers(data, work / "flowers", PER_FLOWER)
    results.append(measure("flowers", flowers, flowers, store, args.state, args.seed))
    args.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
