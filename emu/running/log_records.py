"""The log records every run writes (spec §5.2), each in one place.

The run calls them in this order: `settings_records` and `board_record` once the settings are known, `program_records`
before the first instruction, `instruction_record` where records of executed instructions were asked for,
`dump_record` after each dump; the command line calls `final_records` at the end.
"""

from ..logs import RUNNER, TARGET, Log
from ..result import Dump, RunResult, hbm_statistics, nanoseconds

CONFIG = f"{TARGET}::settings"
PROGRAM = f"{TARGET}::program"
SHOWN_INVALID = 20


def settings_records(log: Log, settings) -> None:
    """Topology (the testbenches scan it), corrections, and what the machine is made of.

    `settings` is a `plena_emu.config.settings.Settings` that already has the HBM size of the run.
    """
    s = settings
    log.warn("Topology", RUNNER, mlen=s.mlen, vlen=s.vlen, hlen=s.hlen, blen=s.blen, broadcast_amount=s.broadcast)
    for line in s.warnings:
        log.warn(line, CONFIG)
    log.info(f"Settings from {s.source}", CONFIG, named_by=s.origin)
    log.info("Matrix SRAM", CONFIG, size=s.matrix_sram_size, tiles=s.matrix_tiles, type=s.matrix_sram_type)
    log.info("Vector SRAM", CONFIG, size=s.vector_sram_size, type=s.vector_sram_type)
    log.info("Prefetch amounts", CONFIG, matrix=s.pm, vector=s.pv, vector_writeback=s.sv)
    log.info(f"HBM size {s.hbm_size} bytes ({s.hbm_size / 2**30:.3f} GiB)", CONFIG)


def board_record(log: Log, platform) -> None:
    """Write the board of a run and how much of the settings it replaced; nothing without a board.

    `platform` is a `plena_emu.running.platform.Platform`.
    """
    board = platform.board
    if board is not None:
        log.info(f"Board {board.name}", CONFIG, file=board.source, clock_mhz=board.clock_mhz,
                 settings_replaced=len(platform.changes))


def program_records(log: Log, program) -> None:
    """Words no revision, or only the other one, gives a meaning: a `plena_emu.program.decode.Program`.

    An error record for each word the revision does not assign (the rest as one count when there are many), one
    warning for all those that the other revision does assign.
    """
    for pc, word in program.invalid[:SHOWN_INVALID]:
        log.error(f"invalid opcode 0x{word & 0x3F:02X}", PROGRAM, pc=pc, word=f"0x{word:08X}")
    if len(program.invalid) > SHOWN_INVALID:
        log.error(f"{len(program.invalid) - SHOWN_INVALID} more words with invalid opcodes", PROGRAM)
    warning = foreign_warning(program)
    if warning:
        log.warn(warning, PROGRAM)


def foreign_warning(program) -> str | None:
    """The warning about codes that only the other revision assigns; None where there is none."""
    if not program.foreign:
        return None
    pc, _, name = program.foreign[0]
    other = "moe" if program.revision == "base" else "base"
    return (f"{len(program.foreign)} of {len(program)} words have codes that only --isa {other} assigns"
            f" (first: {name} at pc={pc}); this run decodes --isa {program.revision}")


def instruction_record(log: Log, pc: int, text: str) -> None:
    """One executed instruction, `text` as `plena_emu.program.decode.describe` writes it."""
    log.debug("execute op", RUNNER, pc=pc, op=text)


def dump_record(log: Log, dump: Dump) -> None:
    """One written dump."""
    log.info(f"Dumped {dump.name}", RUNNER, path=dump.path, bytes=dump.bytes)


def final_records(log: Log, result: RunResult) -> None:
    """Statistics, then the latency, which is the last line of a run."""
    log.info(hbm_statistics(result), RUNNER)
    serial = nanoseconds(result.latency_ps)
    if result.overlap is None:
        log.info(f"Simulation completed. Latency {serial}ns")
        return
    cycles = -(-result.latency_ps // 1000)
    adjusted = result.overlap.adjusted_cycles
    log.info(f"Experimental overlap: serial latency {serial}ns cycles {cycles}", RUNNER)
    log.info(f"Simulation completed. Latency {nanoseconds(1000 * adjusted)}ns cycles {adjusted}")
