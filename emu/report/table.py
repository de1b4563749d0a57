"""The one writer of tables: aligned columns, the same on a terminal, in a pipe and in a file.

In a pipe every row is one line, however long. On a terminal that is too narrow the last column of text is wrapped
between words; where that is not enough each row becomes a block of lines `heading  value`. No word is ever broken, and
nothing is left out.
"""

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..errors import printable

GAP = "  "  # between columns
_NARROWEST = 24  # columns that wrapped text needs at least, to be worth reading


class Title(str):
    """A line that terminals show bold."""


class Table(NamedTuple):
    """Rows of text under an optional heading.

    Attributes
    ----------
    rows : sequence of sequence of str
        All of one length.
    align : str
        A letter a column: `l` or `r`.
    head : sequence of str, optional
        Names of the columns.
    indent : int
        Blanks before each line.
    """

    rows: Sequence[Sequence[str]]
    align: str
    head: Sequence[str] = ()
    indent: int = 0


Block = str | Table


def pairs(rows: Iterable[tuple[str, str | None]], indent: int = 0) -> Table:
    """Make a table of names and values; rows whose value is None are left out.

    Returns
    -------
    Table
    """
    return Table([(name, str(value)) for name, value in rows if value is not None], "ll", indent=indent)


def render(blocks: Iterable[Block], width: int | None = None, bold: bool = False) -> str:
    """Lay lines and tables out.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None for as many as the text needs.
    bold : bool
        Mark titles with the escape sequence of terminals.

    Returns
    -------
    str
        Lines without a line end after the last.
    """
    lines: list[str] = []
    for block in blocks:
        if isinstance(block, Table):
            lines += _table(block, width)
        elif isinstance(block, Title) and bold:
            lines.append(f"\x1b[1m{printable(block)}\x1b[0m")
        else:
            lines += _wrap(printable(block), width)
    return "\n".join(lines)


def write(blocks: Iterable[Block], stream) -> None:
    """Write lines and tables to the text `stream`, as wide as its terminal where it is one."""
    width = terminal_width(stream)
    stream.write(render(blocks, width, width is not None and not os.environ.get("NO_COLOR")) + "\n")


def terminal_width(stream) -> int | None:
    """Look up how many columns the terminal behind a stream has.

    Returns
    -------
    int or None
        None where there is no terminal.
    """
    return shutil.get_terminal_size().columns if stream.isatty() else None


def _table(table, width):
    """Lay one table out in the widest form that fits."""
    rows = [[printable(cell) for cell in row] for row in (([table.head] if table.head else []) + list(table.rows))]
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is None or table.indent + sum(widths) + len(GAP) * (len(widths) - 1) <= width:
        return _aligned(rows, widths, table)
    room = width - table.indent - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
    longest = len(GAP) + _longest_word(row[-1] for row in rows)  # what is wrapped is indented
    if table.align[-1] == "l" and room >= max(_NARROWEST, longest):
        return _aligned(rows, [*widths[:-1], room], table)
    return _stacked(rows, table, width)


def _aligned(rows, widths, table):
    """Lay each row out as one line, or as more where its last column is wider than its room."""
    lines = []
    for *cells, last in rows:
        parts = _wrap(last, widths[-1]) if len(last) > widths[-1] else [last]
        for number, part in enumerate(parts):
            texts = [*(cells if number == 0 else [""] * len(cells)), part]
            placed = (text.ljust(width) if side == "l" else text.rjust(width)
                      for text, width, side in zip(texts, widths, table.align, strict=True))
            lines.append((" " * table.indent + GAP.join(placed)).rstrip())
    return lines


def _stacked(rows, table, width):
    """Lay a row out as a block of lines: its first column, and below it the others with their headings."""
    head, body = (rows[0], rows[1:]) if table.head else ([""] * len(rows[0]), rows)
    lines = []
    for row in body:
        lines += _wrap(" " * table.indent + row[0], width)
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell.strip():
                text = f"{name}: {cell.strip()}" if name else cell.strip()
                lines += _wrap(" " * (table.indent + len(GAP)) + text, width)
    return lines


def _longest_word(cells):
    return max((len(word) for cell in cells for word in cell.split()), default=0)


def _wrap(text, width):
    """Wrap a line between words; what follows is indented below what began it."""
    if width is None or len(text) <= width:
        return [text]
    begin = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, width, subsequent_indent=begin + GAP, break_long_words=False, break_on_hyphens=False)
