"""Settings of the C library's allocator for a process through which frames flow."""

from __future__ import annotations

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8


def keep_frame_memory() -> None:
    """Let memory of frames that are done with serve the next frames, in one heap for all threads.

    By chance of start-up glibc may otherwise return each frame's pages to the kernel and fault them in again, some 50
    faults a frame, each stopping the network's thread too. Without glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, 32 * 1024 * 1024)  # the most that it takes
        mallopt(_M_TRIM_THRESHOLD, 256 * 1024 * 1024)
