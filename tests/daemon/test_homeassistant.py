"""A real daemon and a real Home Assistant find each other.

All entities are there within 5 s, and the right label is within 2 s after a restart, on a machine that has a core for
it; the test prints what it took (`pytest -s`).
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edged import settings
from edged.contract.messages import Alert, Latency, Telemetry
from edged.daemon.homeassistant import Readable, describe, list_components
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.homeassistant import HomeAssistant
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

DOOR = '[cameras.door]\nsource = "pattern"\nfps = 5\n'


YARD = DOOR.replace("door", "yard")


def scaled(seconds: float) -> float:
    """So many seconds; where more processes wait for a core than there are cores, as many times longer, and twice."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def of_a_jetson(homeassistant: HomeAssistant, described: Watcher, port: int) -> None:
    """Describe a device with sensors that this machine may not have, and let it tell all of them, then none."""
    jetson = settings.load(None, {"device": {"id": "tx2"}, "homeassistant": {"discovery": True}})
    readable = Readable(frozenset({"VDD_IN"}), frozenset({"CPU"}), throttled=True)
    description = describe(jetson, list_components(jetson, (), readable), {}, version="0.1.0")
    described.say("device/tx2/config", json.dumps(description))
    device = Watcher(port, "tx2")

    def shows(message: Telemetry, alert: bytes, **states: str) -> None:
        def shown() -> bool:
            for topic, payload in (("state", "online"), ("telemetry", message.encode()), ("alert/drift", alert)):
                device.say(topic, payload)  # not retained: it may not have subscribed yet
            found = homeassistant.states()
            return all(found.get(name.replace("__", "."), {}).get("state") == value for name, value in states.items())

        wait_until(shown, what=f"{states}")

    none = Telemetry(fps=0.0, frames=0, dropped=0, outbox=0)
    latency = Latency(p50=9.0, p95=11.0, p99=12.0, max=15.0)
    more = {"power_mw": {"VDD_IN": 4200}, "temp_c": {"CPU": 41.5}, "throttled": True, "alerts": ["drift"]}
    told = Telemetry(fps=28.5, frames=142, dropped=1, outbox=3, latency_ms=latency, **more)
    alert = Alert(name="drift", since=told.ts, reason="it was moved").encode()
    shows(told, alert, sensor__tx2_power_vdd_in="4.2", sensor__tx2_temperature_cpu="41.5", sensor__tx2_latency="9.0",
          sensor__tx2_unsent_messages="3",
          binary_sensor__tx2_throttled="on", binary_sensor__tx2_drift="on")  # fmt: skip
    assert homeassistant.states()["binary_sensor.tx2_drift"]["attributes"]["reason"] == "it was moved"
    shows(none, b"", sensor__tx2_power_vdd_in="unknown", sensor__tx2_temperature_cpu="unknown",
          sensor__tx2_latency="unknown", sensor__tx2_unsent_messages="0", binary_sensor__tx2_throttled="unknown",
          binary_sensor__tx2_drift="off")  # fmt: skip
    described.say("device/tx2/config", "")
    wait_until(lambda: not any("tx2" in id_ for id_ in homeassistant.states()), what="the end of it")
    device.close()


@pytest.fixture
def homeassistant(tmp_path: Path) -> Iterator[HomeAssistant]:
    one = HomeAssistant(tmp_path / "homeassistant")
    yield one
    one.kill()


def album(folder: Path, photo: str) -> str:
    folder.mkdir()
    (folder / photo).symlink_to(PHOTOS / photo)
    return f'[cameras.main]\nsource = "dir://{folder}"\nfps = 5\n'


