"""`python -m edged.lab.finetune.child`: the child process that imports TensorFlow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edged.codec import decode, read_file
from edged.errors import ImageError, TrainingError
from edged.jobs.process import serve
from edged.lab.finetune.job import FINE_TUNING, Job, JobOutcome, JobProgress, parse_depth
from edged.learning.bottlenecks import TRAINING_CROP
from edged.vision.preprocess import fit

if TYPE_CHECKING:
    from edged.types import Image

_SIDE = 224
_CALIBRATION = 64
"""Photos that ranges and biases are taken from."""


def run(job: Job, tell: Callable[[JobProgress], None]) -> JobOutcome:
    """Fine-tune as the job says."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    try:
        return _FineTuning(job, tell).run()
    except MemoryError as error:
        raise TrainingError("out of memory; use fewer images or fewer layers") from error


class _FineTuning:
    """The stages, one after another; used once."""

    def __init__(self, job: Job, tell: Callable[[JobProgress], None]) -> None:
        self._job = job
        self._tell = tell
        self._seconds: dict[str, float] = {}

    def run(self) -> JobOutcome:
        with self._stage("tensorflow"):
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(self._job.threads)
            tf.config.threading.set_inter_op_parallelism_threads(self._job.threads)
            tf.keras.utils.set_random_seed(self._job.hyperparameters.seed)
            from edged.lab.finetune import keras_training as keras
        with self._stage("weights"):
            base = self._load(tf)
        with self._stage("decoding"):
            images = {split: self._decode(split) for split in ("train", "validation", "test")}
        depth = parse_depth(self._job.hyperparameters.layers)
        frozen, tuned = keras.split_network(base, depth)
        with self._stage("frozen layers"):
            examples = {
                split: keras.Examples(
                    keras.run_frozen(frozen, images[split], flipped=split == "train"), self._labels(split)
                )
                for split in images
            }
        with self._stage("training"):
            training = keras.Training(
                tuned, examples["train"], examples["validation"], self._job.classes, self._job.hyperparameters
            )
            best = training.run(lambda epoch: self._tell(JobProgress("training", epoch)))
            _, accuracy = training.judge(examples["test"])
        with self._stage("quantization"):
            self._export(base, training.head(), images["train"])
        return JobOutcome(
            best_epoch=best,
            keras_accuracy=accuracy,
            trained_parameters=self._parameters(tuned),
            trained_bytes=self._bytes(tuned),
            seconds=self._seconds,
        )

    def _load(self, tf: Any) -> Any:
        base = tf.keras.applications.MobileNetV2(weights=None)
        try:
            base.load_weights(self._job.weights)
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            why = " ".join(str(error).split())[:120]
            raise TrainingError(
                f"{self._job.weights}: no weights of Keras' MobileNetV2 1.0 with 1,000 classes ({why})"
            ) from error
        return base

    def _decode(self, split: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        files = self._job.images[split]
        pixels = np.empty((len(files), _SIDE, _SIDE, 3), np.uint8)
        for number, (file, _) in enumerate(files):
            pixels[number] = _read(Path(file))
        return pixels

    def _labels(self, split: str) -> np.ndarray[Any, np.dtype[np.intp]]:
        return np.array([label for _, label in self._job.images[split]], np.intp)

    def _export(self, base: Any, head: Any, train: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
        from edged.lab.finetune.keras_network import convert, fold, network, round_weights

        photos: list[Image] = list(train[:: max(1, len(train) // _CALIBRATION)][:_CALIBRATION])
        weights = fold(base) | {"logits": head}
        Path(self._job.out).write_bytes(convert(network(round_weights(weights, photos)), photos))

    def _convolutions(self, tuned: Any) -> list[Any]:
        if tuned is None or self._job.hyperparameters.multiplier == 0:
            return []
        return [layer for layer in tuned.layers if "conv" in type(layer).__name__.lower()]

    def _parameters(self, tuned: Any) -> int:
        """Folded: kernels, one bias per channel, and the head."""
        return sum(size + channels for size, channels in self._sizes(tuned))

    def _bytes(self, tuned: Any) -> int:
        """As the int8 file holds them: a kernel's weight is 1 byte, a bias 4."""
        return sum(size + 4 * channels for size, channels in self._sizes(tuned))

    def _sizes(self, tuned: Any) -> list[tuple[int, int]]:
        head = (1280 * self._job.classes, self._job.classes)
        return [
            *((int(layer.count_params()), int(layer.output_shape[-1])) for layer in self._convolutions(tuned)), head
        ]  # fmt: skip

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._tell(JobProgress(name))
        began = time.monotonic()
        yield
        self._seconds[name] = round(time.monotonic() - began, 2)


def _read(path: Path) -> Image:
    try:
        return fit(decode(read_file(path), (_SIDE, _SIDE), crop=TRAINING_CROP), _SIDE, _SIDE, TRAINING_CROP)
    except (ImageError, FileNotFoundError) as error:
        raise ImageError(f"{path}: {error}") from error


if __name__ == "__main__":
    serve(FINE_TUNING, run)
