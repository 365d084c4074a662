"""A training's report for people."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from edged.contract.reports import TrainingReport
from edged.terminal.training import describe, report_tables

REPORT = {
    "accuracy": {"quantized": 0.874, "float": 0.8753, "previous": 0.8},
    "decision": {"promote": True, "reason": "87.4% against 80.0%", "against": "0123456789ab", "images": 754},
    "counts": {"daisy": 633, "roses": 641},
    "classes": {
        "daisy": {"images": 141, "precision": 0.875, "recall": 0.894},
        "roses": {"images": 128, "precision": None, "recall": 0.5},
    },
    "confused": [{"label": "roses", "predicted": "daisy", "count": 12}],
    "worst": [
        {"id": "d7a0046af2867774", "file": "IMG_0815.jpg", "label": "[red]roses", "predicted": "daisy", "score": 0.004}
    ],
    "doubtful": {
        "images": [{"id": "c3" * 8, "file": "IMG_7.jpg", "label": "roses", "looks_like": "daisy", "confidence": 0.97}],
        "number": 14,
    },
    "training": {"epochs": 33, "best_epoch": 23, "validation_loss": 0.29, "stopped": "patience"},
    "calibration": {
        "temperature": 0.7123,
        "images": 3670,
        "before": {"error": 0.121},
        "after": {"error": 0.0312, "chance": 0.0255},
        "bins": [
            {"images": 10, "score": 0.45, "accuracy": 0.2},
            {"images": 30, "score": 0.55, "accuracy": 0.6},
            {"images": 3630, "score": 0.95, "accuracy": 1.0},
        ],
    },
    "familiarity": {"exemplars": 300, "held_out": 3670},
    "learning_curve": {"points": [{"images": 645, "accuracy": 0.867}], "gain_per_100": 0.0003},
    "seconds": {"scan": 0.1, "total": 2.5},
    "peak_memory_mb": 167.6,
    "performance": {"nvpmodel": "MAXN", "jetson_clocks": False, "clock_mhz": {"cpu": 2035}},
    "left_out": {"rare": "2 images"},
    "skipped": [{"file": f"images/{n}.jpg", "reason": "cut off"} for n in range(12)],
}


def shown(report: dict[str, object]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=100, highlight=False)
    for part in report_tables(TrainingReport.model_validate(report)):
        console.print(part)
    return out.getvalue()


def test_what_more_images_bring_to_a_label_stands_beside_it_where_that_is_known() -> None:
    classes = {"roses": {"recall": [0.4, 0.45, 0.48, 0.5], "gain_per_100": 0.0123}}
    text = shown(REPORT | {"learning_curve": {"points": [], "classes": classes}})
    assert "100 more images" in text
    rows = {
        line.split()[0]: line.split()[-1] for line in text.splitlines() if line.split()[:1] in (["daisy"], ["roses"])
    }
    assert re.search(r"roses .* \+1\.2 points", text)
    assert rows["daisy"] == "–"
    assert "100 more images" not in shown(REPORT)


def test_everything_a_person_asks_for_is_there() -> None:
    text = shown(REPORT)
    for part in ("87.4%", "80.0%", "754", "daisy", "633", "89.4%", "d7a0046a", "IMG_0815.jpg", "645 images 86.7%",
                 "less than 0.1 points of accuracy", "accepted", "c3c3c3c3", "IMG_7.jpg", "97%",
                 "14 labels look wrong: `edgectl images doubtful` shows them",
                 "compared with 300 images and ranked among 3670",
                 "machine: nvpmodel MAXN, clocks not locked, cpu at 2035 MHz",
                 "total 2.50", "168 MB", "rare", "images/9.jpg", "2 more"):  # fmt: skip
        assert part in text
    assert "0.0003" not in text, "an estimate is not that precise"
    assert "[red]roses" in text  # a label is text, not markup
    lines = text.splitlines()
    assert next(n for n, line in enumerate(lines) if "roses" in line) < next(
        n for n, line in enumerate(lines) if "daisy" in line
    )  # the class that needs images most comes first


def test_the_reliability_diagram_has_few_rows_and_a_mark_where_exact_scores_end() -> None:
    text = shown(REPORT)
    assert "calibration error 3.1% (12.1% without the temperature 0.71; exact scores of as many images: 2.5%)" in (
        " ".join(text.split())
    )
    assert "scores, cross-validated on 3,670 images" in text
    rows = [line.split() for line in text.splitlines() if " to " in line]
    assert rows == [
        ["0.4", "to", "0.6", "40", "52.5%", "50.0%", "██████████│"],
        ["0.8", "to", "1.0", "3630", "95.0%", "100.0%", "███████████████████│█"],
    ]
    only = {"calibration": {"bins": [{"images": 2, "score": 1.0, "accuracy": 0.5}, {"score": 0.5}]}}
    assert "██████████          │" in shown(only)
    assert "0.4 to 0.6" not in shown(only)
    unknown = " ".join(shown({"calibration": {}}).split())
    assert unknown == "scores: calibration error – (– without the temperature –; exact scores of as many images: –)"


def test_what_was_taken_over_is_told() -> None:
    points = [{"images": count, "accuracy": 0.5, "taken_over": True} for count in (15, 30, 45, 60)]
    taken = {"version": "0123456789ab", "images": 1, "parts": ["epochs", "temperature"]}
    text = shown({"taken_over": taken, "learning_curve": {"points": points}})
    assert "taken over from 0123456789ab, 1 image ago: epochs, temperature; `retrain` without new images" in text
    assert "the first 4 points" not in text


def test_one_image_is_no_images() -> None:
    decision = {"against": "0123456789ab", "images": 1}
    curve = {"points": [{"images": 1, "accuracy": 0.5}], "gain_per_100": 0.0273}
    text = shown({"accuracy": {"previous": 0.5}, "decision": decision, "learning_curve": curve})
    assert "on 1 image" in text
    assert "1 image 50.0%" in text
    assert "1 images" not in text
    assert "1 images" not in text
    assert "about 2.7 points of accuracy" in text
    assert "earlier model" not in text
    points = [{"images": count, "accuracy": 0.5, "taken_over": count < 60} for count in (15, 30, 45, 60)]
    assert "the first 3 points are an earlier model's" in shown({"learning_curve": {"points": points}})
    unknown = shown({"learning_curve": {"points": [{"images": 30, "accuracy": 0.5}], "gain_per_100": None}})
    assert "too few test images to tell what more training images would add" in unknown
    assert "would likely add" not in unknown


@pytest.mark.parametrize("part", sorted(REPORT))
def test_parts_that_an_older_device_does_not_send_are_passed_over(part: str) -> None:
    assert shown({name: value for name, value in REPORT.items() if name != part})
    assert shown({part: REPORT[part]}) or part in ("counts",)


def test_without_a_doubtful_label_nothing_is_said_of_them() -> None:
    assert shown({"doubtful": {"images": [{"label": "roses"}], "number": 0}}) == ""
    assert "1 label looks wrong" in shown({"doubtful": {"images": [{}], "number": 1}})


def test_what_a_part_does_not_say_is_a_dash() -> None:
    text = shown({"accuracy": {"previous": 0.5}, "classes": {"daisy": {}}, "confused": [{}], "worst": [{}]})
    assert re.search(r"daisy +– +– +– +–", text)
    assert re.search(r"\n +– +– +– +– +– *\n", text)
    assert shown({}) == ""


@pytest.mark.parametrize(
    ("stage", "detail", "text"),
    [
        ("scan", {}, "scan"),
        ("bottlenecks", {"done": 120, "of": 3670}, "bottlenecks 120 of 3670"),
        ("training", {"epoch": 3, "loss": 0.41, "accuracy": 0.8}, "training epoch 3, loss 0.41, accuracy 80.0%"),
        ("training", {"epoch": 3, "loss": None}, "training epoch 3, loss None"),
    ],
)
def test_progress_in_a_few_words(stage: str, detail: dict[str, object], text: str) -> None:
    assert describe(stage, detail) == text
