"""What came of a training, in a real Chromium: the whole matrix, each label's curve, and the epochs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edged.contract.messages import Job
from tests.contract.test_reports import GOLDEN
from tests.ctl.console.browser import faults, needs_chromium, overflows, page_of
from tests.ctl.console.serving import Serving
from tests.ctl.device import ScriptedDevice
from tests.waiting import wait_until

pytestmark = needs_chromium
PICTURES = os.environ.get("CONSOLE_PICTURES")
"""A folder for screenshots, where somebody wants to look."""


def report_of(labels: int, epochs: int) -> dict[str, Any]:
    """Return the report of a training with so many labels and epochs."""
    names = [f"flower {n:02}" for n in range(labels)]
    counts = np.diag(np.arange(20, 20 + 2 * labels, 2)) + np.eye(labels, k=1, dtype=int) * 3
    tested, taken = counts.sum(axis=1), counts.sum(axis=0)
    report: dict[str, Any] = json.loads((GOLDEN / "training.json").read_text(encoding="utf-8"))
    loss = np.exp(-np.arange(1, epochs + 1) / 8).round(4).tolist()
    right = [round(1 - one / 2, 4) for one in loss]
    curves = {
        name: {"recall": [0.5, 0.6, 0.7, round(counts[at, at] / tested[at], 4)], "gain_per_100": 0.0213}
        for at, name in enumerate(names)
        if tested[at] >= 30
    }
    return report | {
        "counts": {name: int(4 * tested[at]) for at, name in enumerate(names)},
        "classes": {
            name: {
                "images": int(tested[at]),
                "precision": round(counts[at, at] / taken[at], 4),
                "recall": round(counts[at, at] / tested[at], 4),
            }
            for at, name in enumerate(names)
        },
        "confusion": {"labels": names, "counts": counts.tolist()},
        "training": {
            **report["training"],
            "epochs": epochs,
            "best_epoch": epochs,
            "history": {
                "epoch": list(range(1, epochs + 1)), "loss": loss, "accuracy": right,
                "validation_loss": [one + 0.05 for one in loss], "validation_accuracy": [one - 0.1 for one in right],
            },
        },
        "learning_curve": {**report["learning_curve"], "classes": curves},
        "worst": [],
    }  # fmt: skip


def end_a_training(device: ScriptedDevice, id_: str, report: dict[str, Any]) -> None:
    device.say("job", Job(id=id_, cmd="retrain", status="succeeded", stage="done", progress=1, report=report))


def shown_as(page: Any, name: str) -> None:
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_is_shown_label_by_label(browser: Any, broker_port: int, scheme: str) -> None:
    report = report_of(9, 12)
    with (
        ScriptedDevice(broker_port, "door") as device,
        Serving(broker_port) as server,
        page_of(browser, scheme=scheme) as page,
    ):
        page.goto(f"{server.url}device/door/retrain")
        page.get_by_role("status").get_by_text("No training runs").wait_for()
        end_a_training(device, "1", report)
        matrix = page.get_by_role("table", name=re.compile("How many photos of each label"))
        matrix.get_by_role("columnheader", name="flower 08").wait_for()
        row = matrix.get_by_role("row", name=re.compile("^flower 03"))
        assert [cell.strip() for cell in row.get_by_role("cell").all_inner_texts()] == [
            "·", "·", "·", "26", "3", "·", "·", "·", "·", "90\u00a0%"
        ]  # fmt: skip
        assert matrix.get_by_role("columnheader").all_inner_texts()[-1] == "recall", "no others: all are known"

        by_label = page.get_by_role("table", name=re.compile("Photos, precision and recall"))
        few = by_label.get_by_role("row", name=re.compile("flower 00"))
        assert few.get_by_role("cell").all_inner_texts() == ["92", "23", "100\u00a0%", "87\u00a0%", *["–"] * 5]
        many = by_label.get_by_role("row", name=re.compile("flower 08"))
        cells = many.get_by_role("cell").all_inner_texts()
        assert cells[-5:] == ["50\u00a0%", "60\u00a0%", "70\u00a0%", "100\u00a0%", "+2.1 points"]
        for title in ("Loss", "Accuracy while training"):
            page.get_by_role("img", name=re.compile(f"^{title}: photos to learn from .*, photos apart")).wait_for()
        wait_until(lambda: page.locator(".pair canvas").count() == 2, what="two charts")
        assert faults(page) == []
        shown_as(page, f"report-9-{scheme}")

        end_a_training(device, "2", report_of(30, 60))
        matrix.get_by_role("columnheader", name="flower 29").wait_for()
        assert faults(page) == []
        shown_as(page, f"report-30-{scheme}")
        page.set_viewport_size({"width": 390, "height": 844})
        wait_until(lambda: not overflows(page), what="a page as wide as the screen")
        shown_as(page, f"report-30-{scheme}-390")


def test_one_epoch_is_no_curve_and_an_older_device_names_pairs(browser: Any, broker_port: int) -> None:
    older = report_of(3, 1)
    del older["confusion"], older["learning_curve"]["classes"]
    with (
        ScriptedDevice(broker_port, "door") as device,
        Serving(broker_port) as server,
        page_of(browser) as page,
    ):
        page.goto(f"{server.url}device/door/retrain")
        page.get_by_role("status").get_by_text("No training runs").wait_for()
        running = Job(id="3", cmd="retrain", status="running", stage="training", progress=0.2,
                      report={"epoch": 1, "loss": 0.6931, "accuracy": 0.5})  # fmt: skip
        device.say("job", running, retain=True)
        device.say("job/3", running)
        page.get_by_role("status").get_by_text(re.compile("epoch 1, loss 0.693, accuracy 50.%")).wait_for()
        assert not page.locator(".pair").is_visible(), "a point is no curve"
        end_a_training(device, "3", older)
        page.get_by_text("Fewer than 30 photos of each label").wait_for()
        assert not page.locator(".pair").is_visible()
        page.get_by_text("1, best 1").wait_for()
        matrix = page.get_by_role("table", name=re.compile("How many photos of each label"))
        assert matrix.get_by_role("columnheader").all_inner_texts() == [
            "flower 00", "flower 01", "flower 02", "others", "recall"
        ]  # fmt: skip
        assert faults(page) == []
        shown_as(page, "report-older")
