"""Snapshots of daemons that do not run, and what Prometheus would see of them."""

from __future__ import annotations

import re
from pathlib import Path

from edged.contract.messages import Job, Result
from edged.metrics import Exposition, JobTally, ModelFacts, ResultTally, Snapshot
from edged.types import Reading

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"


def full() -> Snapshot:
    """A daemon of which everything is known."""
    results, jobs = ResultTally(), JobTally()
    results.add(Result.model_validate_json((GOLDEN / "result.json").read_text()))
    jobs.add(Job(id="a", cmd="retrain", status="succeeded", ts="2026-01-02T00:00:00.000Z"))
    jobs.add(Job(id="b", cmd="profile", status="running"))
    return Snapshot(
        about={"device": "tx2-01", "version": "1", "runtime": "litert", "sensors": "jtop"},
        cameras={"main": True, "door": False},
        counted=results.snapshot(),
        dropped={"main": 3, "door": 0},
        drift={"main": 0.75},
        model=ModelFacts(id="0123456789ab", name="mobilenet_v2", backbone="mobilenet_v2", labels=5, accuracy=0.9),
        reading=Reading(
            power_mw={"VDD_IN": 4321},
            temp_c={"CPU": 51.5, 'a "zone"\\\n': 1.0},
            load={"cpu": 0.25, "gpu": 0.5, "memory": 0.75},
            clock_mhz={"gpu": 1300},
            throttled=False,
        ),
        memory_available=10**9,
        connected=True,
        outbox=2,
        outbox_bytes=1000,
        outbox_limit_bytes=64 * 10**6,
        outbox_dropped=0,
        jobs=jobs.ended,
        running=jobs.running,
        retrained=jobs.retrained,
        alerts={"drift": True},
    )


def bare() -> Snapshot:
    """One that has just started, on a machine without sensors."""
    return Snapshot(
        about={"device": "d"},
        cameras={},
        counted={},
        dropped={},
        model=ModelFacts(id="0123456789ab", name="m", backbone="m", labels=5),
        memory_available=1,
        connected=False,
        outbox=0,
        outbox_bytes=0,
        outbox_limit_bytes=1,
        outbox_dropped=0,
    )


def page(snapshot: Snapshot, accept: str = "") -> str:
    body, content_type = Exposition(lambda: snapshot).encode(accept)
    assert content_type.startswith("application/openmetrics-text; version=1" if accept else "text/plain; version=0.0.4")
    return body.decode()


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def exported() -> set[str]:
    """The names of all series that there may be."""
    return {re.split(r"[{ ]", name)[0] for name in samples(page(full()))}


def metrics_in(expression: str) -> set[str]:
    """The names of edged's metrics in an expression of PromQL."""
    return set(re.findall(r"\b(?:edged|process)_\w+", re.sub(r'"[^"]*"', "", expression)))
