"""What edged replaces: Keras training a Dense head on frozen MobileNetV2, 10 epochs. Needs TensorFlow only.

Run: python keras_head.py IMAGES [WEIGHTS.h5]; prints JSON. 80 % of the images train, 20 % are held out.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

EPOCHS, BATCH, SIZE = 10, 32, 224


def main() -> None:
    """Train, evaluate, print."""
    images, weights = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "imagenet"
    begin = time.monotonic()
    train, test = tf.keras.utils.image_dataset_from_directory(
        images, image_size=(SIZE, SIZE), batch_size=BATCH, validation_split=0.2, subset="both", seed=0
    )
    full = tf.keras.applications.MobileNetV2(weights=weights)
    backbone = tf.keras.Model(full.input, full.layers[-2].output)  # ends with the global average pooling
    backbone.trainable = False
    inputs = tf.keras.Input((SIZE, SIZE, 3))
    outputs = backbone(tf.keras.applications.mobilenet_v2.preprocess_input(inputs), training=False)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(len(train.class_names))(outputs))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(train, epochs=EPOCHS, verbose=0)
    _, accuracy = model.evaluate(test, verbose=0)
    print(json.dumps({"epochs": EPOCHS, "seconds": time.monotonic() - begin, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
