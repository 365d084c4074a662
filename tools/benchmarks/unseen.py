"""Accuracy of bundles, as they run, on photos of a folder that are not among those of another one.

    cd tools && python -m benchmarks.unseen --images ../../shared/data/flowers --seen DIR [--every 2] BUNDLE…

Photos are told apart by their content. Prints one JSON line per bundle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from edged.codec import decode
from edged.store import read_bundle
from edged.vision.network import Network


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seen", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo only")
    parser.add_argument("bundles", type=Path, nargs="+")
    args = parser.parse_args()
    seen = {hashlib.sha256(file.read_bytes()).hexdigest() for file in args.seen.glob("*/*")}
    files = [
        file
        for file in sorted(args.images.glob("*/*.jpg"))
        if hashlib.sha256(file.read_bytes()).hexdigest() not in seen
    ][:: args.every]
    for path in args.bundles:
        bundle = read_bundle(path)
        crop = bundle.manifest.input.crop
        network = Network(bundle.read_model(), crop=crop)
        hits = 0
        for file in files:
            image = decode(file.read_bytes(), (network.width, network.height), crop=crop)
            hits += bundle.labels[int(np.argmax(network.infer(network.prepare(image)).scores))] == file.parent.name
        print(json.dumps({"bundle": path.name, "photos": len(files), "accuracy": hits / len(files)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
