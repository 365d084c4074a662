"""Which device a command means: its configuration, its state folder, and the user who owns it.

Where edged is installed as a service, the commands mean the service: they look at its configuration, its environment
and its state folder, and change that folder as its user. A file that root left there the service could not write.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edged.cli import unit
from edged.errors import ConfigError
from edged.instance import make_private
from edged.terminal.text import note

if TYPE_CHECKING:
    from edged.cli.unit import Unit
    from edged.settings import Settings

ROOT = Path("/")
"""Where the file system begins that the service is looked for in."""
_OF_A_USER = (
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "TMPDIR",
    "XDG_STATE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
)
"""Variables that name folders of one user; another one must not write there."""


@dataclass(frozen=True)
class Account:
    """A user of this machine. `groups`: all that it is a member of, the main one first."""

    uid: int
    groups: tuple[int, ...]
    name: str
    home: str


@dataclass(frozen=True)
class Device:
    """What a command works on.

    Attributes:
        settings: The configuration in effect.
        config: The file it comes from; None: defaults.
        unit: The service whose state folder this is; None: nobody's service.
        account: Whose state folder it is; None: that of whoever runs the command.
        named: Whether the command line named the file.
    """

    settings: Settings
    config: Path | None
    unit: Unit | None
    account: Account | None
    named: bool

    @property
    def state_dir(self) -> Path:
        """The state folder."""
        return self.settings.storage.state_dir

    @property
    def is_ours(self) -> bool:
        """Whether this process runs as the owner of the state folder."""
        return self.account is None or self.account.uid == os.geteuid()

    def tell(self) -> None:
        """Say on stderr which device this is, unless the command line named it itself and nobody else owns it."""
        if self.account is None and self.unit is None and (self.named or self.config is None):
            return
        config = "no configuration file" if self.config is None else f"configuration {self.config}"
        user = f", as user {self.account.name}" if self.account is not None and self.is_ours else ""
        note("edged", f"{config}, state in {self.state_dir}{user}")


def find_device(config: Path | None, flags: Mapping[str, Any] | None = None) -> Device:
    """Load the configuration that a command means, and find out whose state folder it names; changes no user.

    Args:
        config: `--config`; None: that of the service, else the default.
        flags: Settings from the command line.

    Raises:
        ConfigError: See `settings.load`; or a file of the service may not be read.
    """
    from edged import settings

    named = config is not None
    service = _service()
    if service is not None and "STATE_DIRECTORY" in os.environ:  # systemd itself has started this
        service = None
    theirs = None if service is None else service.config or settings.SYSTEM_CONFIG
    if config is None:
        config = theirs if theirs is not None and theirs.exists() else None
        if config is None and settings.SYSTEM_CONFIG.exists():
            config = settings.SYSTEM_CONFIG
    if service is None or theirs is None:
        loaded = settings.load(config, flags)
        return Device(loaded, config, None, _owner(loaded.storage.state_dir), named)
    if _same(config, theirs):
        for name, value in _service_variables(service).items():
            os.environ.setdefault(name, value)
    loaded = settings.load(config, flags)
    if loaded.storage.state_dir != _state_of(service, theirs):
        return Device(loaded, config, None, _owner(loaded.storage.state_dir), named)
    return Device(loaded, config, service, _account(service, loaded.storage.state_dir), named)


def service_beside(config: Path | None) -> Unit | None:
    """Return the installed service that has the same configuration as a daemon that systemd did not start.

    Args:
        config: `--config`.

    Returns:
        None where there is no such service, or this user may not look.
    """
    from edged import settings

    if {"STATE_DIRECTORY", "NOTIFY_SOCKET"} & os.environ.keys():
        return None
    with suppress(ConfigError):  # one that this user may not read is nothing that a daemon needs
        service = _service()
        if service is not None and _same(config or settings.SYSTEM_CONFIG, service.config or settings.SYSTEM_CONFIG):
            return service
    return None


def look_at_device(config: Path | None, flags: Mapping[str, Any] | None = None) -> Settings:
    """Load the configuration for a command that only reads the state folder, and files that the caller names.

    It stays with the caller's user. Where the state folder is a service's, it says so on stderr.

    Raises:
        ConfigError: See `settings.load`; or the state folder may not be read, and who may.
    """
    device = find_device(config, flags)
    if device.unit is not None:
        _check_readable(device)
        device.tell()
    return device.settings


def open_device(
    config: Path | None,
    flags: Mapping[str, Any] | None = None,
    *,
    changes: bool,
    reads: Mapping[str, Path | None] | None = None,
    writes: Mapping[str, Path | None] | None = None,
) -> Device:
    """Load the configuration, become the user whose state folder it names, and say so on stderr.

    Call it before threads are started, and read first what only the caller may read.

    Args:
        config: `--config`; None: that of the service, else the default.
        flags: Settings from the command line.
        changes: Whether the command writes into the state folder.
        reads: What it will read as that user: how the command line names it → path.
        writes: What it will write as that user.

    Raises:
        ConfigError: See `settings.load`; or this user may not do it, and who may.
    """
    device = find_device(config, flags)
    account = device.account
    if account is None or device.is_ours:
        if changes:
            with suppress(OSError):  # whoever writes there will tell
                make_private(device.state_dir)
        device.tell()
        return device
    if os.geteuid() == 0:
        if changes and device.unit is not None:
            _make_state_dir(device.unit, device.state_dir, account)
        there = [name for name, path in (reads or {}).items() if path is not None and path.exists()]
        become(account, device.unit)
        device.tell()
        _check_paths(account, {name: (reads or {})[name] for name in there}, writes or {})
        return device
    if changes:
        raise _not_ours(device)
    _check_readable(device)
    device.tell()
    return device


def become(account: Account, service: Unit | None = None) -> None:
    """Go on as another user, for good; the caller is root.

    Raises:
        ConfigError: That user may not read edged itself.
    """
    extra = [] if service is None else service.every("SupplementaryGroups")
    groups = [*account.groups, *(number for name in " ".join(extra).split() if (number := _group(name)) is not None)]
    os.setgroups(list(dict.fromkeys(groups)))
    os.setgid(account.groups[0])
    os.setuid(account.uid)
    os.umask(0o077)
    variables = {} if service is None else service.environment_or_nothing()
    for name in _OF_A_USER:
        os.environ.pop(name, None)
        if (value := variables.get(name)) is not None and os.access(value, os.W_OK | os.X_OK):
            os.environ[name] = value
    os.environ.setdefault("HOME", account.home)
    os.environ["USER"] = os.environ["LOGNAME"] = account.name
    for needed in (Path(__file__).parents[1], Path(os.__file__).parent):
        if not os.access(needed, os.R_OK | os.X_OK):
            raise ConfigError(
                f"user {account.name}, who owns the state folder, may not read {needed}; install edged in /opt/edged, "
                "as README says"
            )


def _service() -> Unit | None:
    try:
        return unit.installed(ROOT)
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; run this as root") from error


def _service_variables(service: Unit) -> dict[str, str]:
    """Return those of the service's variables that decide about its configuration."""
    try:
        variables = service.environment()
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}; run this as root or as {service.user}") from error
    chosen = {name: value for name, value in variables.items() if name.upper().startswith("EDGED_")}
    # One that the caller has set in another spelling wins too.
    spelled = {name.upper() for name in os.environ}
    chosen = {name: value for name, value in chosen.items() if name.upper() not in spelled}
    if service.state_dir is not None:
        chosen["STATE_DIRECTORY"] = str(service.state_dir)
    elif home := variables.get("HOME"):
        chosen["XDG_STATE_HOME"] = variables.get("XDG_STATE_HOME", f"{home}/.local/state")
    return chosen


