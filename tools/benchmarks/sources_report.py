"""Make `tools/reports/sources.md`, its picture and the table of the README of `tools/reports/sources.json`.

cd tools && python -m benchmarks.sources_report
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.targets import FLOWERS, IMAGENET_TARGETS
from edged.lab.chart import Axis, Chart, Series
from edged.lab.sources.race import FEW

REPORTS = Path(__file__).resolve().parents[1] / "reports"
README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- sources: begin -->", "<!-- sources: end -->"
"""Around the README's table."""
WAYS = (
    ("default", f"race, all photos where fewer than {FEW} (the default)"),
    ("race alone", "race on few photos, too"),
    ("race, twice the time", "race on few photos, too, with twice the time"),
    ("exact", "`--exact`"),
    ("LogME", "LogME (`--evidence`)"),
    ("H-score", "H-score"),
    ("LEEP", "LEEP"),
    ("top-1 alone", "published top-1 alone"),
    ("divergence and top-1", "divergence, size and top-1 (`--divergence`)"),
    ("divergence alone", "divergence alone"),
)
SHORT = ("default", "exact", "LogME", "top-1 alone", "divergence and top-1", "divergence alone")
PER_TARGET = ("default", "race alone", "top-1 alone", "LogME", "divergence and top-1")
ASKED_REGRET, ASKED_SHARE = 0.005, 0.25
"""What was asked for: a mean regret, 0..1, and a part of the time of `--exact`, both at most."""
Numbers = dict[str, Any]


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def points(values: list[float]) -> str:
    """Return a mean and its standard error over the targets, in points, e.g. 1.2 ± 0.3."""
    array = 100 * np.array(values)
    return f"{array.mean():.1f} ± {array.std(ddof=1) / np.sqrt(len(array)):.1f}"


def share(numbers: Numbers, way: str) -> str:
    """Return the time of a way as a part of the time of `exact`: the mean over the targets."""
    if way == "top-1 alone":
        return "0 %"
    return f"{100 * mean_share(numbers, way):.0f} %"


def mean_share(numbers: Numbers, way: str) -> float:
    """Return the mean over the targets of the time of a way as a part of the time of `exact`."""
    return float(np.mean([one["ways"][way]["share"] for one in numbers["targets"].values()]))


def regrets(numbers: Numbers, way: str) -> list[float]:
    """Return the regret of a way on each target, 0..1."""
    targets = numbers["targets"].values()
    return [one["random"] if way == "random" else one["ways"][way]["regret"] for one in targets]


def gains(numbers: Numbers, way: str) -> list[float]:
    """Return how much better than a random network the chosen one is on each target, 0..1."""
    return [mean - one for mean, one in zip(regrets(numbers, "random"), regrets(numbers, way), strict=True)]


def comparison(numbers: Numbers, names: Callable[[str], bool] = lambda _: True) -> list[str]:
    """Every way in one table."""
    lines = [
        row(
            "way",
            "mean regret",
            "worst",
            "right within 1 point",
            "on photos that it did not see",
            "gain over a random source",
            "time, of `--exact`",
        ),
        row("---", *["---:"] * 6),
    ]
    for way, label in WAYS:
        if names(way):
            shown = (*spread(regrets(numbers, way)), on_unseen(numbers, way), points(gains(numbers, way)))
            lines.append(row(label, *shown, share(numbers, way)))
    return [*lines, row("a random one", *spread(regrets(numbers, "random")), on_unseen(numbers, "random"), "0", "0 %")]


def on_many(numbers: Numbers) -> list[str]:
    """The ways that were measured on the large targets, on these."""
    large = numbers | {"targets": numbers["many"]}
    heads = ("way", "mean regret", "worst", "right within 1 point", "gain over a random source", "time, of `--exact`")
    lines = [row(*heads), row("---", *["---:"] * 5)]
    measured = next(iter(numbers["many"].values()))["ways"]
    for way, label in WAYS:
        if way in measured:
            shown = (*spread(regrets(large, way)), points(gains(large, way)), share(large, way))
            lines.append(row(label, *shown))
    return [*lines, row("a random one", *spread(regrets(large, "random")), "0", "0 %")]


