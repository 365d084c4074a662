"""The console's server: who is let in, what it tells, what it sends to devices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from edged.contract.messages import Job, Seen, timestamp
from edged.ctl.console import web
from tests.ctl.conftest import environment
from tests.ctl.console.serving import Serving
from tests.ctl.device import JPEG, ScriptedDevice
from tests.mosquitto import free_port
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif(web._MISSING is not None, reason="needs Starlette and uvicorn: edged[console]")


def rows_until(events: Iterator[tuple[str, Any]], wanted: set[str]) -> dict[str, Any]:
    """Listen to the fleet until these devices have been told of with a picture's label; return their rows."""
    rows: dict[str, Any] = {}
    for _, data in events:
        rows.update({row["id"]: row for row in data["rows"]})
        for device in data["gone"]:
            rows.pop(device, None)
        if set(rows) == wanted:
            return rows
    raise AssertionError(rows)


def test_strangers_are_not_let_in(broker_port: int) -> None:
    with ScriptedDevice(broker_port), Serving(broker_port) as server:
        ours = f"http://127.0.0.1:{server.port}"
        status, headers, page = server.ask("/")
        assert (status, b"<main" in page) == (200, True)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"

        # A stranger's name that resolves to this machine, or another port's.
        for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1:1", f"me@127.0.0.1:{server.port}", "["):
            assert server.ask("/", host=host)[0] == 421, host
            assert server.ask("/api/fleet", host=host)[0] == 421, host
        assert server.ask("/", host=f"localhost:{server.port}")[0] == 200

        # Another page in the same browser: what it asks for is refused, a link to us is not.
        sending = {"method": "POST", "body": {}}
        changing = "/api/devices/tx2-01/commands/set"
        assert server.ask(changing, **sending)[0] == 403, "no Origin"
        assert server.ask(changing, **sending, Origin="http://evil.example")[0] == 403
        assert server.ask(changing, **sending, Origin="null")[0] == 403
        assert server.ask(changing, **sending, Origin=ours, Sec_Fetch_Site="cross-site")[0] == 403
        assert server.ask("/api/devices/tx2-01/picture", Sec_Fetch_Site="cross-site")[0] == 403
        assert server.ask("/api/devices/tx2-01/picture", Origin="http://localhost:9")[0] == 403
        assert server.ask("/assets/app.js", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
        assert server.ask("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
        for path in ("/assets/../web.py", "/assets/%2e%2e/web.py", "/assets//etc/passwd", "/nothing"):
            assert server.ask(path)[0] == 404, path


def test_on_another_address_a_token_is_asked_for(broker_port: int) -> None:
    with Serving(broker_port, listen="0.0.0.0:0") as server:
        token = server.url.partition("?token=")[2]
        assert len(token) >= 32
        for path in ("/", "/api/fleet", "/assets/app.js", "/?token=wrong", "/?token="):
            assert server.ask(path)[0] == 401, path
        assert server.ask("/", host="evil.example")[0] == 421
        status, headers, _ = server.ask(f"/?token={token}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        shown = cookie.split(";")[0]
        assert server.ask("/", Cookie=shown)[0] == 200
        assert server.ask("/", Cookie=shown, host=f"10.1.2.3:{server.port}")[0] == 200
        assert server.ask("/", Cookie=f"{shown}x")[0] == 401


def test_behind_a_proxy_it_has_another_name(broker_port: int) -> None:
    port = free_port()
    listen, public = f"127.0.0.1:{port}", "https://edged.example:8443"
    with ScriptedDevice(broker_port) as device, Serving(broker_port, listen=listen, public=f"{public}/") as server:
        server.port = port
        assert server.url.startswith(f"{public}/?token=")
        query = server.url.removeprefix(public)
        for host in ("edged.example:8443", "edged.example", f"127.0.0.1:{port}"):  # as proxies hand it on
            assert server.ask("/", host=host)[0] == 401, "it asks for the token"
            status, headers, _ = server.ask(query, host=host)
            assert (status, headers["location"]) == (303, "/")
            assert "Secure" in headers["set-cookie"]
            shown = {"Cookie": headers["set-cookie"].split(";")[0], "Sec_Fetch_Site": "same-origin"}
            assert server.ask("/", host=host, **shown)[0] == 200
            wait_until(lambda: server.ask("/api/devices/tx2-01/picture", host=host, **shown)[0] == 200, what="it")  # noqa: B023  # called at once
            changing = {"method": "POST", "body": {}, "host": host, **shown}
            path = "/api/devices/tx2-01/commands/set"
            assert server.ask(path, **changing, Origin=public)[0] == 200, host
            for origin in ("https://evil.example:8443", "https://edged.example", "http://edged.example:8443", "null"):
                assert server.ask(path, **changing, Origin=origin)[0] == 403, (host, origin)
            assert server.ask(path, **{**changing, "Sec_Fetch_Site": "same-site"}, Origin=public)[0] == 403, host
        for host in ("evil.example", "edged.example:1", "edged.example.evil.example", f"evil.example:{port}"):
            assert server.ask("/", host=host, **shown)[0] == 421, host
        assert [name for name, _ in device.commands].count("set") == 3


def test_it_tells_of_the_fleet_and_of_what_changes(broker_port: int) -> None:
    with ScriptedDevice(broker_port, "line-1") as one, Serving(broker_port, device="line-*") as server:
        with ScriptedDevice(broker_port, "line-2") as two, ScriptedDevice(broker_port, "desk"):
            strange = "<img src=x onerror=alert(1)>"
            two.telemetry = two.telemetry.model_copy(update={"seen": {"main": Seen(label=strange, score=0.5)}})
            events = server.events("/api/fleet")
            rows = rows_until(events, {"line-1", "line-2"})
            assert (rows["line-1"]["state"], rows["line-1"]["model"]["name"]) == ("online", "mobilenet_v2")
            two.say("telemetry", two.telemetry.encode().replace(b'"fps":14.2', b'"fps":NaN'))
            row = next(row for _, data in events for row in data["rows"] if "label" in row)
            assert (row["id"], row["label"], row["p95"]) == ("line-2", strange, 15.0)
            assert "fps" not in row, "what is no number is not known"
            two.say("job", Job(id="7", cmd="retrain", status="running", stage="training", progress=0.5), retain=True)
            row = next(row for _, data in events for row in data["rows"])
            assert row["job"] == {"cmd": "retrain", "stage": "training", "progress": 0.5}, "and no other row"
        for _, data in events:
            if any(row["id"] == "line-2" and row["state"] == "offline" for row in data["rows"]):
                break
        for topic in ("info", "model", "state"):
            one.say(topic, b"", retain=True)  # `edgectl forget`
        assert next(data["gone"] for _, data in events if data["gone"]) == ["line-1"]
        events.close()
        assert server.ask("/api/devices/desk/picture")[0] == 404, "not among the chosen ones"


_NEVER_TOO_OLD = """
import sys
from edged.ctl import main
from edged.ctl.console import web

web._THUMBNAIL_S = 1e9
sys.exit(main())
"""
"""edgectl, whose console asks for no new picture of a row whose label stays."""


def test_a_device_is_looked_at_and_commanded(broker_port: int) -> None:
    with (
        ScriptedDevice(broker_port) as device,
        Serving(broker_port, program=("-c", _NEVER_TOO_OLD)) as server,
    ):
        device.telemetry = device.telemetry.model_copy(update={"seen": {"main": Seen(label="cat", score=0.9)}})
        wait_until(lambda: server.ask("/api/devices/tx2-01/picture")[0] == 200, what="the device's picture")
        status, headers, jpeg = server.ask("/api/devices/tx2-01/picture")
        assert (headers["content-type"], jpeg) == ("image/jpeg", JPEG)
        assert [name for name, _ in device.commands] == ["snapshot"], "one frame serves all that ask for it"

        asked = "/api/devices/tx2-01/picture?camera=main&label="

        def snapshots(label: str) -> int:
            assert server.ask(f"{asked}{label}")[0] == 200
            return len(device.commands)

        taken = snapshots("cat")
        wait_until(lambda: snapshots("dog") == taken + 1, what="one that may show what was seen since")
        assert snapshots("cat") == taken + 1, "it shows that, and is never too old here"

        status, told = server.post("/api/devices/tx2-01/commands/status")
        assert (status, told["status"]) == (200, "succeeded")
        events = server.events("/api/devices/tx2-01/events?live")
        seen: dict[str, Any] = {}
        for name, data in events:
            seen[name] = data
            if {"device", "history", "frame"} <= set(seen):
                break
        assert seen["device"]["info"]["cameras"]["main"]["source"] == "0"
        assert seen["history"]["series"]["latency.p95"] == [15.0]
        assert seen["history"]["labels"] == {"main": ["cat"]}
        assert seen["frame"]["result"]["label"] == "cat"
        assert server.ask(f"/api/devices/tx2-01/frames/{seen['frame']['number']}")[2] == JPEG
        device.say("job/77", Job(id="77", cmd="rollback", status="failed", error="nothing to go back to"))
        entry = next(data for name, data in events if name == "log")["entries"][0]
        assert (entry["cmd"], entry["status"], entry["error"]) == ("rollback", "failed", "nothing to go back to")
        events.close()

        status, told = server.post("/api/devices/tx2-01/commands/set", {"fps": 999})
        assert (told["status"], told["error"]) == ("failed", "camera main: cannot be that fast")
        for path, body, status in (
            ("tx2-01/commands/models_add", {}, 409),  # no page sends it
            ("tx2-01/commands/nothing", {}, 409),
            ("tx2-01/commands/set", [1], 409),
            ("nobody/commands/set", {}, 404),
            ("tx2-01%2Fcmd/commands/set", {}, 404),
            ("+/commands/set", {}, 404),
            ("tx2-01/photos?label=a", b"no photo", 409),
            ("tx2-01/photos?label=a/b", JPEG, 409),
        ):
            assert server.post(f"/api/devices/{path}", body)[0] == status, path
        assert server.ask("/api/devices/tx2-01/frames/12345")[0] == 404


def test_frames_are_asked_for_only_while_somebody_looks(broker_port: int) -> None:
    with ScriptedDevice(broker_port) as device, Serving(broker_port) as server:
        wait_until(lambda: server.ask("/api/devices/tx2-01/picture")[0] != 404, what="the device")
        events = server.events("/api/devices/tx2-01/events?live")
        frames = (data["number"] for name, data in events if name == "frame")
        assert next(frames) != next(frames)
        events.close()
        told = server.events("/api/devices/tx2-01/events")  # a page that shows no camera
        asked = -1
        while asked < (asked := sum(name == "snapshot" for name, _ in device.commands)):
            device.say("telemetry", device.telemetry.model_copy(update={"ts": timestamp(), "frames": asked}))
            said = (data.get("telemetry", {}) for name, data in told if name == "device")
            assert next(telemetry for telemetry in said if telemetry.get("frames") == asked)
        told.close()


_AT_ONCE = """
import functools, signal, sys
from edged.ctl import main

set_handler = signal.signal

def interrupted(number, handler):
    before = set_handler(number, handler)
    if number == signal.SIGINT and isinstance(handler, functools.partial):
        signal.raise_signal(number)
    return before

signal.signal = interrupted
sys.exit(main())
"""
"""edgectl, which gets a SIGINT as soon as asyncio is ready for one."""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio looks for SIGINT from Python 3.11 on")
def test_ctrl_c_ends_it_also_in_the_moment_when_it_begins(broker_port: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _AT_ONCE, "console", "--listen", "127.0.0.1:0"],
        env=environment(broker_port), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_mistakes_are_told_in_one_line(broker_port: int) -> None:
    with Serving(broker_port) as server:
        for listen, public, reason in (
            (f"127.0.0.1:{server.port}", "https://here", "address already in use"),
            ("here", "https://here", "give [HOST:]PORT"),
            ("99999", "https://here", "give [HOST:]PORT"),
            ("no.such.host.invalid:0", "https://here", "--listen no.such.host.invalid:0"),
            ("0", "https://edged.example/console", "--public-url"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "edged.ctl", "console", "--listen", listen, "--public-url", public],
                env=environment(broker_port), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
            )  # fmt: skip
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), listen
            assert reason in done.stderr
        os.kill(server.process.pid, 2)
        assert server.process.wait(PATIENCE_S) == 0
