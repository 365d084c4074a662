"""The gate: whether a new model may take the place of the one that answers now. Pure numpy.

`decide` gets what both models make of labeled images that neither was made of (`comparison`, `incumbent`) and returns
one of three verdicts: promoted, refused, or undecided where the images are too few to tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from edged.plural import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SIGNIFICANCE = 0.05
"""A drop of the exported file that chance alone explains less often than this is taken for a real one."""
_Z = 1.645
"""Half the width of the difference's interval, in standard errors: each end is passed by chance in 5 % of cases."""
_Z_CONFIRMED = 0.84
"""The same for images that both were made of, where all images together decide: they must not contradict, and chance
passes this in 20 % of cases."""
_Z_LABEL = 2.33
"""How many standard errors the recall of a label must fall. Labels are many, so that chance may do it for each in 1 %
of cases only."""
_FINEST = 1e-3
"""A difference that nobody asks for more images to see."""
_GREATEST_FALL = 0.2
"""A label's recall may fall by so much; by more, and beyond noise, the model is refused."""


@dataclass(frozen=True)
class Compared:
    """What the new and the old model make of m labeled images that neither was made of.

    Attributes:
        groups: m ids; the images of one group are near duplicates.
        labels: (m,) index of each image's label in `names`.
        names: The labels that both models know, and that are compared.
        new: (m,) how often the new model is right where it has to name one of `names`, 0..1: several heads judge an
            image.
        old: (m,) the same of the old model.
        new_free: (m,) how often the new model is right where it may name any of its labels, 0..1.
        old_free: (m,) the same of the old model.
        fresh: (m,) bool, images that only the new model was made of. If their labels are wrong, or they show something
            else, they praise whoever has learned that.
    """

    groups: Sequence[str]
    labels: NDArray[np.intp]
    names: tuple[str, ...]
    new: NDArray[np.float64]
    old: NDArray[np.float64]
    new_free: NDArray[np.float64]
    old_free: NDArray[np.float64]
    fresh: NDArray[np.bool_]


@dataclass(frozen=True)
class TestSide:
    """Which test images the exported file is right on, and something else that it is held against.

    Attributes:
        new: (k,) bool, the exported file.
        old: (k,) bool, what it is held against.
    """

    new: NDArray[np.bool_]
    old: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean difference and its interval.

    Attributes:
        mean: The difference.
        low, high: Its interval's ends.
        error: Standard error, with which the interval was made.
        score: The difference in units of what chance alone would make of images that differ so often.
        images: Images that it was measured on.
    """

    mean: float
    low: float
    high: float
    error: float
    score: float
    images: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a new model may become the current one.

    Attributes:
        verdict: "promoted": it is better, or shown to be not much worse. "refused": it is shown to be worse than is
            allowed, or too bad. "undecided": too few images tell.
        reason: Why, one line for a person.
        difference: New accuracy − old accuracy on images that both know; None where there was nothing to compare.
        previous: Accuracy of the old model on these images, 0..1; None where there was nothing to compare.
        more_images: So many more labeled images would likely decide it; None where it is decided.
        fallen: Label whose recall fell too far → by how much, 0..1.
    """

    verdict: Literal["promoted", "refused", "undecided"]
    reason: str
    difference: Estimate | None = None
    previous: float | None = None
    more_images: int | None = None
    fallen: tuple[tuple[str, float], ...] = ()


