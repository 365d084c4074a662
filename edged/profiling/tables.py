"""A profile for people: tables and bars for a terminal of 80 columns or more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from edged.profiling.numbers import count, milliseconds, shape, short_name, short_op

_BAR = 10
_WIDE = 112
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_profile(console: Console, report: Mapping[str, Any], *, top: int = 20) -> None:
    """Print every part that a report of `profile.profile` has.

    Args:
        console: Where to.
        report: See `profile.profile`.
        top: Layers to show, the slowest; 0: all.
    """
    for part in _parts(report, top, console.width):
        console.print(part)


def print_comparison(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows of `compare.compare`; the best of each column is bold."""
    judged = any(row.get("accuracy") is not None for row in rows)
    table = _table(
        "model", "top-1" if judged else "", "top-5" if judged else "", "ms", "CPU", "MB", "MACs", "params", "%/ms"
    )
    best = {
        key: choose((row[key] for row in rows if row.get(key) is not None), default=None)
        for key, choose in (("accuracy", max), ("ms", min), ("mb", min), ("accuracy_per_ms", max))
    }

    def cell(row: Mapping[str, Any], key: str, text: str) -> Text:
        value = row.get(key)
        return Text(
            "" if value is None else text, style="bold green" if value is not None and value == best[key] else ""
        )

    for row in rows:
        if "error" in row:
            table.add_row(row["name"], Text(row["error"], style="yellow"))
            continue
        accuracy, fifth, rate = row.get("accuracy"), row.get("top5"), row.get("accuracy_per_ms")
        table.add_row(
            _fitted(row["name"], 26),
            cell(row, "accuracy", f"{accuracy or 0:.1%}"),
            "" if fifth is None else f"{fifth:.1%}",
            cell(row, "ms", milliseconds(row["ms"])),
            milliseconds(row["cpu_ms"]),
            cell(row, "mb", f"{row['mb']:.1f}"),
            count(row["macs"]),
            count(row["params"]),
            cell(row, "accuracy_per_ms", f"{100 * (rate or 0):.1f}"),
        )
    console.print(table)
    for note in dict.fromkeys(row["note"] for row in rows if row.get("note")):
        console.print(Text(note, style="dim"))


def _parts(report: Mapping[str, Any], top: int, width: int) -> Iterator[RenderableType]:
    model, machine = report["model"], report["machine"]
    height, columns, _ = model["input"]
    yield Text.assemble(
        (model["name"], "bold"),
        f"  {columns}×{height} {model['dtype']}, {model['operators']} layers, {count(model['params'])} parameters, "
        f"{count(model['macs'])} MACs, {model['mb']:.1f} MB",
    )
    yield Text(f"on {machine['processor']}, {machine['threads']} threads, load {machine['load']}", style="dim")
    if "layers" in report:
        yield from _layers(report["layers"], report["layers_sum"], top, width)
    if "end_to_end" in report:
        yield from _end_to_end(report["end_to_end"])
    for key, title, heading in (
        ("online", "online, one image after another", "images"),
        ("threads", "threads", "threads"),
        ("runtimes", "runtimes side by side", "runtime"),
    ):
        if key in report:
            yield Text(f"\n{title}", style="bold")
            yield _times(report[key], heading)
            yield from _errors(report[key])
    if "batch" in report:
        yield Text("\nbatches", style="bold")
        yield _batches(report["batch"])
        yield from _errors(report["batch"])
    if "gpu" in report:
        gpu = report["gpu"]
        yield Text("\nGPU", style="bold")
        yield Text(gpu["error"] if "error" in gpu else f"{gpu['mean_ms']:.2f} ms per image, p95 {gpu['p95_ms']:.2f} ms")


