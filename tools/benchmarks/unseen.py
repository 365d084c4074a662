"""Accuracy of bundles, as they run, on photos of a folder that are not among those of another one.

    cd tools && python -m benchmarks.unseen --images ../../shared/data/flowers --seen DIR [--every 2] BUNDLE…

Photos are told apart by their content. Prints one JSON line per bundle.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edged.codec import decode
from edged.store import read_bundle
from edged.vision.network import Network


def unseen(images: Path, seen: Path, every: int = 1) -> list[Path]:
    """Return every n-th photo of a folder per label that is in no folder of `seen`, in the order of their names."""
    known = {hashlib.sha256(file.read_bytes()).hexdigest() for file in seen.glob("*/*")}
    files = sorted(images.glob("*/*.jpg"))
    return [file for file in files if hashlib.sha256(file.read_bytes()).hexdigest() not in known][::every]


def accuracy(bundle_folder: Path, files: Sequence[Path]) -> float:
    """Return the share of photos whose folder's name is what the bundle's model says."""
    bundle = read_bundle(bundle_folder)
    crop = bundle.manifest.input.crop
    network, hits = Network(bundle.read_model(), crop=crop), 0
    for file in files:
        image = decode(file.read_bytes(), (network.width, network.height), crop=crop)
        hits += bundle.labels[int(np.argmax(network.infer(network.prepare(image)).scores))] == file.parent.name
    return hits / len(files)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--seen", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th photo only")
    parser.add_argument("bundles", type=Path, nargs="+")
    args = parser.parse_args()
    files = unseen(args.images, args.seen, args.every)
    for path in args.bundles:
        numbers = {"bundle": path.name, "photos": len(files), "accuracy": accuracy(path, files)}
        print(json.dumps(numbers), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
