"""`edgectl profile` on a real daemon: the job, its report, a second one, cancel, and the daemon's end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from tests.daemon.process import Daemon
from tests.waiting import PATIENCE_S, wait_until

Start = Callable[..., "subprocess.Popen[str]"]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=2 * PATIENCE_S)
    return process.returncode, out, err


def test_a_device_profiles_beside_its_frames(daemon: Callable[..., Daemon], edgectl: Start) -> None:
    daemon()
    code, out, err = ended(edgectl("--json", "profile", "--only", "layers,online", "--online", "3", "--seconds", "30"))
    assert code == 0, err
    job = json.loads(out)
    assert (job["cmd"], job["status"], job["progress"]) == ("profile", "succeeded", 1.0)
    report = job["report"]
    assert len(report["layers"]) == 67
    assert report["layers_sum"]["exact"]
    assert report["online"]["3"]["images"] == 3
    code, out, err = ended(edgectl("profile", "--only", "layers", "--seconds", "1", "--top", "3"))
    assert code == 0, err
    assert "the 3 slowest of 67" in out
    assert "explained" in out


def test_what_cannot_be_profiled_is_refused(daemon: Callable[..., Daemon], edgectl: Start) -> None:
    daemon()
    code, _, err = ended(edgectl("profile", "nosuch"))
    assert code == 1
    assert "no model 'nosuch' is installed" in err
    code, _, err = ended(edgectl("profile", "--only", "layers,soup"))
    assert code == 2
    assert "'soup' is none of layers," in err


def test_one_at_a_time_and_cancel(daemon: Callable[..., Daemon], edgectl: Start) -> None:
    device = daemon()
    first = edgectl("--json", "profile", "--only", "online", "--online", "100000", "--seconds", "600")
    wait_until(lambda: "runs in process" in device.log, what="the profile's process")
    code, _, err = ended(edgectl("profile"))
    assert code == 1
    assert "a profile is running" in err
    job_id = next(
        line.split("profile ")[1].split(" ")[0] for line in device.log.splitlines() if "runs in process" in line
    )
    assert ended(edgectl("cancel", job_id[:8]))[0] == 0
    code, out, err = ended(first)
    assert code == 1
    assert json.loads(out)["status"] == "cancelled"
    told = f"profile {job_id}: cancelled: cancelled on request"
    wait_until(lambda: told in device.log, what="the end of the profile")


def test_the_daemon_ends_its_profile(daemon: Callable[..., Daemon], edgectl: Start) -> None:
    device = daemon()
    assert ended(edgectl("profile", "--no-wait", "--only", "online", "--online", "100000", "--seconds", "600"))[0] == 0
    wait_until(lambda: "runs in process" in device.log, what="the profile's process")
    assert device.stop() == 0
    assert "the daemon stopped" in device.log
