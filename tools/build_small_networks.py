"""Train small networks on very different pictures, to measure how a source is chosen among networks that really differ.

    cd tools && python build_small_networks.py [--data ../../shared/data] --out DIR [NAME…]

Needs edged with its extra `tensorflow` (2.15) and scikit-learn. Each is five convolutions for 96 × 96 pixels, trained
from scratch for some minutes of one core, quantized to int8 with uint8 input and output, and written as
`small_NAME.tflite` with its labels; `edged models add` installs it. Photos are those of the develop side of
`benchmarks.set_aside`, and drawings have seeds of their own, so no network has seen what a report judges by.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.drawn import FAULTS, KINDS, TURNS, Picture, draw, spoil, turn
from benchmarks.targets import KINGDOMS, TRAINING_SEED, flower_photos, handwriting, imagenet
from edged.codec import read_image
from edged.vision.preprocess import fit

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it while it is imported
try:
    import tensorflow as tf
except ImportError as error:
    print(f"build_small_networks: {error}; pip install 'edged[tensorflow]' on Python 3.10 or 3.11", file=sys.stderr)
    sys.exit(2)

SIDE = 96
WIDTHS = ((16, 2), (32, 2), (64, 2), (96, 1), (160, 2))
"""Channels and stride of each convolution."""
PASSES = 16_000
"""Pictures that a training looks at, counting repetitions."""
DRAWN = 3000
Examples = list[tuple[Picture, str]]


def flowers(data: Path) -> Examples:
    """Five kinds of flowers."""
    return [(_read(file), kind) for kind, files in flower_photos(data, "develop").items() for file in files]


def kingdoms(data: Path) -> Examples:
    """Photos with ImageNet's classes: animals, food and plants, things."""
    return [
        (_read(file), label)
        for file, number in imagenet(data, "develop")
        for label, classes in KINGDOMS.items()
        if number in classes
    ]


def turned(data: Path) -> Examples:
    """Which side of a photo is up (Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image
    Rotations")."""
    photos = [_read(file) for file, _ in imagenet(data, "develop")]
    return [(turn(photo, label), label) for photo in photos for label in TURNS]


def faults(data: Path) -> Examples:
    """What is wrong with a photo of a flower."""
    photos = [_read(file) for files in flower_photos(data, "develop").values() for file in files[:150]]
    return [
        (spoil(photo, fault, TRAINING_SEED + number), fault) for number, photo in enumerate(photos) for fault in FAULTS
    ]


def digits(_data: Path) -> Examples:
    """Handwritten digits."""
    return [(picture, str(digit)) for digit, picture in handwriting("develop")]


def textures(_data: Path) -> Examples:
    """Drawn textures."""
    return _drawn("textures")


def glyphs(_data: Path) -> Examples:
    """Drawn letters."""
    return _drawn("glyphs")


SOURCES: dict[str, Callable[[Path], Examples]] = {
    "digits": digits,
    "faults": faults,
    "flowers": flowers,
    "glyphs": glyphs,
    "kingdoms": kingdoms,
    "textures": textures,
    "turned": turned,
}


def _drawn(kind: str) -> Examples:
    labels = KINDS[kind][0]
    chosen = [labels[number % len(labels)] for number in range(DRAWN)]
    return [(draw(kind, label, TRAINING_SEED + number), label) for number, label in enumerate(chosen)]


def _read(file: Path) -> Picture:
    image = read_image(file)
    scale = 160 / min(image.shape[:2])
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def train(examples: Examples, labels: list[str]) -> tuple[Any, NDArray[np.float32]]:
    """Train a network; return it and the inputs, (n, SIDE, SIDE, 3) in −1..1."""
    inputs = np.stack([fit(picture, SIDE, SIDE, 1.0) for picture, _ in examples]).astype(np.float32) / 127.5 - 1
    targets = np.array([labels.index(label) for _, label in examples])
    layers = tf.keras.layers
    image = layers.Input((SIDE, SIDE, 3))
    x = image
    for width, stride in WIDTHS:
        x = layers.Conv2D(width, 3, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = tf.keras.Model(image, layers.Softmax()(layers.Dense(len(labels))(x)))
    steps = PASSES // 64
    rate = tf.keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(tf.keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    epochs = max(1, round(PASSES / len(inputs)))
    model.fit(inputs, targets, batch_size=64, epochs=epochs, verbose=0)
    return model, inputs


def convert(model: Any, inputs: NDArray[np.float32]) -> bytes:
    """Return the quantized flatbuffer; activations are calibrated on some of the inputs."""
    some = inputs[:: max(1, len(inputs) // 200)]
    call = tf.function(model).get_concrete_function(tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[np.newaxis]] for one in some)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


def write_albums(data: Path, folder: Path) -> None:
    """Write the folders that two networks are fine-tuned on: flowers, and drawn letters that `glyphs` has not seen."""
    for kind, files in flower_photos(data, "develop").items():
        (folder / "flowers" / kind).mkdir(parents=True, exist_ok=True)
        for file in sorted(files, key=lambda file: file.name)[:100]:
            (folder / "flowers" / kind / file.name).symlink_to(file)
    letters = KINDS["glyphs"][0][:12]
    for number in range(480):
        letter = letters[number % len(letters)]
        (folder / "glyphs" / letter).mkdir(parents=True, exist_ok=True)
        picture = draw("glyphs", letter, TRAINING_SEED + 5000 + number)
        cv2.imwrite(str(folder / "glyphs" / letter / f"{number}.png"), picture[:, :, ::-1])


def main() -> int:
    """Train those that are named, or all."""
    parser = argparse.ArgumentParser(description="Train small networks on different pictures.")
    parser.add_argument("--data", type=Path, default=Path("../../shared/data"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--albums", action="store_true", help="write what is fine-tuned on into OUT, and train nothing")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SOURCES)}")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.albums:
        write_albums(args.data, args.out)
        return 0
    tf.config.threading.set_intra_op_parallelism_threads(1)
    for name in args.names or SOURCES:
        tf.keras.utils.set_random_seed(0)
        examples = SOURCES[name](args.data)
        labels = sorted({label for _, label in examples})
        model, inputs = train(examples, labels)
        (args.out / f"small_{name}.tflite").write_bytes(convert(model, inputs))
        (args.out / f"small_{name}.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
        print(f"small_{name}: {len(examples)} pictures, {len(labels)} labels", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
