"""The hyperparameters of a training as options of a command line, made from their declaration."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edged.terminal.registry import Parser


def add_hyperparameters(parser: Parser) -> None:
    """Add an option for each hyperparameter, such as `--lr`; what is not given is None.

    They are added when the command is parsed: their declaration needs pydantic, which takes longer to import than all
    else that a help page needs.
    """
    parser.add_later(_add)


def given_hyperparameters(args: argparse.Namespace) -> dict[str, Any]:
    """Return the hyperparameters that were given on the command line."""
    from edged.contract.hyperparameters import Hyperparameters

    return {name: value for name in Hyperparameters.model_fields if (value := getattr(args, name)) is not None}


def _add(parser: argparse.ArgumentParser) -> None:
    from edged.contract.hyperparameters import Hyperparameters

    for name, field in Hyperparameters.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        flag = f"--{name.replace('_', '-')}"
        if field.annotation is bool:
            default = "yes" if field.default else "no"
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=f"{text} ({default})")
        else:
            metavar = "N" if field.annotation is int else "X"
            parser.add_argument(flag, metavar=metavar, type=_parse(name), help=f"{text} ({field.default})")


def _parse(name: str) -> Callable[[str], Any]:
    """Return an argparse type that allows what the declaration allows."""

    def parse(text: str) -> Any:
        from pydantic import ValidationError

        from edged.contract.hyperparameters import Hyperparameters

        try:
            return getattr(Hyperparameters.model_validate({name: text}), name)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {error.errors()[0]['msg']}") from error

    return parse
