"""The queue of commands: urgent ones pass and take turns, the others come as they came, nothing starves."""

from __future__ import annotations

import threading

from edged.mqtt.turns import URGENT_IN_A_ROW, Turns
from tests.waiting import PATIENCE_S


def drained(turns: Turns[str]) -> list[str]:
    taken = []
    while (item := turns.get(wait=False)) is not None:
        taken.append(item)
    return taken


def filled(*items: str) -> Turns[str]:
    turns: Turns[str] = Turns({"cancel", "status"})
    for item in items:
        turns.put(item[:-1], item)
    return turns


def test_what_is_not_urgent_comes_as_it_came() -> None:
    assert drained(filled("label1", "label2", "list1", "label3")) == ["label1", "label2", "list1", "label3"]


def test_urgent_ones_pass_and_take_turns() -> None:
    turns = filled("list1", "status1", "status2", "status3", "cancel1")
    taken = drained(turns)
    assert taken.index("cancel1") <= 1
    assert [item for item in taken if item != "cancel1"] == ["status1", "status2", "status3", "list1"]
    turns = filled("cancel1", "cancel2", "cancel3", "status1")
    assert drained(turns).index("status1") <= 1, "a flood of one does not shut out the other"


def test_a_flood_of_urgent_ones_does_not_stop_the_others() -> None:
    assert URGENT_IN_A_ROW == 4
    turns = filled(*(f"status{n}" for n in range(9)), "list1", "list2")
    assert drained(turns) == [
        "status0", "status1", "status2", "status3", "list1",
        "status4", "status5", "status6", "status7", "list2", "status8",
    ]  # fmt: skip


def test_it_counts_what_waits_by_name() -> None:
    turns: Turns[str] = Turns({"cancel"})
    for name, size in (("image", 5), ("image", 7), ("list", 1), ("cancel", 100)):
        turns.put(name, name, size)
    assert (turns.count("image"), turns.count("cancel"), turns.count("other")) == (2, 1, 0)
    assert (turns.size("image"), turns.size("cancel"), turns.size()) == (12, 100, 13)
    assert turns.get() == "cancel"
    assert turns.get() == "image"
    assert (turns.count("image"), turns.size("image"), turns.size("cancel"), turns.size()) == (1, 7, 0, 8)
    assert drained(turns) == ["image", "list"]
    assert turns.size() == 0


def test_who_waits_gets_what_comes_and_then_the_end() -> None:
    turns, got = filled(), []

    def take() -> None:
        while (item := turns.get()) is not None:
            got.append(item)

    thread = threading.Thread(target=take)
    thread.start()
    turns.put("list", "list1")
    turns.put("list", "list2")
    turns.close()
    thread.join(PATIENCE_S)
    assert got == ["list1", "list2"], "what waits when it is closed is still taken"
