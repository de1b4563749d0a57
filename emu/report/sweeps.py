"""Tables of a sweep and of a search, for people."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from ..sweeping.results import Pivot, Row, SweepResult
from .table import GAP, Block, Table, Title

MOST_ROWS = 40  # of a table; files have all
MOST_MESSAGES = 12  # of failures
_NUMBERS = re.compile(r"[0-9][0-9.,]*")
_SIZES = ("ddr_capacity", "hbm_size")
_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
_SHORT_ID = 10
_SPARED = ("bytes_read", "link_ms", "compute")  # figures that go first where a table is too wide
_HEADS = {"time_ms": "time ms", "regime": "regime", "compute": "compute", "link_ms": "link ms", "read": "read",
          "footprint_bytes": "footprint"}


def text_of(column: str, value: Any) -> str:
    """Write a value of a column: sizes with their unit, large numbers with commas, `-` for none.

    Returns
    -------
    str
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    if column in _SIZES or column.endswith("_bytes") or column.startswith("bytes_"):
        return size_text(int(value))
    if column == "host_bandwidth" or column.endswith("_per_s"):
        return _rate_text(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.3f}" if column.endswith("_ms") else f"{value:g}"


def size_text(size: int) -> str:
    """Write bytes with the largest unit that leaves no more than two decimals of it unsaid: `512 MiB`, `3.66 MiB`.

    Returns
    -------
    str
    """
    for unit, factor in _UNITS:
        if size >= factor:
            return f"{size / factor:.2f}".rstrip("0").rstrip(".") + f" {unit}"
    return f"{size} B"


def _rate_text(rate):
    for unit, factor in (("GB/s", 10**9), ("MB/s", 10**6), ("kB/s", 10**3)):
        if rate >= factor:
            return f"{rate / factor:.4g} {unit}"
    return f"{rate:.4g} B/s"


def sweep_blocks(result: SweepResult, columns: Sequence[str] = (), heading: str | None = None,
                 width: int | None = None) -> list[Block]:
    """Lay the rows of a sweep out: what varies, and the main figures or those that were asked for.

    Parameters
    ----------
    columns : sequence of str
        Figures; where none are named, the main ones, of which those that say least go where the table is too wide.
    width : int, optional
        Columns of the terminal.

    Returns
    -------
    list of Block
    """
    ran = [row for row in result.rows if row.failure is None]
    good = _spread(ran) if heading is None else ran[:MOST_ROWS]
    names = list(columns) or _main(good)
    table = _table_of(result, good, names)
    for name in () if columns or width is None else _SPARED:
        if _width_of(table) > width and name in names:
            names.remove(name)
            table = _table_of(result, good, names)
    blocks: list[Block] = [] if heading is None else [Title(heading)]
    if good:
        blocks.append(table)
    if len(ran) > len(good):
        blocks.append(f"and {len(ran) - len(good):,} more points{' between these' if heading is None else ''}:"
                      " --csv, --parquet and --jsonl have all, --best and --pareto choose")
    blocks += failure_blocks(result)
    blocks += _warnings(result.rows)
    return blocks


def _spread(rows):
    """Choose at most `MOST_ROWS` rows, evenly from the first to the last: so every board of a long sweep is seen."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[number * (len(rows) - 1) // (MOST_ROWS - 1)] for number in range(MOST_ROWS)]


def _table_of(result, rows, names) -> Table:
    keys = [key for key in result.varying if key not in names]
    head = ["point", *(short_name(key) for key in keys), *(_HEADS.get(name, name.replace("_", " ")) for name in names)]
    cells = [[row.id[:_SHORT_ID], *(text_of(key, row.get(key)) for key in keys), *(_cell(row, name) for name in names)]
             for row in rows]
    return Table(cells, "l" + "".join(_align(result.rows, key) for key in [*keys, *names]), head)


def _width_of(table):
    columns = zip(*[table.head, *table.rows], strict=True)
    widths = [max(map(len, column)) for column in columns]
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _main(rows):
    """The figures that say most: those that all rows share are left out."""
    names = ["time_ms", "compute", "bytes_read"]
    if any(row.get("regime") not in (None, "hbm") for row in rows):
        names.append("regime")
    if any(row.get("link_busy_ps") for row in rows):
        names.append("link_ms")
    return names


def _cell(row: Row, name):
    if name == "compute":
        total = row.figures["latency_ps"]
        return f"{100 * row.figures['compute_ps'] / total:.1f} %" if total else "-"
    if name == "link_ms":
        return f"{row.figures['link_busy_ps'] / 1e9:,.3f}"
    return text_of(name, row.get(name))


def short_name(key: str) -> str:
    """The head of a key's column: the last word of `board.latency.vector_add`."""
    return key.rpartition(".")[2].replace("_", " ")


def _align(rows: Iterable[Row], column):
    if column in ("compute", "link_ms"):
        return "r"
    return "l" if any(isinstance(row.get(column), str) for row in rows) else "r"


def failure_blocks(result: SweepResult) -> list[Block]:
    """Lay failures out: a line for each message, with how many points have it and the first of them.

    Messages that differ in their numbers only are one; the first is shown.

    Returns
    -------
    list of Block
        Empty without failures.
    """
    alike: dict[str, list[Row]] = {}
    for row in result.failures:
        alike.setdefault(_NUMBERS.sub("0", str(row.failure)), []).append(row)
    if not alike:
        return []
    keys = result.varying or result.keys
    cells = [[f"{len(rows):,}", rows[0].id[:_SHORT_ID],
              " ".join(f"{key}={text_of(key, rows[0].get(key))}" for key in keys), str(rows[0].failure)]
             for rows in list(alike.values())[:MOST_MESSAGES]]
    blocks: list[Block] = [Title(f"{len(result.failures):,} of {len(result):,} points failed"),
                           Table(cells, "rlll", ["points", "first", "its values", "why it failed"])]
    if len(alike) > MOST_MESSAGES:
        blocks.append(f"and {len(alike) - MOST_MESSAGES:,} more messages: the column error of --csv has all")
    return blocks


def _warnings(rows) -> list[Block]:
    """Each warning once, with how many points have it."""
    count: dict[str, int] = {}
    for row in rows:
        for line in row.warnings:
            count[line] = count.get(line, 0) + 1
    return [f"warning: {line} ({'all' if found == len(rows) else f'{found} of {len(rows)}'} points)"
            for line, found in count.items()]


def pivot_blocks(pivot: Pivot) -> list[Block]:
    """Lay a pivot table out.

    Returns
    -------
    list of Block
    """
    corner = f"{short_name(pivot.down)} \\ {short_name(pivot.across)}"
    head = [corner, *(text_of(pivot.across, value) for value in pivot.columns)]
    rows = [[text_of(pivot.down, value), *(text_of(pivot.column, cell) for cell in cells)]
            for value, cells in zip(pivot.rows, pivot.cells, strict=True)]
    return [Title(f"{pivot.column.replace('_', ' ')} by {short_name(pivot.down)} and {short_name(pivot.across)}"),
            Table(rows, "l" + "r" * len(pivot.columns), head)]
