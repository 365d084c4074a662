"""What a device shares of its images, gathered in a child process: `python -m edged.learning.sharer`.

Imports nothing heavy: the process first steps back behind the daemon, and numpy must find its threads limited.
"""

from __future__ import annotations

from collections.abc import Callable

from edged.contract.reports import Bottlenecks
from edged.jobs.process import serve
from edged.learning.request import SHARER, Progress, SharingRequest


def run(request: SharingRequest, tell: Callable[[Progress], None]) -> Bottlenecks:
    """Gather it."""
    from edged.learning.sharing import share

    return share(request, tell)


if __name__ == "__main__":
    serve(SHARER, run)
