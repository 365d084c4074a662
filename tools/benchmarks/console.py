"""Is the console's page of a fleet smooth? Real Chromium, a real Mosquitto, simulated devices that speak all the time.

    tools/bench console --into tools/reports/console.json    # needs chromium, playwright and edged[console]

A browser draws a frame 60 times a second where nothing keeps it from that. The page notes when each frame begins, while
it is only looked at, while it is scrolled, and while a name is typed into its search, letter by letter, and deleted
again. The same is done with ten and with a hundred devices, in the same run: what a small fleet costs too is the
machine's (ten rows do not fill the page, so there nothing scrolls). So is what a page costs that could not be plainer:
a thousand rows of text, without a script, scrolled by the same browser when all devices have gone.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.live import Broker

DEVICES = (10, 100, 1000)
LATE_MS = 50.0
"""A frame that comes so long after the one before is seen as a jerk: three frames are left out."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_PATIENCE_MS = 120_000
_LOOKED_S = 10.0
_SCROLLS = 100
_SCROLL_MS = 60
_PLAIN_ROWS = 1000
_PLAIN_STYLE = """body { margin: 0; font: 14px sans-serif; }
p { display: grid; grid-template-columns: repeat(5, 1fr); height: 68px; margin: 0; border-top: 1px solid; }"""
_NOTE = """() => {
    const times = window.frames_ms = [];
    let before = performance.now();
    const note = (now) => {
        times.push(now - before);
        before = now;
        if (window.frames_ms === times) requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
}"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `tools/bench console`."""
    parser.add_argument("--devices", type=int, nargs="+", default=list(DEVICES), help="sizes of the fleets")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--into", type=Path, metavar="FILE", help="write the numbers there too")


def measure(sizes: Sequence[int]) -> dict[str, Any]:
    """Measure fleets of these sizes, one after another."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sys.exit("bench: playwright is needed: pip install playwright")
    if (chromium := shutil.which("chromium")) is None:
        sys.exit("bench: chromium is needed: apt install chromium")
    fleets = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        fleets = [_measure(browser, size) for size in sizes]
        plain = _measure_plain(browser)
        version = browser.version
        browser.close()
    return {"cores": os.cpu_count(), "chromium": version, "late_ms": LATE_MS, "fleets": fleets, "plain": plain}


def _measure(browser: Any, size: int) -> dict[str, Any]:
    from edged.demo import start_console
    from simulation.fleet import Fleet, folder_for_state

    with ExitStack() as stop:
        folder = Path(stop.enter_context(tempfile.TemporaryDirectory(dir=folder_for_state())))
        broker = Broker(folder)
        stop.callback(broker.close)
        fleet = stop.enter_context(Fleet(size, [f"mqtt://127.0.0.1:{broker.port}"], folder))
        while fleet.told().connected < size:
            time.sleep(0.5)
        url = start_console(stop, broker.port)
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.set_default_timeout(_PATIENCE_MS)
        began = time.monotonic()
        page.goto(url)
        page.get_by_role("button", name=f"All {size:,}").wait_for()
        page.locator("[data-device=sim-0000] .c2").filter(has_text=".").wait_for()
        shown_s = time.monotonic() - began
        search = page.get_by_role("searchbox")
        phases = {
            "looked at": lambda: page.wait_for_timeout(1000 * _LOOKED_S),
            "scrolled": lambda: _scroll(page),
            "searched": lambda: _search(page, search),
        }
        told = {"devices": size, "shown_s": round(shown_s, 2), "load": round(os.getloadavg()[0], 1)}
        for name, act in phases.items():
            told[name] = _frames(page, act)
        page.close()
        return told


def _measure_plain(browser: Any) -> dict[str, float]:
    """Scroll a page of nothing but rows of text."""
    cells = ("tulips 94 %", "30.2", "17", "flowers 51a7")
    rows = "".join(
        f"<p>{''.join(f'<span>{text}</span>' for text in (f'sim-{number:04}', *cells))}</p>"
        for number in range(_PLAIN_ROWS)
    )
    page = browser.new_page(viewport={"width": 1600, "height": 1000})
    page.set_content(f"<!doctype html><style>{_PLAIN_STYLE}</style>{rows}")
    told = _frames(page, lambda: _scroll(page))
    page.close()
    return told


def _scroll(page: Any) -> None:
    page.mouse.move(800, 600)
    for step in range(_SCROLLS):
        page.mouse.wheel(0, 300 if step < _SCROLLS // 2 else -300)
        page.wait_for_timeout(_SCROLL_MS)


def _search(page: Any, search: Any) -> None:
    for _ in range(3):
        search.press_sequentially("sim-0007", delay=120)
        for _ in range(len("sim-0007")):
            search.press("Backspace")
            page.wait_for_timeout(120)


def _frames(page: Any, act: Callable[[], None]) -> dict[str, float]:
    """Return of the frames that are drawn meanwhile: how many a second, and the times between them, milliseconds."""
    page.evaluate(_NOTE)
    began = time.monotonic()
    act()
    times = sorted(page.evaluate("window.frames_ms"))
    return {
        "frames_per_s": round(len(times) / (time.monotonic() - began), 1),
        "p50_ms": round(statistics.median(times), 1),
        "p99_ms": round(times[int(0.99 * (len(times) - 1))], 1),
        "longest_ms": round(times[-1], 1),
        "late": round(sum(time_ms > LATE_MS for time_ms in times) / len(times), 4),
    }


def table(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table."""
    yield "| devices | page there after | while it is | frames a second | p50 | p99 | longest | later than 50 ms |"
    yield "|--:|--:|---|--:|--:|--:|--:|--:|"
    for fleet in numbers["fleets"]:
        for name in ("looked at", "scrolled", "searched"):
            one = fleet[name]
            yield (
                f"| {fleet['devices']:,} | {fleet['shown_s']:.1f} s | {name} | {one['frames_per_s']:.0f} "
                f"| {one['p50_ms']:.0f} ms | {one['p99_ms']:.0f} ms | {one['longest_ms']:.0f} ms | {one['late']:.1%} |"
            )


def sentences(numbers: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands below the table."""
    loads = [fleet["load"] for fleet in numbers["fleets"]]
    yield (
        f"Chromium {numbers['chromium'].partition('.')[0]}, drawing without a graphics card on {numbers['cores']} "
        f"cores, on which {min(loads):.0f} to {max(loads):.0f} processes were ready to run: broker, console and all "
        "simulated devices, which publish a result a second each, are on the same machine."
    )
    if plain := numbers.get("plain"):  # what was measured before it was added has none
        yield (
            f"A page of {_PLAIN_ROWS:,} rows of plain text that never change is scrolled there with "
            f"{plain['frames_per_s']:.0f} frames a second, {plain['late']:.1%} later than {numbers['late_ms']:.0f} ms."
        )
