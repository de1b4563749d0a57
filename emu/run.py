"""Runs a program: files in, three passes over chunks of events, dumps and a result record out.

The control pass fills a chunk, the data and the timing pass consume it; between chunks the host looks
for Ctrl-C, shows progress and counts towards `max_instructions`.
"""

import os
import time

import msgspec
import numpy as np

from . import isa
from .board_use import BoardUse
from .errors import EmuError
from .failures import run_error
from .kernels import layout as at
from .kernels import status as st
from .kernels.control import control_slice
from .kernels.data import data_slice
from .kernels.jit import JIT
from .logs import Log
from .machine import Machine
from .memory_models import open_model
from .program import Program, decode, read_words
from .records import board_record, dump_record, foreign_warning, instruction_record, program_records, settings_records
from .request import RunRequest
from .result import Dropped, Dump, RunResult, Wall, utilization
from .result_sources import geometry_of, program_of, sources_of, versions
from .settings import find_settings, with_hbm_size
from .warm import compiling

CHUNK = 4096  # events a chunk holds
SLICE = 1 << 20  # most instructions a slice executes
TRACED_SLICE = 1 << 14  # the same where every instruction is recorded


class Simulation:
    """A machine with its program and its memory model: the drive loop.

    Parameters
    ----------
    program : Program
    machine : Machine
    memory : BoardMemory or DramMemory
    data : bool
        Whether the data pass runs.
    """

    def __init__(self, program: Program, machine: Machine, memory, data: bool = True):
        self.program = program
        self.machine = machine
        self.memory = memory
        self.data = data
        self.events = np.zeros((CHUNK, at.EV_WIDTH), dtype=np.int64)
        self.mem_events = np.zeros((CHUNK, at.MEV_WIDTH), dtype=np.int64)
        self.slice = TRACED_SLICE if len(machine.control.trace) else SLICE

    @property
    def ctl(self):
        """Control registers."""
        return self.machine.control.ctl

    @property
    def executed(self) -> int:
        """Instructions executed so far."""
        return int(self.ctl[at.CTL_EXECUTED])

    def prepare(self) -> None:
        """Load (or compile) the kernels."""
        with compiling("control"):
            self._control(0)
        if self.data:
            with compiling("data"):
                data_slice(self.events, 0, self.machine.data)
        self.memory.warm()

    def _control(self, budget):
        m = self.machine
        return control_slice(self.program.table, m.cfg, m.shapes, m.control, self.events, self.mem_events, budget)

    def step(self, limit: int | None) -> bool:
        """One slice; False when the program has ended or `limit` instructions are executed.

        Raises
        ------
        EmuError
            The program did something illegal; nothing of that instruction has taken effect.
        """
        budget = self.slice if limit is None else min(self.slice, limit - self.executed)
        status = self._control(budget)
        if status >= st.FIRST_ERROR:
            raise run_error(status, self.ctl, self.program, self.machine.cfg)
        if self.data:
            data_slice(self.events, int(self.ctl[at.CTL_EVENTS]), self.machine.data)
        self.memory.advance(self.mem_events, int(self.ctl[at.CTL_MEM_EVENTS]))
        self.ctl[at.CTL_EVENTS] = self.ctl[at.CTL_MEM_EVENTS] = self.ctl[at.CTL_TOPK] = 0
        if status == st.LOOPS_FULL:
            self.machine.grow_loops()
        return status != st.DONE and (limit is None or self.executed < limit)

    @property
    def ended(self) -> bool:
        """Whether the pc has passed the last word."""
        return int(self.ctl[at.CTL_PC]) >= len(self.program)

    @property
    def end_ps(self) -> int:
        """Completion of the last instruction."""
        return self.memory.now_ps + int(self.ctl[at.CTL_DELTA])

    @property
    def latency_ps(self) -> int:
        """Last event of all, memory housekeeping included (§3.1)."""
        return max(self.end_ps, self.memory.last_event_ps)


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
        if request.progress:
            ctl = simulation.ctl
            request.progress(int(ctl[at.CTL_PC]), words, simulation.executed, simulation.end_ps)
    return not simulation.ended


def _trace(simulation, log, before):
    """One record for each instruction of the last slice; returns the instructions executed so far."""
    executed = simulation.executed
    for pc in simulation.machine.control.trace[: executed - before].tolist():
        instruction_record(log, pc, simulation.program.text(pc))
    return executed


