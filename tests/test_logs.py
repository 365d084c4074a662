"""Where the log goes, and how a failure that repeats is kept short."""

import logging
import os
import subprocess
import sys

import pytest

from edged import logs
from edged.logs import Rarely

PROGRAM = """
import logging, sys
from edged.logs import configure_logging
configure_logging(verbose=len(sys.argv) > 1)
configure_logging(verbose=len(sys.argv) > 1)
logger = logging.getLogger("edged.camera.opencv")
logger.warning("camera main: lost\\nretrying")
logger.debug("frame 7")
logging.getLogger("library").debug("chatter")
"""


def run(*arguments, journal_stream=None, blocked="systemd"):
    read_end, write_end = os.pipe()
    environment = {name: value for name, value in os.environ.items() if name != "JOURNAL_STREAM"}
    if journal_stream == "stderr":
        status = os.fstat(write_end)
        environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    elif journal_stream:
        environment["JOURNAL_STREAM"] = journal_stream
    program = f"import sys; sys.modules[{blocked!r}] = None\n{PROGRAM}"
    with os.fdopen(read_end) as reader:
        subprocess.run([sys.executable, "-c", program, *arguments], stderr=write_end, env=environment, check=True)
        os.close(write_end)
        return reader.read().splitlines()


def test_on_a_terminal_lines_are_short():
    first, second = run()
    assert first[8:] == " WARNING edged.camera.opencv: camera main: lost"
    assert second == "retrying"


def test_verbose_is_about_edged_alone():
    lines = run("-v")
    assert lines[-1][8:] == " DEBUG   edged.camera.opencv: frame 7"
    assert "chatter" not in "".join(lines)


def test_under_systemd_without_its_library_lines_carry_priorities():
    assert run(journal_stream="stderr") == ["<4>edged.camera.opencv: camera main: lost", "<4>retrying"]


def test_a_journal_stream_that_is_not_stderr_does_not_count():
    assert not run(journal_stream="1:1")[0].startswith("<")


class JournalModule:
    """`systemd.journal`, which hands a record to the journal."""

    class JournalHandler(logging.Handler):
        def __init__(self, **fields):
            super().__init__()
            self.fields = fields


def test_under_systemd_with_its_library_the_journal_gets_records(monkeypatch):
    monkeypatch.setattr(logs, "_stderr_is_journal", lambda: True)
    monkeypatch.setitem(sys.modules, "systemd", JournalModule)
    monkeypatch.setitem(sys.modules, "systemd.journal", JournalModule)
    handler = logs._handler({"DEVICE": "dut"})
    assert isinstance(handler, JournalModule.JournalHandler)
    assert handler.fields == {"SYSLOG_IDENTIFIER": "edged", "DEVICE": "dut"}


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


def test_a_repeated_failure_is_told_once_and_then_rarely(clock, caplog):
    rarely = Rarely(logging.getLogger("edged.test"), every_s=60)
    told = []
    for second in range(0, 180, 10):
        clock[0] = second
        told.append(rarely.log("%s: no frame", "main"))
    assert [record.getMessage() for record in caplog.records] == [
        "main: no frame",
        "main: no frame (5 more like this)",
        "main: no frame (5 more like this)",
    ]
    assert sum(told) == 3


def test_after_a_recovery_the_next_failure_is_news(clock, caplog):
    rarely = Rarely(logging.getLogger("edged.test"), level=logging.ERROR)
    assert rarely.log("down")
    assert not rarely.log("down")
    rarely.reset()
    assert rarely.log("down")
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert caplog.records[-1].getMessage() == "down"
