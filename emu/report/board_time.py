"""The one headline of what a program takes on a board (spec §10.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..result import BoardRecord, LaidOver, MemoryLimits, PartRecord, RunResult
from .quantities import byte_count, milliseconds
from .table import Table, Title

if TYPE_CHECKING:
    from ..profiler.model import Profile
    from ..running.planning import Plan


def board_time_blocks(where: str, total_ps: int, parts, link_ps: int | None, bound: str = "",
                      shares: bool = True) -> list:
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
    shares : bool
        Whether each part is shown as a share too. With a timeline the parts are those of the serial run, which take
        longer than the whole where units overlap.

    Returns
    -------
    list of blocks of `report.table`
    """
    rows = [(name, milliseconds(part), f"{100 * part / total_ps:.1f} %" if total_ps and shares else "")
            for name, part in parts]
    if link_ps is not None:
        rows.append(("host link busy", milliseconds(link_ps), "beside them"))
    return [Title(f"{bound}{milliseconds(total_ps)} on {where}"), Table(rows, "lrl")]


def parts_of(result: RunResult) -> list[tuple[str, int]]:
    """List what the latency of a run is made of, as names and picoseconds that sum to it (§10.1).

    Returns
    -------
    list of (str, int)
        Compute and memory (of the serial run, where a timeline has units side by side); the rest only where it is not
        0.
    """
    serial = " in series" if result.timeline_ps else ""
    rest = (("housekeeping after the last instruction", result.housekeeping_ps),
            ("stalls less overlap of the timeline", result.timeline_ps))
    return [(f"compute{serial}", result.compute_ps), (f"memory{serial}", result.memory_ps),
            *(part for part in rest if part[1])]


def board_headline(result: RunResult) -> list:
    """Write what a run takes on the board, and what that is made of; nothing in the reference's time.

    Returns
    -------
    list of blocks of `report.table`
    """
    board = result.board
    if board is None or result.board_time_ps is None:
        return []
    return board_time_blocks(f"{board.name} at {board.clock_mhz:g} MHz{stopped(result)}", result.board_time_ps,
                             parts_of(result), link_busy(result), shares=not result.timeline_ps)


def stopped(result: RunResult) -> str:
    """Say that a run's time is not the program's, because it was stopped before its end; else nothing."""
    return ", stopped before its end" if result.stopped_by_max_instructions else ""


def link_busy(result: RunResult) -> int | None:
    """Look up the time that transfers over the host link took; None where there is no link in play."""
    return result.link_busy_ps if result.limits and result.limits.host_bandwidth_bytes_per_s else None


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


def board_rows(board: BoardRecord, on_board_time: bool, more: str = "") -> Iterator[tuple[str, str]]:
    """List board, memory part and what was laid over them, as rows of names and values; `more` is about the board."""
    profile = f" with {board.latency_profile}" if board.latency_profile else ""
    yield "board", f"{board.name}{profile}, {board.clock_mhz:g} MHz{rounding(board)}{more}"
    if board.part is not None or on_board_time:
        yield "memory part", part_line(board.part)
    yield from laid_over_rows(board.laid_over)


def limit_rows(limits: MemoryLimits | None) -> Iterator[tuple[str, str]]:
    """List what the memory model may use, and what decided so, as rows of names and values."""
    if limits is None:
        return
    if limits.ddr_capacity_bytes is not None:
        yield "DDR capacity", f"{byte_count(limits.ddr_capacity_bytes)} ({limits.ddr_capacity_from})"
    if limits.host_bandwidth_bytes_per_s is not None:
        yield "host link", f"{limits.host_bandwidth_bytes_per_s:,} bytes/s ({limits.host_bandwidth_from})"
