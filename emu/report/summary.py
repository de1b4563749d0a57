"""The summary `plena-emu run` prints: one table a question (spec §5.6 names the inputs)."""

from ..result import RunResult, nanoseconds, scientific
from .board_time import board_headline, board_rows, limit_rows, parts_of
from .hardware import hardware_blocks
from .quantities import byte_count, duration
from .table import Table, Title, pairs, write

_MOST_EXECUTED = 12


def print_summary(result: RunResult, stream) -> None:
    """Write the tables for `result` to the text `stream`."""
    parts = (board_headline, _inputs, _simulated, hardware_blocks, _instructions, _host)
    blocks = [block for part in parts for block in part(result)]
    write(blocks, stream)


def _two_columns(title, rows):
    """Make a titled table of names and values; rows whose value is None are left out."""
    return [Title(title), pairs(rows)]


def _inputs(result):
    g = result.geometry
    model = result.model if result.regime in (None, result.model) else f"{result.model} ({result.regime})"
    return _two_columns("Machine", (
        ("program", f"{result.program.path}, {result.program.words:,} words, isa {result.isa}"),
        ("settings", _with_origin(result.sources.settings, result.sources.settings_origin)),
        ("geometry", f"MLEN {g.mlen}  VLEN {g.vlen}  HLEN {g.hlen}  BLEN {g.blen}  broadcast {g.broadcast}"),
        ("memory model", model),
        ("weight manifest", result.sources.weight_manifest),
        ("HBM", byte_count(g.hbm_size)),
        *_board(result.board, result.board_time_ps is not None),
        *limit_rows(result.limits),
    ))


def _board(board, on_board_time):
    """Say which board, what it replaced, and what it says of the geometry."""
    if board is None:
        return
    replaced = len(board.changes)
    values = f", {replaced} {'value' if replaced == 1 else 'values'} of the settings replaced"
    yield from board_rows(board, on_board_time, values)
    hints = [f"{hint.status} at batch {hint.batch}" for hint in board.tile_hints]
    yield "tile hint", ", ".join(hints) or "none for this geometry"


def _with_origin(source, origin):
    return source if origin == source else f"{source} ({origin})"


def _simulated(result):
    def share(part):
        whole = 0 if result.timeline_ps else result.end_ps  # a timeline is not the sum of what runs in series
        return f"{part:,} ps" + (f" ({100 * part / whole:.1f} %)" if whole else "")

    latency = f"{nanoseconds(result.latency_ps)} ns = {result.cycles:,.3f} cycles"
    if result.board is not None and result.board_time_ps is None:
        period = result.hardware.clock_period_ps if result.hardware else 1000
        latency += f" of {period:,} ps (--reference-timing)"
    dropped = result.dropped
    return _two_columns("Simulated", (
        ("latency", latency),
        *((name, share(part)) for name, part in _parts(result)),
        ("bytes read", f"{result.bytes_read:,}"),
        ("bytes written", f"{result.bytes_written:,}"),
        ("utilization", f"{scientific(result.utilization_bytes_per_s)} bytes/s"),
        ("model", result.model_line),
        *_dram(result.dram_statistics),
        ("vector rows dropped", f"{dropped.vector_rows:,}" if dropped.vector_rows else None),
        ("bytes read outside HBM", f"{dropped.hbm_bytes_read_outside:,}" if dropped.hbm_bytes_read_outside else None),
        ("data", "left out (--timing-only): no values, no dumps" if result.timing_only else None),
        ("stopped", "by --max-instructions, before the program ended" if result.stopped_by_max_instructions else None),
    ))


def _parts(result):
    """What the latency is made of; on a board the headline says so. Shares only of a serial run, which they sum to."""
    if result.board_time_ps is not None:
        return ()
    if result.timeline_ps:
        return parts_of(result)
    return ("compute", result.compute_ps), ("memory", result.memory_ps)


def _dram(found):
    """Say what the DRAM controller counted, where there was one."""
    if found is None:
        return ()
    from ..inputs.schema import convert
    from ..memory.dram_statistics import DramStatistics
    from .dram import dram_rows

    return dram_rows(convert(found, DramStatistics, "statistics of the DRAM controller"))


def _instructions(result):
    ranked = sorted(result.instruction_counts.items(), key=lambda entry: (-entry[1], entry[0]))
    ranked = [(name, count) for name, count in ranked if count]
    rest = ranked[_MOST_EXECUTED:]
    if len(rest) > 1:
        ranked[_MOST_EXECUTED:] = [(f"{len(rest)} others", sum(count for _, count in rest))]
    rows = [(name, f"{count:,}", f"{100 * count / result.instructions:.1f}") for name, count in ranked]
    return [Title(f"Instructions: {result.instructions:,}"), Table(rows, "lrr", ("opcode", "executed", "%"))]


def _host(result):
    wall = result.wall
    parts = (("start-up", wall.startup_s), ("load", wall.load_s), ("simulate", wall.simulate_s), ("dump", wall.dump_s))
    rows = [("wall", "  ".join(f"{name} {duration(seconds, 1)}" for name, seconds in parts)),
            ("speed", f"{result.instructions_per_s:,.0f} instructions/s")]
    rows += [("dump", f"{dump.path} ({byte_count(dump.bytes)})") for dump in result.dumps]
    return _two_columns("Host", rows)
