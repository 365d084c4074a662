"""A profile for people: what `edged profile` and `edgectl profile` print on a terminal of 80 columns or more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edged.contract.reports import NotMeasured
from edged.terminal.performance import set_to
from edged.terminal.text import count, precise_milliseconds, shape, short_name, short_op

if TYPE_CHECKING:
    from edged.contract.reports import (
        BatchTiming,
        ComparedModel,
        EndToEnd,
        GpuTimes,
        Layer,
        LayersSum,
        Machine,
        NoGpu,
        ProfileReport,
        Timing,
    )

_BAR = 10
_WIDE = 112
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_profile(console: Console, report: ProfileReport, *, top: int = 20) -> None:
    """Print every part that a report has.

    Args:
        console: Where to print.
        report: Text in it is shown as it is.
        top: Layers to show, the slowest; 0: all.
    """
    for part in _parts(report, top, console.width):
        console.print(part)


def print_comparison(console: Console, rows: Sequence[ComparedModel], machine: Machine) -> None:
    """Print one row per model; the best of each column is bold."""
    judged = any(row.accuracy is not None for row in rows)
    powered = any(row.energy_mj is not None for row in rows)
    table = _table(
        *("model", "top-1" if judged else "", "top-5" if judged else "", "ms", "CPU", *(["mJ"] if powered else [])),
        *("MB", "MACs", "params", "%/ms"),
    )
    most_accurate = max((row.accuracy for row in rows if row.accuracy is not None), default=None)
    best_rate = max((row.accuracy_per_ms for row in rows if row.accuracy_per_ms is not None), default=None)
    least = min((row.energy_mj for row in rows if row.energy_mj is not None), default=None)
    fastest, smallest = min((row.ms for row in rows), default=None), min((row.mb for row in rows), default=None)

    def cell(value: float | None, best: float | None, text: str) -> Text:
        return Text("" if value is None else text, style="bold green" if value is not None and value == best else "")

    for row in rows:
        table.add_row(
            _fitted(row.name, 19 if powered else 26),  # 80 columns in all
            cell(row.accuracy, most_accurate, f"{row.accuracy or 0:.1%}"),
            "" if row.top5 is None else f"{row.top5:.1%}",
            cell(row.ms, fastest, precise_milliseconds(row.ms)),
            precise_milliseconds(row.cpu_ms),
            *([cell(row.energy_mj, least, f"{row.energy_mj or 0:.1f}")] if powered else []),
            cell(row.mb, smallest, f"{row.mb:.1f}"),
            count(row.macs),
            count(row.params),
            cell(row.accuracy_per_ms, best_rate, f"{100 * (row.accuracy_per_ms or 0):.1f}"),
        )
    console.print(table)
    console.print(_on(machine))
    if not powered:
        console.print(Text("energy: this machine has no power sensor that can be read", style="dim"))
    for note in dict.fromkeys(row.note for row in rows if row.note):
        console.print(Text(note, style="dim"))


def explained_text(whole: LayersSum) -> str:
    """Return which part of the whole's time the layers explain, and between what the single rounds lie."""
    if whole.explained is None:
        return "– explained"
    if whole.explained_range is None:
        return f"{whole.explained:.1%} explained"
    low, high = whole.explained_range
    return f"{whole.explained:.1%} explained, {low:.1%} to {high:.1%} in single rounds"


def _on(machine: Machine) -> Text:
    """Say what it was measured on, and what that was set to, as far as it tells."""
    state = set_to(machine)
    return Text(
        f"on {machine.processor}, {machine.threads} threads, load {machine.load}" + (f", {state}" if state else ""),
        style="dim",
    )


def _parts(report: ProfileReport, top: int, width: int) -> Iterator[RenderableType]:
    model, machine = report.model, report.machine
    height, columns, _ = model.input
    yield Text.assemble(
        (model.name, "bold"),
        f"  {columns}×{height} {model.dtype}, {model.operators} layers, {count(model.params)} parameters, "
        f"{count(model.macs)} MACs, {model.mb:.1f} MB",
    )
    yield _on(machine)
    if report.layers and report.layers_sum is not None:
        yield from _layers(report.layers, report.layers_sum, top, width)
    if report.end_to_end is not None:
        yield from _end_to_end(report.end_to_end)
    for entries, title, heading in (
        (report.online, "online, one image after another", "images"),
        (report.threads, "threads", "threads"),
        (report.runtimes, "runtimes side by side", "runtime"),
    ):
        if entries is not None:
            yield Text(f"\n{title}", style="bold")
            yield _times(entries, heading)
            yield from _errors(entries)
    if report.batch is not None:
        yield Text("\nbatches", style="bold")
        yield _batches(report.batch)
        yield from _errors(report.batch)
    if report.gpu is not None:
        yield Text("\nGPU", style="bold")
        yield Text(_gpu(report.gpu))


def _gpu(gpu: GpuTimes | NoGpu) -> str:
    return f"{gpu.mean_ms:.2f} ms per image, p95 {gpu.p95_ms:.2f} ms" if gpu.available else gpu.error


