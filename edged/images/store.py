"""The labeled images of a device, and the frames that wait for a label: files first, an index beside them."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from edged.codec import SUFFIXES, read_file
from edged.contract.labels import check_label
from edged.damage import set_aside
from edged.database import is_full
from edged.errors import CommandError, ImageError, RefusedError, StorageError
from edged.images.image import Embedding, Kept, LabeledImage, Photo, StoredImage, look_at
from edged.images.index import ImageIndex
from edged.images.layout import FRAMES, IMAGES, Layout, Skipped, move, stamp_of, stored_path
from edged.images.scan import SETTLE_S, ScanReport, scan, skipped
from edged.store.durable import delete, sync_folder, write_file

INDEX = "images.sqlite"


def open_images(state_dir: Path, folder: Path | None, images_max_mb: float) -> ImageStore:
    """Open the device's labeled images, or those of a folder with one folder per label, which is only read.

    A folder's index lies at `<state_dir>/datasets/<hash of its path>`: the device's images and somebody's folder must
    not be taken for one another.

    Raises:
        RefusedError: There is no such folder.
        StorageError: The index cannot be used.
    """
    if folder is None:
        return ImageStore(state_dir, images_max_mb=images_max_mb)
    if not folder.is_dir():
        raise RefusedError(f"{folder}: no such folder; one with a folder per label is needed")
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    return ImageStore(state_dir / "datasets" / name, images_max_mb=images_max_mb, folder=folder)


class ImageStore:
    """Images in `<state_dir>/images/<label>/`, kept frames in `<state_dir>/frames/`, their index in `images.sqlite`.

    Any thread may call it, and several processes may have one open. A file is in place before its row is written; what
    a crash leaves in between, the next `scan` completes. An image is named by its sha256, people use the first 16
    digits or fewer.

    Where the disk is full from the start the index is in memory and the next `scan` fills it from the files, so that
    images can be listed and removed; `retry` brings it to the disk.

    Args:
        state_dir: The folder; made if need be.
        images_max_mb: How much all images may occupy, 10^6 bytes. Beyond, the oldest unlabeled frames are deleted,
            those of something unknown last; labeled images never are, but no more are taken.
        folder: Labeled images that lie elsewhere; None: `<state_dir>/images`.

    Raises:
        StorageError: The folder or the index cannot be used. Every method raises it too where the index fails.
    """

    def __init__(self, state_dir: Path, *, images_max_mb: float, folder: Path | None = None) -> None:
        self._layout = Layout(folder or state_dir / IMAGES, state_dir / FRAMES, foreign=folder is not None)
        self._max_mb = images_max_mb
        try:
            self._make_folders()
        except OSError as error:
            if not is_full(error, state_dir):
                raise StorageError(f"{error.filename}: cannot be made: {error.strerror}") from error
        self._index = ImageIndex(state_dir / INDEX, self._layout)
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
            return scan(self._index, self._layout, settle_s=settle_s, workers=workers)

    def scan_settled(self) -> ScanReport:
        """Scan for somebody who looks once: files that were put there just now are waited for, and looked at again.

        Returns:
            The last scan, with what the first one has skipped.
        """
        first = self.scan()
        if not first.deferred:
            return first
        time.sleep(SETTLE_S)
        report = self.scan()
        again = {one.file for one in report.skipped}
        report.skipped[:0] = [one for one in first.skipped if one.file not in again]
        return report

    def labeled(self) -> list[LabeledImage]:
        """Return every labeled image, sorted by label, then sha256: always in the same order."""
        return self._index.labeled()

    def counts(self) -> dict[str, int]:
        """Return label → number of images, sorted by label."""
        return self._index.counts()

    def unlabeled(self) -> int:
        """Return how many kept frames wait for a label."""
        return self._index.unlabeled()

    def hashes(self) -> dict[str, bytes]:
        """Return sha256 → difference hash of every labeled image, by which near duplicates elsewhere are found."""
        return self._index.hashes()

    def skipped(self) -> list[Skipped]:
        """Return the files that scans found unusable, and copies that lost to a later one under another label."""
        return skipped(self._index)

    def newest(self, label: str | None = None, *, unlabeled: bool = False, limit: int = 100) -> list[StoredImage]:
        """Return images, newest first: of one label, the unlabeled ones, or all."""
        label = None if unlabeled or label is None else check_label(label)
        return self._index.newest(label, unlabeled=unlabeled, limit=limit)

    def get(self, id_prefix: str) -> StoredImage:
        """Return the image whose sha256 begins with these digits.

        Raises:
            CommandError: There is none, or more than one.
        """
        digits = id_prefix.lower()
        if not digits or digits.strip("0123456789abcdef") or len(digits) > 64:
            raise CommandError(f"image {id_prefix!r}: an id is 1 to 64 hex digits")
        found = self._index.beginning_with(digits)
        if not found:
            raise CommandError(f"image {id_prefix}: there is none with this id")
        if len(found) > 1:
            raise CommandError(f"image {id_prefix}: more than one id begins so; give more digits")
        return found[0]

    def read(self, image: StoredImage) -> bytes:
        """Read an image's file.

        Raises:
            CommandError: It cannot be read, or is no longer the file that was looked at: whatever has taken its place,
                behind a link or not, is not for whoever asks for an image.
            StorageError: Its folder is a link.
        """
        self._layout.check_folder(image.path)
        try:
            data = read_file(image.path)
        except FileNotFoundError as error:
            raise CommandError(f"image {image.id}: its file {image.path} is gone") from error
        except ImageError as error:
            raise CommandError(f"image {image.id}: {image.path}: {error}") from error
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise CommandError(f"image {image.id}: {image.path} has changed; `edgectl images list` looks at it again")
        return data

    def labels_of(self, shas: Collection[str]) -> dict[str, str | None]:
        """Return sha256 → label (None: not labeled yet) of those images that are there."""
        return self._index.labels_of(shas)

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
        if self._index.group_of(photo) != photo.sha256:
            return None
        self._put(data, photo, None, "", kept)
        return photo.sha256

    def label(self, id_prefix: str, label: str, *, by: str = "label", confirmed: bool | None = None) -> StoredImage:
        """Give an image a label, or another one; its file moves into the label's folder.

        Args:
            id_prefix: The first digits of its id.
            label: The label.
            by: Who gave it.
            confirmed: Whether somebody has looked at the image again and found this label right; None: that stays as
                it is with the same label, and nobody has with another one.

        Raises:
            CommandError: No such image, or no label.
            StorageError: The disk fails.
        """
        image = self._move(self.get(id_prefix), check_label(label), by)
        if confirmed is None:
            return image
        self._index.confirm(image.sha256, confirmed=confirmed)
        return self.get(image.sha256)

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
        found = self._index.embeddings(backbone_sha256, variant)
        return found if shas is None else {sha256: found[sha256] for sha256 in shas if sha256 in found}

    def plain_embeddings(self, backbone_sha256: str, rather: str) -> dict[str, bytes]:
        """Return image sha256 → bottleneck bytes of a view that was only cropped, of whatever crop.

        A frame was seen with the crop of the model that answered then; a training looks at all of an image.

        Args:
            backbone_sha256: Of the network that has made them.
            rather: Which variant is taken where there are several.
        """
        return self._index.plain_embeddings(backbone_sha256, rather)

    def embedded(self, backbone_sha256: str, variant: str) -> set[str]:
        """Return the sha256 of every image that has an embedding."""
        return self._index.embedded(backbone_sha256, variant)

    def put_embeddings(self, rows: Iterable[Embedding]) -> None:
        """Keep embeddings, in one transaction."""
        self._index.put_embeddings(rows)

    # -- inside --------------------------------------------------------------------------------------------------------

    def _make_folders(self) -> None:
        for path in (self._layout.images, self._layout.frames):
            if path.exists() and not path.is_dir() and not path.is_symlink():
                set_aside(path, "no folder, where one belongs", "begun anew")
            path.mkdir(parents=True, exist_ok=True)

    def _put(self, data: bytes, photo: Photo, label: str | None, by: str, kept: Kept | None) -> None:
        stored = stored_path(f"{photo.id}{SUFFIXES[photo.kind]}", label)
        path = self._layout.path(stored)
        try:
            with self._index.transaction():
                self._make_room(photo.bytes, labeled=label is not None)
            self._layout.make_folder(path)
            write_file(path, data)
            with self._index.transaction():
                self._index.remember_file(stored, stamp_of(path.stat()), photo.sha256)
                self._index.enter(photo, path=stored, label=label, by=by, kept=kept)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written: {error.strerror}") from error

    def _move(self, image: StoredImage, label: str | None, by: str | None) -> StoredImage:
        if image.label == label:
            return image
        stored = stored_path(image.path.name, label)
        target = self._layout.path(stored)
        if os.path.lexists(target):  # another image of that name
            stored = stored_path(f"{image.id}{image.path.suffix.lower()}", label)
            target = self._layout.path(stored)
        try:
            self._layout.check_folder(image.path)
            self._layout.make_folder(target)
            move(image.path, target)
            sync_folder(target.parent)
            sync_folder(image.path.parent)
            with self._index.transaction():
                self._index.remember_file(stored, stamp_of(target.stat()), image.sha256)
                self._index.place(image.sha256, path=stored, label=label, by=by)
                for copy in self._index.copies_of(image.sha256):  # the next scan would bring an older decision back
                    if copy != stored:
                        self._discard(copy)
        except FileNotFoundError as error:
            raise CommandError(f"image {image.id}: its file {image.path} is gone") from error
        except OSError as error:
            raise StorageError(f"{image.path}: cannot be moved to {target}: {error.strerror}") from error
        return self.get(image.sha256)

    def _make_room(self, size: int, *, labeled: bool) -> None:
        """Delete the oldest unlabeled frames until a new image fits.

        Args:
            size: Of the new image, bytes.
            labeled: Whether it has a label.

        Raises:
            CommandError: The labeled images alone leave no room; they are never deleted.
        """
        limit = self._max_mb * 1e6
        total, labeled_bytes = self._index.sizes()
        if labeled_bytes + size > limit:
            what = "another labeled image" if labeled else "a kept frame"
            raise CommandError(
                f"storage.images_max_mb = {self._max_mb:g}: no room for {what} beside the labeled images, which take "
                f"{labeled_bytes / 1e6:.1f} MB; raise it, or remove some (edgectl images remove ID)"
            )
        if total + size <= limit:
            return
        doomed = []
        for sha256, stored, bytes_ in self._index.oldest_unlabeled():
            if not self._discard(stored):  # the next one then
                continue
            doomed.append(sha256)
            total -= bytes_
            if total + size <= limit:
                break
        self._index.delete(doomed)

    def _delete(self, image: StoredImage) -> None:
        """Delete an image and all of its copies; whoever asked hears of what cannot be deleted."""
        with self._index.transaction():
            for stored in self._index.copies_of(image.sha256):
                path = self._layout.path(stored)
                self._layout.check_folder(path)
                path.unlink(missing_ok=True)
                self._index.forget_files([stored])
            self._index.delete([image.sha256])

    def _discard(self, stored: str) -> bool:
        """Delete a file that nobody asked for, and its row; False where it cannot be deleted.

        Then its row stays too: without it the next scan would take the file for a new decision of a person.
        """
        path = self._layout.path(stored)
        try:
            self._layout.check_folder(path)
        except StorageError:  # what a link leads to is not ours; the next scan tells of it
            return False
        if not delete(path):
            return False
        self._index.forget_files([stored])
        return True
