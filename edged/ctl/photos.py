"""A workstation's folders of labeled photos: what would be pushed, and what would not, and why."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from edged.contract.labels import check_label
from edged.errors import CommandError, ConfigError

MAX_IMAGE_BYTES = 8 * 2**20
"""What devices take."""
_HEAD_BYTES = 16


@dataclass(frozen=True, slots=True)
class LocalPhoto:
    """A photo to push; `sha256` is that of its content."""

    path: Path
    label: str
    sha256: str
    bytes: int


@dataclass(slots=True)
class Gathered:
    """What a folder holds.

    Attributes:
        photos: In the order of labels and names; no content twice.
        skipped: (file, why it is not pushed).
    """

    photos: list[LocalPhoto] = field(default_factory=list)
    skipped: list[tuple[Path, str]] = field(default_factory=list)


def gather(folder: Path, label: str | None) -> Gathered:
    """Look through a folder of labeled photos.

    Args:
        folder: A folder per label; with `label`, the photos themselves.
        label: Of all photos in `folder`.

    Raises:
        ConfigError: There is no such folder, no photo in it, or a label that cannot be one.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    found = Gathered()
    try:
        if label is not None:
            _gather(folder, check_label(label), found)
        else:
            for entry in sorted(folder.iterdir()):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    _gather(entry, check_label(entry.name), found)
                else:
                    found.skipped.append((entry, "lies in no label's folder; --label L gives it one"))
    except CommandError as error:
        raise ConfigError(f"{folder}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error
    if not found.photos:
        raise ConfigError(f"{folder}: no photo to push; a folder per label is expected, or --label L")
    _drop_copies(found)
    return found


def _gather(folder: Path, label: str, found: Gathered) -> None:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found.skipped.append((path, "is a folder in a label's folder"))
            continue
        try:
            size = path.stat().st_size if path.is_file() else 0
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
                if not _is_photo(head):
                    found.skipped.append((path, "not a JPEG, PNG, BMP or WebP image"))
                elif size > MAX_IMAGE_BYTES:
                    found.skipped.append((path, f"{size / 1e6:.1f} MB; at most 8 MiB are taken"))
                else:
                    digest = hashlib.sha256(head + file.read()).hexdigest()
                    found.photos.append(LocalPhoto(path, label, digest, size))
        except OSError as error:
            found.skipped.append((path, (error.strerror or str(error)).lower()))


def _is_photo(head: bytes) -> bool:
    return head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM")) or (
        head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    )


def _drop_copies(found: Gathered) -> None:
    """Keep the last of photos with the same content, as the device would."""
    last = {photo.sha256: photo for photo in found.photos}
    for photo in found.photos:
        winner = last[photo.sha256]
        if winner is not photo:
            found.skipped.append((photo.path, f"the same image as {winner.path}, which is pushed"))
    found.photos = [photo for photo in found.photos if last[photo.sha256] is photo]
