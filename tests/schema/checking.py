"""The programs that schemas are for: check-jsonschema, of Python, and AsyncAPI's own, of Node."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edged.schema import bundle
from tests.waiting import PATIENCE_S


def check_jsonschema(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run check-jsonschema; skips where it is not."""
    if importlib.util.find_spec("check_jsonschema") is None:
        pytest.skip("needs check-jsonschema (pip install check-jsonschema)")
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def check_messages(folder: Path, messages: dict[str, list[Any]]) -> subprocess.CompletedProcess[str]:
    """Check documents by the schemas of `edged schema`, all of them by one process.

    Args:
        folder: For files.
        messages: Name of a schema → documents that shall fit it.
    """
    everything = bundle()
    properties = {
        name: {"items": {"$ref": everything["$defs"][name]["$id"]}, "minItems": len(documents)}
        for name, documents in messages.items()
    }
    needed = {"properties": properties, "required": list(messages), "additionalProperties": False}
    (folder / "schema.json").write_text(json.dumps({**everything, **needed}))
    (folder / "messages.json").write_text(json.dumps(messages))
    return check_jsonschema("--schemafile", folder / "schema.json", folder / "messages.json")


def asyncapi(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run AsyncAPI's command line; skips where it is not. `folder`: for what it would keep in the user's home."""
    if (program := shutil.which("asyncapi")) is None:
        pytest.skip("needs @asyncapi/cli (tools/test --all installs it where there is npm)")
    # It tells nobody that it was run.
    silent = {"CI": "true", "NO_COLOR": "1", "ASYNCAPI_METRICS_CONFIG_PATH": str(folder / "analytics")}
    return subprocess.run(
        [program, *map(str, arguments)],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False, env={**os.environ, **silent},
    )  # fmt: skip
