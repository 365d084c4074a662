"""What faults cost: a real daemon and a real Mosquitto, one fault after another, and a consumer that counts.

A consumer knows a result by (camera, boot, seq). What was produced is read from the daemon's log; `fault_bed` says how,
and what could fool it. For each fault:

* *lost*: produced, and never arrived; *in flight*: the same, within half a second of a SIGKILL, which is no loss.
* *twice*: arrivals of what had arrived before. MQTT's QoS 1 may deliver again what was not acknowledged, so some are
  in order where a connection ended (`Bed.allowed_twice`); a consumer drops them.
* *out of order*: first arrivals after a younger result of the same camera.
* *recovery*: from the end of the fault to the first result that was produced after it and has arrived; for a killed
  daemon from its kill, so with its start.

Not every kernel has netem: the network's faults are made by a TCP proxy (`fault_bed.Proxy`), so a lost packet is only
imitated, by the stall that TCP makes of it. Times are those of a machine that others may use: upper bounds.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fault_bed import Bed, Stuck, bed, count
from benchmarks.fault_table import Fault, chosen


def measure(
    only: list[str],
    *,
    quick: bool,
    soak_minutes: float,
    at_most_s: float = float("inf"),
    keep: Callable[[dict[str, Any]], object] = lambda _: None,
) -> dict[str, Any]:
    """Make the faults one after another, each with a broker, a daemon and a folder of its own.

    Args:
        only: Begins of the names of the faults; none: all.
        quick: The short form.
        soak_minutes: 0: no soak.
        at_most_s: No fault is made once more after so many seconds.
        keep: Called after each fault with the numbers so far.
    """
    rows: list[dict[str, Any]] = []
    numbers = {"cores": os.cpu_count(), "faults": rows}
    with tempfile.TemporaryDirectory(prefix="edged-faults-") as name:
        for fault in chosen(only, quick=quick, soak_minutes=soak_minutes):
            if (why := fault.cannot()) is not None:
                rows.append({"name": fault.name, "title": fault.title, "cannot": why, "wrong": []})
            else:
                rows.append(make(fault, Path(name) / fault.name, at_most_s))
            keep(numbers)
            sys.stderr.write(f"{_row(rows[-1])}\n")
            sys.stderr.writelines(f"  {line}\n" for line in rows[-1]["wrong"])
    return numbers


def make(fault: Fault, folder: Path, at_most_s: float) -> dict[str, Any]:
    """Make one fault and count."""
    began, load = time.monotonic(), os.getloadavg()[0]
    with bed(folder, seed=len(fault.name), at_most_s=at_most_s) as one:
        try:
            fault.make(one, fault.times)
        except Stuck as error:
            one.wrong.append(str(error))
        try:
            one.settle()
        except Stuck as error:
            one.wrong.append(str(error))
        return _told(fault, one, time.monotonic() - began, max(load, os.getloadavg()[0]))


def _told(fault: Fault, one: Bed, seconds: float, load: float) -> dict[str, Any]:
    counted = count(one.devices, one.consumer.results)
    wrong = [*one.wrong, *counted.wrong]
    if counted.lost:
        wrong.append(f"{counted.lost} results are lost")
    if counted.out_of_order:
        wrong.append(f"{counted.out_of_order} results are out of order")
    if counted.twice > one.allowed_twice:
        wrong.append(f"{counted.twice} results came twice, {one.allowed_twice} may have")
    recoveries = sorted(one.recoveries)
    return {
        "name": fault.name,
        "title": fault.title,
        "times": one.times,
        "produced": counted.produced,
        "received": counted.received,
        "lost": counted.lost,
        "in_flight": counted.in_flight,
        "oldest_in_flight_s": counted.oldest_s,
        "twice": counted.twice,
        "allowed_twice": one.allowed_twice,
        "out_of_order": counted.out_of_order,
        "recovery_s": round(statistics.median(recoveries), 3) if recoveries else None,
        "worst_s": round(recoveries[-1], 3) if recoveries else None,
        "wrong": wrong,
        "notes": one.notes,
        "seconds": round(seconds, 1),
        "load": round(load, 1),
    }


def add_to(file: Path, numbers: dict[str, Any]) -> None:
    """Put numbers into a file in place of older ones of the same faults, in the order of the table."""
    older = json.loads(file.read_text(encoding="utf-8"))["faults"] if file.exists() else []
    rows = {row["name"]: row for row in [*older, *numbers["faults"]]}
    order = [fault.name for fault in chosen([], quick=False, soak_minutes=1)]
    known = [rows[name] for name in order if name in rows]
    file.write_text(json.dumps({**numbers, "faults": known}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _row(row: dict[str, Any]) -> str:
    if "cannot" in row:
        return f"| {row['title']} | left out: {row['cannot']} ||||||||"
    recovery = "–" if row["recovery_s"] is None else f"{row['recovery_s']:.1f} ({row['worst_s']:.1f})"
    cells = (
        row["title"],
        row["times"],
        f"{row['produced']:,}",
        f"{row['received']:,}",
        f"**{row['lost']}**" if row["lost"] else 0,
        row["in_flight"],
        row["twice"],
        row["out_of_order"],
        recovery,
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def table(numbers: dict[str, Any]) -> str:
    """What each fault has cost, as Markdown."""
    lines = [
        "| fault | times | produced | received | lost | in flight at a kill | twice | out of order | recovery, s |"
    ]
    lines.append("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    return "\n".join([*lines, *(_row(row) for row in numbers["faults"]), "", *sentences(numbers)])


def sentences(numbers: dict[str, Any]) -> Sequence[str]:
    """What the table does not say."""
    made = [row for row in numbers["faults"] if "cannot" not in row]
    loads = [row["load"] for row in made]
    told = [
        f"Recovery: median and, in brackets, worst. {len(made)} faults, {sum(row['times'] for row in made)} times, "
        f"{sum(row['produced'] for row in made):,} results; {numbers['cores']} cores, on which {min(loads):.0f} to "
        f"{max(loads):.0f} processes were ready to run."
    ]
    told += [f"{row['title']}: {'; '.join(row['notes'])}." for row in made if row["name"] == "soak"]
    told += [f"**{row['title']}**: {line}." for row in made for line in row["wrong"]]
    return told
