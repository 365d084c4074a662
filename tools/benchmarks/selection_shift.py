"""A cascade on photos unlike those that it was fitted to: with thresholds as fitted, and with thresholds that follow.

Fitted to photos of one source, or of one camera, of the develop side; run on others of the report side. Some frames are
audited, without their labels; the others judge. The *poor camera* halves the light, blurs (two fifths of the
resolution) and adds noise (8 grey levels) to every photo.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edged.lab.selection import Measurements, Outcomes, fit_cascade, paired_difference
from edged.selection.recalibration import Recalibration
from edged.selection.strategy import ByCascade

AUDITS = 150
_DECISION_MS = 0.05


def poor_camera(image: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return an RGB photo as a dark, blurred and noisy camera would have taken it."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width * 2 // 5), max(1, height * 2 // 5)), interpolation=cv2.INTER_AREA)
    back = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 2
    noise = np.random.default_rng(seed).normal(0, 8, back.shape)
    return np.asarray(np.clip(back + noise, 0, 255), np.uint8)


def collect(good: tuple[Measurements, Measurements], poor: tuple[Measurements, Measurements]) -> list[dict[str, Any]]:
    """Fit and run across sources and cameras.

    Args:
        good: The photos as they are: develop side and report side.
        poor: The same photos of the poor camera.
    """

    def of(measured: Measurements, *sources: str) -> Measurements:
        return measured.take(np.flatnonzero(np.isin(measured.sources, sources)))

    others = ("nips17", "imagen")
    return [
        shift("eli", of(good[0], "eli"), "nips17 and imagen", of(good[1], *others)),
        shift("nips17 and imagen", of(good[0], *others), "eli", of(good[1], "eli")),
        shift("photos as they are", good[0], "the poor camera's", poor[1]),
        shift("the poor camera's", poor[0], "photos as they are", good[1]),
    ]


def shift(fitted_to: str, training: Measurements, run_on: str, test: Measurements) -> dict[str, Any]:
    """Fit to one set of photos and run on another."""
    cascade = fit_cascade(training, pooled=True, decision_ms=_DECISION_MS)
    order = np.random.default_rng(0).permutation(len(test))
    audited, judged = test.take(np.sort(order[:AUDITS])), test.take(np.sort(order[AUDITS:]))
    recalibration = Recalibration(cascade)
    for photo in range(AUDITS):
        recalibration.audit(cascade.classify(lambda network, photo=photo: audited.scores[network, photo], -1.0))
    row: dict[str, Any] = {"fitted_to": fitted_to, "run_on": run_on, "photos": len(judged), "audits": AUDITS}
    best = training.best
    row["best_top1"] = round(float(judged.right[best].mean()), 4)
    row["factors"] = [round(each, 3) for each in recalibration.factors]
    for name, found in (("fixed", cascade), ("followed", recalibration.cascade)):
        outcome = Outcomes.of(ByCascade(found), judged, _DECISION_MS).default
        row[name] = {
            "top1": round(float(outcome.top1.mean()), 4),
            "beside_best": paired_difference(outcome.top1, judged.right[best]),
            "time_share": round(float(outcome.cost_ms.mean() / judged.network_ms[best]), 4),
        }
    return row