def test_it_finds_everything_and_shows_it_again_after_a_restart(
    broker: Mosquitto,
    run: Callable[..., Running],
    watch: Callable[..., Watcher],
    homeassistant: HomeAssistant,
    tmp_path: Path,
) -> None:
    seen, described = watch(broker), Watcher(broker.port, base="homeassistant/")
    cat = album(tmp_path / "cat", "cat.jpg")
    one = run(broker.url, cameras=cat + DOOR + YARD, more="[homeassistant]\ndiscovery = true\npicture_s = 1\n")
    seen.wait("label/main")
    seen.wait("label/door")
    components = described.wait("device/dut/config")[-1]["components"]
    homeassistant.start()
    homeassistant.onboard()
    homeassistant.add_mqtt(broker.port)
    names = {f"dut {component['name']}" for component in components.values()}

    def found() -> bool:
        return {state["attributes"]["friendly_name"] for state in homeassistant.states().values()} == names

    began = time.monotonic()
    wait_until(found, what=f"{len(names)} entities", timeout_s=scaled(5))
    print(f"{len(names)} entities after {time.monotonic() - began:.1f} s")
    assert {"label_main", "label_door", "picture_main", "fps", "latency", "outbox", "drift", "model", "retrain",
            "rollback", "lr"} <= components.keys()  # fmt: skip
    wait_until(lambda: homeassistant.state("sensor.dut_main_label") == "Egyptian cat", what="a cat")
    wait_until(
        lambda: {state["state"] for id_, state in homeassistant.states().items() if not id_.startswith("button.")}
        .isdisjoint({"unknown", "unavailable"}),
        what="a value of each entity but the buttons, which have none",
    )  # fmt: skip
    assert homeassistant.picture("image.dut_main_picture").startswith(b"\xff\xd8")
    assert homeassistant.states()["sensor.dut_main_label"]["attributes"]["since"]

    homeassistant.act("number/set_value", "number.dut_learning_rate", value=0.05)
    wait_until(lambda: homeassistant.state("number.dut_learning_rate") == "0.05", what="the rate, as the device has it")
    wait_until(lambda: seen.decoded("info")[-1]["lr"] == 0.05, what="the same on `info`")
    for button in ("retrain", "roll_back"):
        seen.forget()
        homeassistant.act("button/press", f"button.dut_{button}")
        wait_until(lambda: seen.starting("ack/ha-"), what="an answer")
        assert json.loads(seen.starting("ack/ha-")[0])["status"] == "accepted"

    of_a_jetson(homeassistant, described, broker.port)

    homeassistant.stop()
    assert one.stop() == 0
    # The yard goes while Home Assistant is away.
    one.config.write_text(one.config.read_text().replace(cat, album(tmp_path / "cup", "coffee.jpg")).replace(YARD, ""))
    seen.forget()  # before it starts: a label is told once, when it changes
    one.start()
    wait_until(lambda: any(label["label"] == "espresso" for label in seen.decoded("label/main")), what="espresso")
    logins = broker.log.count("Sending CONNACK")
    homeassistant.start()
    wait_until(lambda: broker.log.count("Sending CONNACK") > logins, what="its connection")
    began = time.monotonic()
    wait_until(
        lambda: homeassistant.state("sensor.dut_main_label") == "espresso", what="what is seen", timeout_s=scaled(2)
    )
    print(f"the right label after {time.monotonic() - began:.1f} s")

    wait_until(lambda: not any("yard" in id_ for id_ in homeassistant.states()), what="the end of the yard's entities")
    one.config.write_text(one.config.read_text().replace(DOOR, ""))
    one.signal(signal.SIGHUP)
    wait_until(lambda: not any("door" in id_ for id_ in homeassistant.states()), what="the end of the door's entities")
    assert "sensor.dut_main_label" in homeassistant.states()
    assert one.stop() == 0
    wait_until(lambda: homeassistant.state("sensor.dut_main_label") == "unavailable", what="the device being away")
    one.config.write_text(one.config.read_text().replace("discovery = true", "discovery = false"))
    one.start()
    wait_until(lambda: not homeassistant.states(), what="the end of all entities")
    homeassistant.stop()
    assert homeassistant.complaints() == []
    assert one.stop() == 0
    described.close()
