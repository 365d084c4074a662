"""A fleet: simulated devices in a few processes, and what these tell of themselves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENDING_S = 60.0
EACH = 50
"""Devices that share a process: more would wait for each other's turn in Python."""


@dataclass(frozen=True)
class Told:
    """What all devices together told last.

    Attributes:
        connected: How many the broker has let in.
        results: Handed to their links so far.
        backlog: Messages that the broker has not acknowledged.
        late_s: By how much a result was handed over too late, at most, in the last second.
        cpu_s: Processor time so far.
        memory_bytes: Resident, beyond a process without devices.
    """

    connected: int
    results: int
    backlog: int
    late_s: float
    cpu_s: float
    memory_bytes: int


def folder_for_state() -> str | None:
    """Where the devices' disks are: in memory, where there is such a place, since each has one of its own in truth."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() and os.access(memory, os.W_OK) else None


class Fleet:
    """Devices `sim-0000` and so on, running until the `with` block ends.

    Args:
        count: How many.
        urls: Of the broker.
        folder: Gets their state.
        rate: Results of each a second.
        telemetry_s: Seconds between telemetry.
    """

    def __init__(
        self,
        count: int,
        urls: Sequence[str],
        folder: Path,
        *,
        rate: float = 1.0,
        telemetry_s: float = 5.0,
    ) -> None:
        self.names = [f"sim-{number:04}" for number in range(count)]
        share = -(-count // EACH)
        self._requests = [
            {
                "names": self.names[at::share],
                "url": list(urls),
                "folder": str(folder),
                "rate": rate,
                "telemetry_s": telemetry_s,
            }
            for at in range(share)
        ]
        self._told: dict[int, dict[str, Any]] = {}
        self._processes: list[subprocess.Popen[str]] = []
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> Fleet:
        """Start them."""
        try:
            self._start()
        except BaseException:  # Ctrl-C, say: then nobody else ends those that run
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        for at, request in enumerate(self._requests):
            process = subprocess.Popen(
                [sys.executable, "-m", "simulation.crowd"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for us: we end them
            )
            self._processes.append(process)
            assert process.stdin is not None
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            self._readers.append(threading.Thread(target=self._read, args=(at, process), daemon=True))
            self._readers[-1].start()

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in self._readers:
            reader.join()
        for process in self._processes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.stdout.close()

    def told(self) -> Told:
        """Return what they told last."""
        each = list(self._told.values())

        def total(key: str) -> Any:
            return sum(one[key] for one in each)

        return Told(
            connected=total("connected"),
            results=total("results"),
            backlog=total("backlog"),
            late_s=max((one["late_s"] for one in each), default=0.0),
            cpu_s=total("cpu_s"),
            memory_bytes=total("memory_bytes"),
        )

    @property
    def alive(self) -> bool:
        """Whether no process of it has ended."""
        return all(process.poll() is None for process in self._processes)

    def _read(self, at: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._told[at] = json.loads(line)
