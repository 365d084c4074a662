"""The bench of the selection sees the develop side alone while it fits; on made networks in place of real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.lab.selection.synthetic import measurements

pytest.importorskip("sklearn")


def test_nothing_is_fitted_to_the_report_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    from benchmarks import selection, selection_shift

    made = measurements(900)
    ids = np.arange(len(made), dtype=np.float32)
    sides = np.random.default_rng(0).choice(["develop", "report"], len(made))
    made = replace(
        made,
        networks=("mobilenet_v2", "resnet50", "inception_v3"),
        features=np.column_stack([ids, made.features[:, 1:]]),
        sources=np.random.default_rng(1).choice(["eli", "nips17", "imagen"], len(made)),
    )
    for name in ("kept.npz", "kept-poor.npz"):
        selection.save(tmp_path / name, made, sides)
    fitted_to: list[set[float]] = []

    def spy(module: Any, name: str) -> None:
        real = getattr(module, name)

        def spying(measured: Any, *args: Any, **more: Any) -> Any:
            fitted_to.append(set(measured.features[:, 0].tolist()))
            return real(measured, *args, **more)

        monkeypatch.setattr(module, name, spying)

    spy(selection, "fit")
    spy(selection, "cross_validate")
    spy(selection_shift, "fit_cascade")
    result = selection.run(tmp_path, tmp_path / "kept.npz")
    develop = set(ids[sides == "develop"].tolist())
    assert len(fitted_to) == 6
    assert all(each <= develop for each in fitted_to)
    assert fitted_to[0] == develop
    assert result["sides"] == {"develop": len(develop), "report": len(made) - len(develop)}
    assert result["report"]["photos"] == len(made) - len(develop)
    assert "learned" in selection.table(result)
