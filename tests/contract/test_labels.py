"""What can be a label and what cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract.labels import check_label
from edged.errors import CommandError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), ("   \t", "empty"), ("a/b", "slash"), ("a\\b", "slash"), ("..", r"'\.\.'"), ("a..b", r"'\.\.'"),
        (".hidden", "dot"), ("a\nb", "control"), ("a\x00", "control"), ("\x1b[31m", "control"),
        ("x" * 300, "100 bytes"), ("ü" * 51, "100 bytes"), ("a\udc80b", "control"), ("a\u2028b", "control"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_label(text: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as caught:
        check_label(text)
    assert str(caught.value).replace("…", "").isascii()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("label", ["roses", "red rose", "a.b", "ü" * 50, "猫", "-", "x" * 100, "don't"])
def test_what_can_be_a_label(label: str) -> None:
    assert check_label(f"  {label} ") == label


def test_a_label_is_kept_composed() -> None:
    assert check_label("cafe\u0301") == "caf\u00e9"


@given(st.text(max_size=120))
def test_a_label_once_accepted_stays_as_it_is_and_names_one_folder(text: str) -> None:
    try:
        label = check_label(text)
    except CommandError:
        return
    assert check_label(label) == label
    assert label == label.strip()
    assert "/" not in label
    assert len(label.encode()) <= 100