def on_parts(numbers: Numbers) -> list[str]:
    """The regret of looking at a part of the photos with every network, by the size of the target."""
    shares = list(next(iter(numbers["targets"].values()))["parts"])
    heads = [*(f"{100 * float(part):.0f} % of the photos" for part in shares), "all photos (`--exact`)", "race alone"]
    lines = [row("targets", "how many", *heads), row("---", *["---:"] * (len(heads) + 1))]
    for label, least, most in (("under 100 photos", 0, 100), ("100 to 199", 100, 200), ("200 and more", 200, 10**6)):
        chosen = {name: one for name, one in numbers["targets"].items() if least <= one["photos"] < most}
        some = numbers | {"targets": chosen}
        seen = [points([one["parts"][part] for one in chosen.values()]) for part in shares]
        found = [points(regrets(some, way)) for way in ("exact", "race alone")]
        lines.append(row(label, len(chosen), *seen, *found))
    return lines


def large_targets(numbers: Numbers) -> list[str]:
    """What the race chose on each of the large targets."""
    heads = ("target", "photos", "best network", "its accuracy", "its lead over the second ± error", "chosen")
    lines = [row(*heads, "default", "`--exact`", "LogME", "top-1 alone")]
    lines.append(row("---", "---:", "---", *["---:"] * 2, "---", *["---:"] * 4))
    for name, one in numbers["many"].items():
        ranked = sorted(one["accuracy"].values())
        told = [one["ways"][way]["regret"] for way in ("default", "exact", "LogME", "top-1 alone")]
        lines.append(
            row(name, one["photos"], one["best"], f"{100 * ranked[-1]:.1f} % ± {100 * one['best_error']:.1f}",
                f"{100 * (ranked[-1] - ranked[-2]):.1f} ± {100 * one['second_error']:.1f}",
                ", ".join(sorted(set(one["ways"]["default"]["chosen"]))), *(f"{100 * regret:.1f}" for regret in told))
        )  # fmt: skip
    return lines


def summed_share(numbers: Numbers, way: str) -> float:
    """Return the time of a way on all targets together as a part of the time of `exact` on all of them."""
    targets = numbers["targets"].values()
    spent = sum(one["ways"][way]["share"] * one["exact_s"] for one in targets)
    return float(spent / sum(one["exact_s"] for one in targets))


def together(numbers: Numbers, least: int = 0, most: int = 10**6) -> Numbers:
    """Return the numbers of all targets, the large ones too, of at least and fewer than so many photos."""
    found = {**numbers["targets"], **numbers["many"]}
    return numbers | {"targets": {name: one for name, one in found.items() if least <= one["photos"] < most}}


def sizes(numbers: Numbers) -> dict[str, Numbers]:
    """Return the targets of each size, the usual ones, the larger ones, and all: name → their numbers."""
    return {
        f"under {FEW} photos": together(numbers, 0, FEW),
        f"{FEW} to 399": together(numbers, FEW, 400),
        "400 and more": together(numbers, 400),
        f"{FEW} and more": together(numbers, FEW),
        "the usual ones": numbers,
        "the larger ones": numbers | {"targets": numbers["many"]},
        "**all**": together(numbers),
    }


def is_accurate(group: Numbers) -> bool:
    """Tell whether the default's mean regret is what was asked for."""
    return float(np.mean(regrets(group, "default"))) <= ASKED_REGRET


def is_in_time(group: Numbers) -> tuple[bool, bool]:
    """Tell whether the default's mean share of the time is what was asked for, and that of the summed time."""
    return mean_share(group, "default") <= ASKED_SHARE, summed_share(group, "default") <= ASKED_SHARE


