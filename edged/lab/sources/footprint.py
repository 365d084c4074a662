"""What running a network costs on this device: time a frame and memory, measured in a process of its own.

`measure` starts it, `python -m edged.lab.sources.footprint` is it. A process of its own because memory that one network
has given back is there for the next one, which would then seem to need none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.errors import ChildError, ChildTimeoutError, ModelError
from edged.jobs.process import Child, ChildProcess, serve
from edged.memory import peak_mb

if TYPE_CHECKING:
    from edged.learning import Limits
    from edged.store import Bundle
    from edged.vision.network import Runtime

_TIMEOUT_S = 120.0
_WARM, _LEAST, _MOST = 2, 5, 30
"""Invocations that do not count, and how many at least and at most do."""
_SECONDS = 1.0
"""After so long no invocation begins, where `_LEAST` were measured."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """What is measured.

    Attributes:
        bundle: Folder of the bundle.
        runtime: Which interpreter.
        threads: For one invocation.
    """

    bundle: Path
    runtime: str
    threads: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a network costs.

    Attributes:
        frame_ms: Time of one invocation: the shortest of some, since other work on the device only makes them longer.
        memory_mb: How much the resident memory of a process that has loaded edged's own code grows at most while it
            loads the runtime, opens the network and invokes it, 10^6 bytes.
    """

    frame_ms: float
    memory_mb: float

    def excess(self, limits: Limits) -> str | None:
        """Return by what the network is over the limits, in words; None where it is within."""
        over = []
        if limits.within_ms is not None and self.frame_ms > limits.within_ms:
            over.append(f"takes {self.frame_ms:.1f} ms a frame, more than {limits.within_ms:g}")
        if limits.memory_mb is not None and self.memory_mb > limits.memory_mb:
            over.append(f"takes {self.memory_mb:.0f} MB, more than {limits.memory_mb:g}")
        return "; ".join(over) or None


_WEIGHER: Child[Weighing, dict[str, Any], Footprint] = Child(
    "edged.lab.sources.footprint", "weighing process", Weighing, dict, Footprint, niceness=0, keeps_errors=True
)


def measure(bundle: Bundle, *, runtime: Runtime, threads: int) -> Footprint:
    """Measure what a network costs.

    Args:
        bundle: The bundle whose network is run.
        runtime: Which interpreter.
        threads: For one invocation.

    Raises:
        ModelError: It cannot be run.
    """
    try:
        with ChildProcess(_WEIGHER, Weighing(bundle.path, runtime, threads), timeout_s=_TIMEOUT_S) as process:
            return process.wait()
    except (ChildError, ChildTimeoutError) as error:
        raise ModelError(f"{bundle.name}: what it costs cannot be measured: {error}") from error


def _weigh(request: Weighing, _tell: Callable[[dict[str, Any]], None]) -> Footprint:
    import numpy as np

    from edged.store import read_bundle
    from edged.vision.flatbuffer import schema
    from edged.vision.network import Network

    bundle = read_bundle(request.bundle)
    schema()  # edged's own code, which Python compiles anew, in 50 MB, where it may keep no bytecode
    _forget_peak()
    before = peak_mb()
    network = Network(  # as the daemon opens it
        bundle.read_model(),
        runtime=request.runtime,
        threads=request.threads,
        crop=bundle.manifest.input.crop,
        outputs=bundle.manifest.outputs,
    )
    frame = np.zeros((network.height, network.width, 3), np.uint8)  # quantized kernels take as long for any picture
    for _ in range(_WARM):
        network.invoke(frame)
    times: list[float] = []
    ends = time.monotonic() + _SECONDS
    while len(times) < _LEAST or (len(times) < _MOST and time.monotonic() < ends):
        times.append(network.invoke(frame).invoke_ms)
    return Footprint(round(min(times), 3), round(peak_mb() - before, 1))


def _forget_peak() -> None:
    """Let the peak begin again at what is resident now, where the kernel can do that (clear_refs in proc(5))."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


if __name__ == "__main__":
    serve(_WEIGHER, _weigh)
