"""The labeling page in a real Chromium: what keys do, where the focus goes, what can be taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.albums import picture, put
from tests.ctl.console.album import UNLABELED, Album
from tests.ctl.console.browser import faults, needs_chromium, overflows, page_of
from tests.ctl.console.serving import Serving
from tests.waiting import wait_until

pytestmark = needs_chromium
LASTING = "{ const real = setTimeout; window.setTimeout = (act, ms) => real(act, ms >= 7000 ? 1e9 : ms); }"
"""Lines that go by themselves after some seconds stay: a slow machine must not miss them."""


@contextmanager
def labeling(browser: Any, broker_port: int, **more: Any) -> Iterator[tuple[Album, Any]]:
    """Open the labeling page of a device whose photos have been listed."""
    with Album(broker_port) as device, Serving(broker_port) as server, page_of(browser, **more) as page:
        page.add_init_script(LASTING)
        page.goto(f"{server.url}device/door/labeling")
        wait_until(lambda: page.locator(".tile-photo").count() == UNLABELED, what="the photos")
        page.get_by_role("button", name="cat, 3 photos").wait_for()
        yield device, page


def in_focus(page: Any) -> str:
    """Return the id of the photo that has the focus, else the name of the element."""
    found: str = page.evaluate("document.activeElement.dataset.id ?? document.activeElement.nodeName")
    return found


def test_keys_are_the_open_dialogs_alone(browser: Any, broker_port: int) -> None:
    with labeling(browser, broker_port) as (device, page):
        page.locator(".tile-photo").first.focus()
        page.keyboard.press("Delete")
        page.get_by_role("dialog", name="Delete 1 photo?").wait_for()
        for key in ("1", "u", "a", "y", "Delete"):
            page.keyboard.press(key)
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        assert in_focus(page) == device.unlabeled()[0]
        assert page.get_by_text("8 photos").is_visible(), "nothing was selected"
        page.keyboard.press("2")
        page.get_by_role("button", name="dog, 3 photos").wait_for()
        assert [args["label"] for args in device.told("images_label")] == ["dog"]
        assert device.told("images_remove") == []


def test_each_view_is_for_everybody(browser: Any, broker_port: int, tmp_path: Path) -> None:
    with labeling(browser, broker_port) as (device, page):
        page.get_by_role("button", name="Strangers in groups").click()
        page.get_by_role("button", name="no label photo 1 of 8").wait_for()
        for width in (1600, 390):
            page.set_viewport_size({"width": width, "height": 844})
            page.get_by_role("button", name="Strangers in groups").click()
            page.get_by_role("button", name="Select all").wait_for()
            assert page.get_by_text("give a label").is_visible(), width
            assert not overflows(page), width
            assert faults(page) == [], width
            page.locator(".tile-photo").first.focus()
            page.keyboard.press("Delete")
            page.get_by_role("dialog").wait_for()
            assert faults(page) == [], width
            page.get_by_role("button", name="Cancel").click()
            page.get_by_role("button", name="Doubtful labels").click()
            page.get_by_text("90\u00a0% likely wrong").first.wait_for()
            assert faults(page) == [], width
        photo = put(tmp_path / "photos" / "bird" / "1.jpg", picture("discs", 1))
        with page.expect_file_chooser() as asked:
            page.get_by_role("button", name="Choose a folder").click()
        asked.value.set_files(photo.parents[1])
        page.get_by_text("1 photo sent").wait_for()
        wait_until(lambda: [args["label"] for args in device.told("image")] == ["bird"], what="the photo")


def test_the_focus_stays_with_the_photos_and_each_action_is_taken_back(browser: Any, broker_port: int) -> None:
    with labeling(browser, broker_port) as (device, page):
        _, second, third, fourth, *_ = device.unlabeled()
        page.locator(".tile-photo").first.focus()
        page.keyboard.press("Delete")
        page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
        wait_until(lambda: in_focus(page) == second, what="the focus on the next photo")
        page.keyboard.press("1")
        wait_until(lambda: in_focus(page) == third, what="the focus on the next photo")
        page.keyboard.press("2")
        wait_until(lambda: in_focus(page) == fourth, what="the focus on the next photo")
        page.keyboard.press("u")
        wait_until(lambda: in_focus(page) == third, what="the focus on the photo that came back")
        assert device.photos[third] is None

        page.keyboard.press("2")
        wait_until(lambda: device.photos[third] == "dog", what="another label")
        page.locator(".toast", has_text="1 photo: cat").get_by_role("button", name="Undo").click()
        wait_until(lambda: in_focus(page) == second, what="the photo whose action was taken back")
        assert (device.photos[second], device.photos[third]) == (None, "dog")

        page.get_by_role("button", name="Labeled", exact=True).click()
        page.locator(f"[data-id='{third}']").first.focus()
        for key, number in (("1", 4), ("2", 3)):
            page.keyboard.press(key)
            page.get_by_role("button", name=f"cat, {number} photos").wait_for()
            page.locator(f"[data-id='{third}']").first.focus()
        page.locator(".toast", has_text="1 photo: cat").get_by_role("button", name="Undo").click()
        page.get_by_text("given another label since").wait_for()
        assert device.photos[third] == "dog", "what was done later stays"


def test_a_device_that_goes_away_or_refuses_loses_nothing(browser: Any, broker_port: int) -> None:
    with labeling(browser, broker_port, tolerated="status of 409") as (device, page):
        first, second, *_ = device.unlabeled()
        page.locator(".tile-photo").first.focus()
        device.refused = {"images_list"}
        page.keyboard.press("1")
        page.locator(".toast.bad").get_by_text("the disk is full").wait_for()
        assert (device.photos[first], in_focus(page)) == ("cat", second)
        device.refused = {"images_label", "images_unlabel"}
        page.keyboard.press("u")
        wait_until(lambda: page.locator(".toast.bad").count() == 2, what="why it was not taken back")
        device.refused = set()

        sent = len(device.told("images_label"))
        device.say("state", b"offline", retain=True)
        page.get_by_text("door is offline. Labels can be given when it is back").wait_for()
        said = page.get_by_text("door is offline: nothing was changed.")
        page.locator(".tile-photo").first.press("Space")
        page.keyboard.press("n")
        page.keyboard.type("bird")
        page.keyboard.press("Enter")
        wait_until(lambda: said.count() == 1, what="why no label was given")
        page.locator(".tile-photo").first.press("u")
        wait_until(lambda: said.count() == 2, what="why nothing was taken back")
        assert page.get_by_label("New label").input_value() == "bird", "what was typed is still there"
        assert page.locator(".tile-photo").count() == UNLABELED - 1
        assert len(device.told("images_label")) == sent
        assert len(device.told("images_unlabel")) == 1

        device.say("state", b"online", retain=True)
        page.get_by_text("door is offline. Labels").wait_for(state="detached")
        page.locator(".tile-photo").first.press("u")
        wait_until(lambda: device.photos[first] is None, what="the label taken back at last")
