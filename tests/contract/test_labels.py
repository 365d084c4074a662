"""What can be a label and what cannot."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edged.contract import labels
from edged.contract.labels import check_label, check_output
from edged.errors import CommandError


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"), ("   \t", "empty"), ("a/b", "slash"), ("a\\b", "slash"), ("..", r"'\.\.'"), ("a..b", r"'\.\.'"),
        (".hidden", "dot"), ("a\nb", "control"), ("a\x00", "control"), ("\x1b[31m", "control"),
        ("x" * 300, "100 bytes"), ("ü" * 51, "100 bytes"), ("a\udc80b", "control"), ("a\u2028b", "control"),
        ("\u202eesor", "invisible"), ("a\u200bb", "invisible"), ("a\u00adb", "invisible"), ("a\u200db", "invisible"),
        ("\u200da", "invisible"), ("é\u200d", "invisible"), ("\u3164", "invisible"), ("a\u2066b", "invisible"),
        ("\ufe0f", r"a variation selector, U\+FE0F"), ("roses\ufe0f", "variation"), ("\u2764\ufe0f", "variation"),
        ("\u4e00\U000e0100", "variation"), ("a\u180b", "variation"), ("a\u180e", "invisible"), ("\u034f", "invisible"),
        ("a\ufff0", "invisible"), ("a\u2065", "invisible"), ("a\U000e0fff", "invisible"), ("a\u115f", "invisible"),
        ("a\U000e0041", "invisible"), ("a\ue000", "private use"), ("a\uffff", "no character"), ("\ud800", "control"),
        ("unknown", "what results say"), (" Unknown ", "what results say"), ("UNKNOWN", "what results say"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_label(text: str, reason: str) -> None:
    with pytest.raises(CommandError, match=reason) as caught:
        check_label(text)
    assert str(caught.value).replace("…", "").isascii()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("label", ["roses", "red rose", "a.b", "ü" * 50, "猫", "-", "x" * 100, "don't", "not unknown"])
def test_what_can_be_a_label(label: str) -> None:
    assert check_label(f"  {label} ") == label


@pytest.mark.parametrize("label", ["\U0001f469\u200d\U0001f692", "می\u200cخواهم", "\U0001fae0"])
def test_emoji_of_several_parts_and_words_that_need_a_joiner_are_labels(label: str) -> None:
    assert check_label(label) == label


def test_the_name_of_an_output_may_be_what_no_folder_can_be_called() -> None:
    for name in ("plant/pot", "x" * 300, ".hidden"):
        assert check_output(name) == name
    for name in ("a\u202eb", "Unknown", "\ufe0f"):
        with pytest.raises(ValueError, match=r"invisible|what results say|variation"):
            check_output(name)


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


def test_a_text_of_millions_of_characters_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would be looked up, which took 4 s for a text as long as a command may be."""
    monkeypatch.setattr(labels, "kept_form", lambda _: pytest.fail("it was looked at"))
    with pytest.raises(CommandError, match="is longer than 100 bytes of UTF-8") as caught:
        check_label("\u0344" * 1_000_000)
    assert len(str(caught.value)) < 200


def test_characters_that_become_one_are_one() -> None:
    """One Greek letter of two bytes and three marks: four characters that NFC makes one of three bytes."""
    text = unicodedata.normalize("NFD", "\u1f82") * 33
    assert (len(text), check_label(text)) == (132, "\u1f82" * 33)
    assert check_label(" " * 1000 + "cat") == "cat"


def test_the_quick_look_sees_what_the_thorough_one_does() -> None:
    for code in range(sys.maxunicode + 1):
        char = chr(code)
        if char.isprintable() and char not in labels._BLANK:
            assert labels._kind(char) is None, f"U+{code:04X}"
