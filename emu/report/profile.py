"""The tables of `plena-emu profile`."""

from ..profiler.model import Profile, TypeProfile
from ..result import nanoseconds
from .board_time import board_time_blocks, laid_over_rows, limit_rows, part_line, rounding
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
    total = profile.compute_ps + profile.memory_ps
    is_static = profile.view == "static"
    blocks = [
        *_headline(profile),
        f"Profile of {profile.source} ({profile.view})",
        pairs((
            ("source lines", f"{profile.source_lines:,}"),
            ("instructions", f"{profile.static_instructions:,} static, {profile.dynamic_instructions:,}"
                             f" {'dynamic' if is_static else 'executed'}"),
            ("latencies", f"{profile.latencies_from}; MLEN {profile.mlen}, VLEN {profile.vlen}"),
            *_board(profile),
            ("latency", _latency(profile)),
            ("compute", f"{profile.compute_cycles:,} cycles"),
            ("memory", _memory(profile)),
            ("time", f"{duration(profile.seconds, 6)} at {profile.clock_mhz:g} MHz" if is_static else None),
            *limit_rows(profile.limits),
            *(("warning", warning) for warning in profile.warnings),
        ), indent=2),
        "",
        _counts("type", profile.by_type, total),
        "",
        _counts("opcode", profile.by_opcode, total),
    ]
    if profile.loops:
        whole = _row(profile, total, "", profile.dynamic_instructions, "whole program")
        blocks += ["", Table([whole, *_rows(profile.loops, total, 1)], "rrrrl",
                             ("share", "iterations", "instructions", "cycles", "loop"))]
    return render(blocks, width)


def _headline(profile):
    """Say what the run takes, in board time where it is that; a static profile has the reference's form below."""
    if profile.board_time_ps is None or profile.view == "static":
        return []
    parts = (("compute", profile.compute_ps), ("memory", profile.memory_ps),
             *((("housekeeping after the last instruction", profile.housekeeping_ps),) if profile.housekeeping_ps
               else ()))
    where = f"{profile.board} at {profile.clock_mhz:g} MHz"
    return board_time_blocks(where, profile.board_time_ps, parts, profile.link_busy_ps)


def _board(profile):
    """List board, memory part and what was laid over them."""
    if profile.board is None:
        return
    yield "board", f"{profile.board}, {profile.clock_mhz:g} MHz{rounding(profile)}"
    if profile.view != "static" and (profile.part is not None or profile.board_time_ps is not None):
        yield "memory part", part_line(profile.part)
    yield from laid_over_rows(profile.laid_over)


def _latency(profile):
    """Say what the run takes in the reference's time."""
    if profile.board_time_ps is not None:
        return None
    basis = " (--reference-timing)" if profile.board else ""
    return f"{nanoseconds(profile.latency_ps)} ns, cycles of 1000 ps{basis}"


def _memory(profile):
    """Say what transfers take, and by which rule."""
    if profile.view == "static":
        if not profile.memory_charged:
            return f"not charged: board {profile.board} states no transfer cycles"
        return f"{profile.memory_cycles:,} cycles, as board {profile.board} charges transfers"
    model = profile.model if profile.regime in (None, profile.model) else f"{profile.model} ({profile.regime})"
    return f"{_cycles(profile.memory_cycles)} cycles, memory model {model}"


def _cycles(cycles):
    """Write cycles to the nearest one: memory time may hold a part of one."""
    return f"{cycles:,.0f}"


def _counts(title, rows, total):
    table = []
    for name, row in sorted(rows.items(), key=lambda item: -item[1].compute_ps - item[1].memory_ps):
        figures = (f"{row.count:,}", f"{row.compute_cycles:,}", _cycles(row.memory_cycles))
        table.append((name, *figures, _percent(row.compute_ps + row.memory_ps, total)))
    return Table(table, "lrrrr", (title, "count", "compute", "memory", "share"))


def _percent(part, total):
    return f"{100 * part / total if total else 0:.1f} %"


def _rows(loops, total, depth):
    lines, small = [], [loop for loop in loops if loop.share < SMALLEST_SHARE]
    for loop in loops:
        if loop.share >= SMALLEST_SHARE:
            lines.append(_row(loop, total, f"{loop.iterations:,}", loop.instructions, "  " * depth + _name(loop)))
            lines += _rows(loop.loops, total, depth + 1)
    if small:
        text = f"{len(small)} loop{'s' if len(small) > 1 else ''} below {SMALLEST_SHARE:.0%} each"
        sums = TypeProfile()
        for loop in small:
            for name in ("compute_cycles", "memory_cycles", "compute_ps", "memory_ps"):
                setattr(sums, name, getattr(sums, name) + getattr(loop, name))
        lines.append(_row(sums, total, "", sum(loop.instructions for loop in small), "  " * depth + text))
    return lines


def _name(loop):
    where = f"pc {loop.pc}" if loop.line is None else f"line {loop.line}"
    label = loop.label or ""
    if len(label) > LONGEST_LABEL:
        label = label[: LONGEST_LABEL - 3] + "..."
    return f"{where}: gp{loop.register} x {loop.trips}" + (f"  ; {label}" if label else "")


def _row(part, total, iterations, instructions, name):
    share = _percent(part.compute_ps + part.memory_ps, total)
    return share, iterations, f"{instructions:,}", _cycles(part.compute_cycles + part.memory_cycles), name
