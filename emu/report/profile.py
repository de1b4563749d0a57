"""The tables of `plena-emu profile`."""

from ..profiler.model import Profile
from .board_time import board_time_blocks
from .quantities import duration
from .table import Table, pairs, render

SMALLEST_SHARE = 0.01  # loops below this share of all cycles are summed up
LONGEST_LABEL = 60


def profile_text(profile: Profile, width: int | None = None) -> str:
    """Write the profile for people: totals, by type, by opcode (most cycles first), loops as a tree.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    total = profile.compute_cycles + profile.memory_cycles
    memory = f"{profile.memory_cycles:,} cycles, as board {profile.board} charges transfers"
    if not profile.memory_charged:
        memory = f"not charged: board {profile.board} states no transfer cycles"
    executed = "executed" if profile.view == "executed" else "dynamic"
    time, headline = None, []
    if profile.view == "static":  # in the reference's form
        time = f"{duration(profile.seconds, 6)} at {profile.clock_mhz:g} MHz"
    else:
        headline = board_time_blocks(
            f"{profile.board} at {profile.clock_mhz:g} MHz", profile.board_time_ps,
            (("compute", profile.compute_ps), ("memory, as the board charges it", profile.memory_ps)), None)
    blocks = [
        *headline,
        f"Profile of {profile.source} ({profile.view})",
        pairs((
            ("source lines", f"{profile.source_lines:,}"),
            ("instructions", f"{profile.static_instructions:,} static, {profile.dynamic_instructions:,} {executed}"),
            ("latencies", f"{profile.latencies_from}; MLEN {profile.mlen}, VLEN {profile.vlen}"),
            ("compute", f"{profile.compute_cycles:,} cycles"),
            ("memory", memory),
            ("time", time),
            *(("warning", warning) for warning in profile.warnings),
        ), indent=2),
        "",
        _counts("type", profile.by_type, total),
        "",
        _counts("opcode", profile.by_opcode, total),
    ]
    if profile.loops:
        whole = _row(total, total, "", profile.dynamic_instructions, "whole program")
        blocks += ["", Table([whole, *_rows(profile.loops, total, 1)], "rrrrl",
                             ("share", "iterations", "instructions", "cycles", "loop"))]
    return render(blocks, width)


def _counts(title, rows, total):
    table = []
    for name, row in sorted(rows.items(), key=lambda item: -item[1].compute_cycles - item[1].memory_cycles):
        cycles = row.compute_cycles + row.memory_cycles
        figures = (row.count, row.compute_cycles, row.memory_cycles)
        table.append((name, *(f"{figure:,}" for figure in figures), _percent(cycles, total)))
    return Table(table, "lrrrr", (title, "count", "compute", "memory", "share"))


def _percent(cycles, total):
    return f"{100 * cycles / total if total else 0:.1f} %"


def _rows(loops, total, depth):
    lines, small = [], [loop for loop in loops if loop.share < SMALLEST_SHARE]
    for loop in loops:
        if loop.share >= SMALLEST_SHARE:
            cycles = loop.compute_cycles + loop.memory_cycles
            lines.append(_row(cycles, total, f"{loop.iterations:,}", loop.instructions, "  " * depth + _name(loop)))
            lines += _rows(loop.loops, total, depth + 1)
    if small:
        cycles = sum(loop.compute_cycles + loop.memory_cycles for loop in small)
        text = f"{len(small)} loop{'s' if len(small) > 1 else ''} below {SMALLEST_SHARE:.0%} each"
        lines.append(_row(cycles, total, "", sum(loop.instructions for loop in small), "  " * depth + text))
    return lines


def _name(loop):
    where = f"pc {loop.pc}" if loop.line is None else f"line {loop.line}"
    label = loop.label or ""
    if len(label) > LONGEST_LABEL:
        label = label[: LONGEST_LABEL - 3] + "..."
    return f"{where}: gp{loop.register} x {loop.trips}" + (f"  ; {label}" if label else "")


def _row(cycles, total, iterations, instructions, name):
    return _percent(cycles, total), iterations, f"{instructions:,}", f"{cycles:,}", name
