"""The mistakes that `tools/mutate.py` makes in a source file, one at a time.

A mutant changes one comparison, operator, number, condition, returned value, keyword argument or call. Log lines, error
messages, annotations, decorators, assertions and strings stay as they are. A number up to ten becomes one more and one
less; a greater one and a fraction are doubled and halved.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip
_PAIRS = (("min", "max"), ("any", "all"), ("argmin", "argmax"), ("floor", "ceil"), ("minimum", "maximum"))
_OPPOSITES = dict([*_PAIRS, *((two, one) for one, two in _PAIRS)])
_LEFT_ALONE = {"annotation", "returns", "decorator_list", "bases", "type_params"}


@dataclass(frozen=True)
class Mutant:
    """One mistake: its first line, what stood there and stands there now, the file's text, and lines that run it."""

    line: int
    was: str
    became: str
    source: str
    run_by: range | None
    """Lines of the statement; None where it runs at import."""


def mutants(source: str) -> Iterator[Mutant]:
    """Yield the mutants of a file's text."""
    tree = ast.parse(source)
    for chain, field, index, new in _places(tree, ()):
        shown = _shown(chain)
        was, parent = ast.unparse(shown), chain[-2]
        _put(parent, field, index, new)
        text = ast.unparse(new if shown is chain[-1] else shown)
        statement = next(node for node in reversed(chain) if isinstance(node, ast.stmt | ast.ExceptHandler))
        top = chain[chain.index(statement) + 1] if hasattr(statement, "body") else statement
        ends = (top.lineno, (top.end_lineno or top.lineno) + 1) if isinstance(top, ast.expr | ast.stmt) else (0, 0)
        at_import = not any(
            isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            and not isinstance(other, ast.arguments)
            for one, other in pairwise(chain)
        )
        lines = None if at_import else range(*ends) if ends[0] else range(statement.lineno, statement.lineno + 1)
        yield Mutant(getattr(chain[-1], "lineno", statement.lineno), *_brief(was, text), ast.unparse(tree), lines)
        _put(parent, field, index, chain[-1])


def _brief(was: str, became: str) -> tuple[str, str]:
    """Cut long texts down to where they differ, and to what stands around it."""
    if len(was) <= 100:
        return was, became
    begin = max(0, _alike(was, became) - 40)
    end = max(0, _alike(was[begin:][::-1], became[begin:][::-1]) - 40)
    one, other = (f"{'…' * (begin > 0)}{text[begin : len(text) - end]}{'…' * (end > 0)}" for text in (was, became))
    return one, other


def _alike(one: str, other: str) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _put(parent: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
    if index is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[index] = node


def _shown(chain: tuple[ast.AST, ...]) -> ast.AST:
    """Return what the report shows of a place: so much of its statement that a person recognises it."""
    shown = chain[-1]
    for node in reversed(chain[:-1]):
        simple = isinstance(node, ast.expr) or (isinstance(node, ast.stmt) and not hasattr(node, "body"))
        if isinstance(shown, ast.stmt) or len(ast.unparse(shown)) > 30 or isinstance(node, ast.stmt) > simple:
            break
        shown = node if simple else shown
    return shown


def _places(
    node: ast.AST, above: tuple[ast.AST, ...]
) -> Iterator[tuple[tuple[ast.AST, ...], str, int | None, ast.AST]]:
    """Yield places below a node (nodes from the file down to it, field of the last but one, index) and replacements."""
    for field, value in ast.iter_fields(node):
        if field in _LEFT_ALONE:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST) and not _is_left_alone(child):
                chain = (*above, node, child)
                is_condition = field in {"test", "ifs"}
                yield from ((chain, field, index, new) for new in _replacements(child, is_condition))
                yield from _places(child, (*above, node))


def _is_left_alone(node: ast.AST) -> bool:
    """Whether a node is wording or typing: a docstring, a log line, what is raised, an assertion, `__repr__`."""
    if isinstance(node, ast.Raise | ast.Assert):
        return True
    if isinstance(node, ast.keyword):
        return node.arg == "strict"  # of zip: an assertion
    if isinstance(node, ast.FunctionDef):
        return node.name in {"__repr__", "__str__"}
    if isinstance(node, ast.If):
        return ast.unparse(node.test) in {"TYPE_CHECKING", "__name__ == '__main__'"}
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("'", '"', "log.", "logging.", "_log."))


def _replacements(node: ast.AST, is_condition: bool) -> Iterator[ast.AST]:  # noqa: PLR0912 - one case for each kind
    """Yield what a mutant has in a node's place."""
    if is_condition and isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr | ast.Subscript):
        yield ast.UnaryOp(ast.Not(), node)
    if isinstance(node, ast.Compare):
        for place, operator in enumerate(node.ops):
            for other in _COMPARISONS[type(operator)]:
                yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        yield _changed(node, op=_OPERATORS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield node.operand
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        step = 1 if node.value <= 10 else node.value // 2
        yield from (ast.Constant(node.value + step), ast.Constant(node.value - step))
    elif isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield from map(ast.Constant, (node.value * 2, node.value / 2) if node.value else (1.0,))
    elif isinstance(node, ast.Call):
        for place, keyword in enumerate(node.keywords):
            if keyword.arg not in {None, "strict"}:
                yield _changed(node, keywords=[*node.keywords[:place], *node.keywords[place + 1 :]])
        if isinstance(node.func, ast.Name) and node.func.id in _OPPOSITES:
            yield _changed(node, func=ast.Name(_OPPOSITES[node.func.id]))
        if isinstance(node.func, ast.Attribute) and node.func.attr in _OPPOSITES:
            yield _changed(node, func=_changed(node.func, attr=_OPPOSITES[node.func.attr]))
    elif isinstance(node, ast.Return) and node.value and ast.unparse(node.value) != "None":
        yield _changed(node, value=ast.Constant(None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Break | ast.Continue):
        yield ast.Continue() if isinstance(node, ast.Break) else ast.Break()


def _changed(node: ast.AST, **fields: Any) -> ast.AST:
    other = copy.copy(node)
    for name, value in fields.items():
        setattr(other, name, value)
    return other
