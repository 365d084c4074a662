"""edged.service under a systemd that is really booted: `tools/test --systemd`."""

from __future__ import annotations

import json

import pytest

from edged.demo import PHOTOS
from edged.demo.crops import write_crops
from tests.booted.service import CONFIG, EDGECTL, EDGED, Service
from tests.waiting import wait_until

MAX_EXPOSURE = 2.0
LABELS = {path.stem for path in PHOTOS.glob("*.jpg")}
MODEL = "/srv/edged/models/mobilenet_v2"


def test_it_starts_classifies_and_stops(service: Service) -> None:
    assert service.state == "active"
    broker = service.subscribe()
    assert broker.wait_for_results()[-1]["camera"] == "main"
    service.machine.check("systemctl", "stop", "edged")
    wait_until(lambda: broker.states[-1:] == ["offline"], what="offline")
    assert service.machine.show("ExecMainStatus") == "0"
    assert service.machine.show("Result") == "success"
    later = service.subscribe()
    wait_until(lambda: later.states, what="the retained state")
    assert next(message for message in later.messages if message.topic == "state") == ("state", True, "offline")


def test_nobody_else_looks_into_its_state(service: Service) -> None:
    assert service.machine.check("stat", "-c", "%U %G %a", "/var/lib/edged").split() == ["edged", "edged", "700"]
    found = service.machine.check("find", "/var/lib/edged", "/run/edged", "-perm", "/077", "-not", "-type", "l")
    assert found == ""


def test_killed_it_is_restarted_and_unsent_results_arrive(service: Service) -> None:
    broker = service.subscribe()
    boot = broker.wait_for_results()[-1]["boot"]
    service.machine.check("systemctl", "stop", "mosquitto")
    wait_until(lambda: service.unsent >= 20, what="results on disk")
    pid = service.pid
    service.machine.check("kill", "-KILL", str(pid))
    unsent = service.unsent
    sent = len(broker.results)
    service.wait_for_another(pid)
    service.machine.check("systemctl", "start", "mosquitto")
    broker.wait_for_results(boot_not=boot)
    numbers = sorted({result["seq"] for result in broker.results if result["boot"] == boot})
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert len(numbers) >= unsent - 5  # other messages wait there too: the state, some telemetry
    assert len(broker.results) >= sent + unsent - 5


def test_one_that_hangs_is_restarted_by_the_watchdog(service: Service) -> None:
    service.add_to_unit("[Service]\nWatchdogSec=6\nTimeoutStopSec=3\nRestartSec=1\n")  # 30, 20 and 5 as installed
    service.machine.check("systemctl", "restart", "edged")
    broker = service.subscribe()
    boot = broker.wait_for_results()[-1]["boot"]
    pid = service.pid
    service.machine.check("kill", "-STOP", str(pid))
    service.wait_for_another(pid)
    assert "Watchdog timeout" in service.machine.journal("--since=-5min")
    broker.wait_for_results(boot_not=boot)


@pytest.fixture
def taught(service: Service) -> Service:
    """The service with labeled photos."""
    folder = service.machine.root / "srv/photos"
    if not folder.exists():
        write_crops(PHOTOS, folder)
    service.edgectl("images", "push", "/srv/photos")
    return service


def test_a_training_runs_under_the_rules_of_the_unit(taught: Service) -> None:
    pid = taught.pid
    said = taught.edgectl("retrain", "--lr", "0.1")
    broker = taught.subscribe()
    assert broker.wait_for_results()[-1]["label"] in {*LABELS, "unknown"}, said
    assert taught.pid == pid
    job = json.loads(taught.edgectl("--json", "jobs").splitlines()[0])["id"]
    assert "succeeded" in taught.machine.journal(f"JOB={job}")
    taught.edgectl("rollback")


def test_a_model_that_is_sent_is_tried_under_the_rules_of_the_unit(service: Service) -> None:
    service.edgectl("models", "push", MODEL, "--name", "sent", "--replace")
    assert "sent" in service.edgectl("models", "list")
    service.edgectl("models", "use", "sent")
    service.subscribe().wait_for_results()
    service.edgectl("models", "use", "mobilenet_v2")
    service.edgectl("models", "remove", "sent")


def test_where_memory_runs_out_the_child_goes_and_the_daemon_stays(taught: Service) -> None:
    machine = taught.machine
    machine.check("systemctl", "restart", "edged")
    broker = taught.subscribe()
    boot = broker.wait_for_results()[-1]["boot"]
    pid = taught.pid
    if not machine.show("MemoryCurrent").isdigit():
        pytest.skip("systemd cannot limit memory here: its control group is not ours to change")
    # What the daemon has resident, libraries included. Below that the kernel has nobody else to end.
    resident = int(machine.check("ps", "-o", "rss=", "-p", str(pid))) * 1024
    machine.check("systemctl", "set-property", "--runtime", "edged", f"MemoryMax={resident}")
    try:
        failed = machine.run(EDGECTL, "--device", "dut", "retrain", "--accept")
        machine.run(EDGECTL, "--device", "dut", "models", "push", MODEL, "--name", "large")
        broker.wait_for_results()
    finally:
        machine.check("systemctl", "set-property", "--runtime", "edged", "MemoryMax=infinity")
    assert failed.returncode == 1
    assert "memory" in failed.stdout
    assert (taught.pid, taught.state) == (pid, "active")
    assert {result["boot"] for result in broker.results} == {boot}


