"""The Debian package on a machine that is really booted: `tools/test --systemd`."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged import __version__
from edged.demo import PHOTOS
from edged.demo.crops import write_crops
from tests.booted.machine import Machine, NotPossibleError
from tests.booted.service import CONFIG, CONFIG_FILE, Service
from tests.waiting import wait_until

ONE, OTHER, BROKEN = "1.0.0-1", "2.0.0-1", "3.0.0-1"
UNIT = "lib/systemd/system/edged.service"
SITE = "lib/python3.11/site-packages"
EDGED, EDGECTL = "/usr/bin/edged", "/usr/bin/edgectl"

Change = Callable[[Path], None]


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text in a file that may be a link to another version's."""
    text = path.read_text()
    assert old in text
    mode = path.stat().st_mode
    path.unlink()
    path.write_text(text.replace(old, new))
    path.chmod(mode)


def as_built(_: Path) -> None:
    """Change nothing."""


def other(root: Path) -> None:
    """Give it another unit and another default configuration, as another version may have."""
    for unit in (root / UNIT, root / "opt/edged/package/share/edged.service"):
        replace(unit, "[Service]", "Documentation=https://example.org/other\n[Service]")
    for default in (root / "etc/edged/edged.toml", root / "opt/edged/package/share/edged.toml"):
        replace(default, "[storage]", "# Something new.\n[storage]")


def without_a_runtime(root: Path) -> None:
    """Make it one that opens no network."""
    other(root)
    for name in ("ai_edge_litert", "tflite_runtime"):
        shutil.rmtree(root / "opt/edged/package" / SITE / name)


def variant(built: Path, version: str, change: Change, package: Path) -> None:
    """Make a package of another version, changed by `change`."""
    root = built.with_name(version)
    subprocess.run(["cp", "-al", built, root], check=True)
    module = root / "opt/edged/package" / SITE / "edged/__init__.py"
    replace(module, f'"{__version__}"', f'"{version.partition("-")[0]}"')
    replace(root / "DEBIAN/control", f"Version: {__version__}-1", f"Version: {version}")
    change(root)
    subprocess.run(["dpkg-deb", "-Znone", "-b", root, package], check=True, capture_output=True)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def machine(built: Path) -> Iterator[Machine]:
    """A booted Debian without any edged, and packages of it in /srv."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "edged-matrix")
    folder = Path(tempfile.mkdtemp(prefix="edged-package-"))
    one = Machine(folder, "package")
    try:
        try:
            one.make(cache)
            for version, change in ((ONE, as_built), (OTHER, other), (BROKEN, without_a_runtime)):
                variant(built, version, change, one.root / f"srv/{version}.deb")
            one.boot()
        except NotPossibleError as error:
            pytest.skip(f"the package was not tried under a booted systemd: {error}")
        yield one
    finally:
        one.end()
        shutil.rmtree(folder, ignore_errors=True)


def install(machine: Machine, version: str) -> subprocess.CompletedProcess[str]:
    """Install a version as apt does for somebody who is not there to be asked."""
    options = ("--force-confdef", "--force-confold")
    return machine.run("env", "DEBIAN_FRONTEND=noninteractive", "dpkg", *options, "-i", f"/srv/{version}.deb")


def status(machine: Machine) -> str:
    """Return what dpkg says of the package: state and version."""
    return machine.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", "edged").stdout


class PackagedService(Service):
    """The service of the package. `version`: which of the two good ones runs; `another`: which of them does not."""

    def begin(self) -> None:
        """Install one of them, where none is, and start it."""
        self.machine.check("systemctl", "start", "mosquitto")
        if status(self.machine) not in (f"installed {ONE}", f"installed {OTHER}"):
            done = install(self.machine, ONE)
            assert done.returncode == 0, done.stdout
        self.version = status(self.machine).split()[1]
        self.another = ONE if self.version == OTHER else OTHER
        super().begin()
        self.machine.check("systemctl", "restart", "edged")

    def wait_for(self, version: str, pid_before: int) -> None:
        """Wait until a version runs in place of another one's process."""
        wait_until(lambda: self.pid not in (0, pid_before) and self.state == "active", what=version)
        assert f"edged {version.partition('-')[0]} on device" in self.machine.journal(f"_PID={self.pid}")


@pytest.fixture
def service(machine: Machine) -> Iterator[PackagedService]:
    """The service, running with `CONFIG`."""
    one = PackagedService(machine)
    one.begin()
    yield one
    one.end()


def test_installed_it_is_a_service_as_any_other(service: PackagedService) -> None:
    machine = service.machine
    assert machine.check("systemctl", "is-enabled", "edged").strip() == "enabled"
    assert service.subscribe().wait_for_results()
    assert machine.check("stat", "-c", "%U %a", "/var/lib/edged").split() == ["edged", "700"]
    assert machine.check("getent", "passwd", "edged").split(":")[5] == "/var/lib/edged"
    said = machine.run(EDGED, "doctor").stdout
    assert "all this was checked as user edged under the rules of /usr/lib/systemd/system/edged.service" in said, said
    assert "✗" not in said, said
    compiled = machine.root / "opt/edged/live" / SITE / "edged/__pycache__"
    assert list(compiled.glob("__init__.*.pyc"))
    assert "usage: edgectl" in machine.check(EDGECTL, "--help")


