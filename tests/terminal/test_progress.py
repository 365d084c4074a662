"""The one progress bar: lines in a pipe, a bar on a terminal, nothing where it would disturb."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from edged.terminal.progress import progress
from tests.waiting import PATIENCE_S


def test_a_line_for_each_stage_and_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("retrain") as tell:
        tell(0.0, text="scan")
        for done in range(101):
            tell(0.5 * done / 100, text=f"bottlenecks {done} of 100")
        tell(0.51, text="training epoch 1, loss 0.4", stage="training")
        tell(0.52, text="training epoch 2, loss None", stage="training")
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [
        "retrain:   0% scan",
        "retrain:   0% bottlenecks 0 of 100",
        "retrain:  10% bottlenecks 20 of 100",
        "retrain:  20% bottlenecks 40 of 100",
        "retrain:  30% bottlenecks 60 of 100",
        "retrain:  40% bottlenecks 80 of 100",
        "retrain:  50% bottlenecks 100 of 100",
        "retrain:  51% training epoch 1, loss 0.4",
    ]


def test_items_and_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tx2-01 images push", unit="items") as tell:
        tell(120, 3670, "2.1 MB")
        tell(130, 3670, "2.2 MB")
        tell(3670, 3670)
    with progress("pull inception_v3", unit="bytes") as tell:
        tell(0, None)
        tell(4e6, None)
        tell(4e6, 8e6)
    assert capsys.readouterr().err.splitlines() == [
        "tx2-01 images push:   3% 120 of 3670, 2.1 MB",
        "tx2-01 images push: 100% 3670 of 3670",
        "pull inception_v3: 0.0 MB",
        "pull inception_v3:  50% 4.0 of 8.0 MB",
    ]


def test_where_nobody_knows_how_far_it_is_there_are_lines_of_stages(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("finetune") as tell:
        for epoch in (1, 1, 2):
            tell(None, text=f"training epoch {epoch}", stage=f"training epoch {epoch}")
    assert capsys.readouterr().err == "finetune: training epoch 1\nfinetune: training epoch 2\n"


def test_text_from_the_wire_is_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("tx2\x1b[2J") as tell:
        tell(0.1, text="sc\x1b]0;owned\x07an\nforged: line")
    assert capsys.readouterr().err == "tx2[2J:  10% sc]0;ownedan forged: line\n"


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("x", quiet=True) as tell:
        tell(0.5, text="half", stage="half")
    assert capsys.readouterr() == ("", "")


SHOW = """
import sys
from edged.terminal.progress import progress
for unit in ("share", "items", "bytes"):
    with progress("[red]tx2", unit=unit) as tell:
        tell(None, text="it begins")
        tell(1.0, text="first")
        tell(0.5, text="sc\\x1b]0;owned\\x07an [bold]")
print("done")
"""


def on_a_terminal(**variables: str) -> str:
    """Return what `SHOW` writes to standard error, which is a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **variables}
    process = subprocess.Popen([sys.executable, "-c", SHOW], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while block := os.read(ours, 65536):
            written += block
    except OSError:  # how Linux ends a pseudo-terminal
        pass
    os.close(ours)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out) == (0, b"done\n")
    return written.decode()


def test_a_bar_on_a_terminal_that_is_gone_afterwards() -> None:
    shown = on_a_terminal()
    assert "\x1b]0;" not in shown
    assert "sc]0;ownedan [bold]" in shown
    assert "[red]tx2" in shown
    assert "50%" in shown
    assert "━" in shown
    assert shown.count("\x1b[2K") >= 3, "each bar's line is cleared at its end"


def test_a_dumb_terminal_gets_lines() -> None:
    assert on_a_terminal(TERM="dumb").splitlines()[:2] == ["[red]tx2: it begins", "[red]tx2: 100% first"]
