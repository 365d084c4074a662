"""What happens to a running daemon from outside: brokers that come, go and refuse, rivals, full disks, restarts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from edged.contract.messages import Ack
from edged.images import ImageStore
from edged.mqtt.ledger import Ledger
from edged.mqtt.outbox import Outbox
from edged.store import Store
from tests.albums import make_album
from tests.daemon.running import Running, Watcher, environment
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]
ALL = '[cameras.main]\nsource = "pattern"\nfps = 0'
"""Waits for the network instead of dropping frames, so that each seq must arrive."""


def seqs(seen: Watcher) -> list[int]:
    """Of the results, without what was delivered twice."""
    return list(dict.fromkeys(result["seq"] for result in seen.decoded("result/main")))


def start_and_watch(broker: Mosquitto, device: Running, watch: Watch) -> Watcher:
    """Start the broker that a daemon tries to reach; a subscriber is there before the daemon, and misses nothing."""
    device.signal(signal.SIGSTOP)
    broker.start()
    seen = watch(broker)
    device.signal(signal.SIGCONT)
    return seen


_FAILING = """
import sys
from edged.cli import main
from edged.mqtt.delivery import Delivery

pump = Delivery.pump
def failing(self, *args):
    if self.inflight:
        raise RuntimeError("planted")
    pump(self, *args)
Delivery.pump = failing
sys.exit(main(sys.argv[4:]))
"""
"""What `python -m edged` is replaced by: an unforeseen exception ends the link's thread after its first message."""


def test_a_link_that_fails_ends_the_process_so_that_it_is_started_again(
    broker: Mosquitto, tmp_path: Path, watch: Watch
) -> None:
    plant = tmp_path / "failing.py"
    plant.write_text(_FAILING)
    seen = watch(broker)
    device = Running(tmp_path / "device", broker.url)
    try:
        assert device.start(sys.executable, str(plant)).ended() == 1
        assert device.log.count("the MQTT link has failed") == 1
        seen.wait_for_state("offline")
    finally:
        device.kill()


