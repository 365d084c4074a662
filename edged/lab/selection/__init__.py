"""Fits the choice among several networks to labeled photos, and reports what it reaches (`edged premodel`).

`measuring` runs every network on every photo; `measurements` holds what came out. `premodel_fitting` and
`cascade_fitting` fit strategies to that, `evaluation` plays a strategy on measured photos, `training` does all of it
with cross-validation, `report` composes tables and the picture; `power_replay` runs the governor on a trace of power.
Strategies as they run on a device, and their files, are in `edged.selection`.
"""

from edged.lab.selection import power_replay
from edged.lab.selection.cascade_fitting import fit_cascade
from edged.lab.selection.evaluation import paired_difference
from edged.lab.selection.measurements import Measurements, folds
from edged.lab.selection.measuring import measure
from edged.lab.selection.report import compose, draw, operating_points
from edged.lab.selection.training import (
    Fit,
    Outcomes,
    Progress,
    cross_validate,
    fit,
    on_photos,
    require_fitting,
)

__all__ = [
    "Fit",
    "Measurements",
    "Outcomes",
    "Progress",
    "compose",
    "cross_validate",
    "draw",
    "fit",
    "fit_cascade",
    "folds",
    "measure",
    "on_photos",
    "operating_points",
    "paired_difference",
    "power_replay",
    "require_fitting",
]
