"""What can go wrong between a workstation and a device. `edged.terminal.program` turns each into an exit code."""

from edged.errors import CommandError, ConfigError, LinkError


class UnreachableError(LinkError):
    """No MQTT broker answers at the address."""


class AccessRefusedError(ConfigError, LinkError):
    """The broker answers and refuses the login, the certificate or a topic: an option is wrong."""


class NoAnswerError(LinkError):
    """The device is unknown, offline or silent."""


class RejectedError(CommandError):
    """The device refused a command or a job of it failed."""
