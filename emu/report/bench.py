"""The tables of `plena-emu bench` and of its comparison of two results."""

import statistics

from ..bench.compare import NOISE_FACTOR, SMALLEST_S, SMALLEST_SHARE, Comparison
from ..bench.record import COUNTED_ABOVE, PROCESS, BenchRecord
from .quantities import size
from .table import Table, pairs, render

MIB = 2**20


def bench_text(record: BenchRecord, width: int | None = None) -> str:
    """Write the benchmark for people: machine, runs in this process, whole processes, geometric means.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    blocks = [f"Benchmark of {record.started}, medians of {record.runs} runs", _machine(record)]
    if record.kernel:
        blocks += ["", "Kernel level: runs in one process after a warm-up run, phases in ms; the rates and x are those"
                   " of simulate", _table(_KERNEL, map(_kernel_row, record.kernel), 3)]
    if record.process:
        blocks += ["", "Process level: the executable with the arguments and settings of the program, from start to"
                   " exit", _table(_PROCESS, map(_process_row, record.process), 2)]
    if record.means:
        rows = [(mean.mode, mean.model, f"{mean.programs}", _times(mean.speedup), _times(mean.smallest))
                for mean in record.means]
        blocks += ["", f"Against the reference: goldens with a wall and more than {COUNTED_ABOVE:,} instructions",
                   _table(("mode", "model", "programs", "geometric mean", "smallest"), rows, 2)]
    if record.side_by_side:
        blocks += ["", f"Side by side with {record.reference}: whole processes in turns, seconds",
                   _table(_SIDE_BY_SIDE, map(_side_by_side_row, record.side_by_side), 2),
                   _geometric(record.side_by_side)]
    for growth in record.growth:
        blocks += ["", f"Growth of {growth.model} ({growth.preset}) on {growth.memory_model} with {growth.grows}:"
                   f" timing-only, control per instruction {_course(growth, 'control_ns')}, timing per access"
                   f" {_course(growth, 'timing_ns')}", _table(_GROWTH, map(_growth_row, growth.points), 0)]
    if any(found.speedup is not None for found in record.kernel + record.process):
        blocks += ["", "x: reference wall / median. +-: median deviation of the runs."]
    return render(blocks + [f"note: {note}" for note in record.notes], width)


def _machine(record):
    m = record.machine
    load = " ".join(f"{value:.2f}" for value in m.load_average)
    return pairs((
        ("cpu", f"{m.cpu}, {m.usable_cores} of {m.cores} cores usable"),
        ("memory", size(m.memory_bytes)),
        ("system", f"{m.kernel} {m.architecture}, load average {load}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in m.versions.items())),
    ), indent=2)


def _table(head, rows, left):
    """Make a table of figures, its first `left` columns names."""
    return Table(list(rows), "l" * left + "r" * (len(head) - left), head)


_KERNEL = ("program", "model", "mode", "instructions", "cycles", "start-up", "load", "simulate", "+-", "dump",
           "instr/s", "cycles/s", "x")
_PROCESS = ("program", "model", "instructions", "cycles", "wall s", "+-", "peak MiB", "instr/s", "cycles/s", "x")


_SIDE_BY_SIDE = ("program", "model", "instructions", "own", "start-up", "peak MiB", "reference", "start-up", "peak MiB",
                 "x", "x less start-up")
FLAT = 0.2  # of a figure that changes by no more the table says that it is flat
_GROWTH = ("layers", "tokens", "instructions", "accesses", "simulate ms", "+-", "control ms", "timing ms",
           "control ns/instruction", "timing ns/access")


def _side_by_side_row(found):
    return (found.program, found.model, _count(found.instructions), f"{found.own.median_s:.3f}",
            f"{found.own_startup.median_s:.3f}", _mib(found.own_peak_bytes), f"{found.reference.median_s:.3f}",
            f"{found.reference_startup.median_s:.3f}", _mib(found.reference_peak_bytes), _times(found.ratio),
            _times(found.net_ratio))


def _geometric(rows):
    """Say the geometric means of the ratios."""
    net = [row.net_ratio for row in rows if row.net_ratio is not None]
    text = f"geometric mean {statistics.geometric_mean(row.ratio for row in rows):,.1f}"
    return f"{text}, less start-up {statistics.geometric_mean(net):,.1f} (of {len(net)})" if net else text


def _growth_row(point):
    return (f"{point.layers}", f"{point.tokens}", _count(point.instructions), _count(point.accesses),
            _ms(point.simulate), _spread(point.simulate), _ms(point.control), _ms(point.timing),
            f"{point.control_ns:,.2f}", f"{point.timing_ns:,.2f}")


def _course(growth, what):
    """Say whether a figure is flat, or how far it rises or falls as the model grows."""
    rise, fall = growth.rise(what), growth.fall(what)
    if rise > FLAT:
        return f"RISES by up to {rise:.0%}"
    return f"falls by up to {fall:.0%}" if fall > FLAT else f"flat (within {max(rise, fall):.0%})"


def _mib(value):
    return "-" if value is None else f"{value / MIB:,.0f}"


def _kernel_row(found):
    wall = found.wall
    return (found.program, found.model, found.mode, _count(found.instructions), f"{found.cycles:,.0f}",
            *(_ms(wall[phase]) for phase in ("startup", "load", "simulate")), _spread(wall["simulate"]),
            _ms(wall["dump"]), _rate(found.instructions_per_s), _rate(found.cycles_per_s), _times(found.speedup))


def _process_row(found):
    wall = found.wall[PROCESS]
    peak = _mib(found.peak_memory_bytes)
    return (found.program, found.model, _count(found.instructions), f"{found.cycles:,.0f}", f"{wall.median_s:.3f}",
            _spread(wall), peak, _rate(found.instructions_per_s), _rate(found.cycles_per_s), _times(found.speedup))


def _count(value):
    return "-" if value is None else f"{value:,}"


def _ms(timing):
    return f"{1e3 * timing.median_s:,.2f}"


def _spread(timing):
    return f"{timing.mad_s / timing.median_s:.1%}" if timing.median_s else "-"


def _rate(value):
    return "-" if value is None else f"{value:,.0f}"


def _times(value):
    return "-" if value is None else f"{value:,.1f}"


def comparison_text(found: Comparison, width: int | None = None) -> str:
    """Write what changed beyond noise, the largest change first.

    Parameters
    ----------
    width : int, optional
        Columns of the terminal; None where lines may be as long as they are.

    Returns
    -------
    str
    """
    blocks = list(found.remarks)
    for title, changes in (("Slower", found.slower), ("Faster", found.faster)):
        if changes:
            blocks += ["", title, _table(_CHANGE, map(_change_row, changes), 4)]
    blocks += ["", f"{len(found.slower)} slower, {len(found.faster)} faster, {found.unchanged} within noise: medians"
               f" {SMALLEST_SHARE:.0%}, {1e3 * SMALLEST_S:g} ms and {NOISE_FACTOR:g} times the combined spread of the"
               " runs apart count"]
    return render(blocks, width).lstrip("\n")


_CHANGE = ("program", "model", "mode", "phase", "old ms", "new ms", "change", "noise ms")


def _change_row(change):
    return (change.program, change.model, change.mode, change.phase, f"{1e3 * change.old_s:,.2f}",
            f"{1e3 * change.new_s:,.2f}", f"{change.ratio - 1:+.1%}", f"{1e3 * change.noise_s:,.2f}")
