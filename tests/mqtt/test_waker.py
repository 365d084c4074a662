"""The wait for other threads and for a connection at the same time."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from edged.mqtt.waker import Waker
from tests.waiting import PATIENCE_S

SOON_S = 0.05


class Stream:
    """A socket as a connection shows it."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.buffered = self.has_to_write = False

    @property
    def number(self) -> int:
        return self._end.fileno()


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    made.open()
    yield made
    made.close()


@pytest.fixture
def ends() -> Iterator[tuple[Stream, socket.socket]]:
    here, there = socket.socketpair()
    with here, there:
        yield Stream(here), there


def waited_s(waker: Waker, timeout_s: float) -> float:
    begin = time.monotonic()
    waker.wait(timeout_s)
    return time.monotonic() - begin


def test_another_thread_ends_the_wait(waker: Waker) -> None:
    threading.Timer(SOON_S, waker.wake).start()
    assert waited_s(waker, PATIENCE_S) < PATIENCE_S
    assert waited_s(waker, SOON_S) >= SOON_S, "once"


def test_a_wake_before_the_wait_is_not_missed_unless_it_was_looked_at(waker: Waker) -> None:
    waker.wake()
    assert waited_s(waker, PATIENCE_S) < PATIENCE_S
    waker.wake()
    waker.clear()
    assert waited_s(waker, SOON_S) >= SOON_S


def test_every_one_of_many_threads_is_heard(waker: Waker) -> None:
    done: list[int] = []

    def work(number: int) -> None:
        done.append(number)
        waker.wake()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    seen = 0
    while seen < len(threads):
        assert waited_s(waker, PATIENCE_S) < PATIENCE_S, f"{len(done)} were done, {seen} seen"
        waker.clear()
        seen = len(done)
    for thread in threads:
        thread.join()


def test_a_stream_ends_it_too(waker: Waker, ends: tuple[Stream, socket.socket]) -> None:
    stream, other = ends
    assert waker.wait(SOON_S, stream) == 0
    stream.has_to_write = True
    assert waker.wait(PATIENCE_S, stream) == select.POLLOUT
    stream.has_to_write = False
    other.send(b"x")
    assert waker.wait(PATIENCE_S, stream) == select.POLLIN


def test_what_tls_has_read_ahead_counts_as_readable(waker: Waker, ends: tuple[Stream, socket.socket]) -> None:
    stream, _ = ends
    stream.buffered = True
    assert waker.wait(PATIENCE_S, stream) == select.POLLIN


def test_it_may_be_woken_before_it_is_opened_and_after_it_is_closed() -> None:
    waker = Waker()
    waker.wake()
    assert waited_s(waker, PATIENCE_S) < PATIENCE_S
    waker.open()
    waker.close()
    waker.wake()
    assert waited_s(waker, PATIENCE_S) < PATIENCE_S
