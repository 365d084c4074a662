"""Only who holds a trusted key commands: `edgectl keygen`, a daemon that trusts the key, and somebody else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from edged import signing
from edged.cli import main as edged_main
from edged.contract.signature import PublicKey
from edged.ctl import main as ctl_main
from tests.ctl.device import ScriptedDevice
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.networks import made
from tests.waiting import PATIENCE_S

pytest.importorskip("nacl", reason="needs PyNaCl (pip install pynacl)")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def edgectl(
    broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Run `edgectl ARGS`, in this process, with the key of who lives in `home`."""

    def call(*args: str, home: str = "home") -> Done:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / home))
        capfd.readouterr()
        code = ctl_main(["--broker", broker.url, "--timeout", f"{PATIENCE_S:g}", *args])
        return Done(code, *capfd.readouterr())

    return call


def test_from_a_new_key_to_a_device_that_obeys_nobody_else(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    edgectl: Callable[..., Done],
    tmp_path: Path,
) -> None:
    key = edgectl("keygen", "--comment", "the operator")
    assert (key.returncode, key.stdout.count("\n")) == (0, 1), key.stderr
    line = key.stdout.strip()
    assert line.startswith("ed25519:")
    assert line.endswith("= the operator")
    assert (tmp_path / "home/edged/key").stat().st_mode & 0o777 == 0o600

    daemon = run(broker.url, more=f'[security]\ntrusted_keys = ["{line}"]')
    seen = watch(broker)
    seen.wait_for_state("online")
    ack, job, _ = seen.command("set", fps=3)
    assert (ack["status"], job) == ("rejected", None)
    assert ack["error"].startswith("set: is not signed; this device takes only commands signed by one of its trusted")
    assert edgectl("set", "--fps", "3").returncode == 0
    refused = edgectl("set", "--fps", "4", home="nobody")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "is not signed" in refused.stderr
    assert edgectl("status", "--json").returncode == 0

    daemon.config.write_text(daemon.config.read_text().replace(f'"{line}"', ""))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("from now on security.trusted_keys = ()")
    ack, job, _ = seen.command("set", fps=5)
    assert ack["status"] == "accepted"
    assert daemon.stop() == 0


def test_a_signed_bundle_is_installed_as_it_was_signed_or_not_at_all(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    edgectl: Callable[..., Done],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "small"
    line = edgectl("keygen").stdout.strip()
    assert edgectl("keygen", "--out", str(tmp_path / "other")).returncode == 0
    model, labels = made("made_v1_128").write(tmp_path, "made")
    folder.mkdir()
    shutil.copy(model, folder / "model.tflite")
    shutil.copy(labels, folder / "labels.txt")
    (folder / "manifest.json").write_text(json.dumps({"name": "small", "accuracy": {"top1": 0.5}, "v": 1}))

    daemon = run(broker.url, more=f'[security]\ntrusted_keys = ["{line}"]')
    watch(broker).wait_for_state("online")
    other = edgectl("--signing-key", str(tmp_path / "other"), "models", "sign", str(folder))
    assert other.returncode == 0, other.stderr
    refused = edgectl("models", "push", str(folder))
    assert refused.returncode == 1
    assert "signature: is by ed25519:" in refused.stderr
    assert not (daemon.state_dir / "models" / "small").exists()

    assert edgectl("models", "sign", str(folder)).returncode == 0
    labels.write_text(f"another {labels.read_text()}")
    shutil.copy(labels, folder / "labels.txt")
    altered = edgectl("models", "push", str(folder))
    assert (altered.returncode, altered.stderr.count("\n")) == (2, 1)
    assert "signature: labels.txt" in altered.stderr

    assert edgectl("models", "sign", str(folder)).returncode == 0
    pushed = edgectl("models", "push", str(folder))
    assert pushed.returncode == 0, pushed.stderr
    assert (daemon.state_dir / "models/small/signature").read_bytes() == (folder / "signature").read_bytes()
    verify = ["models", "verify", "--config", str(daemon.config), "small"]
    assert edged_main(verify) == 0
    assert "its signature is good" in capfd.readouterr().out
    kept = daemon.state_dir / "models/small/labels.txt"
    kept.write_text(kept.read_text().replace("another", "a third"))
    assert edged_main(verify) == 1
    assert "signature: labels.txt" in capfd.readouterr().err
    assert daemon.stop() == 0


def test_keys_without_the_library_are_one_line_and_no_start(run: Callable[..., Running], tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "nacl"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('not here')")
    path = f"{absent.parent}:{os.environ.get('PYTHONPATH', '')}"
    keys = f'[security]\ntrusted_keys = ["{PublicKey(bytes(32)).text}"]'
    daemon = run("mqtt://127.0.0.1:1", more=keys, environment={"PYTHONPATH": path})
    assert daemon.wait() == 2
    *_, last = daemon.log.splitlines()
    assert last == "edged: PyNaCl is needed for security.trusted_keys, and is not installed: pip install pynacl"


def test_a_key_that_is_there_stays_and_one_that_others_may_read_is_not_used(
    broker: Mosquitto, edgectl: Callable[..., Done], tmp_path: Path
) -> None:
    assert edgectl("keygen").returncode == 0
    file = tmp_path / "home/edged/key"
    before = file.read_bytes()
    again = edgectl("keygen")
    assert (again.returncode, again.stderr.count("\n"), file.read_bytes()) == (2, 1, before)
    assert "is there already" in again.stderr
    assert edgectl("keygen", "--replace").returncode == 0
    assert file.read_bytes() != before
    with ScriptedDevice(broker.port):
        assert edgectl("set", "--fps", "1").returncode == 0
        for content, mode, why in (
            (file.read_bytes(), 0o640, "chmod 600"),
            (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0o600, "is no private Ed25519 key"),
            (b"", 0o600, "is no private Ed25519 key"),
        ):
            file.write_bytes(content)
            file.chmod(mode)
            refused = edgectl("set", "--fps", "1")
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
            assert why in refused.stderr
        missing = edgectl("--signing-key", str(tmp_path / "none"), "set", "--fps", "1")
        assert (missing.returncode, "cannot be read: no such file" in missing.stderr) == (2, True)


def test_openssl_reads_the_key_too(tmp_path: Path) -> None:
    file, message = tmp_path / "key", tmp_path / "message"
    key = signing.generate(file)
    message.write_bytes(b"anything")
    command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(file), "-in", str(message)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == key.sign(b"anything")
    assert signing.read(file).public == key.public
