"""Retrains more than the last layer: fine-tunes MobileNetV2 with TensorFlow, on a workstation (`edged finetune`).

`run` goes from labeled images to a bundle; TensorFlow works in a child process (`child`, asked by a `job`), and only
`child`, `keras_network` and `keras_training` import it. A `job` says how many layers are retrained and how, `weights`
finds the ImageNet weights to begin with. The head on top is trained and judged by `edged.learning`, as for every other
model.
"""

from edged.lab.finetune.job import Hyperparameters, parse_depth
from edged.lab.finetune.run import FineTuneRequest, Step, check_tensorflow, fine_tune

__all__ = ["FineTuneRequest", "Hyperparameters", "Step", "check_tensorflow", "fine_tune", "parse_depth"]
