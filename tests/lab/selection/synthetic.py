"""Seeded measurements of networks that do not exist: the dearer, the more often right, and surer when right."""

import numpy as np

from edged.lab.selection.measurements import Measurements
from edged.selection.features import FEATURES

COSTS_MS = (1.0, 4.0, 40.0)


def measurements(photos: int = 400, classes: int = 12, seed: int = 0) -> Measurements:
    """Three networks that are right on about 60, 75 and 90 % of the photos."""
    rng = np.random.default_rng(seed)
    true = rng.integers(classes, size=photos)
    difficulty = rng.random(photos)
    scores = []
    for skill in (0.6, 0.75, 0.9):
        logits = rng.normal(size=(photos, classes))
        sure = 9 * (skill - difficulty) + rng.normal(size=photos)
        logits[np.arange(photos), true] += np.where(sure > 0, 3 + sure, 0)
        powers = np.exp(logits)
        scores.append(powers / powers.sum(axis=1, keepdims=True))
    features = rng.random((photos, len(FEATURES)))
    features[:, FEATURES.index("contrast")] = difficulty + 0.1 * rng.normal(size=photos)
    return Measurements(
        networks=("small", "medium", "large"),
        scores=np.asarray(scores, np.float32),
        classes=true,
        features=features.astype(np.float32),
        network_ms=np.array(COSTS_MS),
        feature_ms=dict.fromkeys(FEATURES, 0.1),
        memory_mb=np.array([5.0, 10.0, 40.0]),
        energy_mj=None,
        sources=np.array(["a", "b"] * (photos // 2)),
    )
