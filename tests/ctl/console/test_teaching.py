"""A stranger is seen, named and taught in a real Chromium, on a real daemon: the live label changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.albums import make_album, picture, put
from tests.ctl.console.browser import faults, needs_chromium, overflows, page_of
from tests.ctl.console.serving import Serving
from tests.daemon.process import Daemon
from tests.daemon.test_suggestions import KNOWN, RETRAIN, STRANGER, keep_frames
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

pytestmark = needs_chromium


@pytest.fixture
def device(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> tuple[Daemon, Mosquitto]:
    """A daemon that was taught two things, has kept frames of a third, and sees that one now."""
    broker = mosquitto()
    state_dir = tmp_path / "state"
    make_album(state_dir / "images", 12, KNOWN)
    frames = {picture(STRANGER, seed): "unknown" for seed in range(12)}
    frames |= {picture(label, seed): "low score" for label in KNOWN for seed in range(100, 102)}
    keep_frames(state_dir, frames)
    for seed in range(200, 204):
        put(tmp_path / "seen" / f"{seed}.jpg", picture(STRANGER, seed))
    return Daemon(tmp_path, broker.url, RETRAIN, fps=2, source=f"dir://{tmp_path / 'seen'}"), broker


def test_a_stranger_gets_a_name_and_the_live_label_changes(
    browser: Any, device: tuple[Daemon, Mosquitto], tmp_path: Path
) -> None:
    daemon, broker = device
    try:
        daemon.start()
        with Serving(broker.port) as server, page_of(browser) as page:
            page.goto(f"{server.url}device/dut")
            live = page.locator(".seen .big")
            wait_until(lambda: live.inner_text() not in ("–", ""), what="a live label")
            assert live.inner_text() != "discs"
            page.get_by_role("img", name=re.compile("Newest frame")).wait_for()

            page.get_by_role("link", name="Labeling").click()
            page.get_by_role("button", name=re.compile("Suggested 16")).wait_for()
            wait_until(lambda: page.locator(".tile-photo").count() == 16, what="the kept frames")
            wait_until(
                lambda: page.evaluate("document.querySelector('.tile-photo img').naturalWidth") == 160, what="a photo"
            )
            assert faults(page) == []

            # A label by one key, and taken back.
            page.locator(".tile-photo").first.focus()
            page.keyboard.press("1")
            page.get_by_role("button", name="checks, 13 photos").wait_for()
            page.keyboard.press("u")
            page.get_by_role("button", name="checks, 12 photos").wait_for()
            page.get_by_role("button", name=re.compile("Suggested 16")).wait_for()

            more = put(tmp_path / "more" / "stripes" / "new.jpg", picture("stripes", 500)).parents[1]
            page.locator("input[type=file]").set_input_files(more)
            page.get_by_role("button", name="stripes, 13 photos").wait_for()

            page.get_by_role("button", name="Doubtful labels").click()
            page.get_by_text("No label looks wrong.").or_(page.get_by_text(re.compile("likely wrong"))).first.wait_for()
            page.get_by_role("button", name="Strangers in groups").click()
            named = 0
            while named < 12:
                group = page.locator(".group").first
                group.wait_for()
                size = group.locator(".tile-photo").count()
                group.get_by_role("button", name="Select all").click()
                page.get_by_text(f"{size} selected").wait_for()
                if named:
                    page.get_by_role("button", name=re.compile("discs")).click()
                else:
                    page.keyboard.press("n")
                    page.keyboard.type("discs")
                    page.keyboard.press("Enter")
                named += size
                page.get_by_role("button", name=re.compile(f"discs, {named} photo")).wait_for()
            page.get_by_text("No group").wait_for()

            page.get_by_role("link", name="Retrain").click()
            page.get_by_label("Epochs", exact=True).fill("60")
            page.get_by_role("button", name="Retrain").click()
            page.get_by_role("heading", name="Promoted: the new model answers").wait_for()
            page.get_by_role("columnheader", name="discs").wait_for()
            page.get_by_role("img", name=re.compile("Reliability")).wait_for()
            assert faults(page) == []
            page.set_viewport_size({"width": 390, "height": 844})
            wait_until(lambda: not overflows(page), what="a page as wide as the screen")

            page.get_by_role("link", name="Overview").click()
            wait_until(lambda: live.inner_text() == "discs", what="the new label, live")
            page.get_by_role("row", name="retrain").get_by_text("succeeded").wait_for()
        folder = daemon.state_dir / "images" / "discs"
        assert len(list(folder.iterdir())) == 12
    finally:
        daemon.kill()
