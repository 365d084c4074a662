"""jetson-stats itself, on a machine that is no Jetson and has no jtop service, as on a laptop."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from edged.sensors.jtop_data import PROPERTIES
from tests import optional
from tests.optional import needs_jtop

CONNECT = """
import json, logging, sys
from pathlib import Path
import jtop
from edged.sensors.jetson import JtopSensors
logging.basicConfig(format="%(message)s")
sensors = JtopSensors(Path(sys.argv[1]), jtop.jtop)
connected = sensors.connect()
reading = sensors.read()
sensors.close()
names = [name for name in dir(jtop.jtop) if isinstance(getattr(jtop.jtop, name), property)]
calls = [name for name in ("start", "attach", "close") if callable(getattr(jtop.jtop, name, None))]
print(json.dumps({"connected": connected, "power": reading.power_mw, "properties": names, "calls": calls}))
"""
OPEN = """
import logging, sys
from pathlib import Path
from edged.sensors import open_sensors
logging.basicConfig(format="%(message)s", level=logging.INFO)
sensors = open_sensors(Path(sys.argv[1]))
print(sensors.name, sorted(sensors.read().load))
sensors.close()
"""


@needs_jtop
def test_without_its_service_one_line_says_so_and_sysfs_answers(tmp_path: Path) -> None:
    done = optional.run("jtop", "-c", CONNECT, str(tmp_path))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["connected"], told["power"]) == (False, {})
    (line,) = done.stderr.splitlines()
    assert line.startswith("jtop cannot be used, reading without it: The jtop.service is not active.")


@needs_jtop
def test_the_client_has_what_is_used_of_it(tmp_path: Path) -> None:
    told = json.loads(optional.run("jtop", "-c", CONNECT, str(tmp_path)).stdout)
    assert told["calls"] == ["start", "attach", "close"]
    older = {"ram", "emc"}  # properties of 3.x and 4.0 alone
    assert set(PROPERTIES) - older <= set(told["properties"])


@needs_jtop
def test_the_client_tells_a_mismatch_in_the_words_that_are_looked_for(tmp_path: Path) -> None:
    code = (
        "import inspect, jtop; from edged.sensors.jetson import explain\n"
        "source = inspect.getsource(jtop.jtop)\n"
        "words = source[source.index('Mismatch version jtop service'):].partition('.format')[0]\n"
        "print(explain(Exception(words.format(service_version='4.2.7', client_version='7.2.2'))))"
    )
    told = optional.run("jtop", "-c", code)
    assert "pip install 'jetson-stats==4.2.*'" in told.stdout, told.stderr


@needs_jtop
def test_a_socket_that_is_not_jtop_s_ends_at_the_host_s_sensors(short_path: Path) -> None:
    """Somebody listens where the service would; the real client finds no service behind it."""
    (short_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as somebody:
        somebody.bind(str(short_path / "run" / "jtop.sock"))
        somebody.listen()
        done = optional.run("jtop", "-c", OPEN, str(short_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("host ")
    assert "Traceback" not in done.stderr
    assert done.stderr.count("jtop cannot be used") == 1
