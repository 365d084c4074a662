"""Learning together, end to end: real daemons, a real broker, edgectl and the training that it starts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.albums import LABELS, make_album, picture, put
from tests.ctl.conftest import environment
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import PATIENCE_S, wait_until

CAMERA = '[cameras.main]\nsource = "pattern"\nfps = 1'


@pytest.mark.timeout(4 * PATIENCE_S)
def test_devices_learn_together_and_one_that_would_get_worse_keeps_its_own(
    run: Callable[..., Running], watch: Callable[..., Watcher], broker: Mosquitto, tmp_path: Path
) -> None:
    make_album(tmp_path / "line-1" / "state" / "images", 10)
    for place, label in enumerate(LABELS):  # somebody there calls things by other names
        for seed in range(50, 55):
            shown = LABELS[(place + 1) % len(LABELS)]
            put(tmp_path / "line-2" / "state" / "images" / label / f"{seed}.jpg", picture(shown, seed))
    devices = ("line-1", "line-2", "line-3")
    watchers = {device: watch(broker, device) for device in devices}
    for device in devices:
        run(broker.url, folder=device, device=device, cameras=CAMERA)
    for watcher in watchers.values():
        watcher.wait_for_state("online")
        watcher.wait("model")

    own = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def learn(*args: str) -> tuple[int, list[dict[str, Any]], str]:
        done = subprocess.run(
            [sys.executable, "-m", "edged.ctl", "--timeout", str(PATIENCE_S), "learn", "--json", *args],
            env=environment(broker.port, **own),
            capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S,
        )  # fmt: skip
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def model(device: str) -> str:
        return str(watchers[device].decoded("model")[-1]["id"])

    before = model("line-2")
    code, told, err = learn("--device", "line-1,line-2", "--batch", "16")
    assert code == 1, err  # not all answer with it
    shared = {one["device"]: one["shared"] for one in told if "shared" in one}
    assert {device: one["images"] for device, one in shared.items()} == {"line-1": 30, "line-2": 15}
    assert shared["line-1"]["bytes"] < shared["line-1"]["photo_bytes"] / 3
    (trained,) = [one for one in told if "report" in one]
    assert trained["images"] == {"line-1": 30, "line-2": 15}
    judged = [(one["device"], one["judgement"]) for one in told if "judgement" in one]
    assert [device for device, _ in judged] == ["line-1", "line-2"]  # the canary, then the rest
    verdicts = {device: (one["decision"]["verdict"], one["answers"], one["images"]) for device, one in judged}
    assert verdicts == {"line-1": ("promoted", True, 30), "line-2": ("refused", False, 15)}
    wait_until(lambda: model("line-1") == trained["model"], what="the new model on line-1")
    assert model("line-2") == before

    # What is asked wrongly is answered with a line.
    given = shared["line-1"]
    for args, why in (
        ({"sha256": "0" * 64, "offset": 0, "bytes": 10}, "000000000000 are not here; ask for them again"),
        ({"sha256": given["sha256"], "offset": given["bytes"], "bytes": 10}, "nothing lies at"),
    ):
        _, job, _ = watchers["line-1"].command("bottlenecks_part", **args)
        assert job is not None
        assert (job["status"] != "succeeded", why in job["error"]) == (True, True)
    ack, _, _ = watchers["line-1"].command("bottlenecks_get", clip=25)
    assert "give both or none" in ack["error"]
    _, job, _ = watchers["line-1"].command("models_judge", model="together", judges="0" * 64)
    assert job is not None
    assert "nothing of judges 000000000000 was sent" in job["error"]

    # A device that joins later.
    make_album(tmp_path / "line-3" / "state" / "images", 5, first=80)
    code, told, err = learn("--device", "line-3", "--again")
    assert code == 0, err
    (offered,) = told
    assert (offered["device"], offered["judgement"]["answers"], offered["judgement"]["images"]) == ("line-3", True, 15)
    wait_until(lambda: model("line-3") == trained["model"], what="the new model on line-3")
    sent = [payload for watcher in watchers.values() for payload in watcher.starting("")]
    assert any(payload.startswith(b"edged bottlenecks") for payload in sent)
    assert not any(b"\xff\xd8\xff" in payload for payload in sent)  # no photo left a device
    # What a device gets is the head and the heads that judge for it, not the network, which it has (4 MB).
    assert sum(map(len, watchers["line-3"].starting("cmd/models_chunk"))) < 1_000_000
