"""SIGTERM ends the daemon in the time that its unit gives it, whatever it is at."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.albums import make_album
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.photos import photo
from tests.waiting import wait_until

Run = Callable[..., Running]
Watch = Callable[..., Watcher]
SHIPPED = Path(__file__).parents[2] / "models" / "mobilenet_v2"
UNIT = Path(__file__).parents[2] / "systemd" / "edged.service"


def promised_s() -> float:
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1])


def end(device: Running) -> None:
    """SIGTERM; it ends with exit code 0 before systemd would kill it."""
    assert device.process is not None
    device.signal(signal.SIGTERM)
    code = device.process.wait(promised_s())
    assert (code, "Traceback" in device.log) == (0, False), device.log


def training(seen: Watcher, device: Running) -> None:
    seen.send("retrain", epochs=2000, lr=0.1)
    wait_until(lambda: "training" in device.log and "runs" in device.log, what="the training")


def flood(seen: Watcher, device: Running) -> None:
    for number in range(300):
        data = photo(number)
        jpeg = base64.b64encode(data).decode()
        seen.publish("image", id_=f"i{number}", label="roses", sha256=hashlib.sha256(data).hexdigest(), jpeg=jpeg)
    wait_until(lambda: list((device.state_dir / "images/roses").glob("*.jpg")), what="the first image")


def installing(seen: Watcher, device: Running) -> None:
    model = (SHIPPED / "model.tflite").read_bytes()
    sha256 = hashlib.sha256(model).hexdigest()
    for offset in range(0, len(model), 2**20):
        part = base64.b64encode(model[offset : offset + 2**20]).decode()
        assert (
            seen.ack("models_chunk", sha256=sha256, size=len(model), offset=offset, data=part)["status"] == "accepted"
        )
    seen.send("models_add", sha256=sha256, name="m", labels=(SHIPPED / "labels.txt").read_text().splitlines())


def doubting(seen: Watcher, _: Running) -> None:
    id_ = seen.send("images_doubtful")
    seen.wait(f"ack/{id_}")


def profiling(seen: Watcher, _: Running) -> None:
    id_ = seen.send("profile", seconds=60.0)
    seen.wait(f"job/{id_}")


def many_new_photos(seen: Watcher, device: Running) -> None:
    """They are looked at on the thread of commands, which nobody interrupts."""
    folder = device.state_dir / "images" / "many"
    folder.mkdir(parents=True)
    content = photo(1, width=1600, height=1200)
    for number in range(3000):
        (folder / f"{number}.jpg").write_bytes(content + number.to_bytes(4, "big"))
        os.utime(folder / f"{number}.jpg", (0, 0))
    seen.wait(f"ack/{seen.send('images_list')}")


AT_WORK: dict[str, Callable[[Watcher, Running], None]] = {
    "a training": training,
    "a flood of images": flood,
    "an installation": installing,
    "a doubtful review": doubting,
    "a profile": profiling,
    "thousands of new photos": many_new_photos,
}


@pytest.mark.parametrize("what", AT_WORK)
def test_sigterm_ends_it_in_time_whatever_it_is_at(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path, what: str
) -> None:
    make_album(tmp_path / "device/state/images", 12)
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    AT_WORK[what](seen, device)
    end(device)


def test_sigterm_ends_it_in_time_at_each_stage_of_a_training(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    make_album(tmp_path / "device/state/images", 12)
    seen = watch(broker)
    device = run(broker.url)
    stages: set[str] = set()
    for _ in range(4):
        begun = len(seen.of("result/main"))
        seen.wait("result/main", begun + 1)
        id_ = seen.send("retrain", epochs=50, lr=0.1)

        def reached(id_: str = id_) -> bool:
            jobs = seen.decoded(f"job/{id_}")
            ended = jobs and jobs[-1]["status"] != "running"
            fresh = [job["stage"] for job in jobs if job.get("stage") and job["stage"] not in stages]
            stages.update(fresh[:1])
            return bool(fresh or ended)

        wait_until(reached, what="a stage that was not stopped at yet")
        end(device)
        device.start()
    assert len(stages) == 4, stages


def test_sigterm_ends_it_in_time_while_a_new_model_is_tried(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    """The training waits for frames that the new model answers, and there will be none."""
    make_album(tmp_path / "device/state/images", 12)
    seen = watch(broker)
    device = run(broker.url, cameras='[cameras.main]\nsource = "pattern"\nfps = 1')
    seen.wait("result/main")
    seen.send("retrain", epochs=20, lr=0.3)
    wait_until(lambda: "is current" in device.log, what="the promotion")
    end(device)


def test_sigterm_ends_it_in_time_with_a_stalled_broker_and_a_full_outbox(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    make_album(tmp_path / "device/state/images", 12)
    seen = watch(broker)
    device = run(broker.url, cameras='[cameras.main]\nsource = "pattern"\nfps = 0', telemetry="")
    seen.wait("result/main")
    training(seen, device)

    def on_disk() -> int:
        return sum(path.stat().st_size for path in device.state_dir.glob("outbox.sqlite*"))

    before = on_disk()
    broker.pause()
    try:
        wait_until(lambda: on_disk() > before + 500_000, what="messages on disk")
        end(device)
    finally:
        broker.go_on()


def test_sigterm_ends_it_in_time_with_a_camera_that_hangs(
    broker: Mosquitto, run: Run, watch: Watch, tmp_path: Path
) -> None:
    """A file that never delivers: opening it blocks inside the library."""
    os.mkfifo(tmp_path / "hangs.avi")
    seen = watch(broker)
    hangs = f'[cameras.hangs]\nsource = "file://{tmp_path}/hangs.avi"\n'
    device = run(broker.url, cameras=f'{hangs}[cameras.main]\nsource = "pattern"\nfps = 20')
    seen.wait("result/main")
    end(device)


def test_a_part_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    """What no signal reaches: a thread that is stuck, in a process that has done all else."""
    import subprocess
    import sys

    program = (
        "import threading, time\n"
        "from edged.daemon import leave_behind\n"
        "threading.Thread(target=time.sleep, args=(1000,), name='stuck').start()\n"
        "leave_behind(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0
    assert "still at work: stuck" in done.stderr
    program = program.replace(
        "leave_behind(0)", "from edged.daemon import deadline as d\nd.LEAVE_S = 0.1\nd.StopDeadline().begin(lambda: 7)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, "still at work: " in done.stderr) == (7, True)


def test_the_parts_of_a_stop_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    from edged.daemon import deadline
    from edged.daemon.deadline import LEAVE_S, LINK_S, STOP_S, StopDeadline

    monkeypatch.setattr(deadline, "LEAVE_S", 1e6)  # else it would end this process, which is that of the tests
    from edged.mqtt.link import CLOSING_S

    assert CLOSING_S < LINK_S < STOP_S < LEAVE_S < promised_s()
    running = StopDeadline()
    assert running.left(3) == 3
    running.begin(lambda: 0)
    first = running.left_for_link()
    time.sleep(0.01)
    running.begin(lambda: 0)
    assert running.left_for_link() < first <= STOP_S, "a second call changes nothing"
    assert running.left(100) <= STOP_S - LINK_S
