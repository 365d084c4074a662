"""The outbox: order, bound, damage, a full disk."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from edged.errors import ConfigError
from edged.mqtt.delivery import Delivery
from edged.mqtt.outbox import OLDEST, Outbox
from tests.full_disk import fill_up
from tests.mqtt.clock import set_clock
from tests.waiting import PATIENCE_S

# What is promised; written down here too, so that it is not changed by a slip.
RETRY_S, REPORT_S, ROW_BYTES = 30.0, 600.0, 48


def messages(first: int, last: int, size: int = 10):
    return [("t", str(n).encode().ljust(size), False) for n in range(first, last)]


def kept(outbox: Outbox) -> list[int]:
    return [int(stored.payload) for stored in outbox.after(0, 10_000)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "er" / "outbox.sqlite"


def test_order_survives_a_restart(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 50))
    outbox.append(messages(50, 60))
    outbox.close()
    outbox = Outbox(path, 1)
    assert len(outbox) == 60
    ids = outbox.append(messages(60, 61))
    assert kept(outbox) == list(range(61))
    assert [stored.id for stored in outbox.after(ids[0] - 1, 5)] == ids
    for stored in outbox.after(0, 30):
        outbox.acknowledge(stored.id)
    assert len(outbox) == 31
    outbox.close()
    outbox = Outbox(path, 1)
    assert kept(outbox) == list(range(30, 61))
    outbox.close()


def test_the_oldest_are_dropped_and_counted_and_said_once(path, caplog):
    outbox = Outbox(path, 0.01)
    for n in range(0, 200, 10):
        outbox.append(messages(n, n + 10, size=200))
    assert outbox.dropped > 0
    assert kept(outbox) == list(range(outbox.dropped, 200))
    assert len(outbox) * 200 <= 10_000
    assert caplog.text.count("were dropped") == 1
    outbox.close()


def test_a_damaged_file_is_set_aside(path, caplog):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this was a database once" * 1000)
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 3))
    assert kept(outbox) == [0, 1, 2]
    outbox.close()
    assert path.with_name("outbox.sqlite.corrupt").exists()
    assert caplog.text.count("set aside") == 1


def test_damage_inside_the_file(path, caplog):
    outbox = Outbox(path, 10)
    outbox.append(messages(0, 2000, size=300))
    outbox.close()
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 200_000)
    outbox = Outbox(path, 10)
    outbox.append(messages(0, 3))
    assert kept(outbox)[-3:] == [0, 1, 2]
    outbox.close()
    assert caplog.text.count("set aside") == 1


@pytest.mark.parametrize("topic", ["'t/#'", "'t/+/x'", "''", "CAST(x'74FF' AS TEXT)", "CAST(x'7400' AS TEXT)"])
def test_a_row_that_is_no_message_is_dropped_counted_and_told_once(path, caplog, topic):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 6))
    outbox.close()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE outbox SET topic = {topic} WHERE id IN (1, 3, 4)")
    outbox = Outbox(path, 1)
    assert [int(one.payload) for one in outbox.after(OLDEST, 2)] == [1, 4], "a page is full all the same"
    assert kept(outbox) == [1, 4, 5]
    assert (len(outbox), outbox.dropped) == (3, 3)
    outbox.close()
    assert caplog.text.count("is no message") == 1
    outbox = Outbox(path, 1)
    assert (kept(outbox), len(outbox), outbox.dropped) == ([1, 4, 5], 3, 0), "nor does it come back"
    outbox.close()


def test_a_full_disk_keeps_going_in_memory(path, caplog, monkeypatch):
    outbox = Outbox(path, 0.1)
    outbox.append(messages(0, 5))
    outbox._database.execute("PRAGMA max_page_count = 1")  # SQLite's own way to say "database or disk is full"
    outbox.append(messages(5, 400, size=1000))
    assert caplog.text.count("cannot be written") == 1
    assert outbox.dropped > 0
    assert kept(outbox) == list(range(outbox.dropped, 400)), "bounded, in order"
    outbox.append(messages(400, 401))
    assert caplog.text.count("cannot be written") == 1
    outbox._database.execute("PRAGMA max_page_count = 100000")
    monkeypatch.setattr(outbox, "_retry_at", 1.0)
    outbox.append(messages(401, 402))
    assert outbox._database.execute("SELECT max(id) FROM outbox").fetchone()[0] == 402
    assert kept(outbox) == list(range(outbox.dropped, 402))
    outbox.close()


def test_messages_on_their_way_to_the_disk_are_no_trouble(path, monkeypatch):
    outbox = Outbox(path, 1)
    seen_by_another_thread = []
    write = outbox._write

    def looked_at():
        seen_by_another_thread.append(outbox.in_memory)
        write()

    monkeypatch.setattr(outbox, "_write", looked_at)
    outbox.append(messages(0, 5))
    outbox._database.execute("PRAGMA max_page_count = 1")
    outbox.append(messages(5, 400, size=1000))
    assert outbox.in_memory == "database or disk is full"
    outbox._database.execute("PRAGMA max_page_count = 100000")
    monkeypatch.setattr(outbox, "_retry_at", 1.0)
    outbox.append(messages(400, 401))
    outbox.append(messages(401, 402))
    assert seen_by_another_thread == [None, None, "database or disk is full", None]
    assert outbox.in_memory is None
    outbox.close()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"storage\.state_dir: cannot keep the outbox"):
        Outbox(tmp_path / "file" / "outbox.sqlite", 1)


def test_while_the_broker_acknowledges_the_disk_is_not_touched(path, monkeypatch):
    monkeypatch.setattr("edged.mqtt.delivery.STALL_S", PATIENCE_S)  # a slow machine is no broker that owes an answer
    outbox = Outbox(path, 1)
    delivery = Delivery(outbox)
    sent = []

    def send(topic, payload, retain):
        sent.append(int(payload))
        return len(sent)

    for n in range(10):
        delivery.add("t", str(n).encode(), False)
        delivery.pump(send, 4, None)
    assert sent == [0, 1, 2, 3], "the window"
    assert delivery.backlog == 10
    for mid in range(1, 9):
        assert delivery.acknowledged(mid, None)
        delivery.pump(send, 4, None)
    assert sent == list(range(10))
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    delivery.lost()
    assert kept(outbox) == [8, 9]
    delivery.add("t", b"10", False)
    delivery.pump(send, 4, None)
    assert sent[10:] == [8, 9, 10] or sent[10:] == [8, 9]
    assert delivery.backlog == 3
    outbox.close()


def test_an_emptied_file_gives_its_space_back(path):
    outbox = Outbox(path, 10)
    outbox.append(messages(0, 2000, size=300))
    outbox.commit()
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    full = path.stat().st_size
    for stored in outbox.after(0, 2000):
        outbox.acknowledge(stored.id)
    outbox.commit()
    assert path.stat().st_size < full / 10
    outbox.append(messages(0, 3))
    assert kept(outbox) == [0, 1, 2]
    outbox.close()


def test_a_message_counts_once_while_it_moves_to_the_disk(path):
    class Watched(Outbox):
        def append(self, messages):
            ids = super().append(messages)
            counted.append(delivery.backlog)  # what another thread sees before memory is cleared
            return ids

    counted: list[int] = []
    outbox = Watched(path, 1)
    delivery = Delivery(outbox)
    for topic, payload, retain in messages(0, 10):
        delivery.add(topic, payload, retain)
    delivery.pump(None, 20, None)
    assert (counted, delivery.backlog) == ([10], 10)
    delivery.pump(lambda *_: 1, 1, None)
    assert delivery.acknowledged(1, None)
    delivery.pump(None, 20, None)
    assert delivery.backlog == 9
    outbox.close()


def on_disk(path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [int(payload) for (payload,) in database.execute("SELECT payload FROM outbox ORDER BY id")]


def refuse_writes(outbox: Outbox) -> None:
    outbox._database.execute("PRAGMA max_page_count = 1")


def take_writes(outbox: Outbox) -> None:
    outbox._database.execute("PRAGMA max_page_count = 100000")


def acknowledge(outbox: Outbox, numbers: range) -> None:
    for stored in outbox.after(OLDEST, 10_000):
        if int(stored.payload) in numbers:
            outbox.acknowledge(stored.id)


@pytest.fixture
def three(path):
    """Room for exactly three messages of `messages`."""
    outbox = Outbox(path, 3 * (1 + 10 + ROW_BYTES) / 1e6)
    yield outbox
    outbox.close()


def test_a_message_comes_back_as_it_went_in(path):
    sent = [("a/b", b"\x00\xff", True), ("c", b"", False)]
    outbox = Outbox(path, 1)
    first, second = outbox.append(sent)
    assert second > first
    assert outbox.append([]) == []
    outbox.close()
    outbox = Outbox(path, 1)
    assert [(one.topic, one.payload, one.retain) for one in outbox.after(OLDEST, 10)] == sent
    assert [one.id for one in outbox.after(OLDEST, 10)] == [first, second]
    outbox.close()


def test_as_many_as_fit_are_kept_and_the_oldest_goes_for_the_next(three):
    three.append(messages(0, 3))
    assert (kept(three), three.dropped) == ([0, 1, 2], 0)
    three.append(messages(3, 4))
    assert (kept(three), three.dropped, len(three)) == ([1, 2, 3], 1, 3)
    three.append(messages(4, 6))
    assert (kept(three), three.dropped, len(three)) == ([3, 4, 5], 3, 3)


def test_the_bound_holds_in_memory_too_and_over_both(path):
    outbox = Outbox(path, 4 * (1 + 9000 + ROW_BYTES) / 1e6)
    outbox.append(messages(0, 2, size=9000))
    refuse_writes(outbox)
    outbox.append(messages(2, 4, size=9000))
    assert outbox.in_memory == "database or disk is full"
    assert (kept(outbox), len(outbox), outbox.dropped) == ([0, 1, 2, 3], 4, 0)
    outbox.append(messages(4, 5, size=9000))
    assert (kept(outbox), len(outbox), outbox.dropped) == ([1, 2, 3, 4], 4, 1)
    outbox.append(messages(5, 11, size=9000))
    assert (kept(outbox), len(outbox), outbox.dropped) == ([7, 8, 9, 10], 4, 7)
    assert outbox.size_bytes == 4 * (1 + 9000 + ROW_BYTES)
    take_writes(outbox)
    outbox.close()


def test_a_single_byte_too_much_is_too_much(path):
    outbox = Outbox(path, (2 * (1 + 9000 + ROW_BYTES) - 1) / 1e6)
    outbox.append(messages(0, 2, size=9000))
    assert (kept(outbox), outbox.dropped) == ([1], 1)
    refuse_writes(outbox)
    outbox.append(messages(2, 3, size=9000))
    outbox.append(messages(3, 5, size=9000))
    assert (kept(outbox), outbox.dropped) == ([4], 4)
    take_writes(outbox)
    outbox.close()


def test_what_is_larger_than_all_room_is_dropped_and_leaves_an_empty_outbox(three):
    three.append(messages(0, 3))
    acknowledge(three, range(3))
    three.append(messages(3, 4, size=1000))
    assert (kept(three), len(three), three.dropped) == ([], 0, 4)
    three.commit()
    three.append(messages(4, 7))
    assert (kept(three), len(three)) == ([4, 5, 6], 3)


def test_what_was_acknowledged_makes_room(three):
    three.append(messages(0, 3))
    acknowledge(three, range(2))
    assert (len(three), three.uncommitted) == (1, 2)
    three.commit()
    assert (len(three), three.uncommitted) == (1, 0)
    three.append(messages(3, 5))
    assert (kept(three), three.dropped) == ([2, 3, 4], 0)


def test_the_bound_counts_what_an_earlier_process_left(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 4))
    outbox.close()
    outbox = Outbox(path, 4 * (1 + 10 + ROW_BYTES) / 1e6)
    assert kept(outbox) == [0, 1, 2, 3]
    outbox.append(messages(4, 5))
    assert (kept(outbox), outbox.dropped) == ([1, 2, 3, 4], 1)
    outbox.close()


def test_an_acknowledgement_of_a_message_that_was_dropped_meanwhile_counts_once(three):
    three.append(messages(0, 3))
    acknowledge(three, range(1))
    three.append(messages(3, 5))
    assert kept(three) == [2, 3, 4]
    three.commit()
    assert len(three) == 3
    three.append(messages(5, 6))
    assert (kept(three), three.dropped) == ([3, 4, 5], 3)


def test_drops_are_reported_now_and_then_with_their_number(three, caplog, monkeypatch):
    clock = set_clock(monkeypatch, "outbox")
    three.append(messages(0, 5))
    assert "the oldest 2 messages were dropped" in caplog.text
    three.append(messages(5, 6))
    clock.pass_s(REPORT_S - 1)
    three.append(messages(6, 7))
    assert caplog.text.count("were dropped") == 1
    clock.pass_s(1)
    three.append([])
    assert caplog.text.count("were dropped") == 1, "nothing was"
    three.append(messages(7, 8))
    assert "the oldest 3 messages were dropped" in caplog.text
    assert "outbox_max_mb = 0.000177" in caplog.text


def test_a_failing_disk_is_tried_again_now_and_then_only(path, monkeypatch, caplog):
    clock = set_clock(monkeypatch, "outbox")
    outbox = Outbox(path, 1)
    refuse_writes(outbox)
    outbox.append(messages(0, 100, size=1000))
    take_writes(outbox)
    clock.pass_s(RETRY_S - 1)
    outbox.append(messages(100, 101))
    assert on_disk(path) == []
    assert outbox.in_memory == "database or disk is full"
    clock.pass_s(1)
    outbox.append(messages(101, 102))
    assert on_disk(path) == list(range(102))
    assert outbox.in_memory is None
    assert caplog.text.count("cannot be written") == 1
    refuse_writes(outbox)
    outbox.append(messages(102, 200, size=1000))
    assert caplog.text.count("cannot be written") == 2, "another failure is said again"
    take_writes(outbox)
    outbox.close()


def test_what_is_acknowledged_in_memory_is_not_written(path, monkeypatch):
    clock = set_clock(monkeypatch, "outbox")
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    refuse_writes(outbox)
    outbox.append(messages(2, 100, size=1000))
    acknowledge(outbox, range(1, 50))
    assert len(outbox) == 51
    outbox.commit()
    assert (kept(outbox), len(outbox)) == ([0, *range(50, 100)], 51)
    size = outbox.size_bytes
    assert size == 1 + 10 + ROW_BYTES + 50 * (1 + 1000 + ROW_BYTES)
    take_writes(outbox)
    clock.pass_s(RETRY_S)
    outbox.append([])
    assert outbox.size_bytes == size, "it has moved"
    assert on_disk(path) == [0, *range(50, 100)]
    outbox.close()


def test_disk_and_memory_are_read_as_one(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 3))
    refuse_writes(outbox)
    ids = outbox.append(messages(3, 100, size=1000))
    assert [int(one.payload) for one in outbox.after(OLDEST, 2)] == [0, 1]
    assert [int(one.payload) for one in outbox.after(OLDEST, 3)] == [0, 1, 2]
    assert [int(one.payload) for one in outbox.after(OLDEST, 5)] == [0, 1, 2, 3, 4]
    assert [int(one.payload) for one in outbox.after(ids[0], 3)] == [4, 5, 6]
    assert outbox.after(ids[-1], 3) == []
    take_writes(outbox)
    outbox.close()


def test_a_single_message_in_memory_is_read(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 1))
    refuse_writes(outbox)
    outbox.append(messages(1, 2, size=20_000))
    assert kept(outbox) == [0, 1]
    assert outbox.in_memory is not None
    take_writes(outbox)
    outbox.close()


def test_an_acknowledgement_that_cannot_be_written_is_said_and_not_forgotten(path, caplog, monkeypatch):
    caplog.set_level("INFO")
    clock = set_clock(monkeypatch, "outbox")
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    outbox._database.execute("PRAGMA busy_timeout = 1")
    acknowledge(outbox, range(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        outbox.commit()
        holder.execute("ROLLBACK")
    assert "cannot be written (database is locked)" in caplog.text
    assert (kept(outbox), len(outbox), on_disk(path)) == ([1], 1, [0, 1]), "it is not sent again"
    clock.pass_s(RETRY_S - 1)
    outbox.commit()
    assert on_disk(path) == [0, 1], "a failing disk is tried now and then only"
    clock.pass_s(1)
    outbox.commit()
    assert (kept(outbox), len(outbox), on_disk(path)) == ([1], 1, [1])
    assert "can be written again" in caplog.text
    outbox.append(messages(2, 3))
    assert (on_disk(path), outbox.in_memory) == ([1, 2], None)
    outbox.close()


def test_closing_tries_once_more_to_forget_what_arrived(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    outbox._database.execute("PRAGMA busy_timeout = 1")
    acknowledge(outbox, range(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        outbox.commit()
        holder.execute("ROLLBACK")
    outbox.close()
    assert on_disk(path) == [1]


def test_a_connection_that_is_lost_while_the_disk_fails_sends_nothing_twice(path):
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 3))
    outbox._database.execute("PRAGMA busy_timeout = 1")
    delivery = Delivery(outbox)
    sent = []

    def send(topic, payload, retain):
        sent.append(int(payload))
        return len(sent)

    delivery.pump(send, 5, None)
    assert delivery.acknowledged(1, None)
    assert delivery.acknowledged(3, None)
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        delivery.lost()
        holder.execute("ROLLBACK")
    sent.clear()
    delivery.pump(send, 5, None)
    assert (sent, delivery.backlog) == ([1], 1)
    outbox.close()


def test_a_bound_that_cannot_be_kept_is_said(three, caplog):
    three.append(messages(0, 3))
    three._database.execute("PRAGMA busy_timeout = 1")
    with closing(sqlite3.connect(three.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        three.append(messages(3, 4))
        holder.execute("ROLLBACK")
    assert "cannot be written (database is locked)" in caplog.text
    assert kept(three) == [0, 1, 2], "the disk cannot make room"


def test_closing_writes_what_is_in_memory_or_says_how_much_is_lost(path, caplog):
    outbox = Outbox(path, 1)
    refuse_writes(outbox)
    outbox.append(messages(0, 100, size=1000))
    acknowledge(outbox, range(10))
    take_writes(outbox)
    outbox.close()
    assert on_disk(path) == list(range(10, 100))
    assert "are lost" not in caplog.text
    outbox = Outbox(path, 1)
    acknowledge(outbox, range(10, 100))
    refuse_writes(outbox)
    outbox.append(messages(100, 207, size=1000))
    outbox.close()
    assert "107 messages could not be written and are lost" in caplog.text


def test_damage_while_it_runs_costs_what_was_on_disk_and_nothing_after(path, caplog):
    outbox = Outbox(path, 10)
    outbox.append(messages(0, 5000, size=1000))
    outbox._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (path.stat().st_size - 4096))
    outbox.after(OLDEST, 10_000)
    assert caplog.text.count("set aside") == 1
    assert outbox.in_memory is None
    assert len(outbox) == 0
    outbox.append(messages(0, 3))
    assert (kept(outbox), len(outbox), on_disk(path)) == ([0, 1, 2], 3, [0, 1, 2])
    outbox.close()


@pytest.mark.parametrize("left", [1, 200])
def test_what_an_earlier_process_left_on_a_full_disk_comes_back_first(small_disk, left):
    place = small_disk("4m")
    path = place / "state" / "outbox.sqlite"
    earlier = Outbox(path, 1)
    earlier.append(messages(0, left))
    earlier.close()
    fill_up(place / "fill")
    outbox = Outbox(path, 1)
    assert "full" in outbox.trouble
    assert outbox.in_memory == outbox.trouble
    ids = outbox.append(messages(1000, 1002))
    assert (kept(outbox), len(outbox)) == ([1000, 1001], 2)
    assert not outbox.reopen(), "there is no room"
    assert outbox.trouble is not None
    (place / "fill").unlink()
    assert outbox.reopen()
    assert (outbox.trouble, outbox.in_memory) == (None, None)
    assert len(outbox) == left + 2
    assert [int(one.payload) for one in outbox.after(OLDEST, 1000)] == [*range(left), 1000, 1001]
    assert [one.id for one in outbox.after(OLDEST, 1000)][-2:] == ids, "ids that were given out stay"
    assert on_disk(path) == [*range(left), 1000, 1001]
    assert not outbox.reopen(), "it is open"
    assert outbox.append(messages(1002, 1003))[0] > ids[-1]
    outbox.close()


def test_a_disk_that_has_room_and_cannot_be_used_yet_is_tried_again(small_disk):
    place = small_disk("4m")
    path = place / "state" / "outbox.sqlite"
    earlier = Outbox(path, 1)
    earlier.append(messages(0, 3))
    earlier.close()
    fill_up(place / "fill")
    outbox = Outbox(path, 1)
    outbox._file = replace(outbox._file, busy_s=0.01)
    ids = outbox.append(messages(100, 102))
    (place / "fill").unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert outbox.reopen() is False
        holder.execute("ROLLBACK")
    assert outbox.trouble is not None
    assert (kept(outbox), len(outbox)) == ([100, 101], 2)
    ids += outbox.append(messages(102, 103))
    assert ids == [1, 2, 3]
    assert outbox.reopen()
    assert on_disk(path) == [0, 1, 2, 100, 101, 102]
    assert (outbox.trouble, len(outbox)) == (None, 6)
    outbox.close()


def test_a_folder_that_is_gone_meanwhile_is_made_again(small_disk):
    place = small_disk("4m")
    fill_up(place / "fill")
    path = place / "deep" / "state" / "outbox.sqlite"
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    (place / "fill").unlink()
    shutil.rmtree(place / "deep", ignore_errors=True)
    assert not outbox.reopen()
    assert outbox.trouble is None, "a state folder that could not even be made is made now"
    assert on_disk(path) == [0, 1]
    outbox.close()


def test_a_disk_that_was_full_and_empty_has_nothing_to_give_back(small_disk):
    place = small_disk("4m")
    fill_up(place / "fill")
    path = place / "state" / "outbox.sqlite"
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    (place / "fill").unlink()
    assert not outbox.reopen()
    assert outbox.trouble is None
    assert on_disk(path) == [0, 1]
    outbox.close()


def test_a_full_disk_with_room_again_takes_the_rest_at_the_end(small_disk, caplog):
    place = small_disk("4m")
    fill_up(place / "fill")
    path = place / "state" / "outbox.sqlite"
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    (place / "fill").unlink()
    outbox.close()
    assert on_disk(path) == [0, 1]
    fill_up(place / "fill")
    path.unlink()
    outbox = Outbox(path, 1)
    outbox.append(messages(0, 2))
    outbox.close()
    assert "2 messages could not be written and are lost" in caplog.text
