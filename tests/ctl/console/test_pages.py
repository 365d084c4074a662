"""The pages in a real Chromium: what is seen, what a keyboard reaches, what a stranger's label cannot do."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edged.codec import encode_jpeg
from edged.contract.commands import CommandMessage
from edged.contract.messages import Alert, Job, Seen, timestamp
from tests.ctl.console.browser import faults, needs_chromium, overflows, page_of
from tests.ctl.console.serving import Serving
from tests.ctl.device import ScriptedDevice
from tests.waiting import PATIENCE_S, wait_until

pytestmark = needs_chromium
STRANGE = "<img src=x onerror=\"document.title='caught'\">"


def sees(label: str, score: float = 0.9) -> dict[str, Any]:
    return {"seen": {"main": Seen(label=label, score=score, familiarity=0.4)}}


class Crowd:
    """Many devices that one connection speaks for."""

    def __init__(self, speaker: ScriptedDevice, names: list[str]) -> None:
        self._mqtt, self._names = speaker._mqtt, names

    def say(self, topic: str, payload: bytes) -> None:
        told = [self._mqtt.publish(f"edged/{name}/{topic}", payload, qos=1) for name in self._names]
        for one in told:
            one.wait_for_publish(PATIENCE_S)


def test_the_fleet_is_seen_filtered_and_walked_through(browser: Any, broker_port: int) -> None:
    with (
        ScriptedDevice(broker_port, "line-1") as one,
        ScriptedDevice(broker_port, "line-10") as ten,
        ScriptedDevice(broker_port, "line-2") as two,
        Serving(broker_port) as server,
        page_of(browser) as page,
    ):
        page.goto(server.url)
        page.get_by_role("link", name="line-10").wait_for()
        one.say("telemetry", one.telemetry.model_copy(update=sees(STRANGE)))
        ten.say("telemetry", ten.telemetry.model_copy(update=sees("tulips")))
        two.say("alert/thermal", Alert(name="thermal", since=timestamp(), reason="91 °C"), retain=True)
        two.say("job", Job(id="1", cmd="retrain", status="running", progress=0.43), retain=True)
        page.locator("[data-device=line-1]").get_by_text(STRANGE).wait_for()
        assert page.locator(".rows img[src=x]").count() == 0
        assert "caught" not in page.title()

        page.locator("[data-device=line-2]").get_by_text("thermal").wait_for()
        page.locator("[data-device=line-2]").get_by_text("retrain 43 %").wait_for()
        order = "[...document.querySelectorAll('[data-device]')].map(e => e.dataset.device).join()"
        wait_until(lambda: page.evaluate(order) == "line-2,line-1,line-10", what="the one that needs attention first")
        assert faults(page) == []

        page.keyboard.press("/")
        page.keyboard.type("tulips")
        wait_until(lambda: page.locator("[data-device]:not([hidden])").count() == 1, what="one device")
        page.get_by_role("searchbox").fill("")
        page.get_by_role("button", name="Attention").press("Enter")
        wait_until(lambda: page.locator("[data-device]:not([hidden])").count() == 1, what="one device")
        page.get_by_role("button", name="All").press("Enter")
        page.get_by_role("link", name="line-2").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.textContent") == "line-10"
        page.keyboard.press("Home")
        page.keyboard.press("Enter")
        page.wait_for_url("**/device/line-2")
        page.get_by_text("91 °C").wait_for()
        page.go_back()
        page.get_by_role("link", name="line-10").wait_for()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1600, "light")])
def test_a_device_is_seen(browser: Any, broker_port: int, width: int, scheme: str) -> None:
    with (
        ScriptedDevice(broker_port) as device,
        Serving(broker_port) as server,
        page_of(browser, width=width, height=844, scheme=scheme) as page,
    ):
        device.model = device.model.model_copy(update={"labels": [STRANGE, "dog"]})
        device.describe()
        page.goto(f"{server.url}device/tx2-01")
        page.get_by_role("definition").get_by_text(STRANGE).wait_for()
        for p95 in (15.0, 16.5):
            latency = device.telemetry.latency_ms.model_copy(update={"p95": p95})  # type: ignore[union-attr]  # it has one
            device.say("telemetry", device.telemetry.model_copy(update={"latency_ms": latency, **sees("cat")}))
            page.get_by_role("img", name="Latency").filter(has=page.locator("canvas")).wait_for()
            page.get_by_text(f"p95 {p95}").first.wait_for()
        page.get_by_role("img", name="Power, W: VDD_GPU 0.3, VDD_IN 4.1").wait_for()
        device.say("job/9", Job(id="9", cmd="rollback", status="failed", error=STRANGE))
        page.get_by_role("row", name="rollback").get_by_text(STRANGE).wait_for()
        assert "caught" not in page.title()
        assert not overflows(page)
        assert faults(page) == []


def test_of_a_thousand_devices_only_those_on_the_screen_are_drawn(browser: Any, broker_port: int) -> None:
    names = [f"cam-{number:04}" for number in range(1000)]
    with ScriptedDevice(broker_port) as speaker, Serving(broker_port) as server, page_of(browser) as page:
        crowd = Crowd(speaker, names)
        crowd.say("state", b"online")
        page.goto(server.url)
        page.get_by_role("button", name="All 1,001").wait_for()
        crowd.say("telemetry", speaker.telemetry.model_copy(update=sees("tulips")).encode())
        page.locator("[data-device=cam-0000]").get_by_text("tulips").wait_for()
        page.evaluate(
            """() => {
                window.touched = new Set();
                const note = (changes) => changes.forEach((change) => {
                    const row = (change.target.parentElement ?? change.target).closest("[data-device]");
                    if (row) window.touched.add(row.dataset.device);
                });
                new MutationObserver(note).observe(document.querySelector(".rows"),
                    {subtree: true, childList: true, characterData: true, attributes: true});
            }"""
        )
        crowd.say("telemetry", speaker.telemetry.model_copy(update=sees("daisy")).encode())
        page.locator("[data-device=cam-0000]").get_by_text("daisy").wait_for()
        page.get_by_role("searchbox").fill("tulips")
        page.get_by_text("No device matches.").wait_for()  # all thousand are known to show something else now
        page.get_by_role("searchbox").fill("")
        touched = page.evaluate("[...window.touched].length")
        # Rows on the screen, and those that passed through it while the search did not know all that was said.
        assert 5 <= touched <= 200
        page.get_by_role("link", name="cam-0999").scroll_into_view_if_needed()
        page.locator("[data-device=cam-0999]").get_by_text("daisy").wait_for()


ROWS_IN_ORDER = """[...document.querySelectorAll('[data-device]:not([hidden])')].map((row, at) =>
    row.getAttribute('aria-rowindex') === String(at + 2) ? row.dataset.device : 'at a wrong place')"""
HEIGHT = "document.querySelector('.rows').getBoundingClientRect().height"
LAID_OUT = """[...document.querySelectorAll('[data-device] a')]
    .filter((link) => link.checkVisibility({contentVisibilityAuto: true})).length"""
ON_SCREEN = """[...document.querySelectorAll('[data-device]:not([hidden])')].filter((row) => {
    const {top, bottom} = row.getBoundingClientRect();
    return bottom > 0 && top < innerHeight;
})"""


@pytest.mark.parametrize(("width", "high"), [(390, 118), (1600, 68)])
def test_what_is_far_from_the_screen_is_found_told_of_and_reached(
    browser: Any, broker_port: int, width: int, high: int
) -> None:
    names = [f"cam-{number:03}" for number in range(300)]
    with (
        ScriptedDevice(broker_port, "zoo") as speaker,
        Serving(broker_port) as server,
        page_of(browser, width=width) as page,
    ):
        crowd = Crowd(speaker, names)
        crowd.say("state", b"online")
        page.goto(server.url)
        page.get_by_role("button", name="All 301").wait_for()
        wait_until(lambda: page.evaluate(ROWS_IN_ORDER) == [*names, "zoo"], what="all in order")
        table = page.get_by_role("table", name="Devices")
        assert table.get_attribute("aria-rowcount") == "302"
        assert page.evaluate(HEIGHT) == 301 * high
        # Only what is near is laid out: what a step of scrolling costs does not grow with the fleet.
        assert 0 < page.evaluate(LAID_OUT) < 60

        assert page.evaluate("window.find('cam-250')")
        crowd.say("telemetry", speaker.telemetry.model_copy(update=sees("tulips")).encode())
        page.locator("[data-device=cam-250]").get_by_text("tulips").wait_for()
        wait_until(
            lambda: page.evaluate(f"{ON_SCREEN}.every((row) => row.querySelector('.label'))"), what="all of the screen"
        )
        assert page.evaluate(f"{ON_SCREEN}.length") >= 1000 // high - 3

        page.get_by_role("searchbox").fill("cam-2")
        wait_until(lambda: page.evaluate(ROWS_IN_ORDER) == names[200:], what="those that match, in order")
        assert table.get_attribute("aria-rowcount") == "101"
        assert page.evaluate(HEIGHT) == 100 * high
        page.get_by_role("link", name="cam-200").focus()
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.textContent") == "cam-299"
        page.locator("[data-device=cam-299]").get_by_text("tulips").wait_for()
        page.keyboard.press("ArrowUp")
        assert page.evaluate("document.activeElement.textContent") == "cam-298"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "cam-299"
        assert not overflows(page)
        assert faults(page) == []

        page.get_by_role("searchbox").fill("")
        gone = Crowd(speaker, names[:295])
        gone.say("state", b"offline")
        page.get_by_role("button", name="Offline 295").press("Enter")
        wait_until(lambda: page.evaluate(HEIGHT) == 295 * high, what="those that are off")


def test_on_a_phone_a_job_is_read_whole(browser: Any, broker_port: int) -> None:
    with (
        ScriptedDevice(broker_port, "busy") as device,
        Serving(broker_port) as server,
        page_of(browser, width=390) as page,
    ):
        device.say("telemetry", device.telemetry.model_copy(update=sees("a label that is long for a phone")))
        page.goto(server.url)
        device.say("job", Job(id="1", cmd="retrain", status="running", progress=0.43), retain=True)
        job = page.locator("[data-device=busy] .job").filter(has_text="retrain 43 %")
        job.wait_for()
        page.locator("[data-device=busy] .label").filter(has_text="a label").wait_for()
        assert job.evaluate("(told) => told.scrollWidth <= told.clientWidth")
        lines = (".c1 .score", ".c7 .job"), (".c2 .unit", ".c3 b", ".c3 .unit", ".c4 b", ".c4 .unit", ".c5 b")
        for line in lines:
            told = page.evaluate(
                """(names) => names.map((name) => {
                    const {left, right} = document.querySelector(`.rows ${name}`).getBoundingClientRect();
                    return {left, right};
                })""",
                list(line),
            )
            assert all(told[at]["right"] <= told[at + 1]["left"] for at in range(len(told) - 1)), line
        assert not overflows(page)


class Watching(ScriptedDevice):
    """One whose camera has regions."""

    regions: tuple[dict[str, Any], ...] = (
        {"track": "7", "label": STRANGE, "score": 0.8, "box": [0.25, 0.5, 0.25, 0.25]},
    )

    def _do_snapshot(self, command: CommandMessage) -> None:
        image = np.full((90, 160, 3), 80, np.uint8)
        size = {"width": 160, "height": 90, "regions": list(self.regions)}
        newest = json.loads(self.result(STRANGE).encode()) if self.regions else {"camera": "main", "ts": timestamp()}
        self._answer("image", command, encode_jpeg(image))
        self._job(command, "succeeded", "snapshot", progress=1, report={**newest, **size})


class Painting(ScriptedDevice):
    """One that sends a picture."""

    def _do_snapshot(self, command: CommandMessage) -> None:
        self._answer("image", command, encode_jpeg(np.full((90, 160, 3), 80, np.uint8)))
        self._job(command, "succeeded", "snapshot", progress=1, report=json.loads(self.result().encode()))


def test_a_row_s_picture_follows_its_label(browser: Any, broker_port: int) -> None:
    with Painting(broker_port) as device, Serving(broker_port) as server, page_of(browser) as page:
        page.goto(server.url)
        for label in ("cat", "dog & bone"):
            device.say("telemetry", device.telemetry.model_copy(update=sees(label)))
            page.locator("[data-device=tx2-01] .label").get_by_text(label).wait_for()
            shown = f"""() => {{
                const shown = new URL(document.querySelector("[data-device=tx2-01] img").src || "x:/").searchParams;
                return shown.get("label") === "{label}" && shown.get("camera") === "main";
            }}"""
            page.wait_for_function(shown)


def test_boxes_lie_on_what_is_classified_by_itself(browser: Any, broker_port: int) -> None:
    with Watching(broker_port) as device, Serving(broker_port) as server, page_of(browser) as page:
        page.goto(f"{server.url}device/tx2-01")
        page.get_by_role("img", name=STRANGE).wait_for()
        page.locator(".screen rect").wait_for(state="attached")
        places = """['img', 'rect'].map((name) => {
            const {x, y, width, height} = document.querySelector(`.screen ${name}`).getBoundingClientRect();
            return {x, y, width, height};
        })"""
        image, box = page.evaluate(places)  # at once: every frame brings new boxes
        scale = min(image["width"] / 160, image["height"] / 90)
        left = image["x"] + (image["width"] - 160 * scale) / 2
        assert abs(box["x"] - left - 0.25 * 160 * scale) < 3
        assert abs(box["width"] - 0.25 * 160 * scale) < 5
        assert page.locator(".screen text").text_content() == STRANGE
        assert "caught" not in page.title()
        device.regions = ()
        page.get_by_role("img", name="nothing").wait_for()
        assert page.locator(".screen rect").count() == 0
