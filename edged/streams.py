"""Standard streams as a shell may hand them over: closed, full, or in a terminal that knows only ASCII."""

from __future__ import annotations

import io
import os
import sys


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


def discard_output() -> None:
    """Keep the interpreter from writing what is left in standard output's buffer when it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