def _state_of(service: Unit, config: Path) -> Path | None:
    """Return the state folder of the service itself, whatever this process's environment says; None: unknown."""
    from edged import settings

    with _environment_of(service):
        try:
            return settings.load(config if config.exists() else None).storage.state_dir
        except (ConfigError, OSError):
            return service.state_dir


@contextmanager
def _environment_of(service: Unit) -> Iterator[None]:
    """Have the service's variables, and none of the caller's, decide about the configuration."""
    before = dict(os.environ)
    try:
        for name in before:
            if name.upper().startswith("EDGED_") or name == "STATE_DIRECTORY":
                del os.environ[name]
        os.environ.update(_service_variables(service))
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _account(service: Unit, state_dir: Path) -> Account | None:
    """Return the account that the service runs as; None: this machine has none of that name yet."""
    user = service.user
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:  # DynamicUser= while it is stopped, or an installation that is not complete
        return _owner(state_dir)
    main = _group(service.value("Group")) if service.value("Group") else entry.pw_gid
    main = entry.pw_gid if main is None else main
    groups = (main, *os.getgrouplist(entry.pw_name, main))
    return Account(entry.pw_uid, groups, entry.pw_name, entry.pw_dir)


def _owner(state_dir: Path) -> Account | None:
    """Return who owns a state folder, where that is for root to ask; None: it may be used as it is."""
    if os.geteuid() != 0:
        return None
    try:
        status = state_dir.stat()
    except OSError:
        return None
    if status.st_uid == 0:
        return None
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Account(status.st_uid, (status.st_gid,), str(status.st_uid), "/")
    groups = (entry.pw_gid, *os.getgrouplist(entry.pw_name, entry.pw_gid))
    return Account(entry.pw_uid, groups, entry.pw_name, entry.pw_dir)


