"""How few labels an oracle needs that sees the photos that judge, beside more published ways to choose what to label.

The oracle is greedy: of the batches that all other ways would ask for, and of random ones, it takes the one after which
the head is best on the very photos that judge. Nothing that a device can do knows that. A second one is as good on half
of these photos and is judged on the others: the first one also learns what only these photos want.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import suggestion
from benchmarks.set_aside import Side
from benchmarks.suggestion import Choice, Numbers
from edged.vision.scores import softmax

RANDOM_BATCHES = 5
NEARLY = 0.98
"""Of the goal's accuracy: with how few labels random choice itself is nearly there."""


def entropy(choice: Choice, count: int) -> Numbers:
    """Return those whose scores have the greatest entropy, of photos that a training learns from."""
    scores = np.maximum(choice.scores, 1e-12)
    order = choice.pool[np.argsort((scores * np.log(scores)).sum(axis=1), kind="stable")]
    return order[choice.photos.teaching[order]][:count]


def badge(choice: Choice, count: int) -> Numbers:
    """Draw them as k-means++ draws centres among the gradients of the last layer (Ash et al. 2020).

    A gradient is the outer product of the scores' error, if the best label is right, and the bottleneck. Of photos that
    a training learns from.
    """
    teach = np.flatnonzero(choice.photos.teaching[choice.pool])
    error = choice.scores[teach].astype(np.float64)
    error[np.arange(len(teach)), error.argmax(axis=1)] -= 1
    values = choice.photos.bottlenecks[choice.pool[teach]].astype(np.float64)
    lengths = (error**2).sum(axis=1) * (values**2).sum(axis=1)
    chosen = [int(lengths.argmax())]
    nearest = np.full(len(teach), np.inf)
    while len(chosen) < min(count, len(teach)):
        last = chosen[-1]
        product = (error @ error[last]) * (values @ values[last])
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * product, 0))
        nearest[chosen] = 0
        if not nearest.any():
            break
        chosen.append(int(choice.random.choice(len(teach), p=nearest / nearest.sum())))
    return choice.pool[teach[chosen]]


PUBLISHED: dict[str, Callable[[Choice, int], Numbers]] = {"entropy": entropy, "BADGE": badge}
ORACLE, BLIND = "oracle", "oracle, judged on other photos"
ORACLES = (ORACLE, BLIND)
WAYS = ("images suggest", "random", "margin, of frames that teach", "core-set", *PUBLISHED, *ORACLES)
TASKS = ("groups", "kinds")
"""Those of `suggestion` where half of the labels of random choice do not do."""


def learn(state: Path, side: Side, task: str, way: str, seed: int) -> list[tuple[int, float]]:
    """Return the accuracy with so many labels as `suggestion.learn` does, of its ways, `PUBLISHED`, and the oracles."""
    if way in suggestion.WAYS:
        return suggestion.learn(state, side, task, way, seed)
    all_ = suggestion.photos(state, task, side)
    begun = suggestion.start(all_, task, seed)
    labeled, pool, seen, judging = begun.labeled, begun.pool, begun.aside, begun.aside
    if way == BLIND:
        seen, judging = begun.aside[::2], begun.aside[1::2]
    head = suggestion.head_of(all_, labeled)
    points = [(len(labeled), suggestion.share_right(head, all_, judging))]
    while (wanted := min(suggestion.STEP, begun.shown - len(labeled))) > 0:
        scores = softmax(head.logits(all_.features[pool], suggestion.backbone().affine))
        choice = Choice(all_, pool, labeled, scores, begun.random)
        batches = [PUBLISHED[way](choice, wanted)] if way in PUBLISHED else candidates(choice, wanted)
        heads = [suggestion.head_of(all_, np.concatenate([labeled, batch])) for batch in batches if len(batch)]
        if not heads:
            break
        best = int(np.argmax([suggestion.share_right(one, all_, seen) for one in heads]))
        chosen = [batch for batch in batches if len(batch)][best]
        head, labeled, pool = heads[best], np.concatenate([labeled, chosen]), np.setdiff1d(pool, chosen)
        points.append((len(labeled), suggestion.share_right(head, all_, judging)))
    return points


def candidates(choice: Choice, count: int) -> list[Numbers]:
    """Return the batches that the oracle looks at."""
    ways = [suggestion.suggested, suggestion.smallest_margin_that_teaches, suggestion.core_set, entropy, badge]
    return [way(choice, count) for way in ways] + [
        suggestion.at_random(choice, min(count, len(choice.pool))) for _ in range(RANDOM_BATCHES)
    ]


def told(runs: dict[str, Sequence[list[tuple[int, float]]]]) -> dict[str, Any]:
    """Return with how many labels each way reaches the goal, and random choice nearly; None: not with those tried."""
    raced = suggestion.race(runs)
    nearly = suggestion.reached(raced["curves"]["random"], NEARLY * raced["goal"]["accuracy"])
    return {"goal": raced["goal"], "nearly": nearly, "reached": raced["reached"], "curves": raced["curves"]}
