"""The exception tree. Adapters translate what their library raises into one of these, with `from`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # this module is imported before all others
    from collections.abc import Sequence
    from typing import Any

    from pydantic import ValidationError


class EdgedError(Exception):
    """Base of every error that edged raises itself; its text is one line that a user can act on."""


class ConfigError(EdgedError):
    """A configuration file, key or value is wrong.

    Attributes:
        key: The key, with dots, where one file or one variable has it wrong; empty: the text tells.
        others: (key, one line) of each further mistake that was found; the text tells the first one.
    """

    def __init__(self, text: str, *, key: str = "", others: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(text)
        self.key = key
        self.others = tuple(others)


class CameraError(EdgedError):
    """A frame source cannot be opened or has stopped delivering frames."""


class ModelError(EdgedError):
    """A model, its labels or its bundle cannot be used."""


class NotInstalledError(ConfigError, ModelError):
    """A model wants a runtime that is not installed here: an extra of edged, which its text names."""


class ImageError(EdgedError):
    """An image file cannot be read: missing, no image, damaged, cut off, or too large."""


class StorageError(EdgedError):
    """A file or database in the state folder cannot be read or written: a full disk, missing permissions, damage."""


class LinkError(EdgedError):
    """The MQTT broker cannot be reached, refuses us, or did not answer in time."""


class CommandError(EdgedError):
    """A command is malformed, expired, unknown or cannot be carried out; becomes a `rejected` ack."""


class TrainingError(EdgedError):
    """A training cannot start or did not end with a usable model."""


class RefusedError(EdgedError):
    """What was asked for cannot be done with these images or settings; becomes a `rejected` job."""


class ChildError(EdgedError):
    """A child process ended without a result: it was killed, crashed, or met an error that is a defect of edged.

    Attributes:
        out_of_memory: It most likely ended for lack of memory.
    """

    def __init__(self, text: str, *, out_of_memory: bool = False) -> None:
        super().__init__(text)
        self.out_of_memory = out_of_memory


class ChildTimeoutError(ChildError):
    """A child process had no result in time and was ended."""


class Mistake(NamedTuple):
    """The first of the mistakes that pydantic found.

    Attributes:
        key: Where it stands, with dots; empty: the whole.
        value: What stands there.
        kind: Pydantic's name of the mistake, e.g. "extra_forbidden".
        text: What is allowed.
    """

    key: str
    value: Any
    kind: str
    text: str


def first_mistake(error: ValidationError) -> Mistake:
    """Return what a person is told of a value that does not fit its model."""
    return mistakes(error)[0]


def mistakes(error: ValidationError) -> list[Mistake]:
    """Return all that does not fit, in the order of the model's fields; one at least."""
    return [
        Mistake(
            ".".join(str(part) for part in one["loc"] if part != "[key]"),
            one.get("input"),
            one["type"],
            one["msg"].removeprefix("Value error, "),
        )
        for one in error.errors(include_url=False)
    ]
