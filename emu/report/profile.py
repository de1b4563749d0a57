"""The tables of `plena-emu profile`."""

from ..profiler.model import Profile

SMALLEST_SHARE = 0.01  # loops below this share of all cycles are summed up


def profile_text(profile: Profile) -> str:
    """The profile for people: totals, by type, by opcode (most cycles first), loops as a tree."""
    total = profile.compute_cycles + profile.memory_cycles
    memory = f"{profile.memory_cycles:,} cycles, as board {profile.board} charges transfers"
    if not profile.memory_charged:
        memory = f"not charged: board {profile.board} states no transfer cycles"
    lines = [
        f"Profile of {profile.source} ({profile.view})",
        f"  source lines   {profile.source_lines:,}",
        f"  instructions   {profile.static_instructions:,} static, {profile.dynamic_instructions:,} "
        + ("executed" if profile.view == "executed" else "dynamic"),
        f"  latencies      {profile.latencies_from}; MLEN {profile.mlen}, VLEN {profile.vlen}",
        f"  compute        {profile.compute_cycles:,} cycles",
        f"  memory         {memory}",
        f"  time           {profile.seconds * 1e3:,.6f} ms at {profile.clock_mhz:g} MHz",
        *(f"  warning        {warning}" for warning in profile.warnings),
        "",
        *_counts("type", profile.by_type, total),
        "",
        *_counts("opcode", profile.by_opcode, total),
    ]
    if profile.loops:
        lines += ["", *_loops(profile, total)]
    return "\n".join(lines)


def _counts(title, rows, total):
    table = [(title, "count", "compute", "memory", "share")]
    for name, row in sorted(rows.items(), key=lambda item: -item[1].compute_cycles - item[1].memory_cycles):
        cycles = row.compute_cycles + row.memory_cycles
        figures = (row.count, row.compute_cycles, row.memory_cycles)
        table.append((name, *(f"{figure:,}" for figure in figures), _percent(cycles, total)))
    widths = [max(len(row[k]) for row in table) for k in range(5)]
    return ["  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))])
            for row in table]


def _percent(cycles, total):
    return f"{100 * cycles / total if total else 0:.1f} %"


def _loops(profile, total):
    lines = [f"{'share':>8}  {'iterations':>12}  {'instructions':>14}  {'cycles':>16}  loop"]
    lines += [_row(total, total, "", profile.dynamic_instructions, "whole program")]
    return lines + _rows(profile.loops, total, 1)


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
    label = f"  ; {loop.label[:60]}" if loop.label else ""
    return f"{where}: gp{loop.register} x {loop.trips}{label}"


def _row(cycles, total, iterations, instructions, name):
    return f"{_percent(cycles, total):>8}  {iterations:>12}  {instructions:>14,}  {cycles:>16,}  {name}"
