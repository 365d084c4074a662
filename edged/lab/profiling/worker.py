"""A process that measures one thing: `python -m edged.lab.profiling.worker`, a JSON request in, a JSON line out."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from edged.errors import EdgedError


def main() -> int:
    """Read {"task", "parent", "memory", …} from standard input; print {"result"} or {"error"} as the last line."""
    request: dict[str, Any] = json.load(sys.stdin)
    die_with(request["parent"])
    # What does not fit ends here, not with the kernel's choice among all processes.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    if request.get("memory"):
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        wanted = mapped + int(request["memory"])
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # pools that only weigh
    try:
        from edged.lab.profiling.tasks import TASKS

        answer: dict[str, Any] = {"result": TASKS[request["task"]](request)}
    except EdgedError as error:
        answer = {"error": str(error)}
    except MemoryError:
        answer = {"error": "", "memory": True}
    except Exception as error:  # noqa: BLE001 - the top of a process; its parent tells the user
        answer = {"error": f"internal error ({type(error).__name__}: {error})"}
    print("\n" + json.dumps(answer), flush=True)
    os._exit(0)  # some runtimes crash while they unload


def die_with(parent: int) -> None:
    """Ask the kernel for SIGKILL when the thread that started us ends, by whatever."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it ended before the kernel heard of our wish
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(main())
