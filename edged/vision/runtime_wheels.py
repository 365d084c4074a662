"""Which LiteRT can be loaded on this machine. Its aarch64 wheels ask for a newer glibc than their tags say.

2.1.0 and earlier need glibc 2.30 there, every later one 2.34 (`tools/check_wheels` reads it from the libraries), so pip
installs on JetPack 4 (glibc 2.27) and 5 (2.31) what the loader refuses. On x86_64 all of them load with 2.27.
"""

from __future__ import annotations

import os
import platform
import re

_PACKAGE = "ai-edge-litert"
_NEWEST_GLIBC = (2, 34)
_OLDEST_GLIBC = (2, 30)


def glibc() -> tuple[int, int] | None:
    """Return this machine's version of glibc, or None where there is another C library."""
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", text)
    return None if match is None else (int(match[1]), int(match[2]))


def litert_requirement() -> str | None:
    """Return what pip has to be asked for to get a LiteRT that loads here; None: there is none."""
    version = glibc()
    if platform.machine() != "aarch64" or version is None or version >= _NEWEST_GLIBC:
        return _PACKAGE
    return f"{_PACKAGE}<2.1.1" if version >= _OLDEST_GLIBC else None


def how_to_get(package: str) -> str:
    """Return what to do where the package of a runtime is missing or cannot be loaded."""
    requirement = litert_requirement() if package == _PACKAGE else package
    if requirement is None:
        return f"no {_PACKAGE} can be loaded with {_c_library()}: pip install 'tflite-runtime==2.13.*'"
    return f"pip install {_quoted(requirement)}"


def better_runtime(error: str | None) -> str | None:
    """Return what to do where tflite_runtime answers because LiteRT did not import; None: nothing.

    Args:
        error: Why it did not; None: it is not installed.
    """
    requirement = litert_requirement()
    if requirement is None:
        installed = f"no {_PACKAGE} can be loaded with {_c_library()}: pip uninstall {_PACKAGE}"
        return None if error is None else installed
    if error is None or requirement != _PACKAGE:
        return f"pip install --upgrade {_quoted(requirement)}"
    return f"{_PACKAGE} does not load: {error}"


def _c_library() -> str:
    version = glibc()
    return "this C library" if version is None else f"glibc {version[0]}.{version[1]}"


def _quoted(requirement: str) -> str:
    return f"'{requirement}'" if "<" in requirement else requirement