def test_a_wrong_configuration_is_told_in_one_line_and_not_tried_again(service: Service) -> None:
    service.configure(CONFIG.replace("threads = 1", "threads = 0"))
    assert service.machine.run("systemctl", "restart", "edged").returncode == 1
    status = service.machine.run("systemctl", "status", "edged").stdout
    assert len([line for line in status.splitlines() if "edged.toml: model.threads = 0" in line]) == 1, status
    assert "Traceback" not in status
    assert service.machine.show("ExecMainStatus") == "2"
    assert service.machine.show("ActiveState") == "failed"  # and not activating: nothing is scheduled
    assert service.machine.show("NRestarts") == "0"


def test_a_password_may_be_a_credential(service: Service) -> None:
    service.machine.write("/srv/password", "secret\n")
    (service.machine.root / "srv/password").chmod(0o600)
    service.add_to_unit("[Service]\nLoadCredential=mqtt:/srv/password\n")
    service.configure(f'{CONFIG}\n[mqtt]\nusername = "dut"\npassword_file = "credential:mqtt"\n')
    service.machine.check("systemctl", "restart", "edged")
    service.subscribe().wait_for_results()
    status = service.machine.check("cat", f"/proc/{service.pid}/environ")
    assert "CREDENTIALS_DIRECTORY=/run/credentials/edged.service" in status
    said = service.machine.run(EDGED, "doctor").stdout
    assert "/mqtt can be read" in said, said


def test_it_reads_its_configuration_again(service: Service) -> None:
    broker = service.subscribe()
    broker.wait_for_results()
    pid = service.pid
    service.configure(CONFIG.replace("threads = 1", "threads = 2\ntop = 2"))
    service.machine.check("systemctl", "reload", "edged")
    wait_until(lambda: "needs a restart: model.threads" in service.machine.show("StatusText"), what="the status")
    assert "needs a restart: model.threads" in service.machine.check("systemctl", "status", "edged")
    wait_until(lambda: len(broker.results[-1]["top"]) == 2, what="two labels")
    service.configure("[model]\ntop = 0\n")
    service.machine.check("systemctl", "reload", "edged")
    wait_until(lambda: "model.top = 0" in service.machine.show("StatusText"), what="the status")
    service.configure(CONFIG)
    service.machine.check("systemctl", "reload", "edged")
    wait_until(lambda: ";" not in service.machine.show("StatusText"), what="the status")
    wait_until(lambda: len(broker.results[-1]["top"]) == 5, what="five labels")
    assert (service.pid, service.state) == (pid, "active")


def test_log_lines_keep_their_fields(service: Service) -> None:
    service.machine.check("systemctl", "restart", "edged")
    service.subscribe().wait_for_results()
    lines = service.machine.check("journalctl", "--unit=edged", "--no-pager", "--output=json", "--since=-10min")
    entries = [json.loads(line) for line in lines.splitlines()]
    running = [entry for entry in entries if "running, 640×480" in str(entry["MESSAGE"])][-1]
    assert (running["PRIORITY"], running["LOGGER"]) == ("6", "edged.camera.capture")
    assert (running["SYSLOG_IDENTIFIER"], running["DEVICE"], running["CAMERA"]) == ("edged", "dut", "main")
    assert any(len(entry["MODEL"]) == 12 for entry in entries if "ready on litert" in str(entry["MESSAGE"]))


def test_the_sandbox_leaves_little_exposed(service: Service) -> None:
    said = service.machine.check("systemd-analyze", "security", "--no-pager", "edged")
    assert float(said.rpartition("Overall exposure level for edged.service: ")[2].split()[0]) <= MAX_EXPOSURE


def test_doctor_looks_at_things_as_the_service_does(service: Service) -> None:
    said = service.machine.run(EDGED, "doctor").stdout
    assert "user edged" in said, said


def test_an_upgrade_keeps_what_there_is_and_sends_what_waits(service: Service) -> None:
    machine = service.machine
    broker = service.subscribe()
    boot = broker.wait_for_results()[-1]["boot"]
    machine.check("systemctl", "stop", "mosquitto")
    wait_until(lambda: service.unsent >= 20, what="results on disk")
    unsent, sent = service.unsent, len(broker.results)
    version = "99.0.0"
    for name, key in (("pyproject.toml", "version"), ("edged/__init__.py", "__version__")):
        machine.check("sed", "-i", f's/^{key} = .*/{key} = "{version}"/', f"/srv/edged/{name}")
    machine.check("sh", "-c", "cd /srv/edged && /opt/edged/bin/pip install .")
    machine.check("systemctl", "restart", "edged")
    machine.check("systemctl", "start", "mosquitto")
    broker.wait_for_results(boot_not=boot)
    numbers = sorted({result["seq"] for result in broker.results if result["boot"] == boot})
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert len([result for result in broker.results if result["boot"] == boot]) >= sent + unsent - 5  # see above
    assert f"edged {version} on device" in machine.journal("--since=-5min")


def test_it_comes_back_with_the_machine(service: Service) -> None:
    boot = service.subscribe().wait_for_results()[-1]["boot"]
    service.unsubscribe()  # one that was started from outside would keep the machine from going down
    service.machine.reboot()
    wait_until(lambda: service.state == "active", what="the service")
    assert service.subscribe().wait_for_results(boot_not=boot)
