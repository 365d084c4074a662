"""The comparison of a model with the one that answers, as a child process: `python -m edged.learning.comparer`.

Imports nothing heavy: the process first steps back behind the daemon, and numpy must find its threads limited.
"""

from __future__ import annotations

from collections.abc import Callable

from edged.contract.reports import SideBySide
from edged.jobs.process import serve
from edged.learning.request import COMPARER, ComparisonRequest, Progress


def run(request: ComparisonRequest, tell: Callable[[Progress], None]) -> SideBySide:
    """Compare it."""
    from edged.learning.side_by_side import compare

    return compare(request, tell)


if __name__ == "__main__":
    serve(COMPARER, run)
