"""The judge of a model that was made elsewhere, as a child process: `python -m edged.learning.judge`.

Imports nothing heavy: the process first steps back behind the daemon, and numpy must find its threads limited.
"""

from __future__ import annotations

from collections.abc import Callable

from edged.contract.reports import Judgement
from edged.jobs.process import serve
from edged.learning.request import JUDGE, JudgeRequest, Progress


def run(request: JudgeRequest, tell: Callable[[Progress], None]) -> Judgement:
    """Judge it."""
    from edged.learning.offer import judge

    return judge(request, tell)


if __name__ == "__main__":
    serve(JUDGE, run)
