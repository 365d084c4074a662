"""The curves of a training as a TensorBoard run; a disk that refuses them does not end the training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from edged.learning.tensorboard import EventFile

if TYPE_CHECKING:
    from edged.learning.softmax_regression import EpochReport

log = logging.getLogger(__name__)


class Curves:
    """Loss and accuracy per epoch, of training and validation.

    Args:
        folder: One training's; its two runs lie below it, so that TensorBoard draws them into one diagram.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, EventFile] = {}
        self._folder = folder
        self._failed = False

    def add(self, epoch: EpochReport) -> None:
        """Write one epoch."""
        self._write("train", epoch.epoch, {"loss": epoch.loss, "accuracy": epoch.accuracy, "lr": epoch.lr})
        if epoch.validation_loss is not None and epoch.validation_accuracy is not None:
            values = {"loss": epoch.validation_loss, "accuracy": epoch.validation_accuracy}
            self._write("validation", epoch.epoch, values)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _write(self, run: str, step: int, values: dict[str, float]) -> None:
        if self._failed:
            return
        try:
            if run not in self._files:
                self._files[run] = EventFile(self._folder / run)
            self._files[run].add(step, values)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        if not self._failed:
            log.warning("%s: no curves are written: %s", self._folder, error.strerror)
        self._failed = True
