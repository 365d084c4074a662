#!/usr/bin/env python3
"""Measures how alike ImageNet's photos are to what networks know of ImageNet; no photo gets into a file.

    .venv/bin/python tools/build_familiarity.py [--data ../shared/data] [--bundle models/mobilenet_v2]
    .venv/bin/python tools/build_familiarity.py --known ../shared/data/models/mobilenet_v1_*.tflite

The first makes familiarity.npz of the shipped MobileNetV2. Its exemplars are prototypes of its thousand labels, made of
the rows of the network's own head (`edged.vision.familiarity.prototypes`). Photos of ImageNet's classes only give the
numbers that a frame is compared with: those of the develop side of `tools/benchmarks/set_aside.py`. The second adds
such numbers alone to configs/familiarity.json, for networks that are not shipped: who installs one gets the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from benchmarks.targets import imagenet
from edged.codec import decode, read_file
from edged.learning.bottlenecks import Backbone
from edged.store import FAMILIARITY, MODEL, read_bundle
from edged.vision.familiarity import head_similarities, of_head
from edged.vision.graph import Graph
from edged.vision.network import Network
from edged.vision.preprocess import IMAGENET_CROP

ROOT = Path(__file__).resolve().parents[1]
KNOWN = ROOT / "configs" / "familiarity.json"
_QUANTILES = 200
"""So many stand for all photos: the limit of 0.02 falls between the fourth and the fifth."""


def main() -> int:
    """Embed the photos, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "mobilenet_v2")
    parser.add_argument("--known", type=Path, nargs="+", metavar="TFLITE", help=f"add networks to configs/{KNOWN.name}")
    args = parser.parse_args()
    if args.known:
        return _add_known(args.known, args.data)
    backbone = Backbone.of(read_bundle(args.bundle), "auto")
    network = backbone.network()
    rows = []
    for file, _ in imagenet(args.data, "develop"):
        picture = decode(read_file(file), (network.width, network.height), crop=backbone.crop)
        rows.append(network.embed(backbone.prepare(network, picture, "plain", file.name)))
    taken = Graph(backbone.model).head_weights(), backbone.affine, np.dtype(backbone.dtype).type
    known = of_head(*taken, head_similarities(*taken, np.stack(rows)))
    (args.bundle / FAMILIARITY).write_bytes(known.encode())
    print(f"{args.bundle / FAMILIARITY}: {len(known.exemplars)} exemplars, {len(rows)} photos")
    return 0


def _add_known(files: list[Path], data: Path) -> int:
    """Measure networks as they see live frames, and add their numbers."""
    numbers: dict[str, Any] = json.loads(KNOWN.read_text(encoding="utf-8")) if KNOWN.exists() else {}
    photos = [file for file, _ in imagenet(data, "develop")]
    for path in files:
        model = path.read_bytes()
        network, graph = Network(model), Graph(model)
        size = network.width, network.height
        rows = [network.embed(network.prepare(decode(read_file(file), size, crop=IMAGENET_CROP))) for file in photos]
        taken = graph.head_weights(), graph.bottleneck_quantization, network.bottleneck_dtype
        similarity = head_similarities(*taken, np.stack(rows))
        places = np.arange(1, _QUANTILES + 1) / (_QUANTILES + 1)
        numbers[hashlib.sha256(model).hexdigest()] = {
            "name": path.parent.name if path.name == MODEL else path.stem,
            "photos": len(photos),
            "similarity": [round(float(value), 5) for value in np.quantile(similarity, places)],
        }
        print(f"{path.name}: {len(photos)} photos, similarity {similarity.mean():.3f} ± {similarity.std():.3f}")
        ordered = sorted(numbers.items(), key=lambda item: item[1]["name"])
        lines = ",\n".join(f"{json.dumps(sha256)}: {json.dumps(one)}" for sha256, one in ordered)
        KNOWN.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
