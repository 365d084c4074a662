"""Finding one known file in what was downloaded: the file itself, a tar or a zip. Nothing is unpacked to disk."""

from __future__ import annotations

import hashlib
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from edged.errors import ModelError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


def extract(path: Path, sha256: str, size: int) -> bytes:
    """Return the content of the file with this hash.

    Args:
        path: The file, or a tar (compressed or not) or zip archive that contains it under any name.
        sha256: Hex digits.
        size: Bytes; only members of this size are read, so that no archive can fill the memory.

    Raises:
        ModelError: It is not there, or the archive is damaged.
    """
    seen = 0
    try:
        for content in _candidates(path, size):
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
            seen += 1
    except _DAMAGED as error:
        raise ModelError(f"the archive is cut off or damaged ({' '.join(str(error).split())})") from error
    except OSError as error:  # gzip reports a wrong checksum so
        raise ModelError(f"the archive cannot be read: {error.strerror or error}") from error
    found = "a file of the right size has another sha256" if seen else "no file of the right size"
    raise ModelError(f"does not contain the expected model ({found}; sha256 {sha256[:12]}…, {size} bytes)")


def _candidates(path: Path, size: int) -> Iterator[bytes]:
    if path.stat().st_size == size:
        yield path.read_bytes()
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.isfile() and member.size == size and (file := archive.extractfile(member)) is not None:
                    yield file.read()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as zipped:
            for info in zipped.infolist():
                if info.file_size == size and not info.flag_bits & 1:  # bit 0: encrypted
                    yield zipped.read(info)
