"""The gate: whether a new model may take the place of the one that answers now. Pure numpy.

`decide` gets what both models make of the test images and returns the verdict. What it shall look at beyond that (the
recall of each class, say) comes from `evaluation` and is handed in by `pipeline`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edged.plural import counted

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNIFICANCE = 0.05
"""A drop that chance alone explains less often than this is taken for a real one."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a new model may become the current one.

    Attributes:
        promote: Whether it may.
        reason: Why, one line for a person.
        difference: New accuracy − old accuracy on the images that both were measured on; None without an old model.
        noise: The greatest drop on these images that chance explains; None without an old model.
    """

    promote: bool
    reason: str
    difference: float | None = None
    noise: float | None = None


def decide(
    new_correct: NDArray[np.bool_],
    old_correct: NDArray[np.bool_] | None,
    min_accuracy: float,
    shared: NDArray[np.bool_] | None = None,
) -> Verdict:
    """Decide on promotion.

    Refused are: a model that no test image measured, one under `min_accuracy`, and one that is worse than the current
    model by more than the test set's noise. The noise comes from the exact one-sided McNemar test (McNemar 1947;
    Dietterich 1998, "Approximate statistical tests for comparing supervised classification learning algorithms"):
    only the m images on which exactly one of the two models is right tell them apart, and were both equally good, the
    number b that the new one loses would be Binomial(m, ½). The noise is the drop (2 b − m) / n at the greatest b with
    P(B ≥ b) ≥ 0.05.

    Args:
        new_correct: (n,) bool, the new model on all test images.
        old_correct: (k,) bool, the current model on the `shared` ones; None where there is none to compare with.
        min_accuracy: 0..1.
        shared: (n,) bool with k true: the test images whose label the current model knows; None: all.
    """
    if len(new_correct) == 0:
        return Verdict(False, "there are no test images to measure it on; label more images")
    accuracy = float(new_correct.mean())
    if accuracy < min_accuracy:
        return Verdict(False, f"test accuracy {accuracy:.1%} is under min_accuracy {min_accuracy:.1%}")
    compared = new_correct if shared is None else new_correct[shared]
    if old_correct is None or len(compared) == 0:
        return Verdict(True, f"test accuracy {accuracy:.1%}; no current model knows these labels")
    lost = int(np.count_nonzero(old_correct & ~compared))
    differing = int(np.count_nonzero(old_correct != compared))
    difference = (differing - 2 * lost) / len(compared)
    noise = (2 * _greatest_by_chance(differing) - differing) / len(compared)
    old = float(old_correct.mean())
    change = (
        f"{float(compared.mean()):.1%} against the current model's {old:.1%} on {counted(len(compared), 'test image')}"
    )
    if -difference > noise:
        return Verdict(False, f"{change}: lower by more than the noise of {noise:.1%}", difference, noise)
    return Verdict(True, change, difference, noise)


def _greatest_by_chance(trials: int) -> int:
    """Return the greatest b with P(Binomial(trials, ½) ≥ b) ≥ 5 %."""
    limit = int(_SIGNIFICANCE * 2**64) * 2**trials  # in integers: 2^−trials leaves the floats' range
    tail = 0
    for b in range(trials, -1, -1):
        tail += math.comb(trials, b)
        if tail * 2**64 >= limit:
            return b
    return 0
