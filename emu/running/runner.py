"""Runs a program: files in, three passes over chunks of events, dumps and a result record out.

The control pass fills a chunk, the data and the timing pass consume it; between chunks the host looks
for Ctrl-C, shows progress and counts towards `max_instructions`.
"""

import os
import time

import msgspec
import numpy as np

from .. import isa
from ..atomic_files import make_directory
from ..config.hardware import hardware_of
from ..config.settings import find_settings
from ..errors import DataNeeded, EmuError
from ..inputs.number_formats import Fp, Plain
from ..kernels import layout
from ..kernels.compiler.jit import JIT
from ..logs import Log
from ..machine.core import Machine
from ..machine.dumps import write_sparse
from ..memory.models import open_model
from ..program.cycle_costs import PS_PER_CYCLE
from ..program.decode import decode, read_words
from ..request import RunRequest
from ..result import Dropped, Dump, RunResult, Wall, utilization
from .caveats import format_caveats, settings_caveats
from .log_records import (
    board_record,
    dump_record,
    foreign_warning,
    hardware_records,
    instruction_record,
    program_records,
    settings_records,
)
from .platform import resolve_platform
from .provenance import geometry_of, program_of, sources_of, versions
from .result_regions import DUMP, read_result_regions, region_pieces
from .simulation import Simulation, default_threads

TRACED_SLICE = 1 << 14  # most instructions a slice executes where every one is recorded


def _simulate(simulation, request, log):
    """Drive the run to its end; True when `max_instructions` stopped it."""
    before = 0
    words = len(simulation.program)
    more = True
    while more:
        try:
            more = simulation.step(request.max_instructions)
        finally:
            if request.trace:
                before = _trace(simulation, log, before)
        if not more:
            simulation.finish()
        for pc, executed, picoseconds in simulation.passed():
            request.progress(pc, words, executed, picoseconds)
    return not simulation.ended


def _trace(simulation, log, before):
    """Write one record for each instruction of the last slice; returns the instructions executed so far."""
    executed = simulation.executed
    for pc in simulation.machine.control.trace[: executed - before].tolist():
        instruction_record(log, pc, simulation.program.text(pc))
    return executed


def _write_dumps(machine, request, regions, result, log):
    """Write the dumps of §5.4 and §9.2; failures are collected, because statistics and latency come first."""
    names = ["mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin"]
    if request.isa == "moe":
        names.append("intsram_dump.bin")
    if request.dump_hbm and request.memory_model == "hbm":
        names.append("hbm_dump.bin")
    if regions:
        names.append(DUMP)
    for name in names:
        try:
            if name == DUMP:
                path, size = os.path.join(request.dump_dir, name), sum(region.bytes for region in regions)
                write_sparse(path, size, region_pieces(machine.data.hbm, regions))
            else:
                path, size = machine.dump(name, request.dump_dir)
        except EmuError as error:
            result.dump_errors.append(str(error))
            continue
        dump = Dump(name=name, path=path, bytes=size)
        result.dumps.append(dump)
        dump_record(log, dump)


def _counts(counts, revision):
    """Count executed instructions by mnemonic, in the order of the table."""
    return {op.name(revision): int(counts[op.id]) for op in isa.OPS if counts[op.id]}


def _warnings(request, platform, program, simulation):
    """List what the user should know besides the figures, one line each."""
    ctl = simulation.ctl
    lines = list(platform.warnings)
    foreign = foreign_warning(program)
    if foreign:
        lines.append(foreign)
    lines += settings_caveats(platform.settings, request)
    lines += format_caveats(program, platform.settings, simulation.machine.descriptors)
    lines += simulation.scale_lines.warnings()
    lines += simulation.memory.warnings()
    if ctl[layout.CTL_ROWS_DROPPED]:
        lines.append(f"{int(ctl[layout.CTL_ROWS_DROPPED])} prefetched rows lay past the end of the vector SRAM"
                     " and were dropped")
    if ctl[layout.CTL_OUTSIDE]:
        lines.append(f"{int(ctl[layout.CTL_OUTSIDE])} bytes were read outside the HBM and delivered as 0")
    return lines


def _value(choice):
    """Take the number of a `Choice`; None stays None."""
    return None if choice is None else choice.value


def _values(struct):
    """Take a statistics struct as plain values; None stays None."""
    return None if struct is None else msgspec.to_builtins(struct)


def _check_timing_only(request, program):
    """Refuse timing without data where time can depend on data (§1.8)."""
    used = set(program.table[:, layout.OP_ID].tolist())
    if request.timing_only and isa.V_TOPK in used and isa.S_LD_INT in used:
        raise DataNeeded(f"program {request.opcode}: holds V_TOPK and S_LD_INT, so its timing can depend on data;"
                         " run it without --timing-only")


def _check_store_types(settings, program):
    """Refuse stores to a plain float type whose encoding no rule gives: §2.3 has 8 exponent bits."""
    table = program.table
    stores = table[table[:, layout.OP_ID] == isa.H_STORE_V]
    for key, kind, used in (
        ("HBM_V_ACT_TYPE", settings.hbm_v_act_type, (stores[:, layout.OP_F1] == 0).any()),
        ("HBM_V_KV_TYPE", settings.hbm_v_kv_type, (stores[:, layout.OP_F1] != 0).any()),
    ):
        elem = kind.elem
        if used and isinstance(kind, Plain) and isinstance(elem, Fp) and (elem.exponent != 8 or not elem.sign):
            raise EmuError(f"settings {settings.source}: TRANSACTIONAL.PRECISION.{key} is plain {elem}, and H_STORE_V"
                           " can write plain floats with a sign and 8 exponent bits only")


