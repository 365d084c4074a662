"""A whole profile, small, and everything that may be missing or too much."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edged.contract.reports import ProfileReport
from edged.errors import ChildError, ConfigError, ModelError
from edged.jobs.process import ChildProcess
from edged.jobs.requests import PROFILE, ProfileRequest
from edged.lab.profiling import endtoend, runtimes
from edged.lab.profiling.layers import draw_layers
from edged.lab.profiling.profiler import profile, thread_counts
from edged.lab.profiling.tasks import measure, summarize
from edged.settings import MqttSettings
from edged.terminal.profile import print_profile
from edged.vision.onnx_conversion import convert
from tests.mosquitto import Mosquitto
from tests.networks import SHIPPED
from tests.waiting import PATIENCE_S


def test_quantiles_are_nearest_rank() -> None:
    summary = summarize([float(value) for value in range(100, 0, -1)])
    assert (summary["p50_ms"], summary["p95_ms"], summary["p99_ms"]) == (50, 95, 99)
    assert (summary["images"], summary["total_ms"], summary["mean_ms"]) == (100, 5050, 50.5)
    assert summarize([2.0])["p99_ms"] == 2


@pytest.mark.parametrize("seed", range(20))
def test_quantiles_are_those_of_the_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(2, 1, int(rng.integers(1, 3000))).tolist()
    ordered, summary = sorted(values), summarize(values)
    for percent in (50, 95, 99):
        assert summary[f"p{percent}_ms"] == round(ordered[math.ceil(percent * len(ordered) / 100) - 1], 4)
    assert summary["total_ms"] == round(math.fsum(ordered), 3)


def test_measuring_ends_with_the_count_or_the_time() -> None:
    assert measure(float, 3, 60) == [0, 1, 2]
    assert measure(float, 1000, 1e-9) == [0]


def test_thread_counts_end_with_all() -> None:
    assert thread_counts(1) == [1]
    assert thread_counts(6) == [1, 2, 3, 4, 5, 6]
    assert thread_counts(24) == [1, 2, 3, 4, 5, 6, 7, 8, 16, 24]


def test_a_whole_profile(
    model_file: Path, photos: Path, mosquitto: Callable[..., Mosquitto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endtoend, "_ANSWER_S", PATIENCE_S)  # a broker may have to wait for the processor
    request = ProfileRequest(
        name="shipped",
        model=model_file,
        parts=("layers", "end_to_end", "online", "batch"),
        runtime="litert",
        online=(3, 5),
        batches=(1, 3, 10**9),
        batch_images=6,
        seconds=30,  # more than five images take anywhere
        images=photos,
        mqtt=MqttSettings(url=mosquitto().url),
    )
    stages: list[tuple[str, float]] = []
    profiled = profile(request, lambda stage, fraction: stages.append((stage, fraction)))
    report = profiled.to_json()
    assert ProfileReport.model_validate(json.loads(json.dumps(report))) == profiled
    assert not {"threads", "runtimes", "gpu"} & report.keys()
    assert report["model"]["images"] == 2  # the third is none
    assert report["layers_sum"]["exact"]
    assert list(report["online"]) == ["3", "5"]
    assert report["online"]["5"]["images"] == 5
    assert {"total_ms", "mean_ms", "p50_ms", "p95_ms", "p99_ms"} <= report["online"]["3"].keys()
    assert report["batch"]["3"]["images"] == 6
    assert report["batch"]["3"]["images_per_s"] > 0
    assert report["batch"]["3"]["peak_mb"] > 20
    assert "a batch of 1000000000 needs about" in report["batch"]["1000000000"]["error"]
    assert report["end_to_end"]["publish_ms"] > 0
    assert report["end_to_end"]["frames"] == 30
    fractions = [fraction for _, fraction in stages]
    assert fractions == sorted(fractions)
    assert stages[-1] == ("done", 1.0)

    console = Console(width=80, record=True, force_terminal=False)
    with console.capture() as captured:
        print_profile(console, profiled)
    text = captured.get()
    assert "▶" in text
    assert "explained" in text
    assert max(map(len, text.splitlines())) <= 80
    picture = draw_layers(profiled)
    assert picture.count("<title>") == 67
    assert "slowest" in picture


def test_without_a_broker_the_report_says_so(model_file: Path) -> None:
    request = ProfileRequest(
        name="m",
        model=model_file,
        parts=("end_to_end", "gpu", "runtimes"),
        seconds=0.2,
        mqtt=MqttSettings(url="mqtt://127.0.0.1:9"),
    )
    report = profile(request).to_json()
    assert report["end_to_end"]["publish_ms"] is None
    assert "without publishing: broker 127.0.0.1:9" in report["end_to_end"]["note"]
    assert "mean_ms" in report["runtimes"]["litert"]
    if not runtimes.is_installed("onnx"):
        assert report["runtimes"]["onnx"] == {"error": "onnx is not installed; pip install 'edged[onnx]'"}
    if not runtimes.is_installed("tensorflow"):
        assert report["runtimes"]["tensorflow"] == {
            "error": "tensorflow is not installed; pip install 'edged[tensorflow]'"
        }
    if not report["gpu"].get("available"):
        assert "GPU" in report["gpu"]["error"]


@pytest.mark.skipif(not runtimes.is_installed("onnx"), reason="needs onnxruntime, the extra edged[onnx]")
def test_onnx_runtime_is_profiled_on_what_was_asked_for(model_file: Path, tmp_path: Path) -> None:
    request = ProfileRequest(
        name="m", model=model_file, parts=("layers", "online", "batch"), runtime="onnx", seconds=0.2, online=(2,),
        batches=(3,), batch_images=3,
    )  # fmt: skip
    report = profile(request).to_json()
    assert "layers" not in report
    assert (report["online"]["2"]["images"], report["batch"]["3"]["images"]) == (2, 3)
    assert report["online"]["2"]["version"]
    with pytest.raises(ModelError, match="layers are timed on a TFLite runtime"):
        profile(request.model_copy(update={"parts": ("layers",)}))
    elsewhere = profile(request.model_copy(update={"parts": ("online",), "runtime": "onnx:never_heard_of"})).to_json()
    assert elsewhere["online"]["2"]["error"] == "this onnxruntime does not run it on never_heard_of, but on cpu"
    other = tmp_path / "m.onnx"
    other.write_bytes(convert(model_file.read_bytes()))
    with pytest.raises(ModelError, match=r"what is profiled is a \.tflite file"):
        profile(request.model_copy(update={"model": other}))
    assert {"litert", "onnx", "tensorflow"} <= set(runtimes.side_by_side())


def test_what_is_wrong_is_told_in_one_line(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"runtime 'abacus': unknown; use auto, litert"):
        profile(ProfileRequest(name="m", model=model_file, runtime="abacus"))
    with pytest.raises(ModelError, match=r"none.tflite: cannot be read"):
        profile(ProfileRequest(name="m", model=tmp_path / "none.tflite"))
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(model_file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="truncated or damaged"):
        profile(ProfileRequest(name="m", model=broken))
    with pytest.raises(ConfigError, match="contains no image"):
        profile(ProfileRequest(name="m", model=model_file, images=tmp_path))


def test_one_that_is_killed_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    request = ProfileRequest(
        name="m", model=SHIPPED / "model.tflite", parts=("online",), online=(100_000,), seconds=600
    )
    with ChildProcess(PROFILE, request) as process, pytest.raises(ChildError, match="killed by signal 9"):
        process.wait(lambda progress: os.kill(process.pid, signal.SIGKILL) if "images" in progress.stage else None)
    assert list(temporary.iterdir()) == []