def _layers(layers: Sequence[Layer], whole: LayersSum, top: int, width: int) -> Iterator[RenderableType]:
    wide, most = width >= _WIDE, max(layer.share for layer in layers) or 1.0
    by_share = sorted(range(len(layers)), key=lambda place: -layers[place].share)
    shown = set(by_share[:top] if top else by_share)
    table = _table("#", "type", *(["layer"] if wide else []), "input", "output", "params", "MACs", "ms", "share", "")
    for place in sorted(shown):
        layer = layers[place]
        table.add_row(
            Text(f"▶{place}" if layer.slowest else str(place)),
            short_op(layer.op),
            *([_fitted(short_name(layer.name), 34)] if wide else []),
            shape(layer.input_shape),
            shape(layer.output_shape),
            count(layer.params) if layer.params else "",
            count(layer.macs) if layer.macs else "",
            precise_milliseconds(layer.ms),
            _share(layer.share),
            Text(_bar(layer.share / most), style="red" if layer.slowest else "cyan"),
            style="bold" if layer.slowest else "",
        )
    yield Text(
        "\nlayers" + (f", the {len(shown)} slowest of {len(layers)}" if len(shown) < len(layers) else ""), "bold"
    )
    yield table
    if rest := [layer for place, layer in enumerate(layers) if place not in shown]:
        share = sum(layer.share for layer in rest)
        yield Text(f"{len(rest)} more take {share:.1%}; --top 0 shows them", style="dim")
    yield _operators(layers)
    yield Text(
        f"the layers' sum is {whole.sum_ms:.2f} ms, the whole takes {whole.whole_ms:.2f} ms: "
        f"{explained_text(whole)} ({whole.runtime}, 1 thread, {whole.rounds} rounds)"
        + ("" if whole.exact else "; the chain of layers gives other scores than the whole"),
        style="dim",
    )


def _operators(layers: Sequence[Layer]) -> Table:
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
    for layer in layers:
        entry = sums[layer.op]
        for place, value in enumerate((1, layer.macs, layer.ms, layer.share)):
            entry[place] += value
    table = _table("type", "layers", "MACs", "ms", "share", "GMAC/s", "")
    for op, (number, macs, ms, share) in sorted(sums.items(), key=lambda item: -item[1][2]):
        table.add_row(
            op,
            f"{number:.0f}",
            count(macs) if macs else "",
            precise_milliseconds(ms),
            _share(share),
            f"{macs / ms / 1e6:.1f}" if macs and ms else "",
            Text(_bar(share, 20), style="cyan"),
        )
    return table


def _end_to_end(entry: EndToEnd | NotMeasured) -> Iterator[RenderableType]:
    yield Text("\none inference end to end", style="bold")
    if isinstance(entry, NotMeasured):
        yield Text(entry.error, style="yellow")
        return
    table = _table("step", "ms", "")
    for step, ms in (
        ("capture", entry.capture_ms),
        ("preprocess", entry.preprocess_ms),
        ("invoke", entry.invoke_ms),
        ("publish", entry.publish_ms),
    ):
        if ms is not None:
            table.add_row(step, precise_milliseconds(ms), Text(_bar(ms / (entry.total_ms or 1.0), 30), style="cyan"))
    table.add_row(Text("total", style="bold"), Text(precise_milliseconds(entry.total_ms), style="bold"), "")
    yield table
    yield Text(f"medians of {entry.frames} frames" + (f"; {entry.note}" if entry.note else ""), style="dim")


def _times(entries: Mapping[str, Timing | NotMeasured], heading: str) -> Table:
    table = _table(heading, "measured", "total ms", "mean", "p50", "p95", "p99", "CPU", "images/s")
    for name, entry in entries.items():
        if isinstance(entry, NotMeasured):
            table.add_row(name, Text("–"), *[""] * 6, "")
            continue
        version = f" {entry.version}" if heading == "runtime" and entry.version else ""
        table.add_row(
            name + version,
            str(entry.images),
            f"{entry.total_ms:.0f}",
            *(
                precise_milliseconds(ms)
                for ms in (entry.mean_ms, entry.p50_ms, entry.p95_ms, entry.p99_ms, entry.cpu_ms)
            ),
            f"{1e3 / entry.mean_ms:.1f}" if entry.mean_ms else "",
        )
    return table


def _batches(entries: Mapping[str, BatchTiming | NotMeasured]) -> Table:
    rates = [entry.images_per_s for entry in entries.values() if not isinstance(entry, NotMeasured)]
    most = max(rates, default=0.0) or 1.0
    table = _table("batch", "measured", "ms", "CPU/image", "images/s", "peak MB", "")
    for size, entry in entries.items():
        if isinstance(entry, NotMeasured):
            table.add_row(size, "–", *[""] * 5)
            continue
        table.add_row(
            size,
            str(entry.images),
            precise_milliseconds(entry.batch_ms),
            precise_milliseconds(entry.cpu_ms),
            f"{entry.images_per_s:.1f}",
            f"{entry.peak_mb:.0f}",
            Text(_bar(entry.images_per_s / most, 20), style="cyan"),
        )
    return table


def _errors(entries: Mapping[str, Timing | BatchTiming | NotMeasured]) -> Iterator[Text]:
    for error in dict.fromkeys(entry.error for entry in entries.values() if isinstance(entry, NotMeasured)):
        yield Text(error, style="yellow")


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1, 0, 0))
    for heading in headings:
        left = heading in ("type", "layer", "model", "step", "runtime", "")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    return table


def _bar(fraction: float, width: int = _BAR) -> str:
    eighths = round(width * 8 * min(max(fraction, 0.0), 1.0))
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _share(share: float) -> str:
    """Write a share; what rounds to nothing is not nothing."""
    return "<0.1%" if 0 < share < 0.0005 else f"{share:.1%}"


def _fitted(name: str, width: int) -> str:
    """Keep the end of a long name: that is where TensorFlow's scopes differ."""
    return name if len(name) <= width else "…" + name[1 - width :]
