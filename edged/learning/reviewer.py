"""The review of labels as a child process of the daemon: `python -m edged.learning.reviewer`.

Imports nothing heavy: the process first steps back behind the daemon, and numpy must find its threads limited.
"""

from __future__ import annotations

from collections.abc import Callable

from edged.jobs.process import serve
from edged.learning.request import REVIEWER, Progress, ReviewOutcome, ReviewRequest


def run(request: ReviewRequest, tell: Callable[[Progress], None]) -> ReviewOutcome:
    """Review the labels."""
    from edged.learning.review import review

    return ReviewOutcome(review(request, tell))


if __name__ == "__main__":
    serve(REVIEWER, run)
