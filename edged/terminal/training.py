"""A training's report as tables for people: what `edged retrain` and `edgectl retrain` print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from edged.contract.reports import Decision, ReliabilityBin, ScoreQuality
from edged.plural import counted
from edged.terminal.performance import set_to

if TYPE_CHECKING:  # rich is imported when there is something to show
    from rich.console import RenderableType

    from edged.contract.reports import Calibration, ClassCurve, TrainingReport

_UNKNOWN = "–"
_MOST_CLASSES = 40
_ID_SHOWN = 8
"""Digits of an image's id: `edgectl images` needs no more."""
_STEP, _BAR = 0.2, 20
"""Width of a row of the reliability diagram, of scores 0..1, and of its bars, characters."""


def describe(stage: str, detail: Mapping[str, Any]) -> str:
    """Tell in a few words what a training does, e.g. "bottlenecks 120 of 3670", "training epoch 3, loss 0.41"."""
    if "of" in detail:
        return f"{stage} {detail.get('done')} of {detail['of']}"
    if "epoch" in detail:
        accuracy = detail.get("validation_accuracy", detail.get("accuracy"))
        shown = f", accuracy {accuracy:.1%}" if isinstance(accuracy, int | float) else ""
        return f"{stage} epoch {detail['epoch']}, loss {detail.get('loss')}{shown}"
    return stage


def report_tables(report: TrainingReport) -> list[RenderableType]:
    """Return what a person wants to know: accuracy, classes, confusions, doubtful images, scores, time, outlook.

    Args:
        report: Parts that it does not have are passed over. Text in it is shown as it is, not as markup.
    """
    return [
        *_accuracy(report),
        *_classes(report),
        *_confused(report),
        *_worst(report),
        *_doubtful(report),
        *_reliability(report),
        *_lines(report),
    ]


def _accuracy(report: TrainingReport) -> list[RenderableType]:
    accuracy, decision = report.accuracy, report.decision or Decision()
    if accuracy is None:
        return []
    table = _table("accuracy", ("", "left"), ("", "right"))
    all_images, tested = sum(report.counts.values()) or None, report.splits.get("test")
    before = f"the model before it ({decision.against}), on {_images(decision.images)}"
    for value, text, style in (
        (accuracy.cross_validated, f"models made like the new one, cross-validated on {_images(all_images)}", "bold"),
        (accuracy.quantized, f"the new model, as it runs, on {_images(tested, 'test ')}", "bold"),
        (accuracy.float, "its head before quantization, on the same", ""),
        (accuracy.validation, "its head before the last fit, on the validation images", ""),
        (accuracy.previous, before, ""),
    ):
        if value is not None:
            table.add_row(text, _percent(value), style=style)
    return [table]


def _classes(report: TrainingReport) -> list[RenderableType]:
    if not report.classes:
        return []
    gains = {} if report.learning_curve is None else report.learning_curve.classes
    table = _table(None, ("label", "left"), ("images", "right"), ("tested", "right"), ("precision", "right"),
                   ("recall", "right"), *([("100 more images", "right")] if gains else []))  # fmt: skip
    shown = sorted(report.classes.items(), key=lambda item: (item[1].recall or 0.0, item[0]))
    for label, one in shown[:_MOST_CLASSES]:
        table.add_row(
            _plain(label),
            _plain(report.counts.get(label)),
            _plain(one.images),
            _percent(one.precision),
            _percent(one.recall),
            *([_gain(gains.get(label))] if gains else []),
        )
    if len(shown) > _MOST_CLASSES:
        table.caption = f"and {len(shown) - _MOST_CLASSES} labels with a better recall"
    return [table]


def _gain(curve: ClassCurve | None) -> str:
    """Say what 100 more training images, shared out as now, would likely add to a label's recall."""
    return _UNKNOWN if curve is None or curve.gain_per_100 is None else f"+{100 * curve.gain_per_100:.1f} points"


