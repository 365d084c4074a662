"""A real Home Assistant: its own folder and port, set up as a person does in its pages, asked by its REST API."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.mosquitto import HOST, free_port
from tests.waiting import PATIENCE_S, wait_until

_OF_THIS_MACHINE = (
    "homeassistant.bootstrap",  # that it installs nothing by itself
    "aiohttp_fast_zlib",
    "homeassistant.components.camera.img_util",  # no libturbojpeg, for cameras that it has none of
)
"""What warns of something that no message of ours has to do with."""


def program() -> str:
    """Where `hass` is: on PATH, or where tools/peers/homeassistant.sh installs it."""
    own = Path(sys.prefix, "homeassistant", "bin")
    found = shutil.which("hass", path=f"{os.environ.get('PATH', '')}:{own}")
    if found is None:
        pytest.skip("needs Home Assistant (tools/test --all installs it where there is a Python 3.13)")
    return found


class HomeAssistant:
    """One `hass`, without a line of YAML about MQTT.

    Args:
        folder: For its configuration.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._program = program()
        self._url = f"http://{HOST}:{free_port()}"
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        port = self._url.rpartition(":")[2]
        (folder / "configuration.yaml").write_text(
            f"http:\n  server_host: {HOST}\n  server_port: {port}\n"
            # Nothing is asked for outside of this machine, and no history is kept.
            "analytics:\nlogger:\n  default: warning\n"
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._program, "--config", str(self.folder), "--skip-pip", "--log-no-color"]
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        wait_until(self._answers, what="an answer of Home Assistant")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(PATIENCE_S)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
            self._process = None

    def onboard(self) -> None:
        """Make the first user, as its first page does."""
        client = f"{self._url}/"
        user = {"client_id": client, "name": "t", "username": "t", "password": "t", "language": "en"}
        code = self._ask("/api/onboarding/users", user)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self._token = self._ask("/auth/token", urllib.parse.urlencode(grant).encode())["access_token"]

    def add_mqtt(self, port: int) -> None:
        """Add the MQTT integration, as its page of integrations does."""
        flows = "/api/config/config_entries/flow"
        step = self._ask(flows, {"handler": "mqtt"})
        done = self._ask(f"{flows}/{step['flow_id']}", {"broker": HOST, "port": port})
        assert done["type"] == "create_entry", done

    def states(self) -> dict[str, dict[str, Any]]:
        """Return entity id → state, of entities that came by MQTT alone."""
        ids = self._ask("/api/template", {"template": "{{ integration_entities('mqtt') | to_json }}"})
        return {state["entity_id"]: state for state in self._ask("/api/states") if state["entity_id"] in ids}

    def state(self, entity: str) -> str | None:
        """Return the state of one entity; None: there is no such, or nobody answers yet."""
        with contextlib.suppress(OSError):
            return str(self._ask(f"/api/states/{entity}")["state"])
        return None

    def act(self, service: str, entity: str, **data: Any) -> None:
        """Call a service, as a press on its page does."""
        self._ask(f"/api/services/{service}", {"entity_id": entity, **data})

    def picture(self, entity: str) -> bytes:
        """Return what an image entity shows."""
        return self._get(f"/api/image_proxy/{entity}")

    def complaints(self) -> list[str]:
        """Return every warning and error in its log that a message of ours may be to blame for."""
        lines = (self.folder / "output.txt").read_text(errors="replace").splitlines()
        assert any("[homeassistant.bootstrap]" in line for line in lines), "it always warns of this; is this its log?"
        found = [line for line in lines if re.search(r" (WARNING|ERROR|CRITICAL) \(", line)]
        return [line for line in found if not any(f"[{name}]" in line for name in _OF_THIS_MACHINE)]

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output.txt").read_text(errors="replace")
        try:
            self._get("/api/onboarding" if not self._token else "/api/")
        except OSError:
            return False
        return True

    def _ask(self, path: str, body: dict[str, Any] | bytes | None = None) -> Any:
        answer = self._get(
            path, json.dumps(body).encode() if isinstance(body, dict) else body, form=bytes is type(body)
        )
        try:
            return json.loads(answer)
        except ValueError:
            return answer.decode()

    def _get(self, path: str, body: bytes | None = None, *, form: bool = False) -> bytes:
        request = urllib.request.Request(self._url + path, body)
        request.add_header("Content-Type", "application/x-www-form-urlencoded" if form else "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return bytes(answer.read())
