"""What native code writes to standard error while networks are made, on several threads."""

from __future__ import annotations

import os
import threading

import pytest

from edged.vision.native_log import without_chatter
from tests.waiting import PATIENCE_S


def test_chatter_goes_and_the_rest_stays(capfd: pytest.CaptureFixture[str]) -> None:
    with without_chatter():
        os.write(2, b"INFO: Created a delegate\nWarning: something else\n")
    os.write(2, b"INFO: after it\n")
    assert capfd.readouterr().err == "Warning: something else\nINFO: after it\n"


def test_threads_that_overlap_leave_standard_error_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def second() -> None:
        first_in.wait(PATIENCE_S)
        with without_chatter():
            second_in.set()
            first_out.wait(PATIENCE_S)
            os.write(2, b"INFO: chatter\nsecond\n")

    thread = threading.Thread(target=second)
    thread.start()
    with without_chatter():
        first_in.set()
        assert second_in.wait(PATIENCE_S)
        os.write(2, b"first\n")
    first_out.set()
    thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "first\nsecond\nafter\n"