def _write_dumps(machine, request, result, log):
    """Dumps of §5.4; failures are collected, because statistics and latency come first."""
    names = ["mram_dump.bin", "vram_dump.bin", "fpsram_dump.bin"]
    if request.isa == "moe":
        names.append("intsram_dump.bin")
    if request.dump_hbm and request.memory_model == "hbm":
        names.append("hbm_dump.bin")
    for name in names:
        try:
            path, size = machine.dump(name, request.dump_dir)
        except EmuError as error:
            result.dump_errors.append(str(error))
            continue
        dump = Dump(name=name, path=path, bytes=size)
        result.dumps.append(dump)
        dump_record(log, dump)


def _counts(counts, revision):
    """Executed instructions by mnemonic, in the order of the table."""
    return {op.name(revision): int(counts[op.id]) for op in isa.OPS if counts[op.id]}


def _warnings(request, program, simulation, board):
    """What the user should know besides the figures, one line each."""
    ctl = simulation.ctl
    lines = list(board.warnings)
    foreign = foreign_warning(program)
    if foreign:
        lines.append(foreign)
    lines += simulation.memory.warnings()
    if ctl[at.CTL_ROWS_DROPPED]:
        lines.append(f"{int(ctl[at.CTL_ROWS_DROPPED])} prefetched rows lay past the end of the vector SRAM"
                     " and were dropped")
    if ctl[at.CTL_OUTSIDE]:
        lines.append(f"{int(ctl[at.CTL_OUTSIDE])} bytes were read outside the HBM and delivered as 0")
    return lines


def _check_timing_only(request, program):
    """Refuse timing without data where time can depend on data (§1.8)."""
    used = set(program.table[:, at.OP_ID].tolist())
    if request.timing_only and isa.V_TOPK in used and isa.S_LD_INT in used:
        raise EmuError(f"program {request.opcode}: holds V_TOPK and S_LD_INT, so its timing can depend on data;"
                       " run it without --timing-only")


def execute(request: RunRequest, log: Log) -> RunResult:
    """Run a program as `request` says, with the records of §5.2 on `log`.

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
    board = BoardUse(request)
    settings = board.apply(find_settings(request.settings_path, os.environ, origin=request.settings_origin))
    settings = with_hbm_size(settings, request.hbm_size)
    settings_records(log, settings)
    board_record(log, board)
    program = decode(read_words(request.opcode), request.isa, settings)
    program_records(log, program)
    _check_timing_only(request, program)
    imported = time.perf_counter()

    machine = Machine(settings, request.isa, TRACED_SLICE if request.trace else 0)
    model = open_model(request, board, machine.shapes)
    if not request.timing_only:
        machine.load(request.hbm, request.fpsram, request.intsram, request.vram)
    elif request.intsram is not None:
        machine.load_integers(request.intsram)
    loaded = time.perf_counter()

    simulation = Simulation(program, machine, model, not request.timing_only)
    simulation.prepare()
    ready = time.perf_counter()
    stopped = _simulate(simulation, request, log)
    done = time.perf_counter()

    result = _result(request, settings, program, simulation, board, stopped)
    for line in result.warnings:
        if line != foreign_warning(program):
            log.warn(line)
    if request.dump_dir is not None and not stopped and not request.timing_only:
        _write_dumps(machine, request, result, log)
    result.wall = Wall(startup_s=imported - began + ready - loaded, load_s=loaded - imported,
                       simulate_s=done - ready, dump_s=time.perf_counter() - done)
    result.instructions_per_s = simulation.executed / result.wall.simulate_s if result.wall.simulate_s else 0.0
    return result


def _result(request, settings, program, simulation, board, stopped):
    """Everything known once the simulation is over."""
    memory = simulation.memory
    ctl = simulation.ctl
    end = simulation.end_ps
    statistics = memory.statistics
    compute = int(ctl[at.CTL_COMPUTE])
    return RunResult(
        isa=request.isa,
        program=program_of(request, program),
        sources=sources_of(request, settings, board),
        geometry=geometry_of(settings),
        model=request.memory_model,
        regime=memory.regime,
        limits=board.limits,
        board=board.record(simulation.latency_ps, compute),
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
        dropped=Dropped(
            vector_rows=int(ctl[at.CTL_ROWS_DROPPED]), hbm_bytes_read_outside=int(ctl[at.CTL_OUTSIDE])
        ),
        wall=Wall(),
        instructions_per_s=0.0,
        stopped_by_max_instructions=stopped,
        warnings=_warnings(request, program, simulation, board),
        versions=versions(),
    )
