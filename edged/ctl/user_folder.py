"""The folder in which edgectl keeps what belongs to one user: groups of devices, contexts, the key that signs."""

from __future__ import annotations

import os
from pathlib import Path

from edged.errors import ConfigError


def user_folder() -> Path:
    """Return `edged` in $XDG_CONFIG_HOME, else in ~/.config; it may not be there yet.

    Raises:
        ConfigError: There is neither that variable nor a home folder.
    """
    try:
        return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "edged"
    except RuntimeError as error:  # neither $HOME nor an entry in the password file
        raise ConfigError("this user has no home folder: set $XDG_CONFIG_HOME or $HOME") from error
