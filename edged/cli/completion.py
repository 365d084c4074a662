"""`edged completion`: the script by which a shell completes `edged`."""

from __future__ import annotations

import argparse

from edged.terminal.completion import add_completion, script
from edged.terminal.program import DONE
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `completion`."""
    add_completion(commands, run)


def run(args: argparse.Namespace) -> int:
    """Print the script by which your shell completes commands, flags and files.

    bash loads it by itself from ~/.local/share/bash-completion/completions/edged, zsh as _edged from a folder of its
    $fpath, and tcsh by `source` in ~/.tcshrc.

    Examples:
      edged completion bash > ~/.local/share/bash-completion/completions/edged
      edged completion zsh > ~/.zfunc/_edged
      edged completion tcsh > ~/.edged.tcsh
    """
    from edged.cli.commands import build_parser

    print(script(build_parser(), args.shell, {}))
    return DONE
