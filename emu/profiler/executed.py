"""The executed view: a run without data says how often each word ran and what it took (spec §6.4, §10.1)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..config.build_dir import BESIDE, fields_of, settings_beside
from ..config.settings import defaults_warning
from ..errors import DataNeeded, EmuError, UsageError
from ..interrupts import unwinding
from ..kernels import layout
from ..kernels.memory.ledger import LG_PS
from ..program.assembler import assemble, mem_text, read_source
from ..request import RunRequest
from ..result import RunResult
from .model import Listing, Profile, cycles_of, sum_up
from .sources import ASSEMBLY_ENDINGS, Sources, find_sources, with_labels
from .static import read_program

if TYPE_CHECKING:
    from ..running.simulation import Simulation


def run_request(source: str, fields: dict) -> RunRequest:
    """Make the request of a run without dumps: of a build directory, or of machine code with the settings beside it.

    Parameters
    ----------
    fields : dict
        Fields of `RunRequest`; they beat what lies in the directory.

    Returns
    -------
    RunRequest

    Raises
    ------
    EmuError
        A file that the run needs is missing; `UsageError` for assembly.
    """
    if os.path.isdir(source):
        return RunRequest(dump_dir=None, **fields_of(source, fields))
    if source.lower().endswith(ASSEMBLY_ENDINGS):
        raise UsageError(f"{source}: only machine code runs, expected a build directory or FILE.mem")
    return RunRequest(**{"opcode": source, "dump_dir": None} | settings_beside(source, fields))


def executed_profile(source: str, fields: dict) -> Profile:
    """Profile a build directory, a .mem or a .asm file by a run without data.

    Parameters
    ----------
    fields : dict
        Fields of `RunRequest`: board, memory model and whatever else decides about the run.

    Returns
    -------
    Profile

    Raises
    ------
    EmuError
        A file is missing or malformed, or the program is illegal.
    """
    files = find_sources(source)
    if files.words is not None:
        return _profile(source, files, fields)
    assert files.assembly is not None  # a source is one or the other
    words = mem_text(assemble(read_source(files.assembly), fields.get("isa", "base"), files.assembly))
    with unwinding(), tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "program.mem")
        with open(path, "w", encoding="ascii") as file:
            file.write(words)
        if files.settings is not None:
            fields = {"settings_path": files.settings, "settings_origin": BESIDE} | fields
        try:
            return _profile(source if os.path.isdir(source) else path, files, fields | {"opcode": path})
        except EmuError as error:
            raise type(error)(str(error).replace(path, files.assembly)) from None


def _profile(source, files: Sources, fields) -> Profile:
    """Run a program and sum up what it did."""
    found: dict = {}

    def look(simulation):
        found.update(program=simulation.program, counts=simulation.machine.control.counts,
                     ledger=simulation.memory.ledger)

    result = execute_without_data(lambda more: run_request(source, fields | more), look)
    program, counts = found["program"], found["counts"]
    listing = with_labels(read_program(program, files.words or str(files.assembly)), files)
    compute = [count * cost for count, cost in zip(counts.tolist(), program.table[:, layout.OP_COST].tolist(),
                                                    strict=True)]
    return _of_run(listing, result, counts.tolist(), compute, found["ledger"].by_pc[:, LG_PS].tolist())


def execute_without_data(request_with: Callable[[dict], RunRequest],
                         look: Callable[[Simulation], None] | None = None) -> RunResult:
    """Run a program without data, or with it where its timing can depend on data (§1.8).

    Parameters
    ----------
    request_with : callable
        Makes the request of a run with more fields of it.
    look : callable, optional
        Is shown the simulation at its end.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        A file is missing or malformed, or the program is illegal.
    """
    try:
        return _execute(request_with({"timing_only": True}), look)
    except DataNeeded as needed:
        try:
            request = request_with({})
        except EmuError as error:
            raise EmuError(f"{str(needed).partition(':')[0]}: its timing can depend on data, as it holds V_TOPK and"
                           f" S_LD_INT, but the data is not there: {error}") from None
        return _execute(request, look)


def _execute(request, look):
    from ..logs import Log
    from ..precompile import kernels_of, make_ready

    make_ready(kernels_of(request))
    from ..running.runner import execute

    return execute(request, Log("off"), look)


def _of_run(listing: Listing, result: RunResult, counts, compute, memory) -> Profile:
    """Put the sums of a listing and the figures of its run together."""
    board, period = result.board, 1000
    if board is not None and result.board_time_ps is not None:
        period = board.core_period_ps
    sums = sum_up(listing, counts, compute, memory, period)
    computed, moved = cycles_of(sums.compute_ps, sums.memory_ps, period)
    return Profile(
        view="executed",
        source=listing.source,
        source_lines=listing.lines,
        static_instructions=len(listing.entries),
        dynamic_instructions=result.instructions,
        compute_cycles=computed,
        memory_cycles=moved,
        memory_charged=True,
        model=result.model,
        regime=result.regime,
        board=board.name if board else None,
        latencies_from=f"board {board.name}" if board else f"settings {result.sources.settings}",
        clock_mhz=board.clock_mhz if board else None,
        core_period_ps=period,
        core_period_exact=board.core_period_exact if board else True,
        part=board.part if board else None,
        laid_over=board.laid_over if board else [],
        limits=result.limits,
        seconds=result.latency_ps / 1e12,
        latency_ps=result.latency_ps,
        board_time_ps=result.board_time_ps,
        board_time_ms=result.board_time_ms,
        compute_ps=sums.compute_ps,
        memory_ps=sums.memory_ps,
        housekeeping_ps=result.housekeeping_ps,
        link_busy_ps=result.link_busy_ps if result.limits and result.limits.host_bandwidth_bytes_per_s else None,
        mlen=result.geometry.mlen,
        vlen=result.geometry.vlen,
        by_type=sums.by_type,
        by_opcode=sums.by_opcode,
        loops=sums.loops,
        warnings=defaults_warning(result.sources.settings) + sums.warnings + result.warnings,
    )
