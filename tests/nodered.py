"""A real Node-RED for tests: its own folder and port, one flow, its buttons pressed as its editor presses them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until


def program() -> str:
    """Where `node-red` is: on PATH, or where tools/peers/nodered.sh installs it."""
    found = shutil.which("node-red") or shutil.which("node-red", path=f"{sys.prefix}/debian/wrappers")
    if found is None:
        pytest.skip("needs Node-RED (tools/test --all installs it where there is npm)")
    return found


class NodeRed:
    """One Node-RED with one file of flows. It asks for nothing outside of this machine.

    Args:
        folder: For its flows and its log.
        flows: The nodes, as its editor imports them.
    """

    def __init__(self, folder: Path, flows: list[dict[str, Any]]) -> None:
        self._program = program()
        self._folder = folder
        self._url = f"http://{HOST}:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "flows.json").write_text(json.dumps(flows), encoding="utf-8")
        settings = {
            "flowFile": "flows.json",
            "uiHost": HOST,
            "uiPort": int(self._url.rpartition(":")[2]),
            "telemetry": {"enabled": False, "updateNotification": False},
            "editorTheme": {"tours": False},
            "logging": {"console": {"level": "info"}},
        }
        (folder / "settings.js").write_text(f"module.exports = {json.dumps(settings)}\n")

    @property
    def log(self) -> str:
        return (self._folder / "output.txt").read_text(errors="replace")

    def start(self) -> NodeRed:
        """Start it, and wait until its flows run."""
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                [self._program, "--userDir", str(self._folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
            )
        self.wait_for_log("Started flows")
        return self

    def wait_for_log(self, text: str, *, count: int = 1) -> None:
        """Wait until a text stands in the log so often."""

        def logged() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert "missing types" not in self.log, self.log  # it waits for them then, and starts no flow
            return self.log.count(text) >= count

        wait_until(logged, what=f"{text!r} in Node-RED's log")

    def press(self, node: str, **properties: Any) -> None:
        """Press the button of an inject node.

        Args:
            node: Its id.
            properties: Of the message, in place of the node's own.
        """
        given = [{"p": name, "v": json.dumps(value), "vt": "json"} for name, value in properties.items()]
        self._ask(f"/inject/{node}", {"__user_inject_props__": given} if given else {})

    def modules(self) -> list[dict[str, Any]]:
        """Return the sets of nodes that it has, each with its types and why it could not be loaded."""
        found: list[dict[str, Any]] = json.loads(self._ask("/nodes"))
        return found

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._url}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code}: {error.read()!r}") from error
