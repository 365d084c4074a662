"""What both programs do with what goes wrong: one line, and the right exit code."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from edged.ctl.errors import AccessRefusedError, NoAnswerError, RejectedError, UnreachableError
from edged.errors import ConfigError, EdgedError, ModelError
from edged.terminal.program import run_program
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("the reason"), 2),
        (AccessRefusedError("the reason"), 2),
        (UnreachableError("the reason"), 3),
        (NoAnswerError("the reason"), 3),
        (RejectedError("the reason"), 1),
        (ModelError("the reason"), 1),
        (EdgedError("the\nreason\x1b[2J"), 1),
    ],
)
def test_an_error_is_one_line(error: EdgedError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise error

    assert run_program("edgectl", run) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("edgectl: the")
    assert printed.err.count("\n") == 1
    assert "\x1b" not in printed.err


def test_the_code_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_program("edged", lambda: 7) == 7
    assert capsys.readouterr() == ("", "")


def in_a_process(body: str, shell: str = '"$@"') -> tuple[int, str, str]:
    script = (
        "import os, sys\nfrom edged.terminal.program import run_program\n"
        f"def run():\n    {body}\n    return 0\nsys.exit(run_program('edged', run))\n"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell, "sh", sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return done.returncode, done.stdout, done.stderr


def test_what_happens_to_the_process() -> None:
    assert in_a_process("raise KeyboardInterrupt") == (130, "", "")
    assert in_a_process("print('x')", '"$@" >/dev/full') == (1, "", "edged: output: No space left on device\n")
    help_page = "print('x'); sys.exit(0)"
    assert in_a_process(help_page, '"$@" >/dev/full') == (1, "", "edged: output: No space left on device\n")
    assert in_a_process(help_page) == (0, "x\n", "")
    assert in_a_process("print('x' * 1_000_000)", '"$@" | true') == (0, "", "")
    code, out, err = in_a_process(f"raise OSError({errno.EMFILE}, 'Too many open files', '/some/file')")
    assert (code, out, err) == (1, "", "edged: /some/file: Too many open files\n")
