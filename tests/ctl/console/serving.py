"""`edgectl console` as a process of its own, and requests to it as a browser, or a stranger, would send them."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.ctl.conftest import environment
from tests.waiting import PATIENCE_S


class Serving:
    """The server, while it is entered.

    Args:
        port: The broker's.
        listen: `--listen`.
        device: `--device`.
        public: `--public-url`; None: none.
        program: What `python` is told to run as `edgectl`.
    """

    def __init__(
        self,
        port: int,
        *,
        listen: str = "127.0.0.1:0",
        device: str = "all",
        public: str | None = None,
        program: Sequence[str] = ("-m", "edged.ctl"),
    ) -> None:
        self._command = [sys.executable, *program, "--device", device, "--timeout", f"{PATIENCE_S:g}"]
        self._command += ["console", "--listen", listen, "--json"]
        self._command += ["--public-url", public] if public is not None else []
        self._environment = environment(port)

    def __enter__(self) -> Serving:
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        self.url: str = json.loads(line)["url"]
        self.port = urlsplit(self.url).port
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.terminate()
        _, complaints = self.process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in complaints, complaints

    def ask(
        self, path: str, *, method: str = "GET", body: Any = None, host: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Send one request; returns status, headers and body. Names of headers may have _ in place of -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 0, timeout=PATIENCE_S)
        try:
            sent = {"Host": host or f"127.0.0.1:{self.port}"}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            connection.request(method, path, body=content, headers=sent)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Send what a page of ours would; returns status and the answer's JSON."""
        status, headers, content = self.ask(
            path, method="POST", body=body or {}, Origin=f"http://127.0.0.1:{self.port}"
        )
        return status, json.loads(content) if headers.get("content-type") == "application/json" else None

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Yield (name, data) of server-sent events until it is closed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port or 0, timeout=PATIENCE_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.getheader("content-type", "").startswith("text/event-stream")
            name = ""
            while line := answer.readline().decode():
                if line.startswith("event: "):
                    name = line[7:].strip()
                elif line.startswith("data: "):
                    yield name, json.loads(line[6:])
        finally:
            connection.close()
