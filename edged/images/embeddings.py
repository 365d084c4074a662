"""Bottlenecks that were computed once: per image, backbone and view."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from edged.images.index import ImageIndex


def variant(crop: float) -> str:
    """Return the name of the plain view: the centre crop that live frames get too (see `edged.vision.preprocess`)."""
    return f"crop={crop:g}"


@dataclass(frozen=True, slots=True)
class Embedding:
    """The bottleneck of one image as the quantized graph gives it: real = scale · (data − zero_point).

    Attributes:
        sha256: Of the image.
        backbone_sha256: Of the model that computed it, as in a bundle's manifest.
        variant: Which view of the image; see `variant`.
        data: One byte per feature.
        dtype: Of `data`.
        scale, zero_point: Of the bottleneck tensor.
    """

    sha256: str
    backbone_sha256: str
    variant: str
    data: bytes
    dtype: Literal["int8", "uint8"]
    scale: float
    zero_point: int


class Embeddings:
    """The table of embeddings.

    Args:
        index: Where it is.
    """

    def __init__(self, index: ImageIndex) -> None:
        self._index = index

    def put(self, rows: Iterable[Embedding]) -> None:
        """Keep embeddings, over older ones, in one transaction."""
        with self._index.writing() as database:
            database.executemany(
                "INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (row.backbone_sha256, row.variant, row.sha256, row.dtype, row.scale, row.zero_point, row.data)
                    for row in rows
                ],
            )

    def get(self, backbone_sha256: str, variant: str, shas: Collection[str] | None = None) -> dict[str, bytes]:
        """Return image sha256 → data of those that there are; `shas` None: of all images."""
        with self._index.reading() as database:
            rows = database.execute(
                "SELECT sha256, data FROM embeddings WHERE backbone_sha256 = ? AND variant = ?",
                (backbone_sha256, variant),
            ).fetchall()
        if shas is None:
            return dict(rows)
        wanted = set(shas)
        return {sha256: data for sha256, data in rows if sha256 in wanted}

    def known(self, backbone_sha256: str, variant: str) -> set[str]:
        """Return the sha256 of every image that has an embedding; reads no data."""
        with self._index.reading() as database:
            rows = database.execute(
                "SELECT sha256 FROM embeddings WHERE backbone_sha256 = ? AND variant = ?", (backbone_sha256, variant)
            )
            return {sha256 for (sha256,) in rows}


def forget(database: sqlite3.Connection, shas: Iterable[str]) -> None:
    """Delete the embeddings of images that are gone."""
    database.executemany("DELETE FROM embeddings WHERE sha256 = ?", [(sha256,) for sha256 in shas])
