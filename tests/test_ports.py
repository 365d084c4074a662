"""What a room hands out stands in its `__init__.py`, and nobody imports anything else from outside it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "edged"
ROOMS = sorted(
    path.parent.relative_to(REPOSITORY)
    for path in (*PACKAGE.glob("*/__init__.py"), *PACKAGE.glob("lab/*/__init__.py"))
    if path.parent != PACKAGE / "lab"
)


def room_of(path: Path) -> Path | None:
    """The innermost room in which a file lies, or a module's path is; None: beside the rooms."""
    return next((room for room in reversed(ROOMS) if path.is_relative_to(room)), None)


def port(room: Path) -> set[str]:
    """`__all__` of a room: names, and modules that are handed out whole."""
    for statement in ast.parse((REPOSITORY / room / "__init__.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return set(ast.literal_eval(statement.value))
    return set()


def imports(path: Path) -> Iterator[tuple[Path, str]]:
    """Every import of a module of edged, wherever it stands in the file: (the module's path, what is taken of it)."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "edged":
            for name in node.names:
                yield Path(*node.module.split(".")), name.name
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.startswith("edged."):
                    yield Path(*name.name.split(".")), ""


def taken(module: Path, name: str, room: Path) -> str:
    """What of a room an import takes: a name of its `__init__.py`, or one of its modules."""
    return module.relative_to(room).parts[0] if module != room else name


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: ".".join(room.parts[1:]))
def test_a_room_is_used_through_its_port(room: Path) -> None:
    allowed, wrong = port(room), []
    for path in sorted(PACKAGE.glob("**/*.py")):
        here = path.relative_to(REPOSITORY)
        if here.is_relative_to(room):
            continue
        for module, name in imports(path):
            target = module / name if (REPOSITORY / module / name).is_dir() else module
            if room_of(target) != room:
                continue
            what = taken(target, name, room)
            if what not in allowed or name.startswith("_"):
                wrong.append(f"{here}: {'.'.join(module.parts)} {name}")
    assert wrong == []
