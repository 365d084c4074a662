"""Networks whose familiarity was measured with photos: it is made again from the head of the one that is installed.

`configs/familiarity.json` has numbers alone, made by `tools/build_familiarity.py --known`: model's sha256 → quantiles
of the similarity of photos that show what the network was trained on. Of any other network nobody here has such
photos, and the share of them that a frame is compared with cannot be guessed from the head: it calls nothing unknown.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from edged import resources
from edged.errors import ModelError
from edged.vision.familiarity import of_head
from edged.vision.graph import read_graph

FILE = "familiarity.json"


def known_familiarity(model: bytes, numbers: Path | None = None) -> bytes | None:
    """Return the content of a network's familiarity.npz; None: it is not among those that were measured.

    Args:
        model: Content of its .tflite file.
        numbers: Another file than the shipped `configs/familiarity.json`.

    Raises:
        ModelError: The numbers cannot be read, or the model is no classifier.
    """
    path = resources.shipped("configs") / FILE if numbers is None else numbers
    measured = _read(path).get(hashlib.sha256(model).hexdigest())
    if measured is None:
        return None
    graph = read_graph(model)
    dtype = np.uint8 if graph.bottleneck_dtype == "uint8" else np.int8
    similarity = np.array(measured["similarity"], np.float32)
    return of_head(graph.head_weights(), graph.bottleneck_quantization, dtype, similarity).encode()


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: {' '.join(str(error).split())}") from error
