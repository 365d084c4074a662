"""systemd-python itself: what its handler hands to the journal, up to a socket that stands for journald's."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests import optional
from tests.optional import needs_systemd
from tests.waiting import PATIENCE_S

RECORD = """
import json, logging, os, sys
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
from edged.logs import configure_logging
configure_logging(verbose=False, device="dut")
"""
FIELDS = f"""{RECORD}
(handler,) = logging.getLogger().handlers
sent = []
handler.send = lambda text, /, **fields: sent.append({{**fields, "MESSAGE": text}})
logging.getLogger("edged.camera.opencv").warning("camera main: lost", extra={{"CAMERA": "main"}})
logging.getLogger("edged.mqtt").error("gone: %s", "broker")
print(type(handler).__module__, json.dumps(sent, default=str))
"""
SOCKET = f"""
import socket
journald = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journald.bind("/run/systemd/journal/socket")
journald.settimeout({PATIENCE_S})
{RECORD}
logging.getLogger("edged.camera.opencv").warning("camera main: lost\\nretrying", extra={{"CAMERA": "main"}})
sys.stdout.buffer.write(journald.recv(65536))
"""


@needs_systemd
def test_a_record_keeps_its_fields() -> None:
    done = optional.run("systemd", "-c", FIELDS)
    assert done.returncode == 0, done.stderr
    module, _, text = done.stdout.partition(" ")
    assert module == "systemd.journal"
    lost, gone = json.loads(text)
    assert lost["MESSAGE"] == "edged.camera.opencv: camera main: lost"
    assert (str(lost["PRIORITY"]), lost["LOGGER"]) == ("4", "edged.camera.opencv")
    assert (lost["SYSLOG_IDENTIFIER"], lost["DEVICE"], lost["CAMERA"]) == ("edged", "dut", "main")
    assert (str(gone["PRIORITY"]), gone["MESSAGE"]) == ("3", "edged.mqtt: gone: broker")


@needs_systemd
def test_a_record_arrives_at_journald_s_socket() -> None:
    """In a mount namespace of its own: nobody else sees that socket, and nothing of it stays."""
    unshare = shutil.which("unshare")
    room = "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal"
    alone = [str(unshare), "--map-root-user", "--mount", "sh", "-c"]
    if unshare is None or subprocess.run([*alone, room], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs mount namespaces, which this machine does not allow")
    python = optional.python_with("systemd")
    assert python is not None
    done = subprocess.run(
        [*alone, f'{room} && exec "$0" -c "$1"', python, SOCKET],
        capture_output=True, env=optional.environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    # A field whose value has several lines goes as name, newline, its length in 8 bytes, value.
    message = b"edged.camera.opencv: camera main: lost\nretrying"
    assert b"MESSAGE\n" + len(message).to_bytes(8, "little") + message + b"\n" in done.stdout
    fields = {b"PRIORITY=4", b"SYSLOG_IDENTIFIER=edged", b"LOGGER=edged.camera.opencv", b"DEVICE=dut", b"CAMERA=main"}
    assert fields <= set(done.stdout.split(b"\n"))
