"""Messages without an acknowledgement: their order, what goes to disk and when, and what is sent again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edged import tracing
from edged.mqtt.delivery import Delivery
from edged.mqtt.outbox import Outbox
from tests.full_disk import fill_up
from tests.mqtt.clock import Clock, set_clock

# What is promised; written down here too, so that it is not changed by a slip.
STALL_S, SPILL_S, REOPEN_S, COMMIT_S, COMMIT_ROWS, QUIET_S = 0.375, 0.1, 2.0, 1.0, 100, 30.0
LARGE_BYTES, ATTEMPTS = 65_536, 3
HEADER = 96
"""What a packet may need beside its topic and payload."""


class Line:
    """A connection: notes what it is given, and answers when the test says so."""

    def __init__(self) -> None:
        self.up = True
        self.sent: list[tuple[str, bytes, bool]] = []

    def __call__(self, topic: str, payload: bytes, retain: bool) -> int | None:
        if not self.up:
            return None
        self.sent.append((topic, payload, retain))
        return len(self.sent)

    @property
    def numbers(self) -> list[int]:
        return [int(payload) for _, payload, _ in self.sent]


class WatchedOutbox(Outbox):
    """Counts how often it is written to and emptied."""

    def __init__(self, path: Path, max_mb: float) -> None:
        super().__init__(path, max_mb)
        self.written: list[int] = []
        self.commits = 0

    def append(self, messages):  # type: ignore[no-untyped-def]  # as in the class itself
        ids = super().append(messages)
        self.written.append(len(ids))
        return ids

    def commit(self) -> None:
        self.commits += bool(self._acknowledged)
        super().commit()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return set_clock(monkeypatch, "delivery", "outbox")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[WatchedOutbox]:
    made = WatchedOutbox(tmp_path / "outbox.sqlite", 64)
    yield made
    made.close()


@pytest.fixture
def delivery(clock: Clock, outbox: WatchedOutbox) -> Iterator[Delivery]:
    """What it says of its size is, after every test, what there is."""
    one = Delivery(outbox)
    yield one
    one._count()
    in_memory = [*(pending for pending in one._inflight.values() if pending.row is None), *one._waiting]
    size = sum(len(pending.topic) + len(pending.payload) for pending in in_memory)
    assert one.backlog_bytes == size + outbox._bytes + sum(stored.size for stored in outbox._memory)


@pytest.fixture
def line() -> Line:
    return Line()


def add(delivery: Delivery, first: int, last: int) -> None:
    for number in range(first, last):
        delivery.add("t", str(number).encode(), False)


def on_disk(outbox: Outbox) -> list[int]:
    with closing(sqlite3.connect(outbox.path)) as database:
        return [int(payload) for (payload,) in database.execute("SELECT payload FROM outbox ORDER BY id")]


def drain(delivery: Delivery, line: Line, window: int, *, answered: int = 0) -> None:
    """Acknowledge whatever is sent, in order, until there is nothing left; the first ones have been."""
    delivery.pump(line, window, None)
    while answered < len(line.sent):
        answered += 1
        assert delivery.inflight <= window
        assert delivery.acknowledged(answered, None)
        delivery.pump(line, window, None)


def test_messages_leave_as_they_came_and_no_more_than_the_window_at_once(delivery: Delivery) -> None:
    line = Line()
    delivery.add("a", b"0", True)
    delivery.add("b", b"1", False)
    add(delivery, 2, 5)
    delivery.pump(line, 3, None)
    assert line.sent == [("a", b"0", True), ("b", b"1", False), ("t", b"2", False)]
    assert (delivery.inflight, delivery.backlog) == (3, 5)
    assert delivery.acknowledged(2, None)
    assert (delivery.inflight, delivery.backlog) == (2, 4)
    delivery.pump(line, 3, None)
    assert line.numbers == [0, 1, 2, 3]


def test_an_acknowledgement_of_something_else_changes_nothing(delivery: Delivery) -> None:
    line = Line()
    add(delivery, 0, 1)
    delivery.pump(line, 5, None)
    assert not delivery.acknowledged(77, None)
    assert (delivery.inflight, delivery.backlog) == (1, 1)
    assert delivery.acknowledged(1, None)
    assert not delivery.acknowledged(1, None), "each is acknowledged once"


def test_what_the_broker_refuses_is_given_up_and_said(
    delivery: Delivery, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line()
    add(delivery, 0, 1)
    delivery.pump(line, 5, None)
    assert delivery.acknowledged(1, "Not authorized")
    assert "refused a message on t (Not authorized)" in caplog.text
    delivery.lost()
    delivery.pump(line, 5, None)
    assert (line.numbers, delivery.backlog, on_disk(outbox)) == ([0], 0, [])


@pytest.mark.parametrize("kept", [False, True])
def test_only_what_is_larger_than_the_broker_takes_is_given_up(
    delivery: Delivery, clock: Clock, kept: bool, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line()
    for payload in (b"4" * 11, b"3" * 10, b"1"):
        delivery.add("topic", payload, False)
    if kept:
        delivery.pump(None, 5, None)
    delivery.pump(line, 5, len("topic") + 10 + HEADER)
    assert line.numbers == [int("3" * 10), 1]
    assert caplog.text.count("11 bytes are more than the broker takes; given up") == 1
    for mid in (1, 2):
        assert delivery.acknowledged(mid, None)
    clock.pass_s(COMMIT_S)
    delivery.pump(line, 5, None)
    assert delivery.backlog == 0


def test_a_connection_that_is_gone_gives_the_message_back_to_its_place(delivery: Delivery, outbox: Outbox) -> None:
    line = Line()
    add(delivery, 0, 3)
    line.up = False
    delivery.pump(line, 5, None)
    assert (line.sent, delivery.inflight, delivery.backlog) == ([], 0, 3)
    line.up = True
    drain(delivery, line, 5)
    assert (line.numbers, delivery.backlog, on_disk(outbox)) == ([0, 1, 2], 0, [])


def test_what_was_not_acknowledged_is_sent_again_from_the_oldest_on(delivery: Delivery, outbox: Outbox) -> None:
    line = Line()
    delivery.add("a", b"0", True)
    add(delivery, 1, 6)
    delivery.pump(line, 4, None)
    assert delivery.acknowledged(2, None)
    delivery.lost()
    assert (delivery.inflight, delivery.backlog) == (0, 5)
    assert on_disk(outbox) == [0, 2, 3, 4, 5]
    again = Line()
    drain(delivery, again, 2)
    assert again.numbers == [0, 2, 3, 4, 5]
    assert again.sent[:2] == [("a", b"0", True), ("t", b"2", False)]
    assert (delivery.backlog, on_disk(outbox)) == (0, [])


def test_a_second_loss_sends_again_what_came_from_the_disk(delivery: Delivery, outbox: Outbox) -> None:
    add(delivery, 0, 5)
    delivery.pump(None, 5, None)
    first = Line()
    delivery.pump(first, 3, None)
    assert delivery.acknowledged(1, None)
    delivery.lost()
    assert on_disk(outbox) == [1, 2, 3, 4], "what arrived is gone from the disk at once"
    second = Line()
    drain(delivery, second, 3)
    assert second.numbers == [1, 2, 3, 4]


def test_what_is_published_while_the_disk_is_sent_comes_after_it(
    delivery: Delivery, outbox: WatchedOutbox, clock: Clock
) -> None:
    add(delivery, 0, 6)
    delivery.pump(None, 2, None)
    clock.pass_s(1.5 * SPILL_S)
    line = Line()
    delivery.pump(line, 2, None)
    add(delivery, 6, 9)
    delivery.pump(line, 2, None)
    assert on_disk(outbox) == list(range(9)), "behind the others, so that nothing overtakes them"
    drain(delivery, line, 2)
    assert line.numbers == list(range(9))
    assert (delivery.backlog, on_disk(outbox)) == (0, [])
    written = list(outbox.written)
    add(delivery, 9, 12)
    drain(delivery, line, 2, answered=9)
    assert line.numbers == list(range(12))
    assert outbox.written == written, "once the disk is empty it is not needed"


def test_more_than_a_page_of_the_disk_is_sent_in_order_and_once(delivery: Delivery, outbox: Outbox) -> None:
    add(delivery, 0, 450)
    delivery.pump(None, 20, None)
    line = Line()
    drain(delivery, line, 20)
    assert line.numbers == list(range(450))
    assert (delivery.backlog, on_disk(outbox)) == (0, [])


def test_a_broker_that_owes_an_answer_for_too_long_sends_memory_to_disk(
    delivery: Delivery, outbox: Outbox, clock: Clock
) -> None:
    line = Line()
    add(delivery, 0, 4)
    delivery.pump(line, 2, None)
    clock.pass_s(STALL_S - 0.001)
    delivery.pump(line, 2, None)
    assert on_disk(outbox) == []
    clock.pass_s(0.001)
    delivery.pump(line, 2, None)
    assert on_disk(outbox) == [0, 1, 2, 3]
    assert delivery.backlog == 4
    assert line.numbers == [0, 1]
    drain(delivery, line, 2)
    assert line.numbers == [0, 1, 2, 3], "what is in flight already is not sent again"
    assert (delivery.backlog, on_disk(outbox)) == (0, [])


def test_what_waits_behind_a_full_window_counts_from_when_it_was_taken(
    delivery: Delivery, outbox: Outbox, clock: Clock
) -> None:
    """A broker that answers just in time for what is in flight, and too late for what has waited to be."""
    line = Line()
    add(delivery, 0, 3)
    for mid in (1, 2):
        delivery.pump(line, 1, None)
        clock.pass_s(0.6 * STALL_S)
        if mid == 1:
            assert delivery.acknowledged(mid, None)
    delivery.pump(line, 1, None)
    assert line.numbers == [0, 1], "sent 0.3 s ago, and taken 0.6 s ago"
    assert on_disk(outbox) == [1, 2]


def test_what_waited_for_the_link_itself_counts_from_when_it_was_handed_over(
    delivery: Delivery, outbox: Outbox, clock: Clock
) -> None:
    delivery.add("t", b"0", False, clock.now - STALL_S)
    delivery.pump(Line(), 1, None)
    assert on_disk(outbox) == [0]


def test_a_broker_that_answers_in_time_costs_the_disk_nothing(
    delivery: Delivery, outbox: WatchedOutbox, clock: Clock
) -> None:
    """Ten minutes of thirty results a second, each acknowledged just before it would go to disk."""
    line, answered, due = Line(), 0, []
    for number in range(600 * 30):
        add(delivery, number, number + 1)
        delivery.pump(line, 100, None)
        due.append(clock.now + STALL_S - 0.01)
        clock.pass_s(1 / 30)
        while answered < len(due) and due[answered] <= clock.now:
            answered += 1
            assert delivery.acknowledged(answered, None)
    assert (len(line.sent), outbox.written, outbox.commits) == (18_000, [], 0)
    assert on_disk(outbox) == []


def test_a_stall_is_over_when_the_broker_answers_again(delivery: Delivery, outbox: WatchedOutbox, clock: Clock) -> None:
    line = Line()
    add(delivery, 0, 3)
    delivery.pump(line, 5, None)
    clock.pass_s(STALL_S)
    delivery.pump(line, 5, None)
    assert outbox.written == [3]
    for mid in (1, 2, 3):
        assert delivery.acknowledged(mid, None)
    add(delivery, 3, 6)
    drain(delivery, line, 5, answered=3)
    clock.pass_s(1.5 * STALL_S)
    delivery.pump(line, 5, None)
    assert (outbox.written, on_disk(outbox), delivery.backlog) == ([3], [], 0)


def test_messages_in_flight_alone_go_to_disk_too(delivery: Delivery, outbox: Outbox, clock: Clock) -> None:
    line = Line()
    add(delivery, 0, 2)
    delivery.pump(line, 2, None)
    clock.pass_s(STALL_S + 1)
    delivery.pump(line, 2, None)
    assert on_disk(outbox) == [0, 1]
    clock.pass_s(STALL_S + 1)
    delivery.pump(line, 2, None)
    assert on_disk(outbox) == [0, 1], "each once"
    add(delivery, 2, 3)
    drain(delivery, line, 2)
    assert line.numbers == [0, 1, 2]
    assert (delivery.backlog, on_disk(outbox)) == (0, [])


def test_what_piles_up_beyond_the_bound_goes_to_disk(
    delivery: Delivery, outbox: WatchedOutbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.mqtt.delivery.MEMORY_BYTES", 30)
    line = Line()
    for turn in (1, 2):
        for _ in range(31):
            delivery.add("t", b"", False)
        delivery.pump(line, 1, None)
        assert len(outbox.written) == turn - 1, "one is in flight, the other thirty are 30 bytes"
        delivery.add("t", b"", False)
        delivery.pump(line, 1, None)
        assert outbox.written == [32] * turn
        drain(delivery, line, 1, answered=32 * (turn - 1))
        clock.pass_s(1.5 * SPILL_S)


def test_what_is_sent_or_given_back_no_longer_counts_as_piled_up(
    delivery: Delivery, outbox: WatchedOutbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edged.mqtt.delivery.MEMORY_BYTES", 30)
    line = Line()
    for number in range(10, 50):
        add(delivery, number, number + 1)
        drain(delivery, line, 1, answered=number - 10)
    line.up = False
    add(delivery, 50, 60)  # of three bytes each
    for _ in range(40):
        delivery.pump(line, 1, None)
    assert outbox.written == [], "a connection that takes nothing for a moment adds nothing"
    add(delivery, 60, 61)
    delivery.pump(line, 1, None)
    assert outbox.written == [11]


def test_without_a_connection_many_messages_are_one_commit(
    delivery: Delivery, outbox: WatchedOutbox, clock: Clock
) -> None:
    add(delivery, 0, 1)
    delivery.pump(None, 5, None)
    for number in range(1, 5):
        clock.pass_s(SPILL_S / 5)
        add(delivery, number, number + 1)
        delivery.pump(None, 5, None)
    assert outbox.written == [1]
    assert delivery.backlog == 5
    clock.pass_s(SPILL_S / 5 + 0.001)
    delivery.pump(None, 5, None)
    assert outbox.written == [1, 4]
    assert on_disk(outbox) == [0, 1, 2, 3, 4]
    clock.pass_s(1.5 * SPILL_S)
    delivery.pump(None, 5, None)
    assert outbox.written == [1, 4], "there is nothing to write"
    line = Line()
    drain(delivery, line, 5)
    assert line.numbers == [0, 1, 2, 3, 4]


def test_it_asks_to_be_called_soon_while_something_waits(delivery: Delivery, clock: Clock) -> None:
    assert delivery.pause_s() == QUIET_S
    add(delivery, 0, 1)
    assert delivery.pause_s() == SPILL_S
    delivery.pump(Line(), 5, None)
    assert delivery.pause_s() == STALL_S, "then it goes to disk"
    clock.pass_s(0.25)
    assert delivery.pause_s() == STALL_S - 0.25
    clock.pass_s(1.0)
    assert delivery.pause_s() == 0.0
    delivery.pump(Line(), 5, None)
    assert delivery.pause_s() == QUIET_S, "it is there"
    assert delivery.acknowledged(1, None)
    assert delivery.pause_s() == COMMIT_S, "then it leaves the disk"


def test_acknowledged_rows_leave_the_disk_together(delivery: Delivery, outbox: WatchedOutbox, clock: Clock) -> None:
    add(delivery, 0, 5 * COMMIT_ROWS)
    delivery.pump(None, 1000, None)
    clock.pass_s(COMMIT_S)
    line = Line()
    delivery.pump(line, 1000, None)

    def acknowledge(first: int, last: int) -> None:
        for mid in range(first, last):
            assert delivery.acknowledged(mid, None)
            delivery.pump(line, 1000, None)

    acknowledge(1, 2)
    assert outbox.commits == 1, "the last one was long ago"
    acknowledge(2, 1 + COMMIT_ROWS)
    assert outbox.commits == 1
    acknowledge(1 + COMMIT_ROWS, 2 + COMMIT_ROWS)
    assert (outbox.commits, len(on_disk(outbox))) == (2, 4 * COMMIT_ROWS - 1)
    clock.pass_s(COMMIT_S)
    delivery.pump(line, 1000, None)
    assert outbox.commits == 2, "nothing to remove"
    acknowledge(2 + COMMIT_ROWS, 3 + COMMIT_ROWS)
    assert (outbox.commits, len(on_disk(outbox))) == (3, 4 * COMMIT_ROWS - 2)
    acknowledge(3 + COMMIT_ROWS, 1 + 5 * COMMIT_ROWS)
    assert (delivery.backlog, on_disk(outbox)) == (0, []), "the last one does not wait"


@pytest.mark.parametrize("lost", [1, 2])
def test_also_a_single_message_is_sent_again(delivery: Delivery, outbox: Outbox, lost: int) -> None:
    add(delivery, 0, lost)
    delivery.pump(Line(), 5, None)
    delivery.lost()
    line = Line()
    drain(delivery, line, 5)
    assert (line.numbers, delivery.backlog, on_disk(outbox)) == (list(range(lost)), 0, [])
    assert Delivery(outbox).backlog == 0


def test_a_single_message_of_an_earlier_process_is_sent(tmp_path: Path) -> None:
    earlier = Outbox(tmp_path / "outbox.sqlite", 64)
    earlier.append([("t", b"0", False)])
    earlier.close()
    outbox = Outbox(tmp_path / "outbox.sqlite", 64)
    line = Line()
    drain(Delivery(outbox), line, 2)
    assert line.numbers == [0]
    outbox.close()


def test_what_an_earlier_process_left_is_counted_and_sent_first(tmp_path: Path) -> None:
    earlier = Outbox(tmp_path / "outbox.sqlite", 64)
    earlier.append([("t", b"0", False), ("t", b"1", True)])
    earlier.close()
    outbox = Outbox(tmp_path / "outbox.sqlite", 64)
    delivery = Delivery(outbox)
    assert delivery.backlog == 2
    add(delivery, 2, 4)
    line = Line()
    drain(delivery, line, 2)
    assert line.sent == [("t", b"0", False), ("t", b"1", True), ("t", b"2", False), ("t", b"3", False)]
    outbox.close()


def test_a_disk_that_was_full_at_the_start_gives_back_what_it_holds(
    clock: Clock, small_disk: Callable[[str], Path]
) -> None:
    """What was published meanwhile and is in flight is not sent twice, and the disk is not asked all the time."""
    place = small_disk("4m")
    path = place / "state" / "outbox.sqlite"
    earlier = Outbox(path, 64)
    earlier.append([("t", str(number).encode(), False) for number in range(3)])
    earlier.close()
    fill_up(place / "fill")
    outbox = Outbox(path, 64)
    delivery = Delivery(outbox)
    assert outbox.trouble is not None
    assert delivery.backlog == 0
    delivery.pump(None, 2, None)
    line = Line()
    add(delivery, 100, 106)
    delivery.pump(line, 2, None)
    clock.pass_s(REOPEN_S + STALL_S)
    delivery.pump(line, 2, None)
    assert delivery.acknowledged(1, None)
    delivery.pump(line, 2, None)
    assert line.numbers == [100, 101, 102]
    (place / "fill").unlink()
    clock.pass_s(REOPEN_S - 0.1)
    delivery.pump(line, 2, None)
    assert delivery.backlog == 5, "not yet"
    assert delivery.acknowledged(2, None)
    clock.pass_s(0.1)
    delivery.pump(line, 2, None)
    assert outbox.trouble is None
    assert delivery.backlog == 7
    assert on_disk(outbox) == [0, 1, 2, 102, 103, 104, 105]
    drain(delivery, line, 2, answered=2)
    assert line.numbers == [100, 101, 102, 0, 1, 2, 103, 104, 105]
    assert (delivery.backlog, on_disk(outbox)) == (0, [])
    outbox.close()


def test_the_way_of_a_message_is_traced_from_its_sending_on(delivery: Delivery, clock: Clock, tmp_path: Path) -> None:
    add(delivery, 10, 11)
    delivery.pump(Line(), 1, None)
    sent_us = clock.now * 1e6
    clock.pass_s(2.0)
    tracing.start(tmp_path / "trace.json")
    try:
        delivery.acknowledged(1, None)
    finally:
        tracing.stop()
    begin, end = (one for one in json.loads((tmp_path / "trace.json").read_text()) if one.get("cat") == "mqtt")
    assert (begin["name"], begin["args"]) == ("t", {"bytes": 2})
    assert begin["ts"] == pytest.approx(sent_us, abs=1)
    assert end["ts"] == pytest.approx(sent_us + 2e6, abs=1)


def pumped(delivery: Delivery, line: Line) -> list[str]:
    """Let it send what it may; return the topics of what it sent."""
    before = len(line.sent)
    delivery.pump(line, 100, None)
    return [topic for topic, _, _ in line.sent[before:]]


@pytest.mark.parametrize("through_disk", [False, True])
def test_a_large_message_travels_alone(delivery: Delivery, line: Line, through_disk: bool) -> None:
    large = b"x" * (LARGE_BYTES + 1)
    for topic, payload in (("1", b""), ("2", b"x" * LARGE_BYTES), ("3", large), ("4", large), ("5", b"")):
        delivery.add(topic, payload, False)
    if through_disk:
        delivery.lost()
    assert pumped(delivery, line) == ["1", "2"]
    delivery.acknowledged(1, None)
    assert pumped(delivery, line) == []
    for mid, following in ((2, ["3"]), (3, ["4"]), (4, ["5"])):
        delivery.acknowledged(mid, None)
        assert pumped(delivery, line) == following


def test_a_large_message_on_which_connections_end_is_given_up_and_what_follows_is_sent(
    delivery: Delivery, line: Line, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    delivery.add("image/a", b"x" * (LARGE_BYTES + 1), False)
    delivery.add("result/main", b"1", False)
    for _ in range(ATTEMPTS - 1):
        assert pumped(delivery, line) == ["image/a"]
        delivery.lost()
        delivery.lost()  # attempts that do not even come to a connection do not count
    assert (pumped(delivery, line), caplog.text) == (["image/a"], "")
    delivery.lost()
    assert "image/a: 3 connections in a row ended while its 65537 bytes were sent" in caplog.text
    assert pumped(delivery, line) == ["result/main"]
    assert (delivery.backlog, len(outbox)) == (1, 1)


def test_a_small_message_is_never_given_up_nor_a_large_one_that_others_follow(delivery: Delivery, line: Line) -> None:
    delivery.add("result/main", b"x" * LARGE_BYTES, False)
    for _ in range(3 * ATTEMPTS):
        assert pumped(delivery, line) == ["result/main"]
        delivery.lost()
    assert pumped(delivery, line) == ["result/main"]
    delivery.acknowledged(len(line.sent), None)
    for number in range(ATTEMPTS):  # each ends one connection, none three
        delivery.add(f"image/{number}", b"x" * (LARGE_BYTES + 1), False)
        assert pumped(delivery, line) == [f"image/{number}"]
        delivery.lost()
        assert pumped(delivery, line) == [f"image/{number}"]
        delivery.acknowledged(len(line.sent), None)
    assert delivery.backlog == 0
