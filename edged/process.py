"""What a process does to itself: its standard streams, memory, priority, threads, and whether it outlives its parent.

Cheap to import: edgectl does, and a child process before all else.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import BinaryIO

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


# -- standard streams, which a shell may hand over closed, full, or in a terminal that knows only ASCII ----------------


def open_standard_streams() -> None:
    """Make the standard streams fit to print on.

    A closed one (`>&-`) becomes the null device: the next file that is opened would take its place, and get what is
    printed. Where the encoding lacks a character, `?` is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding.lower() not in ("utf-8", "utf8"):
        sys.stdout.reconfigure(errors="replace")  # standard error escapes such characters by itself


def discard_output(*, errors: bool = False) -> None:
    """Keep the interpreter from writing what is left in standard output's buffer when it ends.

    Args:
        errors: In that of standard error too: the terminal has gone.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2) if errors else (1,):
        os.dup2(null, stream)
    os.close(null)


def file_in_memory(name: str) -> BinaryIO:
    """Return an empty file that no folder holds, so that nothing is left behind even by a process that is killed.

    `tempfile` is no substitute: at its first use it tries out the folder for temporary files with a file that has a
    name.

    Args:
        name: Shown in /proc for debugging; need not be unique.

    Raises:
        OSError: Too many open files, or no memory.
    """
    return open(os.memfd_create(name), "w+b")  # noqa: PTH123 - a descriptor, not a path


def take_output() -> BinaryIO:
    """Return standard output for the caller alone; what libraries print from now on goes to standard error.

    Processes that this one starts do not inherit it, so its reader sees the end when this process ends.
    """
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


# -- memory, threads, priority -----------------------------------------------------------------------------------------


def keep_frame_memory() -> None:
    """Let memory of frames that are done with serve the next frames, in one heap for all threads.

    By chance of start-up glibc may otherwise return each frame's pages to the kernel and fault them in again, some 50
    faults a frame, each stopping the network's thread too. Without glibc this does nothing.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)  # the most that it takes
        mallopt(_M_TRIM_THRESHOLD, 256 * 1024 * 1024)


def limit_memory(more: int) -> None:
    """Let this process map at most so many bytes more than it has; beyond that, allocations fail."""
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 - pathlib is not cheap to import
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more if hard < 0 else min(mapped + more, hard), hard))


def limit_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let a BLAS call use one thread: batches are small, and a pool that spins takes turns with the live network.

    Has an effect only on a process that has not imported numpy yet. What is set already stays.

    Args:
        environment: Of this process, or of one to be started.
    """
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    environment.setdefault("OMP_NUM_THREADS", "1")


def step_back(niceness: int) -> None:
    """Let other processes go first. What the system does not allow is left alone.

    Args:
        niceness: Added to this process's; with more than 0 it no longer preempts others when it wakes up, either.
    """
    if niceness > 0:
        with contextlib.suppress(OSError):
            os.nice(niceness)
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def sacrifice(pid: int) -> None:
    """Let the kernel end a child, before any other process, when memory runs out.

    Its parent says so, at once: before the child can, it has loaded Python. And it says 1000, since a point is a
    thousandth of the memory that there is, and of a control group's limit where that is what runs out: with less, a
    small child beside a large parent under a low limit would survive it.
    """
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123 - as above
        file.write("1000")


def favour_main_thread() -> None:
    """Let the main thread, which runs the network, wait for no other: for a process that has started all its threads.

    The interpreter's lock is handed over after 0.1 ms and not 5 ms, which is as long as an invocation takes. Other
    threads become SCHED_BATCH, the kernel's ordinary policy less the privilege to preempt when they wake up (sched(7));
    threads that are started later inherit it.
    """
    import threading

    sys.setswitchinterval(0.0001)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and thread.native_id is not None:
            with contextlib.suppress(OSError):  # it may have ended; some sandboxes forbid it
                os.sched_setscheduler(thread.native_id, os.SCHED_BATCH, os.sched_param(0))


# -- the parent --------------------------------------------------------------------------------------------------------


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the *thread* that started this process ends, by whatever; leave if it has ended.

    Args:
        parent: Id of the process that started this one.
    """
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the kernel heard of our wish
        sys.exit(1)