def _group(name: str) -> int | None:
    import grp

    with suppress(KeyError):
        return grp.getgrgid(int(name)).gr_gid if name.isdecimal() else grp.getgrnam(name).gr_gid
    return None


def _same(one: Path | None, other: Path) -> bool:
    if one is None:
        return False
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()


def _make_state_dir(service: Unit, state_dir: Path, account: Account) -> None:
    """Make the service's folder as systemd would at its first start."""
    if state_dir != service.state_dir or state_dir.exists():
        return
    try:
        state_dir.mkdir(parents=True)
        state_dir.chmod(int(service.value("StateDirectoryMode", "755"), 8))
        os.chown(state_dir, account.uid, account.groups[0])
    except (OSError, ValueError) as error:
        raise ConfigError(f"{state_dir}: cannot be made: {error}") from error


def _not_ours(device: Device) -> ConfigError:
    owner = "another user" if device.account is None else f"user {device.account.name}"
    return ConfigError(f"{device.state_dir} belongs to {owner}; run this as root (sudo), or as {owner}")


def _check_readable(device: Device) -> None:
    try:
        with os.scandir(device.state_dir):
            pass
    except FileNotFoundError:  # the service was never started
        pass
    except OSError as error:
        raise _not_ours(device) from error


def _check_paths(account: Account, reads: Mapping[str, Path | None], writes: Mapping[str, Path | None]) -> None:
    """Refuse at once what would fail later, and could not be told from a file that is not there."""
    for name, path in reads.items():
        if path is None:
            continue
        if not os.access(path, os.R_OK) or (path.is_dir() and not os.access(path, os.X_OK)):
            raise ConfigError(
                f"{name} {path}: user {account.name}, who owns the state folder, may not read it; put it where "
                f"{account.name} may"
            )
    for name, path in writes.items():
        if path is None:
            continue
        nearest = next(
            parent for parent in path.absolute().parents if os.access(parent, os.F_OK) or parent == Path("/")
        )
        taken = os.access(path, os.F_OK) and not path.is_dir() and not os.access(path, os.W_OK)
        if taken or not os.access(nearest, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{name} {path}: user {account.name}, who owns the state folder, may not write there; name a place "
                f"where {account.name} may"
            )