def by_size(numbers: Numbers) -> list[str]:
    """Regret and time of the default on sets of each size, and on all: where it is what was asked for."""
    times = ("mean time, of `--exact`", "summed time", "seconds, mean and most")
    others = ("`--exact`", "LogME", "divergence", "top-1 alone")
    lines = [row("targets", "how many", "mean regret", "at most 0.5", *times, "at most 25 %", *others)]
    lines.append(row("---", "---:", "---:", "---", *["---:"] * 3, "---", *["---:"] * len(others)))
    in_time = {(True, True): "yes", (False, True): "summed only", (True, False): "mean only", (False, False): "no"}
    for label, group in sizes(numbers).items():
        found = regrets(group, "default")
        seconds = [one["ways"]["default"]["share"] * one["exact_s"] for one in group["targets"].values()]
        compared = [points(regrets(group, way)) for way in ("exact", "LogME", "divergence and top-1", "top-1 alone")]
        mean, summed = mean_share(group, "default"), summed_share(group, "default")
        lines.append(
            row(label, len(found), points(found), "yes" if is_accurate(group) else "no",
                f"{100 * mean:.0f} %", f"{100 * summed:.0f} %", f"{np.mean(seconds):.0f}, {max(seconds):.0f}",
                in_time[is_in_time(group)], *compared)
        )  # fmt: skip
    return lines


def beside(numbers: Numbers, way: str) -> str:
    """Return how much more regret the default has than another way on the same targets, in points."""
    return points([one - two for one, two in zip(regrets(numbers, "default"), regrets(numbers, way), strict=True)])


def on_unseen(numbers: Numbers, way: str) -> str:
    """Return the mean regret on photos that the choice did not see, on the targets where there are such."""
    found = [one["unseen"]["regret"] for one in numbers["targets"].values() if "unseen" in one]
    return points([one[way] for one in found]) if way in found[0] else ""


def spread(found: list[float]) -> tuple[str, str, str]:
    """Return the mean regret, the worst, and how many are within one point."""
    return points(found), f"{100 * max(found):.1f}", f"{sum(one <= 0.01 for one in found)} of {len(found)}"


def by_kind(numbers: Numbers) -> list[str]:
    """The mean regrets on targets of each kind."""
    photos = ("faults", "turned")
    kinds = {
        "groups of ImageNet's classes": lambda name: name in IMAGENET_TARGETS,
        "flowers, and photos with faults or turned": lambda name: name in FLOWERS or name in photos,
        "drawings and handwriting": lambda name: name not in (*IMAGENET_TARGETS, *FLOWERS, *photos),
    }
    shown = ("default", "race alone", "LogME", "top-1 alone", "divergence and top-1", "random")
    lines = [row("targets", "how many", *shown), row("---", *["---:"] * (len(shown) + 1))]
    for kind, belongs in kinds.items():
        chosen = {name: one for name, one in numbers["targets"].items() if belongs(name)}
        part = numbers | {"targets": chosen}
        lines.append(row(kind, len(chosen), *(points(regrets(part, way)) for way in shown)))
    return lines


def unseen(numbers: Numbers) -> list[str]:
    """The regrets on photos that nothing was chosen on."""
    targets = [one["unseen"]["regret"] for one in numbers["targets"].values() if "unseen" in one]
    lines = [row("way", "mean regret", "worst", "more than `--exact`"), row("---", *["---:"] * 3)]
    for way, label in (*WAYS, ("random", "a random one")):
        if way in targets[0]:
            found = [one[way] for one in targets]
            beside = points([one[way] - one["exact"] for one in targets]) if way != "exact" else "0"
            lines.append(row(label, points(found), f"{100 * max(found):.1f}", beside))
    return lines


