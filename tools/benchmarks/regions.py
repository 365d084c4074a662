"""Regions before classes: is what moves found where it is, and named better than by the whole frame; and what it costs.

    tools/bench regions --into tools/reports/regions.json       # writes regions.md and regions.jpg beside it
    tools/bench regions --cost --into tools/reports/regions.json   # the times alone, anew, into numbers that are there
    tools/bench regions --seed 2 --into tools/reports/regions.json # a fresh draw, once, beside the numbers there
    tools/bench regions --quick                                 # a fifth of the things

Photos of ImageNet move over real clips, see `moving`: their places and labels are known. What is measured is what the
daemon runs: motion, tracks, crops and the shipped network. Beside it stand the whole frame's label, a plain difference
of two frames in the place of the background model, and the answer that is always the same.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.misses import CAUSES, cause
from benchmarks.moving import (
    CLIPS,
    FPS,
    NOISE,
    SCENE,
    SIZES,
    WARM_UP,
    Scene,
    Thing,
    View,
    backdrop,
    hidden,
    is_own,
    things,
)
from benchmarks.set_aside import Side
from edged.codec import encode_jpeg, read_image
from edged.daemon import pictures, publisher, results
from edged.demo import PHOTOS
from edged.regions import Expected, Motion, Tracker, crop, overlap
from edged.store import read_bundle
from edged.types import Box, Frame, Inference, LabelScore, Region
from edged.vision.network import Network
from edged.vision.preprocess import stay_on_one_thread

MODEL = Path(__file__).resolve().parents[2] / "models" / "mobilenet_v2"
MATCH = 0.5
"""Intersection over union from which on a region shows a thing."""
THINGS = 35
"""Of each clip."""
QUICK = 7
EVERY = 5
"""Every which frame is classified for the labels; regions are looked for in each."""
SMALL = 0.25
STILL = 0.005
"""The clip stands still in a frame if less of it than this moves."""
COST_FRAMES = 280
LARGE = 1280, 720
_CLOSE = 9

Propose = Callable[[NDArray[np.uint8], float, "list[Expected]"], "list[Box]"]
Look = Callable[[View], "tuple[list[Region], list[Box]]"]
Vector = NDArray[np.float32]
Name = Callable[[NDArray[np.uint8]], Vector]


class Difference:
    """The baseline: what differs from the frame before by more than so many levels, joined and boxed."""

    def __init__(self) -> None:
        self._before: NDArray[np.uint8] | None = None

    def __call__(self, image: NDArray[np.uint8], _now_s: float, _expected: Sequence[Expected] = ()) -> list[Box]:
        """Return boxes as `Motion` does."""
        rows, columns = image.shape[0] // 2, image.shape[1] // 2
        small = cv2.blur(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), (3, 3))
        before, self._before = self._before, small
        if before is None:
            return []
        mask = (cv2.absdiff(small, before).max(axis=2) > 12).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((_CLOSE, _CLOSE), np.uint8))
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        return [
            (x / columns, y / rows, width / columns, height / rows)
            for x, y, width, height, area in stats[1:count].tolist()
            if area >= 0.0007 * rows * columns
        ]


def _followed(propose: Propose) -> Look:
    """Return what finds the regions of a frame, and the boxes that they come from."""
    tracker = Tracker()

    def look(view: View) -> tuple[list[Region], list[Box]]:
        boxes = propose(view.image, view.at_s, tracker.expected(view.at_s))
        return [region for region in tracker.update(boxes, view.at_s) if region.visible], boxes

    return look


WAYS: dict[str, Callable[[], Propose]] = {"regions": Motion, "difference": Difference}


@dataclass
class _Found:
    """What became of one thing: frames in which it is to be found and was, its tracks, and what it was called."""

    frames: int = 0
    found: int = 0
    still: int = 0
    still_found: int = 0
    tracks: Counter[str] = field(default_factory=Counter)
    called: list[Vector] = field(default_factory=list)
    whole: list[Vector] = field(default_factory=list)


class Namer:
    """Calls images by the shipped network's best label."""

    def __init__(self) -> None:
        bundle = read_bundle(MODEL)
        self.labels = bundle.labels
        self.network = Network(
            bundle.read_model(), threads=1, crop=bundle.manifest.input.crop, outputs=bundle.manifest.outputs
        )

    def __call__(self, image: NDArray[np.uint8]) -> Vector:
        """Return the scores (classes,) of an RGB image."""
        return self.network.infer(self.network.prepare(image)).scores

    def crop(self, image: NDArray[np.uint8]) -> Vector:
        """Return the same of what is cut out of a frame, which the daemon prepares in less time."""
        return self.network.infer(self.network.prepare(image, quick=True)).scores


