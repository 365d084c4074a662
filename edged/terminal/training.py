"""A training's report as tables for people: what `edged retrain` and `edgectl retrain` print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from edged.plural import counted

if TYPE_CHECKING:  # rich is imported when there is something to show
    from rich.console import RenderableType

_UNKNOWN = "–"
_MOST_CLASSES = 40
_ID_SHOWN = 8
"""Digits of an image's id: `edgectl images` needs no more."""


def describe(stage: str, detail: Mapping[str, Any]) -> str:
    """Tell in a few words what a training does, e.g. "bottlenecks 120 of 3670", "training epoch 3, loss 0.41"."""
    if "of" in detail:
        return f"{stage} {detail.get('done')} of {detail['of']}"
    if "epoch" in detail:
        accuracy = detail.get("validation_accuracy", detail.get("accuracy"))
        shown = f", accuracy {accuracy:.1%}" if isinstance(accuracy, int | float) else ""
        return f"{stage} epoch {detail['epoch']}, loss {detail.get('loss')}{shown}"
    return stage


def report_tables(report: Mapping[str, Any]) -> list[RenderableType]:
    """Return what a person wants to know: accuracy, classes, confusions, doubtful images, time, outlook.

    Args:
        report: `job.report` of a `retrain`; parts that are missing are passed over. Text in it is shown as it is.
    """
    parts: list[RenderableType] = [*_accuracy(report), *_classes(report), *_confused(report), *_worst(report)]
    parts += _lines(report)
    return parts


def _accuracy(report: Mapping[str, Any]) -> list[RenderableType]:
    accuracy = _mapping(report.get("accuracy"))
    decision = _mapping(report.get("decision"))
    if not accuracy:
        return []
    names = {
        "quantized": "the new model, as it runs",
        "float": "its head before quantization",
        "validation": "the new model on the validation images",
        "previous": f"the model before it ({decision.get('against')}), on {_images(decision.get('images'), 'shared ')}",
    }
    table = _table("test accuracy", ("", "left"), ("", "right"))
    for key, text in names.items():
        if accuracy.get(key) is not None:
            table.add_row(text, _percent(accuracy[key]), style="bold" if key == "quantized" else "")
    return [table]


def _classes(report: Mapping[str, Any]) -> list[RenderableType]:
    classes, counts = _mapping(report.get("classes")), _mapping(report.get("counts"))
    if not classes:
        return []
    table = _table(None, ("label", "left"), ("images", "right"), ("tested", "right"), ("precision", "right"),
                   ("recall", "right"))  # fmt: skip
    shown = sorted(classes.items(), key=lambda item: (_mapping(item[1]).get("recall") or 0.0, item[0]))
    for label, one in shown[:_MOST_CLASSES]:
        values = _mapping(one)
        table.add_row(
            _plain(label),
            str(counts.get(label, _UNKNOWN)),
            str(values.get("images", _UNKNOWN)),
            _percent(values.get("precision")),
            _percent(values.get("recall")),
        )
    if len(shown) > _MOST_CLASSES:
        table.caption = f"and {len(shown) - _MOST_CLASSES} labels with a better recall"
    return [table]


def _confused(report: Mapping[str, Any]) -> list[RenderableType]:
    pairs = [_mapping(pair) for pair in report.get("confused") or ()]
    if not pairs:
        return []
    table = _table("most confused", ("label", "left"), ("taken for", "left"), ("times", "right"))
    for pair in pairs[:5]:
        table.add_row(_plain(pair.get("label")), _plain(pair.get("predicted")), str(pair.get("count")))
    return [table]


def _worst(report: Mapping[str, Any]) -> list[RenderableType]:
    images = [_mapping(image) for image in report.get("worst") or ()]
    if not images:
        return []
    table = _table(
        "furthest from their label",
        ("file", "left"),
        ("id", "left"),
        ("label", "left"),
        ("taken for", "left"),
        ("score", "right"),
    )
    for image in images[:5]:
        table.add_row(
            _plain(image.get("file")),
            _plain(str(image.get("id", _UNKNOWN))[:_ID_SHOWN]),
            _plain(image.get("label")),
            _plain(image.get("predicted")),
            f"{_number(image.get('score')):.3f}",
        )
    return [table]


def _lines(report: Mapping[str, Any]) -> list[RenderableType]:
    lines: list[str] = []
    choice = _mapping(report.get("choice"))
    if choice:
        lines.append(f"backbone: {choice.get('chosen')}: {choice.get('reason')}")
    training = _mapping(report.get("training"))
    if training:
        lines.append(
            f"epochs: {training.get('epochs')}, best {training.get('best_epoch')} "
            f"(validation loss {training.get('validation_loss')}); ended by {training.get('stopped')}"
        )
    curve = _mapping(report.get("learning_curve"))
    points = [_mapping(point) for point in curve.get("points") or ()]
    if points:
        steps = ", ".join(f"{_images(point.get('images'))} {_percent(point.get('accuracy'))}" for point in points)
        lines.append(f"learning curve: {steps}")
    if curve.get("gain_per_100") is not None:
        lines.append(f"100 more training images would likely add {_points(100 * _number(curve['gain_per_100']))}")
    decision = _mapping(report.get("decision"))
    if decision:
        lines.append(f"decision: {'accepted' if decision.get('promote') else 'refused'}: {decision.get('reason')}")
    seconds = _mapping(report.get("seconds"))
    if seconds:
        lines.append("seconds: " + ", ".join(f"{stage} {_number(value):.2f}" for stage, value in seconds.items()))
    if report.get("peak_memory_mb") is not None:
        lines.append(f"peak memory: {_number(report['peak_memory_mb']):.0f} MB")
    for label, reason in _mapping(report.get("left_out")).items():
        lines.append(f"left out: {label}: {reason}")
    skipped = [_mapping(one) for one in report.get("skipped") or ()]
    lines += [f"skipped: {one.get('file')}: {one.get('reason')}" for one in skipped[:10]]
    if len(skipped) > 10:
        lines.append(f"skipped: and {len(skipped) - 10} more")
    return [_plain(line) for line in lines]


def _table(title: str | None, *columns: tuple[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE, show_header=any(name for name, _ in columns))
    for name, side in columns:
        table.add_column(name, justify=side)
    return table


def _images(number: Any, kind: str = "") -> str:
    return counted(number, f"{kind}image") if isinstance(number, int) else f"{_UNKNOWN} {kind}images"


def _points(gain: float) -> str:
    """Write an estimate of percentage points: no more digits than it is good for."""
    return "less than 0.1 points of accuracy" if gain < 0.1 else f"about {gain:.1f} points of accuracy"


def _plain(value: Any) -> Any:
    from rich.text import Text

    return Text(_UNKNOWN if value is None else str(value))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _percent(value: Any) -> str:
    return f"{_number(value):.1%}" if isinstance(value, int | float) else _UNKNOWN
