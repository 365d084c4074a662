"""What both programs do around a command: standard streams that can be printed on, errors as one line, exit codes."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from edged.errors import ConfigError, EdgedError, LinkError
from edged.process import discard_output, open_standard_streams

DONE, FAILED, USAGE, NO_ANSWER = 0, 1, 2, 3
"""Exit codes of both programs. `USAGE`: wrong command line or configuration; `NO_ANSWER`: none came in time."""
INTERRUPTED = 130
"""What a shell reports for a process that SIGINT ended."""


def run_program(program: str, run: Callable[[], int]) -> int:
    """Run a command, and turn what goes wrong into one line on standard error.

    Args:
        program: Its name, at the head of that line.
        run: Parses the command line, does what it says and returns the exit code.

    Returns:
        The exit code.
    """
    open_standard_streams()
    try:
        try:
            code = run()
        except SystemExit:  # --help, --version
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # what cannot be written shows itself here and not when the interpreter ends
        return code
    except EdgedError as error:
        from edged.terminal.text import note  # only what went wrong needs it

        note(program, str(error))
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has gone (`| head`): that is its right
        discard_output()
        return DONE
    except OSError as error:  # a full disk behind stdout, too many open files
        discard_output()
        where = error.filename or ("output" if error.errno in (errno.ENOSPC, errno.EIO) else None)
        print(f"{program}: {f'{where}: ' if where else ''}{error.strerror or error}", file=sys.stderr)
        return FAILED


def exit_code(error: EdgedError) -> int:
    """Return the exit code for `error`."""
    if isinstance(error, ConfigError):
        return USAGE
    return NO_ANSWER if isinstance(error, LinkError) else FAILED
