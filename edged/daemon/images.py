"""The commands about labeled images."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from typing import TYPE_CHECKING, Any

from edged.codec import decoding_bytes, encode_jpeg
from edged.contract.commands import MAX_IMAGE_BYTES
from edged.contract.messages import timestamp
from edged.errors import CommandError, ImageError, StorageError
from edged.images import LOOKED_AT
from edged.memory import available_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edged.contract.commands import (
        Command,
        ImageArgs,
        ImagesGetArgs,
        ImagesHaveArgs,
        ImagesLabelArgs,
        ImagesListArgs,
        ImagesRemoveArgs,
        ImagesUnlabelArgs,
    )
    from edged.daemon.kept_frames import FrameObserver, Seen
    from edged.daemon.suggestions import Suggestions
    from edged.images import ImageStore, StoredImage
    from edged.mqtt.link import Link

log = logging.getLogger(__name__)

_LISTED_FAULTS = 50
_MEMORY_SHARE = 4
"""Looking at a pushed image may take this part of the memory that is available: 12 kB can hold 100 megapixels, which
take 600 MB."""


class ImageCommands:
    """`image` and `images_…`.

    Args:
        store: The images.
        observer: Knows what the cameras see now.
        suggestions: Knows which frames are in which group.
        link: Where files go.
        on_label: Called when an image has got a label.
    """

    def __init__(
        self,
        store: ImageStore,
        observer: FrameObserver,
        suggestions: Suggestions,
        link: Link,
        on_label: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._observer = observer
        self._suggestions = suggestions
        self._link = link
        self._on_label = on_label

    def receive(self, command: Command[ImageArgs]) -> None:
        """Store a pushed image; it is on disk when this returns. An image that is there gets the label.

        Raises:
            CommandError: Not an image, not the one that was announced, too large, no room, or the disk fails.
        """
        args = command.args
        try:
            if args.jpeg is None:
                if args.sha256 not in self._store.labels_of([args.sha256]):
                    raise CommandError(f"image {args.sha256[:16]} is not here; send it as jpeg")
                self._store.label(args.sha256, args.label, by="push")
                self._on_label()
                return
            data = _decode(args.jpeg, args.sha256)
            _check_memory(data, args.sha256)
            self._store.add(data, args.label, by="push")
            self._on_label()
        except (ImageError, StorageError) as error:  # the ack shall say it
            raise CommandError(str(error)) from error

    def have(self, command: Command[ImagesHaveArgs]) -> dict[str, Any]:
        """Report the label of each image, "" where it has none, None where it is not here."""
        args = command.args
        labels = self._store.labels_of(args.shas)
        return {"labels": [(labels[sha256] or "") if sha256 in labels else None for sha256 in args.shas]}

    def list_(self, command: Command[ImagesListArgs]) -> dict[str, Any]:
        """Report images, newest first, after a look at what was put into the folders."""
        args = command.args
        if args.unlabeled and args.label is not None:
            raise CommandError("images_list: label or unlabeled, not both")
        skipped = self._store.scan(workers=1).skipped
        images = self._store.newest(args.label, unlabeled=args.unlabeled, limit=args.limit) if args.limit else []
        return {
            "images": [describe(image) for image in images],
            "counts": self._store.counts(),
            "unlabeled": self._store.unlabeled(),
            "skipped": [{"file": one.file, "reason": one.reason} for one in skipped[:_LISTED_FAULTS]],
        }

    def get(self, command: Command[ImagesGetArgs]) -> dict[str, Any]:
        """Publish an image's file on `image/<id>`."""
        args = command.args
        image = self._store.get(args.id)
        data = self._store.read(image)
        self._link.image(command.id, data)
        return {**describe(image), "suffix": image.path.suffix}

    def label(self, command: Command[ImagesLabelArgs]) -> dict[str, Any]:
        """Label an image, a group of frames, or what the camera sees now."""
        args = command.args
        ways = args.last + (args.id is not None) + (args.group is not None)
        if ways != 1 or ((args.camera is not None or args.track is not None) and not args.last):
            raise CommandError("images_label: give id, group, or last = true (and camera or track of several)")
        told = self._label(args)
        self._on_label()
        return told

    def _label(self, args: ImagesLabelArgs) -> dict[str, Any]:
        if args.group is not None:
            return self._label_group(args.group, args.label)
        if args.id is not None:
            return describe(self._store.label(args.id, args.label, confirmed=args.confirmed))
        newest = dict(self._observer.newest)
        if args.camera is not None:
            newest = {name: tracks for name, tracks in newest.items() if name == args.camera}
        if not newest:
            known = ", ".join(self._observer.newest) or "none yet"
            raise CommandError(
                f"camera {args.camera or 'any'}: no frame has been classified; cameras with one: {known}"
            )
        if len(newest) > 1:
            raise CommandError(f"images_label: several cameras ({', '.join(newest)}); name one")
        ((camera, tracks),) = newest.items()
        seen = _chosen(camera, tracks, args.track)
        sha256 = self._store.add(encode_jpeg(seen.frame.image), args.label, by="last", kept=seen.kept("last"))
        self._store.put_embeddings([seen.embedding(sha256)])
        told = {**describe(self._store.get(sha256)), "camera": camera, "seq": seen.frame.seq}
        if (region := seen.frame.region) is not None:
            told |= {"track": region.track, "box": region.box}
        return told

    def _label_group(self, group: str, label: str) -> dict[str, Any]:
        central, members = self._suggestions.members(group)
        waiting = [sha256 for sha256, given in self._store.labels_of(members).items() if given is None]
        done = [self._store.label(sha256, label, by="group").id for sha256 in waiting]
        log.info("group %s: %d frames labeled %s", central, len(done), label)
        return {"group": central, "label": label, "images": done, "skipped": len(members) - len(done)}

    def unlabel(self, command: Command[ImagesUnlabelArgs]) -> dict[str, Any]:
        """Take an image's label away."""
        args = command.args
        return describe(self._store.unlabel(args.id))

    def remove(self, command: Command[ImagesRemoveArgs]) -> dict[str, Any]:
        """Delete an image."""
        args = command.args
        image = self._store.remove(args.id)
        log.info("image %s (%s) removed", image.id, image.label or "unlabeled")
        return describe(image)