def per_target(numbers: Numbers) -> list[str]:
    """What the race and others chose, and what would have been best."""
    lines = [
        row("target", "photos", "best network", "its accuracy", "its lead over the second ± error", "chosen",
            "default", "race alone", "top-1 alone", "LogME", "divergence", "random"),
        row("---", "---:", "---", "---:", "---:", "---", *["---:"] * 6),
    ]  # fmt: skip
    for name, one in numbers["targets"].items():
        ranked = sorted(one["accuracy"].values())
        told = [one["ways"][way]["regret"] for way in PER_TARGET]
        lines.append(
            row(name, one["photos"], one["best"], f"{100 * ranked[-1]:.1f} % ± {100 * one['best_error']:.1f}",
                f"{100 * (ranked[-1] - ranked[-2]):.1f} ± {100 * one['second_error']:.1f}",
                ", ".join(sorted(set(one["ways"]["default"]["chosen"]))),
                *(f"{100 * regret:.1f}" for regret in (*told, one["random"])))
        )  # fmt: skip
    return lines


def networks(numbers: Numbers) -> list[str]:
    """What raced."""
    lines = [row("network", "trained on", "ms a photo"), row("---", "---", "---:")]
    for name, one in numbers["networks"].items():
        source = one["dataset"] or {"small": "see below", "finetuned": "ImageNet, then see below"}[name.split("_")[0]]
        lines.append(row(name, source, f"{one['pass_ms']:.1f}"))
    return lines


def parts(numbers: Numbers) -> dict[str, str]:
    """Name of a placeholder → its text."""
    race = [one["ways"]["race alone"] for one in numbers["targets"].values()]
    every, more = together(numbers), together(numbers, FEW)
    large = numbers | {"targets": numbers["many"]}
    halves = [one["unseen"]["regret"] for one in numbers["targets"].values() if "unseen" in one]
    costs = {name: one["pass_ms"] for name, one in numbers["networks"].items()}
    dearest = max(costs, key=lambda name: costs[name])
    return {
        "few": str(FEW),
        "by_size": "\n".join(by_size(numbers)),
        "both": ", ".join(
            label.strip("*") for label, group in sizes(numbers).items() if is_accurate(group) and any(is_in_time(group))
        )
        or "none of these groups",
        "within_noise": str(
            sum(
                one["ways"]["default"]["regret"] <= one["ways"]["default"]["paired_error"]
                for one in more["targets"].values()
            )
        ),
        "beside_logme": beside(every, "LogME"),
        "beside_exact_more": beside(more, "exact"),
        "every": str(len(every["targets"])),
        "regret_every": points(regrets(every, "default")),
        "share_every": share(every, "default"),
        "summed_every": f"{100 * summed_share(every, 'default'):.0f} %",
        "regret_more": points(regrets(more, "default")),
        "more": str(len(more["targets"])),
        "share_more": share(more, "default"),
        "regret_few": points(regrets(together(numbers, 0, FEW), "default")),
        "few_targets": str(len(together(numbers, 0, FEW)["targets"])),
        "regret_few_race": points(regrets(together(numbers, 0, FEW), "race alone")),
        "few_s": f"{max(one['exact_s'] for one in numbers['targets'].values() if one['photos'] < FEW):.0f}",
        "every_top1": points(regrets(every, "top-1 alone")),
        "every_logme": points(regrets(every, "LogME")),
        "every_divergence": points(regrets(every, "divergence and top-1")),
        "halves_raced": str(sum("unseen" in one and one["photos"] >= 2 * FEW for one in numbers["targets"].values())),
        "comparison": "\n".join(comparison(numbers)),
        "unseen": "\n".join(unseen(numbers)),
        "unseen_targets": str(sum("unseen" in one for one in numbers["targets"].values())),
        "per_target": "\n".join(per_target(numbers)),
        "networks": "\n".join(networks(numbers)),
        "beside_exact": points([one["race alone"] - one["exact"] for one in halves]),
        "on_parts": "\n".join(on_parts(numbers)),
        "on_many": "\n".join(on_many(numbers)),
        "large_targets": "\n".join(large_targets(numbers)),
        "many": str(len(numbers["many"])),
        "regret_many": points(regrets(large, "default")),
        "share_many": share(large, "default"),
        "fewest": str(min(one["photos"] for one in numbers["many"].values())),
        "most": str(max(one["photos"] for one in numbers["many"].values())),
        "by_kind": "\n".join(by_kind(numbers)),
        "dearest": dearest,
        "dearest_share": f"{100 * costs[dearest] / sum(costs.values()):.0f} %",
        "dearest_best": str(sum(one["best"] == dearest for one in numbers["targets"].values())),
        "targets": str(len(numbers["targets"])),
        "network_count": str(len(numbers["networks"])),
        "seeds": str(numbers["race_seeds"]),
        "regret": points(regrets(numbers, "default")),
        "regret_top1": points(regrets(numbers, "top-1 alone")),
        "regret_logme": points(regrets(numbers, "LogME")),
        "share": share(numbers, "default"),
        "regret_alone": points(regrets(numbers, "race alone")),
        "share_alone": share(numbers, "race alone"),
        "rounds": f"{np.mean([rounds for one in race for rounds in one['rounds']]):.1f}",
        "worse": f"{np.mean([worse for one in race for worse in one['worse']]):.1f}",
        "slow": f"{np.mean([slow for one in race for slow in one['time']]):.1f}",
    }


