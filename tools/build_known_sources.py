"""Write edged/lab/sources/known_sources.json: what the networks that edged knows were trained on.

    python tools/build_known_sources.py [--data ../shared/data]

A device has none of the images that its networks learned from. What `edged sources rank` needs of them is one mean
feature vector per data set, in one reference network: the shipped mobilenet_v2. For ImageNet it is taken over 1,000
photos, one per class. iNaturalist's photos are not at hand: photos of ImageNet's bird and insect classes stand in.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from edged.codec import decode
from edged.lab.sources.known_sources import TABLE
from edged.learning.bottlenecks import TRAINING_CROP
from edged.vision.network import Network

REFERENCE = Path("models/mobilenet_v2/model.tflite")
EARLIER = "3a1e77d86f776c1db7cc8fca1baaa37f4e3d51c3b5fce05887e0051f54d0114b"  # without its second output
PHOTOS = "eli"  # of imagenet/labels.csv: one photo per class
BIRDS = {*range(7, 25), *range(80, 101), *range(127, 147)}
INSECTS = set(range(300, 327))

# Sizes: ILSVRC 2012's training set; the training images of the two classes in table 1 of Van Horn et al. 2018, "The
# iNaturalist Species Classification and Detection Dataset".
DATASETS: dict[str, tuple[int, set[int], dict[str, float]]] = {
    "ImageNet": (
        1_281_167,
        set(range(1000)),
        # Top-1 as published for the float networks: TensorFlow's MobileNet and Slim pages, Keras Applications,
        # TensorFlow TPU's EfficientNet-Lite page, torchvision.
        {
            "mobilenet_v1_0.25_128_quant": 0.415,
            "mobilenet_v1_0.5_160_quant": 0.591,
            "mobilenet_v1_0.75_192_quant": 0.672,
            "mobilenet_v2_1.0_224_quant": 0.718,
            "inception_v3_299_quant": 0.780,
            "efficientnet_lite0_224_uint8_ptq": 0.751,
            "resnet50_224_uint8_ptq": 0.761,
        },
    ),
    "iNaturalist 2017 birds": (214_295, BIRDS, {"mobilenet_v2_1.0_224_inat_bird_quant": 0.718}),
    "iNaturalist 2017 insects": (100_479, INSECTS, {"mobilenet_v2_1.0_224_inat_insect_quant": 0.718}),
}


def mean_bottleneck(network: Network, files: list[Path]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the mean of the files' bottlenecks."""
    total = np.zeros(network.features)
    for file in files:
        image = decode(file.read_bytes(), (network.width, network.height), crop=TRAINING_CROP)
        total += network.infer(network.prepare(image)).embedding
    return total / len(files)


def main() -> int:
    """Build the table."""
    parser = argparse.ArgumentParser(description="Write what the known networks were trained on.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of imagenet/ and models/")
    parser.add_argument("--out", type=Path, default=TABLE)
    args = parser.parse_args()
    with (args.data / "imagenet" / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == PHOTOS]
    model = REFERENCE.read_bytes()
    references = sorted({EARLIER, hashlib.sha256(model).hexdigest()})
    network = Network(model, crop=TRAINING_CROP)
    hashes = {Path(one["file"]).stem: one["sha256"] for one in
              json.loads((args.data / "models" / "manifest.json").read_text(encoding="utf-8"))["models"]}  # fmt: skip
    datasets: dict[str, Any] = {}
    for name, (images, classes, networks) in DATASETS.items():
        files = [args.data / "imagenet" / row["file"] for row in rows if int(row["class_index"]) in classes]
        listed = [
            {"name": stem, "sha256": hashes[stem], "imagenet_top1": accuracy} for stem, accuracy in networks.items()
        ]
        if name == "ImageNet":
            listed += [{"name": "mobilenet_v2 (shipped)", "sha256": one, "imagenet_top1": 0.713} for one in references]
            zoo = "aa03e4017f54fd5c743bd397b0a3e136fab0942f9c7cd715064a31ca3e4fc996"
            listed.append({"name": "efficientnet_lite0 (zoo)", "sha256": zoo, "imagenet_top1": 0.751})
        mean = mean_bottleneck(network, files).astype("<f2")
        datasets[name] = {
            "images": images,
            "photos": len(files),
            "networks": listed,
            "mean": base64.b64encode(mean.tobytes()).decode(),
        }
        print(f"{name}: {len(files)} photos, {len(listed)} networks")
    table = {"reference": {"name": "mobilenet_v2", "sha256": references, "crop": TRAINING_CROP}, "datasets": datasets}
    args.out.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