def test_state_that_is_none_is_set_aside_told_and_made_anew(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    Ledger(state / "commands.sqlite").close()
    with closing(sqlite3.connect(state / "commands.sqlite")) as database, database:
        database.execute("INSERT INTO command VALUES ('a', CAST(x'ff' AS TEXT), 0, 0, NULL, NULL, 0)")
    for name in ("outbox.sqlite", "images.sqlite", "images.sqlite.corrupt"):
        (state / name / "inside").mkdir(parents=True)
    (state / "frames").write_text("no folder")
    seen = watch(broker)
    device = run(broker.url, state_dir=state)
    seen.wait("result/main")
    assert seen.command("images_list")[1]["status"] == "succeeded"
    told = seen.command("status")[1]["report"]["info"]["degraded"]
    assert [re.sub(r" \(.*\)", "", line.replace(f"{state}/", "")) for line in told] == [
        "storage: outbox.sqlite: unusable; set aside as outbox.sqlite.corrupt and begun anew",
        "storage: frames: unusable; set aside as frames.corrupt and begun anew",
        "storage: images.sqlite: unusable; set aside as images.sqlite.corrupt-2 and made anew from the files",
        "storage: commands.sqlite: unusable; set aside as commands.sqlite.corrupt and begun anew",
    ]
    assert device.stop() == 0
    device.start()
    device.wait_for_log("first result", count=2)
    assert "degraded" not in seen.command("status")[1]["report"]["info"]
    assert device.stop() == 0


def test_a_broker_that_is_down_at_start_gets_everything_later(broker: Mosquitto, run: Run, watch: Watch) -> None:
    broker.stop()
    device = run(broker.url, cameras=ALL)
    device.wait_for_log("first result")
    device.wait_for_log("Connection refused; next attempt")
    seen = start_and_watch(broker, device, watch)
    assert device.log.count("Connection refused; next attempt") == 1
    seen.wait("result/main", 30)
    seen.wait_for_state("online")
    assert {"info", "model"} <= {topic for topic in ("info", "model") if seen.of(topic)}
    assert seqs(seen)[:30] == list(range(30))
    assert device.stop() == 0


def test_what_a_stopped_daemon_could_not_send_is_sent_by_the_next(broker: Mosquitto, run: Run, watch: Watch) -> None:
    broker.stop()
    device = run(broker.url, cameras=ALL)
    device.wait_for_log("first result")
    assert device.stop() == 0, "it does not wait for a broker that is away"
    frames = int(device.log.split("stopped after ")[1].split()[0])
    broker.start()
    seen = watch(broker)
    device.start()
    seen.wait("result/main", frames + 3)
    results = [result["seq"] for result in seen.decoded("result/main")]
    assert results[: frames + 3] == [*range(frames), 0, 1, 2]
    assert device.stop() == 0


def test_a_broker_that_is_killed_misses_nothing(broker: Mosquitto, run: Run, watch: Watch) -> None:
    device = run(broker.url, cameras=ALL)
    seen = watch(broker)
    seen.wait("result/main", 20)
    for _ in range(2):
        device.signal(signal.SIGSTOP)  # our subscriber shall be the first to come back
        broker.kill()
        wait_until(lambda: not seen.ready.is_set(), what="the subscriber to notice")
        broker.start()
        wait_until(seen.ready.is_set, what="the subscriber back")
        device.signal(signal.SIGCONT)
        before = len(seen.of("result/main"))
        seen.wait("result/main", before + 60)
    assert device.stop() == 0
    seen.wait_for_state("offline")
    arrived = seqs(seen)
    assert sorted(arrived) == list(range(arrived[0], arrived[0] + len(arrived)))
    assert arrived == sorted(arrived)


def test_a_broker_that_refuses_the_login_lets_us_in_later(
    mosquitto: Callable[..., Mosquitto], run: Run, tmp_path: Path
) -> None:
    broker = mosquitto(users={"joe": "right"}, allow_anonymous=False)
    password = tmp_path / "password"
    password.write_text("wrong\n")
    password.chmod(0o600)
    device = run(broker.url, mqtt=f'username = "joe"\npassword_file = "{password}"')
    device.wait_for_log("first result")
    device.wait_for_log("refused user 'joe'")
    assert "check mqtt.username and mqtt.password_file" in device.log
    password.write_text("right\n")
    device.wait_for_log("connected to broker")
    assert device.log.count("refused user 'joe'") == 1
    assert device.stop() == 0


def test_two_daemons_with_one_id_say_so_and_go_on(broker: Mosquitto, run: Run) -> None:
    one = run(broker.url, folder="one")
    one.wait_for_log("connected to broker")
    other = run(broker.url, folder="other")
    other.wait_for_log("first result")
    said = "another client uses device id 'dut'"  # as the broker's word, or as a guess where it says nothing
    wait_until(lambda: said in one.log + other.log, what=said)
    assert one.running
    assert other.running
    assert one.stop() == 0
    assert other.stop() == 0


def test_two_daemons_on_one_state_folder_are_one_too_many(broker: Mosquitto, run: Run, watch: Watch) -> None:
    seen = watch(broker)
    one = run(broker.url, folder="one")
    seen.wait("result/main", 1)
    assert one.process is not None
    other = run(broker.url, folder="other", device="other", state_dir=one.state_dir)
    assert other.wait() == 1
    assert other.log == (
        f"edged: another edged (process {one.process.pid}) uses {one.state_dir}; stop it, or set another "
        "storage.state_dir\n"
    )
    one.kill()  # a lock that outlived its owner would keep it from starting again
    one.start()
    one.wait_for_log("first result", count=2)
    assert one.stop() == 0


def test_a_job_that_a_restart_cut_off_has_failed(broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "device/state/commands.sqlite")
    ledger.accept("t1", "retrain", Ack(id="t1", status="accepted").encode())
    ledger.accept("s1", "snapshot", Ack(id="s1", status="accepted").encode())
    ledger.close()
    seen = watch(broker)
    device = run(broker.url)
    for id_, name in (("t1", "retrain"), ("s1", "snapshot")):
        job = seen.wait(f"job/{id_}")[0]
        assert (job["status"], job["cmd"]) == ("failed", name)
        assert "restarted" in job["error"]
    newest = seen.wait("job")[-1]
    assert (newest["id"], newest["status"]) == ("t1", "failed")
    device.wait_for_log("first result")
    assert device.stop() == 0
    device.start()
    device.wait_for_log("first result", count=2)
    assert device.stop() == 0
    assert len(seen.of("job/t1")) == 1, "told once"


def fill_up(file: Path) -> None:
    with file.open("wb", buffering=0) as fill:
        while True:
            fill.write(bytes(4096))


@pytest.fixture
def own_mounts() -> list[str]:
    """The beginning of a command that may mount what only it sees."""
    prefix = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    if shutil.which("unshare") is None or subprocess.run([*prefix, "true"], check=False).returncode != 0:
        pytest.skip("needs unshare --mount: user namespaces, or root")
    return prefix


def test_a_disk_that_fills_up_costs_nothing(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path, own_mounts: list[str]
) -> None:
    device = Running(tmp_path / "device", broker.url, more="", cameras=ALL)
    device.config.write_text(device.config.read_text().replace("keep_frames = false", "keep_frames = true"))
    device.state_dir.mkdir()
    small = f'mount -t tmpfs -o size=1200k tmpfs "{device.state_dir}" && exec "$@"'
    broker.stop()
    device.start(*own_mounts, "sh", "-c", small, "sh")
    try:
        device.wait_for_log("first result")
        assert device.process is not None
        inside = Path(f"/proc/{device.process.pid}/root{device.state_dir}")
        with pytest.raises(OSError, match="No space left"):
            fill_up(inside / "fill")
        device.wait_for_log("unacknowledged messages stay in memory")
        seen = start_and_watch(broker, device, watch)
        seen.wait("result/main", 100)
        assert seqs(seen)[:100] == list(range(100))
        _, job, _ = seen.command("status")
        assert job is not None  # a command may be what makes room
        assert job["status"] == "succeeded"
        (inside / "fill").unlink()
        _, job, _ = seen.command("status")
        assert job is not None
        assert job["status"] == "succeeded"
        assert device.log.count("frames are not kept") <= 1
        assert device.stop() == 0
    finally:
        device.kill()


def on_a_full_disk(device: Running, own_mounts: list[str], *, late: Watcher | None = None) -> Path:
    """Start a daemon whose state folder is a small disk of its own, with what lies there, filled to the last byte.

    Args:
        device: Not started yet.
        own_mounts: What it is started by.
        late: Fill the disk when the daemon runs, and watch it; it must have no work of its start left, which could
            give room back: images to look at, and messages of an earlier process to send and to forget.

    Returns:
        The file that fills it, as this process sees it.
    """
    prepared = device.state_dir.rename(device.state_dir.with_name("prepared"))
    device.state_dir.mkdir()
    filled = "" if late is not None else f'cat /dev/zero > "{device.state_dir}/fill" 2>/dev/null; '
    small = (
        f'mount -t tmpfs -o size=40m tmpfs "{device.state_dir}" && cp -a "{prepared}/." "{device.state_dir}/" && '
        f'{{ {filled}exec "$@"; }}'
    )
    device.start(*own_mounts, "sh", "-c", small, "sh")
    device.wait_for_log("first result")
    assert device.process is not None
    fill = Path(f"/proc/{device.process.pid}/root{device.state_dir}/fill")
    if late is not None:
        late.wait_for_state("online")
        # What it sent before its first answer is acknowledged before its second, and forgotten before its third.
        for _ in range(3):
            late.command("images_list")
        with pytest.raises(OSError, match="No space left"):
            fill_up(fill)
    assert os.statvfs(fill.parent).f_bavail == 0
    return fill


def test_a_disk_that_is_full_at_start_is_tolerated(
    broker: Mosquitto, watch: Watch, tmp_path: Path, own_mounts: list[str]
) -> None:
    device = Running(tmp_path / "device", broker.url)
    device.state_dir.mkdir()
    try:
        fill = on_a_full_disk(device, own_mounts)
        seen = watch(broker)
        seen.wait("result/main", 3)
        wait_until(lambda: seen.wait("info")[-1]["state"] == "degraded", what="a full disk told")
        (line,) = seen.decoded("info")[-1]["degraded"]
        assert line.startswith(f"storage: {device.state_dir} takes no more (")
        assert line.endswith("in memory until there is room: unsent messages, commands, the image index")
        _, job, id_ = seen.command("status")
        assert job is not None
        assert job["report"]["info"]["degraded"] == [line]
        fill.unlink()
        wait_until(lambda: "degraded" not in seen.decoded("info")[-1], what="all back on disk")
        assert seen.decoded("info")[-1]["state"] == "running"
        assert device.log.count("takes no more") == device.log.count("has room again") == 1
        copy = tmp_path / "copy"
        copy.mkdir()
        for file in fill.parent.glob("commands.sqlite*"):
            shutil.copy(file, copy)
        ledger = Ledger(copy / "commands.sqlite")
        known = ledger.answer(id_)
        ledger.close()
        assert known is not None
        assert json.loads(known.job or b"")["status"] == "succeeded"
        broker.stop()  # what cannot be sent lies on the disk again
        device.wait_for_log("next attempt")
        wait_until(lambda: (fill.parent / "outbox.sqlite-wal").stat().st_size > 10_000, what="messages on the disk")
        assert device.stop() == 0
    finally:
        device.kill()


@pytest.mark.parametrize("late", [False, True], ids=["full at the start", "fills up"])
def test_a_full_disk_is_freed_over_mqtt(
    broker: Mosquitto, watch: Watch, tmp_path: Path, own_mounts: list[str], late: bool
) -> None:
    device = Running(tmp_path / "device", broker.url)
    store = Store(device.state_dir)
    shipped = store.find("mobilenet_v2")
    versions = []
    for number in range(3):
        model = shipped.read_model() + bytes([number])
        manifest = shipped.manifest.model_copy(update={"sha256": hashlib.sha256(model).hexdigest()})
        versions.append(store.promote(store.write_version(model, shipped.labels, manifest), "mobilenet_v2").id)
    store.add(shipped.read_model(), shipped.labels, name="spare", width=224, height=224)
    make_album(device.state_dir / "images", 3)
    ImageStore(device.state_dir, images_max_mb=100).close()
    before = Outbox(device.state_dir / "outbox.sqlite", 10)
    before.append([("edged/dut/result/old", b"{}", False)])
    before.close()
    try:
        seen = watch(broker)
        folder = on_a_full_disk(device, own_mounts, late=seen if late else None).parent
        seen.wait_for_state("online")  # it has subscribed to its commands before, though maybe after its first result
        _, job, _ = seen.command("images_list")
        assert job is not None
        wait_until(lambda: "storage" in seen.decoded("info")[-1].get("degraded", [""])[0], what="a full disk told")
        assert sum(job["report"]["counts"].values()) == 9
        image = job["report"]["images"][0]
        _, job, _ = seen.command("images_remove", id=image["id"])
        assert job is not None
        assert job["status"] == "succeeded"
        assert len(list((folder / "images").glob("*/*"))) == 8
        # What runs, what came with edged, and what a rollback needs stays.
        for model, why in (
            (versions[2], "answers now and stays"),
            ("mobilenet_v2", "came with edged and stays|is what model.name says"),
            (versions[1], "is what a rollback goes back to"),
            ("feedfeedfeed", "no model or version feedfeedfeed"),
        ):
            _, job, _ = seen.command("models_remove", model=model)
            assert job is not None
            assert job["status"] == "failed"
            assert re.search(why, job["error"]), job["error"]
        _, job, _ = seen.command("models_remove", model=versions[0][:8])
        assert job is not None
        assert job["report"]["removed"] == versions[0]
        assert job["report"]["bytes"] > 3_000_000
        wait_until(lambda: "degraded" not in seen.decoded("info")[-1], what="all back on disk")
        assert seen.wait("result/old"), "an earlier process left it on the disk"
        _, job, _ = seen.command("models_remove", model="spare")
        assert job is not None
        assert job["report"]["kind"] == "installed"
        _, job, _ = seen.command("models_remove", model=versions[1], previous=True)
        assert job is not None
        assert job["report"]["removed"] == versions[1]
        assert sorted(path.name for path in (folder / "versions").iterdir() if path.name in versions) == [versions[2]]
        _, job, _ = seen.command("images_list")
        assert job is not None
        assert sum(job["report"]["counts"].values()) == 8
        assert device.stop() == 0
    finally:
        device.kill()


def test_localhost_is_this_machine_also_where_no_file_says_so(
    broker: Mosquitto, watch: Watch, tmp_path: Path, own_mounts: list[str]
) -> None:
    (tmp_path / "hosts").touch()
    (tmp_path / "nsswitch.conf").write_text("hosts: files\n")
    there = [
        name for name in ("hosts", "nsswitch.conf") if Path("/etc", name).exists()
    ]  # a bare system may have neither
    script = "".join(f'mount --bind "{tmp_path / name}" /etc/{name} && ' for name in there)
    bare = [*own_mounts, "sh", "-c", script + 'exec "$@"', "sh"]
    resolve = [sys.executable, "-c", "import socket; socket.getaddrinfo('localhost', 1)"]
    assert b"gaierror" in subprocess.run([*bare, *resolve], capture_output=True, check=False).stderr
    seen = watch(broker)
    url = broker.url.replace("127.0.0.1", "localhost")
    device = Running(tmp_path / "device", url)
    device.start(*bare)
    try:
        seen.wait_for_state("online")
        edgectl = [sys.executable, "-m", "edged.ctl", "--broker", url, "--timeout", str(PATIENCE_S), "status", "--json"]
        told = subprocess.run([*bare, *edgectl], capture_output=True, check=False, env=environment())
        assert (told.returncode, told.stderr) == (0, b"")
        assert json.loads(told.stdout)["state"] == "online"
        assert device.stop() == 0
    finally:
        device.kill()


def test_standard_streams_may_be_closed(broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path) -> None:
    device = Running(tmp_path / "device", broker.url)
    seen = watch(broker)
    device.process = subprocess.Popen(
        [
            "sh",
            "-c",
            'exec "$@" <&- >&- 2>&-',
            "sh",
            sys.executable,
            "-m",
            "edged",
            "run",
            "--config",
            str(device.config),
        ],
        env=environment(),
    )
    try:
        seen.wait("result/main", 3)
        device.signal(signal.SIGTERM)
        assert device.process.wait(PATIENCE_S) == 0
        seen.wait_for_state("online", "offline")
    finally:
        device.kill()
