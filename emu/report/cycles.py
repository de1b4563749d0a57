"""Tables of `plena-emu profile --by … --timing NAME`: where the cycles of a hardware timeline went."""

import csv
import io

from ..errors import EmuError
from ..result import RunResult
from ..result.cycle_table import CycleRow, CycleTable
from .table import Table, render

BAR = 24  # characters of the longest bar
ISSUED, WAITED = "█", "▒"
_REASONS_SHOWN = 2  # of a row
_COUNTS = ("cycles", "instructions", "stall", "recovery", "drain", "backend_wait")


def cycles_text(result: RunResult, names: tuple[str, ...], width: int | None = None) -> str:
    """Write the cycles of a run by `names` (`CycleTable.by`) as a table with a bar a row.

    Returns
    -------
    str
        Rows in program order where they have layers, else those of most cycles first.
    """
    table = cycles_of(result)
    rows, whole = _ordered(table, names), table.total.cycles
    most = max((row.cycles.cycles for row in rows), default=0)
    titles = (*names, "cycles", "%", "", "issued", "stalled", "recovery", "drain", "matrix", "vector", "memory",
              "waits most for")
    body = [[*("-" if part is None else str(part) for part in row.key), *_cells(row, whole, most)] for row in rows]
    align = "".join("l" if title in (*names, "", "waits most for") else "r" for title in titles)
    lines = [
        f"{result.program.path} by {', '.join(names)}, timing {table.timing}",
        f"  makespan   {whole:,} cycles of {table.core_period_ps:,} ps = {result.latency_ps / 1000:,.3f} ns",
        f"  stages     from {table.source}",
        *(f"  warning    {line}" for line in result.warnings),
        "", render([Table(body, align, titles)], width), "",
        "cycles = issued + stalled + recovery + drain: an instruction has those from the issue before it to its own,"
        " the one that completes last the drain as well. Matrix,"
        " vector and memory are cycles of work of units, side by side.",
    ]
    if names == ("loop",):
        lines.append("A row holds everything inside its loop, so rows overlap.")
    return "\n".join(lines)


def cycles_of(result: RunResult) -> CycleTable:
    """Take the cycles by stage of a run.

    Returns
    -------
    CycleTable

    Raises
    ------
    EmuError
        The run has none.
    """
    if result.hardware is None or result.hardware.stages is None:
        raise EmuError("the run has no cycles by stage: they need a hardware timeline (--timing rtl-v1)")
    return result.hardware.stages


def cycles_csv(table: CycleTable, names: tuple[str, ...]) -> str:
    """Write the cycles by `names` as comma-separated values: counts, then work by resource and stalls by reason.

    Returns
    -------
    str
    """
    rows = _ordered(table, names)
    work = sorted({name for row in rows for name in row.cycles.work})
    reasons = sorted({name for row in rows for name in row.cycles.stalls})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*names, *_COUNTS, *(f"work.{name}" for name in work), *(f"stall.{name}" for name in reasons)])
    for row in rows:
        writer.writerow([*row.key, *(getattr(row.cycles, name) for name in _COUNTS),
                         *(row.cycles.work.get(name, 0) for name in work),
                         *(row.cycles.stalls.get(name, 0) for name in reasons)])
    return text.getvalue()


def _ordered(table: CycleTable, names) -> list[CycleRow]:
    rows = table.by(*names)
    return rows if "layer" in names else sorted(rows, key=lambda row: -row.cycles.cycles)


def _cells(row, whole, most):
    """The cells of a row behind its key."""
    cycles = row.cycles
    work = cycles.work
    issued = round(BAR * cycles.instructions / most) if most else 0
    bar = ISSUED * issued + WAITED * (round(BAR * cycles.cycles / most) - issued if most else 0)
    memory = sum(value for name, value in work.items() if name.startswith("hbm_"))
    matrix = work.get("matrix_compute", 0) + work.get("matrix_writeout", 0)
    return (f"{cycles.cycles:,}", f"{100 * cycles.cycles / whole:.1f}" if whole else "", bar,
            f"{cycles.instructions:,}", f"{cycles.stall:,}", f"{cycles.recovery:,}", f"{cycles.drain:,}", f"{matrix:,}",
            f"{work.get('vector_pipeline', 0):,}", f"{memory:,}", _reasons(cycles))


def _reasons(cycles):
    ranked = sorted(cycles.stalls.items(), key=lambda entry: (-entry[1], entry[0]))
    return ", ".join(f"{name} {100 * value / cycles.cycles:.0f} %" for name, value in ranked[:_REASONS_SHOWN])
