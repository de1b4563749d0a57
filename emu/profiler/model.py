"""The ISA profile: instruction counts and cycles by opcode, type and enclosing loop (spec §6.4).

Two views end here with the same questions answered, how often each instruction ran and what it cost: *static*
multiplies by the counts of the enclosing loops and charges what the board file says of transfers, *executed* takes both
from a run without data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from .. import isa
from ..boards.core_clock import core_period_ps
from ..config.apply_board import latency_key
from ..config.settings import LATENCY_KEYS, Settings
from ..errors import EmuError
from ..program import cycle_costs as costs
from ..result import LaidOver, MemoryLimits, PartRecord
from ..running.attribution.loops import Span, close_loops

if TYPE_CHECKING:
    from ..boards.schema import Board


MOST_NESTED = 100  # loops within one another that a profile lists: more than any JSON reader has trouble with
LARGEST_FIGURE = 2**63 - 1  # what a profile's figures may reach, picoseconds included


class Entry(NamedTuple):
    """One instruction of a listing; `op` is None for a mnemonic (or word) that no revision assigns."""

    mnemonic: str
    op: isa.Op | None
    rd: int
    imm: int
    rs3: int
    line: int | None = None


class Listing(msgspec.Struct):
    """Instructions in program order, where they came from, and the comments above loops by line."""

    source: str
    lines: int
    entries: list[Entry]
    labels: dict[int, str] = {}
    warnings: list[str] = []


class Machine(NamedTuple):
    """What decides about static cycles: compute cycles of §1.4-§1.8, memory cycles as the board charges them."""

    latency: dict[str, int]
    latency_from: str
    mlen: int
    vlen: int
    memory: dict[str, int]
    board: str
    clock_mhz: float

    def compute_cycles(self, entry: Entry) -> int:
        if entry.op is None:
            return 0
        return costs.cycles(entry.op.id, entry.rd, entry.rs3, self.latency, self.mlen, self.vlen)


class OpcodeProfile(msgspec.Struct):
    """Executions and total time of one opcode, in picoseconds and in core cycles."""

    type: str
    count: int = 0
    compute_cycles: int = 0
    memory_cycles: int | float = 0
    compute_ps: int = 0
    memory_ps: int = 0


class TypeProfile(msgspec.Struct):
    """Executions and total time of one instruction type."""

    count: int = 0
    compute_cycles: int = 0
    memory_cycles: int | float = 0
    compute_ps: int = 0
    memory_ps: int = 0


class LoopProfile(msgspec.Struct, omit_defaults=True):
    """A loop with everything inside it, C_LOOP_START and C_LOOP_END included.

    `pc` and `end_pc` are word indices; `share` is that of the time of all instructions; `entered` counts executions of
    C_LOOP_START, `iterations` those of C_LOOP_END.
    """

    pc: int
    end_pc: int
    register: int
    trips: int
    entered: int
    iterations: int
    instructions: int
    compute_cycles: int
    memory_cycles: int | float
    compute_ps: int
    memory_ps: int
    share: float
    line: int | None = None
    label: str | None = None
    loops: list[LoopProfile] = []


class Profile(msgspec.Struct, kw_only=True):
    """Answer of the profiler. Picoseconds are exact; cycles are those of the core, of memory time with a fraction.

    Of the executed view all times are those of the run: `compute_ps` + `memory_ps` + `housekeeping_ps` = `latency_ps`,
    which `board_time_ps` repeats on a board (§10.1), else it is None, as `board` and `clock_mhz` are. `model` and
    `regime` are its memory model and what that settled on. Of the static view the latency is its cycles at the board's
    clock, `model` is None, and `memory_charged` says whether the board states what transfers take.
    `part`, `laid_over` and `limits` are those of the run's record; `core_period_ps` is not exact where the clock's
    period was rounded to whole picoseconds. `seconds` is the latency: that of static cycles at the clock, not rounded
    to picoseconds a cycle.
    """

    view: str
    source: str
    source_lines: int
    static_instructions: int
    dynamic_instructions: int
    compute_cycles: int
    memory_cycles: int | float
    memory_charged: bool
    model: str | None = None
    regime: str | None = None
    board: str | None
    latencies_from: str
    clock_mhz: float | None
    core_period_ps: int
    core_period_exact: bool = True
    part: PartRecord | None = None
    laid_over: list[LaidOver] = []
    limits: MemoryLimits | None = None
    seconds: float
    latency_ps: int
    board_time_ps: int | None
    board_time_ms: float | None
    compute_ps: int
    memory_ps: int
    housekeeping_ps: int = 0
    link_busy_ps: int | None = None
    mlen: int
    vlen: int
    by_type: dict[str, TypeProfile]
    by_opcode: dict[str, OpcodeProfile]
    loops: list[LoopProfile]
    warnings: list[str]


def make_machine(board: Board, settings: Settings, latencies: str = "board") -> Machine:
    """Collect costs: the latencies of the board, or those of the settings for `latencies` = "settings"."""
    if latencies == "settings":
        latency, source = settings.latency.by_name(), f"settings {settings.source}"
    else:
        cycles = {latency_key(unit): getattr(board.latency, unit) for unit in board.latency.__struct_fields__}
        latency = {name: cycles[key] for name, key in LATENCY_KEYS.items() if key in cycles}
        source = f"board {board.name}"
    memory = {
        "H_PREFETCH_M": board.memory.prefetch_m_cycles,
        "H_PREFETCH_V": board.memory.prefetch_v_cycles,
        "H_STORE_V": board.memory.store_v_cycles,
    }
    return Machine(latency, source, settings.mlen, settings.vlen, memory, board.name, board.clock_mhz)


def match_loops(entries: Sequence[Entry]) -> tuple[list[Span], list[int]]:
    """Match the loop instructions of a listing as `close_loops` does."""
    return close_loops((index, entry.mnemonic == "C_LOOP_START", entry.rd) for index, entry in enumerate(entries)
                       if entry.mnemonic in ("C_LOOP_START", "C_LOOP_END"))


class Sums(NamedTuple):
    """What instructions of a listing cost, summed up by type, by opcode and by loop."""

    compute_ps: int
    memory_ps: int
    by_type: dict[str, TypeProfile]
    by_opcode: dict[str, OpcodeProfile]
    loops: list[LoopProfile]
    warnings: list[str]


def sum_up(listing: Listing, counts: Sequence[int], compute: Sequence[int], memory: Sequence[int],
           period_ps: int) -> Sums:
    """Sum up a listing whose entry i ran `counts[i]` times and took `compute[i]` and `memory[i]` ps in all.

    Returns
    -------
    Sums
    """
    by_type: dict[str, TypeProfile] = {}
    by_opcode: dict[str, OpcodeProfile] = {}
    for entry, count, computed, moved in zip(listing.entries, counts, compute, memory, strict=True):
        kind = entry.op.type if entry.op else "unknown"
        opcode = by_opcode.setdefault(entry.mnemonic, OpcodeProfile(kind))
        for row in (opcode, by_type.setdefault(kind, TypeProfile())):
            row.count += count
            row.compute_ps += computed
            row.memory_ps += moved
    rows: list[OpcodeProfile | TypeProfile] = [*by_opcode.values(), *by_type.values()]
    for found in rows:
        found.compute_cycles, found.memory_cycles = cycles_of(found.compute_ps, found.memory_ps, period_ps)
    loops, left_out = _loop_tree(listing, counts, compute, memory, period_ps)
    return Sums(sum(compute), sum(memory), dict(sorted(by_type.items())), dict(sorted(by_opcode.items())), loops,
                _warnings(listing, counts, left_out))


def cycles_of(compute_ps: int, memory_ps: int, period_ps: int) -> tuple[int, int | float]:
    """Express compute and memory time in core cycles; a memory has its own clock, so its time may hold a part of one.

    Returns
    -------
    (int, int or float)
    """
    whole, rest = divmod(memory_ps, period_ps)
    return compute_ps // period_ps, memory_ps / period_ps if rest else whole


def profile_static(listing: Listing, counts: Sequence[int], machine: Machine) -> Profile:
    """Profile a listing whose entry i runs `counts[i]` times. Raises `EmuError` where the cycles pass 2^63 - 1."""
    each_of: dict[tuple, int] = {}
    compute, memory = [], []
    period, is_exact = core_period_ps(machine.clock_mhz)
    for entry, count in zip(listing.entries, counts, strict=True):
        key = (entry.mnemonic, entry.rd == 0, entry.rs3)
        if key not in each_of:
            each_of[key] = machine.compute_cycles(entry)
        compute.append(count * each_of[key] * period)
        memory.append(count * machine.memory.get(entry.mnemonic, 0) * period)
    total = sum(compute) + sum(memory)
    if total > LARGEST_FIGURE:
        raise EmuError(f"{listing.source}: its loops make more than {LARGEST_FIGURE} ps, expected at most that many")
    sums = sum_up(listing, counts, compute, memory, period)
    computed, moved = cycles_of(sums.compute_ps, sums.memory_ps, period)
    return Profile(
        view="static",
        source=listing.source,
        source_lines=listing.lines,
        static_instructions=len(listing.entries),
        dynamic_instructions=sum(counts),
        compute_cycles=computed,
        memory_cycles=moved,
        memory_charged=any(machine.memory.values()),
        board=machine.board,
        latencies_from=machine.latency_from,
        clock_mhz=machine.clock_mhz,
        core_period_ps=period,
        core_period_exact=is_exact,
        seconds=total // period / (machine.clock_mhz * 1e6),
        latency_ps=total,
        board_time_ps=total,
        board_time_ms=total / 1e9,
        compute_ps=sums.compute_ps,
        memory_ps=sums.memory_ps,
        mlen=machine.mlen,
        vlen=machine.vlen,
        by_type=sums.by_type,
        by_opcode=sums.by_opcode,
        loops=sums.loops,
        warnings=sums.warnings,
    )


def _running(values):
    """Sums of all values before each index, and of all."""
    sums = [0]
    for value in values:
        sums.append(sums[-1] + value)
    return sums


def _loop_tree(listing, counts, compute, memory, period):
    """Loops as a tree, and how many lie too deep for it; a loop costs what the instructions of its span cost."""
    executed, computed, moved = (_running(values) for values in (counts, compute, memory))
    total = computed[-1] + moved[-1]
    roots, above, left_out = [], [], 0
    for span in match_loops(listing.entries)[0]:
        while above and above[-1].end_pc < span.start:
            above.pop()
        if len(above) == MOST_NESTED:
            left_out += 1
            continue
        start = listing.entries[span.start]
        inside = [sums[span.end + 1] - sums[span.start] for sums in (executed, computed, moved)]
        cycles = cycles_of(inside[1], inside[2], period)
        node = LoopProfile(
            pc=span.start, end_pc=span.end, register=start.rd, trips=start.imm, entered=counts[span.start],
            iterations=counts[span.end], instructions=inside[0], compute_cycles=cycles[0], memory_cycles=cycles[1],
            compute_ps=inside[1], memory_ps=inside[2],
            share=(inside[1] + inside[2]) / total if total else 0.0,
            line=start.line, label=listing.labels.get(start.line), loops=[],
        )
        (above[-1].loops if above else roots).append(node)
        above.append(node)
    return roots, left_out


def _warnings(listing, counts, left_out):
    """What the figures leave out; `left_out` loops lie too deep."""
    unknown: dict[str, int] = {}
    for entry, count in zip(listing.entries, counts, strict=True):
        if entry.op is None and count:
            unknown[entry.mnemonic] = unknown.get(entry.mnemonic, 0) + count
    lines = [f"{name} is no known operation: counted {count} times at 0 cycles" for name, count in unknown.items()]
    if left_out:
        lines.append(f"{left_out} loops lie within more than {MOST_NESTED} others: not listed one by one")
    return listing.warnings + lines
