"""Plain text as the source of a manual page, man(7)."""

from __future__ import annotations

import re

_LINE = 76


def roff(text: str, between: str = ".PP") -> str:
    """Return text as source: paragraphs filled, those with indented lines as they are.

    Args:
        text: Paragraphs with empty lines between.
        between: The macro that begins a paragraph: .IP within a list.
    """
    parts = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        head, _, rest = paragraph.partition("\n")
        if "\n  " in f"\n{paragraph}":
            lines = paragraph.splitlines() if head.startswith(" ") else rest.splitlines()
            before = [] if head.startswith(" ") else [filled(head), between]
            parts.append("\n".join([*before, ".nf", *map(escaped, lines), ".fi"]))
        else:
            parts.append(filled(paragraph))
    return f"\n{between}\n".join(parts)


def filled(text: str) -> str:
    """Return one paragraph, in lines that are short enough for mandoc, and broken at spaces alone."""
    lines = [""]
    for word in text.split():
        if lines[-1] and sum(map(_width, f"{lines[-1]} {word}")) > _LINE:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return "\n".join(map(escaped, lines))


def escaped(line: str) -> str:
    """Return a line that is shown as it is, hyphens to be copied."""
    plain = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain


def _width(char: str) -> int:
    """Columns of the source: mandoc counts a character beyond ASCII as \\[u20AC]."""
    return 8 if not char.isascii() else 2 if char in "\\-" else 1
