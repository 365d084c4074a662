#!/usr/bin/env python3
"""Writes tools/reports/mutants.md of tools/reports/mutants.json, which `tools/mutate.py` writes.

.venv/bin/python tools/reports/mutants.py [--out DIR]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
HEAD = """# Do the tests notice mistakes?

`tools/mutate.py FILE… --into tools/reports/mutants.json` makes one small mistake after another in a file (a comparison
turned round or moved by one, another sum, a number doubled or one more, an argument left out, a branch always taken)
and runs the tests that execute the line. A mutant that no test notices survives; below each file stands why it may.
Files are those that compute a number, a verdict or a guarantee that README or a report states. Not done yet:
what runs networks to rank them (`lab/sources/ranker.py`; what is told of a ranking is), profiles of layers and
operators, fine-tuning, and what only joins others.
"""


def main() -> int:
    """Read, format, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="(default: beside the JSON)")
    args = parser.parse_args()
    files = json.loads((HERE / "mutants.json").read_text(encoding="utf-8"))
    (args.out / "mutants.md").write_text("\n".join(page(files)) + "\n", encoding="utf-8")
    return 0


def page(files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the page's lines."""
    mutants, killed = (sum(one[key] for one in files.values()) for key in ("mutants", "killed"))
    yield HEAD
    yield f"**{killed:,} of {mutants:,} mutants in {len(files)} files are noticed ({killed / mutants:.0%}).**"
    yield ""
    yield "| file | mutants | noticed | |"
    yield "|---|---:|---:|---:|"
    for file, one in files.items():
        yield f"| {file} | {one['mutants']} | {one['killed']} | {one['killed'] / one['mutants']:.0%} |"
    yield ""
    yield "## Survivors"
    for file, one in files.items():
        if one["survivors"]:
            yield ""
            yield f"### {file}"
            yield ""
            for survivor in one["survivors"]:
                was, became = (survivor[key].replace("`", "'") for key in ("was", "became"))
                yield f"* line {survivor['line']}: `{was}` → `{became}`: {survivor['reason']}"


if __name__ == "__main__":
    raise SystemExit(main())
