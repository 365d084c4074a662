"""Passes of photos through networks, kept on disk with the processor time that each has cost.

A race that is repeated with other settings, orders and photos must not invoke anything again, and what it would have
cost must be what it did cost: bottleneck and time of each photo in each network are measured once, by one thread.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edged.codec import decode, read_file
from edged.images import LabeledImage
from edged.learning.bottlenecks import Backbone
from edged.store import Bundle
from edged.vision.network import HeadNetwork
from edged.vision.quantization import Affine

_TABLE = """
CREATE TABLE IF NOT EXISTS passes (network TEXT, photo TEXT, data BLOB, seconds REAL, PRIMARY KEY (network, photo));
CREATE TABLE IF NOT EXISTS openings (network TEXT PRIMARY KEY, seconds REAL);
"""


class Passes:
    """What is kept.

    Args:
        file: The SQLite file.
    """

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file)
        self._database.executescript(_TABLE)
        self._read: dict[str, Kept] = {}

    def complete(self, bundle: Bundle, images: Sequence[LabeledImage]) -> int:
        """Pass the photos through a network that have not been; return how many these were."""
        backbone = Backbone.of(bundle, "auto")
        have = {
            row[0] for row in self._database.execute("SELECT photo FROM passes WHERE network = ?", [backbone.sha256])
        }
        todo = list({image.sha256: image for image in images if image.sha256 not in have}.values())
        if not todo:
            return 0
        began = time.thread_time()
        network = backbone.network()
        first = decode(read_file(todo[0].path), (network.width, network.height), crop=backbone.crop)
        network.embed(backbone.prepare(network, first, "plain", todo[0].sha256))  # the first one sets things up
        opening = time.thread_time() - began
        with self._database:
            self._database.execute("INSERT OR IGNORE INTO openings VALUES (?, ?)", [backbone.sha256, opening])
        for begin in range(0, len(todo), 50):
            rows = []
            for image in todo[begin : begin + 50]:
                began = time.thread_time()
                decoded = decode(read_file(image.path), (network.width, network.height), crop=backbone.crop)
                data = network.embed(backbone.prepare(network, decoded, "plain", image.sha256)).tobytes()
                rows.append((backbone.sha256, image.sha256, data, time.thread_time() - began))
            with self._database:
                self._database.executemany("INSERT OR IGNORE INTO passes VALUES (?, ?, ?, ?)", rows)
        return len(todo)

    def opening_s(self, bundle: Bundle) -> float:
        """Return the processor time that opening a network took, seconds."""
        row = self._database.execute(
            "SELECT seconds FROM openings WHERE network = ?", [bundle.manifest.backbone_sha256]
        ).fetchone()
        return float(row[0])

    def mean_ms(self, bundle: Bundle) -> float:
        """Return the processor time that a photo took on average, milliseconds."""
        row = self._database.execute(
            "SELECT avg(seconds) FROM passes WHERE network = ?", [bundle.manifest.backbone_sha256]
        ).fetchone()
        return 1e3 * float(row[0])

    def of(self, bundle: Bundle, images: Sequence[LabeledImage]) -> Entrant:
        """Return what a network made of photos; all of them must have passed."""
        if bundle.id not in self._read:
            backbone = Backbone.of(bundle, "auto")
            query = "SELECT photo, data, seconds FROM passes WHERE network = ?"
            rows = {photo: (data, seconds) for photo, data, seconds in self._database.execute(query, [backbone.sha256])}
            self._read[bundle.id] = Kept(backbone, HeadNetwork(backbone.model), rows)
        kept = self._read[bundle.id]
        return Entrant(
            bundle,
            kept.backbone.array([kept.rows[image.sha256][0] for image in images]),
            kept.backbone.affine,
            np.array([kept.rows[image.sha256][1] for image in images]),
            self.opening_s(bundle),
            kept.head,
        )


@dataclass(frozen=True)
class Kept:
    """All that is kept of a network: photo → (bottleneck, seconds)."""

    backbone: Backbone
    head: HeadNetwork
    rows: dict[str, tuple[bytes, float]]


@dataclass(frozen=True)
class Entrant:
    """One network's bottlenecks of a target.

    Attributes:
        bundle: The network.
        features: (n, d) bytes.
        affine: Scale and zero point of the bytes.
        seconds: (n,) processor time of reading, decoding and passing each photo, seconds.
        opening_s: Processor time of opening the network, seconds.
        head: The network's own classifier head.
    """

    bundle: Bundle
    features: NDArray[np.uint8] | NDArray[np.int8]
    affine: Affine
    seconds: NDArray[np.float64]
    opening_s: float
    head: HeadNetwork
