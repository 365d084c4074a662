"""What leaves a device for a head that is trained elsewhere."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.reports import Bottlenecks
from edged.errors import RefusedError, StorageError
from edged.images import SPLITS, ImageStore
from edged.learning import SharingRequest
from edged.learning.comparison import folds_of
from edged.learning.privacy import Noise
from edged.learning.sharing import Shared, share
from edged.vision.quantization import Affine
from tests.albums import LABELS, make_album
from tests.learning.conftest import SHIPPED


def quiet(_: Any) -> None:
    pass


def made(count: int = 7, features: int = 12) -> Shared:
    random = np.random.default_rng(0)
    ids = tuple(hashlib.sha256(f"image {number}".encode()).hexdigest() for number in range(count))
    return Shared(
        "small", "a" * 64, Affine(0.5, -3), random.integers(-128, 128, (count, features)).astype(np.int8),
        ("discs", "straßen"), np.arange(count) % 2, (np.arange(count) % 3).astype(np.uint8), folds_of(ids),
        np.arange(count) % 2 == 0, ids, ids, random.integers(0, 256, (count, 8)).astype(np.uint8),
    )  # fmt: skip


def same(one: Shared, other: Shared) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in Shared.__dataclass_fields__)


@pytest.mark.parametrize("count", [0, 7])
def test_what_is_sent_is_what_arrives(count: int) -> None:
    sent = made(count)
    assert same(Shared.decode(sent.encode()), sent)
    private = replace(sent, hashes=None, noise=Noise(25.0, 0.1))
    assert same(Shared.decode(private.encode()), private)


def changed(data: bytes, **header: Any) -> bytes:
    magic, rest = data[:20], zlib.decompress(data[20:])
    head, _, columns = rest.partition(b"\n")
    return magic + zlib.compress(json.dumps({**json.loads(head), **header}).encode() + b"\n" + columns)


def test_what_is_wrong_is_refused_in_one_line() -> None:
    data = made().encode()
    for wrong, why in (
        (b"", "no bottlenecks"),
        (b"PK" + data, "no bottlenecks"),
        (data[:-9], "cut off"),
        (data[:40] + bytes(8) + data[48:], "damaged"),
        (changed(data, images=8), "end too early"),
        (changed(data, images=6), "more than the header says"),
        (changed(data, features=-1), "features"),
        (changed(data, scale=float("inf")), "scale"),
        (changed(data, labels=["discs"]), "a label or a side that there is not"),
        (changed(data, labels=["a/b", "c"]), "labels"),
    ):
        with pytest.raises(RefusedError, match=why) as refused:
            Shared.decode(wrong)
        assert "\n" not in str(refused.value)


def test_a_device_shares_its_images_and_with_noise_not_their_names(tmp_path: Path) -> None:
    make_album(tmp_path / "images", 5)
    request = SharingRequest(state_dir=tmp_path, backbone=SHIPPED, workers=2)

    def answer(told: Bottlenecks) -> Shared:
        (path,) = (tmp_path / "shared").iterdir()
        data = path.read_bytes()
        assert (told.sha256, told.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert path.stem == told.sha256
        return Shared.decode(data)

    told = share(request, quiet)
    plain = answer(told)
    assert told.counts == dict.fromkeys(LABELS, 5)
    (tmp_path / "shared").rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "precious").touch()
    (tmp_path / "shared").symlink_to("elsewhere")
    with pytest.raises(StorageError, match="shared: is a link, which is not followed"):
        share(request, quiet)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2
    (tmp_path / "shared").unlink()
    store = ImageStore(tmp_path, images_max_mb=100)
    images = {image.sha256: image for image in store.labeled()}
    store.close()
    assert set(plain.ids) == set(images)
    for row, sha256 in enumerate(plain.ids):
        image = images[sha256]
        assert plain.labels[plain.label_of[row]] == image.label
        assert SPLITS[plain.split_of[row]] == image.split
        assert (plain.fold_of[row] == 0) == (image.split == "test")

    noisy = replace(request, clip=25.0, sigma=0.2)
    private = answer(share(noisy, quiet))
    assert private.noise == Noise(25.0, 0.2)
    assert private.hashes is None
    assert not set(private.ids) & set(plain.ids)
    assert not set(private.groups) & set(plain.groups)
    assert 2 not in private.split_of  # the test side stays
    assert same(private, answer(share(noisy, quiet)))  # the same noise
    # Of two answers more could be told than of one: from now on there is no other.
    for other in (request, replace(noisy, sigma=0.3), replace(noisy, clip=26.0)):
        with pytest.raises(RefusedError, match="shares them with no other"):
            share(other, quiet)
    assert (tmp_path / "private").stat().st_mode & 0o077 == 0
