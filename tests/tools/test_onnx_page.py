"""The page on ONNX Runtime says what its numbers say, and nothing that was not measured."""

from __future__ import annotations

import json
from pathlib import Path

REPORTS = Path(__file__).parents[2] / "tools" / "reports"


def test_the_page_is_made_of_its_numbers_and_they_hold() -> None:
    from benchmarks import onnx

    numbers = json.loads((REPORTS / "onnx.json").read_text(encoding="utf-8"))
    assert onnx.page(numbers) == (REPORTS / "onnx.md").read_text(encoding="utf-8")
    assert numbers["agreement"]["mobilenet_v2"]["photos"] == 1000
    for found in numbers["agreement"].values():
        assert found["same_top1"] >= 0.995 * found["photos"]


def test_what_was_not_measured_is_called_so() -> None:
    from benchmarks import onnx

    times = {
        "online_ms": {"1": 2.5}, "batch_images_per_s": {}, "retrain_cold_s": 9.0, "onnxruntime": "1.23.2",
        "machine": {"processor": "a board", "nvpmodel": "MAXN", "jetson_clocks": True},
    }  # fmt: skip
    lines = onnx.page({"agreement": {}, "providers": {"cuda": {"mobilenet_v2": times}}}).splitlines()
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in (line.split("|") for line in lines)
            if len(cells) == 7}  # fmt: skip
    nothing = "not measured"
    assert rows["online, 1 photos"] == [nothing, "2.5 ms", nothing, nothing]
    assert rows["retrain, cold, all flower photos"] == [nothing, "9 s", nothing, nothing]
    assert rows["batches of 200"] == [nothing] * 4
    assert "* cuda: a board, onnxruntime 1.23.2. The machine was set to: nvpmodel MAXN, clocks locked." in lines