def _confused(report: TrainingReport) -> list[RenderableType]:
    if not report.confused:
        return []
    table = _table("most confused", ("label", "left"), ("taken for", "left"), ("times", "right"))
    for pair in report.confused[:5]:
        table.add_row(_plain(pair.label), _plain(pair.predicted), _plain(pair.count))
    return [table]


def _worst(report: TrainingReport) -> list[RenderableType]:
    if not report.worst:
        return []
    table = _table(
        "furthest from their label",
        ("file", "left"),
        ("id", "left"),
        ("label", "left"),
        ("taken for", "left"),
        ("score", "right"),
    )
    for image in report.worst[:5]:
        table.add_row(
            _plain(image.file),
            _plain(None if image.id is None else image.id[:_ID_SHOWN]),
            _plain(image.label),
            _plain(image.predicted),
            _UNKNOWN if image.score is None else f"{image.score:.3f}",
        )
    return [table]


def _doubtful(report: TrainingReport) -> list[RenderableType]:
    if report.doubtful is None or not report.doubtful.number:
        return []
    table = _table(
        "labels that look wrong", ("file", "left"), ("id", "left"), ("label", "left"), ("looks like", "left"),
        ("sure", "right"),
    )  # fmt: skip
    for image in report.doubtful.images[: min(5, report.doubtful.number)]:
        table.add_row(
            _plain(image.file),
            _plain(None if image.id is None else image.id[:_ID_SHOWN]),
            _plain(image.label),
            _plain(image.looks_like),
            _UNKNOWN if image.confidence is None else f"{image.confidence:.0%}",
        )
    return [table]


def _reliability(report: TrainingReport) -> list[RenderableType]:
    """Draw the reliability diagram: a bar is as long as the accuracy, and ends at its mark where scores are exact."""
    calibration = report.calibration
    if calibration is None or not calibration.bins:
        return []
    table = _table(
        f"scores, cross-validated on {_images(calibration.images)}",
        ("score", "left"), ("images", "right"), ("mean score", "right"), ("right", "right"), ("", "left"),
    )  # fmt: skip
    for low, one in _wider(calibration.bins):
        score, accuracy = one.score or 0.0, one.accuracy or 0.0
        bar = ("█" * round(accuracy * _BAR)).ljust(_BAR + 1)
        mark = round(score * _BAR)
        table.add_row(
            _plain(f"{low:.1f} to {low + _STEP:.1f}"), _plain(one.images), _percent(score), _percent(accuracy),
            _plain(f"{bar[:mark]}│{bar[mark:]}".rstrip()),
        )  # fmt: skip
    return [table]


def _wider(bins: Iterable[ReliabilityBin]) -> list[tuple[float, ReliabilityBin]]:
    """Put bins together: (lower end, images whose scores begin there)."""
    rows: dict[int, list[tuple[int, float, float]]] = {}
    for one in bins:
        if one.images and one.score is not None and one.accuracy is not None:
            place = min(int(one.score / _STEP), round(1 / _STEP) - 1)
            rows.setdefault(place, []).append((one.images, one.score, one.accuracy))
    found = []
    for place, row in sorted(rows.items()):
        images = sum(count for count, _, _ in row)
        score, accuracy = (sum(part[0] * part[which] for part in row) / images for which in (1, 2))
        found.append((place * _STEP, ReliabilityBin(images=images, score=score, accuracy=accuracy)))
    return found


def _calibration(calibration: Calibration) -> str:
    """Say how far scores are from what they claim, e.g. "calibration error 3.1% (12.0% without the …)"."""
    before, after = calibration.before or ScoreQuality(), calibration.after or ScoreQuality()
    temperature = _UNKNOWN if calibration.temperature is None else f"{calibration.temperature:.2f}"
    return (
        f"scores: calibration error {_percent(after.error)} ({_percent(before.error)} without the temperature "
        f"{temperature}; exact scores of as many images: {_percent(after.chance)})"
    )


