"""A real Chromium, driven by Playwright, and axe-core, which tells what somebody could not use."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--no-sandbox",
)  # fmt: skip
"""A browser that looks up nothing by itself; root has no sandbox."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_NEEDED = ("playwright", "axe_playwright_python", "starlette", "uvicorn")
_LACKING = [name for name in _NEEDED if importlib.util.find_spec(name) is None]

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or bool(_LACKING), reason="needs Chromium and Playwright, which tools/test --all installs"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """Start a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(
    browser: Any, *, width: int = 1600, height: int = 1000, scheme: str = "light", tolerated: str | None = None
) -> Iterator[Any]:
    """Open an empty page; what its scripts complain of fails the test.

    Args:
        browser: Where.
        width: Of the page, CSS pixels.
        height: Likewise.
        scheme: Of colours.
        tolerated: What the browser itself may complain of: a part of the line. Never what a script has left unhandled.
    """
    from tests.waiting import PATIENCE_S

    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE_S * 1000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))

    def listen(message: Any) -> None:
        if message.type == "error" and not (tolerated and tolerated in message.text):
            complaints.append(message.text)

    page.on("console", listen)
    try:
        yield page
        assert not complaints, complaints
    finally:
        context.close()


def faults(page: Any) -> list[str]:
    """Return what axe-core finds serious or critical: rule, and where."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['html']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def overflows(page: Any) -> bool:
    """Whether the page is wider than the screen."""
    wide: bool = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    return wide
