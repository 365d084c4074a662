"""Commands whose output goes nowhere, or to a terminal that knows only ASCII; Ctrl-C at an awkward moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.cli.interrupts import Interrupts
from tests.waiting import PATIENCE_S

PHOTO = Path(__file__).parents[2] / "edged" / "demo" / "photos" / "cat.jpg"
CLASSIFY = ("classify", "--top", "2", str(PHOTO), str(PHOTO))


def shell(script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start `edged ARGUMENTS` as "$@" of a shell script."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("EDGED_", "LC_", "PYTHONUTF8"))}
    return subprocess.Popen(
        ["sh", "-c", script, "sh", sys.executable, "-m", "edged", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**kept, **variables},
    )


def test_output_that_goes_nowhere(tmp_path: Path) -> None:
    state = {"EDGED_STORAGE__STATE_DIR": str(tmp_path), "EDGED_MQTT__URL": "mqtt://127.0.0.1:9"}
    started = {
        "closed": shell('"$@" >&-', *CLASSIFY, **state),
        "list, closed": shell('"$@" >&-', "models", "list", **state),
        "all closed": shell('"$@" <&- >&- 2>&-', *CLASSIFY, **state),
        "full": shell('"$@" >/dev/full', *CLASSIFY, **state),
        "list, full": shell('"$@" >/dev/full', "models", "list", **state),
        "cut": shell('"$@" | head -n 1', *CLASSIFY, **state),
    }
    answers = {
        name: (*process.communicate(timeout=PATIENCE_S), process.returncode) for name, process in started.items()
    }
    full = "edged: output: No space left on device\n"
    assert answers == {
        "closed": ("", "", 0),
        "list, closed": ("", "", 0),
        "all closed": ("", "", 0),
        "full": ("", full, 1),
        "list, full": ("", full, 1),
        "cut": (f"{PHOTO}\n", "", 0),
    }


def test_a_terminal_that_knows_only_ascii() -> None:
    variables = [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C", "TERM": "dumb"},
    ]
    for process in [shell('"$@"', *CLASSIFY, **each) for each in variables]:
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
        assert "Egyptian cat" in out or "tabby" in out


def test_a_lock_file_that_is_printed_on_stays_what_it_is(tmp_path: Path) -> None:
    """A file opened while standard output is closed must not get its number, and with it what is printed."""
    database = tmp_path / "file"
    script = (
        "from edged.process import open_standard_streams as o; o(); import os; "
        f"f = os.open({str(database)!r}, os.O_CREAT | os.O_WRONLY); print('lost'); os.write(2, b'lost'); assert f > 2"
    )
    finished = subprocess.run(["sh", "-c", '"$@" <&- >&- 2>&-', "sh", sys.executable, "-c", script], check=False)
    assert finished.returncode == 0
    assert database.read_bytes() == b""


@pytest.fixture
def interrupt() -> Callable[[], None]:
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        pytest.skip("SIGINT is somebody else's here")
    return lambda: signal.raise_signal(signal.SIGINT)


def test_an_interrupt_that_a_library_swallowed_is_still_one(interrupt: Callable[[], None]) -> None:
    def import_something() -> None:
        with Interrupts() as interrupts:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
            interrupts.raise_from_now_on()
            try:
                interrupt()
            except KeyboardInterrupt as error:  # as numpy's C code does
                raise ImportError("numpy.core.multiarray failed to import") from error

    with pytest.raises(KeyboardInterrupt):
        import_something()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_errors_pass(interrupt: Callable[[], None]) -> None:
    def import_something() -> None:
        with Interrupts() as interrupts:
            interrupts.raise_from_now_on()
            raise ImportError

    with pytest.raises(ImportError):
        import_something()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
