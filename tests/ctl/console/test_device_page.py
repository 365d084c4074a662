"""The page of one device in a real Chromium: several cameras, what it was told, a device that nobody knows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from edged.codec import encode_jpeg
from edged.contract.commands import CommandMessage
from edged.contract.messages import Ack, Seen
from tests.ctl.console.album import Album
from tests.ctl.console.browser import faults, needs_chromium, page_of
from tests.ctl.console.serving import Serving
from tests.ctl.device import ScriptedDevice
from tests.mosquitto import free_port

pytestmark = needs_chromium
CAMERAS = ("north", "door")
"""In the order in which the device names them, which is not the alphabet's."""


class TwoCameras(ScriptedDevice):
    """One whose cameras see something different each."""

    def __init__(self, port: int) -> None:
        super().__init__(port, cameras=CAMERAS)

    def _do_snapshot(self, command: CommandMessage) -> None:
        camera = command.args.get("camera") or CAMERAS[0]
        seen = json.loads(self.result(f"seen by {camera}", camera=camera).encode())
        self._answer("image", command, encode_jpeg(np.full((90, 160, 3), 80, np.uint8)))
        self._job(command, "succeeded", "snapshot", progress=1, report=seen)


def test_of_several_cameras_each_is_shown(browser: Any, broker_port: int) -> None:
    with TwoCameras(broker_port) as device, Serving(broker_port) as server, page_of(browser) as page:
        page.goto(f"{server.url}device/tx2-01")
        page.get_by_role("img", name="Newest frame: seen by north").wait_for()
        choose = page.get_by_role("combobox", name="Camera")
        assert choose.input_value() == "north"
        choose.select_option("door")
        page.get_by_role("img", name="Newest frame: seen by door").wait_for()

        seen = {name: Seen(label=f"label of {name}", score=0.9) for name in CAMERAS}
        device.say("telemetry", device.telemetry.model_copy(update={"seen": seen}))
        page.get_by_role("img", name="Label mix, door: share of what was seen: label of door 100\u00a0%").wait_for()
        choose.select_option("north")
        page.get_by_role("img", name="Label mix, north: share of what was seen: label of north 100\u00a0%").wait_for()

        device.say("ack/9", Ack(id="9", status="rejected", error="rollback: there is no version before"))
        page.get_by_role("row", name="rollback").get_by_text("there is no version before").wait_for()


def test_a_device_that_nobody_knows_is_called_so_until_it_comes(browser: Any, broker_port: int) -> None:
    with Serving(broker_port) as server, page_of(browser, tolerated="status of 404") as page:
        for part in ("", "/labeling"):
            page.goto(f"{server.url}device/tx2-01{part}")
            page.get_by_text("No device is known here that is called tx2-01.").wait_for()
        assert faults(page) == []
        page.get_by_role("link", name="Show all devices").click()
        page.wait_for_url(server.url)
        page.get_by_text("No device is known here").wait_for(state="detached")
        page.go_back()
        page.get_by_text("No device is known here").wait_for()
        with Album(broker_port, "tx2-01"):
            page.get_by_text("No device is known here").wait_for(state="detached")


def test_a_page_says_that_a_new_token_is_needed(browser: Any, broker_port: int) -> None:
    port = free_port()
    with page_of(browser, tolerated="Failed to load resource") as page:
        for text in ("Waiting for devices", "asks for a new token"):
            with Serving(broker_port, listen=f"0.0.0.0:{port}") as server:
                if text.startswith("Waiting"):
                    page.goto(f"http://127.0.0.1:{port}/{server.url[server.url.index('?') :]}")
                page.get_by_text(text).wait_for()
