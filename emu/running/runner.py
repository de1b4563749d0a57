"""Runs a program: files in, three passes over chunks of events, dumps and a result record out.

The control pass fills a chunk, the data and the timing pass consume it; between slices the host
shows progress and counts towards `max_instructions`. Ctrl-C ends the process as soon as Python has control, which is
also while a kernel works (`plena_emu.interrupts`).
"""

import os
import time
from collections.abc import Callable

import msgspec
import numpy as np

from .. import isa
from ..atomic_files import make_directory
from ..config.hardware import hardware_of
from ..config.settings import find_settings
from ..errors import DataNeeded, EmuError
from ..inputs.choices import IDEALISED
from ..inputs.number_formats import Fp, Plain
from ..kernels import layout
from ..kernels.compiler.jit import JIT
from ..kernels.compiler.placement import most_threads
from ..logs import Log
from ..machine.core import Machine
from ..machine.dumps import DumpFile, write_dumps
from ..memory.models import import_engine, open_model
from ..program.decode import decode, read_words
from ..request import RunRequest
from ..result import Dropped, Dump, RunResult, Wall
from .caveats import channel_caveats, format_caveats, settings_caveats
from .control_replay import Recorder, ReplayedSimulation, control_key
from .freed_memory import begin_run
from .gathered_timing import default_threads as threads_without_data
from .log_records import (
    board_record,
    dump_record,
    foreign_warning,
    hardware_records,
    instruction_record,
    program_records,
    settings_records,
)
from .observers import Observers
from .platform import resolve_platform
from .provenance import geometry_of, hashes_of, program_of, sources_of, versions
from .result_regions import read_result_regions, region_pieces
from .run_files import HBM_DUMP, RESULTS_DUMP, check_files_of_run, sram_dumps
from .shared_work import ALONE, Shared
from .simulation import Simulation, default_threads
from .utilization import utilization

TIMED_BYTES = 1 << 20  # that a memory's arrays are counted as where they are kept
LONG_PROGRAM = 1 << 12  # words: a shorter one hardly uses the memory that is touched for it, nor takes long
TRACED_SLICE = 1 << 14  # most instructions a slice executes where every one is recorded


def _simulate(simulation, request, log, window):
    """Drive the run to its end; True when `max_instructions` stopped it."""
    before = 0
    words = len(simulation.program)
    most = request.max_instructions
    more = True
    while more:
        if window is not None:
            window.move(simulation)
        try:
            more = simulation.step(window.limit(simulation.executed, most) if window else most)
            if window is not None:  # it may have stopped for the window only
                more = not simulation.ended and (most is None or simulation.executed < most)
        finally:
            if request.trace:
                before = _trace(simulation, log, before)
        if not more:
            simulation.finish()
        for pc, executed, picoseconds in simulation.passed():
            request.progress(pc, words, executed, picoseconds)
    if window is not None:
        window.check(simulation.executed)
    return not simulation.ended


def _trace(simulation, log, before):
    """Write one record for each instruction of the last slice; returns the instructions executed so far."""
    executed = simulation.executed
    for pc in simulation.machine.control.trace[: executed - before, layout.TR_PC].tolist():
        instruction_record(log, pc, simulation.program.text(pc))
    return executed


def _write_dumps(machine, request, platform, regions, result, log):
    """Write the dumps of §5.4 and §9.2; a failure is kept, because statistics and latency come first."""
    dumps = [machine.dump(name) for name in sram_dumps(request.isa)]
    if request.dump_hbm and platform.regime == "hbm":
        dumps.append(machine.dump(HBM_DUMP))
    if regions:
        size = sum(region.bytes for region in regions)
        dumps.append(DumpFile(RESULTS_DUMP, size, region_pieces(machine.data.hbm, regions)))
    try:
        paths = write_dumps(request.dump_dir, dumps)
    except EmuError as error:
        result.dump_errors.append(str(error))
        return
    for dump, path in zip(dumps, paths, strict=True):
        result.dumps.append(Dump(name=dump.name, path=path, bytes=dump.size))
        dump_record(log, result.dumps[-1])


def _counts(counts, program):
    """Executed instructions by mnemonic, in the order of the table; `counts` are those of each word."""
    of_op = np.zeros(isa.NUM_OPS, dtype=np.int64)
    np.add.at(of_op, program.table[:, layout.OP_ID], counts)
    return {op.name(program.revision): int(of_op[op.id]) for op in isa.OPS if of_op[op.id]}


def _warnings(request, platform, program, simulation):
    """List what the user should know besides the figures, one line each."""
    ctl = simulation.ctl
    lines = list(platform.warnings)
    foreign = foreign_warning(program)
    if foreign:
        lines.append(foreign)
    lines += settings_caveats(platform.settings, request)
    if request.is_hardware:
        lines += channel_caveats(platform.settings, request, simulation.memory.engine.dram)
    lines += format_caveats(program, platform.settings, simulation.machine.descriptors)
    lines += simulation.scale_lines.warnings()
    lines += simulation.memory.warnings()
    if request.threads is not None and request.threads > most_threads():
        lines.append(f"{request.called('threads')} {request.threads}: this process may use {most_threads()} CPUs, and"
                     " no more threads ran")
    if simulation.lacks_thread:
        lines.append("the system allows this process fewer threads than this run was to have: the others did their"
                     " work")
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


