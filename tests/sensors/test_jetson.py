"""The jtop adapter: with a client that keeps jtop's promises, a service that hangs, and none at all."""

import json
import socket
import sys
import threading
import types
from pathlib import Path

import pytest

from edged.sensors import jetson, open_sensors
from edged.sensors.jetson import JtopSensors, explain, find_jtop
from tests.waiting import PATIENCE_S

RECORD = Path(__file__).parent / "jtop_4_3_tx2.json"


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """A connection may take long where its thread is not scheduled."""
    monkeypatch.setattr(jetson, "_CONNECT_S", PATIENCE_S)


class RecordedClient:
    """`jtop.jtop`, playing a record instead of asking a service."""

    def __init__(self):
        self.observers = []
        self.closed = threading.Event()
        for name, value in json.loads(RECORD.read_text()).items():
            setattr(self, name, value)

    @property
    def stats(self):
        raise KeyError("EMC")  # as the real one does on boards that lack something

    def attach(self, observer):
        self.observers.append(observer)

    def start(self):
        self.update()

    def update(self):
        for observer in self.observers:
            observer(self)

    def close(self):
        self.closed.set()


class RefusedClient(RecordedClient):
    def start(self):
        raise ConnectionRefusedError("Mismatch version jtop service\n and client")


class HangingClient(RecordedClient):
    release = threading.Event()

    def start(self):
        self.release.wait()


def test_a_running_service_is_read(tmp_path):
    client = RecordedClient()
    sensors = JtopSensors(tmp_path, lambda: client)
    assert sensors.connect()
    reading = sensors.read()
    assert reading.power_mw["VDD_IN"] == 3032
    assert reading.throttled is None
    sensors.close()
    sensors.close()
    assert client.closed.wait(PATIENCE_S)


def test_while_the_service_is_silent_sysfs_answers_until_it_is_found_again(monkeypatch):
    monkeypatch.setattr(jetson, "_STALE_S", -1.0)
    clients = [RecordedClient(), RecordedClient()]
    sensors = JtopSensors(Path(__file__).parent / "orin_root", clients.pop)
    assert sensors.connect()
    assert sensors.read().power_mw == {"VDD_GPU_SOC": 7661, "VDD_CPU_CV": 1533}
    monkeypatch.setattr(jetson, "_RETRY_S", 0.0)
    assert sensors.read().power_mw["VDD_IN"] == 3032
    assert clients == []
    sensors.close()


def test_a_refusing_service_is_told_once(tmp_path, caplog):
    sensors = JtopSensors(tmp_path, RefusedClient)
    assert not sensors.connect()
    assert not sensors.connect()
    assert [record.getMessage() for record in caplog.records] == [
        "jtop cannot be used, reading without it: Mismatch version jtop service and client"
    ]
    assert sensors.read().power_mw == {}


# In jtop's words.
MISMATCH = "Mismatch version jtop service: [4.2.7] and client: [7.2.2]. Please run:\n\nsudo jtop --install-service"


class OtherVersion(RecordedClient):
    def start(self):
        raise RuntimeError(MISMATCH)


def test_where_versions_differ_the_library_that_fits_the_service_is_named(service, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=OtherVersion))
    sensors = open_sensors(service)
    assert sensors.name == "host"
    assert sensors.problem == (
        "jtop cannot be used, reading without it: its service is version 4.2.7 and the library 7.2.2; "
        "pip install 'jetson-stats==4.2.*'"
    )
    assert [record.getMessage() for record in caplog.records] == [sensors.problem]


def test_a_service_that_does_not_tell_its_version_gets_no_made_up_pin():
    told = explain(RuntimeError(MISMATCH.replace("4.2.7", "unknown")))
    assert told == "its service is version unknown and the library 7.2.2"


def test_a_service_that_fits_later_is_no_problem_any_more(tmp_path):
    clients = [RecordedClient(), OtherVersion()]
    sensors = JtopSensors(tmp_path, clients.pop)
    assert not sensors.connect()
    assert "4.2.7" in sensors.problem
    assert sensors.connect()
    assert sensors.problem is None
    sensors.close()


def test_a_hanging_service_cannot_hang_the_start(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(jetson, "_CONNECT_S", 0.05)
    sensors = JtopSensors(tmp_path, HangingClient)
    assert not sensors.connect()
    assert "no answer within" in caplog.text
    HangingClient.release.set()


def test_without_a_socket_there_is_no_jtop(tmp_path):
    assert find_jtop(tmp_path) is None


def test_a_dead_socket_is_no_service(short_path):
    (short_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(short_path / "run/jtop.sock"))
    told = find_jtop(short_path)
    assert isinstance(told, str)
    assert told.endswith("run/jtop.sock: the jtop service does not answer (Connection refused)")


@pytest.fixture
def service(short_path):
    (short_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_path / "run/jtop.sock"))
        listening.listen()
        yield short_path


def test_a_service_without_its_library_says_what_to_install(service, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jtop", None)
    with caplog.at_level("INFO"):
        sensors = open_sensors(service)
    assert (sensors.name, sensors.problem) == (
        "host",
        "the jtop service runs, but this Python lacks its library: pip install 'edged[jetson]'",
    )
    assert [record.getMessage() for record in caplog.records] == [sensors.problem]


@pytest.mark.parametrize("folder", ["usr/local/lib/python3.6/dist-packages", "usr/lib/python3/dist-packages"])
def test_a_service_whose_version_stands_on_disk_gets_the_library_that_fits_at_once(service, monkeypatch, folder):
    (service / folder / "jetson_stats-4.2.7.dist-info").mkdir(parents=True)
    monkeypatch.setitem(sys.modules, "jtop", None)
    assert (open_sensors(service).problem or "").endswith("pip install 'jetson-stats==4.2.*'")


def test_jtop_comes_first(service, monkeypatch):
    monkeypatch.setitem(sys.modules, "jtop", types.SimpleNamespace(jtop=RecordedClient))
    sensors = open_sensors(service)
    assert sensors.name == "jtop"
    sensors.close()
