"""What is told of ranked networks: reasons and warnings, on numbers made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edged.lab.sources.cross_validation import CrossValidation
from edged.lab.sources.race import Place, Race
from edged.lab.sources.ranking import Standing
from edged.lab.sources.remarks import of_place, warn_of_less_accurate, warn_of_lower_scores, why_first
from edged.store import Bundle, Manifest

Left = Literal["worse", "time"]


def bundle(name: str) -> Bundle:
    manifest = {"name": name, "sha256": name * 64, "input": {"width": 8, "height": 8}}
    return Bundle(Path("nowhere"), name * 12, Manifest.model_validate(manifest), ("0", "1"))


def measured(right: int, of: int = 100) -> CrossValidation:
    return CrossValidation(np.arange(of) < right, np.full(of, 0.5))


def place(right: int, left: Left | None = None, *, merit: float = 0.5, rounds: int = 2, of: int = 100) -> Place:
    return Place(0, measured(right, of), merit, rounds, left, 1.0)


def told(*places: Place, rounds: int = 3) -> str:
    standings = [Standing(bundle(name), measured=one.measured) for name, one in zip("abcd", places, strict=False)]
    return why_first(standings, Race(places, rounds, frozenset(), 1.0, 2.0))


def test_the_first_of_a_race_is_told_beside_the_second() -> None:
    assert told(place(90, merit=0.8764), place(80, merit=0.7), place(70)) == (
        "race over 3 rounds: 90.0% right by cross-validation on 100 images, score 0.876 against 80.0%, 0.700 of b"
    )


def test_who_left_a_race_is_told_and_not_compared() -> None:
    first = "race over 1 round: 90.0% right by cross-validation on 100 images, score 0.500"
    assert told(place(90), place(20, "worse", of=50), rounds=1) == f"{first}; 1 surely worse"
    assert told(place(90), place(60, "time"), rounds=1) == f"{first}; 1 left for time"
    all_kinds = told(place(90), place(60, "time"), place(30, "worse"), place(20, "worse"), rounds=1)
    assert all_kinds == f"{first}; 2 surely worse; 1 left for time"


@pytest.mark.parametrize(
    ("one", "warning"),
    [
        (place(90), None),
        (place(88), None),
        (place(60), "surely worse"),
        (place(95), None),
        (place(60, "worse", rounds=1, of=70), "surely worse after 1 round"),
        (place(20, "time"), "left for time after 2 rounds"),
    ],
)
def test_what_speaks_against_a_place_in_a_race(one: Place, warning: str | None) -> None:
    assert of_place(one, place(90)) == warning


def warnings(standings: list[Standing]) -> dict[str, str | None]:
    return {one.bundle.name: one.warning for one in standings}


def test_a_score_below_that_of_the_network_that_runs_is_warned_of() -> None:
    standings = [Standing(bundle(name), score=score) for name, score in zip("abc", (3.0, 2.0, 1.0), strict=True)]
    standings += [Standing(bundle("d"), warning="unknown"), Standing(bundle("e"), score=2.0)]
    nothing = dict.fromkeys("abce") | {"d": "unknown"}
    assert warnings(warn_of_lower_scores(standings, "b" * 64)) == nothing | {"c": "likely worse than the current b"}
    for current in (None, "f" * 64, "d" * 64, "c" * 64):  # none, none of these, one without a score, the last
        assert warnings(warn_of_lower_scores(standings, current)) == nothing


def test_networks_that_help_no_more_than_none_or_less_than_the_one_that_runs_are_warned_of() -> None:
    rights = {"a": 90, "b": 88, "c": 60, "d": 50, "e": 49}
    standings = [Standing(bundle(name), measured=measured(right)) for name, right in rights.items()]
    none = "negative transfer: no better than no transfer at all (50.0%)"
    useless = {"a": None, "b": None, "c": None, "d": none, "e": none}
    assert warnings(warn_of_less_accurate(standings, 0.5, None)) == useless
    assert warnings(warn_of_less_accurate(standings, 0.5, "c" * 64)) == useless
    worse = {"c": "worse than the current b by more than the noise"}
    assert warnings(warn_of_less_accurate(standings, 0.5, "b" * 64)) == useless | worse
    fewer = [*standings, Standing(bundle("f"), measured=measured(55, 99))]  # a photo was gone when it had its turn
    assert warnings(warn_of_less_accurate(fewer, 0.5, "b" * 64)) == useless | worse | {"f": None}
