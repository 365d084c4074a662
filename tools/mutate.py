#!/usr/bin/env python3
"""Measures whether the tests notice mistakes: makes them in a source file one at a time, and runs tests on each.

    python tools/mutate.py edged/learning/gate.py --into tools/reports/mutants.json

A mutant changes one comparison, operator, number, condition, returned value, keyword argument or call. Log lines, error
messages, annotations, decorators, assertions and strings stay as they are. The tests (`--tests`, else those of the
file's room) run once on the sources as they are; from then on each mutant gets the tests that ran its line, the fastest
first, until one fails. They work on a copy of the checkout, in a fork of a process that has imported all libraries.

A reason that was written into the report for a survivor is kept; `--survivors` tries the report's survivors only.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import dataclasses
import importlib
import json
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
_OPTIONS = ("-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning")
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


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One mistake: its first line, what stood there and stands there now, the file's text, and lines that run it."""

    line: int
    was: str
    became: str
    source: str
    run_by: range | None
    """Lines of the statement; None where it runs at import."""


@dataclasses.dataclass
class Watched:
    """A test: its id, how long it took, and which lines it ran, by file."""

    test: str
    seconds: float = 0.0
    lines: dict[str, set[int]] = dataclasses.field(default_factory=dict)
    passed: bool = True


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
        yield Mutant(getattr(chain[-1], "lineno", statement.lineno), was, text, ast.unparse(tree), lines)
        _put(parent, field, index, chain[-1])


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


class _Watch:
    """A pytest plugin that notes which lines of some files each test runs, also in threads."""

    def __init__(self, files: list[str]) -> None:
        self._files = {str(Path.cwd() / file): file for file in files}
        self.tests: dict[str, Watched] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Watch one test, its fixtures included."""
        watched = self.tests[item.nodeid] = Watched(item.nodeid)

        def trace(frame: FrameType, _event: str, _argument: object) -> Callable[..., Any] | None:
            file = self._files.get(frame.f_code.co_filename)
            if file is None:
                return None
            watched.lines.setdefault(file, set()).add(frame.f_lineno)
            return trace

        start = time.monotonic()
        threading.settrace(trace)
        sys.settrace(trace)
        yield
        sys.settrace(None)
        watched.seconds = time.monotonic() - start

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that cannot judge a mutant, as it fails without one."""
        self.tests[report.nodeid].passed &= not report.failed


def _in_a_fork(work: Callable[[], int], seconds: float) -> int | None:
    """Run something in a fork; return its result, or None where it took too long. Leaves no process behind."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(0, 1)
        os.dup2(0, 2)
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    handle = os.pidfd_open(child)
    in_time = bool(select.select([handle], [], [], seconds)[0])
    os.close(handle)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.waitstatus_to_exitcode(status) if in_time else None


def _watched(files: list[str], tests: list[str], note: Path) -> list[Watched]:
    """Run the tests on the sources as they are; import what they import, so that each fork has it."""

    def work() -> int:
        watch = _Watch(files)
        pytest.main([*(option for option in _OPTIONS if option != "-x"), *tests], plugins=[watch])
        here = str(Path.cwd())
        libraries = [
            name for name, module in list(sys.modules.items())
            if not str(getattr(module, "__file__", None) or here).startswith(here)
        ]  # fmt: skip
        note.write_bytes(pickle.dumps((list(watch.tests.values()), libraries)))
        return 0

    if _in_a_fork(work, 3600) != 0:
        sys.exit("the tests could not be run")
    done: list[Watched]
    done, libraries = pickle.loads(note.read_bytes())
    for name in libraries:
        with contextlib.suppress(Exception):  # a part of a library that only the library itself can import
            importlib.import_module(name)
    for one in done:
        if not one.passed:
            print(f"fails without a mutant, and judges none: {one.test}")
    return sorted((one for one in done if one.passed), key=lambda one: one.seconds)


def _chosen(mutant: Mutant, file: str, watched: list[Watched], seconds: float) -> list[Watched]:
    """Return the tests that ran a mutant's line, fastest first, as many as fit; any that ran the file at all else."""
    ran = [one for one in watched if file in one.lines]
    own = [one for one in ran if mutant.run_by is None or not one.lines[file].isdisjoint(mutant.run_by)]
    chosen: list[Watched] = []
    for one in own or ran:
        if chosen and sum(test.seconds for test in chosen) + one.seconds > seconds:
            break
        chosen.append(one)
    return chosen


