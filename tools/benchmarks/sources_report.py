"""Turn what `benchmarks.sources` measured into Markdown: python -m benchmarks.sources_report sources.json [SVG]."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edged.lab.chart import Axis, Chart, Series
from edged.lab.sources.transferability import rank_correlation

Source = dict[str, Any]
WAYS: dict[str, Callable[[Source], float]] = {
    "edged's estimate": lambda source: source["score"],
    "divergence alone": lambda source: -source["divergence"],
    "source size alone": lambda source: source["source_images"],
    "LEEP": lambda source: source["leep"],
    "H-score": lambda source: source["h_score"],
    "LogME": lambda source: source["log_evidence"],
}


def choice(sources: list[Source], way: Callable[[Source], float]) -> tuple[float, bool, float]:
    """Return rank correlation with the accuracies, whether the first one is the best, and what it costs (0..1).

    Where a way gives several sources the same value (size and divergence alone know data sets only), the mean
    accuracy of these is what choosing one of them is worth.
    """
    accuracy = np.array([source["accuracy"] for source in sources])
    value = np.array([way(source) for source in sources])
    first = np.flatnonzero(value == value.max())
    return (
        rank_correlation(value, accuracy),
        accuracy.argmax() in first and len(first) == 1,
        float(accuracy.max() - accuracy[first].mean()),
    )


def same_network(sources: list[Source]) -> list[Source]:
    """Return the three that differ in nothing but their source."""
    names = ("mobilenet_v2_coral", "mobilenet_v2_inat_bird", "mobilenet_v2_inat_insect")
    return [source for source in sources if source["name"] in names]


def row(*cells: object) -> str:
    """One line of a table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def agreement(results: list[dict[str, Any]], pick: Callable[[list[Source]], list[Source]]) -> list[str]:
    """How often each way is right, and what it costs."""
    lines = [row("way", "rank correlation", "best one chosen", "mean regret", "worst regret"),
             row("---", "---:", "---:", "---:", "---:")]  # fmt: skip
    for name, way in WAYS.items():
        told = [choice(pick(result["sources"]), way) for result in results]
        correlations = [one[0] for one in told if np.isfinite(one[0])]
        correlation = f"{np.mean(correlations):.2f}" if correlations else "–"
        regrets = [one[2] for one in told]
        lines.append(
            row(name, correlation, f"{sum(one[1] for one in told)} of {len(told)}", f"{100 * np.mean(regrets):.1f}",
                f"{100 * max(regrets):.1f}")
        )  # fmt: skip
    return lines


def per_target(results: list[dict[str, Any]]) -> list[str]:
    """What the estimate chose, what would have been best, what staying with the shipped network would have cost."""
    lines = [
        row("target", "photos", "no transfer", "chosen", "its accuracy", "best", "its accuracy", "regret", "ρ",
            "shipped net"),
        row("---", "---:", "---:", "---", "---:", "---", "---:", "---:", "---:", "---:"),
    ]  # fmt: skip
    for result in results:
        sources = result["sources"]
        chosen = max(sources, key=WAYS["edged's estimate"])
        best = max(sources, key=lambda source: source["accuracy"])
        shipped = next(source for source in sources if source["name"] == "mobilenet_v2")
        correlation, _, regret = choice(sources, WAYS["edged's estimate"])
        lines.append(
            row(result["target"], result["images"], percent(result["no_transfer"]), chosen["name"],
                percent(chosen["accuracy"]), best["name"], f"{percent(best['accuracy'])} ±{100 * best['error']:.1f}",
                f"{100 * regret:.1f}", f"{correlation:.2f}", percent(shipped["accuracy"]))
        )  # fmt: skip
    return lines