def _chosen(camera: str, tracks: Mapping[str | None, Seen], wanted: str | None) -> Seen:
    """Return what a label is for: the frame, or the crop of the track that was named or is the only one in view."""
    if wanted is None and len(tracks) == 1:
        return next(iter(tracks.values()))
    if wanted in tracks:
        return tracks[wanted]
    known = ", ".join(track for track in tracks if track is not None)
    if not known:
        raise CommandError(f"camera {camera}: its frames are classified whole; it has no track {wanted}")
    if wanted is None:
        raise CommandError(f"images_label: camera {camera} sees several things (tracks {known}); name one")
    raise CommandError(f"camera {camera}: track {wanted} is not in view; in view: {known}")


def describe(image: StoredImage) -> dict[str, Any]:
    """Return what reports say of an image; what is unknown is absent."""
    said = {
        "id": image.id,
        "sha256": image.sha256,
        "label": image.label,
        "split": image.split,
        "width": image.width,
        "height": image.height,
        "bytes": image.bytes,
        "added": timestamp(image.added_at),
        "labeled": None if image.labeled_at is None else timestamp(image.labeled_at),
        "by": image.labeled_by,
        "reason": image.reason,
        "predicted": image.predicted,
        "score": image.score,
        "confirmed": True if image.confirmed else None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _decode(text: str, sha256: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CommandError(f"image {sha256[:16]}: jpeg is not base64") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise CommandError(f"image {sha256[:16]}: {len(data)} bytes; at most {MAX_IMAGE_BYTES} are allowed")
    if (actual := hashlib.sha256(data).hexdigest()) != sha256:
        raise CommandError(f"image {sha256[:16]}: what arrived has sha256 {actual[:16]}")
    return data


def _check_memory(data: bytes, sha256: str) -> None:
    needed, limit = decoding_bytes(data, LOOKED_AT), available_bytes() // _MEMORY_SHARE
    if needed > limit:
        raise CommandError(
            f"image {sha256[:16]}: takes {needed / 1e6:.0f} MB to decode; at most {limit / 1e6:.0f} MB, a quarter of "
            "the memory that is available"
        )
