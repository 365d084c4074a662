"""Reports on the wire: names and meaning as devices before have written them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from edged.contract.reports import (
    BatchTiming,
    FineTuningReport,
    NoGpu,
    NotMeasured,
    ProfileReport,
    TrainingReport,
)

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


def training(name: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    return report


@pytest.mark.parametrize("name", ["training", "finetuning"])
def test_a_training_goes_through_byte_for_byte(name: str) -> None:
    golden = training(name)
    report = FineTuningReport if name == "finetuning" else TrainingReport
    assert json.dumps(report.model_validate(golden).to_json()) == json.dumps(golden)
    assert golden["confused"], "an empty list would show little"
    assert golden["worst"], "an empty list would show little"


@pytest.mark.parametrize("part", sorted(training("training")))
def test_a_training_of_an_older_device_lacks_parts(part: str) -> None:
    golden = training("training")
    value = golden.pop(part)
    assert TrainingReport.model_validate(golden).to_json() == golden
    assert TrainingReport.model_validate({part: value}).to_json() == {part: value}


def test_fields_of_a_newer_training_are_ignored() -> None:
    golden = training("training")
    newer = {**golden, "watts": 3, "accuracy": {**golden["accuracy"], "top5": 1.0}}
    newer["worst"] = [{**one, "place": 1} for one in golden["worst"]]
    assert TrainingReport.model_validate(newer).to_json() == golden


def test_a_report_inside_another_message_leaves_out_what_was_never_set() -> None:
    golden = training("training")
    del golden["choice"]
    adapter = TypeAdapter(dict[str, TrainingReport])
    assert adapter.dump_python({"report": TrainingReport.model_validate(golden)}, mode="json") == {"report": golden}
