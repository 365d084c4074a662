"""A training from labeled images to a bundle: one stage after another, in the trainer or in `edged retrain`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from edged.contract.reports import BackboneChoice, PerformanceState, ReportPart, SkippedImage, TrainingReport
from edged.images import open_images
from edged.learning import judging, report
from edged.learning.acceptance import Candidate, CrossValidation, cross_validate, judge
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import LeftOut
from edged.learning.dataset import Examples, KeptBottlenecks, Selection, Splits, select, views_of
from edged.learning.doubtful import QUICKLY
from edged.learning.evaluation import Evaluation, evaluate
from edged.learning.exemplars import common_to, familiarity_of
from edged.learning.export import check_folder, export, new_manifest, sha256_of, write_bundle
from edged.learning.incumbent import Incumbent, earlier_points
from edged.learning.learning_curve import CurvePoint, LearningCurve, learning_curve
from edged.learning.recipe import Made, Recipe, both_sides, make_head
from edged.learning.request import Outcome, TrainingRequest
from edged.learning.review import doubtful_labels
from edged.learning.softmax_regression import EpochReport, Fitted
from edged.learning.stages import Stages, Tell
from edged.learning.step import Step, step_from
from edged.learning.tensorboard import Curves
from edged.sensors import performance
from edged.store import Bundle, Store, read_bundle
from edged.vision.graph import read_graph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import ImageStore, LabeledImage
    from edged.learning.request import Choose
    from edged.types import Vector
    from edged.vision.familiarity import Familiarity


def train(request: TrainingRequest, tell: Tell, choose: Choose | None = None) -> Outcome:
    """Train a new head and write its bundle; nothing is promoted.

    Args:
        request: What to do.
        tell: Called with the progress; may be slow.
        choose: Chooses the backbone where `request.candidates` names several; not needed otherwise.

    Returns:
        The outcome: "succeeded" with a bundle, or "rejected" where the new model is not good enough.

    Raises:
        RefusedError: The images or settings do not allow it.
        EdgedError: It failed.
    """
    with ExitStack() as stack:
        return _Training(request, tell, choose, stack).run()


class _Training:
    """The state of one training; used once."""

    def __init__(self, request: TrainingRequest, tell: Tell, choose: Choose | None, stack: ExitStack) -> None:
        self._request = request
        self._chooser = choose
        self._stages = Stages(tell)
        self._stack = stack
        self._workers = request.workers or os.cpu_count() or 1
        self._skipped: list[SkippedImage] = []
        self._choice: BackboneChoice | None = None
        self._set_to = performance.told()
        self._curves = Curves(request.state_dir / "runs" / request.run)

    def run(self) -> Outcome:
        """Go through the stages."""
        request, stage = self._request, self._stages.stage
        if request.out is not None:  # nobody shall wait for a training that cannot be written
            check_folder(request.out)
        with stage("scan"):
            store, everything = self._scan()
            selection = select(everything)
        with stage("bottlenecks"):
            backbone = Backbone.of(self._choose(store, selection), request.runtime)
            selection = self._bottlenecks(store, selection, backbone)
            kept = KeptBottlenecks(store, backbone)
            splits = kept.splits(selection, augment=request.hyperparameters.augment)
        step = self._step(selection, backbone)
        if step is not None and (taken := self._take(step, selection, backbone, kept, splits)) is not None:
            return taken
        with stage("training"):
            made = self._fit(splits, backbone, len(selection.labels))
        # Beside the next stages: it needs none of them, and a second core may be idle.
        beside = self._stack.enter_context(ThreadPoolExecutor(1))
        curve = beside.submit(self._learning_curve, made.chosen, splits, backbone, selection)
        doubted = beside.submit(doubtful_labels, selection.images, kept, backbone, at_once=QUICKLY)
        with stage("comparison"):
            incumbent = self._incumbent(store, everything, selection, backbone, kept)
            crossed = self._cross_validate(kept, selection, backbone, made.recipe, incumbent)
        with stage("export"):
            calibration = crossed.calibration()
            head = made.head if calibration is None else made.head.divided(calibration.temperature)
            model = export(backbone.model, head, *splits.features)
            read_graph(model)  # once: two threads need it at the same time
            strange = beside.submit(self._familiarity, selection, kept, backbone, head, crossed.logits(calibration))
            self._curves.add_graph(model)
            if calibration is not None:
                self._curves.add_reliability(calibration.bins)
        with stage("evaluation"):
            test, validation = splits.test, splits.validation
            check = beside.submit(judging.spot_check, model, backbone, test)
            scores = judging.scores_of(model, backbone, test)
            judged = evaluate(scores, test.labels)
            logits = head.logits(test.features, backbone.affine)
            before = evaluate(logits, test.labels)
            held_out = evaluate(made.chosen.logits(validation.features, backbone.affine), validation.labels)
            accepted = judge(Candidate(model, crossed, test, scores, logits), incumbent, request.hyperparameters)
        with stage("learning curve"):
            learned, doubtful = curve.result(), doubted.result()
            checked, familiarity = check.result(), strange.result()
        told = self._told(selection, backbone, test, scores, judged, checked)
        told = told.model_copy(
            update={
                "training": report.training(made.chosen),
                "accuracy": report.accuracy(judged, before, held_out, accepted),
                "doubtful": report.doubtful(doubtful),
                "decision": report.decision(accepted, accept=request.accept),
                "learning_curve": report.curve(learned, selection.labels),
            }
        )
        told = report.with_what_is_known(told, calibration, familiarity, self._choice)
        if told.decision is None or not told.decision.promote:
            return Outcome("rejected", self._costs(told), accepted.verdict.reason)
        left_out = crossed.left_out.with_tested(_on_test_side(selection), scores)
        return self._written(model, selection, backbone, told, familiarity, left_out)

    # -- a training after a few more images ----------------------------------------------------------------------------

    def _step(self, selection: Selection, backbone: Backbone) -> Step | None:
        """Return how the version that answers becomes the new one; None: everything has to be computed."""
        request = self._request
        if request.current is None:
            return None
        return step_from(read_bundle(request.current), selection, backbone, request.hyperparameters)

    def _take(
        self, step: Step, selection: Selection, backbone: Backbone, kept: KeptBottlenecks, splits: Splits
    ) -> Outcome | None:
        """Make the new model with what is taken over; None: the gate does not promote it, so all has to be computed."""
        request, stage = self._request, self._stages.stage
        train, validation, test = splits.train, splits.validation, splits.test
        with stage("training"):
            fitted = step.recipe.fit(
                *both_sides((train.features, train.labels), (validation.features, validation.labels)),
                classes=len(selection.labels),
                affine=backbone.affine,
                progress=self._tell_epoch,
            )
            head = step.calibrated(fitted)
        with stage("export"):
            model = export(backbone.model, head, *splits.features)
            read_graph(model)  # once: two threads need it at the same time
            # Beside the next stage: a second core may be idle.
            beside = self._stack.enter_context(ThreadPoolExecutor(1))
            check = beside.submit(judging.spot_check, model, backbone, test, judging.FEWER_SPOT_CHECKS)
        with stage("evaluation"):
            step.look_at_new(kept, backbone)
            scores, logits = judging.scores_of(model, backbone, test), head.logits(test.features, backbone.affine)
            judged = evaluate(scores, test.labels)
            accepted = step.judge(model, test, scores, logits, request.hyperparameters)
            if accepted.verdict.verdict != "promoted":
                return None
            familiarity, doubtful = step.familiarity(kept, backbone, head), step.doubtful(kept, backbone)
            self._stack.callback(self._curves.close)
            for epoch in fitted.history:
                self._curves.add(epoch)
            self._curves.add_graph(model)
            before = evaluate(logits, test.labels)
            told = self._told(selection, backbone, test, scores, judged, check.result())
        told = told.model_copy(
            update={
                "accuracy": report.accuracy(judged, before, None, accepted),
                "doubtful": report.doubtful(doubtful),
                "decision": report.decision(accepted, accept=request.accept),
            }
        )
        told = report.with_what_is_known(step.report(told), None, familiarity, self._choice)
        left_out = step.left_out.with_tested(_on_test_side(selection), scores)
        return self._written(model, selection, backbone, told, familiarity, left_out)

    # -- stages --------------------------------------------------------------------------------------------------------

    def _scan(self) -> tuple[ImageStore, list[LabeledImage]]:
        """Return the images and those that are labeled."""
        request = self._request
        store = open_images(request.state_dir, request.images, request.images_max_mb)
        self._stack.callback(store.close)
        scanned = store.scan_settled()  # whoever copies a folder and trains at once means these files too
        skipped = {one.file: one.reason for one in scanned.skipped}
        self._skipped += [
            SkippedImage(file=file, reason=reason) for file, reason in list(skipped.items())[: report.MOST_SKIPPED]
        ]
        self._skipped += [
            SkippedImage(file=file, reason="is being written; the next training takes it") for file in scanned.deferred
        ]
        return store, store.labeled()

    def _choose(self, store: ImageStore, selection: Selection) -> Bundle:
        """Return the bundle to start from; where it has to be chosen, images pass through the reference network."""
        request = self._request
        if not request.candidates:
            return read_bundle(request.backbone)
        if self._chooser is None:
            raise ValueError("a training with candidates needs somebody who chooses among them")
        choice = self._chooser(request, store, selection, lambda done, of: self._pass(0, done, of))
        self._choice = choice.report
        return choice.bundle

    def _pass(self, number: int, done: int, of: int) -> None:
        """Tell how far one of the passes over the images is: two, where the first one chooses the backbone."""
        passes = 2 if self._request.candidates else 1
        self._stages.progress("bottlenecks", (number + done / max(of, 1)) / passes, {"done": done, "of": of})

    def _bottlenecks(self, store: ImageStore, selection: Selection, backbone: Backbone) -> Selection:
        unreadable = complete(
            store,
            selection.images,
            lambda image: views_of(image.split, self._request.hyperparameters.augment),
            backbone,
            workers=self._workers,
            tell=lambda done, of: self._pass(1 if self._request.candidates else 0, done, of),
        )
        for one in unreadable:
            path = one.task.path
            self._skipped.append(SkippedImage(file=f"{path.parent.name}/{path.name}", reason=one.reason))
        return selection.without({one.task.sha256 for one in unreadable})

    def _fit(self, splits: Splits, backbone: Backbone, classes: int) -> Made:
        request = self._request
        curves = self._curves
        self._stack.callback(curves.close)

        def after_epoch(epoch: EpochReport) -> None:
            curves.add(epoch)
            self._tell_epoch(epoch)

        return make_head(
            (splits.train.features, splits.train.labels),
            (splits.validation.features, splits.validation.labels),
            classes=classes,
            affine=backbone.affine,
            hyperparameters=request.hyperparameters,
            progress=after_epoch,
        )

    def _incumbent(
        self,
        store: ImageStore,
        everything: Sequence[LabeledImage],
        selection: Selection,
        backbone: Backbone,
        kept: KeptBottlenecks,
    ) -> Incumbent | None:
        """Return the model that answers now; None: there is none."""
        if self._request.current is None:
            return None
        return Incumbent(read_bundle(self._request.current), selection, everything, store, backbone, kept)

    def _cross_validate(
        self,
        kept: KeptBottlenecks,
        selection: Selection,
        backbone: Backbone,
        recipe: Recipe,
        incumbent: Incumbent | None,
    ) -> CrossValidation:
        return cross_validate(
            kept,
            selection,
            backbone,
            recipe,
            incumbent,
            workers=self._workers,
            tell=lambda done, of: self._stages.progress("comparison", done / max(of, 1), {"done": done, "of": of}),
        )

    def _learning_curve(
        self, fitted: Fitted, splits: Splits, backbone: Backbone, selection: Selection
    ) -> LearningCurve:
        request = self._request
        earlier: tuple[CurvePoint, ...] = ()
        if request.current is not None:
            earlier = earlier_points(read_bundle(request.current), selection, backbone, request.hyperparameters)
        return learning_curve(
            splits.train.features,
            splits.train.labels,
            (splits.test.features, splits.test.labels),
            classes=len(fitted.bias),
            full=fitted,
            affine=backbone.affine,
            validation=(splits.validation.features, splits.validation.labels),
            hyperparameters=request.hyperparameters,
            earlier=earlier,
        )

    def _familiarity(
        self,
        selection: Selection,
        kept: KeptBottlenecks,
        backbone: Backbone,
        head: Fitted,
        left_out: Vector | None,
    ) -> Familiarity | None:
        groups = [image.group_id for image in selection.images]
        bottlenecks, common = kept.array(selection.images), common_to(backbone)
        return familiarity_of(bottlenecks, backbone.affine, groups, common, (head.weights, head.bias), left_out)

    def _written(
        self,
        model: bytes,
        selection: Selection,
        backbone: Backbone,
        told: TrainingReport,
        familiarity: Familiarity | None,
        left_out: LeftOut,
    ) -> Outcome:
        """Write the bundle; return the outcome that names it."""
        request = self._request
        with self._stages.stage("writing"):
            told = told.model_copy(update={"model": sha256_of(model)[:12]})
            manifest = new_manifest(model, backbone, self._costs(told))
            taught = {image.id: image.label for image in selection.images}
            strange = None if familiarity is None else familiarity.encode()
            kept = left_out.encode()
            if request.out is not None:
                bundle = write_bundle(request.out, model, selection.labels, manifest, taught, strange, kept)
            else:
                store = Store(request.state_dir)
                bundle = store.write_version(model, selection.labels, manifest, taught, strange, kept)
        return Outcome("succeeded", self._costs(told), bundle=bundle.path)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _tell_epoch(self, epoch: EpochReport) -> None:
        self._stages.progress("training", epoch.epoch / self._request.hyperparameters.epochs, report.epoch(epoch))

    def _told(
        self,
        selection: Selection,
        backbone: Backbone,
        test: Examples,
        scores: Vector,
        judged: Evaluation,
        checked: int,
    ) -> TrainingReport:
        """Return what every training tells: of its images, and of the exported file on the test side."""
        told = TrainingReport(
            run=self._request.run,
            hyperparameters=self._request.hyperparameters.model_dump(),
            skipped=tuple(self._skipped),
            backbone=backbone.bundle.backbone,
            counts=selection.counts(),
            splits={str(split): images for split, images in selection.split_counts().items()},
            left_out=selection.left_out,
            classes=report.classes(judged, selection.labels),
            confused=report.confused(judged, selection.labels),
            worst=report.worst(judged, test, scores, selection.labels),
            spot_checks=checked,
        )
        matrix = report.confusion(judged, selection.labels)
        more: dict[str, ReportPart] = {} if matrix is None else {"confusion": matrix}
        if self._set_to:
            more["performance"] = PerformanceState(**self._set_to)
        return told.model_copy(update=more)

    def _costs(self, told: TrainingReport) -> TrainingReport:
        """Return the report with the time and memory that the training has taken by now."""
        return told.model_copy(update={"seconds": self._stages.seconds(), "peak_memory_mb": report.peak_memory_mb()})


def _on_test_side(selection: Selection) -> NDArray[np.bool_]:
    return np.array([image.split == "test" for image in selection.images], bool)
