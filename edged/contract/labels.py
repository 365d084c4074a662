"""What a label may be. It is also the name of a folder, a line of `labels.txt` and text in a terminal."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from edged.contract.messages import UNKNOWN
from edged.errors import CommandError

MAX_BYTES = 100
"""Of a label in UTF-8."""
_MOST_CHARACTERS = 4 * MAX_BYTES
"""Of a text that can be a label: NFC makes one character of four at most. Looking at each of millions takes seconds."""
_LONG = f"is longer than {MAX_BYTES} bytes of UTF-8"
_SHOWN = 80
_RESERVED = "is what results say of what no model was taught; choose another word"


def check_label(text: str) -> str:
    """Return the label in the form in which it is kept: Unicode NFC, no spaces around.

    Raises:
        CommandError: One line that says what is wrong with it.
    """
    label, reason = _judged(text)
    if reason:
        raise CommandError(f"label {shown(text)}: {reason}")
    return label


def check_new_label(text: str) -> str:
    """As `check_label`, for a field of a command. Raises ValueError, which names the fault and not the label."""
    label, reason = _judged(text)
    if reason:
        raise ValueError(reason)
    return label


def check_output(text: str) -> str:
    """Return the name of a model's output, as it is: it names no folder, so it may be long and hold a slash.

    Raises:
        ValueError: It cannot be shown, or is the word for what no model was taught.
    """
    if reason := _output_fault(text):
        raise ValueError(reason)
    return text


def up_to_a_mistake(outputs: Any) -> Any:
    """Return what shall be a list of names of outputs, up to the first that is none.

    Pydantic keeps an error for each of them, a kilobyte and more, and only the first one is told.
    """
    if isinstance(outputs, list):
        for place, text in enumerate(outputs):
            if not isinstance(text, str) or _output_fault(text):
                return outputs[: place + 1]
    return outputs


Label = Annotated[
    str, AfterValidator(check_new_label), Field(json_schema_extra={"minLength": 1, "maxLength": _MOST_CHARACTERS})
]
"""A label of an image, in a command."""
OutputName = Annotated[str, AfterValidator(check_output)]
"""A line of a model's labels.txt, in a command."""
OutputNames = Annotated[list[OutputName], BeforeValidator(up_to_a_mistake)]
"""All lines of it."""


def _output_fault(text: str) -> str | None:
    return unprintable(text) or _unseen(text) or (_RESERVED if is_reserved(text) else None)


def _judged(text: str) -> tuple[str, str | None]:
    """Return the form in which a label is kept, and what is wrong with it."""
    stripped = text.strip()
    if len(stripped) > _MOST_CHARACTERS:
        return stripped, _LONG
    label = kept_form(stripped)
    return label, _fault(label)


def kept_form(text: str) -> str:
    """Return a label in the form in which it is kept, whatever it holds: Unicode NFC, no spaces around."""
    return unicodedata.normalize("NFC", text).strip()


def shown(text: str) -> str:
    """Return what an error repeats of a label, which may hold anything: ASCII, quoted, not long."""
    quoted = ascii(text[: _SHOWN + 1])
    return quoted if len(quoted) <= _SHOWN else quoted[:_SHOWN] + "…"


def unprintable(text: str) -> str | None:
    """Say what in a text cannot be seen, or lets what stands beside it look like something else; None: nothing.

    A joiner is let in between two characters beyond ASCII: Persian and Indic words need it, and emoji of several parts.
    """
    if _is_plain(text):
        return None
    rest = _JOINED.sub("", text)
    if _is_plain(rest):
        return None
    return next((f"contains {kind}, U+{ord(char):04X}" for char in rest if (kind := _kind(char)) is not None), None)


def _unseen(text: str) -> str | None:
    """Say which of the marks in a new name Unicode shows as nothing; None: there is none.

    Apart from `unprintable`, which judges the labels of models that are there already: they go on running.
    """
    if (found := _UNSEEN.search(text)) is None:
        return None
    kind = "a variation selector" if found[0] in _SELECTORS else "an invisible character"
    return f"contains {kind}, U+{ord(found[0]):04X}"


def _is_plain(text: str) -> bool:
    """Whether each character can be seen; nearly every text is so, and this looks at it much faster than `_kind`."""
    return text.isprintable() and _BLANK.isdisjoint(text)


def _kind(char: str) -> str | None:
    if char in _BLANK:
        return "an invisible character"
    category = unicodedata.category(char)
    if category == "Cn":  # a newer Unicode may have it, so that only what no Unicode will ever have is refused
        return "what is no character" if _is_noncharacter(ord(char)) else None
    return _UNPRINTABLE.get(category)


def _is_noncharacter(code: int) -> bool:
    return 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE


def _fault(label: str) -> str | None:
    faults = {
        "is empty; a label has 1 to 100 bytes": not label,
        _LONG: len(label.encode(errors="replace")) > MAX_BYTES,
        "contains a slash; a label is the name of one folder": "/" in label or "\\" in label,
        "contains '..'": ".." in label,
        "starts with a dot": label.startswith("."),
        _RESERVED: is_reserved(label),
    }
    return unprintable(label) or _unseen(label) or next((fault for fault, found in faults.items() if found), None)


def is_reserved(label: str) -> bool:
    """Whether a label is the word that stands for none, in capitals or not: whoever reads results could not tell."""
    return label.casefold() == UNKNOWN


_UNPRINTABLE = {
    "Cc": "a control character",
    "Cf": "an invisible character",
    "Cs": "a control character (half of a surrogate pair)",
    "Co": "a character of private use, which every machine shows as something else",
    "Zl": "a control character (a line separator)",
    "Zp": "a control character (a paragraph separator)",
}
"""Unicode category → what is wrong with it. Cs: file names that are not UTF-8. Cf: zero width, or turns the direction
of the text around it, so that a label shows as another one."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Letters and marks that show nothing: a grapheme joiner, fillers of Hangul, vowels of Khmer, a Braille pattern."""
_SELECTORS = frozenset(
    chr(code) for codes in ((0x180B, 0x180D), (0x180F, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
    for code in range(codes[0], codes[1] + 1)
)  # fmt: skip
"""They choose how the character before them is drawn: `roses`, and `roses` with one behind it, look alike."""
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
"""Default_Ignorable_Code_Point of Unicode 15, what is not assigned yet included, without the two joiners, which
`unprintable` has judged by their place."""
_JOINED = re.compile(r"(?<=[^\0-\x7f\u200c\u200d])[\u200c\u200d](?=[^\0-\x7f\u200c\u200d])")
"""A joiner between two characters beyond ASCII that are none themselves."""