def _threads(request, model):
    """Threads of a run; none beyond the CPUs there are, where they would only wait for each other."""
    if request.threads is None:
        return threads_without_data(model) if request.timing_only else default_threads(request.timing_only)
    return min(request.threads, most_threads())


def _check_timing_only(request, program):
    """Refuse timing without data where time can depend on data (§1.8)."""
    if request.timing_only and program.waits_for_data:
        raise DataNeeded(f"program {request.opcode}: holds V_TOPK and S_LD_INT, so its timing can depend on data;"
                         f" run it without {request.called('timing_only')}")


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


def execute(request: RunRequest, log: Log, look: Callable[[Simulation], None] | None = None,
            shared: Shared = ALONE) -> RunResult:
    """Run a program as `request` says, with the records of §5.2 on `log`.

    Parameters
    ----------
    look : callable or None
        Called with the simulation once it is over.
    shared : SharedWork or Alone
        What this run may take from earlier ones, and leaves for later ones; it changes no figure.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        Anything malformed or illegal, one line. No dump is written then.
    """
    begin_run()
    if JIT:
        return _execute(request, log, look, shared)
    with np.errstate(all="ignore"):  # plain Python would warn where compiled code is silent
        return _execute(request, log, look, shared)


def _execute(request, log, look, shared):
    began = request.started_at or time.perf_counter()
    check_files_of_run(vars(request))
    stated = shared.once(("settings", request.settings_path, request.settings_origin), lambda: find_settings(
        request.settings_path, os.environ, origin=request.settings_origin, hardware=request.is_hardware,
        replaced=_replaced(request)))
    platform = resolve_platform(request, stated, shared)
    import_engine(platform.regime, platform.dram, request.dma)
    settings = platform.settings
    settings_records(log, settings)
    board_record(log, platform)
    hardware = _hardware_of(request, settings, platform)
    period = hardware.period_ps if hardware else platform.period_ps
    program = _program_of(request, settings, period, shared)
    program_records(log, program)
    _check_timing_only(request, program)
    _check_store_types(settings, program)
    writes = request.dump_dir is not None and not request.timing_only
    regions = read_result_regions(request.results, settings.hbm_size) if writes and request.results else ()
    imported = time.perf_counter()

    observers = Observers(request, program, platform.manifest, period, log)
    traced = request.trace or observers.need_trace
    machine = Machine(settings, request.isa, TRACED_SLICE if traced else 0, hardware is not None,
                      request.dma == "production")
    control = control_key(request, program, machine) if shared.is_shared else None
    recording = shared.find(control)
    if recording is not None and not recording.fits(period):
        recording = None
    known = _known(shared, control, period) if recording is not None and observers.ledger is None else None
    model = open_model(platform.regime, platform.manifest, machine.descriptors, capacity=_value(platform.capacity),
                       bandwidth=_value(platform.link), dram=platform.dram, revision=request.isa, memo=request.memo,
                       dma=request.dma, channels=_channels(request, platform, hardware), ledger=observers.ledger,
                       known=known)
    if request.memory_trace is not None:
        from ..memory.dram_trace_recorder import RecordedMemory

        model = RecordedMemory(model, machine.descriptors, request.isa)
    hardware_run = _open_hardware(request, settings, program, hardware, observers.units, model.engine.dram, log)
    if not request.timing_only:
        if len(program) >= LONG_PROGRAM and most_threads() > 1 and request.threads != 1:
            machine.touch_ahead()
        machine.load(request.hbm, request.fpsram, request.intsram, request.vram)
    elif request.intsram is not None:
        machine.load_integers(request.intsram)
    sources = sources_of(request, platform)
    if request.hashes:
        sources.sha256 = hashes_of(request.opcode, sources, request.timing_only)
    loaded = time.perf_counter()

    recorder = Recorder(period) if control is not None and recording is None else None
    if recording is not None:
        simulation = ReplayedSimulation(program, machine, model, recording, period)
    else:
        simulation = Simulation(
            program, machine, model, not request.timing_only, _threads(request, model),
            hardware_run and hardware_run.timeline, watched=request.progress is not None,
            watch=observers.start(machine), recorder=recorder,
            looks_ahead=not request.trace and request.pc_log is None,
        )
    try:
        simulation.prepare()
        ready = time.perf_counter()
        observers.tell(request.progress)
        with observers.window(settings) as window:
            stopped = _simulate(simulation, request, log, window)
    finally:
        simulation.close()
    done = time.perf_counter()
    if recorder is not None:
        recording = recorder.recording(simulation.ctl, simulation.machine.control.counts)
        shared.keep(control, recording, recording.size)
    if control is not None and observers.ledger is None:
        shared.keep((control, period, model.timing_key), model.timed, TIMED_BYTES)
    if look is not None:
        look(simulation)
    if request.memory_trace is not None:
        model.write(request.memory_trace)

    result = _result(request, platform, program, sources, simulation, stopped)
    if hardware_run is not None:
        _finish_hardware(hardware_run, result, simulation, observers.labels)
    observers.finish(result, machine)
    for line in result.warnings:
        if line != foreign_warning(program):
            log.warn(line)
    if writes and not stopped:
        make_directory(request.dump_dir, "dumps")
        _write_dumps(machine, request, platform, regions, result, log)
    result.wall = Wall(startup_s=imported - began + ready - loaded, load_s=loaded - imported,
                       simulate_s=done - ready, dump_s=time.perf_counter() - done)
    result.instructions_per_s = simulation.executed / result.wall.simulate_s if result.wall.simulate_s else 0.0
    return result


