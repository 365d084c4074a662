"""The retraining page in a real Chromium: what its buttons send, and what a wrong number does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edged.contract.commands import CommandMessage
from edged.contract.messages import Job
from tests.ctl.console.album import Album
from tests.ctl.console.browser import faults, needs_chromium, page_of
from tests.ctl.console.serving import Serving
from tests.ctl.console.test_labeling import LASTING
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
        page.add_init_script(LASTING)
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


def test_a_wrong_number_is_shown_where_it_stands(browser: Any, broker_port: int) -> None:
    with retraining(browser, broker_port) as (device, page):
        more = page.get_by_text("More settings")
        more.click()
        page.get_by_label("Momentum").fill("2")
        more.click()
        assert not page.get_by_label("Momentum").is_visible()
        page.get_by_role("button", name="Retrain").click()
        wait_until(lambda: page.evaluate("document.activeElement.id") == "field-momentum", what="the wrong field")
        assert page.get_by_label("Momentum").is_visible()
        assert device.told("retrain") == []
        page.get_by_label("Momentum").fill("0.5")
        page.get_by_role("button", name="Retrain").click()
        wait_until(lambda: device.told("retrain") == [{"momentum": 0.5}], what="the training")


def test_a_worst_photo_is_corrected_and_a_version_refused_or_rolled_back(browser: Any, broker_port: int) -> None:
    with retraining(browser, broker_port) as (device, page):
        device.end("1", "rejected", decision=UNDECIDED)
        worst = page.get_by_role("button", name="flower 00, predicted flower 01: correct it")
        for answer, sent in (
            ("flower 00", {"label": "flower 00", "confirmed": True}),
            ("flower 01", {"label": "flower 01"}),
        ):
            worst.click()
            dialog = page.get_by_role("dialog", name="What does it show?")
            dialog.wait_for()
            assert faults(page) == []
            dialog.get_by_role("button", name=answer).click()
            wait_until(lambda: device.told("images_label")[-1:] == [{"id": WORST["id"], **sent}], what="the label")  # noqa: B023  # called at once
        page.get_by_role("button", name="Undo").click()
        page.get_by_text("Taken back").wait_for()
        assert device.told("images_label")[-1] == {"id": WORST["id"], "label": "flower 00"}

        page.get_by_text("The device has kept nothing of it").wait_for()
        asked = len(device.commands)
        page.get_by_role("button", name="Refuse").click()
        page.get_by_text("refused: nothing changes on the device").wait_for()
        assert page.get_by_role("button", name="Accept").count() == 0
        assert len(device.commands) == asked

        device.end("2", "succeeded")
        page.get_by_role("button", name="Roll back").click()
        page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
        page.get_by_text("The version before answers again").first.wait_for()
        assert device.told("rollback") == [{}]
