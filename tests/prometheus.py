"""Debian's Prometheus for tests: `promtool`, and a server with its own folder and port."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} (tools/test --all unpacks Debian's prometheus)")
    return found


def promtool(*arguments: str, stdin: bytes | None = None) -> tuple[int, str]:
    """Run `promtool`; return its exit code and all that it said."""
    done = subprocess.run(
        [_program("promtool"), *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.returncode, done.stdout.decode()


class Prometheus:
    """A server that scrapes and looks at its rules many times a second.

    Args:
        folder: For its configuration, log and database.
        targets: `host:port` of what is scraped, as job `edged`.
        rules: A file of rules.
    """

    def __init__(self, folder: Path, targets: list[str], rules: Path) -> None:
        self._program = _program("prometheus")
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        configuration = {
            "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "250ms"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "edged", "static_configs": [{"targets": targets}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(configuration))  # YAML is a superset of JSON

    @property
    def log(self) -> str:
        return (self._folder / "prometheus.log").read_text(errors="replace")

    def start(self) -> Prometheus:
        """Start, and wait until it is ready."""
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={HOST}:{self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )

        def ready() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self.log
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                return self._get("/-/ready") is not None
            return False

        wait_until(ready, what="Prometheus")
        return self

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the series of an instant query, each with its value."""
        found = json.loads(self._get(f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}"))
        return [(one["metric"], float(one["value"][1])) for one in found["data"]["result"]]

    def wait_for_answer(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The same, when there is any."""
        found: list[tuple[dict[str, str], float]] = []
        wait_until(lambda: found.extend(self.query(expression)) or found, what=expression)
        return found

    def firing(self) -> dict[str, dict[str, str]]:
        """Return the names of the alerts that fire now, each with its labels."""
        found: list[dict[str, Any]] = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        return {one["labels"]["alertname"]: one["labels"] for one in found if one["state"] == "firing"}

    def wait_for_alert(self, name: str, **labels: str) -> None:
        """Wait until an alert of this name fires that has these labels."""

        def fires() -> bool:
            found = self.firing().get(name)
            return found is not None and labels.items() <= found.items()

        wait_until(fires, what=name)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self._port}{path}", timeout=PATIENCE_S) as answer:
            body: bytes = answer.read()
            return body
