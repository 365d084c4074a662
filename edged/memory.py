"""Keeps a long-running process small: settings of the C library's allocator and of numpy's."""

from __future__ import annotations

import ctypes
import os

_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_FRAME_BYTES = 64 * 1024
"""Larger than any message, smaller than any frame."""


def use_little_memory() -> None:
    """Give frames back to the system as soon as they are done with, and let all threads share one heap.

    By default each thread gets a heap of its own, which keeps the largest frame that ever passed through it; and numpy
    makes buffers for a BLAS thread per core, although the daemon multiplies nothing large. Call before numpy is
    imported; without glibc this does nothing.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _FRAME_BYTES)
