"""Patches in place of whole models: found among the models that this workstation has too, made once for all devices."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from edged import resources
from edged.contract import patch
from edged.contract.model_file import MODEL, ONNX_MODEL, file_in, file_name
from edged.errors import ConfigError

_KEPT = 8
"""So many of the models that were pushed last are kept here: the next head is smallest as a change of the last one."""
_WORTH = 2
"""A patch that is not shorter than this part of the model says that they have little in common."""


class Patches:
    """What makes one model out of others.

    Args:
        model: Content of the file that devices shall get.
        bases: Models that this workstation has: the first 12 hexadecimal digits of the sha256 → file.
        named: Whether the user has named the base.
    """

    def __init__(self, model: bytes, bases: Mapping[str, Path], *, named: bool = False) -> None:
        self.named = named
        self._model, self._bases = model, bases
        self._made: dict[str, bytes | None] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether there is a model here to make a patch from."""
        return bool(self._bases)

    def smallest(self, there: Collection[str]) -> bytes | None:
        """Return the smallest patch for a device; any thread may ask.

        Args:
            there: Ids of the models that the device has.

        Returns:
            None where the whole model is as good.
        """
        with self._lock:
            made = [self._patch(base) for base in sorted(there) if base in self._bases]
        return min((one for one in made if one is not None), key=len, default=None)

    def _patch(self, base: str) -> bytes | None:
        if base not in self._made:
            self._made[base] = None
            with suppress(OSError):  # a file that is gone meanwhile is no base
                made = patch.make(self._bases[base].read_bytes(), self._model)
                if len(made) < len(self._model) // _WORTH:
                    self._made[base] = made
        return self._made[base]


def bases(source: Path, named: Path | None = None) -> dict[str, Path]:
    """Return the models that this workstation has: id → file.

    Args:
        source: The folder or file that is pushed; models beside it are looked at.
        named: A bundle's folder or a model's file where it lies elsewhere.

    Raises:
        ConfigError: What was named cannot be read.
    """
    if named is not None:
        file = file_in(named) if named.is_dir() else named
        try:
            return {_id(file): file}
        except OSError as error:
            raise ConfigError(f"--base {file}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    found: dict[str, Path] = {}
    for file in _files(source):
        with suppress(OSError):
            found.setdefault(_id(file), file)
    return found


def keep(model: bytes) -> None:
    """Keep a model that was pushed, so that the next one can be sent as a patch; a full disk is no reason to fail."""
    folder = _kept()
    file = folder / f"{hashlib.sha256(model).hexdigest()}{Path(file_name(model)).suffix}"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        if file.exists():
            os.utime(file)
        else:
            draft = folder / f"{file.stem}.{os.getpid()}.new"
            draft.write_bytes(model)
            draft.replace(file)
        by_age = sorted(_in_cache(folder), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for old in by_age[_KEPT:]:
            old.unlink(missing_ok=True)


def _files(source: Path) -> Iterator[Path]:
    yield from sorted(resources.shipped("models").glob(f"*/{MODEL}"))
    with suppress(OSError):
        for name in (MODEL, ONNX_MODEL):
            yield from sorted(source.resolve().parent.glob(f"*/{name}"))
    yield from sorted(_in_cache(_kept()))


def _in_cache(folder: Path) -> Iterator[Path]:
    for name in (MODEL, ONNX_MODEL):
        yield from folder.glob(f"*{Path(name).suffix}")


def _kept() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edged" / "pushed"


def _id(file: Path) -> str:
    with file.open("rb") as opened:
        digest = hashlib.sha256()
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:12]
