"""The log records every run writes (spec §5.2), each in one place.

The run calls them in this order: `settings_records` and `board_record` once the settings are known, `program_records`
before the first instruction, `instruction_record` where records of executed instructions were asked for,
`dump_record` after each dump; the command line calls `final_records` at the end.
"""

from ..logs import RUNNER, TARGET, Log
from ..program.decode import other_revision
from ..result import Dump, RunResult, hbm_statistics, nanoseconds

CONFIG = f"{TARGET}::settings"
PROGRAM = f"{TARGET}::program"
SHOWN_INVALID = 20


def settings_records(log: Log, settings) -> None:
    """Write the topology (the testbenches scan it), corrections, and what the machine is made of.

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
                 time=platform.time_basis, core_period_ps=platform.period_ps, settings_replaced=len(platform.changes))


def hardware_records(log: Log, request, period_ps: int, dram) -> None:
    """What hardware timing works with (spec §7.12): the core cycle, and channels and peak of the memory that is timed.

    `dram` is a `DramDescription`, or None for the idealised DDR, which has no channels.
    """
    mode = "legacy" if request.timing == "serial" else request.timing
    log.info("Pipeline", CONFIG, clock_period_ps=period_ps, timing_mode=f'"{mode}"')
    if request.dma == "production" and dram is not None:
        from ..boards.dram_bandwidth import peak_bandwidth

        channels = dram.organisation.channel
        name = "HBM" if dram.name.split(" with ")[0] == "hbm2" else dram.name  # whatever its channels are
        log.info(f"{name} channels {channels}, peak {round(peak_bandwidth(dram, 'moe') / 1e9, 1):g} GB/s", CONFIG)


def program_records(log: Log, program) -> None:
    """Name the words that no revision, or only the other one, gives a meaning.

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
    """Warn about codes that only the other revision assigns, and words that look like it; None where there is none.

    Returns
    -------
    str or None
    """
    other, clauses = other_revision(program.revision), []
    for found, what in (program.foreign, f"have codes that only --isa {other} assigns"), (
            program.lookalikes, f"have operands that fit --isa {other} better"):
        if found:
            pc, _, name = found[0]
            clauses.append(f"{len(found)} of {len(program)} words {what} (first: {name} at pc={pc})")
    return f"{', '.join(clauses)}; this run decodes --isa {program.revision}" if clauses else None


def instruction_record(log: Log, pc: int, text: str) -> None:
    """Write one executed instruction, `text` as `plena_emu.program.decode.describe` writes it."""
    log.debug("execute op", RUNNER, pc=pc, op=text)


def dump_record(log: Log, dump: Dump) -> None:
    """Name one written dump."""
    log.info(f"Dumped {dump.name}", RUNNER, path=dump.path, bytes=dump.bytes)


def final_records(log: Log, result: RunResult) -> None:
    """Write the statistics, then the latency, which is the last line of a run."""
    log.record_lines("info", hbm_statistics(result).split("\n"), RUNNER)
    if result.hardware is not None:
        _hardware_end_records(log, result)
    if result.overlap is not None:
        _overlap_end_records(log, result)
        return
    log.info(f"Simulation completed. Latency {nanoseconds(result.latency_ps)}ns")


def _overlap_end_records(log, result):
    """Write both latencies of the overlay, with cycles (spec chapter 8)."""
    cycles = -(-result.latency_ps // 1000)
    adjusted = result.overlap.adjusted_cycles
    log.info(f"Experimental overlap: serial latency {nanoseconds(result.latency_ps)}ns cycles {cycles}", RUNNER)
    log.info(f"Simulation completed. Latency {nanoseconds(1000 * adjusted)}ns cycles {adjusted}")


def _hardware_end_records(log, result):
    """Coverage by RTL measurements, what the DMAs moved, and both latencies (spec §7.12)."""
    hardware = result.hardware
    if hardware.timeline is not None:
        validation = hardware.timeline["rtl_validation"]
        log.info("RTL validation coverage", RUNNER, status=f'"{validation["status"]}"',
                 **{name: validation[f"{name}_opcodes"] for name in ("total", "validated", "unsupported",
                                                                     "out_of_domain")})
    if hardware.dma_transfers is not None:
        log.info("DMA accounting", RUNNER, **hardware.dma_transfers)
    mode = "legacy" if hardware.timing == "serial" else hardware.timing
    log.info(f'Simulation completed timing_mode="{mode}" latency={nanoseconds(result.latency_ps)}ns'
             f" functional_executor_latency={nanoseconds(hardware.serial_latency_ps)}ns")