def decide(
    accuracy: float | None,
    mean_recall: float | None,
    labels: int,
    *,
    min_accuracy: float,
    tolerance: float,
    head: TestSide | None = None,
    file: TestSide | None = None,
    compared: Compared | None = None,
    same: bool = False,
) -> Verdict:
    """Decide on promotion.

    Refused are: a model that no image measured; one under `min_accuracy`; one that is no better than the same answer
    for every image; one whose exported file does worse on the test side than its head before quantization, or than the
    file that answers now, by more than chance explains; one under which the recall of a label falls too far; and one
    whose difference to the old one has an interval below −`tolerance` on images that both were made of: a model that
    may well be as good as is asked for is not refused, since nobody could overrule that. Promoted is a model whose
    difference has an interval above −`tolerance`, on these images, or on them and the fresh ones together where these
    do not contradict; and one that has no old one to be compared with. Everything else is undecided.

    Args:
        accuracy: Cross-validated accuracy of the new model on all labeled images, 0..1; None: nothing was measured.
        mean_recall: Mean over its labels of the cross-validated recall, 0..1.
        labels: Number of the new model's labels.
        min_accuracy: 0..1.
        tolerance: The new model may be so much worse, 0..1.
        head: The exported file and its head before quantization on the test side; None: not measured.
        file: The exported file and that which answers now on the test images whose labels both know; None: there is
            none.
        compared: Both models on labeled images; None: there is no old one to compare with.
        same: Whether the exported file is the one that answers now, byte for byte.
    """
    if same:
        return Verdict("promoted", "it is the model that answers now, byte for byte")
    flaw = (
        _flaw(accuracy, mean_recall, labels, min_accuracy)
        or (None if head is None else file_drop(head, "its head before quantization"))
        or (None if file is None else file_drop(file, "the current one"))
    )
    if flaw is not None:
        return Verdict("refused", flaw)
    if compared is None:
        return Verdict("promoted", f"accuracy {accuracy:.1%}; no current model knows these labels")
    if not len(compared.new):
        reason = "the current model was made of every labeled image that could compare the two; label new images"
        return Verdict("undecided", reason, more_images=more_images(None, tolerance))
    return _compare(compared, tolerance)


def _flaw(accuracy: float | None, mean_recall: float | None, labels: int, min_accuracy: float) -> str | None:
    """Return why a model is too bad whatever it replaces; None: it is not. The arguments are those of `decide`."""
    if accuracy is None or mean_recall is None:
        return "there are no test images to measure it on; label more images"
    if accuracy < min_accuracy:
        return f"accuracy {accuracy:.1%} is under min_accuracy {min_accuracy:.1%}"
    if mean_recall <= 1 / labels:
        return f"a mean recall of {mean_recall:.1%} is no better than the same answer for every image"
    return None


def _compare(compared: Compared, tolerance: float) -> Verdict:
    """Decide by what both models make of images whose label both know; there is at least one."""
    every = _change(compared, np.ones(len(compared.new), bool))
    if fallen := fallen_labels(compared):
        falls = ", ".join(f"{name} by {fall:.0%}" for name, fall in fallen)
        return every.verdict("refused", f"the recall falls too far: {falls}", fallen=fallen)
    if compared.fresh.all():
        return _undecided(every, None, tolerance)
    known = _change(compared, ~compared.fresh)
    difference = known.difference
    if difference.low > -tolerance:
        return known.verdict("promoted")
    contradicted = difference.mean < 0 and beyond_chance(difference)
    if contradicted and difference.high < -tolerance:
        return known.verdict("refused", f"worse by more than the allowed {tolerance:.1%}")
    confirmed = difference.mean - _Z_CONFIRMED * difference.error > -tolerance
    if confirmed and not contradicted and every.difference.low > -tolerance:
        return every.verdict("promoted")
    return _undecided(known, difference, tolerance)


def _undecided(change: _Change, judged: Estimate | None, tolerance: float) -> Verdict:
    """Return the verdict that the images are too few; `judged` is the difference on those that both were made of."""
    more = more_images(judged, tolerance)
    few = f"too few images to tell, allowed is {-tolerance:.1%}; about {more} more would"
    return change.verdict("undecided", few, more_images=more)


@dataclass(frozen=True)
class _Change:
    """The change of accuracy on some of the images: how good both models are on them, and the difference."""

    new: float
    old: float
    difference: Estimate

    def verdict(self, verdict: Literal["promoted", "refused", "undecided"], why: str = "", **more: Any) -> Verdict:
        """Return a verdict that this change leads to."""
        told = (
            f"{self.new:.1%} against the current model's {self.old:.1%} on "
            f"{counted(self.difference.images, 'labeled image')}: difference {self.difference.low:+.1%} to "
            f"{self.difference.high:+.1%}"
        )
        reason = f"{told}; {why}" if why else told
        return Verdict(verdict, reason, self.difference, previous=self.old, **more)


def _change(compared: Compared, judges: NDArray[np.bool_]) -> _Change:
    new, old = compared.new[judges], compared.old[judges]
    groups = [group for group, judge in zip(compared.groups, judges, strict=True) if judge]
    return _Change(float(new.mean()), float(old.mean()), estimate(new - old, groups))


