"""How text looks on the screen: its four styles, lines and tables."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

# Red and green alone, apart from bold and dim: they can be read on light and on dark.
BAD, GOOD, STRONG, FAINT = "bold red", "green", "bold", "dim"


def line(*parts: str | Text | tuple[str, str], width: int) -> Text:
    """One line that is cut, never wrapped, at the width."""
    text = Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
    text.truncate(width, overflow="ellipsis")
    return text


def grid(*columns: str) -> Table:
    """An empty table without rules, whose cells are cut, never wrapped; ">AUC" is set flush right."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=FAINT)
    for name in columns:
        justify = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip(">"), justify=justify, no_wrap=True, overflow="ellipsis")
    return table