def three_sources(results: list[dict[str, Any]]) -> list[str]:
    """Accuracy and divergence of the same network from three sources."""
    lines = [
        row("target", "ImageNet", "birds", "insects", "no transfer", "nats: ImageNet", "birds", "insects"),
        row("---", *["---:"] * 7),
    ]
    for result in results:
        sources = same_network(sources=result["sources"])
        lines.append(
            row(
                result["target"],
                *(f"{percent(one['accuracy'])} ±{100 * one['error']:.1f}" for one in sorted(sources, key=_order)),
                percent(result["no_transfer"]),
                *(f"{one['divergence']:.3f}" for one in sorted(sources, key=_order)),
            )
        )
    return lines


def negative(results: list[dict[str, Any]]) -> list[str]:
    """Sources that are measured to be no better than no transfer, and whether the estimate had warned of them."""
    found, warned, worse, hits, false = [], 0, 0, 0, 0
    for result in results:
        shipped = next(source for source in result["sources"] if source["name"] == "mobilenet_v2")
        for source in result["sources"]:
            below = source["score"] < shipped["score"]
            if source["accuracy"] <= result["no_transfer"]:
                found.append(f"{source['name']} on {result['target']} ({percent(source['accuracy'])})")
                warned += below
            is_worse = "worse than the current" in source.get("warning", "") or "negative" in source.get("warning", "")
            worse += is_worse
            hits += is_worse and below
            false += below and source["accuracy"] > shipped["accuracy"]
    return [
        f"* No better than no transfer: {len(found)}: {', '.join(found) or 'none'}. The estimate warned of {warned}.",
        f"* Measurably worse than the shipped network: {worse}; the estimate warned of {hits}. It warned wrongly (the "
        f"source was better) of {false}.",
    ]


def cost(results: list[dict[str, Any]]) -> list[str]:
    """Seconds: all bottlenecks and heads, against one pass."""
    lines = [
        row(
            "target", "photos", "bottlenecks of all networks", "all heads (5 folds each)", "the reference's bottlenecks"
        ),
        row("---", *["---:"] * 4),
    ]
    for result in results:
        sources = result["sources"]
        reference = next(source for source in sources if source["name"] == "mobilenet_v2")
        lines.append(
            row(result["target"], result["images"], f"{sum(one['bottlenecks_s'] for one in sources):.1f} s",
                f"{sum(one['seconds'] for one in sources):.1f} s", f"{reference['bottlenecks_s']:.1f} s")
        )  # fmt: skip
    return lines


def percent(value: float) -> str:
    """E.g. 87.1 %."""
    return f"{100 * value:.1f} %"


def _order(source: Source) -> str:
    return str({"ImageNet": "0"}.get(source["dataset"], source["dataset"]))


def chart(results: list[dict[str, Any]]) -> Chart:
    """Accuracy of the ten networks in the order of their estimates, per target."""
    lines = [
        Series(result["target"], sorted((source["score"], source["accuracy"]) for source in result["sources"]))
        for result in results
        if result["target"] in ("animals", "birds", "dogs", "flowers", "insects", "vehicles")
    ]
    title = "Estimate and cross-validated accuracy of ten networks"
    return Chart(title, Axis("edged's estimate"), Axis("accuracy of heads", percent=True), lines)


def main() -> int:
    """Print the tables."""
    results = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    whole = [result for result in results if not result["target"].endswith("-fresh")]
    fresh = [result for result in results if result["target"].endswith("-fresh") or result["target"] == "flowers"]
    for title, lines in (
        ("per target", per_target(whole)),
        ("per target, photos that no network was trained on", per_target(fresh)),
        ("agreement", agreement(whole, list)),
        ("agreement, photos that no network was trained on", agreement(fresh, list)),
        ("agreement, the same network from three sources", agreement(whole, same_network)),
        ("three sources", three_sources(whole + [one for one in fresh if one["target"] != "flowers"])),
        ("negative transfer", negative(whole)),
        ("cost", cost(whole)),
    ):
        print(f"### {title}\n")
        print("\n".join(lines) + "\n")
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(chart(whole).svg(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
