"""A new head on a frozen Keras MobileNetV2, the ways people train one today. Needs TensorFlow only, nothing of edged.

    TF_PYTHON keras_head.py JOB.json

reads what to do (see `Job`), trains, writes the int8 .tflite, and prints one JSON line with the seconds of each stage.

Two recipes:

* "dense": one Dense layer for 10 epochs, as in Keras' guide to transfer learning.
* "frigate": how Frigate (0.17, frigate/util/classification.py) trains a custom classification: features averaged over
  the picture, Dense 128 with ReLU, dropout 0.3, Dense with softmax, Adam at 0.001, batches of 16, 50 epochs, pixels
  scaled to 0..1, then a full int8 export with 300 photos to calibrate. It gets all training photos here, where Frigate
  leaves 20 % out and never looks at them, and calibrates on photos of all labels.

A frozen network gives the same features in every epoch. `cached` runs it once per photo and keeps the features in
`features`, where a second run finds them; else every epoch decodes all photos and runs the network on them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

BEGAN = time.monotonic()

import numpy as np  # noqa: E402 - the clock runs before anything is imported
import tensorflow as tf  # noqa: E402

SIZE = 224
CALIBRATION = 300
AT_ONCE = 32
"""Photos per call where features are kept."""


@dataclass(frozen=True)
class Recipe:
    """How a head is trained. `resize`: of the photos that it learns from; int8 files are judged on bilinear ones."""

    epochs: int
    batch: int
    hidden: int
    dropout: float
    resize: str


RECIPES = {
    "dense": Recipe(epochs=10, batch=32, hidden=0, dropout=0.0, resize="bilinear"),
    "frigate": Recipe(epochs=50, batch=16, hidden=128, dropout=0.3, resize="nearest"),
}


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        recipe: A name of `RECIPES`.
        train: Path and number of the label of each photo.
        classes: Number of labels.
        weights: An .h5 file of the whole network with its 1,000 classes; None: random weights, to time only.
        alpha: Width of MobileNetV2; other than 1 there are random weights only.
        unit: Whether pixels are scaled to 0..1, as Frigate does; else to −1..1, as the weights were trained.
        cached: Whether features are kept.
        features: Where they are kept, an .npy file.
        out: Where the int8 .tflite is written; None: nowhere.
        seed: Of the weights and the order.
        epochs: Instead of the recipe's.
    """

    recipe: str
    train: list[tuple[str, int]]
    classes: int
    weights: str | None
    alpha: float
    unit: bool
    cached: bool
    features: str | None
    out: str | None
    seed: int
    epochs: int | None = None


class HeadOnKeras:
    """One job; used once."""

    def __init__(self, job: Job) -> None:
        self._job, self._recipe = job, RECIPES[job.recipe]
        self._seconds: dict[str, float] = {"tensorflow": time.monotonic() - BEGAN}
        self._cpu_s = 0.0
        tf.keras.utils.set_random_seed(job.seed)
        full = tf.keras.applications.MobileNetV2(weights=None, alpha=job.alpha)
        if job.weights is not None:
            full.load_weights(job.weights)
        self._backbone = tf.keras.Model(full.input, full.layers[-2].output)  # ends with the average over the picture
        self._backbone.trainable = False
        self._head = self._new_head()

    def run(self) -> tuple[dict[str, float], float]:
        """Train, export; return the seconds of each stage and the processor time of the training alone."""
        began = time.monotonic()
        if self._job.cached:
            features = self._features()
            self._seconds["features"] = time.monotonic() - began
            began, cpu_began = time.monotonic(), time.process_time()
            self._fit(self._head, tf.data.Dataset.from_tensor_slices((features, self._labels())))
        else:
            cpu_began = time.process_time()
            inputs = tf.keras.Input((SIZE, SIZE, 3))
            self._fit(tf.keras.Model(inputs, self._head(self._backbone(inputs, training=False))), self._photos())
        self._seconds["training"], self._cpu_s = time.monotonic() - began, time.process_time() - cpu_began
        if self._job.out is not None:
            began = time.monotonic()
            Path(self._job.out).write_bytes(self._export())
            self._seconds["export"] = time.monotonic() - began
        return self._seconds, self._cpu_s

    def _new_head(self) -> Any:
        layers: list[Any] = [tf.keras.Input((self._backbone.output_shape[-1],))]
        if self._recipe.hidden:
            layers += [tf.keras.layers.Dense(self._recipe.hidden, activation="relu")]
            layers += [tf.keras.layers.Dropout(self._recipe.dropout)]
        return tf.keras.Sequential([*layers, tf.keras.layers.Dense(self._job.classes, activation="softmax")])

    def _fit(self, model: Any, examples: Any) -> None:
        model.compile(tf.keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
        shuffled = examples.shuffle(len(self._job.train), seed=self._job.seed)
        if not self._job.cached:
            shuffled = shuffled.map(self._decoded, num_parallel_calls=tf.data.AUTOTUNE)
        batches = shuffled.batch(self._recipe.batch).prefetch(tf.data.AUTOTUNE)
        model.fit(batches, epochs=self._job.epochs or self._recipe.epochs, verbose=0)

    def _labels(self) -> Any:
        return np.array([label for _, label in self._job.train])

    def _photos(self) -> Any:
        return tf.data.Dataset.from_tensor_slices(([file for file, _ in self._job.train], self._labels()))

    def _decoded(self, file: Any, label: Any) -> tuple[Any, Any]:
        return self._read(file, self._recipe.resize), label

    def _read(self, file: Any, resize: str) -> Any:
        pixels = tf.image.decode_jpeg(tf.io.read_file(file), channels=3)
        resized = tf.cast(tf.image.resize(pixels, (SIZE, SIZE), method=resize), tf.float32)
        return resized / 255.0 if self._job.unit else resized / 127.5 - 1.0

    def _features(self) -> Any:
        kept = None if self._job.features is None else Path(self._job.features)
        if kept is not None and kept.is_file():
            return np.load(kept)
        photos = self._photos().map(self._decoded, num_parallel_calls=tf.data.AUTOTUNE)
        features = self._backbone.predict(photos.batch(AT_ONCE).prefetch(tf.data.AUTOTUNE), verbose=0)
        if kept is not None:
            np.save(kept, features)
        return features

    def _export(self) -> bytes:
        inputs = tf.keras.Input((SIZE, SIZE, 3), batch_size=1)
        whole = tf.keras.Model(inputs, self._head(self._backbone(inputs, training=False)))
        step = max(1, len(self._job.train) // CALIBRATION)

        def photos() -> Any:
            for file, _ in self._job.train[::step][:CALIBRATION]:
                yield [self._read(file, "bilinear")[tf.newaxis]]

        converter = tf.lite.TFLiteConverter.from_keras_model(whole)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = photos
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        model: bytes = converter.convert()
        return model


def main() -> None:
    """Do the job, print the seconds."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    seconds, training_cpu_s = HeadOnKeras(job).run()
    print(json.dumps({"tensorflow": tf.__version__, "seconds": seconds, "training_cpu_s": training_cpu_s}))


if __name__ == "__main__":
    main()
