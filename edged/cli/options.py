"""Options that several commands of `edged` take, and the files that they name."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.errors import ConfigError


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: /etc/edged/edged.toml)")


def add_album(parser: argparse.ArgumentParser) -> None:
    """Add `--images`: the labeled images that a training starts from."""
    parser.add_argument("--images", type=Path, required=True, metavar="DIR", help="one folder per label; only read")


def check_album(folder: Path) -> None:
    """Check what `--images` of `add_album` names.

    Raises:
        ConfigError: There is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"--images {folder}: no such folder; one with a folder per label is needed")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add `--workers`."""
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="threads (default: one per core)")


def write_drawing(flag: str, path: Path, svg: str) -> None:
    """Write a drawing where an option says.

    Args:
        flag: The option, for the error.
        path: Its value.
        svg: The drawing.

    Raises:
        ConfigError: It cannot be written there.
    """
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{flag} {path}: cannot be written: {error.strerror}") from error
