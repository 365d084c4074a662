"""The retraining page in a real Chromium: what its buttons send, and what is sent of a form that is not filled in well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edged.contract.commands import CommandMessage
from edged.contract.messages import Job
from tests.ctl.console.album import Album
from tests.ctl.console.browser import needs_chromium, page_of
from tests.ctl.console.serving import Serving
from tests.ctl.console.test_reports import report_of
from tests.waiting import wait_until

pytestmark = needs_chromium
SETTINGS = {"lr": 0.05, "epochs": 12, "augment": True, "tolerance": 0.01}
UNDECIDED = {"verdict": "undecided", "promote": False, "reason": "9 photos are too few", "more_images": 40}
WORST = {"id": "00000000000000aa", "label": "flower 00", "predicted": "flower 01", "score": 0.1}


class Student(Album):
    """One that takes trainings, and whose last one ends when a test says so."""

    def _do_retrain(self, command: CommandMessage) -> None:
        """Only accept it."""

    def _do_rollback(self, command: CommandMessage) -> None:
        self._done(command, "rollback")

    def end(self, id_: str, status: Any, **more: Any) -> None:
        told = {**report_of(3, 12), "hyperparameters": SETTINGS, "worst": [WORST], **more}
        self.say("job", Job(id=id_, cmd="retrain", status=status, stage="done", progress=1, report=told), retain=True)


@contextmanager
def retraining(browser: Any, broker_port: int) -> Iterator[tuple[Student, Any]]:
    """Open the page, whose form is there."""
    with Student(broker_port) as device, Serving(broker_port) as server, page_of(browser) as page:
        page.goto(f"{server.url}device/door/retrain")
        page.get_by_label("Epochs", exact=True).wait_for()
        page.get_by_role("option", name="mobilenet_v2").wait_for(state="attached")
        yield device, page


def test_accept_trains_by_the_settings_of_what_was_judged(browser: Any, broker_port: int) -> None:
    with retraining(browser, broker_port) as (device, page):
        device.end("1", "rejected", decision=UNDECIDED)
        page.get_by_label("Epochs", exact=True).fill("77")
        page.get_by_role("button", name="Accept").click()
        page.get_by_role("dialog").get_by_role("button", name="Accept").click()
        wait_until(lambda: device.told("retrain"), what="the training")
        assert device.told("retrain") == [{**SETTINGS, "backbone": "mobilenet_v2", "accept": True}]