def test_an_upgrade_keeps_configuration_and_state(service: PackagedService) -> None:
    machine = service.machine
    write_crops(PHOTOS, machine.root / "srv/photos")
    service.edgectl("images", "push", "/srv/photos")
    images = service.edgectl("--json", "images", "list")
    pid = service.pid
    done = install(machine, service.another)
    assert done.returncode == 0, done.stdout
    assert status(machine) == f"installed {service.another}"
    service.wait_for(service.another, pid)
    assert service.subscribe().wait_for_results()
    assert service.edgectl("--json", "images", "list") == images
    assert (machine.root / CONFIG_FILE.lstrip("/")).read_text() == CONFIG
    assert ("example.org" in machine.show("Documentation")) == (service.another == OTHER)
    live = (machine.root / "opt/edged/live").readlink().name
    assert sorted(path.name for path in (machine.root / "opt/edged").iterdir()) == ["bin", "live", "package", live]


def test_an_upgrade_that_its_doctor_refuses_leaves_the_old_version_running(service: PackagedService) -> None:
    machine = service.machine
    broker = service.subscribe()
    boot = broker.wait_for_results()[-1]["boot"]
    pid, unit = service.pid, (machine.root / UNIT).read_text()
    done = install(machine, BROKEN)
    assert done.returncode == 1
    assert "✗ model" in done.stdout, done.stdout
    assert "the service goes on with the version that it had" in done.stdout
    assert status(machine) == f"half-configured {BROKEN}"
    broker.wait_for_results()
    assert (service.pid, service.state) == (pid, "active")
    assert {result["boot"] for result in broker.results} == {boot}
    # What it had not loaded yet is there, and it comes back with the machine, under its own unit.
    service.edgectl("models", "push", "/srv/edged/models/mobilenet_v2", "--name", "sent", "--replace")
    service.edgectl("models", "remove", "sent")
    service.unsubscribe()
    machine.reboot()
    wait_until(lambda: service.state == "active", what="the service")
    service.wait_for(service.version, 0)
    assert (machine.root / UNIT).read_text() == unit
    # It stands in no other version's way.
    done = install(machine, service.version)
    assert done.returncode == 0, done.stdout
    assert status(machine) == f"installed {service.version}"


def test_what_the_doctor_found_is_put_right_and_the_upgrade_goes_on(service: PackagedService) -> None:
    machine = service.machine
    unit, default = machine.root / UNIT, machine.root / "opt/edged/package/share/edged.toml"
    config = machine.root / CONFIG_FILE.lstrip("/")
    unit_before, default_before = unit.read_text(), default.read_text()
    service.configure(default_before)  # nobody's own, so that dpkg replaces it
    pid = service.pid
    machine.check("systemctl", "stop", "mosquitto")
    done = install(machine, service.another)
    assert done.returncode == 1
    assert "✗ broker" in done.stdout, done.stdout
    assert (service.pid, service.state) == (pid, "active")
    assert (config.read_text(), unit.read_text()) == (default_before, unit_before)
    assert default.read_text() != default_before
    service.configure(CONFIG)
    machine.check("systemctl", "start", "mosquitto")
    machine.check("dpkg", "--configure", "edged")
    assert status(machine) == f"installed {service.another}"
    assert unit.read_text() != unit_before
    service.wait_for(service.another, pid)


def test_removed_it_leaves_configuration_and_state_and_purged_nothing(service: PackagedService) -> None:
    machine = service.machine
    machine.write("/etc/edged/mqtt.password", "secret\n")
    machine.check("dpkg", "--remove", "edged")
    assert machine.run("systemctl", "is-active", "edged").stdout.strip() == "inactive"
    assert not (machine.root / "opt/edged").exists()
    assert (machine.root / "var/lib/edged/outbox.sqlite").exists()
    assert (machine.root / CONFIG_FILE.lstrip("/")).read_text() == CONFIG
    machine.check("dpkg", "--purge", "edged")
    elsewhere = "-path /srv -o -path /root"  # the packages, and what edgectl keeps for who runs it
    left = machine.check("sh", "-c", f"find / -xdev \\( {elsewhere} \\) -prune -o -iname '*edged*' -print")
    assert left == ""
    assert machine.run("systemctl", "start", "edged").returncode == 5  # there is no such unit


NOT_COMPRESSED = ("uses-no-compression-for-control-tarball", "uses-no-compression-for-data-tarball")
"""What lintian finds in a package that was built to be tried at once."""


def test_lintian_finds_no_error_in_the_package_with_all_of_its_libraries(built: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("needs lintian")
    (package,) = built.parent.glob("edged_*.deb")
    options = ("--allow-root", "--fail-on", "error,warning", "--suppress-tags", ",".join(NOT_COMPRESSED))
    done = subprocess.run(["lintian", *options, package], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