def measure(data: Path, side: Side, *, quick: bool = False, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure everything on one side of the photos and clips."""
    stay_on_one_thread()
    namer = Namer()
    moving = list(things(data, side, _count(side, quick=quick)))
    rows, frames = _judged(data, side, moving, namer, tell)
    return {
        "side": side,
        "quick": quick,
        "things": len(moving),
        "noise": NOISE,
        "every": EVERY,
        "rows": rows,
        "frames": frames,
        "cost": costs(data, side, moving, namer),
    }


def draw_anew(data: Path, numbers: dict[str, Any], seed: int, *, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Return numbers with those of a fresh draw beside them: other photos, tracks, light and noise, the same clips.

    The process ends where they hold one already: what was looked at is fresh no more.
    """
    if "fresh" in numbers:
        sys.exit(f"tools/bench regions: there is a fresh draw of seed {numbers['fresh']['seed']}; it is made once")
    if seed < 1:
        sys.exit(f"tools/bench regions: --seed {seed}: use 1 or more")
    stay_on_one_thread()
    side: Side = numbers["side"]
    moving = list(things(data, side, _count(side, quick=numbers["quick"]), draw=seed))
    rows, frames = _judged(data, side, moving, Namer(), tell, draw=seed)
    return {**numbers, "fresh": {"seed": seed, "things": len(moving), "rows": rows, "frames": frames}}


def _clips(side: Side) -> list[str]:
    return [name for name, (_, _, parts) in CLIPS.items() if side in parts]


def _count(side: Side, *, quick: bool) -> int:
    return (QUICK if quick else THINGS) * len(_clips(side))


def _judged(
    data: Path, side: Side, moving: Sequence[Thing], namer: Namer, tell: Callable[[str], None], *, draw: int = 0
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return what became of each thing, and what was counted in each scene."""
    rows: list[dict[str, Any]] = []
    frames: list[dict[str, Any]] = []
    clips = _clips(side)
    for number, clip in enumerate(clips):
        film = backdrop(data, clip, side)
        for at, group in enumerate(_groups(moving[number :: len(clips)])):
            tell(f"{clip}: scene {at}")
            scene = Scene(film, FPS[clip], group, [draw, number, at] if draw else at)
            for judge in judge_scene(scene, namer):
                frames.append({"clip": clip, "way": judge.way, **judge.counted, "misses": dict(judge.misses)})
                rows += [_row(clip, judge.way, thing, one) for thing, one in zip(group, judge.found, strict=True)]
    return rows, frames


def cost_anew(data: Path, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return numbers with times that are measured now."""
    stay_on_one_thread()
    side: Side = numbers["side"]
    moving = list(things(data, side, 2 * -(-COST_FRAMES // SCENE)))
    return {**numbers, "cost": costs(data, side, moving, Namer())}


def _groups(moving: Sequence[Thing]) -> Iterator[list[Thing]]:
    """Yield one thing, then two, and so on."""
    left, size = list(moving), 1
    while left:
        yield left[:size]
        left, size = left[size:], 3 - size


class Judge:
    """Counts what one way makes of a scene.

    Args:
        way: Its name.
        count: How many things there are.
        name: Gives the scores of a crop; None: nothing is called.
    """

    def __init__(self, way: str, count: int, name: Name | None) -> None:
        self.way = way
        self.found = [_Found() for _ in range(count)]
        self.counted = {"frames": 0, "false": 0, "own": 0, "regions": 0}
        self.misses: Counter[str] = Counter()
        self._name = name

    def take(self, view: View, regions: Sequence[Region], whole: Vector | None, proposed: Sequence[Box] = ()) -> None:
        """Take a frame and what was found in it.

        Args:
            view: The frame.
            regions: What is published.
            whole: The scores of all of it, in frames that are classified.
            proposed: The boxes that the regions come from.
        """
        left = list(regions)
        for truth in view.truths:
            best = max(left, key=lambda region: overlap(region.box, truth.box), default=None)
            hit = best is not None and overlap(best.box, truth.box) >= MATCH
            one = self.found[truth.thing]
            if hit and best is not None:
                left.remove(best)
            if truth.whole and not hidden(truth, view.truths):
                one.frames += 1
                still = bool(view.own.mean() < STILL)
                one.still += still
                one.still_found += still and hit
                if hit and best is not None:
                    one.found += 1
                    one.tracks[best.track] += 1
                else:
                    self.misses[cause(view, truth, proposed, MATCH)] += 1
                if whole is not None:
                    one.whole.append(whole)
                    if self._name is not None and hit and best is not None:
                        one.called.append(self._name(crop(view.image, best.box)))
        own = [is_own(region.box, view.own) for region in left]
        self.counted["frames"] += 1
        self.counted["regions"] += len(regions)
        self.counted["own"] += sum(own)
        self.counted["false"] += len(own) - sum(own)


def judge_scene(scene: Scene, namer: Namer) -> list[Judge]:
    """Go through a scene with each way, and return what they made of it."""
    looks = [_followed(make()) for make in WAYS.values()]
    judges = [Judge(way, len(scene.things), namer.crop if way == "regions" else None) for way in WAYS]
    for at, view in enumerate(scene):
        regions = [look(view) for look in looks]
        if not view.warm:
            continue
        whole = namer(view.image) if view.truths and at % EVERY == 0 else None
        for judge, (some, proposed) in zip(judges, regions, strict=True):
            judge.take(view, some, whole, proposed)
    return judges


def _row(clip: str, way: str, thing: Thing, one: _Found) -> dict[str, Any]:
    row: dict[str, Any] = {
        "clip": clip,
        "way": way,
        "file": thing.file,
        "class": thing.label,
        "width": thing.width,
        "oval": thing.oval,
        "frames": one.frames,
        "found": one.found,
        "still": one.still,
        "still_found": one.still_found,
        "tracks": len(one.tracks),
        "longest_track": max(one.tracks.values(), default=0),
    }
    if way == "regions":
        row |= {
            "called": _best(one.called),
            "whole": _best(one.whole),
        }
    return row


def _best(scores: Sequence[Vector]) -> int | None:
    """Return the class that is the best one over all frames; None: there is none."""
    return int(np.mean(scores, axis=0).argmax()) if scores else None


def costs(data: Path, side: Side, moving: Sequence[Thing], namer: Namer) -> list[dict[str, Any]]:
    """Time the clips of a side at their own size, and the last one enlarged."""
    clips = _clips(side)
    measured = []
    for clip, size in [*((clip, None) for clip in clips), (clips[-1], LARGE)]:
        film = backdrop(data, clip, side)[: WARM_UP + SCENE]
        if size is not None:
            film = [np.asarray(cv2.resize(frame, size), np.uint8) for frame in film]
        measured.append({"clip": clip, **cost(film, moving, FPS[clip], namer)})
    return measured


def cost(film: Sequence[NDArray[np.uint8]], moving: Sequence[Thing], fps: float, namer: Namer) -> dict[str, Any]:
    """Time what a frame takes beyond the invocations of its regions: finding, tracking, cutting out and scaling.

    The processor's time is that of this thread, which is the only one that works. Other programs that run beside it
    lengthen even that, for they leave the caches cold; the clock's time holds all that they make it wait, too.
    """
    looks: list[tuple[float, float]] = []
    overs: list[tuple[float, float]] = []
    invokes: list[tuple[float, float]] = []
    counts = []
    network = namer.network
    for seed in range(-(-COST_FRAMES // SCENE)):
        look = _followed(Motion())
        for view in Scene(film, fps, moving[2 * seed : 2 * seed + 2], seed):
            begin = _clocks()
            regions, _ = look(view)
            looked = _passed(begin)
            over = looked
            for region in regions:
                begin = _clocks()
                prepared = network.prepare(np.ascontiguousarray(crop(view.image, region.box)), quick=True)
                over = over[0] + _passed(begin)[0], over[1] + _passed(begin)[1]
                begin = _clocks()
                network.invoke(prepared)
                invokes.append(_passed(begin))
            if view.warm:
                overs.append(over)
                looks.append(looked)
                counts.append(len(regions))
    height, width = film[0].shape[:2]
    return {
        "idle_priority": os.sched_getscheduler(0) == os.SCHED_IDLE,
        "size": [width, height],
        "frames": len(overs),
        "regions": round(statistics.mean(counts), 3),
        "over": _told(overs),
        "look": _told(looks),
        "invoke": _told(invokes),
    }


def _clocks() -> tuple[float, float]:
    return time.thread_time(), time.perf_counter()


def _passed(begin: tuple[float, float]) -> tuple[float, float]:
    """Return the processor's and the clock's time since then, in ms."""
    now = _clocks()
    return (now[0] - begin[0]) * 1e3, (now[1] - begin[1]) * 1e3


def _told(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    parts = {}
    for at, name in enumerate(("processor", "clock")):
        some = [one[at] for one in times]
        parts[f"{name}_mean_ms"] = round(statistics.mean(some), 3) if some else float("nan")
        for share in (50, 95):
            parts[f"{name}_p{share}_ms"] = round(_quantile(some, share / 100), 3)
    return parts


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else float("nan")


# -- telling -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What is told of some things: numbers, and shares 0..1."""

    things: int
    recall: float
    called: float
    whole: float
    constant: float


def summary(rows: Sequence[Mapping[str, Any]]) -> Summary:
    """Sum things up."""
    classes = Counter(row["class"] for row in rows)
    return Summary(
        len(rows),
        sum(row["found"] for row in rows) / max(1, sum(row["frames"] for row in rows)),
        _share([row.get("called") == row["class"] for row in rows]),
        _share([row.get("whole") == row["class"] for row in rows]),
        classes.most_common(1)[0][1] / len(rows) if rows else 0.0,
    )


def false_regions(numbers: Mapping[str, Any], way: str, clip: str | None = None) -> tuple[float, float]:
    """Return false regions a frame, and regions a frame that show the clip's own motion."""
    some = [one for one in numbers["frames"] if one["way"] == way and clip in (None, one["clip"])]
    total = max(1, sum(one["frames"] for one in some))
    return sum(one["false"] for one in some) / total, sum(one["own"] for one in some) / total


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the tables: by size and by clip, then the ways beside each other."""
    ours = [row for row in numbers["rows"] if row["way"] == "regions"]
    yield "| width, of the frame's | things | recall at IoU 0.5 | label: regions | whole frame | always the same |"
    yield "|---|---|---|---|---|---|"
    by_size = {f"{size:.0%}": [row for row in ours if row["width"] == size] for size in SIZES}
    kinds = {
        **by_size,
        "under a quarter": [row for row in ours if row["width"] < SMALL],
        "rectangles": [row for row in ours if not row["oval"]],
        "cut out": [row for row in ours if row["oval"]],
        "all": ours,
    }
    for name, rows in kinds.items():
        one = summary(rows)
        yield (
            f"| {name} | {one.things} | {one.recall:.1%} | {one.called:.1%} | {one.whole:.1%} | {one.constant:.1%} |"
        )
    yield ""
    yield "| | recall at IoU 0.5 | false regions a frame | regions a frame on the clip's own motion |"
    yield "|---|---|---|---|"
    for way, name in (("regions", "regions"), ("difference", "difference of two frames")):
        for clip in (*dict.fromkeys(row["clip"] for row in numbers["rows"]), None):
            rows = [row for row in numbers["rows"] if row["way"] == way and clip in (None, row["clip"])]
            false, own = false_regions(numbers, way, clip)
            yield f"| {name}, {clip or 'all'} | {summary(rows).recall:.1%} | {false:.2f} | {own:.2f} |"


def sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands below the tables."""
    ours = [row for row in numbers["rows"] if row["way"] == "regions"]
    found = [row for row in ours if row["found"]]
    kept = _share_of(found, "longest_track", "found")
    still = sum(row["still"] for row in ours) / max(1, sum(row["frames"] for row in ours))
    yield (
        f"{_asked(numbers)} At most 2 ms a frame beyond its regions' invocations: "
        + ", ".join(
            f"{one['over']['processor_mean_ms']:.2f} ms at {one['size'][0]} × {one['size'][1]}"
            for one in numbers["cost"]
        )
        + " of the processor's time."
    )
    yield ""
    yield (
        f"A thing keeps one track in {kept:.1%} of the frames in which it is found; {len(ours) - len(found)} of "
        f"{len(ours)} were never found. In the {still:.0%} of all frames in which the clip itself stands still, recall "
        f"is {_share_of(ours, 'still_found', 'still'):.1%}."
    )


def _asked(numbers: Mapping[str, Any]) -> str:
    ours = [row for row in numbers["rows"] if row["way"] == "regions"]
    one, small = summary(ours), summary([row for row in ours if row["width"] < SMALL])
    false, _ = false_regions(numbers, "regions")
    low, high = interval(ours)
    return (
        f"Asked: recall at least 90 %: {one.recall:.1%} ({low:.1%} to {high:.1%} with other things, 95 % interval). "
        f"At most 0.5 false regions a frame: {false:.2f}. Labels of "
        f"things under a quarter of the width at least 20 points above the whole frame's: "
        f"{100 * (small.called - small.whole):.0f} points."
    )


def interval(things: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the 95 % interval of the recall by the bootstrap: as many things, drawn anew from these 10,000 times."""
    rows = np.array([(row["found"], row["frames"]) for row in things], np.float64)
    drawn = rows[np.random.default_rng(0).integers(0, len(rows), (10_000, len(rows)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], (2.5, 97.5))
    return float(low), float(high)


def causes(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of what was not found, by cause: shares of all frames in which a thing is to be found."""
    ways = {"regions": "regions", "difference": "difference of two frames"}
    clips = list(dict.fromkeys(row["clip"] for row in numbers["rows"]))
    columns = [(way, clip) for way in ways for clip in clips]
    yield "| not found because of | " + " | ".join(f"{ways[way]}, {clip}" for way, clip in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for key, name in CAUSES.items():
        cells = []
        for way, clip in columns:
            missed = sum(
                one["misses"].get(key, 0) for one in numbers["frames"] if (one["way"], one["clip"]) == (way, clip)
            )
            total = sum(row["frames"] for row in numbers["rows"] if (row["way"], row["clip"]) == (way, clip))
            cells.append(f"{missed / max(1, total):.1%}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def times(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of times."""
    yield (
        "| size | regions a frame | finding and tracking | with cutting out and scaling | 95 % of frames under "
        "| by the clock | an invocation |"
    )
    yield "|---|---|---|---|---|---|---|"
    for one in numbers["cost"]:
        over = one["over"]
        yield (
            f"| {one['size'][0]} × {one['size'][1]} | {one['regions']:.1f} | {one['look']['processor_mean_ms']:.2f} ms "
            f"| {over['processor_mean_ms']:.2f} ms | {over['processor_p95_ms']:.2f} ms | {over['clock_p50_ms']:.2f} ms "
            f"| {one['invoke']['processor_p50_ms']:.1f} ms |"
        )
    yield ""
    yield (
        "Means of the processor's time on one thread, and of the clock's the median"
        + (", taken at idle priority beside other work." if numbers["cost"][0]["idle_priority"] else ".")
        + " The largest size is the second clip, enlarged."
    )


def page(numbers: Mapping[str, Any]) -> str:
    """Return the report."""
    lines = [
        "# Regions before classes",
        "",
        "Made by `tools/bench regions --into tools/reports/regions.json` of `regions.json`, the numbers of each thing.",
        "",
        f"{numbers['things']} photos of ImageNet, each of another file, move over two real clips (bottles that hands "
        "take and bring, 640 × 360 at 15 frames a second; cars on a road from above, 768 × 432 at 12.5), one or two at "
        "a time, each at one of seven widths, half of them cut out as ellipses. They cross the frame at 0.6 to 2 % of "
        "its width a frame. The clip goes on behind them with all that moves in it. Noise of "
        f"{numbers['noise']:g} levels lies on every pixel, the light swings by 15 % every four seconds, and once in "
        f"each scene it grows or falls by 20 % from one frame to the next. A scene is {WARM_UP} frames in which "
        f"nothing comes, and {SCENE}. The box is known, and compared with what is published: a thing is to be found "
        "while 60 % of it are inside the frame and no other covers a fifth of it. A region that has an IoU of 0.5 with "
        "no thing is false, unless the clip itself moves in a quarter of it, seen from the clean frames before and "
        f"after. A thing's label is the best of the mean scores of every {EVERY}th frame: of the crops of its "
        "regions, or of the whole frame; one that was never found has the wrong label.",
        "",
        "Thresholds were chosen on photos of the develop side (`benchmarks/set_aside.py`) over the first half of the "
        "bottles; these numbers come from the report side, over the cars and the second half of the bottles. They "
        "were looked at more than once while the regions were built (recall 82.9 %, 88.3 %, 89.7 %, 90.1 %, 88.4 %, "
        "90.1 %): when a limit on how fast light may be learned anew was changed, it was because of what it did to "
        "the cars. "
        + (
            "What it is on scenes that nobody had looked at, a fresh draw tells below."
            if "fresh" in numbers
            else "So 90 % is not shown on scenes that nobody has looked at."
        )
        if numbers["side"] == "report"
        else "These are numbers of the develop side.",
        "",
        *table(numbers),
        "",
        *sentences(numbers),
        "",
        *(_fresh(numbers["fresh"]) if "fresh" in numbers else ()),
        *causes(numbers),
        "",
        *times(numbers),
        "",
        "![Two photos before a third, with their boxes](regions.jpg)",
        "",
        "The picture that Home Assistant is given, here of photos that ship with edged: two of them move before a "
        "third, with the noise and the light of the measurement.",
        "",
    ]
    return "\n".join(lines)


def _fresh(fresh: Mapping[str, Any]) -> Iterator[str]:
    yield "## A fresh draw"
    yield ""
    yield (
        f"{fresh['things']} other photos of the same side, with other tracks, other light and other noise, all of them "
        f"drawn by one number (`--seed {fresh['seed']}`), over the same parts of the two clips. The draw was made "
        "once, after everything that is measured here was built and chosen, and its numbers stand here as they came."
    )
    yield ""
    yield from table(fresh)
    yield ""
    yield _asked(fresh)
    yield ""
    yield "## What the first scenes missed, and what a frame takes"
    yield ""


def picture() -> bytes:
    """Return a frame of a scene of the photos that ship, with the boxes that were found, as JPEG."""
    namer = Namer()
    wall = cv2.resize(read_image(PHOTOS / "temple.jpg"), (640, 360), interpolation=cv2.INTER_AREA)
    moving = [
        Thing(0, f"{name}.jpg", read_image(PHOTOS / f"{name}.jpg"), width, oval)
        for name, width, oval in (("cat", 0.22, True), ("coffee", 0.16, False))
    ]
    look = _followed(Motion())
    shown: list[Region] = []
    view = None
    for at, view in enumerate(Scene([wall] * (WARM_UP + SCENE), 15.0, moving, 4)):
        shown, _ = look(view)
        if at >= WARM_UP + 30 and len(shown) == len(moving):
            break
    if view is None:
        raise RuntimeError("a scene without frames")
    frame = Frame("main", 0, view.image, 0, 0.0, 0.0, regions=tuple(shown))
    inference = Inference(np.zeros(1, np.float32), np.zeros(1, np.float32), 0.0)
    told = []
    for region in shown:
        label = namer.labels[int(namer.crop(crop(view.image, region.box)).argmax())]
        part = Frame("main", 0, view.image, 0, 0.0, 0.0, region=region)
        told.append(results.make_result(part, inference, [LabelScore(label, 1)], seq=0, boot="", model="", now_ns=0))
    return encode_jpeg(pictures.draw_boxes(publisher.Scene(frame, tuple(told))), 85, longest=640)


def write(numbers: Mapping[str, Any], folder: Path) -> None:
    """Write the page and its picture."""
    (folder / "regions.md").write_text(page(numbers), encoding="utf-8")
    (folder / "regions.jpg").write_bytes(picture())


def encode(numbers: Mapping[str, Any]) -> str:
    """Return JSON, a line for each thing."""
    fresh = numbers.get("fresh")
    told = {key: value for key, value in numbers.items() if key not in ("rows", "frames", "fresh")}
    end = "" if fresh is None else ',\n "fresh": ' + _lines({"seed": fresh["seed"], "things": fresh["things"]}, fresh)
    return f"{_lines(told, numbers, end)}\n"


def _lines(told: Mapping[str, Any], numbers: Mapping[str, Any], end: str = "") -> str:
    parts = [json.dumps(told, indent=1)[:-2]]
    for name in ("rows", "frames"):
        lines = ",\n".join("  " + json.dumps(one) for one in numbers[name])
        parts.append(f',\n "{name}": [\n{lines}\n ]')
    return "".join(parts) + end + "\n}"


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found) if found else 0.0


def _share_of(rows: Sequence[Mapping[str, Any]], part: str, whole: str) -> float:
    return sum(row[part] for row in rows) / max(1, sum(row[whole] for row in rows))
