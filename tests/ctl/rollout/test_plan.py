"""Who is first, and which wave comes next; what the options take."""

from __future__ import annotations

import argparse

import pytest

from edged.ctl.rollout.plan import Share, per_cent, seconds, share, shares, waves_of

FLEET = [f"line-{number:02}" for number in range(40)]


def sizes(canary: str | None, waves: str = "") -> list[int]:
    found = waves_of(FLEET, "c8bc6caecba7", share(canary) if canary else None, shares(waves) if waves else ())
    assert sorted(device for wave in found for device in wave) == FLEET, "each device is in one wave"
    return [len(wave) for wave in found]


def test_canaries_then_waves_then_what_is_left() -> None:
    assert sizes("5%") == [2, 38]
    assert sizes("5%", "10%,50%,100%") == [2, 2, 16, 20]
    assert sizes("1", "10%,50%") == [1, 3, 16, 20]
    assert sizes(None, "50%") == [20, 20]
    assert sizes("100%") == [40]
    assert sizes("1%", "2%,100%") == [1, 39], "a wave that nobody is left for is none"


def test_the_same_model_has_the_same_canaries_and_another_has_others() -> None:
    def first(model: str, fleet: list[str]) -> list[str]:
        return waves_of(fleet, model, Share("4"), ())[0]

    assert first("a" * 12, FLEET) == first("a" * 12, FLEET[::-1])
    assert len({tuple(first(f"{number:012x}", FLEET)) for number in range(20)}) > 15


@pytest.mark.parametrize("text", ["0", "0%", "101%", "-1", "5 %", "", "half", "1e3", "nan%"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        share(text)


@pytest.mark.parametrize(("text", "number"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("30", 30), ("0.5s", 0.5)])
def test_times(text: str, number: float) -> None:
    assert seconds(text) == number
    for wrong in (f"{text} ", f"-{text}", "0", "m", "10d", "inf"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(wrong)


def test_per_cent() -> None:
    assert (per_cent("25%"), per_cent("2.5")) == (0.25, 0.025)
    for wrong in ("", "-1%", "x", "1e9"):
        with pytest.raises(argparse.ArgumentTypeError):
            per_cent(wrong)
