"""Backoff, protocol choice and rivals, without a network."""

from typing import Any

import pytest

from edged.mqtt.events import Closed
from edged.mqtt.retry import Retry

# What is promised; written down here too, so that it is not changed by a slip.
HANDSHAKE_S, FIRST_S, FIRST_LOCAL_S, QUICK_S, STABLE_S = 15.0, 3.0, 0.5, 5.0, 300.0
RECENT_S, RECENT_LONGEST_S = 60.0, 4.0


def closed(how: Any, code: int = 0) -> Closed:
    return Closed(None, how, "broker b: error", code)  # type: ignore[arg-type]  # the policy never looks at it


def test_delays_double_up_to_a_bound_and_start_again_after_a_good_connection():
    retry = Retry(device="d", shortest_s=1, longest_s=10, dice=lambda: 1.0)
    assert [retry.closed(0, closed("unreachable"))[0] for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    retry.opened(100)
    assert retry.closed(200, closed("lost"))[0] == 1


def test_jitter_spreads_a_fleet():
    low = Retry(device="d", shortest_s=8, dice=lambda: 0.0)
    assert low.closed(0, closed("unreachable"))[0] == 4


def test_an_old_broker_is_spoken_to_in_its_version_at_once():
    for end in (closed("refused", 0x84), closed("dropped")):
        retry = Retry(device="d")
        assert retry.protocol == "5"
        assert retry.closed(0, end)[0] == 0
        assert retry.protocol == "3.1.1"
        retry.opened(1)
        retry.closed(1000, closed("lost", 0x80))
        assert retry.protocol == "3.1.1", "what worked is remembered"


def test_a_broker_that_goes_down_is_not_taken_for_an_old_one():
    retry = Retry(device="d", shortest_s=1, dice=lambda: 1.0)
    retry.opened(0)
    ends = [closed("lost"), closed("dropped"), closed("unreachable")]
    delays = [retry.closed(100 + number, end)[0] for number, end in enumerate(ends)]
    assert retry.protocol == "5"
    assert delays == [1, 2, 4], "it gets time to come up"


def test_a_refused_login_says_nothing_about_the_protocol():
    retry = Retry(device="d")
    for _ in range(5):
        assert retry.closed(0, closed("refused", 0x86))[0] > 0
    assert retry.protocol == "5"


def test_a_rival_is_waited_for_longer_and_longer():
    retry = Retry(device="d7", dice=lambda: 0.0)
    delays = []
    for n in range(5):
        retry.opened(n * 100)
        delay_s, error = retry.closed(n * 100 + 1, closed("taken over", 0x8E))
        delays.append(delay_s)
        assert "another client uses device id 'd7'" in error
    assert delays == [30, 60, 120, 240, 300]
    assert retry.warning is not None
    retry.opened(1000)
    retry.closed(2000, closed("lost", 0x80))
    assert retry.warning is None


def test_quick_disconnects_without_a_reason_get_a_hint_and_no_longer_delay():
    """A rival or a broker that restarts: the broker does not say."""
    retry = Retry(device="d", dice=lambda: 1.0)
    results = []
    for n in range(20):
        retry.opened(n * 5)
        results.append(retry.closed(n * 5 + 1, closed("lost", 0x80)))
    hint = (
        "broker b: error; again and again right after connecting: the broker restarts, or another client uses device "
        "id 'd'"
    )
    assert [error for _, error in results] == ["broker b: error"] * 2 + [hint] * 18
    assert [delay_s for delay_s, _ in results] == [0.5, 1.0, 2.0] + [RECENT_LONGEST_S] * 17
    assert retry.warning is None, "nothing is to be feared while we are connected"


def test_a_broker_that_was_there_a_minute_ago_is_tried_every_few_seconds():
    retry = Retry(device="d", dice=lambda: 1.0)
    retry.opened(1000)
    delays = [retry.closed(1000 + n, closed("unreachable"))[0] for n in (*range(10), RECENT_S - 0.1, RECENT_S)]
    assert max(delays[:-1]) == RECENT_LONGEST_S
    assert delays[-1] == 30.0, "it is away"
    retry = Retry(device="d", dice=lambda: 1.0)
    assert [retry.closed(n, closed("unreachable"))[0] for n in range(5)][-1] == 8.0, "it was never there"


@pytest.mark.parametrize("lived_s", [6, 600])
def test_long_connections_do_not(lived_s):
    retry = Retry(device="d", dice=lambda: 0.0)
    for n in range(5):
        retry.opened(n * 1000)
        assert retry.closed(n * 1000 + lived_s, closed("lost", 0x80))[0] < 1


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_the_very_first_attempt_is_short_and_shorter_on_this_machine(host: str):
    retry = Retry(device="d")
    assert retry.patience_s(host) == FIRST_LOCAL_S
    assert retry.patience_s("broker") == FIRST_S
    retry.closed(0, closed("unreachable"))
    assert retry.patience_s(host) == HANDSHAKE_S, "a network that is slow to come up gets its time"


def test_a_version_that_has_worked_or_knows_no_other_gets_its_time():
    retry = Retry(device="d")
    retry.opened(0)
    assert retry.patience_s("broker") == HANDSHAKE_S
    retry = Retry(device="d")
    retry.closed(0, closed("dropped"))
    assert retry.protocol == "3.1.1"
    assert retry.patience_s("broker") == HANDSHAKE_S


def test_a_broker_that_answers_neither_version_is_asked_in_both_and_not_all_the_time():
    retry = Retry(device="d", shortest_s=1, longest_s=10, dice=lambda: 1.0)
    asked = []
    for _ in range(6):
        delay_s, error = retry.closed(0, closed("dropped"))
        asked.append((retry.protocol, delay_s))
        assert error == "broker b: error"
    assert asked == [("3.1.1", 0), ("5", 1), ("3.1.1", 2), ("5", 4), ("3.1.1", 8), ("5", 10)]


def test_a_broker_that_was_replaced_by_an_older_one_is_spoken_to_in_its_version():
    retry = Retry(device="d", dice=lambda: 0.0)
    retry.opened(0)
    assert retry.closed(1000, closed("refused", 0x84))[0] == 0, "it says so"
    assert retry.protocol == "3.1.1"
    retry = Retry(device="d")
    retry.opened(0)
    protocols = []
    for _ in range(3):
        retry.closed(1000, closed("dropped"))
        protocols.append(retry.protocol)
    assert protocols == ["5", "5", "3.1.1"], "it says nothing"


def test_a_connection_between_ends_the_suspicion_of_an_older_broker():
    retry = Retry(device="d")
    for n in range(5):
        retry.opened(n * 1000)
        for _ in range(2):
            retry.closed(n * 1000 + 100, closed("dropped"))
    assert retry.protocol == "5"


def test_an_old_broker_is_still_old_after_it_has_worked_for_a_while():
    retry = Retry(device="d")
    retry.closed(0, closed("dropped"))
    retry.opened(1)
    retry.closed(1000, closed("dropped"))
    retry.closed(1001, closed("dropped"))
    assert retry.protocol == "3.1.1"
    retry.closed(1002, closed("dropped"))
    assert retry.protocol == "5", "it may have been replaced by a newer one"


def test_connections_that_do_not_hold_are_tried_less_and_less_often():
    retry = Retry(device="d", shortest_s=1, longest_s=100, dice=lambda: 1.0)
    delays = []
    for n in range(4):
        retry.opened(n * 100)
        delays.append(retry.closed(n * 100 + QUICK_S - 0.5, closed("lost"))[0])
    assert delays == [1, 2, 4, RECENT_LONGEST_S]
    retry.opened(1000)
    assert retry.closed(1000 + QUICK_S, closed("lost"))[0] == 1


def test_hanging_up_quickly_for_another_reason_is_no_rival():
    retry = Retry(device="d", dice=lambda: 0.0)
    for n in range(5):
        retry.opened(n * 10)
        _, error = retry.closed(n * 10 + 1, closed("lost", 0x8D))
        assert error == "broker b: error"
    assert retry.warning is None


def test_one_good_connection_ends_the_count_of_quick_ends():
    retry = Retry(device="d", dice=lambda: 0.0)
    for n, held_s in enumerate([1, 1, QUICK_S, 1, 1]):
        retry.opened(n * 100)
        assert retry.closed(n * 100 + held_s, closed("lost", 0x80))[1] == "broker b: error"
    retry.opened(1000)
    assert "another client" in retry.closed(1001, closed("lost", 0x80))[1]


def test_two_rivals_do_not_wait_for_the_same_time():
    delays = []
    for thrown in (0.0, 0.5, 1.0):
        retry = Retry(device="d", rival_s=10, dice=lambda thrown=thrown: thrown)
        retry.opened(0)
        delays.append(retry.closed(1, closed("taken over"))[0])
    assert delays == [10, 15, 20]


def test_a_rival_is_feared_until_a_connection_has_held():
    retry = Retry(device="d", rival_s=10, dice=lambda: 0.0)
    retry.opened(0)
    assert retry.closed(1, closed("taken over"))[0] == 10
    retry.opened(100)
    retry.closed(100 + STABLE_S - 1, closed("lost"))
    assert retry.warning is not None
    retry.opened(1000)
    assert retry.closed(1001, closed("taken over"))[0] == 20
    retry.opened(2000)
    retry.closed(2000 + STABLE_S, closed("lost"))
    assert retry.warning is None
    retry.opened(5000)
    assert retry.closed(5001, closed("taken over"))[0] == 10


def test_a_first_failure_is_followed_soon_and_a_long_one_now_and_then():
    """What the defaults promise: a broker that restarts is met again soon, an absent one every half minute."""
    retry = Retry(device="d", dice=lambda: 1.0)
    delays = [retry.closed(0, closed("unreachable"))[0] for _ in range(40)]
    assert delays[:3] == [0.5, 1.0, 2.0]
    assert set(delays[10:]) == {30.0}


def test_the_dice_are_thrown_anew_each_time():
    retry = Retry(device="d", shortest_s=10, longest_s=10)
    delays = {retry.closed(0, closed("unreachable"))[0] for _ in range(20)}
    assert len(delays) > 1
    assert all(5 <= delay_s <= 10 for delay_s in delays)
