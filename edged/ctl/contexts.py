"""Contexts: brokers that the user has logged in to, each with what is needed to be let in, kept under a name.

A context is a TOML file of its own in `contexts` of the user's folder, its password, if it was asked for, another one
beside it, and `current` there names the one that counts where no other is named. Each is written under a temporary name
and renamed, and is for its user alone. What belongs to another user, or may be written by others, is refused: it says
which broker gets the password.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edged.ctl.user_folder import user_folder
from edged.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MOST_BYTES = 65_536
_HEAD = "# Written by `edgectl login`, which also lists, changes and forgets contexts.\n"


@dataclass(frozen=True)
class Context:
    """What a context keeps: the values of the options of the same names; None: that one has none.

    Attributes:
        name: Of the context.
        broker: One address or several, as `--broker` takes them.
    """

    name: str
    broker: str
    prefix: str | None = None
    device: str | None = None
    max_bytes: int | None = None
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    signing_key: str | None = None

    def values(self) -> dict[str, str | int]:
        """Return what is kept, without the name."""
        return {key: value for key, value in asdict(self).items() if key != "name" and value is not None}


KEYS = tuple(field.name for field in fields(Context) if field.name != "name")
"""What a context may keep."""


def folder() -> Path:
    """Where contexts are."""
    return user_folder() / "contexts"


def password_path(name: str) -> Path:
    """Where the password of a context is, if edgectl has asked for it."""
    return folder() / f"{name}.password"


def check_name(name: str) -> str:
    """Return `name`.

    Raises:
        ConfigError: No context can be called so.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"context {name!r}: use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit"
        )
    return name


def names() -> list[str]:
    """Return the names of all contexts, sorted.

    Raises:
        ConfigError: The folder cannot be read.
    """
    try:
        found = [path.stem for path in folder().iterdir() if path.suffix == ".toml"]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError(f"{folder()}: {error.strerror}") from error
    return sorted(name for name in found if NAME.fullmatch(name))


def current() -> str | None:
    """Return the name of the current context; None: there is none.

    Raises:
        ConfigError: The file that tells it is damaged, or may not be trusted.
    """
    path = folder() / "current"
    text = _read(path)
    if text is None:
        return None
    if not NAME.fullmatch(name := text.strip()):
        raise ConfigError(f"{path}: holds no name of a context; write it anew: edgectl login --use NAME")
    return name


def find(name: str) -> Context:
    """Read a context.

    Raises:
        ConfigError: There is none of this name, or its file is damaged or may not be trusted.
    """
    path = folder() / f"{check_name(name)}.toml"
    text = _read(path)
    if text is None:
        raise ConfigError(f"no context {name!r}; there are: {', '.join(names()) or 'none'} (edgectl login)")
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        values: dict[str, object] = toml.loads(text)
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged: {error} (edgectl login {name} --broker URL writes it anew)") from error
    return Context(name=name, **_checked(path, values))


def _checked(path: Path, values: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of a context's file.

    Raises:
        ConfigError: A key or a value is not one that edgectl writes.
    """
    for key, value in values.items():
        if key not in KEYS:
            raise ConfigError(f"{path}: {key!r}: unknown key; a context has {', '.join(KEYS)}")
        if type(value) is not (int if key == "max_bytes" else str):
            raise ConfigError(f"{path}: {key} = {value!r}: is damaged (edgectl login {path.stem} writes it anew)")
    if not values.get("broker"):
        raise ConfigError(f"{path}: names no broker (edgectl login {path.stem} --broker URL writes it anew)")
    return dict(values)


def save(context: Context) -> None:
    """Write a context, over an older one of its name.

    Raises:
        ConfigError: It cannot be written.
    """
    # JSON's strings are TOML's, but for one control character.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in context.values().items()]
    _write(folder() / f"{context.name}.toml", (_HEAD + "".join(lines)).replace("\x7f", "\\u007f"))


def use(name: str) -> None:
    """Make a context the current one.

    Raises:
        ConfigError: There is none of this name, or it cannot be written down.
    """
    find(name)
    _write(folder() / "current", f"{name}\n")


def forget(name: str) -> bool:
    """Delete a context, and the password that was asked for. One that is damaged or another user's goes, too.

    Returns:
        Whether it was the current one; there is none then.

    Raises:
        ConfigError: There is none of this name, or it cannot be deleted.
    """
    path = folder() / f"{check_name(name)}.toml"
    was_current = _named(folder() / "current", name)
    drop_password(name)
    try:
        path.unlink()
        if was_current:
            (folder() / "current").unlink(missing_ok=True)
    except FileNotFoundError as error:
        raise ConfigError(f"no context {name!r}; there are: {', '.join(names()) or 'none'}") from error
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: cannot be deleted: {error.strerror}") from error
    return was_current


def write_draft(password: str) -> Path:
    """Keep a password for the moment of trying it, in a file for its user alone; `keep_draft` or unlink it.

    Raises:
        ConfigError: It cannot be written.
    """
    path = folder() / f".password.{secrets.token_hex(6)}"
    _write(path, password)
    return path


def keep_draft(draft: Path, name: str) -> Path:
    """Make a password that was tried that of a context; return where it is.

    Raises:
        ConfigError: It cannot be kept.
    """
    try:
        return draft.replace(password_path(name))
    except OSError as error:
        raise ConfigError(f"{password_path(name)}: cannot be written: {error.strerror}") from error


def drop_password(name: str) -> None:
    """Delete the password that was asked for, where there is one.

    Raises:
        ConfigError: It cannot be deleted.
    """
    try:
        password_path(name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{password_path(name)}: cannot be deleted: {error.strerror}") from error


def _named(path: Path, name: str) -> bool:
    try:
        return path.read_text(encoding="utf-8").strip() == name
    except (OSError, UnicodeDecodeError):
        return False


def _read(path: Path) -> str | None:
    """Return a file's text; None: there is no such file.

    Raises:
        ConfigError: It cannot be read, or somebody else may have written it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe shall not keep us waiting
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: is no regular file")
        if status.st_uid != os.geteuid():
            raise ConfigError(f"{path}: belongs to another user (id {status.st_uid}), and is not used")
        if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"{path}: may be written by others, and is not used: chmod 600 it")
        try:
            content = file.read(_MOST_BYTES + 1)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"{path}: is damaged: more than {_MOST_BYTES} bytes")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is damaged: not UTF-8 text") from error


def _write(path: Path, text: str) -> None:
    """Put a file in place that its user alone may read and write.

    Raises:
        ConfigError: It cannot be written; then what was there still is.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(descriptor)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{path}: cannot be written: a value is no UTF-8 text") from error
