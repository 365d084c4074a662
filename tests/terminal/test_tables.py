"""What rich prints: text from the wire as it is, tables that fit the terminal."""

from __future__ import annotations

import io

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edged.terminal import tables as screen


def test_markup_is_shown_not_obeyed() -> None:
    out = io.StringIO()
    Console(file=out, width=60).print(screen.text("[bold]cat[/bold] :smile:"))
    assert out.getvalue().strip() == "[bold]cat[/bold] :smile:"


def test_a_narrow_terminal_breaks_no_word() -> None:
    table = Table("model", "id", title="tx2-01")
    table.add_row(screen.text("mobilenet_v2-retrained [b]"), Text("48988dd42704\n80.8 %"))
    table.add_row(screen.text("inception_v3"), screen.text(""))
    for width in (80, 30):
        out = io.StringIO()
        screen.print_part(Console(file=out, width=width), table)
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        assert max(map(len, lines)) <= width
        assert "mobilenet_v2-retrained" in out.getvalue()
        assert "48988dd42704" in out.getvalue()
    assert lines == [
        "tx2-01", "model: mobilenet_v2-retrained", "[b]", "id: 48988dd42704, 80.8 %", "", "model: inception_v3", "",
    ]  # fmt: skip
