"""`tools/bench fuzz`: what can be sent to a device by mistake, or by somebody who means harm, and what comes of it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks import fuzz_commands, fuzz_guided, fuzz_images, fuzz_models

COUNTS = {"models": 5000, "commands": 1_000_000, "images": 100_000}
"""What is sent → how many by default."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tools/bench fuzz`."""
    parser.add_argument("what", choices=list(COUNTS))
    told = ", ".join(f"{count:,} {what}" for what, count in COUNTS.items())
    parser.add_argument("--count", type=int, metavar="N", help=f"how many ({told})")
    parser.add_argument("--seed", type=int, default=1, help="others with another one (1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes beside the daemon")
    parser.add_argument("--seconds", type=float, default=7200.0, help="how long models are pushed to the daemon (7200)")
    parser.add_argument(
        "--daemons", type=int, default=fuzz_models.DAEMONS, help="daemons that models are pushed to (2)"
    )
    parser.add_argument(
        "--guided", type=float, metavar="SECONDS", help="at the door alone, by what reaches more of the code: atheris"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the numbers there, beside those of the others")
    parser.add_argument("--more", action="store_true", help="add models of another --seed to those in FILE")


def measure(
    what: str,
    *,
    count: int | None,
    seed: int,
    workers: int,
    seconds: float,
    daemons: int,
    guided: float | None = None,
) -> dict[str, Any]:
    """Return the numbers, by what was sent; those of `--guided` beside each other under that name.

    Ends with exit code 2 where this machine cannot do it.
    """
    if guided is not None:
        if (why := fuzz_guided.missing()) is not None:
            print(f"tools/bench fuzz: {why}", file=sys.stderr)
            sys.exit(2)
        return {"guided": {what: fuzz_guided.measure(what, seconds=guided, seed=seed)}}
    number = COUNTS[what] if count is None else count
    if what == "models":
        return {what: fuzz_models.measure(count=number, seed=seed, workers=workers, seconds=seconds, daemons=daemons)}
    module = fuzz_commands if what == "commands" else fuzz_images
    return {what: module.measure(count=number, seed=seed, workers=workers)}


def add_to(file: Path, numbers: Mapping[str, Any], *, more: bool = False) -> None:
    """Put numbers into a file, in place of older ones of the same.

    Args:
        file: Which.
        numbers: What was sent → numbers.
        more: Add those of models to the older ones, which were made of other seeds.

    Raises:
        ValueError: The older ones are of the same seed: nothing would be added.
    """
    older = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if more and "models" in older and "models" in numbers:
        numbers = {**numbers, "models": fuzz_models.together(older["models"], numbers["models"])}
    if "guided" in numbers:
        numbers = {**numbers, "guided": {**older.get("guided", {}), **numbers["guided"]}}
    text = json.dumps({**older, **numbers}, indent=1, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def check_seed(file: Path, seed: int) -> None:
    """End where a file holds models of this seed already, before hours are spent on more of the same."""
    older = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if seed in fuzz_models.seeds(older.get("models", {})):
        sys.exit(f"tools/bench fuzz: {file} has models of seed {seed} already; --more needs another --seed")


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of README: what was sent, how many, what came of it, and what a daemon did meanwhile."""
    if numbers.keys() == {"guided"}:
        return
    yield "| sent | at the door | of these taken | to a running daemon | longest gap between its results | its end |"
    yield "|---|---|---|---|---|---|"
    rows = (("models", _models), ("commands", _commands), ("images", _images))
    for what, row in rows:
        if what in numbers:
            yield "| " + " | ".join((what, *row(numbers[what]))) + " |"


def _models(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    ends = numbers["opened"]["ends"]
    opened = sum(count for end, count in ends.items() if end != "not written")
    killed = opened - ends.get("accepted", 0) - ends.get("refused", 0)
    pushed = numbers["pushed"]
    gap, end = _device(pushed)
    each = fuzz_models.runs(numbers)
    if len(each) > 1:
        gap += "; " + ", ".join(f"{one['gap_ts_s']:.2f} s in the run of {one['count']:,}" for one in each)
    return (
        f"{opened:,} opened, {killed:,} ended their process",
        f"{ends.get('accepted', 0):,}",
        f"{pushed['count']:,}, {sum(pushed['uses'].values()):,} of them used",
        gap,
        end,
    )


def _commands(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    judged = f"{numbers['payloads']:,}; {len(numbers['wrong'])} errors"
    live = numbers["live"]
    return judged, f"{numbers['accepted']:,}", f"{live['sent']:,}", *_device(live)


def _images(numbers: Mapping[str, Any]) -> tuple[str, ...]:
    judged = f"{numbers['images']:,}; {len(numbers['ended'])} ended their process, {len(numbers['wrong'])} errors"
    live = numbers["live"]
    return judged, f"{numbers['decoded']:,}", f"{live['sent']:,}", *_device(live)


def _device(seen: Mapping[str, Any]) -> tuple[str, str]:
    if seen["lost"]:
        return "?", f"lost: {seen['lost']}"
    start, end, peak = seen["memory_mb"]
    told = "none" if seen["exit_code"] == 0 else f"exit code {seen['exit_code']}"
    return (
        f"{seen['gap_ts_s']:.2f} s (the machine's own: {seen['stall_s']:.2f} s)",
        f"{told}; {seen['restarts']} restarts, {seen['tracebacks']} tracebacks, {start} → {end} MB (peak {peak})",
    )


def sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what README says below the table."""
    if "commands" in numbers:
        hostile = numbers["commands"]["hostile"]
        slow = max(hostile, key=lambda what: hostile[what]["seconds"])
        large = max(hostile, key=lambda what: hostile[what]["peak_mb"])
        yield (
            f"The dearest payload made by hand takes {hostile[slow]['seconds']:.1f} s of a processor core ({slow}), "
            f"the largest {hostile[large]['peak_mb']:.0f} MB ({large}, {hostile[large]['bytes'] / 1e6:.0f} MB as sent)."
        )
    if "images" in numbers:
        images = numbers["images"]
        yield f"The dearest picture takes {images['slowest_s']:.1f} s, the largest {images['memory_mb']} MB."
    guided = numbers.get("guided", {})
    told = [
        f"{what}: {one['executions']:,} in {one['seconds'] / 60:.0f} minutes, {one['edges_at_first']} → {one['edges']} "
        f"branches, {len(one['found'])} found"
        for what, one in sorted(guided.items())
    ]
    if told:
        yield (
            "Guided by what reaches more of the code (`--guided SECONDS`, atheris), at the door alone, beginning with "
            f"some inputs of the runs above: {'; '.join(told)}. Branches are those of Python; what pydantic does in "
            "Rust is not counted."
        )
    yield from (f"**{what}**: {line}" for what, one in sorted(guided.items()) for line in one["wrong"])