def render(numbers: Numbers) -> str:
    """Return the page."""
    page = (REPORTS / "sources.template.md").read_text(encoding="utf-8")
    for name, text in parts(numbers).items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def readme_table(numbers: Numbers) -> str:
    """Return what stands between the README's marks."""
    every, few, more = together(numbers), together(numbers, 0, FEW), together(numbers, FEW)
    usual, all_photos = ([one["photos"] for one in which["targets"].values()] for which in (numbers, every))

    def told(group: Numbers) -> str:
        return f"{points(regrets(group, 'default'))} points in {share(group, 'default')} of the time of `--exact`"

    sentence = (
        f"Those were {len(usual)} sets of {min(usual)} to {max(usual)} photos. With larger ones there are "
        f"{len(all_photos)}, of up to {max(all_photos)} photos. The default's mean regret is {told(few)} on "
        f"{len(few['targets'])} sets of fewer than {FEW} photos, {told(more)} on {len(more['targets'])} of more, and "
        f"{told(every)} on all ({100 * summed_share(every, 'default'):.0f} % of the summed time). On all, that of "
        f"LogME is {points(regrets(every, 'LogME'))}, that of top-1 alone {points(regrets(every, 'top-1 alone'))}."
    )
    return "\n" + "\n".join(comparison(numbers, lambda way: way in SHORT)) + f"\n\n{sentence}\n"


def with_table(readme: str, numbers: Numbers) -> str:
    """Return the README with the table of these numbers."""
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}{readme_table(numbers)}{END}{rest.split(END)[1]}"


def chart(numbers: Numbers) -> Chart:
    """Regret of some ways on the targets, from the smallest to the greatest of each."""
    count = len(numbers["targets"])
    shown = {"default": "default", "race alone": "race on few, too"}
    shown |= {way: way for way in ("top-1 alone", "LogME", "random")}
    lines = [
        Series(label, [(place + 1, regret) for place, regret in enumerate(sorted(regrets(numbers, way)))])
        for way, label in shown.items()
    ]
    return Chart(
        f"Regret on {count} targets, each way's in order", Axis("targets"), Axis("regret", percent=True), lines
    )


def read() -> Numbers:
    """Read what was measured."""
    numbers: Numbers = json.loads((REPORTS / "sources.json").read_text(encoding="utf-8"))
    return numbers


def main() -> int:
    """Write the pages."""
    numbers = read()
    (REPORTS / "sources.md").write_text(render(numbers), encoding="utf-8")
    (REPORTS / "sources.svg").write_text(chart(numbers).svg(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), numbers), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
