"""The Python interface: a function for each thing to do, a typed result for each (docs/api.md)."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Never

from .boards import DEFAULT_BOARD
from .config.build_dir import fields_of
from .errors import EmuError, UsageError
from .inputs.arguments import check_names, count_of, given_path, path_of
from .inputs.words import one_of, shown
from .isa import REVISIONS
from .logs import LEVELS, Log
from .precompile import EXECUTED, kernels_of, make_ready
from .request import RunRequest

if TYPE_CHECKING:
    from fractions import Fraction

    from .boards import Board
    from .manifests.generate import Report
    from .manifests.schema import Manifest
    from .profiler.model import Profile
    from .result import RunResult
    from .running.planning import Plan

PathLike = str | bytes | os.PathLike


class _Unset:
    """Default of a field that is not passed: it is left to the build directory or the request."""

    def __repr__(self):
        return "UNSET"


UNSET: Any = _Unset()


def run(
    build: PathLike | RunRequest, /, *, log_level: str = "off",
    opcode: PathLike = UNSET, hbm: PathLike | None = UNSET, fpsram: PathLike | None = UNSET,
    intsram: PathLike | None = UNSET, vram: PathLike | None = UNSET, settings_path: PathLike | None = UNSET,
    settings_origin: str = UNSET, hbm_size: int | None = UNSET, hbm_size_origin: str = UNSET, isa: str = UNSET,
    memory_model: str = UNSET, weight_manifest: PathLike | None = UNSET,
    weight_manifest_origin: str = UNSET, tables_dir: PathLike | None = UNSET,
    ddr_capacity: int | None = UNSET, ddr_capacity_origin: str = UNSET, host_bandwidth: int | None = UNSET,
    dump_dir: PathLike | None = UNSET, dump_hbm: bool = UNSET, results: PathLike | None = UNSET,
    max_instructions: int | None = UNSET, timing_only: bool = UNSET, threads: int | None = UNSET, memo: bool = UNSET,
    trace: bool = UNSET, stages: bool = UNSET, loops: bool = UNSET, hashes: bool = UNSET,
    stage_profile_asm: PathLike | None = UNSET, stage_profile_out: PathLike = UNSET, stage_profile_schema: int = UNSET,
    overlap: bool = UNSET, timeline: PathLike | None = UNSET, timeline_slices: int = UNSET,
    pc_log: PathLike | None = UNSET, pc_log_from: str = UNSET, pc_log_count: int = UNSET,
    board: PathLike | None = UNSET, latency_profile: PathLike | None = UNSET, clock_mhz: float | None = UNSET,
    ddr_speed: Fraction | float | str | None = UNSET, reference_timing: bool = UNSET, dram: PathLike | None = UNSET,
    say_unused: bool = UNSET, from_flags: bool = UNSET, memory_trace: PathLike | None = UNSET, dma: str | None = UNSET,
    timing: PathLike = UNSET, hbm_channels: int | None = UNSET, event_table: PathLike | None = UNSET,
    event_rows: int | None = UNSET, event_trace: PathLike | None = UNSET, dma_event_trace: PathLike | None = UNSET,
    rtl_validation_output: PathLike | None = UNSET, profile_output: PathLike | None = UNSET,
    memory_profile: str | None = UNSET, progress: Callable[[int, int, int, int], None] | None = UNSET,
    started_at: float | None = UNSET,
    **unknown: Never,
) -> RunResult:
    """Run a program.

    Parameters
    ----------
    build : str, bytes, os.PathLike or RunRequest
        A testbench's build directory (§5.6), or a whole request.
    log_level : str
        Records of §5.2 from this level on go to standard error. Warnings are in the result in any case.
    opcode, hbm, ... , started_at
        Fields of `RunRequest`, which describes them. They come before the files of the directory and before those of a
        request. Without `dump_dir` a build directory's run writes no dumps.

    Returns
    -------
    RunResult

    Raises
    ------
    EmuError
        Anything malformed or illegal, in one line, as on the command line; also a dump that cannot be written.
        `UsageError` for a keyword that there is not, and for a value that no run can take.
    """
    given = {name: value for name, value in locals().items() if value is not UNSET}
    for name in ("build", "log_level", "unknown"):
        del given[name]
    check_names(unknown, [*RunRequest.__dataclass_fields__, "log_level"])
    if not isinstance(log_level, str) or log_level not in LEVELS:
        close = difflib.get_close_matches(str(log_level).lower(), LEVELS, 1, 0.6)
        hint = f" ({close[0]} perhaps)" if close else ""
        raise UsageError(f"log_level: found {shown(log_level)}, expected {one_of(LEVELS)}{hint}")
    if isinstance(build, RunRequest):
        request = RunRequest(**(vars(build) | given))
    else:
        request = RunRequest(**({"dump_dir": None} | fields_of(_directory(build), given)))
    make_ready(kernels_of(request))
    from .running.runner import execute

    result = execute(request, Log(log_level))
    if result.dump_errors:
        raise EmuError("; ".join(result.dump_errors))
    return result


def _directory(build):
    """Take a build directory as text."""
    if not isinstance(build, str | bytes | os.PathLike):
        raise UsageError(f"build: found {shown(build)}, expected a build directory or a RunRequest")
    return os.fsdecode(build)


def manifest(
    build: PathLike, board: PathLike | Board, *, ddr_capacity: int | None = None, total_layers: int | None = None,
    kinds: Mapping[str, str] | None = None, output: PathLike | None = None,
) -> tuple[Manifest, Report]:
    """Make the weight manifest of a build directory from its address and size tables (spec §6.3).

    Parameters
    ----------
    build : str, bytes or os.PathLike
        Build directory with `hbm_addrs.json`.
    board : str, bytes, os.PathLike or Board
        Name or file of a board, or a loaded one.
    ddr_capacity : int, optional
        Bytes of DDR; the board's where it is left out.
    total_layers : int, optional
        Project the footprint to so many layers.
    kinds : dict of str to str, optional
        Patterns of names (`*` and `?`) and the kind of the regions that match, `weight`, `kv` or `activation`, before
        the rules for names; of several that match the last counts.
    output : str, bytes or os.PathLike, optional
        File to write the manifest to, as JSON; nothing is written without it.

    Returns
    -------
    (Manifest, Report)

    Raises
    ------
    EmuError
        A table is missing or malformed; `UsageError` for arguments that make no sense.
    """
    from .atomic_files import write_whole
    from .manifests.generate import generate, manifest_json

    capacity, layers = _sizes(ddr_capacity, total_layers)
    made, report = generate(given_path("build", build), _board(board), capacity, layers, _kinds(kinds), "kinds")
    if output is not None:
        write_whole(given_path("output", output), manifest_json(made).encode(), "weight manifest")
    return made, report


def plan(
    build: PathLike, board: PathLike | Board = UNSET, *, ddr_capacity: int | None = None,
    host_bandwidth: int | None = None, clock_mhz: float | None = None, dram: PathLike | None = None,
    ddr_speed: Fraction | float | str | None = None, total_layers: int | None = None, isa: str = "base",
) -> Plan:
    """Work out what a model costs on a board from its weight manifest alone: footprint, regime, lower bounds.

    Parameters
    ----------
    build : str, bytes or os.PathLike
        Build directory, or a manifest file.
    board : str, bytes, os.PathLike or Board
        Name or file of a board, or a loaded one. Left out, it is the default board, whose capacity counts only where
        the manifest states none (§10.1).
    ddr_capacity, host_bandwidth : int, optional
        Bytes of DDR, bytes/s of the host link; the board's where they are left out.
    clock_mhz, dram, ddr_speed
        Core clock in MHz, name or file of the memory part, factor on its data rate, laid over the board as in `run`.
    total_layers : int, optional
        Also plan for so many layers.
    isa : str
        `base` or `moe`: the revision of the build's program.

    Returns
    -------
    Plan

    Raises
    ------
    EmuError
        A file is missing or malformed; `UsageError` for arguments that make no sense.
    """
    from .profiler.compute_bound import compute_cycles_of, has_program
    from .running.board_part import Overlay
    from .running.planning import find_manifest, make_plan

    _check_choice("isa", isa, REVISIONS)
    capacity, layers = _sizes(ddr_capacity, total_layers)
    overlay = Overlay(clock_mhz=_clock(clock_mhz), dram=path_of("dram", dram), ddr_speed=_speed(ddr_speed),
                      ddr_capacity=capacity, host_bandwidth=count_of("host_bandwidth", host_bandwidth, 1))
    on = _board(DEFAULT_BOARD if board is UNSET else board)
    where = given_path("build", build)
    found = find_manifest(where, on)
    make_ready(EXECUTED if has_program(where) else ())
    compute, warnings = compute_cycles_of(where, on, isa)
    plan = make_plan(found, on, overlay, layers, board_named=board is not UNSET, compute=compute, isa=isa)
    plan.warnings.extend(warnings)
    return plan


def profile(
    source: PathLike, board: PathLike | Board = UNSET, *, isa: str = "base", static: bool = False,
    settings_path: PathLike | None = None, latencies: str | None = None, clock_mhz: float | None = None, **fields: Any,
) -> Profile:
    """Count where a program's time goes: by instruction type, by opcode and by loop (spec §6.4, §10.1).

    Parameters
    ----------
    source : str, bytes or os.PathLike
        Build directory, machine code (.mem) or assembly (.asm, .isa, .s).
    board : str, bytes, os.PathLike or Board
        Name or file of a board, or a loaded one. Left out, a run has none, and the static view the default board.
    isa : str
        `base` or `moe`.
    static : bool
        Multiply by the counts of the loops instead of running the program without data.
    settings_path : str, bytes or os.PathLike, optional
        Settings file; else that beside the program, else the search order of §5.3.
    latencies : str, optional
        Of the static view: `board` (the default), or `settings` for those of the settings file.
    clock_mhz : float, optional
        Clock in MHz; the board's where it is left out.
    **fields
        More fields of `RunRequest` for the run, such as `memory_model`.

    Returns
    -------
    Profile

    Raises
    ------
    EmuError
        A file is missing or malformed, or the executed program is illegal; `UsageError` for arguments that make no
        sense.
    """
    _check_choice("isa", isa, REVISIONS)
    _check_choice("latencies", latencies, (None, "board", "settings"))
    _check_choice("static", static, (False, True))
    _clock(clock_mhz)
    where = given_path("source", source)
    settings_path = None if settings_path is None else given_path("settings_path", settings_path)
    if static:
        if fields:
            raise UsageError(f"{min(fields)}: not with static, which runs nothing")
        from .profiler.sources import static_profile
        from .running.board_part import Overlay

        return static_profile(where, _board(DEFAULT_BOARD if board is UNSET else board), revision=isa,
                              latencies=latencies or "board", settings_path=settings_path,
                              overlay=Overlay(clock_mhz=clock_mhz))
    if latencies is not None:
        raise UsageError("latencies: only with static; a run takes the board's, and without one the settings'")
    known = set(RunRequest.__dataclass_fields__) - {"opcode", "dump_dir"}
    if not set(fields) <= known:
        raise UsageError(f"{min(set(fields) - known)}: found no such field of a run, expected one of RunRequest's")
    from .profiler.executed import executed_profile

    on = {} if board is UNSET else _board_fields(board)
    asked = {"isa": isa, "settings_path": settings_path, "clock_mhz": clock_mhz, **on, **fields}
    return executed_profile(where, {name: value for name, value in asked.items() if value is not None})


def _board_fields(board):
    """Name a board to a run; a loaded one by its file, which has to say the same."""
    from .boards import Board, load_board

    if not isinstance(board, Board):
        return {"board": given_path("board", board)}
    if load_board(board.source, board.latency_profile) != board:
        raise UsageError(f"board {board.name}: found one that was changed after it was loaded, expected a name or file")
    return {"board": board.source, "latency_profile": board.latency_profile}


def _check_choice(name, value, choices):
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise UsageError(f"{name}: found {shown(value)}, expected"
                         f" {one_of(tuple(choice for choice in choices if choice is not None))}")


def _clock(mhz):
    """Take a clock in MHz; None stays None."""
    from .boards.core_clock import check_clock

    return None if mhz is None else check_clock(mhz, "clock_mhz")


def _speed(factor):
    """Take a factor on a data rate; None stays None."""
    from .boards.dram_speed import speed_factor

    return None if factor is None else speed_factor(factor, "ddr_speed")


def _kinds(kinds):
    """Take patterns and kinds as pairs."""
    if kinds is None:
        return ()
    from .manifests.schema import KINDS

    if not isinstance(kinds, Mapping):
        raise UsageError(f"kinds: found {shown(kinds)}, expected a dict of patterns and kinds, such as"
                         " {'*_proj.weight': 'weight'}")
    for pattern, kind in kinds.items():
        if not isinstance(pattern, str) or not pattern:
            raise UsageError(f"kinds: found the pattern {shown(pattern)}, expected text")
        _check_choice(f"kinds[{shown(pattern)}]", kind, KINDS)
    return tuple(kinds.items())


def _sizes(ddr_capacity, total_layers):
    return count_of("ddr_capacity", ddr_capacity, 0), count_of("total_layers", total_layers, 1)


def _board(board):
    """Load a board that is not loaded yet."""
    from .boards import Board, load_board

    return board if isinstance(board, Board) else load_board(given_path("board", board))
