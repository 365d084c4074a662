"""A profile as a process of its own, at low priority: `python -m edged.lab.profiling.job`.

Reads {"parent", "request"} as JSON from standard input; writes a JSON line per step, {"stage", "progress"}, and at the
end one {"report"} or {"error"}.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from edged.errors import EdgedError
from edged.jobs.requests import ProfileRequest
from edged.lab.profiling.worker import die_with

NICENESS = 10
_OOM_SCORE = 500


def main() -> int:
    """Profile one model and tell."""
    given = json.load(sys.stdin)
    die_with(given["parent"])
    _step_back()
    try:
        from edged.lab.profiling.profiler import profile

        report = profile(ProfileRequest.model_validate(given["request"]), _tell)
        answer: dict[str, Any] = {"report": report.to_json()}
    except EdgedError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "the profile has run out of memory"}
    except Exception as error:  # the top of a process
        logging.getLogger(__name__).exception("the profile has failed")
        answer = {"error": f"internal error ({type(error).__name__}); the daemon's log tells more"}
    print(json.dumps(answer), flush=True)
    return 0


def _tell(stage: str, fraction: float) -> None:
    print(json.dumps({"stage": stage, "progress": round(fraction, 4)}), flush=True)


def _step_back() -> None:
    """Let live classification, and everyone else, go first. What the system does not allow is left alone."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is for the daemon, which then ends us


if __name__ == "__main__":
    sys.exit(main())
