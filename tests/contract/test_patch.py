"""A model as its difference from another: exact, small, and nothing that is sent as one does harm."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract import patch
from edged.contract.patch import Header, PatchError
from edged.vision.graph import read_graph
from tests.networks import made

_HEADER = struct.Struct("<8s32s32sIII")


def with_head(model: bytes, seed: int, classes: int = 5) -> bytes:
    """A network like `model` with a head of random weights, as a training would make it."""
    graph = read_graph(model)
    generator = np.random.default_rng(seed)
    weights = generator.normal(0, 0.05, (classes, graph.head.features)).astype(np.float32)
    return graph.replace_head(weights, generator.normal(0, 1, classes).astype(np.float32), (-10, 10))


def forged(base: bytes, result: bytes, copies: list[tuple[int, int, int]], rest: bytes, size: int) -> bytes:
    """A patch that says what it likes, with the right hashes."""
    told = b"".join(struct.pack("<iii", *copy) for copy in copies)
    hashes = (hashlib.sha256(one).digest() for one in (base, result))
    return _HEADER.pack(b"EDGEDP1\n", *hashes, size, len(told), len(rest)) + zlib.compress(told + rest)


@pytest.mark.parametrize("name", ["made_v1_128", "made_inception"])
def test_a_retrained_network_is_little_more_than_its_head(name: str) -> None:
    base = made(name).model
    one, other = with_head(base, 1), with_head(base, 2)
    head_bytes = 5 * read_graph(base).head.features
    between_heads, from_backbone = patch.make(one, other), patch.make(base, other)
    assert patch.apply(one, between_heads) == patch.apply(base, from_backbone) == other
    assert len(between_heads) < head_bytes + 500
    assert len(from_backbone) < min(head_bytes + 6000, len(other) // 2)
    header = patch.read_header(from_backbone)
    assert header == Header(hashlib.sha256(base).hexdigest(), hashlib.sha256(other).hexdigest(), len(other))


@given(st.data())
def test_whatever_two_files_are_the_patch_makes_the_one_of_the_other(data: st.DataObject) -> None:
    base = data.draw(st.binary(max_size=400))
    piece = st.one_of(
        st.binary(max_size=60),
        st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda cut: base[min(cut) : max(cut)]),
    )
    result = b"".join(data.draw(st.lists(piece, max_size=8)))
    assert patch.apply(base, patch.make(base, result)) == result


def test_a_base_with_more_places_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "_PLACES", 100)
    base = np.random.default_rng(1).bytes(20_000)
    result = base[8000:] + b"new\n" + base[:8000]  # what a flatbuffer holds stays aligned
    changes = patch.make(base, result)
    assert len(changes) < 300
    assert patch.apply(base, changes) == result


def test_another_base_is_refused() -> None:
    base = made("made_v1_128").model
    with pytest.raises(PatchError, match="it is for another base"):
        patch.apply(base + b"\0", patch.make(base, with_head(base, 1)))


def test_no_damage_makes_another_file() -> None:
    base = bytes(range(256)) * 8
    result = base[100:] + b"end" + base[:500]
    good = patch.make(base, result)
    harmless = 0
    for at in range(len(good)):
        for value in {0, 255, good[at] ^ 1} - {good[at]}:
            try:
                assert patch.apply(base, good[:at] + bytes([value]) + good[at + 1 :]) == result
            except PatchError:
                continue
            harmless += 1
        with pytest.raises(PatchError):
            patch.apply(base, good[:at])
    assert harmless < len(good) / 10, "as the level of compression that a zlib stream names, which means nothing"


@pytest.mark.parametrize(
    ("copies", "rest", "size", "reason"),
    [
        ([(0, 0, 11)], b"", 11, "outside of the base"),
        ([(0, -1, 2)], b"", 2, "outside of the base"),
        ([(-1, 0, 2)], b"", 2, "outside of the base"),
        ([(0, 5, -2)], b"", 2, "outside of the base"),
        ([(2, 0, 1)], b"x", 3, "outside of the base"),
        ([(0, 0, 10), (0, -10, 10)], b"", 19, "more than it says"),
        ([(0, 0, 10)] + [(0, -10, 10)] * 300, b"", 20, "make no sense"),
        ([], b"x" * 20, 10, "make no sense"),
        ([(0, 0, 10)], b"", 12, "is not what it says"),
    ],
)
def test_what_makes_no_sense_is_refused(
    copies: list[tuple[int, int, int]], rest: bytes, size: int, reason: str
) -> None:
    base = b"0123456789"
    with pytest.raises(PatchError, match=reason):
        patch.apply(base, forged(base, b"whatever", copies, rest, size))


def test_a_bomb_costs_no_memory() -> None:
    """Gigabytes of zeros in a megabyte: what unpacks to more than the patch says is not unpacked."""
    base = b"0123456789"
    header = forged(base, b"", [], b"x" * 10, 100)[: _HEADER.size]
    packing = zlib.compressobj(9)
    bomb = header + b"".join(packing.compress(bytes(1 << 20)) for _ in range(256)) + packing.flush()
    tracemalloc.start()
    try:
        with pytest.raises(PatchError, match="cut off, or too long"):
            patch.apply(base, bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
