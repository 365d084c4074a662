"""The tool that runs edged on arm64: how it compares, and what it says where it cannot run. Its run takes too long."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytest.importorskip("elftools", reason="needs pyelftools, which tools/test installs")

HERE: dict[str, Any] = {
    "models": {
        "net": {
            "id": "0123456789ab",
            "photos": {
                "cat.jpg": {
                    "input_differs": 0,
                    "input_apart": 0,
                    "scores": [0, 200, 7],
                    "bottleneck": [1, 2],
                    "top": "cat",
                }
            },
        }
    }
}


@pytest.fixture
def tool() -> ModuleType:
    import prove_arm64

    return prove_arm64


@pytest.mark.parametrize(("step", "holds"), [(0, True), (1, True), (2, False), (-2, False)])
def test_scores_may_be_one_quantization_step_apart(tool: ModuleType, step: int, holds: bool) -> None:
    there = copy.deepcopy(HERE)
    there["models"]["net"]["photos"]["cat.jpg"]["scores"][1] += step
    compared = tool.compare(HERE, there)["net"]
    assert compared["holds"] is holds
    assert (compared["most_steps"], compared["scores_differ"]) == (abs(step), int(step != 0))


def test_another_model_is_no_proof(tool: ModuleType) -> None:
    there = copy.deepcopy(HERE)
    there["models"]["net"]["id"] = "ffffffffffff"
    assert tool.compare(HERE, there)["net"]["holds"] is False


def test_another_label_is_told(tool: ModuleType) -> None:
    there = copy.deepcopy(HERE)
    there["models"]["net"]["photos"]["cat.jpg"]["top"] = "dog"
    assert tool.compare(HERE, there)["net"]["holds"] is False


def test_without_its_programs_one_line_says_what_to_install(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("it compares with x86_64")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(tool.signal, "signal", lambda *_: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tool.main([]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "apt-get install debootstrap qemu-user-static mosquitto" in line


def test_a_plain_user_is_told_so(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SystemExit) as ended:
        tool.main([])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("state", "magic", "flags", "usable"),
    [
        ("enabled", "7f454c460201010000000000000000000200b700", "F", True),
        ("enabled", "7f454c460201010000000000000000000200b700", "OPF", True),
        (
            "enabled",
            "7f454c460201010000000000000000000200b700",
            "OP",
            False,
        ),  # the emulator would have to be in the root
        ("disabled", "7f454c460201010000000000000000000200b700", "F", False),
        ("enabled", "7f454c460101010000000000000000000200f300", "F", False),  # riscv
    ],
)
def test_the_kernel_s_emulator_for_arm64_is_known(
    tool: ModuleType, tmp_path: Path, state: str, magic: str, flags: str, usable: bool
) -> None:
    entry = tmp_path / "some"
    entry.write_text(f"{state}\ninterpreter /usr/bin/qemu-aarch64-static\nflags: {flags}\noffset 0\nmagic {magic}\n")
    assert tool.emulates_arm64(entry) is usable


def test_the_page_says_that_it_is_no_jetson(tool: ModuleType) -> None:
    score = {"runtime": "litert", "processor": "cortex-a57", "version": "2.3.0", "holds": True}
    model = {
        "same_tops": 6,
        "same_inputs": 5,
        "inputs_apart": 1,
        "photos": 6,
        "scores_differ": 3,
        "scores": 6000,
        "most_steps": 1,
        "holds": True,
    }
    side = {"cross_validated": 0.95}
    daemon = {"runtime": "litert", "results": 12, "states": ["online", "offline"], "exit_code": 0, "holds": False}
    report = {
        "debian": "12.11", "machine": "aarch64", "emulator": "qemu", "wheels": 22,
        "scores": [{**score, "models": {"net": model}}, {**score, "runtime": "tflite_runtime", "models": {}}],
        "training": [{"runtime": "litert", "photos": 60, "x86_64": side, "arm64": side, "holds": True}],
        "daemon": [daemon],
        "runtimes_on_x86_64": {"net": {**model, "most_steps": 9}},
    }  # fmt: skip
    page = tool.page(report)
    assert "**Not verified on Jetson hardware.**" in page
    assert "| net, litert | cortex-a57 | 6 of 6 | 5 of 6 | 3 of 6000 | 1 step(s) | holds |" in page
    assert "LiteRT and tflite_runtime are 9 step(s) apart on net" in page
    assert "| litert | 60 | 95.0% | 95.0% | holds |" in page
    assert "| litert | 12 | online, offline | 0 | DOES NOT HOLD |" in page
