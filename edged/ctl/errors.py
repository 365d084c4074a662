"""What can go wrong between a workstation and a device, and the exit code of each."""

from edged.errors import CommandError, ConfigError, EdgedError, LinkError

DONE, FAILED, USAGE, NO_ANSWER = 0, 1, 2, 3
"""Exit codes of edgectl."""


class UnreachableError(LinkError):
    """No MQTT broker answers at the address."""


class AccessRefusedError(LinkError):
    """The broker answers and refuses the login, the certificate or a topic."""


class NoAnswerError(LinkError):
    """The device is unknown, offline or silent."""


class RejectedError(CommandError):
    """The device refused a command or a job of it failed."""


def exit_code(error: EdgedError) -> int:
    """Return the exit code for `error`."""
    if isinstance(error, ConfigError | AccessRefusedError):
        return USAGE
    return NO_ANSWER if isinstance(error, LinkError) else FAILED
