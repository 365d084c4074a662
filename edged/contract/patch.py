"""A file as the difference from another one that both sides have: a retrained network is its backbone and a new head.

A network retrained on a shared backbone has the backbone's weights, byte for byte, in other places of the file, and
between them small tables that are nearly the same. So a patch copies long runs of the base, and what lies between them
it gives as differences, byte for byte, from what follows the run before in the base; mostly zeros, they compress well.
What a patch makes is known by its sha256, whatever version of edged has made it.

A patch is ``EDGEDP1\\n``, the sha256 of base and result (32 bytes each), the lengths of the result, of the copies and
of the rest (uint32, little-endian), and a zlib stream of the copies, three int32 each (bytes of the rest before it,
where in the base it begins less where the last one ended, how long it is), and then of the rest.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

_MAGIC = b"EDGEDP1\n"
_HEADER = struct.Struct("<8s32s32sIII")
_COPY = struct.Struct("<iii")
_RUN_BYTES = 24
"""The shortest run that is looked for. Shorter ones are more copies to tell, longer ones more differences: of 12, 16,
24, 32 and 64 this made the smallest patch from the shipped network to one retrained on it."""
_ALIGNED = 4
"""What a flatbuffer holds begins at multiples of this, in the base and in the result."""
_PLACES = 500_000
"""So many places of the base can be found again, evenly spaced: that takes 70 MB of memory on the workstation."""
_BLOCK = 4096


class PatchError(ValueError):
    """This is no patch, it is damaged, or it is for another base."""


@dataclass(frozen=True)
class Header:
    """What a patch says of itself.

    Attributes:
        base: sha256 of what it is applied to, hexadecimal.
        result: sha256 of what it makes.
        bytes: Size of what it makes.
    """

    base: str
    result: str
    bytes: int


def make(base: bytes, result: bytes) -> bytes:
    """Return the patch that makes `result` out of `base`."""
    copies, rest, at, position = [], bytearray(), 0, 0
    for begin, source, length in _runs(base, result):
        between = result[position:begin]
        rest += _difference(between, base, at)
        copies.append(_COPY.pack(len(between), source - at, length))
        at, position = source + length, begin + length
    rest += _difference(result[position:], base, at)
    told = b"".join(copies)
    hashes = (hashlib.sha256(one).digest() for one in (base, result))
    header = _HEADER.pack(_MAGIC, *hashes, len(result), len(told), len(rest))
    return header + zlib.compress(told + rest, 9)


def read_header(patch: bytes) -> Header:
    """Return what a patch says of itself.

    Raises:
        PatchError: It is none.
    """
    return _read_header(patch)[0]


def apply(base: bytes, patch: bytes) -> bytes:
    """Return what a patch makes out of `base`; its sha256 is the one that the patch names.

    Nothing that a patch says makes this take more than twice the size of its result, in memory.

    Raises:
        PatchError: It is none, is damaged, or was made for another base.
    """
    header, copies, rest_bytes = _read_header(patch)
    if hashlib.sha256(base).hexdigest() != header.base:
        raise PatchError("it is for another base")
    if copies % _COPY.size or copies > _COPY.size * header.bytes or rest_bytes > header.bytes:
        raise PatchError("its lengths make no sense")
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(patch[_HEADER.size :], copies + rest_bytes + 1)
    except zlib.error as error:
        raise PatchError(f"it is damaged: {error}") from error
    if len(data) != copies + rest_bytes or not unpacking.eof:
        raise PatchError("it is cut off, or too long")
    result = _assembled(base, data[:copies], data[copies:], header.bytes)
    if len(result) != header.bytes or hashlib.sha256(result).hexdigest() != header.result:
        raise PatchError("what it makes is not what it says")
    return result


def _read_header(patch: bytes) -> tuple[Header, int, int]:
    if len(patch) < _HEADER.size or not patch.startswith(_MAGIC):
        raise PatchError("this is no patch")
    _, base, result, size, copies, rest = _HEADER.unpack_from(patch)
    return Header(base.hex(), result.hex(), size), copies, rest


def _assembled(base: bytes, copies: bytes, rest: bytes, size: int) -> bytes:
    result, at, taken = bytearray(), 0, 0
    for between, jump, length in _COPY.iter_unpack(copies):
        source = at + jump
        source_end = source + length
        if between < 0 or length < 0 or taken + between > len(rest) or not 0 <= source <= source_end <= len(base):
            raise PatchError("a copy lies outside of the base")
        if len(result) + between + length > size:
            raise PatchError("it makes more than it says")
        result += _sum(rest[taken : taken + between], base, at)
        result += base[source:source_end]
        at, taken = source_end, taken + between
    return bytes(result + _sum(rest[taken:], base, at))


def _runs(base: bytes, result: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (where in the result, where in the base, length) of equal runs, in the result's order, without overlap."""
    found: dict[bytes, int] = {}
    step = _ALIGNED * max(1, -(-len(base) // (_ALIGNED * _PLACES)))
    for at in range(0, len(base) - _RUN_BYTES + 1, step):
        found.setdefault(base[at : at + _RUN_BYTES], at)
    at, free = 0, 0
    while at + _RUN_BYTES <= len(result):
        source = found.get(result[at : at + _RUN_BYTES])
        if source is None:
            at += _ALIGNED
            continue
        back = 0
        while at - back > free and source - back > 0 and base[source - back - 1] == result[at - back - 1]:
            back += 1
        length = _RUN_BYTES + _equal(base, source + _RUN_BYTES, result, at + _RUN_BYTES)
        yield at - back, source - back, back + length
        free = at + length
        at = -(-free // _ALIGNED) * _ALIGNED


def _equal(one: bytes, one_at: int, other: bytes, other_at: int) -> int:
    """Return how many bytes from these places on are equal."""
    most, equal = min(len(one) - one_at, len(other) - other_at), 0
    while equal < most:
        block = min(_BLOCK, most - equal)
        if one[one_at + equal : one_at + equal + block] == other[other_at + equal : other_at + equal + block]:
            equal += block
            continue
        while one[one_at + equal] == other[other_at + equal]:
            equal += 1
        break
    return equal


def _difference(data: bytes, base: bytes, at: int) -> bytes:
    """Return `data` less the base's bytes from `at` on, modulo 256; beyond the base's end as it is."""
    return bytes((new - old) & 0xFF for new, old in zip(data, _padded(base, at, len(data)), strict=True))


def _sum(difference: bytes, base: bytes, at: int) -> bytes:
    return bytes((new + old) & 0xFF for new, old in zip(difference, _padded(base, at, len(difference)), strict=True))


def _padded(base: bytes, at: int, length: int) -> bytes:
    return base[at : at + length].ljust(length, b"\0")
