"""SIGHUP: a running daemon reads its configuration again."""

from __future__ import annotations

import os
import pty
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edged import settings
from edged.camera.pace import Pace
from edged.daemon.reload import Reload
from tests.daemon.running import Running, Systemd, Watcher, environment
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until


def change(one: Running, *pairs: tuple[str, str]) -> None:
    """Replace parts of its configuration."""
    text = one.config.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, text
        text = text.replace(old, new)
    one.config.write_text(text)


def forget_results_before(seen: Watcher, top: int) -> None:
    """Wait for the first result with so many guesses, and forget all: one of before may arrive later than the log."""
    wait_until(lambda: len(seen.decoded("result/main")[-1]["top"]) == top, what=f"a result with {top} guesses")
    seen.forget()


def test_what_can_change_at_once_does(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], systemd: Systemd
) -> None:
    seen = watch(broker)
    one = run(broker.url, environment={"NOTIFY_SOCKET": str(systemd.path)})
    assert len(seen.wait("result/main")[0]["top"]) == 5
    wait_until(lambda: "READY=1" in systemd.told(), what="READY")
    ready = systemd.told().count("READY=1")
    change(
        one,
        ("threads = 1", "threads = 1\ntop = 2"),
        ("[mqtt]", '[mqtt]\nresults = "changes"\nheartbeat_s = 0.5'),
        ("fps = 10", "fps = 5\nroi = [0, 0, 0.5, 0.5]"),
        ("interval_s = 0.3", "interval_s = 0.2"),
    )
    one.signal(signal.SIGHUP)
    one.wait_for_log("configuration read again: from now on")
    line = next(line for line in one.log.splitlines() if "read again" in line)
    for news in ("model.top = 2", "mqtt.results = changes", "cameras.main.fps = 5.0", "telemetry.interval_s = 0.2"):
        assert news in line
    wait_until(lambda: systemd.told().count("READY=1") > ready, what="READY again")
    told = systemd.told()
    assert told.index("RELOADING=1") < len(told) - told[::-1].index("READY=1")
    assert any(word.startswith("MONOTONIC_USEC=") for word in told)
    assert "needs a restart" not in one.log
    forget_results_before(seen, 2)
    assert {len(result["top"]) for result in seen.wait("result/main", 2)} == {2}
    width = 640 // 2
    wait_until(lambda: seen.command("snapshot")[1]["report"]["width"] == width, what="a picture of half the width")
    assert one.stop() == 0


def test_what_cannot_is_named_and_a_wrong_configuration_changes_nothing(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], systemd: Systemd
) -> None:
    seen = watch(broker)
    one = run(broker.url, environment={"NOTIFY_SOCKET": str(systemd.path)})
    seen.wait("result/main")
    wait_until(lambda: "READY=1" in systemd.told(), what="READY")
    good = one.config.read_text()
    change(
        one,
        ("threads = 1", "threads = 2\ntop = 3"),
        ("[cameras.main]", '[cameras.b]\nsource = "pattern"\n[cameras.main]'),
    )
    one.signal(signal.SIGHUP)
    one.wait_for_log("needs a restart: model.threads, cameras.b")
    wait_until(lambda: systemd.told()[-1].endswith("; needs a restart: model.threads, cameras.b"), what="the status")
    forget_results_before(seen, 3)

    one.config.write_text(good.replace("threads = 1", "threads = 1\ntop = 0"))
    one.signal(signal.SIGHUP)
    one.wait_for_log("; the configuration stays as it was")
    assert f"{one.config}: model.top = 0: " in one.log
    wait_until(lambda: "not taken over" in systemd.told()[-1], what="the status")
    seen.forget()
    assert len(seen.wait("result/main")[0]["top"]) == 3

    one.config.write_text(good)
    one.signal(signal.SIGHUP)
    one.wait_for_log("from now on model.top = 5")
    wait_until(lambda: systemd.told()[-1].startswith("STATUS=classifying, model mobilenet"), what="the status")
    wait_until(lambda: ";" not in systemd.told()[-1], what="the status without a complaint")
    assert one.stop() == 0


def test_login_that_would_not_work_is_told_before_the_restart(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen = watch(broker)
    one = run(broker.url)
    seen.wait("result/main")
    change(one, ("[mqtt]", '[mqtt]\nusername = "u"\npassword_file = "/nowhere/password"'), ("threads = 1", "top = 1"))
    one.signal(signal.SIGHUP)
    one.wait_for_log("mqtt.password_file = '/nowhere/password': No such file or directory; the configuration stays")
    seen.forget()
    assert len(seen.wait("result/main")[0]["top"]) == 5
    assert one.stop() == 0


@pytest.mark.parametrize("key", ["cameras.main.fps", "cameras.b"])
def test_every_camera_is_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text('[cameras.main]\nsource = "pattern"\n[cameras.b]\nsource = "0"\n')
    second.write_text('[cameras.main]\nsource = "pattern"\nfps = 3\n')
    pace = Pace(0)
    reload = Reload(
        settings.load(first), lambda: settings.load(second), {"cameras.main.fps": lambda fps: setattr(pace, "fps", fps)}
    )
    reload()
    assert pace.fps == 3
    assert reload.outcome == "needs a restart: cameras.b"


def test_a_window_that_closes_ends_it(broker: Mosquitto, tmp_path: Path, watch: Callable[..., Watcher]) -> None:
    seen = watch(broker)
    one = Running(tmp_path / "device", broker.url)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "edged", "run", "--config", str(one.config)], environment())
    seen.wait("result/main")
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    seen.wait_for_state("offline")
