"""What a daemon writes is for its user alone, whatever the umask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.test_instance import open_to_others


def test_all_that_a_daemon_makes_is_private(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    """The state folder was made by somebody before, and is open; the daemon has the usual umask."""
    (tmp_path / "device/state/images").mkdir(parents=True)
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    _, job, _ = seen.command("images_label", last=True, label="roses")
    assert job is not None
    assert job["status"] == "succeeded"
    _, job, _ = seen.command("models_use", model="mobilenet_v2")
    assert open_to_others(device.state_dir) == {}
    assert device.stop() == 0
    assert open_to_others(device.state_dir) == {}
    assert "other users may no longer look into it" in device.log