def _replaced(request):
    """Keys of the settings in whose place the request has a value."""
    return [key for key, value in (("HBM_SIZE", request.hbm_size), ("HBM_CHANNELS", request.hbm_channels))
            if value is not None]


def _program_of(request, settings, period, shared):
    """Read and decode the program; costs depend on latencies, MLEN, VLEN and the core cycle (§1.4)."""
    words = shared.once(("words", request.opcode), lambda: read_words(request.opcode), lambda words: words.nbytes)
    key = ("program", request.opcode, request.isa, settings.latency, settings.mlen, settings.vlen, period)
    return shared.once(key, lambda: decode(words, request.isa, settings, period),
                       lambda program: program.table.nbytes)


def _known(shared, control, period):
    """What looks for a memory that has been through the same events."""
    return lambda timing_key: shared.find((control, period, timing_key))


def _hardware_of(request, settings, platform):
    """Check the settings of hardware timing; None without it. A clock that was asked for, or else a board's, beats
    CLOCK_PERIOD_PS (§7.12).
    """
    if not request.is_hardware:
        return None
    origin = None if request.hbm_size is None else request.hbm_size_origin
    hardware = hardware_of(settings, request.hbm_channels, origin)
    if platform.on_board_time:
        return hardware._replace(period_ps=platform.period_ps)
    if request.clock_mhz is None:
        return hardware
    from ..boards.core_clock import core_period_ps

    return hardware._replace(period_ps=core_period_ps(request.clock_mhz)[0])


def _channels(request, platform, hardware):
    """Tell how many channels production DMA gives hbm2 (§7.1); None leaves a part its own, or refuses the flag."""
    if hardware is None:
        return None
    part = getattr(platform.dram, "name", platform.dram)
    return hardware.channels if part in (None, "hbm2", IDEALISED) else request.hbm_channels


def _open_hardware(request, settings, program, hardware, units, dram, log):
    """Open passes and files of hardware timing (spec chapter 7); None without it."""
    if hardware is None:
        return None
    from .timeline.outputs import HardwareRun

    hardware_records(log, request, hardware.period_ps, dram)
    return HardwareRun(request, settings, program, hardware, units)


def _finish_hardware(hardware_run, result, simulation, labels):
    """Put hardware timing into the result, with the cycles of stages where `labels` names them; write its files."""
    memory = simulation.memory
    result.hardware = hardware_run.report(result.latency_ps, memory, simulation.machine.descriptors)
    if labels is not None:
        result.hardware.stages = hardware_run.cycles(simulation.machine.control.counts, labels)
    if hardware_run.latency_ps is not None:
        result.timeline_ps = hardware_run.latency_ps - result.latency_ps
        result.latency_ps = hardware_run.latency_ps
        if result.board_time_ps is not None:
            result.board_time_ps, result.board_time_ms = result.latency_ps, result.latency_ps / 1e9
    result.cycles = result.latency_ps / hardware_run.hardware.period_ps
    hardware_run.write(result.hardware, (memory.bytes_read, memory.bytes_written))
    result.warnings += hardware_run.warnings


def _result(request, platform, program, sources, simulation, stopped):
    """Collect everything known once the simulation is over."""
    memory = simulation.memory
    ctl = simulation.ctl
    end, latency = simulation.end_ps, simulation.latency_ps
    statistics = memory.statistics
    compute = int(ctl[layout.CTL_COMPUTE])
    return RunResult(
        isa=request.isa,
        program=program_of(request, program),
        sources=sources,
        geometry=geometry_of(platform.settings),
        model=platform.model,
        regime=memory.regime,
        limits=platform.limits,
        board=platform.record(request.isa),
        time_basis=platform.time_basis,
        board_time_ps=latency if platform.on_board_time else None,
        board_time_ms=latency / 1e9 if platform.on_board_time else None,
        latency_ps=latency,
        end_ps=end,
        cycles=latency / platform.period_ps,
        compute_ps=compute,
        memory_ps=end - compute,
        housekeeping_ps=latency - end,
        link_busy_ps=memory.link_busy_ps,
        instructions=simulation.executed,
        instruction_counts=_counts(simulation.machine.control.counts, program),
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
