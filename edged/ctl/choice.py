"""What `--device` may name: one device, several, a pattern, a group of a file, or all of them."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edged.ctl.user_folder import user_folder
from edged.errors import ConfigError

ALL = "all"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")  # contract.topics.check_topic_level, which imports pydantic
_PATTERN = re.compile(r"[A-Za-z0-9_.*?-]{1,200}")


@dataclass(frozen=True)
class Choice:
    """Which devices are meant.

    Attributes:
        text: As the user gave it.
        parts: Ids, and patterns with * and ?; groups are resolved.
    """

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read `all`, `ID`, `ID,ID`, `'line-*'` or `@GROUP`.

        Raises:
            ConfigError: It is none of these, or there is no such group.
        """
        parts = tuple(dict.fromkeys(_resolved(text.split(","), ())))
        return cls(text, ("*",) if ALL in parts else parts)

    @property
    def only(self) -> str | None:
        """The one id that is named; None where there are more, or a pattern."""
        return self.parts[0] if len(self.parts) == 1 and not _is_pattern(self.parts[0]) else None

    @property
    def every(self) -> bool:
        """Whether each device there is, is meant."""
        return "*" in self.parts

    @property
    def level(self) -> str:
        """The level of a topic filter that has all of them, and others perhaps."""
        return self.only or "+"

    def takes(self, device: str) -> bool:
        """Whether a device is meant; nothing is one whose name none may have: `all` would be the whole fleet."""
        return (
            device != ALL
            and _ID.fullmatch(device) is not None
            and any(fnmatchcase(device, part) for part in self.parts)
        )

    def named(self) -> list[str]:
        """Return the ids that are named one by one."""
        return sorted(part for part in self.parts if not _is_pattern(part))


EVERY = Choice(ALL, ("*",))


def groups_file() -> Path:
    """Where groups are written down: $EDGECTL_GROUPS, else edged/groups.toml in the user's folder for configuration."""
    if given := os.environ.get("EDGECTL_GROUPS"):
        return Path(given).expanduser()
    return user_folder() / "groups.toml"


def _is_pattern(part: str) -> bool:
    return "*" in part or "?" in part


def _resolved(parts: Iterable[str], within: tuple[str, ...]) -> Iterator[str]:
    """Yield ids and patterns; `within` are the groups that these parts stand in."""
    for part in map(str.strip, parts):
        if part.startswith("@"):
            name = part[1:]
            if name in within:
                raise ConfigError(f"--device @{within[0]}: {groups_file()}: group {name!r} contains itself")
            yield from _resolved(_members(name), (*within, name))
        elif (_PATTERN if _is_pattern(part) else _ID).fullmatch(part):
            yield part
        else:
            where = f"group {within[-1]!r} of {groups_file()}" if within else "--device"
            raise ConfigError(
                f"{where}: {part!r}: use an id (1 to 64 letters, digits, '.', '_' or '-', starting with a letter or "
                "digit), a pattern with * and ?, several with commas between, @GROUP, or 'all'"
            )


def _members(name: str) -> list[str]:
    path = groups_file()
    try:
        groups = _read(path)
    except OSError as error:
        raise ConfigError(f"--device @{name}: groups are read from {path}: {error.strerror}") from error
    except ValueError as error:  # not UTF-8, not TOML
        raise ConfigError(f"--device @{name}: {path}: {error}") from error
    members = groups.get(name)
    if members is None:
        raise ConfigError(f"--device @{name}: {path} has no such group; it has {', '.join(sorted(groups)) or 'none'}")
    if not isinstance(members, list) or not members or not all(isinstance(one, str) for one in members):
        raise ConfigError(f'--device @{name}: {path}: write {name} = ["ID", "PATTERN-*", "@OTHER_GROUP"]')
    return members


def _read(path: Path) -> dict[str, object]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    groups: dict[str, object] = toml.loads(path.read_text(encoding="utf-8"))
    return groups
