"""Which network for this frame, on the device: features, premodels, cascades, strategies, a governor for heat.

`files` reads what was fitted, `pool` opens the networks, `strategy` decides frame by frame. Fitting and measuring are
in `edged.lab.selection`; the engine that asks a strategy is `edged.daemon.selection`.
"""

__all__ = [
    "cascade",
    "confidence",
    "energy",
    "features",
    "files",
    "governor",
    "pool",
    "premodels",
    "recalibration",
    "strategy",
]
