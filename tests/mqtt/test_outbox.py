"""The outbox: order, bound, damage, a full disk."""

import sqlite3
from contextlib import closing

import pytest

from edged.errors import ConfigError
from edged.mqtt.delivery import Delivery
from edged.mqtt.outbox import Outbox
from tests.waiting import PATIENCE_S


def messages(first: int, last: int, size: int = 10):
    return [("t", str(n).encode().ljust(size), False) for n in range(first, last)]


def kept(outbox: Outbox) -> list[int]:
    return [int(stored.payload) for stored in outbox.after(0, 10_000)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "outbox.sqlite"


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
    path.parent.mkdir()
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