def _scores(report: TrainingReport) -> list[str]:
    """Say what scores and familiarities rest on, and what of all was taken over."""
    lines = [] if report.calibration is None else [_calibration(report.calibration)]
    if (taken := report.taken_over) is not None:
        lines.append(
            f"taken over from {taken.version}, {_images(taken.images)} ago: {', '.join(taken.parts)}; "
            "`retrain` without new images computes them anew"
        )
    if (taught := report.familiarity) is not None and taught.exemplars and taught.held_out:
        lines.append(
            f"familiarity: frames are compared with {_images(taught.exemplars)} and ranked among {taught.held_out}"
        )
    return lines


def _lines(report: TrainingReport) -> list[RenderableType]:
    lines: list[str] = []
    if report.doubtful is not None and report.doubtful.number:
        number = report.doubtful.number
        looks = "label looks" if number == 1 else "labels look"
        lines.append(f"{number} {looks} wrong: `edgectl images doubtful` shows them and puts them right")
    if report.choice is not None:
        lines.append(f"backbone: {report.choice.chosen}: {report.choice.reason}")
    training = report.training
    if training is not None:
        lines.append(
            f"epochs: {training.epochs}, best {training.best_epoch} "
            f"(validation loss {training.validation_loss}); ended by {training.stopped}"
        )
    lines += _scores(report)
    curve = report.learning_curve
    if curve is not None and curve.points:
        steps = ", ".join(f"{_images(point.images)} {_percent(point.accuracy)}" for point in curve.points)
        lines.append(f"learning curve: {steps}")
        if report.taken_over is None and (old := sum(point.taken_over for point in curve.points)):
            lines.append(f"the first {old} points are an earlier model's: few images have come since")
        if curve.gain_per_100 is None:
            lines.append("too few test images to tell what more training images would add")
        else:
            lines.append(f"100 more training images would likely add {_points(100 * curve.gain_per_100)}")
    decision = report.decision
    if decision is not None:
        lines.append(f"decision: {_verdict(decision)}: {decision.reason}")
        if decision.verdict == "undecided" and not decision.promote:
            lines.append("--accept promotes it all the same")
        lines += [f"renamed: {label} is now {name}" for label, name in decision.renamed.items()]
    lines += _costs(report)
    lines += [f"left out: {label}: {reason}" for label, reason in report.left_out.items()]
    lines += [f"skipped: {one.file}: {one.reason}" for one in report.skipped[:10]]
    if len(report.skipped) > 10:
        lines.append(f"skipped: and {len(report.skipped) - 10} more")
    return [_plain(line) for line in lines]


def _costs(report: TrainingReport) -> list[str]:
    lines = []
    if report.seconds:
        lines.append("seconds: " + ", ".join(f"{stage} {value:.2f}" for stage, value in report.seconds.items()))
    if report.peak_memory_mb is not None:
        lines.append(f"peak memory: {report.peak_memory_mb:.0f} MB")
    if report.performance is not None and (state := set_to(report.performance)):
        lines.append(f"machine: {state}")
    return lines


def _verdict(decision: Decision) -> str:
    if decision.verdict is None:  # an older device
        return "accepted" if decision.promote else "refused"
    if decision.verdict == "undecided":
        return "undecided, accepted all the same" if decision.promote else "undecided"
    return {"promoted": "promote", "refused": "refuse"}[decision.verdict]


def _table(title: str | None, *columns: tuple[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(name for name, _ in columns))
    for name, side in columns:
        table.add_column(name, justify=side)
    return table


def _images(number: int | None, kind: str = "") -> str:
    return f"{_UNKNOWN} {kind}images" if number is None else counted(number, f"{kind}image")


def _points(gain: float) -> str:
    """Write an estimate of percentage points: no more digits than it is good for."""
    return "less than 0.1 points of accuracy" if gain < 0.1 else f"about {gain:.1f} points of accuracy"


def _plain(value: str | int | None) -> Any:
    from rich.text import Text

    return Text(_UNKNOWN if value is None else str(value))


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.1%}"