def _layers(
    layers: Sequence[Mapping[str, Any]], whole: Mapping[str, Any], top: int, width: int
) -> Iterator[RenderableType]:
    wide, most = width >= _WIDE, max(layer["share"] for layer in layers) or 1.0
    by_share = sorted(range(len(layers)), key=lambda place: -layers[place]["share"])
    shown = set(by_share[:top] if top else by_share)
    table = _table("#", "type", *(["layer"] if wide else []), "input", "output", "params", "MACs", "ms", "share", "")
    for place in sorted(shown):
        layer = layers[place]
        bar = _bar(layer["share"] / most)
        table.add_row(
            Text(f"▶{place}" if layer["slowest"] else str(place)),
            short_op(layer["op"]),
            *([_fitted(short_name(layer["name"]), 34)] if wide else []),
            shape(layer["input_shape"]),
            shape(layer["output_shape"]),
            count(layer["params"]) if layer["params"] else "",
            count(layer["macs"]) if layer["macs"] else "",
            milliseconds(layer["ms"]),
            _share(layer["share"]),
            Text(bar, style="red" if layer["slowest"] else "cyan"),
            style="bold" if layer["slowest"] else "",
        )
    yield Text(
        "\nlayers" + (f", the {len(shown)} slowest of {len(layers)}" if len(shown) < len(layers) else ""), "bold"
    )
    yield table
    if rest := [layer for place, layer in enumerate(layers) if place not in shown]:
        share = sum(layer["share"] for layer in rest)
        yield Text(f"{len(rest)} more take {share:.1%}; --top 0 shows them", style="dim")
    yield _operators(layers)
    yield Text(
        f"the layers' sum is {whole['sum_ms']:.2f} ms, the whole takes {whole['whole_ms']:.2f} ms: "
        f"{whole['explained']:.1%} explained ({whole['runtime']}, 1 thread, {whole['rounds']} rounds)"
        + ("" if whole["exact"] else "; the chain of layers gives other scores than the whole"),
        style="dim",
    )


def _operators(layers: Sequence[Mapping[str, Any]]) -> Table:
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0.0, 0.0])
    for layer in layers:
        entry = sums[layer["op"]]
        for place, value in enumerate((1, layer["macs"], layer["ms"], layer["share"])):
            entry[place] += value
    table = _table("type", "layers", "MACs", "ms", "share", "GMAC/s", "")
    for op, (number, macs, ms, share) in sorted(sums.items(), key=lambda item: -item[1][2]):
        table.add_row(
            op,
            f"{number:.0f}",
            count(macs) if macs else "",
            milliseconds(ms),
            _share(share),
            f"{macs / ms / 1e6:.1f}" if macs and ms else "",
            Text(_bar(share, 20), style="cyan"),
        )
    return table


def _end_to_end(entry: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text("\none inference end to end", style="bold")
    if "error" in entry:
        yield Text(entry["error"], style="yellow")
        return
    table = _table("step", "ms", "")
    for step in ("capture", "preprocess", "invoke", "publish"):
        if (ms := entry[f"{step}_ms"]) is not None:
            table.add_row(step, milliseconds(ms), Text(_bar(ms / entry["total_ms"], 30), style="cyan"))
    table.add_row(Text("total", style="bold"), Text(milliseconds(entry["total_ms"]), style="bold"), "")
    yield table
    yield Text(f"medians of {entry['frames']} frames" + (f"; {entry['note']}" if "note" in entry else ""), style="dim")


def _times(entries: Mapping[str, Mapping[str, Any]], heading: str) -> Table:
    table = _table(heading, "measured", "total ms", "mean", "p50", "p95", "p99", "CPU", "images/s")
    for name, entry in entries.items():
        if "error" in entry:
            table.add_row(name, Text("–"), *[""] * 6, "")
            continue
        version = f" {entry['version']}" if heading == "runtime" and entry.get("version") else ""
        table.add_row(
            name + version,
            str(entry["images"]),
            f"{entry['total_ms']:.0f}",
            *(milliseconds(entry[key]) for key in ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "cpu_ms")),
            f"{1e3 / entry['mean_ms']:.1f}",
        )
    return table


def _batches(entries: Mapping[str, Mapping[str, Any]]) -> Table:
    most = max((entry["images_per_s"] for entry in entries.values() if "error" not in entry), default=1.0)
    table = _table("batch", "measured", "ms", "CPU/image", "images/s", "peak MB", "")
    for size, entry in entries.items():
        if "error" in entry:
            table.add_row(size, "–", *[""] * 5)
            continue
        table.add_row(
            size,
            str(entry["images"]),
            milliseconds(entry["batch_ms"]),
            milliseconds(entry["cpu_ms"]),
            f"{entry['images_per_s']:.1f}",
            f"{entry['peak_mb']:.0f}",
            Text(_bar(entry["images_per_s"] / most, 20), style="cyan"),
        )
    return table


def _errors(entries: Mapping[str, Mapping[str, Any]]) -> Iterator[Text]:
    for error in dict.fromkeys(entry["error"] for entry in entries.values() if "error" in entry):
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
