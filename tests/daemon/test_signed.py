"""Only who holds a trusted key commands: `edgectl keygen`, a daemon that trusts the key, and somebody else."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon.running import Running, Watcher, environment
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S

pytest.importorskip("nacl", reason="needs PyNaCl (pip install pynacl)")


def edgectl(broker: Mosquitto, *args: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edged.ctl", "--broker", broker.url, "--timeout", f"{PATIENCE_S:g}", *args]
    variables = environment(XDG_CONFIG_HOME=str(home))
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=variables)


def test_from_a_new_key_to_a_device_that_obeys_nobody_else(
    broker: Mosquitto, run: Callable[..., Running], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    made = edgectl(broker, "keygen", "--comment", "the operator", home=home)
    assert (made.returncode, made.stdout.count("\n")) == (0, 1), made.stderr
    line = made.stdout.strip()
    assert line.startswith("ed25519:")
    assert line.endswith("= the operator")
    assert (home / "edged" / "key").stat().st_mode & 0o777 == 0o600

    daemon = run(broker.url, more=f'[security]\ntrusted_keys = ["{line}"]')
    seen = Watcher(broker.port)
    seen.wait_for_state("online")
    ack, job, _ = seen.command("set", fps=3)
    assert (ack["status"], job) == ("rejected", None)
    assert ack["error"].startswith("set: is not signed; this device takes only commands signed by one of its trusted")
    assert edgectl(broker, "set", "--fps", "3", home=home).returncode == 0
    refused = edgectl(broker, "set", "--fps", "4", home=tmp_path / "nobody")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "is not signed" in refused.stderr
    assert edgectl(broker, "status", "--json", home=home).returncode == 0

    daemon.config.write_text(daemon.config.read_text().replace(f'"{line}"', ""))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("from now on security.trusted_keys = ()")
    ack, job, _ = seen.command("set", fps=5)
    assert ack["status"] == "accepted"
    seen.close()
    assert daemon.stop() == 0
