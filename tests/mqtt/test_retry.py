"""Backoff, protocol choice and rivals, without a network."""

from typing import Any

import pytest

from edged.mqtt.events import Closed
from edged.mqtt.retry import Retry


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
    retry = Retry(device="d")
    retry.opened(0)
    retry.closed(100, closed("lost"))
    retry.closed(101, closed("dropped"))
    retry.closed(102, closed("unreachable"))
    assert retry.protocol == "5"


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


def test_quick_disconnects_of_3_1_1_look_like_a_rival():
    retry = Retry(device="d", dice=lambda: 0.0)
    results = []
    for n in range(3):
        retry.opened(n * 10)
        results.append(retry.closed(n * 10 + 1, closed("lost", 0x80)))
    assert [delay_s >= 30 for delay_s, _ in results] == [False, False, True]
    assert "probably another client" in results[-1][1]


@pytest.mark.parametrize("lived_s", [6, 600])
def test_long_connections_do_not(lived_s):
    retry = Retry(device="d", dice=lambda: 0.0)
    for n in range(5):
        retry.opened(n * 1000)
        assert retry.closed(n * 1000 + lived_s, closed("lost", 0x80))[0] < 1
