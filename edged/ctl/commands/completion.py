"""`edgectl completion`: the script by which a shell completes `edgectl`."""

from __future__ import annotations

import argparse

from edged.terminal.completion import add_completion, script
from edged.terminal.program import DONE
from edged.terminal.registry import Commands

_CONTEXTS = "edgectl login --names"


def register(commands: Commands) -> None:
    """Add `completion`."""
    add_completion(commands, run).set_defaults(without_context=True)


def run(args: argparse.Namespace) -> int:
    """Print the script by which your shell completes commands, flags, files and contexts.

    bash loads it by itself from ~/.local/share/bash-completion/completions/edgectl, zsh as _edgectl from a folder of
    its $fpath, and tcsh by `source` in ~/.tcshrc.

    Examples:
      edgectl completion bash > ~/.local/share/bash-completion/completions/edgectl
      edgectl completion zsh > ~/.zfunc/_edgectl
      edgectl completion tcsh > ~/.edgectl.tcsh
    """
    from edged.ctl.cli import build_parser

    print(script(build_parser(), args.shell, {"CONTEXT": _CONTEXTS}))
    return DONE
