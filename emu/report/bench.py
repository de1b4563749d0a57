"""The tables of `plena-emu bench` and of its comparison of two results."""

from ..bench.compare import NOISE_FACTOR, SMALLEST_S, SMALLEST_SHARE, Comparison
from ..bench.record import COUNTED_ABOVE, PROCESS, BenchRecord

MIB = 2**20


def bench_text(record: BenchRecord) -> str:
    """The benchmark for people: machine, runs in this process, whole processes, geometric means."""
    lines = [*_machine(record)]
    if record.kernel:
        lines += ["", "Kernel level: runs in one process after a warm-up run, phases in ms; the rates and x are those"
                  " of simulate", *_aligned([_KERNEL, *map(_kernel_row, record.kernel)], 3)]
    if record.process:
        lines += ["", "Process level: the executable with the arguments and settings of the program, from start to"
                  " exit", *_aligned([_PROCESS, *map(_process_row, record.process)], 2)]
    if record.means:
        rows = [(mean.mode, mean.model, f"{mean.programs}", _times(mean.speedup), _times(mean.smallest))
                for mean in record.means]
        lines += ["", f"Against the reference: goldens with a wall and more than {COUNTED_ABOVE:,} instructions",
                  *_aligned([("mode", "model", "programs", "geometric mean", "smallest"), *rows], 2)]
    if any(found.speedup is not None for found in record.kernel + record.process):
        lines += ["", "x: reference wall / median. +-: median deviation of the runs."]
    return "\n".join(lines + [f"note: {note}" for note in record.notes])


def _machine(record):
    m = record.machine
    load = " ".join(f"{value:.2f}" for value in m.load_average)
    return [
        f"Benchmark of {record.started}, medians of {record.runs} runs",
        f"  cpu       {m.cpu}, {m.usable_cores} of {m.cores} cores usable",
        f"  memory    {m.memory_bytes / 2**30:.1f} GiB",
        f"  system    {m.kernel} {m.architecture}, load average {load}",
        f"  versions  {', '.join(f'{name} {version}' for name, version in m.versions.items())}",
    ]


_KERNEL = ("program", "model", "mode", "instructions", "cycles", "start-up", "load", "simulate", "+-", "dump",
           "instr/s", "cycles/s", "x")
_PROCESS = ("program", "model", "instructions", "cycles", "wall s", "+-", "peak MiB", "instr/s", "cycles/s", "x")


def _kernel_row(found):
    wall = found.wall
    return (found.program, found.model, found.mode, _count(found.instructions), f"{found.cycles:,.0f}",
            *(_ms(wall[phase]) for phase in ("startup", "load", "simulate")), _spread(wall["simulate"]),
            _ms(wall["dump"]), _rate(found.instructions_per_s), _rate(found.cycles_per_s), _times(found.speedup))


def _process_row(found):
    wall = found.wall[PROCESS]
    peak = "-" if found.peak_memory_bytes is None else f"{found.peak_memory_bytes / MIB:,.0f}"
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


def comparison_text(found: Comparison) -> str:
    """What changed beyond noise, the largest change first."""
    lines = [f"{remark}" for remark in found.remarks]
    for title, changes in (("Slower", found.slower), ("Faster", found.faster)):
        if changes:
            lines += ["", title, *_aligned([_CHANGE, *map(_change_row, changes)], 4)]
    lines += ["", f"{len(found.slower)} slower, {len(found.faster)} faster, {found.unchanged} within noise: medians"
              f" {SMALLEST_SHARE:.0%}, {1e3 * SMALLEST_S:g} ms and {NOISE_FACTOR:g} times the combined spread of the"
              " runs apart count"]
    return "\n".join(lines).lstrip("\n")


_CHANGE = ("program", "model", "mode", "phase", "old ms", "new ms", "change", "noise ms")


def _change_row(change):
    return (change.program, change.model, change.mode, change.phase, f"{1e3 * change.old_s:,.2f}",
            f"{1e3 * change.new_s:,.2f}", f"{change.ratio - 1:+.1%}", f"{1e3 * change.noise_s:,.2f}")


def _aligned(rows, left):
    """Rows of text as columns, the first `left` of them to the left."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) if k < left else cell.rjust(width)
                      for k, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows]
