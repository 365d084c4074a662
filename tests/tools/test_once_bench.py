"""`tools/bench once`: what it teaches, and what it makes of its runs."""

from __future__ import annotations

import time
from pathlib import Path


def test_images_that_come_later_are_of_each_label_in_turn_and_not_taught_first(tmp_path: Path) -> None:
    from benchmarks.at_once import Album, put

    file = tmp_path / "photo.jpg"
    file.write_bytes(b"photo")
    album = Album("two", {"a": [b"a0", b"a1", b"a2"], "b": [b"b0", file]})
    first, later = album.split(3)
    assert later == [("a", b"a2"), ("b", b"photo"), ("a", b"a1")]
    assert first == {"a": [b"a0"], "b": [b"b0"]}
    assert album.count == 5, "the album itself is left as it is"
    put(album.images, tmp_path / "images")
    found = sorted(path.relative_to(tmp_path / "images") for path in (tmp_path / "images").glob("*/*"))
    assert [str(path) for path in found] == ["a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1-photo.jpg"]
    assert (tmp_path / "images" / "b" / "1-photo.jpg").read_bytes() == b"photo"
    assert (tmp_path / "images" / "a" / "0.png").stat().st_mtime < time.time() - 60, (
        "else a scan waits for it to settle"
    )


def test_the_asked_second_stands_beside_the_median_and_its_range() -> None:
    from benchmarks.at_once import table

    runs = [{"wall_s": wall, "load": load} for wall, load in ((0.9, 1.0), (1.4, 3.2), (0.8, 2.0))]
    album = {"name": "flowers", "images": 3670, "labels": 5, "wall_s": 0.9, "cpu_s": 1.1, "runs": runs}
    told = table({"cores": 2, "fps": 10, "asked_s": 1.0, "albums": [album]})
    assert "| flowers | 3,670 | 5 | 0.90 s (0.80 to 1.40) | 1.1 s | ≤ 1.0 s |" in told
    assert "2 cores, on which 1 to 3 processes" in told
    assert "The 1.0 s that were asked for are reached on every album." in told
    late = {**album, "name": "kinds", "wall_s": 1.03}
    told = table({"cores": 2, "fps": 10, "asked_s": 1.0, "albums": [album, late]})
    assert "| kinds | 3,670 | 5 | 1.03 s" in told
    assert "are reached on 1 of 2 albums." in told
