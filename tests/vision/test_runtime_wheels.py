"""Which LiteRT a machine is advised to install: only one that its C library can load."""

from __future__ import annotations

import platform

import pytest

from edged.vision import runtime_wheels
from edged.vision.runtime_wheels import better_runtime, glibc, how_to_get

NEWEST = "pip install --upgrade ai-edge-litert"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    architecture, version = request.param
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    monkeypatch.setattr(runtime_wheels.os, "confstr", lambda _: version)


@pytest.mark.parametrize(
    ("machine", "missing", "broken", "how"),
    [
        (("aarch64", "glibc 2.27"), None, "pip uninstall ai-edge-litert", "pip install 'tflite-runtime==2.13.*'"),
        (
            ("aarch64", "glibc 2.31"),
            "--upgrade 'ai-edge-litert<2.1.1'",
            "'ai-edge-litert<2.1.1'",
            "'ai-edge-litert<2.1.1'",
        ),
        (("aarch64", "glibc 2.35"), NEWEST, "does not load: libx.so", "pip install ai-edge-litert"),
        (("x86_64", "glibc 2.27"), NEWEST, "does not load: libx.so", "pip install ai-edge-litert"),
        (("aarch64", None), NEWEST, "does not load: libx.so", "pip install ai-edge-litert"),
    ],
    indirect=["machine"],
)
def test_the_advice_fits_the_machine(machine: None, missing: str | None, broken: str, how: str) -> None:
    without, unloadable = better_runtime(None), better_runtime("libx.so")
    assert (without is None) == (missing is None)
    assert missing is None or missing in (without or "")
    assert broken in (unloadable or "")
    assert how in how_to_get("ai-edge-litert")
    assert how_to_get("tflite-runtime") == "pip install tflite-runtime"


def test_this_machine_s_glibc_is_found() -> None:
    name, version = platform.libc_ver()
    if name != "glibc":
        pytest.skip("another C library")
    assert glibc() == tuple(map(int, version.split(".")[:2]))
