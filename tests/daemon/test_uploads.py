"""Files in parts: what is here is known, on disk; what is not is named; and what does not fit is refused at once."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract import patch
from edged.daemon import uploads
from edged.daemon.uploads import Uploads, gaps, merge
from edged.errors import CommandError
from edged.store import Store
from tests.contract.test_patch import with_head
from tests.daemon.running import Running, Watcher
from tests.full_disk import fill_up
from tests.mosquitto import Mosquitto
from tests.networks import made

SHIPPED = Path(__file__).parents[2] / "models" / "mobilenet_v2"
SHA = "a" * 64


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=30))
def test_received_and_missing_bytes_are_all_bytes(parts: list[tuple[int, int]]) -> None:
    size = 80
    intervals = merge([(offset, offset + length) for offset, length in parts])
    here = {byte for offset, length in parts for byte in range(offset, offset + length)}
    assert {byte for begin, end in intervals for byte in range(begin, end)} == here
    assert {byte for begin, end in gaps(intervals, size) for byte in range(begin, end)} == set(range(size)) - here
    assert all(one[1] < other[0] for one, other in itertools.pairwise(intervals))


class TestParts:
    def test_any_order_twice_and_over_a_restart(self, tmp_path: Path) -> None:
        data = os.urandom(1000)
        sha256 = digest(data)
        for begin in (600, 0, 300, 600, 100):
            Uploads(tmp_path / "up").receive(sha256, 1000, begin, data[begin : begin + 300])
        with pytest.raises(CommandError, match=r"parts are missing: 100 of 1000 bytes, 900 to 999; send them"):
            Uploads(tmp_path / "up").take(sha256, "model")
        Uploads(tmp_path / "up").receive(sha256, 1000, 900, data[900:])
        here = Uploads(tmp_path / "up")
        assert here.take(sha256, "model") == data
        here.forget(sha256)
        assert not list((tmp_path / "up").iterdir())

    def test_holes_are_named_and_nothing_of_them_is_read(self, tmp_path: Path) -> None:
        here = Uploads(tmp_path)
        here.receive(SHA, 100, 10, bytes(10))
        here.receive(SHA, 100, 50, bytes(10))
        with pytest.raises(CommandError, match=r"80 of 100 bytes, 0 to 9 and 2 more gaps"):
            here.take(SHA, "model")

    def test_the_room_is_taken_for_real(self, tmp_path: Path) -> None:
        Uploads(tmp_path).receive(SHA, 5_000_000, 4_999_997, b"end")
        status = (tmp_path / f"{SHA}.part").stat()
        assert (status.st_size, status.st_blocks * 512 >= 5_000_000) == (5_000_000, True)

    def test_a_file_that_is_not_what_its_name_says_is_deleted(self, tmp_path: Path) -> None:
        here = Uploads(tmp_path)
        here.receive(SHA, 4, 0, b"evil")
        with pytest.raises(CommandError, match=r"has sha256 .*; it is deleted, send it again"):
            here.take(SHA, "model")
        with pytest.raises(CommandError, match="nothing of model"):
            here.take(SHA, "model")
        assert not list(tmp_path.iterdir())

    def test_two_files_stay_and_a_third_takes_the_place_of_the_oldest(self, tmp_path: Path) -> None:
        here = Uploads(tmp_path)
        for number, name in enumerate("abc"):
            here.receive(name * 64, 4, 0, b"some")
            os.utime(tmp_path / f"{name * 64}.part", (number, number))
        assert {path.stem[0] for path in tmp_path.iterdir()} == {"b", "c"}

    def test_damaged_notes_count_as_nothing(self, tmp_path: Path) -> None:
        here = Uploads(tmp_path)
        for damage in (b"", b"{", b"[]", b'{"size": 4}', b'{"size": 4, "received": [[1]]}'):
            here.receive(SHA, 4, 0, b"some")
            (tmp_path / f"{SHA}.json").write_bytes(damage)
            with pytest.raises(CommandError, match="nothing of model"):
                here.take(SHA, "model")
            here.receive(SHA, 4, 0, b"s")
            with pytest.raises(CommandError, match="1 to 3"):
                here.take(SHA, "model")
            here.forget(SHA)

    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        (outside / "album").mkdir(parents=True)
        (outside / "album" / "photo.jpg").write_text("precious")
        precious = outside / "thesis.txt"
        precious.write_text("precious")
        (tmp_path / "up").symlink_to(outside)
        here = Uploads(tmp_path / "up")
        for door in (lambda: here.receive(SHA, 4, 0, b"some"), lambda: here.take(SHA, "model")):
            with pytest.raises(CommandError, match="up: is a link, which is not followed; a real folder is needed"):
                door()
        here.forget("thesis")
        assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*")) == [
            "album",
            "album/photo.jpg",
            "thesis.txt",
        ]
        (tmp_path / "up").unlink()

        data = b"twelve bytes"
        sha256 = digest(data)
        part, told = tmp_path / "up" / f"{sha256}.part", tmp_path / "up" / f"{sha256}.json"
        for place in (part, told, told.with_suffix(".new")):
            here.receive(sha256, 12, 0, data[:6])
            place.unlink(missing_ok=True)
            place.symlink_to(precious)
            here.receive(sha256, 12, 6, data[6:])
            here.receive(sha256, 12, 0, data[:6])
            assert precious.read_text() == "precious"
            assert here.take(sha256, "model") == data
        precious.write_bytes(data)
        part.unlink()
        part.symlink_to(precious)
        with pytest.raises(CommandError, match="nothing of model"):
            here.take(sha256, "model")
        here.forget(sha256)
        assert precious.read_bytes() == data

    def test_crumbs_do_not_pile_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads, "MOST_GAPS", 5)
        here = Uploads(tmp_path)
        for offset in range(0, 10, 2):
            here.receive(SHA, 100, offset, b"x")
        with pytest.raises(CommandError, match="6 pieces; send the parts in their order"):
            here.receive(SHA, 100, 50, b"x")

    def test_memory_and_disk_set_the_limit_and_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = Uploads(tmp_path)
        monkeypatch.setattr(uploads, "available_bytes", lambda: 40_000_000)
        with pytest.raises(CommandError, match=r"10\.1 MB .*: at most 10\.0 MB, a quarter of the memory"):
            here.receive(SHA, 10_100_000, 0, b"x")
        here.receive(SHA, 9_900_000, 0, b"x")
        assert len(list(tmp_path.iterdir())) == 2
        for offset in range(0, 9_900_000, 900_000):
            here.receive(SHA, 9_900_000, offset, bytes(900_000))
        monkeypatch.setattr(uploads, "available_bytes", lambda: 1_000_000)
        with pytest.raises(CommandError, match=r"9\.9 MB .*: at most 0\.2 MB"):
            here.take(SHA, "model")

    def test_a_disk_without_room_says_so_and_nothing_is_left(self, small_disk: Callable[[str], Path]) -> None:
        disk = small_disk("1m")
        here = Uploads(disk / "up")
        with pytest.raises(CommandError, match="half of the free disk"):
            here.receive(SHA, 900_000, 0, b"x")
        fill_up(disk / "fill")
        with pytest.raises(CommandError, match="half of the free disk"):
            here.receive(SHA, 100_000, 0, b"x")
        assert not list((disk / "up").iterdir())


def chunk(sha256: str, data: bytes, offset: int, size: int) -> dict[str, Any]:
    return {"sha256": sha256, "size": size, "offset": offset, "data": base64.b64encode(data).decode()}


def peak(device: Running) -> int:
    assert device.process is not None
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{device.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_three_bytes_at_the_end_of_a_large_file_cost_no_memory(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    size = 256 * 2**20
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    before = peak(device)
    ack = seen.ack("models_chunk", **chunk(SHA, b"end", size - 3, size))
    if ack["status"] == "rejected":  # a small machine
        assert "are too large for this device now: at most " in ack["error"]
        size = 32 * 2**20
        ack = seen.ack("models_chunk", **chunk(SHA, b"end", size - 3, size))
    assert ack["status"] == "accepted", ack
    ack, job, _ = seen.command("models_add", sha256=SHA, name="m", labels=["a", "b"])
    assert job is not None
    assert (job["status"], job["error"]) == (
        "failed",
        f"model {SHA[:12]}: parts are missing: {size - 3} of {size} bytes, 0 to {size - 4}; send them (models_chunk)",
    )
    assert peak(device) - before < size / 4, "nothing of the file was read"
    assert device.stop() == 0


def test_a_push_goes_on_where_a_killed_daemon_was_and_knows_what_is_unknown(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    model, familiarity = ((SHIPPED / name).read_bytes() for name in ("model.tflite", "familiarity.npz"))
    labels = (SHIPPED / "labels.txt").read_text().splitlines()
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    parts = [(data, offset) for data in (familiarity, model) for offset in range(0, len(data), 2**20)]
    for number, (data, offset) in enumerate(parts):
        if number == len(parts) // 2:
            device.kill()
            seen.wait_for_state("offline")  # its Last Will: what is sent before would be lost
            device.start()
        args = chunk(digest(data), data[offset : offset + 2**20], offset, len(data))
        assert seen.ack("models_chunk", **args)["status"] == "accepted"
    wanted = {"sha256": digest(model), "labels": labels, "familiarity": digest(familiarity)}
    _, job, _ = seen.command("models_add", name="pushed", **wanted)
    assert job is not None
    assert job["status"] == "succeeded", job
    assert Store(device.state_dir).find("pushed").read_familiarity() == familiarity
    assert not list((device.state_dir / "uploads").iterdir())
    _, job, _ = seen.command("models_use", model="pushed")
    assert job is not None
    assert job["status"] == "succeeded", job
    count = len(seen.of("result/main"))
    assert all("familiarity" in result for result in seen.wait("result/main", count + 20)[-5:])
    assert device.stop() == 0


def test_a_familiarity_that_does_not_fit_is_refused(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher], tmp_path: Path
) -> None:
    file, labels = made("made_v1_128").write(tmp_path, "small")
    model = file.read_bytes()
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")
    for familiarity, reason in (
        (b"PK\x03\x04 no archive", "familiarity.npz: damaged"),
        ((SHIPPED / "familiarity.npz").read_bytes(), "familiarity.npz: its bottlenecks have 1280 features"),
    ):
        for data in (familiarity, model):
            for offset in range(0, len(data), 2**20):
                args = chunk(digest(data), data[offset : offset + 2**20], offset, len(data))
                assert seen.ack("models_chunk", **args)["status"] == "accepted"
        _, job, _ = seen.command(
            "models_add",
            sha256=digest(model),
            name="small",
            labels=labels.read_text().splitlines(),
            familiarity=digest(familiarity),
        )
        assert job is not None
        assert (job["status"], reason in job["error"], "\n" in job["error"]) == ("failed", True, False), job
    assert "small" not in json.dumps(seen.command("models_list")[1])
    assert device.stop() == 0


def test_a_patch_makes_a_model_of_one_that_is_here_or_is_refused(
    broker: Mosquitto, run: Callable[..., Running], watch: Callable[..., Watcher]
) -> None:
    shipped = (SHIPPED / "model.tflite").read_bytes()
    model, strange = with_head(shipped, 1), with_head(made("made_v1_128").model, 1)
    right = patch.make(shipped, model)
    seen = watch(broker)
    device = run(broker.url)
    seen.wait("result/main")

    def add(data: bytes, name: str = "patched", sha256: str = digest(model)) -> dict[str, Any]:
        assert seen.ack("models_chunk", **chunk(digest(data), data, 0, len(data)))["status"] == "accepted"
        labels = [f"class {number}" for number in range(5)]
        _, job, _ = seen.command("models_add", sha256=sha256, name=name, labels=labels, patch=digest(data))
        assert job is not None
        return job

    for data, reason in (
        (b"EDGEDP1 or not", "this is no patch"),
        (right[:-10], "it is cut off, or too long"),
        (right[:8] + hashlib.sha256(b"other").digest() + right[40:], "which is not here; send the whole model"),
        (patch.make(shipped, strange), f"it makes model {digest(strange)[:12]}, not {digest(model)[:12]}"),
        (right[:72] + (2**31).to_bytes(4, "little") + right[76:], "for this device now: at most|is not what it says"),
    ):
        job = add(data)
        assert job["status"] == "failed", job
        assert re.search(reason, job["error"]), job
        assert "\n" not in job["error"]
    assert add(right)["status"] == "succeeded"
    assert Store(device.state_dir).find("patched").read_model() == model
    assert len(right) < len(model) / 100
    next_one = with_head(shipped, 2)
    assert add(patch.make(model, next_one), "next", digest(next_one))["status"] == "succeeded", (
        "a patch of a patched one"
    )
    assert device.stop() == 0
