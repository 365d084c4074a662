"""Where a model's time goes: layer by layer, end to end, in batches, on threads; and models side by side.

`profiler` makes the report, from `layers` (`cutting`, `costs`), `endtoend` and `tasks` that run in processes of their
own (`children` starts them, `worker` is such a process, `runtimes` the interpreters in it); `job` is a whole profile as
a process, for the daemon. `comparison` puts models in one table. The report's form is `contract.reports`, its tables
for people are `terminal.profile`.

What is handed out here is imported when it is asked for: a worker imports this package too, and weighs what it loads.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edged.lab.profiling.comparison import Candidate, compare
    from edged.lab.profiling.layers import draw_layers
    from edged.lab.profiling.profiler import describe_machine, profile

__all__ = ["Candidate", "compare", "describe_machine", "draw_layers", "profile"]

_MODULES = {
    "Candidate": "comparison",
    "compare": "comparison",
    "describe_machine": "profiler",
    "draw_layers": "layers",
    "profile": "profiler",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
