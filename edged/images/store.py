"""The labeled images of a device, and the frames that wait for a label: files first, an index beside them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from edged.codec import SUFFIXES
from edged.database import is_full
from edged.errors import CommandError, ImageError, StorageError
from edged.images.embeddings import Embedding, Embeddings
from edged.images.index import ImageIndex
from edged.images.labels import check_label
from edged.images.layout import FRAMES, IMAGES, Places, Skipped
from edged.images.photo_file import Photo, look_at
from edged.images.quota import make_room, unlink_copies
from edged.images.rows import COLUMNS, Grouping, Kept, LabeledImage, StoredImage, enter, place
from edged.images.scan import SETTLE_S, ScanReport, delete, remember, scan, skipped
from edged.store.durable import sync_folder, write_file

INDEX = "images.sqlite"


class ImageStore:
    """Images in `<state_dir>/images/<label>/`, kept frames in `<state_dir>/frames/`, their index in `images.sqlite`.

    Any thread may call it, and several processes may have one open. A file is in place before its row is written; what
    a crash leaves in between, the next `scan` completes. An image is named by its sha256, people use the first 16
    digits or fewer.

    Where the disk is full from the start the index is in memory and the next `scan` fills it from the files, so that
    images can be listed and removed; `retry` brings it to the disk.

    Args:
        state_dir: The folder; made if need be.
        images_max_mb: How much all images may occupy, 10^6 bytes. Beyond, the oldest unlabeled frames are deleted;
            labeled images never are, but no more are taken.
        folder: Labeled images that lie elsewhere; None: `<state_dir>/images`.

    Raises:
        StorageError: The folder or the index cannot be used.
    """

    def __init__(self, state_dir: Path, *, images_max_mb: float, folder: Path | None = None) -> None:
        self.places = Places(folder or state_dir / IMAGES, state_dir / FRAMES)
        self._max_mb = images_max_mb
        try:
            self._make_folders()
        except OSError as error:
            if not is_full(error, state_dir):
                raise StorageError(f"{error.filename}: cannot be made: {error.strerror}") from error
        self._index = ImageIndex(state_dir / INDEX)
        self._embeddings = Embeddings(self._index)
        self._grouping = Grouping()
        self._scanning = threading.Lock()

    @property
    def trouble(self) -> str | None:
        """Why the index is in memory; None while it is on disk."""
        return self._index.trouble

    def retry(self) -> None:
        """Bring the index to a disk that was full and has room again; does nothing otherwise."""
        with self._scanning:
            if self._index.reopen():
                with suppress(OSError):  # whoever writes there will tell
                    self._make_folders()
                self._grouping = Grouping()

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    # -- what is there -------------------------------------------------------------------------------------------------

    def scan(self, *, settle_s: float = SETTLE_S, workers: int | None = None) -> ScanReport:
        """Take in what was put into the folders, moved and deleted there, by whatever program.

        Args:
            settle_s: Files that changed so recently may still be being written and are left for the next scan.
            workers: Threads that read new files; None: one per core.
        """
        with self._scanning:
            return scan(self._index, self._grouping, self.places, settle_s=settle_s, workers=workers)

    def labeled(self) -> list[LabeledImage]:
        """Return every labeled image, sorted by label, then sha256: always in the same order."""
        return [
            LabeledImage(image.sha256, image.id, image.path, image.label or "", image.split, image.group_id,
                         image.width, image.height, image.bytes, image.reason is not None)
            for image in self._select("WHERE label IS NOT NULL ORDER BY label, sha256")
        ]  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Return label → number of images, sorted by label."""
        with self._index.reading() as database:
            return dict(
                database.execute(
                    "SELECT label, count(*) FROM images WHERE label IS NOT NULL GROUP BY label ORDER BY label"
                ).fetchall()
            )

    def unlabeled(self) -> int:
        """Return how many kept frames wait for a label."""
        with self._index.reading() as database:
            (count,) = database.execute("SELECT count(*) FROM images WHERE label IS NULL").fetchone()
        return int(count)

    def skipped(self) -> list[Skipped]:
        """Return the files that scans found unusable, and copies that lost to a later one under another label."""
        return skipped(self._index)

    def newest(self, label: str | None = None, *, unlabeled: bool = False, limit: int = 100) -> list[StoredImage]:
        """Return images, newest first: of one label, the unlabeled ones, or all."""
        where, values = "", ()  # type: tuple[str, tuple[Any, ...]]
        if unlabeled:
            where = "WHERE label IS NULL "
        elif label is not None:
            where, values = "WHERE label = ? ", (check_label(label),)
        return self._select(f"{where}ORDER BY coalesce(labeled_at, added_at) DESC, seq DESC LIMIT ?", *values, limit)

    def get(self, id_prefix: str) -> StoredImage:
        """Return the image whose sha256 begins with these digits.

        Raises:
            CommandError: There is none, or more than one.
        """
        digits = id_prefix.lower()
        if not digits or digits.strip("0123456789abcdef") or len(digits) > 64:
            raise CommandError(f"image {id_prefix!r}: an id is 1 to 64 hex digits")
        found = self._select("WHERE sha256 >= ? AND sha256 < ? LIMIT 2", digits, digits + "g")
        if not found:
            raise CommandError(f"image {id_prefix}: there is none with this id")
        if len(found) > 1:
            raise CommandError(f"image {id_prefix}: more than one id begins so; give more digits")
        return found[0]

    def labels_of(self, shas: Collection[str]) -> dict[str, str | None]:
        """Return sha256 → label (None: not labeled yet) of those images that are there."""
        with self._index.reading() as database:
            query = "SELECT sha256, label FROM images WHERE sha256 = ?"
            rows = [database.execute(query, (sha256,)).fetchone() for sha256 in shas]
        return dict(row for row in rows if row is not None)

    # -- changes -------------------------------------------------------------------------------------------------------

    def add(self, data: bytes, label: str | None = None, *, by: str = "push", kept: Kept | None = None) -> str:
        """Take an image: a JPEG, PNG, BMP or WebP file's content. One that is there already gets the label.

        Args:
            data: Content of the file; it is kept as it is.
            label: None: wait for one.
            by: Who gave the label.
            kept: What the model said of a frame.

        Returns:
            The image's sha256.

        Raises:
            CommandError: The label is none, the data is no image, or there is no more room.
            StorageError: The disk fails.
        """
        if label is not None:
            label = check_label(label)
        sha256 = hashlib.sha256(data).hexdigest()
        if sha256 in self.labels_of([sha256]):
            if label is not None:
                self.label(sha256, label, by=by)
            return sha256
        try:
            photo = look_at(data)
        except ImageError as error:
            raise CommandError(f"image {sha256[:16]}: {error}") from error
        self._put(data, photo, label, by, kept)
        return sha256

    def keep(self, data: bytes, kept: Kept) -> str | None:
        """Take a frame that waits for a label; None where a near duplicate is there already. Otherwise as `add`.

        The very same frame again, from photos that come round or a still scene, stays as it is, with its label.
        """
        photo = look_at(data)
        if photo.sha256 in self.labels_of([photo.sha256]):
            return photo.sha256
        with self._index.reading() as database:
            if self._grouping.group_of(database, photo) != photo.sha256:
                return None
        self._put(data, photo, None, "", kept)
        return photo.sha256

    def label(self, id_prefix: str, label: str, *, by: str = "label") -> StoredImage:
        """Give an image a label, or another one; its file moves into the label's folder.

        Raises:
            CommandError: No such image, or no label.
            StorageError: The disk fails.
        """
        return self._move(self.get(id_prefix), check_label(label), by)

    def unlabel(self, id_prefix: str) -> StoredImage:
        """Take an image's label away; its file moves to the frames. Raises as `label`."""
        return self._move(self.get(id_prefix), None, None)

    def remove(self, id_prefix: str) -> StoredImage:
        """Delete an image, its copies, and what was computed from it. Raises as `label`."""
        image = self.get(id_prefix)
        try:
            self._delete(image)
        except StorageError:
            if self.trouble is None:
                raise
            self._delete(image)  # the disk was full, and the index has gone to memory: making room must work
        except OSError as error:
            raise StorageError(f"{image.path}: cannot be deleted: {error.strerror}") from error
        return image

    # -- embeddings ----------------------------------------------------------------------------------------------------

    def embeddings(self, backbone_sha256: str, variant: str, shas: Collection[str] | None = None) -> dict[str, bytes]:
        """Return image sha256 → bottleneck bytes, of those that were put; `shas` None: of all images."""
        return self._embeddings.get(backbone_sha256, variant, shas)

    def embedded(self, backbone_sha256: str, variant: str) -> set[str]:
        """Return the sha256 of every image that has an embedding."""
        return self._embeddings.known(backbone_sha256, variant)

    def put_embeddings(self, rows: Iterable[Embedding]) -> None:
        """Keep embeddings, in one transaction."""
        self._embeddings.put(rows)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _delete(self, image: StoredImage) -> None:
        with self._index.writing() as database:
            unlink_copies(database, self.places, image.sha256)
            delete(database, [image.sha256])

    def _make_folders(self) -> None:
        for path in (self.places.images, self.places.frames):
            path.mkdir(parents=True, exist_ok=True)

    def _select(self, clause: str, *values: Any) -> list[StoredImage]:
        with self._index.reading() as database:
            rows = database.execute(f"SELECT {COLUMNS} FROM images {clause}", values).fetchall()
        return [StoredImage(row[0], row[0][:16], self.places.path(row[1]), *row[2:]) for row in rows]

    def _put(self, data: bytes, photo: Photo, label: str | None, by: str, kept: Kept | None) -> None:
        stored = _stored(f"{photo.id}{SUFFIXES[photo.kind]}", label)
        path = self.places.path(stored)
        try:
            with self._index.writing() as database:
                make_room(database, self.places, photo.bytes, self._max_mb, labeled=label is not None)
            path.parent.mkdir(exist_ok=True)
            write_file(path, data)
            with self._index.writing() as database:
                remember(database, stored, path.stat(), photo.sha256)
                enter(database, self._grouping, photo, path=stored, label=label, by=by, kept=kept)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}") from error

    def _move(self, image: StoredImage, label: str | None, by: str | None) -> StoredImage:
        if image.label == label:
            return image
        stored = _stored(image.path.name, label)
        target = self.places.path(stored)
        if target.exists():  # another image of that name
            stored = _stored(f"{image.id}{image.path.suffix.lower()}", label)
            target = self.places.path(stored)
        try:
            target.parent.mkdir(exist_ok=True)
            image.path.rename(target)
            sync_folder(target.parent)
            sync_folder(image.path.parent)
            with self._index.writing() as database:
                remember(database, stored, target.stat(), image.sha256)
                place(database, image.sha256, path=stored, label=label, by=by)
                unlink_copies(database, self.places, image.sha256, but=stored)
        except FileNotFoundError as error:
            raise CommandError(f"image {image.id}: its file {image.path} is gone") from error
        except OSError as error:
            raise StorageError(f"{image.path}: cannot be moved to {target}: {error.strerror}") from error
        return self.get(image.sha256)


def _stored(name: str, label: str | None) -> str:
    return f"{FRAMES}/{name}" if label is None else f"{IMAGES}/{label}/{name}"
