"""What is told of networks that were ranked: why the first one of a race is it, and what speaks against the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edged.lab.sources.race import Place, Race
from edged.lab.sources.racing import is_surely_worse
from edged.lab.sources.ranking import Standing, accuracy_of
from edged.plural import counted


def why_first(standings: Sequence[Standing], run: Race) -> str:
    """Return in a line why the first network of a race is the first.

    Args:
        standings: Of the race's places, in their order, two or more.
        run: The race.
    """
    winner, second = run.places[0], run.places[1]
    worse = sum(place.left == "worse" for place in run.places)
    slow = sum(place.left == "time" for place in run.places)
    told = (
        f"race over {counted(run.rounds, 'round')}: {accuracy_of(standings[0]):.1%} right by cross-validation on "
        f"{counted(len(winner.measured.correct), 'image')}, score {winner.merit:.3f}"
    )
    if second.left is None:
        told += f" against {accuracy_of(standings[1]):.1%}, {second.merit:.3f} of {standings[1].bundle.name}"
    if worse:
        told += f"; {worse} surely worse"
    if slow:
        told += f"; {slow} left for time"
    return told


def of_place(place: Place, winner: Place) -> str | None:
    """Return what speaks against a network as its race ended; None: nothing."""
    if place.left == "worse":
        return f"surely worse after {counted(place.rounds, 'round')}"
    if place.left == "time":
        return f"left for time after {counted(place.rounds, 'round')}"
    return "surely worse" if is_surely_worse(place.measured.correct, winner.measured.correct) else None


def warn_of_lower_scores(standings: Sequence[Standing], current: str | None) -> list[Standing]:
    """Return the standings, with a warning on those whose score is below that of the network that runs.

    Args:
        standings: With estimates; one without is not judged.
        current: Hash of the backbone that runs; None: none does.
    """
    running = _running(standings, current)
    if running is None or running.score is None:
        return list(standings)
    limit = running.score
    text = f"likely worse than the current {running.bundle.name}"
    return [replace(one, warning=text) if one.score is not None and one.score < limit else one for one in standings]


def warn_of_less_accurate(standings: Sequence[Standing], baseline: float, current: str | None) -> list[Standing]:
    """Return the standings, with a warning on networks that help nobody, or less than the one that runs.

    Args:
        standings: All of them measured.
        baseline: Accuracy without any network, 0..1.
        current: Hash of the backbone that runs; None: none does.
    """
    running = _running(standings, current)
    return [replace(one, warning=_against(one, baseline, running)) for one in standings]


def _running(standings: Sequence[Standing], current: str | None) -> Standing | None:
    return next((one for one in standings if one.bundle.manifest.backbone_sha256 == current), None)


def _against(one: Standing, baseline: float, running: Standing | None) -> str | None:
    if accuracy_of(one) <= baseline:
        return f"negative transfer: no better than no transfer at all ({baseline:.1%})"
    if one.measured is None or running is None or running.measured is None:
        return None
    if len(one.measured.correct) != len(running.measured.correct):  # an image was lost between the two
        return None
    if is_surely_worse(one.measured.correct, running.measured.correct):
        return f"worse than the current {running.bundle.name} by more than the noise"
    return None
