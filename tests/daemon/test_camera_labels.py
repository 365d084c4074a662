"""`label/<camera>`: retained, on change only, and gone with its camera."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from edged.daemon.left_behind import LeftBehind
from tests.daemon.running import PHOTOS, Running, Watcher
from tests.mosquitto import Mosquitto
from tests.waiting import wait_until

DOOR = '[cameras.door]\nsource = "pattern"\nfps = 10\n'
MAIN = '[cameras.main]\nsource = "pattern"\nfps = 10\n'


def test_it_is_published_when_it_changes_and_who_comes_later_is_told(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    album = tmp_path / "album"
    album.mkdir()
    for name, photo in (("1", "cat"), ("2", "cat"), ("3", "coffee")):
        shutil.copy(PHOTOS / f"{photo}.jpg", album / f"{name}.jpg")
    seen = watch(broker)
    run(broker.url, cameras=f'[cameras.main]\nsource = "dir://{album}"\nloop = false\nfps = 0')
    cat, again, coffee = seen.wait("result/main", 3)
    assert (cat["label"], again["label"], coffee["label"]) == ("Egyptian cat", "Egyptian cat", "espresso")
    wait_until(lambda: seen.of("label/main") and seen.decoded("label/main")[-1]["label"] == "espresso", what="espresso")
    assert {label["since"] for label in seen.decoded("label/main")} <= {cat["ts"], coffee["ts"]}

    late = watch(broker)
    assert late.wait("label/main") == [
        {"v": 1, "ts": coffee["ts"], "since": coffee["ts"], **{k: coffee[k] for k in ("label", "score", "familiarity")}}
    ]
    assert late.of("result/main") == []


def test_it_goes_with_its_camera(
    mosquitto: Callable[..., Mosquitto], run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    broker = mosquitto(persistence=True)
    seen = watch(broker)
    one = run(broker.url, cameras=MAIN + DOOR)
    seen.wait("label/main")
    seen.wait("label/door")

    both = one.config.read_text()
    one.config.write_text(both.replace(DOOR, ""))
    one.signal(signal.SIGHUP)
    wait_until(lambda: seen.of("label/door")[-1] == b"", what="the end of the label, at the reload")
    one.config.write_text(both)
    one.signal(signal.SIGHUP)
    wait_until(lambda: seen.of("label/door")[-1] != b"", what="the label, again")
    assert one.stop() == 0

    broker.stop()  # what is to be taken back while there is no broker is not forgotten over the next start
    one.config.write_text(both.replace(DOOR, ""))
    one.start()
    one.wait_for_log("first result", count=2)
    assert one.stop() == 0
    broker.start()
    assert "label/door" in watch(broker).retained_after("state")
    one.start()
    wait_until(lambda: LeftBehind(one.state_dir).topics().keys() == {"label/main"}, what="the acknowledgement")
    assert watch(broker).retained_after("state").keys() & {"label/door", "label/main"} == {"label/main"}
    assert one.stop() == 0


def test_what_is_remembered_outlives_the_process_and_a_damaged_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = LeftBehind(tmp_path)
    first.remember({"label/a": None, "label/b": {"any": "note"}})
    first.forget("label/a")
    assert LeftBehind(tmp_path).topics() == first.topics() == {"label/b": {"any": "note"}}
    file = tmp_path / "retained.json"
    for damaged in (b"", b"[]", b'{"topics": 1}', b'{"topics": {"\xff": 1}}'):
        caplog.clear()
        file.write_bytes(damaged)
        assert LeftBehind(tmp_path).topics() == {}
        assert "retained.json: not read" in caplog.text
    file.unlink()
    caplog.clear()
    assert LeftBehind(tmp_path).topics() == {}
    tmp_path.rename(tmp_path.with_name("away"))
    first.remember({"label/c": None})  # as on a disk that takes nothing
    assert first.topics().keys() == {"label/b", "label/c"}
    assert "retained.json: not written: No such file or directory" in caplog.text


@pytest.mark.parametrize("topic", ["label/a#b", "label/a+b", "label/\0", "label/\ud800", "label/" + "x" * 70_000])
def test_a_topic_that_the_disk_has_changed_keeps_nothing_from_being_published(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path, topic: str
) -> None:
    """What no message can stand on is forgotten."""
    seen, state = watch(broker), tmp_path / "state"
    state.mkdir()
    (state / "retained.json").write_text(json.dumps({"topics": {topic: None, "label/gone": None}}))
    device = run(broker.url, state_dir=state)
    seen.wait("result/main", 3)
    wait_until(lambda: b"gone" not in (state / "retained.json").read_bytes(), what="the other one is withdrawn")
    assert list(json.loads((state / "retained.json").read_bytes())["topics"]) == ["label/main"]
    assert device.stop() == 0
