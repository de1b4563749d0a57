"""The one headline of what a program takes on a board (spec §10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..result import BoardRecord, LaidOver, PartRecord
from .quantities import milliseconds
from .table import Table, Title

if TYPE_CHECKING:
    from ..profiler.model import Profile
    from ..running.planning import Plan


def board_time_blocks(where: str, total_ps: int, parts, link_ps: int | None, bound: str = "") -> list:
    """Write the time on a board and its parts, which sum to it exactly, as milliseconds to the picosecond.

    Parameters
    ----------
    where : str
        The board and its clock.
    parts : tuple of (str, int)
        Names and picoseconds.
    link_ps : int or None
        Time that transfers over the host link took; None where none is used.
    bound : str
        `at least ` where the time is a lower bound.

    Returns
    -------
    list of blocks of `report.table`
    """
    rows = [(name, milliseconds(part), f"{100 * part / total_ps:.1f} %" if total_ps else "") for name, part in parts]
    if link_ps is not None:
        rows.append(("host link busy", milliseconds(link_ps), "beside them"))
    return [Title(f"{bound}{milliseconds(total_ps)} on {where}"), Table(rows, "lrl")]


def rounding(found: BoardRecord | Plan | Profile) -> str:
    """Say what a core cycle counts as where the clock's period was rounded; else nothing."""
    return "" if found.core_period_exact else f" (rounded to {found.core_period_ps:,} ps a cycle)"


def part_line(part: PartRecord | None) -> str:
    """Write the memory part of a board on a line."""
    if part is None:
        return "none named: the idealised DDR of §3.5"
    clock = "" if part.clock_period_exact else f", its clock rounded to {part.clock_period_ps:,} ps"
    return (f"{part.name} ({part.named_by}), {part.peak_bytes_per_s / 1e9:g} GB/s peak{clock},"
            f" {100 * part.refresh_share:.1f} % of the time in refresh")


def laid_over_rows(laid_over: list[LaidOver]) -> list[tuple[str, str]]:
    """List what flags replaced of a board, as rows of names and values."""
    return [("laid over", f"{one.flag} {one.after} in place of {one.before or 'nothing'}") for one in laid_over]
