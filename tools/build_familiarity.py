#!/usr/bin/env python3
"""Makes familiarity.npz of the shipped MobileNetV2: what tells how alike a frame is to ImageNet's photos.

    .venv/bin/python tools/build_familiarity.py [--data ../shared/data] [--bundle models/mobilenet_v2]

No photo and no bottleneck of one gets into the file. Its exemplars are prototypes of its thousand labels, made of the
rows of the network's own head (`edged.vision.familiarity.prototypes`). Photos of ImageNet's classes only give the
numbers that a frame is compared with: those of the develop side of `tools/benchmarks/set_aside.py`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from benchmarks.targets import imagenet
from edged.codec import decode, read_file
from edged.learning.bottlenecks import Backbone
from edged.store import FAMILIARITY, read_bundle
from edged.vision.familiarity import Familiarity, Spread, common_direction, directions, nearest, prototypes
from edged.vision.graph import Graph

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Embed the photos, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--bundle", type=Path, default=ROOT / "models" / "mobilenet_v2")
    args = parser.parse_args()
    backbone = Backbone.of(read_bundle(args.bundle), "auto")
    network = backbone.network()
    rows = []
    for file, _ in imagenet(args.data, "develop"):
        picture = decode(read_file(file), (network.width, network.height), crop=backbone.crop)
        rows.append(network.embed(backbone.prepare(network, picture, "plain", file.name)))
    photos = backbone.affine.dequantize(np.stack(rows))
    head = Graph(backbone.model).head_weights()
    common = common_direction(head)
    chosen = prototypes(head)
    # Any length has the same direction: the longest that the bytes hold is the finest.
    top = backbone.affine.dequantize(np.array([np.iinfo(backbone.dtype).max], backbone.dtype))[0]
    exemplars = backbone.affine.quantize(
        chosen * (top / chosen.max(axis=1, keepdims=True)), np.dtype(backbone.dtype).type
    )
    similarity = nearest(directions(photos, common) @ directions(backbone.affine.dequantize(exemplars), common).T)
    spread = Spread.of(similarity)
    known = Familiarity(exemplars, backbone.affine, common, spread, None, np.sort(spread.standardise(similarity)))
    (args.bundle / FAMILIARITY).write_bytes(known.encode())
    print(
        f"{args.bundle / FAMILIARITY}: {len(exemplars)} exemplars, {len(photos)} photos, {len(known.encode()):,} bytes"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
