"""A training from labeled images to a bundle: one stage after another, in the trainer or in `edged retrain`."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import TrainingError
from edged.learning import judging, report
from edged.learning.backbone import Backbone
from edged.learning.bottlenecks import complete
from edged.learning.curves import Curves
from edged.learning.dataset import Examples, KeptBottlenecks, Selection, select, views_of
from edged.learning.evaluation import Evaluation, Verdict, decide, evaluate
from edged.learning.folder import open_images
from edged.learning.head import export
from edged.learning.learning_curve import LearningCurve, learning_curve
from edged.learning.output import write_bundle
from edged.learning.recipe import Recipe
from edged.learning.request import Outcome, Progress, Stage, TrainingRequest
from edged.learning.softmax_regression import EpochReport, Fitted, fit
from edged.store import Bundle, Manifest, Store, read_bundle

if TYPE_CHECKING:
    from edged.learning.images import ImageStore
    from edged.types import Vector

log = logging.getLogger(__name__)

Tell = Callable[[Progress], None]

_SHARE: dict[Stage, tuple[float, float]] = {
    "scan": (0.0, 0.04),
    "bottlenecks": (0.04, 0.8),
    "training": (0.8, 0.9),
    "export": (0.9, 0.91),
    "evaluation": (0.91, 0.93),
    "learning curve": (0.93, 0.99),
    "writing": (0.99, 1.0),
}
"""Where each stage begins and ends on the way from 0 to 1."""


def train(request: TrainingRequest, tell: Tell) -> Outcome:
    """Train a new head and write its bundle; nothing is promoted.

    Args:
        request: What to do.
        tell: Called with the progress; may be slow.

    Returns:
        The outcome: "succeeded" with a bundle, or "rejected" where the new model is not good enough.

    Raises:
        RefusedError: The images or settings do not allow it.
        EdgedError: It failed.
    """
    with ExitStack() as stack:
        return _Training(request, tell, stack).run()


class _Training:
    """The state of one training; used once."""

    def __init__(self, request: TrainingRequest, tell: Tell, stack: ExitStack) -> None:
        self._request = request
        self._tell = tell
        self._stack = stack
        self._workers = request.workers or os.cpu_count() or 1
        self._seconds: dict[str, float] = {}
        self._report: dict[str, Any] = {"hyperparameters": report.hyperparameters(request)}

    def run(self) -> Outcome:
        """Go through the stages."""
        began = time.monotonic()
        request = self._request
        with self._stage("scan"):
            store, selection = self._scan()
        with self._stage("bottlenecks"):
            backbone = Backbone.of(self._choose(store, selection), request.runtime)
            selection = self._bottlenecks(store, selection, backbone)
            kept = KeptBottlenecks(store, backbone)
            train_set = kept.examples(selection, "train", augment=request.augment)
            validation = kept.examples(selection, "validation", augment=request.augment)
            test = kept.examples(selection, "test", augment=request.augment)
            self._report |= {
                "backbone": backbone.bundle.backbone,
                "counts": selection.counts(),
                "splits": selection.split_counts(),
                "left_out": selection.left_out,
            }
        with self._stage("training"):
            fitted = self._fit(train_set, validation, backbone, len(selection.labels))
        # Beside the next stages: it needs none of them, and a second core may be idle.
        curve = self._stack.enter_context(ThreadPoolExecutor(1)).submit(
            self._learning_curve, fitted, selection, backbone, train_set, validation, test
        )
        with self._stage("export"):
            model = export(backbone.model, fitted, train_set.features)
        with self._stage("evaluation"):
            judged = self._evaluate(model, fitted, selection, backbone, test, validation)
            verdict = self._compare(judged, store, kept, backbone, test)
        with self._stage("learning curve"):
            self._report["learning_curve"] = report.curve(curve.result())
        if not verdict.promote:
            self._finish(began)
            return Outcome("rejected", self._report, verdict.reason)
        with self._stage("writing"):
            self._report["model"] = hashlib.sha256(model).hexdigest()[:12]
            self._finish(began)
            bundle = self._write(model, selection, backbone)
        self._finish(began)
        return Outcome("succeeded", self._report, bundle=bundle.path)

    # -- stages --------------------------------------------------------------------------------------------------------

    def _scan(self) -> tuple[ImageStore, Selection]:
        request = self._request
        store = open_images(request.state_dir, request.images, request.images_max_mb)
        self._stack.callback(store.close)
        scanned = store.scan()
        self._report["skipped"] = [
            {"file": one.file, "reason": one.reason} for one in scanned.skipped[: report.MOST_SKIPPED]
        ]
        self._report["skipped"] += [
            {"file": file, "reason": "is being written; the next training takes it"} for file in scanned.deferred
        ]
        return store, select(store.labeled())

    def _choose(self, store: ImageStore, selection: Selection) -> Bundle:
        """Return the bundle to start from; where it has to be chosen, images pass through the reference network."""
        request = self._request
        if not request.candidates:
            return read_bundle(request.backbone)
        from edged.learning.sources import Ranker

        ranking = Ranker(
            store,
            selection,
            [read_bundle(folder) for folder in request.candidates],
            current=None if request.current is None else read_bundle(request.current),
            runtime=request.runtime,
            workers=self._workers,
            tell=lambda _name, done, of: self._pass(0, done, of),
        ).estimate()
        self._report["choice"] = ranking.report()
        return ranking.best

    def _pass(self, number: int, done: int, of: int) -> None:
        """Tell how far one of the passes over the images is: two, where the first one chooses the backbone."""
        passes = 2 if self._request.candidates else 1
        self._progress("bottlenecks", (number + done / max(of, 1)) / passes, {"done": done, "of": of})

    def _bottlenecks(self, store: ImageStore, selection: Selection, backbone: Backbone) -> Selection:
        unreadable = complete(
            store,
            selection.images,
            lambda image: views_of(image.split, self._request.augment),
            backbone,
            workers=self._workers,
            tell=lambda done, of: self._pass(1 if self._request.candidates else 0, done, of),
        )
        for one in unreadable:
            path = one.task.path
            self._report["skipped"].append({"file": f"{path.parent.name}/{path.name}", "reason": one.reason})
        return selection.without({one.task.sha256 for one in unreadable})

    def _fit(self, train_set: Examples, validation: Examples, backbone: Backbone, classes: int) -> Fitted:
        request = self._request
        curves = Curves(request.state_dir / "runs" / request.run)
        self._stack.callback(curves.close)

        def after_epoch(epoch: EpochReport) -> None:
            curves.add(epoch)
            self._progress("training", epoch.epoch / request.epochs, _detail(epoch))

        fitted = fit(
            train_set.features,
            train_set.labels,
            classes=classes,
            affine=backbone.affine,
            validation=(validation.features, validation.labels),
            recipe=self._recipe(),
            progress=after_epoch,
        )
        self._report["training"] = report.training(fitted)
        return fitted

    def _evaluate(
        self,
        model: bytes,
        fitted: Fitted,
        selection: Selection,
        backbone: Backbone,
        test: Examples,
        validation: Examples,
    ) -> Evaluation:
        labels = selection.labels
        scores: Vector = judging.scores_of(model, backbone, test)
        judged = evaluate(scores, test.labels)
        float_judged = evaluate(fitted.logits(test.features, backbone.affine), test.labels)
        held_out = judging.scores_of(model, backbone, validation)
        self._report |= {
            "accuracy": {"float": report.rounded(float_judged.accuracy), "quantized": report.rounded(judged.accuracy)},
            "classes": report.classes(judged, labels),
            "confused": report.confused(judged, labels),
            "worst": report.worst(judged, test, scores, labels),
            "spot_checks": judging.spot_check(model, backbone, test),
        }
        if len(validation.labels):
            accuracy = evaluate(held_out, validation.labels).accuracy
            self._report["accuracy"]["validation"] = report.rounded(accuracy)
        return judged

    def _compare(
        self, judged: Evaluation, store: ImageStore, kept: KeptBottlenecks, backbone: Backbone, test: Examples
    ) -> Verdict:
        request = self._request
        incumbent, name = None, None
        if request.current is not None:
            current = read_bundle(request.current)
            name = current.id
            incumbent = judging.judge_incumbent(
                current, test, kept, store, backbone,
                workers=self._workers,
                tell=lambda done, of: self._progress("evaluation", done / max(of, 1), {"done": done, "of": of}),
            )  # fmt: skip
            self._report["accuracy"]["previous"] = report.rounded(incumbent.accuracy)
        verdict = decide(
            judged.correct,
            None if incumbent is None else incumbent.correct,
            request.min_accuracy,
            None if incumbent is None else incumbent.shared,
        )
        compared = 0 if incumbent is None else len(incumbent.correct)
        self._report["decision"] = report.verdict(verdict, name, compared)
        return verdict

    def _learning_curve(
        self,
        fitted: Fitted,
        selection: Selection,
        backbone: Backbone,
        train_set: Examples,
        validation: Examples,
        test: Examples,
    ) -> LearningCurve:
        return learning_curve(
            train_set.features,
            train_set.labels,
            (test.features, test.labels),
            classes=len(selection.labels),
            full=fitted,
            affine=backbone.affine,
            validation=(validation.features, validation.labels),
            recipe=self._recipe(),
        )

    def _write(self, model: bytes, selection: Selection, backbone: Backbone) -> Bundle:
        request, source = self._request, backbone.bundle.manifest
        manifest = Manifest.model_validate(
            {
                "name": f"{source.backbone}-retrained"[-64:],
                "sha256": hashlib.sha256(model).hexdigest(),
                "input": {**source.input.model_dump(), "crop": backbone.crop},
                "backbone": source.backbone,
                "backbone_sha256": source.backbone_sha256,
                "parent": backbone.bundle.id,
                "training": self._report,
                "source": f"retrained from {source.backbone} on labeled images",
                "licence": source.licence,
            }
        )
        if request.out is not None:
            return write_bundle(request.out, model, selection.labels, manifest)
        return Store(request.state_dir).write_version(model, selection.labels, manifest)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _recipe(self) -> Recipe:
        request = self._request
        return Recipe(
            lr=request.lr,
            epochs=request.epochs,
            batch=request.batch,
            momentum=request.momentum,
            l2=request.l2,
            patience=request.patience,
            seed=request.seed,
        )

    @contextmanager
    def _stage(self, stage: Stage) -> Iterator[None]:
        self._progress(stage, 0.0)
        began = time.monotonic()
        yield
        self._seconds[stage] = round(time.monotonic() - began, 3)

    def _progress(self, stage: Stage, fraction: float, detail: dict[str, Any] | None = None) -> None:
        begin, end = _SHARE[stage]
        self._tell(Progress(stage, begin + (end - begin) * min(fraction, 1.0), detail or {}))

    def _finish(self, began: float) -> None:
        self._report["seconds"] = {**self._seconds, "total": round(time.monotonic() - began, 3)}
        self._report["peak_memory_mb"] = peak_memory_mb()


def _detail(epoch: EpochReport) -> dict[str, Any]:
    values = {
        "loss": epoch.loss,
        "accuracy": epoch.accuracy,
        "validation_loss": epoch.validation_loss,
        "validation_accuracy": epoch.validation_accuracy,
    }
    return {"epoch": epoch.epoch} | {key: report.rounded(value) for key, value in values.items() if value is not None}


def peak_memory_mb() -> float:
    """Return the most memory that this process has held, 10^6 bytes.

    Not getrusage's ru_maxrss: that begins with what the parent held when it started this process.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6, 1)
    raise TrainingError("/proc/self/status has no VmHWM")
