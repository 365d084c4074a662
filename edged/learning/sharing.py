"""What leaves a device where a head is trained elsewhere: bottlenecks, labels and hashes of its images, as bytes.

`Shared` is these values, and what they look like on the wire; `share` gathers them on a device and lays them down in a
file, of which `edged.daemon.together` sends the parts that are asked for. No pixel of a photo is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edged.contract.labels import Label
from edged.contract.reports import Bottlenecks
from edged.errors import RefusedError, StorageError, first_mistake
from edged.images import SPLITS, open_images
from edged.learning.bottlenecks import Backbone, complete
from edged.learning.comparison import FOLDS, folds_of
from edged.learning.dataset import KeptBottlenecks
from edged.learning.privacy import Noise, keyed, noisy
from edged.learning.request import SHARED, Progress, SharingRequest
from edged.store import durable, read_bundle
from edged.vision.quantization import Affine

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edged.images import LabeledImage

SECRET = "private/noise.json"
"""Of the state folder: what noise is drawn from, and how much; in a folder that no other user may enter."""
MAX_BYTES = 512 * 2**20
"""Of all values together: 400,000 images of 1,280 features. More is neither sent nor read."""
_MAGIC = b"edged bottlenecks 1\n"
_HASH_BYTES = 8


class _Header(BaseModel):
    """What stands before the columns."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    backbone: str = Field(min_length=1, max_length=200)
    backbone_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    dtype: Literal["uint8", "int8"]
    scale: float = Field(gt=0, allow_inf_nan=False)
    zero_point: int = Field(ge=-128, le=255)
    features: int = Field(ge=1, le=65536)
    images: int = Field(ge=0, le=2_000_000)
    labels: tuple[Label, ...] = Field(max_length=65535)
    hashes: bool
    clip: float | None = None
    sigma: float | None = None


@dataclass(frozen=True)
class Shared:
    """The labeled images of one device, without their photos.

    Attributes:
        backbone, backbone_sha256: Of the network that has made the bottlenecks.
        affine: What the bottlenecks' bytes mean.
        bottlenecks: (n, features) uint8 or int8.
        labels: The labels that there are.
        label_of: (n,) index of each image's label.
        split_of: (n,) index into `images.SPLITS`.
        fold_of: (n,) which fifth of the images each is in, see `judges`.
        confirmed: (n,) bool, whether a person has looked at the label again.
        ids: n hashes of the images, 64 hex digits.
        groups: n ids of groups of near duplicates, 64 hex digits.
        hashes: (n, 8) bytes, the difference hashes by which near duplicates on other devices are found; None: with
            noise, ids and groups are keyed with the device's secret, and nothing tells of likeness.
        noise: What was added; None: nothing.
    """

    backbone: str
    backbone_sha256: str
    affine: Affine
    bottlenecks: NDArray[Any]
    labels: tuple[str, ...]
    label_of: NDArray[np.intp]
    split_of: NDArray[np.uint8]
    fold_of: NDArray[np.uint8]
    confirmed: NDArray[np.bool_]
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    hashes: NDArray[np.uint8] | None = None
    noise: Noise | None = None

    def encode(self) -> bytes:
        """Return it as it crosses the wire."""
        scale, zero_point = self.affine
        header = {
            "backbone": self.backbone,
            "backbone_sha256": self.backbone_sha256,
            "dtype": str(self.bottlenecks.dtype),
            "scale": float(scale),
            "zero_point": int(zero_point),
            "features": self.bottlenecks.shape[1],
            "images": len(self.ids),
            "labels": self.labels,
            "hashes": self.hashes is not None,
        }
        if self.noise is not None:
            header |= {"clip": self.noise.clip, "sigma": self.noise.sigma}
        columns = [
            bytes.fromhex("".join(self.ids)),
            bytes.fromhex("".join(self.groups)),
            b"" if self.hashes is None else self.hashes.tobytes(),
            self.label_of.astype("<u2").tobytes(),
            self.split_of.astype(np.uint8).tobytes(),
            self.fold_of.astype(np.uint8).tobytes(),
            self.confirmed.astype(np.uint8).tobytes(),
            np.ascontiguousarray(self.bottlenecks).tobytes(),
        ]
        head = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        return _MAGIC + zlib.compress(b"".join([head, b"\n", *columns]))

    @classmethod
    def decode(cls, data: bytes) -> Shared:
        """Return what was encoded, whoever has sent it.

        Raises:
            RefusedError: It is something else, damaged, or larger than `MAX_BYTES`.
        """
        header, columns = _split(data)
        take, count = _Columns(columns), header.images
        ids, groups = take.hex(count), take.hex(count)
        hashes = take.array(count * _HASH_BYTES, "u1").reshape(count, _HASH_BYTES) if header.hashes else None
        label_of = take.array(count, "<u2").astype(np.intp)
        split_of, fold_of, confirmed = (take.array(count, "u1") for _ in range(3))
        bottlenecks = take.array(count * header.features, header.dtype).reshape(count, header.features)
        take.end()
        limits = ((label_of, len(header.labels)), (split_of, len(SPLITS)), (fold_of, FOLDS), (confirmed, 2))
        if count and any(int(column.max()) >= limit for column, limit in limits):
            raise RefusedError("damaged bottlenecks: a label or a side that there is not")
        noise = None if header.clip is None or header.sigma is None else Noise(header.clip, header.sigma)
        return cls(
            header.backbone, header.backbone_sha256, Affine(header.scale, header.zero_point), bottlenecks,
            header.labels, label_of, split_of, fold_of, confirmed.astype(bool), ids, groups, hashes, noise,
        )  # fmt: skip