def estimate(differences: NDArray[np.float64], groups: Sequence[str]) -> Estimate:
    """Estimate a mean difference and its interval.

    The images of a group of near duplicates count together (the variance of a mean over clusters; Liang and Zeger
    1986, "Longitudinal data analysis using generalized linear models"). An image is added that is half won and half
    lost: without it ten images on which both are right would prove that there is no difference (Agresti and Min 2005,
    "Simple improved confidence intervals for comparing matched proportions"). The score is that of McNemar's test,
    with the same image added: how far the difference is from none, if there were none.

    Args:
        differences: (m,) new − old for each image, −1..1.
        groups: m ids of groups of near duplicates.
    """
    count = len(differences) + 1
    mean = float(differences.sum()) / count
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    residuals = np.bincount(group, differences - differences.mean())
    sums = np.bincount(group, differences)
    error = math.sqrt(float((residuals**2).sum()) + 1) / count
    score = float(sums.sum()) / math.sqrt(float((sums**2).sum()) + 1)
    return Estimate(mean, mean - _Z * error, mean + _Z * error, error, score, len(differences))


def beyond_chance(difference: Estimate) -> bool:
    """Whether two models that are equally good would differ so much, to either side, in fewer than 5 % of cases."""
    return abs(difference.score) > _Z


def fallen_labels(compared: Compared) -> tuple[tuple[str, float], ...]:
    """Return the labels whose recall falls by more than `_GREATEST_FALL`, beyond noise, with the fall, worst first."""
    fallen = []
    groups = np.asarray(compared.groups)
    for number, name in enumerate(compared.names):
        own = compared.labels == number
        if not own.any():
            continue
        lost = compared.old_free[own] - compared.new_free[own]
        if lost.mean() > _GREATEST_FALL and estimate(lost, groups[own].tolist()).score > _Z_LABEL:
            fallen.append((name, float(lost.mean())))
    return tuple(sorted(fallen, key=lambda one: -one[1]))


def more_images(difference: Estimate | None, tolerance: float) -> int:
    """Return how many more images would likely decide, if they say what these say; two digits at most.

    The standard error falls with the square root of the number of images. It has to fall until the interval lies above
    or below −`tolerance`. Where nothing was measured yet, it is the fewest that decide: both models are right on all n,
    and the error is 1 / (n + 1), see `estimate`.
    """
    if difference is None:
        more = _Z / max(tolerance, _FINEST)
    else:
        gap = max(abs(difference.mean + tolerance), _FINEST)
        needed = difference.images * (_Z * difference.error / gap) ** 2
        more = max(1.0, needed - difference.images)
    unit = int(10 ** max(0, math.floor(math.log10(more)) - 1))
    return math.ceil(more / unit) * unit


def file_drop(test: TestSide, against: str) -> str | None:
    """Return what is wrong where the exported file does worse than what it is held against; None: nothing is.

    By the exact one-sided McNemar test (McNemar 1947; Dietterich 1998, "Approximate statistical tests for comparing
    supervised classification learning algorithms"): only the m images on which exactly one of the two is right tell
    them apart, and were both equally good, the number b that the new one loses would be Binomial(m, ½). The drop is
    (2 b − m) / n; one that is greater than that of the greatest b with P(B ≥ b) ≥ 0.05 is no chance.

    Args:
        test: Which test images both are right on.
        against: What the exported file is held against, in words.
    """
    images = len(test.new)
    if not images:
        return None
    lost = int(np.count_nonzero(test.old & ~test.new))
    differing = int(np.count_nonzero(test.old != test.new))
    if lost <= _greatest_by_chance(differing):
        return None
    return (
        f"the exported file is right on {test.new.mean():.1%} of {counted(images, 'test image')}, {against} on "
        f"{test.old.mean():.1%}: lower by more than the noise"
    )


def _greatest_by_chance(trials: int) -> int:
    """Return the greatest b with P(Binomial(trials, ½) ≥ b) ≥ 5 %."""
    limit = int(_SIGNIFICANCE * 2**64) * 2**trials  # in integers: 2^−trials leaves the floats' range
    tail, b = 0, trials + 1
    while tail * 2**64 < limit:
        b -= 1
        tail += math.comb(trials, b)
    return b


def mean_recall(right: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float | None:
    """Return the mean over the labels of the share of right answers; None without images.

    Args:
        right: (n,) how often each image was given its label, 0..1.
        labels: (n,) its label.
    """
    if not len(labels):
        return None
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
