"""Measures whether the tests notice mistakes: makes them in a source file one at a time, and runs tests on each.

    python tools/mutate.py edged/learning/gate.py --into tools/reports/mutants.json

`mutants.py` says which mistakes. The tests (`--tests`, else those of the file's room) run once on the sources as they
are; from then on each mutant gets the tests that ran its line, the fastest first, until one fails. They work on a copy
of the checkout, in a fork of a process that has imported all libraries, and all sources that do not import the file.

A reason that was written into the report for a survivor is kept; `--survivors` tries the report's survivors only.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import gc
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
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parent.parent
_OPTIONS = ("-x", "-q", "--tb=no", "--no-header", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestWarning")


@dataclasses.dataclass
class Watched:
    """A test: its id, how long it took, and which lines it ran, by file."""

    test: str
    seconds: float = 0.0
    lines: dict[str, set[int]] = dataclasses.field(default_factory=dict)
    passed: bool = True


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
        code = pytest.main([*(option for option in _OPTIONS if option != "-x"), *tests], plugins=[watch])
        here = str(Path.cwd())
        places = {name: str(getattr(module, "__file__", None) or here) for name, module in list(sys.modules.items())}
        libraries = [name for name, place in places.items() if not place.startswith(here)]
        packages = {Path(file).parts[0] for file in files}
        own = {name: Path(place) for name, place in places.items() if name.split(".")[0] in packages and place != here}
        note.write_bytes(pickle.dumps((list(watch.tests.values()), [*libraries, *_apart(own, files)])))
        return 0 if code in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED} else 1

    if _in_a_fork(work, 3600) != 0:
        sys.exit("the tests could not be run: " + " ".join(tests))
    done: list[Watched]
    done, libraries = pickle.loads(note.read_bytes())
    for name in libraries:
        with contextlib.suppress(Exception):  # a part of a library that only the library itself can import
            importlib.import_module(name)
    gc.freeze()  # pytest collects garbage twice as it ends: half of what a quick test costs with all libraries imported
    for one in done:
        if not one.passed:
            print(f"fails without a mutant, and judges none: {one.test}")
    return sorted((one for one in done if one.passed), key=lambda one: one.seconds)


def _apart(sources: dict[str, Path], files: list[str]) -> list[str]:
    """Return the modules, name → source, that import none of the files, however indirectly: no mutant changes them."""
    needs = {name: _needs(name, path) for name, path in sources.items()}
    reached = {name for name, path in sources.items() if str(path.relative_to(Path.cwd())) in files}
    while more := {name for name, needed in needs.items() if name not in reached and needed & reached}:
        reached |= more
    return [name for name in sources if name not in reached]


def _needs(name: str, path: Path) -> set[str]:
    """Return the names of all that a module may import anywhere, and of the packages that they are in."""
    found = {name}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {".".join(parts[:end]) for parts in (one.split(".") for one in found) for end in range(1, len(parts) + 1)}


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
