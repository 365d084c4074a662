"""What is said of a model and its fields where they are declared: docstrings, and comments in `configs/edged.toml`."""

from __future__ import annotations

import ast
import functools
import inspect
import re
from typing import TYPE_CHECKING

from edged.resources import shipped

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from pydantic import BaseModel

_ATTRIBUTES = re.compile(r"\n\nAttributes:\n(?P<entries>(?:    .*\n?|\n)+)")
_ENTRY = re.compile(r"^    (?P<names>\w+(?:, \w+)*): (?P<text>.*(?:\n {5,}.*)*)", re.MULTILINE)
_HEADING = re.compile(r"\[(?P<section>[a-z]+)[^\]]*\]\s*$")
_KEY = re.compile(r"#?(?P<key>[a-z_0-9]+) = ")


def summary(model: type[BaseModel]) -> str:
    """Return a model's docstring, without what it says of its fields; empty: it has none of its own."""
    page = inspect.cleandoc(model.__doc__ or "") if "__doc__" in vars(model) else ""
    return _ATTRIBUTES.sub("", page + "\n").strip()


def fields(model: type[BaseModel]) -> dict[str, str]:
    """Return what is said of each field: under "Attributes:" in a docstring, or in a text below the field."""
    said: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.partition(".")[0] != __name__.partition(".")[0]:
            continue
        if found := _ATTRIBUTES.search(inspect.cleandoc(base.__doc__ or "") + "\n"):
            for entry in _ENTRY.finditer(found["entries"]):
                said |= dict.fromkeys(entry["names"].split(", "), _one_line(entry["text"]))
        module = inspect.getmodule(base)
        if module is not None:
            said |= _below_fields(module).get(base.__name__, {})
    return {name: text for name, text in said.items() if name in model.model_fields}


@functools.cache
def configuration_keys() -> Mapping[tuple[str, str], str]:
    """Return (section, key) → the comment above it, and above others of a group, in the configuration as it comes."""
    said: dict[tuple[str, str], str] = {}
    section = ""
    comment, before = list[str](), list[str]()
    for line in (shipped("configs") / "edged.toml").read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            comment.append(line.removeprefix("# "))
        elif key := _KEY.match(line):
            before, comment = comment or before, []
            said.setdefault((section, key["key"]), _paragraph(before))
        else:
            comment, before = [], []
            section = heading["section"] if (heading := _HEADING.match(line)) else section
    return {place: text for place, text in said.items() if text}


@functools.cache
def _below_fields(module: ModuleType) -> Mapping[str, Mapping[str, str]]:
    """Return class → field → the text that stands below the field in the module's source."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            texts = found.setdefault(node.name, {})
            for field, below in zip(node.body, node.body[1:], strict=False):
                text = _text(below)
                if text and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                    texts[field.target.id] = _one_line(text)
    return found


def _text(node: ast.stmt) -> str:
    """Return a text that stands alone; empty: it is anything else."""
    value = node.value.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _paragraph(lines: list[str]) -> str:
    """Join lines, but for those of a list, which are indented."""
    return "".join(f"\n{line}" if line.startswith("  ") else f" {line}" for line in lines).strip()
