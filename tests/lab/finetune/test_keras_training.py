"""How head and inner layers learn together, in TensorFlow's own process, on a network small enough to follow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import optional
from tests.optional import needs_tensorflow

PROGRAM = """
import json, sys
import numpy as np
import tensorflow as tf
from edged.lab.finetune.job import Hyperparameters
from edged.lab.finetune.keras_training import Examples, Training

multiplier, epochs = float(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
labels = np.arange(24) % 3
pixels = random.integers(0, 256, (24, 8, 8, 3)).astype(np.uint8)
pixels[np.arange(24), :, :, labels] |= 128
tf.keras.utils.set_random_seed(0)
inputs = tf.keras.Input((8, 8, 3))
features = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.Conv2D(6, 3, activation="tanh")(inputs))
network = tf.keras.Model(inputs, features)
before = [variable.numpy() for variable in network.trainable_variables]
nobody = Examples([pixels[:0]], labels[:0])  # nothing to validate on: the last epoch counts
how = Hyperparameters(multiplier=multiplier, epochs=epochs, batch=24)
training = Training(network, Examples([pixels], labels), nobody, 3, how)
head = training.head()[0]
training.run(lambda _: None)
moved = [float(np.abs(now.numpy() - then).max()) for now, then in zip(network.trainable_variables, before)]
print(json.dumps({"inner": moved, "head": float(np.abs(training.head()[0] - head).max())}))
"""


def moved(multiplier: float, epochs: int = 1) -> dict[str, Any]:
    """How far one training has moved the inner layers' variables and the head's weights."""
    done = optional.run("tensorflow", "-c", PROGRAM, str(multiplier), str(epochs))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@needs_tensorflow
@pytest.mark.timeout(3600)
def test_inner_layers_move_by_the_multiplier_and_the_head_does_not() -> None:
    """One step: an inner layer's way is as long as the multiplier says, the head's is the same for all."""
    half, tenth, nothing = moved(0.5), moved(0.1), moved(0.0, epochs=3)
    assert min(half["inner"]) > 0
    assert half["inner"] == pytest.approx([5 * way for way in tenth["inner"]], rel=1e-2)
    assert half["head"] == pytest.approx(tenth["head"], rel=1e-4)
    assert nothing["inner"] == [0.0, 0.0]
    assert nothing["head"] > 0