def share(request: SharingRequest, tell: Callable[[Progress], None]) -> Bottlenecks:
    """Gather what a device shares, and lay it down in the folder `SHARED`, in place of an older answer.

    Args:
        request: Where the images are, and how much noise is wanted.
        tell: Called with the progress.

    Raises:
        RefusedError: The device has answered with other noise before, or it is too much.
        EdgedError: A model, the index or the disk fails.
    """
    noise = None if request.clip is None or request.sigma is None else Noise(request.clip, request.sigma)
    backbone = Backbone.of(read_bundle(request.backbone), request.runtime)
    secret = _secret(request.state_dir / SECRET, noise, backbone.sha256)
    tell(Progress("scan", 0.0))
    with closing(open_images(request.state_dir, None, request.images_max_mb)) as store:
        store.scan()
        # With noise nobody could judge by the test side, so it stays.
        images = [image for image in store.labeled() if noise is None or image.split != "test"]
        if len(images) * (backbone.features + 100) > MAX_BYTES:
            raise RefusedError(f"{len(images)} images of {backbone.features} features are more than can be sent")
        unreadable = complete(
            store,
            images,
            lambda _: ("plain",),
            backbone,
            workers=request.workers or os.cpu_count() or 1,
            tell=lambda done, of: tell(
                Progress("bottlenecks", 0.05 + 0.9 * done / max(of, 1), {"done": done, "of": of})
            ),
        )
        lost = {one.task.sha256 for one in unreadable}
        images = [image for image in images if image.sha256 not in lost]
        bottlenecks, hashes = KeptBottlenecks(store, backbone).array(images), store.hashes()
    tell(Progress("writing", 0.95))
    shared = shared_of(images, bottlenecks, hashes, backbone)
    if noise is not None:
        shared = hidden(shared, noise, secret)
    data = shared.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    _lay_down(request.state_dir / SHARED, sha256, data)
    told = Bottlenecks(
        sha256=sha256,
        bytes=len(data),
        images=len(images),
        counts=dict(sorted(Counter(image.label for image in images).items())),
        backbone=shared.backbone,
        backbone_sha256=shared.backbone_sha256,
        photo_bytes=sum(image.bytes for image in images),
    )
    more: dict[str, Any] = {} if noise is None else {"clip": noise.clip, "sigma": noise.sigma}
    return told.model_copy(update=more | ({"unreadable": len(lost)} if lost else {}))


def shared_of(
    images: list[LabeledImage], bottlenecks: NDArray[Any], hashes: dict[str, bytes], backbone: Backbone
) -> Shared:
    """Return images as they are shared, without noise.

    Args:
        images: The labeled images.
        bottlenecks: (n, features) their bottlenecks.
        hashes: sha256 → difference hash of at least these images.
        backbone: The network that has made the bottlenecks.
    """
    labels = tuple(sorted({image.label for image in images}))
    joined = b"".join(hashes[image.sha256] for image in images)
    return Shared(
        backbone=backbone.bundle.backbone,
        backbone_sha256=backbone.sha256,
        affine=backbone.affine,
        bottlenecks=bottlenecks,
        labels=labels,
        label_of=np.array([labels.index(image.label) for image in images], np.intp),
        split_of=np.array([SPLITS.index(image.split) for image in images], np.uint8),
        fold_of=folds_of([image.group_id for image in images]),
        confirmed=np.array([image.confirmed for image in images], bool),
        ids=tuple(image.sha256 for image in images),
        groups=tuple(image.group_id for image in images),
        hashes=np.frombuffer(joined, np.uint8).reshape(len(images), _HASH_BYTES),
    )


