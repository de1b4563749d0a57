"""The one headline of what a program takes on a board (spec §10.1)."""

from ..result import LaidOver, PartRecord, RunResult
from .quantities import milliseconds
from .table import Table, Title


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


def parts_of(result: RunResult) -> list[tuple[str, int]]:
    """List what the latency of a run is made of, as names and picoseconds that sum to it (§10.1).

    Returns
    -------
    list of (str, int)
        Compute and memory; the rest only where it is not 0.
    """
    rest = (("housekeeping after the last instruction", result.housekeeping_ps),
            ("stalls less overlap of the timeline", result.timeline_ps))
    return [("compute", result.compute_ps), ("memory", result.memory_ps), *(part for part in rest if part[1])]


def board_headline(result: RunResult) -> list:
    """Write what a run takes on the board, and what that is made of; nothing in the reference's time.

    Returns
    -------
    list of blocks of `report.table`
    """
    board = result.board
    if board is None or result.board_time_ps is None:
        return []
    return board_time_blocks(f"{board.name} at {board.clock_mhz:g} MHz", result.board_time_ps, parts_of(result),
                             link_busy(result))


def link_busy(result: RunResult) -> int | None:
    """Look up the time that transfers over the host link took; None where there is no link in play."""
    return result.link_busy_ps if result.limits and result.limits.host_bandwidth_bytes_per_s else None


def part_line(part: PartRecord | None) -> str:
    """Write the memory part of a board on a line."""
    if part is None:
        return "none named: the idealised DDR of §3.5"
    return (f"{part.name} ({part.named_by}), {part.peak_bytes_per_s / 1e9:g} GB/s peak,"
            f" {100 * part.refresh_share:.1f} % of the time in refresh")


def laid_over_rows(laid_over: list[LaidOver]) -> list[tuple[str, str]]:
    """List what flags replaced of a board, as rows of names and values."""
    return [("laid over", f"{one.flag} {one.after} in place of {one.before or 'nothing'}") for one in laid_over]
