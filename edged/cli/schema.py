"""`edged schema`: the wire contract and the configuration, for programs that check, generate or document."""

from __future__ import annotations

import argparse
from pathlib import Path

from edged.errors import ConfigError
from edged.terminal.registry import Commands


def register(commands: Commands) -> None:
    """Add `schema`."""
    parser = commands.add("schema", run)
    parser.add_argument("name", nargs="?", metavar="NAME", help="one of them, e.g. result, cmd/set or edged.toml")
    parser.add_argument("--list", action="store_true", help="print their names")
    parser.add_argument("--asyncapi", action="store_true", help="print topics and messages as an AsyncAPI 3.0 document")
    parser.add_argument("--into", type=Path, metavar="DIR", help="write all of them to files")


def run(args: argparse.Namespace) -> int:
    """Print JSON Schemas of messages, reports, commands and edged.toml.

    Draft 2020-12; without a name all of them in one document. `#:schema ./edged.toml.json` as the first line of
    edged.toml lets an editor with Taplo complete, explain and check it.

    Examples:
      edged schema result
      edged schema edged.toml > edged.toml.json
      edged schema --asyncapi > asyncapi.json
      edged schema --into configs/schema
    """
    from edged.schema import asyncapi, bundle, files, names, schema, text

    asked = [word for word, given in (("NAME", args.name), ("--list", args.list), ("--asyncapi", args.asyncapi),
                                      ("--into", args.into)) if given]  # fmt: skip
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)}: give one of them")
    if args.into is not None:
        _make(args.into)
        for name, content in (contents := files()).items():
            _make((path := args.into / name).parent)
            path.write_text(content, encoding="utf-8")
        print(f"{len(contents)} files in {args.into}")
        return 0
    if args.list:
        print(*names(), sep="\n")
        return 0
    if args.name is not None and args.name not in names():
        raise ConfigError(f"{args.name!r}: there is no such schema; there are {', '.join(names())}")
    if args.asyncapi:
        print(text(asyncapi()), end="")
    else:
        print(text(bundle() if args.name is None else schema(args.name)), end="")
    return 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--into {folder}: {error.strerror}") from error