def _survives(mutant: Mutant, path: Path, tests: list[Watched], made: int) -> bool | None:
    """Run tests on a mutant; None where they took too long."""
    path.write_text(mutant.source)
    os.utime(path, (made, made))  # Python tells its compiled file by the second, and many mutants are made in one
    limit = 3 * sum(test.seconds for test in tests) + 5
    code = _in_a_fork(lambda: int(pytest.main([*_OPTIONS, *(test.test for test in tests)])), limit)
    return None if code is None else code == 0


def measure(file: str, watched: list[Watched], before: dict[str, Any], seconds: float, again: bool) -> dict[str, Any]:
    """Return a file's entry in the report; `again`: only of the survivors `before`."""
    path = Path(file)
    source = path.read_text()
    reasons = {(one["was"], one["became"]): one["reason"] for one in before.get("survivors", [])}
    total, late, survivors = 0, 0, []
    for total, mutant in enumerate(mutants(source), 1):
        if again and (mutant.was, mutant.became) not in reasons:
            continue
        tests = _chosen(mutant, file, watched, seconds)
        survives = _survives(mutant, path, tests, 1_000_000_000 + total) if tests else True
        late += survives is None
        if survives:
            reason = reasons.get((mutant.was, mutant.became), "")
            survivors.append({"line": mutant.line, "was": mutant.was, "became": mutant.became, "reason": reason})
            if not reason:
                print(f"{file}:{mutant.line}: {mutant.was}  →  {mutant.became}  ({len(tests)} tests)", flush=True)
    path.write_text(source)
    killed = total - len(survivors)
    print(f"{file}: {killed} of {total} killed ({killed / max(total, 1):.0%}), {late} of them by the limit", flush=True)
    return {"mutants": total, "killed": killed, "survivors": survivors}


def main() -> None:
    """Measure the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="source files, relative to the checkout")
    parser.add_argument("--tests", nargs="+", default=[], help="test files, instead of those of the files' rooms")
    parser.add_argument("--into", type=Path, required=True, help="the report, JSON; entries of other files stay")
    parser.add_argument("--seconds", type=float, default=10, help="of tests at most for a mutant (default 10)")
    parser.add_argument("--survivors", action="store_true", help="only those that the report names")
    options = parser.parse_args()
    into: Path = options.into.resolve()
    tests = options.tests or sorted({str(Path("tests", *Path(file).parts[1:-1])) for file in options.files})
    listed = ["git", "-C", str(ROOT), "ls-files", "-z", "-co", "--exclude-standard"]
    names = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.split("\0")
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        checkout = Path(folder, "checkout")
        for name in filter(None, names):
            if (ROOT / name).is_file():
                (checkout / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, checkout / name, follow_symlinks=False)
        Path(folder, "shared").symlink_to((ROOT.parent / "shared").resolve())
        os.chdir(checkout)
        sys.path[0] = os.environ["PYTHONPATH"] = str(checkout)
        os.environ["PYTEST_ADDOPTS"] = f"--basetemp={folder}/tests"
        watched = _watched(options.files, tests, Path(folder, "watched"))
        for file in options.files:
            report = json.loads(into.read_text()) if into.exists() else {}
            report[file] = measure(file, watched, report.get(file, {}), options.seconds, options.survivors)
            into.write_text(json.dumps(dict(sorted(report.items())), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
