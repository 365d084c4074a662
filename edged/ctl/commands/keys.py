"""The keys of those who command: make one."""

from __future__ import annotations

import argparse
import getpass
import re
import socket
from pathlib import Path

from edged.terminal.program import DONE
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `keygen`."""
    parser = commands.add("keygen", run_keygen)
    parser.set_defaults(without_context=True)
    parser.add_argument("--out", metavar="FILE", type=Path, help="where the private key goes")
    parser.add_argument("--comment", metavar="TEXT", help="whose key it is (else USER@HOST)")
    parser.add_argument("--replace", action="store_true", help="take the place of a key that is there, for ever")


def run_keygen(args: argparse.Namespace) -> int:
    """Make the key that signs your commands, and print the line by which devices know it.

    The private key stays on this machine: $EDGECTL_SIGNING_KEY, else edged/key in $XDG_CONFIG_HOME or ~/.config, for
    you alone to read. From then on edgectl signs each command. The printed line goes into trusted_keys of [security]
    on the devices, which take no others' commands then.

    Examples:
      edgectl keygen
      edgectl keygen --out ./ci.key --comment "builds"
    """
    from edged import signing
    from edged.contract.signature import PublicKey
    from edged.ctl.signer import default_key_file
    from edged.terminal.text import note, print_json, print_line

    path = default_key_file() if args.out is None else args.out.expanduser()
    comment = f"{getpass.getuser()}@{socket.gethostname()}" if args.comment is None else args.comment
    key = PublicKey(signing.generate(path, replace=args.replace).public, re.sub(r"\s+", " ", comment).strip())
    line = f"{key.text} {key.comment}".rstrip()
    if args.json:
        print_json({"file": str(path), "key": key.text, "comment": key.comment})
        return DONE
    print_line(line)
    note("edgectl", f"the private key is {path}; on the devices: trusted_keys = [the line above, in quotes]")
    return DONE