def hidden(shared: Shared, noise: Noise, secret: bytes) -> Shared:
    """Return the same images with noise, under names that only this device can tell."""
    bottlenecks, affine = noisy(shared.bottlenecks, shared.affine, noise, secret, shared.ids)
    # In the order of the keyed ids: that of the hashes would help to guess which image is which.
    ids = [keyed(secret, one) for one in shared.ids]
    order = np.array(sorted(range(len(ids)), key=lambda row: ids[row]), np.intp)
    return Shared(
        shared.backbone, shared.backbone_sha256, affine, bottlenecks[order], shared.labels, shared.label_of[order],
        shared.split_of[order], shared.fold_of[order], shared.confirmed[order], tuple(ids[row] for row in order),
        tuple(keyed(secret, shared.groups[row]) for row in order), None, noise,
    )  # fmt: skip


def _secret(path: Path, noise: Noise | None, backbone_sha256: str) -> bytes:
    """Return the device's secret, made with the first answer that has noise; from then on this noise is the only one.

    Of two answers with different noise, of different networks, or of one without noise, more could be told of an image
    than either allows.
    """
    try:
        kept = json.loads(path.read_bytes())
        secret, before = bytes.fromhex(kept["secret"]), Noise(float(kept["clip"]), float(kept["sigma"]))
        same_network = kept["backbone_sha256"] == backbone_sha256
    except FileNotFoundError:
        if noise is None:
            return b""
        secret = secrets.token_bytes(32)
        told = {"secret": secret.hex(), "clip": noise.clip, "sigma": noise.sigma, "backbone_sha256": backbone_sha256}
        path.parent.mkdir(mode=0o700, exist_ok=True)
        durable.write_file(path, (json.dumps(told) + "\n").encode())
        return secret
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path}: cannot be read: {error}") from error
    if noise != before or not same_network:
        asked = "none" if noise is None else f"{noise.clip:g},{noise.sigma:g}"
        other = "" if same_network else " and another network"
        raise RefusedError(
            f"this device has shared bottlenecks with the noise {before.clip:g},{before.sigma:g} and shares them with "
            f"no other; asked for was {asked}{other}. Who owns the device may delete {SECRET} in its state folder"
        )
    return secret


def _lay_down(folder: Path, sha256: str, data: bytes) -> None:
    path = folder / f"{sha256}.bin"
    if folder.is_symlink():  # older answers are deleted
        raise StorageError(f"{folder}: is a link, which is not followed; a real folder is needed")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        for older in folder.iterdir():
            if older != path:
                durable.delete(older)
        durable.write_file(path, data)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def _split(data: bytes) -> tuple[_Header, bytes]:
    """Return header and columns."""
    if not data.startswith(_MAGIC):
        raise RefusedError("these are no bottlenecks, or those of another version of edged")
    unpacking = zlib.decompressobj()
    try:
        content = unpacking.decompress(data[len(_MAGIC) :], MAX_BYTES)
    except zlib.error as error:
        raise RefusedError(f"damaged bottlenecks: {error}") from error
    if not unpacking.eof:
        raise RefusedError(f"damaged bottlenecks: cut off, or more than {MAX_BYTES} bytes")
    head, _, columns = content.partition(b"\n")
    try:
        return _Header.model_validate_json(head), columns
    except ValidationError as error:
        mistake = first_mistake(error)
        raise RefusedError(f"damaged bottlenecks: {mistake.key}: {mistake.text}") from error


class _Columns:
    """The columns, taken one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def array(self, count: int, dtype: str) -> NDArray[Any]:
        size = count * np.dtype(dtype).itemsize
        part = self._data[self._at : self._at + size]
        self._at += size
        if len(part) != size:
            raise RefusedError("damaged bottlenecks: they end too early")
        return np.frombuffer(part, dtype)

    def hex(self, count: int) -> tuple[str, ...]:
        joined = self.array(count * 32, "u1").tobytes().hex()
        return tuple(joined[begin : begin + 64] for begin in range(0, len(joined), 64))

    def end(self) -> None:
        if self._at != len(self._data):
            raise RefusedError("damaged bottlenecks: there is more than the header says")
