"""Reports on the wire: names and meaning as devices before have written them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edged.contract.reports import BatchTiming, NoGpu, NotMeasured, ProfileReport

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden() -> dict[str, Any]:
    report: dict[str, Any] = json.loads((GOLDEN / "profile.json").read_text(encoding="utf-8"))
    return report


def test_a_profile_goes_through_byte_for_byte(golden: dict[str, Any]) -> None:
    report = ProfileReport.model_validate(golden)
    assert json.dumps(report.to_json()) == json.dumps(golden)
    assert isinstance((report.batch or {})["1"], BatchTiming)
    assert isinstance((report.batch or {})["1000000000"], NotMeasured)
    assert isinstance(report.gpu, NoGpu)


@pytest.mark.parametrize(
    "part", ["layers", "layers_sum", "end_to_end", "online", "batch", "threads", "runtimes", "gpu"]
)
def test_what_was_not_measured_is_absent(golden: dict[str, Any], part: str) -> None:
    del golden[part]
    assert ProfileReport.model_validate(golden).to_json() == golden


def test_a_gpu_has_times(golden: dict[str, Any]) -> None:
    times = {"images": 3, "total_ms": 3.0, "mean_ms": 1.0, "p50_ms": 1.0, "p95_ms": 1.0, "p99_ms": 1.0}
    golden["gpu"] = {**times, "available": True}
    assert json.dumps(ProfileReport.model_validate(golden).to_json()) == json.dumps(golden)


def test_fields_of_a_newer_device_are_ignored_and_no_number_is_infinite(golden: dict[str, Any]) -> None:
    assert "watts" not in ProfileReport.model_validate({**golden, "watts": 3}).to_json()
    golden["machine"]["load"] = float("nan")
    with pytest.raises(ValidationError, match="finite"):
        ProfileReport.model_validate(golden)
