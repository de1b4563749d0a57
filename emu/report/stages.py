"""Tables of `plena-emu profile --by`: where a run's time went, for people and for spreadsheets."""

import csv
import io

from ..errors import EmuError
from ..result import FIELDS, Figures, Row, RunResult, StageTable, nanoseconds
from .board_time import board_headline, board_rows, limit_rows
from .quantities import time_unit
from .table import Table, render

BAR = 24  # characters of the longest bar
COMPUTE, MEMORY = "█", "▒"


def stages_text(result: RunResult, names: tuple[str, ...], width: int | None = None) -> str:
    """Write the figures of a run by `names` (`StageTable.by`) as a table with a bar a row.

    Returns
    -------
    str
        Rows in program order where they have layers, else the longest first.
    """
    table = stages_of(result, "a table")
    rows = ordered(table.by(*names), names)
    whole = result.end_ps
    unit = time_unit(whole)
    titles = _titles(rows, names, unit[0])
    body = [_cells(table, row, whole, titles[len(names) :], _bar(row.figures, rows), unit) for row in rows]
    align = "".join("l" if title in (*names, "") else "r" for title in titles)
    headline = board_headline(result)
    lines = [*([render(headline, width)] if headline else []), *_head(result, table, names), "",
             render([Table(body, align, titles)], width)]
    if names == ("region",):
        lines += ["", "A transfer counts for the region that holds its first element."]
    if names == ("loop",):
        lines += ["", "A row holds everything inside its loop, so rows overlap."]
    return "\n".join(lines)


def stages_of(result: RunResult, what: str) -> StageTable:
    """Take the stages of a run.

    Returns
    -------
    StageTable

    Raises
    ------
    EmuError
        The run has none; `what` is what needs them.
    """
    if result.stages is None:
        raise EmuError(f"the run has no stages: {what} needs a record of plena-emu run --json")
    return result.stages


def ordered(rows: list[Row], names: tuple[str, ...]) -> list[Row]:
    """Put rows in the order in which they are shown."""
    return rows if "layer" in names else sorted(rows, key=lambda row: -row.figures.time_ps)


def stages_csv(table: StageTable, names: tuple[str, ...]) -> str:
    """Write the figures by `names` as comma-separated values, with every field and a line of titles.

    Returns
    -------
    str
        Absent values are empty.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *FIELDS, "array_utilization"])
    for row in ordered(table.by(*names), names):
        values = [getattr(row.figures, name) for name in FIELDS]
        writer.writerow([*row.key, *values, f"{table.array_utilization(row.figures):.6f}"])
    return text.getvalue()


def share_of_other(table: StageTable) -> float:
    """Share of the time of stages that nothing names."""
    whole = table.total.time_ps
    other = sum(row.figures.time_ps for row in table.stages if row.key[1] == "other")
    return other / whole if whole else 0.0


def _head(result, table, names):
    model = result.model if result.regime in (None, result.model) else f"{result.model} ({result.regime})"
    rows = []
    if result.board_time_ps is None:
        basis = f" ({result.board.name}'s latencies, --reference-timing)" if result.board else ""
        rows.append(("latency", f"{nanoseconds(result.latency_ps)} ns; compute {nanoseconds(result.compute_ps)} ns,"
                                f" memory {nanoseconds(result.memory_ps)} ns{basis}"))
    rows.append(("memory", model))
    if result.board is not None:
        rows += board_rows(result.board, result.board_time_ps is not None)
    rows += limit_rows(result.limits)
    if set(names) & {"layer", "operator"}:
        rows.append(("stages", f"from {table.source}; {100 * share_of_other(table):.2f} % of the time is other"))
    rows += [("warning", line) for line in [*table.warnings, *result.warnings]]
    width = max(10, *(len(name) for name, _ in rows))
    return [f"{result.program.path} by {', '.join(names)}", *(f"  {name:<{width}} {text}" for name, text in rows)]


def _titles(rows, names, unit):
    with_rows = any(row.figures.row_hits is not None for row in rows)
    link = any(row.figures.link_bytes for row in rows)
    of_regions = names == ("region",)  # which compute nothing
    parts = ("transfers",) if of_regions else ("compute", "memory", "instructions")
    return (*names, f"time {unit}", "%", "", *parts, "bytes read", "written",
            *(("over link", f"link {unit}", "swaps") if link else ()),
            *(() if of_regions else ("multiply-adds", "array %")), *(("row hits %",) if with_rows else ()))


def _cells(table, row, whole, titles, bar, unit):
    """The cells of a row: its key, then a figure under each title."""
    f = row.figures
    name, scale = unit
    served = sum((f.row_hits or 0, f.row_misses or 0, f.row_conflicts or 0))
    figures = {
        f"time {name}": _time(f.time_ps, scale), "%": f"{100 * f.time_ps / whole:.1f}" if whole else "", "": bar,
        "compute": _time(f.compute_ps, scale), "memory": _time(f.memory_ps, scale),
        "instructions": f"{f.instructions:,}", "transfers": f"{f.transfers:,}",
        "bytes read": f"{f.bytes_read:,}", "written": f"{f.bytes_written:,}", "over link": f"{f.link_bytes:,}",
        f"link {name}": _time(f.link_ps, scale), "swaps": f"{f.swaps:,}", "multiply-adds": f"{f.multiply_adds:,}",
        "array %": f"{100 * table.array_utilization(f):.1f}" if f.multiply_adds else "",
        "row hits %": f"{100 * (f.row_hits or 0) / served:.1f}" if served else "",
    }
    return [*("-" if part is None else str(part) for part in row.key), *(figures[title] for title in titles)]


def _bar(figures: Figures, rows) -> str:
    """Compute and memory time as characters, to the scale of the longest row."""
    longest = max((row.figures.time_ps for row in rows), default=0)
    if not longest:
        return ""
    compute = round(BAR * figures.compute_ps / longest)
    return COMPUTE * compute + MEMORY * (round(BAR * figures.time_ps / longest) - compute)


def _time(picoseconds, scale):
    return f"{picoseconds / scale:,.3f}"
