"""The installed `edged.service`, read from its files: as whom it runs, where its state lies, what it may see.

The files are read as systemd.unit(5) says, and not asked for with `systemctl`: they are there in a chroot too, where no
systemd runs, and what they say does not depend on whether they have been loaded.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

NAME = "edged.service"
_FOLDERS = (
    "etc/systemd/system.control",
    "run/systemd/system.control",
    "run/systemd/transient",
    "etc/systemd/system",
    "run/systemd/system",
    "usr/local/lib/systemd/system",
    "usr/lib/systemd/system",
    "lib/systemd/system",
)
"""Where systemd looks, the most important first."""
_SPECIFIERS = {"%%": "%", "%S": "/var/lib", "%C": "/var/cache", "%t": "/run", "%E": "/etc", "%n": NAME, "%N": "edged"}
_HOMES = ("/home", "/root", "/run/user")
"""What ProtectHome= is about."""
_SYSTEM = {"yes": ("/usr", "/boot", "/efi"), "full": ("/usr", "/boot", "/efi", "/etc"), "strict": ("/",)}
"""What ProtectSystem= makes read-only."""


@dataclass(frozen=True)
class Unit:
    """The `[Service]` section of the unit and its drop-ins.

    Attributes:
        path: The unit's own file.
        assignments: Every key and value, in the order in which they count.
        root: Where the file system that the unit is for begins.
    """

    path: Path
    assignments: tuple[tuple[str, str], ...]
    root: Path = Path("/")

    def every(self, key: str) -> list[str]:
        """Return the values of a key that may stand more than once; an empty one forgets those before it."""
        values: list[str] = []
        for name, value in self.assignments:
            if name == key:
                values = [*values, value] if value else []
        return values

    def value(self, key: str, default: str = "") -> str:
        """Return the last value of a key."""
        values = self.every(key)
        return values[-1] if values else default

    def is_set(self, key: str) -> bool:
        """Whether a key that is yes or no says yes."""
        return self.value(key).lower() in ("yes", "true", "on", "1", "y", "t")

    @property
    def user(self) -> str:
        """Name or number of the user that it runs as."""
        return _expanded(self.value("User", "edged" if self.is_set("DynamicUser") else "root"))

    @property
    def state_dir(self) -> Path | None:
        """What systemd makes for it and names in $STATE_DIRECTORY; None: nothing."""
        names = _expanded(" ".join(self.every("StateDirectory"))).split()
        return Path("/var/lib", names[0].split(":")[0]) if names else None

    @property
    def command(self) -> list[str]:
        """What it starts, word by word; empty where it says nothing of use."""
        line = _expanded(self.value("ExecStart")).lstrip("-@:+!")
        try:
            return shlex.split(line)
        except ValueError:
            return []

    @property
    def config(self) -> Path | None:
        """The configuration that it names; None: the default one."""
        words = self.command
        for place, word in enumerate(words):
            if word == "--config" and words[place + 1 :]:
                return Path(words[place + 1])
            if word.startswith("--config="):
                return Path(word.removeprefix("--config="))
        return None

    def environment(self) -> dict[str, str]:
        """Return the variables that it sets.

        Raises:
            OSError: An environment file may not be read.
        """
        variables: dict[str, str] = {}
        for line in self.every("Environment"):
            try:
                words = shlex.split(_expanded(line))
            except ValueError:
                continue
            variables |= dict(word.split("=", 1) for word in words if "=" in word)
        for name in self.every("EnvironmentFile"):
            try:
                text = (self.root / name.lstrip("-/")).read_text(encoding="utf-8", errors="replace")
            except FileNotFoundError:
                continue
            variables |= _variables(text)
        return variables

    def environment_or_nothing(self) -> dict[str, str]:
        """Return the variables that it sets; none of them where a file of them may not be read."""
        try:
            return self.environment()
        except OSError:
            return {}

    def hides(self, path: Path) -> str | None:
        """Return the setting that keeps it from seeing `path`, an absolute one without links; None: it sees it."""
        homes = self.value("ProtectHome").lower()
        if homes not in ("", "no", "false", "off", "0", "read-only") and _below(path, _HOMES):
            return f"ProtectHome={self.value('ProtectHome')}"
        if self.is_set("PrivateTmp") and _below(path, ("/tmp", "/var/tmp")):
            return "PrivateTmp=yes"
        for key in ("InaccessiblePaths", "InaccessibleDirectories", "TemporaryFileSystem"):
            for name in self._paths(key):
                if _below(path, [name.split(":")[0]]):
                    return f"{key}={name}"
        return None

    def forbids_writing(self, path: Path) -> str | None:
        """Return the setting that keeps it from writing below `path`; None: it may, if the owner lets it."""
        if hidden := self.hides(path):
            return hidden
        folders = (("StateDirectory", "/var/lib"), ("CacheDirectory", "/var/cache"), ("LogsDirectory", "/var/log"))
        writable = [f"{parent}/{name.split(':')[0]}" for key, parent in folders for name in self._paths(key)]
        writable += [name for key in ("ReadWritePaths", "ReadWriteDirectories") for name in self._paths(key)]
        if _below(path, writable):
            return None
        system = "yes" if self.is_set("ProtectSystem") else self.value("ProtectSystem").lower()
        if _below(path, _SYSTEM.get(system, ())):
            return f"ProtectSystem={self.value('ProtectSystem')}"
        if self.value("ProtectHome").lower() == "read-only" and _below(path, _HOMES):
            return "ProtectHome=read-only"
        return None

    def _paths(self, key: str) -> list[str]:
        return [name.lstrip("-+") for line in self.every(key) for name in _expanded(line).split()]


def installed(root: Path = Path("/")) -> Unit | None:
    """Read the installed unit with its drop-ins; None where there is none, or it is masked.

    Args:
        root: Where the file system begins.

    Raises:
        OSError: A file of it may not be read.
    """
    folders = [root / folder for folder in _FOLDERS]
    path = next((folder / NAME for folder in folders if (folder / NAME).exists()), None)
    if path is None or not path.is_file():  # a link to /dev/null masks it
        return None
    drop_ins: dict[str, Path] = {}
    for kind in ("service.d", f"{NAME}.d"):  # what is for this unit alone wins over what is for all services
        for folder in reversed(folders):
            drop_ins |= {file.name: file for file in (folder / kind).glob("*.conf")}
    texts = [path.read_text(encoding="utf-8", errors="replace")]
    texts += [
        drop_ins[name].read_text(encoding="utf-8", errors="replace")
        for name in sorted(drop_ins)
        if drop_ins[name].is_file()
    ]
    return Unit(path, tuple(pair for text in texts for pair in _service_section(text)), root)


def _service_section(text: str) -> list[tuple[str, str]]:
    """Return keys and values of `[Service]`, lines that end with a backslash joined."""
    pairs: list[tuple[str, str]] = []
    section, joined = "", ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith(("#", ";")) or (not stripped and not joined):
            continue
        if stripped.endswith("\\"):
            joined += stripped[:-1].strip() + " "
            continue
        stripped, joined = joined + stripped, ""
        if stripped.startswith("["):
            section = stripped
        elif section == "[Service]" and "=" in stripped:
            key, value = stripped.split("=", 1)
            pairs.append((key.strip(), value.strip()))
    return pairs


def _variables(text: str) -> dict[str, str]:
    """Parse an environment file: a variable per line, values with or without quotes."""
    variables = {}
    for line in text.splitlines():
        name, separator, value = line.strip().partition("=")
        if not separator or name.startswith(("#", ";")):
            continue
        value = value.strip()
        if value[:1] in ("'", '"') and value[-1:] == value[:1] and len(value) > 1:
            value = value[1:-1]
        variables[name.strip()] = value
    return variables


def _expanded(text: str) -> str:
    for specifier, meaning in _SPECIFIERS.items():
        text = text.replace(specifier, meaning)
    return text


def _below(path: Path, folders: tuple[str, ...] | list[str]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