def execute(request: RunRequest, log: Log) -> RunResult:
    """Run a program as `request` says, with the records of §5.2 on `log`.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        Anything malformed or illegal, one line. No dump is written then.
    """
    if JIT:
        return _execute(request, log)
    with np.errstate(all="ignore"):  # plain Python would warn where compiled code is silent
        return _execute(request, log)


def _execute(request, log):
    began = request.started_at or time.perf_counter()
    stated = find_settings(request.settings_path, os.environ, origin=request.settings_origin)
    platform = resolve_platform(request, stated)
    settings = platform.settings
    settings_records(log, settings)
    board_record(log, platform)
    hardware = hardware_of(settings, request.hbm_channels) if request.is_hardware else None
    period = hardware.period_ps if hardware else PS_PER_CYCLE
    program = decode(read_words(request.opcode), request.isa, settings, period)
    program_records(log, program)
    _check_timing_only(request, program)
    _check_store_types(settings, program)
    writes = request.dump_dir is not None and not request.timing_only
    regions = read_result_regions(request.results, settings.hbm_size) if writes and request.results else ()
    imported = time.perf_counter()

    machine = Machine(
        settings, request.isa, TRACED_SLICE if request.trace else 0, hardware is not None, request.dma == "production"
    )
    model = open_model(platform.regime, platform.manifest, machine.descriptors, capacity=_value(platform.capacity),
                       bandwidth=_value(platform.link), dram=request.dram, revision=request.isa, memo=request.memo,
                       dma=request.dma, channels=hardware and hardware.channels)
    if request.memory_trace is not None:
        from ..memory.dram_trace_recorder import RecordedMemory

        model = RecordedMemory(model, machine.descriptors, request.isa)
    hardware_run = _open_hardware(request, settings, program, hardware, log)
    if not request.timing_only:
        machine.load(request.hbm, request.fpsram, request.intsram, request.vram)
    elif request.intsram is not None:
        machine.load_integers(request.intsram)
    loaded = time.perf_counter()

    threads = request.threads or default_threads(request.timing_only)
    timeline = hardware_run and hardware_run.timeline
    simulation = Simulation(
        program, machine, model, not request.timing_only, threads, timeline, watched=request.progress is not None
    )
    try:
        simulation.prepare()
        ready = time.perf_counter()
        stopped = _simulate(simulation, request, log)
    finally:
        simulation.close()
    done = time.perf_counter()
    if request.memory_trace is not None:
        model.write(request.memory_trace)

    result = _result(request, platform, program, simulation, stopped)
    if hardware_run is not None:
        _finish_hardware(hardware_run, result, simulation)
    for line in result.warnings:
        if line != foreign_warning(program):
            log.warn(line)
    if writes and not stopped:
        make_directory(request.dump_dir, "dumps")
        _write_dumps(machine, request, regions, result, log)
    result.wall = Wall(startup_s=imported - began + ready - loaded, load_s=loaded - imported,
                       simulate_s=done - ready, dump_s=time.perf_counter() - done)
    result.instructions_per_s = simulation.executed / result.wall.simulate_s if result.wall.simulate_s else 0.0
    return result


def _open_hardware(request, settings, program, hardware, log):
    """Open passes and files of hardware timing (spec chapter 7); None without it."""
    if hardware is None:
        return None
    from .timeline.outputs import HardwareRun

    hardware_records(log, request, hardware)
    return HardwareRun(request, settings, program, hardware)


def _finish_hardware(hardware_run, result, simulation):
    """Put hardware timing into the result and write its files."""
    memory = simulation.memory
    result.hardware = hardware_run.report(result.latency_ps, memory, simulation.machine.descriptors)
    if hardware_run.latency_ps is not None:
        result.latency_ps = hardware_run.latency_ps
    result.cycles = result.latency_ps / hardware_run.hardware.period_ps
    hardware_run.write(result.hardware, (memory.bytes_read, memory.bytes_written))
    result.warnings += hardware_run.warnings


def _result(request, platform, program, simulation, stopped):
    """Collect everything known once the simulation is over."""
    memory = simulation.memory
    ctl = simulation.ctl
    end = simulation.end_ps
    statistics = memory.statistics
    compute = int(ctl[layout.CTL_COMPUTE])
    return RunResult(
        isa=request.isa,
        program=program_of(request, program),
        sources=sources_of(request, platform),
        geometry=geometry_of(platform.settings),
        model=request.memory_model,
        regime=memory.regime,
        limits=platform.limits,
        board=platform.record(simulation.latency_ps, compute),
        latency_ps=simulation.latency_ps,
        end_ps=end,
        cycles=simulation.latency_ps / 1000,
        compute_ps=compute,
        memory_ps=end - compute,
        instructions=simulation.executed,
        instruction_counts=_counts(simulation.machine.control.counts, request.isa),
        bytes_read=memory.bytes_read,
        bytes_written=memory.bytes_written,
        utilization_bytes_per_s=utilization(memory.bytes_read, memory.bytes_written, end),
        model_statistics=msgspec.to_builtins(statistics),
        model_line=statistics.line,
        memo=_values(memory.engine.memo),
        dram_statistics=_values(memory.engine.statistics),
        dropped=Dropped(
            vector_rows=int(ctl[layout.CTL_ROWS_DROPPED]), hbm_bytes_read_outside=int(ctl[layout.CTL_OUTSIDE])
        ),
        wall=Wall(),
        instructions_per_s=0.0,
        timing_only=request.timing_only,
        stopped_by_max_instructions=stopped,
        warnings=_warnings(request, platform, program, simulation),
        versions=versions(),
    )
