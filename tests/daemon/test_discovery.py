"""What Home Assistant is told of a device: the description, and when it is published and taken back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edged import settings
from edged.daemon.homeassistant import Readable, describe, discovery_topic, list_components
from tests.daemon.running import Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

GOLDEN = Path(__file__).with_name("homeassistant.json")
CAMERA = '[cameras.{}]\nsource = "pattern"\nfps = 5\n'
ON = "[homeassistant]\ndiscovery = true\n"
TX2 = Readable(frozenset({"VDD_IN", "VDD CPU"}), frozenset({"CPU"}), throttled=True)


def configuration(**sections: Any) -> settings.Settings:
    return settings.load(None, {"device": {"id": "tx2-01"}, "homeassistant": {"discovery": True}, **sections})


def test_golden() -> None:
    of = configuration(cameras={"main": {}, "door": {}})
    described = describe(of, list_components(of, of.cameras, TX2), {"label_yard": "sensor"}, version="0.1.0")
    assert described == json.loads(GOLDEN.read_text()), f"{GOLDEN} is what Home Assistant is told"
    assert discovery_topic(of) == "homeassistant/device/tx2-01/config"


def test_no_two_are_the_same_and_all_are_what_home_assistant_takes() -> None:
    of = configuration(cameras={"a.b": {}, "a_b": {}}, device={"id": "tx2.01"})
    components = list_components(of, of.cameras, TX2)
    assert len({component["unique_id"] for component in components.values()}) == len(components)
    assert all(name.replace("-", "_").isidentifier() for name in components)
    other = configuration(device={"id": "tx2_01"})
    assert discovery_topic(of) != discovery_topic(other)
    assert discovery_topic(of).split("/")[2].replace("-", "_").isidentifier()
    assert not any("object_id" in component for component in components.values())


def test_who_cannot_sign_has_no_buttons_and_without_pictures_there_is_no_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_all = list_components(configuration(), ["main"], Readable()).keys()
    assert {"retrain", "rollback", "lr", "picture_main"} <= with_all
    key = "ed25519:" + "A" * 43 + "="
    signed = list_components(configuration(security={"trusted_keys": [key]}), ["main"], Readable()).keys()
    assert with_all - signed == {"retrain", "rollback", "lr"}
    plain = list_components(configuration(homeassistant={"discovery": True, "picture_s": 0}), ["main"], Readable())
    assert with_all - plain.keys() == {"picture_main"}


def test_it_is_published_again_follows_the_cameras_and_is_taken_back(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen, told = watch(broker), Watcher(broker.port, base="homeassistant/")
    door = CAMERA.format("door")
    one = run(broker.url, cameras=CAMERA.format("main") + door, more=ON)
    first = told.wait("device/dut/config")[0]
    assert first["components"]["picture_door"]["platform"] == "image"
    wait_until(lambda: seen.of("picture/door") and seen.of("picture/main"), what="pictures")
    assert seen.of("picture/main")[0].startswith(b"\xff\xd8")

    told.say("status", "offline")
    told.say("status", "online")
    assert told.wait("device/dut/config", 2)[1] == first
    assert "device/dut/config" in Watcher.once(broker.port, base="homeassistant/")

    both = one.config.read_text()
    one.config.write_text(both.replace(door, ""))
    one.signal(signal.SIGHUP)
    third = told.wait("device/dut/config", 3)[2]["components"]
    assert {name: third[name] for name in ("label_door", "picture_door")} == {
        "label_door": {"platform": "sensor"},
        "picture_door": {"platform": "image"},
    }
    assert third["label_main"] == first["components"]["label_main"]
    wait_until(lambda: seen.of("picture/door")[-1] == b"", what="the end of its picture")
    assert one.stop() == 0

    one.start()  # what is gone stays gone, for a Home Assistant that was away
    assert told.wait("device/dut/config", 4)[3]["components"] == third
    assert one.stop() == 0
    one.config.write_text(both.replace(door, "").replace("discovery = true", 'discovery = true\nprefix = "ha"'))
    moved = Watcher(broker.port, base="ha/")
    one.start()
    assert moved.wait("device/dut/config")[0]["components"].keys() == third.keys() - {
        name for name in third if name.endswith("_door")
    }
    wait_until(lambda: told.of("device/dut/config")[-1] == b"", what="the end of it at the old place")
    assert one.stop() == 0
    one.config.write_text(both.replace(ON, ""))
    one.start()
    wait_until(lambda: moved.of("device/dut/config")[-1] == b"", what="the end of it")
    wait_until(lambda: seen.of("picture/main")[-1] == b"", what="the end of the picture")
    assert Watcher.once(broker.port, base="ha/") == {}
    assert one.stop() == 0
    moved.close()
    told.close()


def test_the_learning_rate_is_the_devices_own(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    seen = watch(broker)
    one = run(broker.url)
    assert seen.wait("info")[0]["lr"] == 0.1
    assert seen.command("set", lr=0.03)[1]["report"] == {"lr": 0.03}  # type: ignore[index]  # it has a job
    wait_until(lambda: seen.decoded("info")[-1]["lr"] == 0.03, what="the new rate")
    ack, _, _ = seen.command("set", lr=0)
    assert (ack["status"], "args.lr = 0" in ack["error"]) == ("rejected", True)
    assert one.stop() == 0
