"""Makes README's pictures of `edgectl console` again: a real daemon, simulated devices, Debian's Chromium.

    PYTHONPATH=tools .venv/bin/python tools/reports/console.py

From the top of a checkout. Needs mosquitto, chromium, playwright and `edged[console]`. The daemon looks at the photos
of `edged demo`; crops of five of the six are taught, so that the sixth is a stranger.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.live import Broker
from edged.demo import DEVICE, PHOTOS, start_console, start_daemon
from edged.demo.crops import write_crops
from simulation.fleet import Fleet

INTO = Path(__file__).with_name("console")
STRANGER = "cat"
SIMULATED = 40
_FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
_PATIENCE_MS = 180_000


def main() -> None:
    """Take all of them."""
    with ExitStack() as stop:
        folder = Path(stop.enter_context(tempfile.TemporaryDirectory()))
        broker = Broker(folder)
        stop.callback(broker.close)
        start_daemon(stop, folder, broker.port, source=f"dir://{PHOTOS.relative_to(Path.cwd())}")
        stop.enter_context(Fleet(SIMULATED, [f"mqtt://127.0.0.1:{broker.port}"], folder))
        url = start_console(stop, broker.port)
        crops = folder / "crops"
        write_crops(PHOTOS, crops)
        shutil.rmtree(crops / STRANGER)
        for command in (("images", "push", str(crops)), ("retrain", "--wait")):
            edgectl = [sys.executable, "-m", "edged.ctl", "--broker", f"mqtt://127.0.0.1:{broker.port}"]
            subprocess.run([*edgectl, "--device", DEVICE, "--timeout", "100", *command], check=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
            for width, height, scheme in ((1600, 1000, "light"), (390, 844, "dark")):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                context.set_default_timeout(_PATIENCE_MS)
                page = context.new_page()
                for name, (path, ready) in PAGES.items():
                    page.goto(f"{url}{path}")
                    ready(page)
                    page.wait_for_timeout(4000)  # numbers and pictures come in the course of the next seconds
                    page.screenshot(path=INTO / f"{name}-{width}.jpg", type="jpeg", quality=74)
                context.close()
            browser.close()


def _ready_device(page: Any) -> None:
    page.get_by_role("img", name="Newest frame").wait_for()
    page.get_by_role("img", name="Latency").locator("canvas").wait_for()


def _ready_labeling(page: Any) -> None:
    page.get_by_role("button", name="Labeled").click()
    page.locator(".tile-photo").nth(30).wait_for()
    page.locator(".tile-photo").nth(2).click()
    page.locator(".tile-photo").nth(5).click(modifiers=["Shift"])
    page.evaluate("document.activeElement.blur()")


PAGES: dict[str, tuple[str, Callable[[Any], object]]] = {
    "fleet": ("", lambda page: page.locator(".rows img:not([hidden])").first.wait_for()),
    "device": (f"device/{DEVICE}", _ready_device),
    "labeling": (f"device/{DEVICE}/labeling", _ready_labeling),
    "retrain": (f"device/{DEVICE}/retrain", lambda page: page.get_by_role("heading", name="Confusion").wait_for()),
}

if __name__ == "__main__":
    main()
