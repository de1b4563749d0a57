"""The choice between all scores at once and an online softmax over chunks of keys (spec §9.2, §9.4, §9.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from plena_emu.errors import EmuError
from plena_emu.models.graph import Attend, Graph
from plena_emu.models.lowering.key_chunks import most_blocks
from plena_emu.models.lowering.program import Lowering
from plena_emu.models.machine import Machine, ceil_div

from .place import Placement, place

_LONGEST = 64  # key blocks whose exponentials may be added one by one: bf16 sums of more lose the small ones


def plan_attention(build: Callable[[int | None], Graph], machine: Machine) -> tuple[Graph, Placement]:
    """Choose how scores are kept, and place the graph.

    All scores of a KV head at once are the fastest for short sequences. They are taken where they fit the vector SRAM,
    where the loops over heads stay below MAX_LOOP_INSTRUCTIONS, and where there are not too many key blocks. Else the
    softmax is online, over the longest chunks of keys that fit.

    Parameters
    ----------
    build : callable
        Makes the graph for a number of key blocks a chunk, None: all scores.
    machine : Machine

    Returns
    -------
    tuple of Graph and Placement

    Raises
    ------
    EmuError
        The vector SRAM is too small for any; the message says how many rows are needed.
    """
    fitting = None
    least = None
    for graph in _candidates(build, machine):
        placement = place(graph, machine)
        least = min(placement.rows, least or placement.rows)
        if placement.rows > machine.vector_rows:
            continue
        attend = _attend(graph)
        if attend is None or (_short(attend, machine) and not _written_out(attend, placement, machine)):
            return graph, placement
        if fitting is None or attend.chunk:
            fitting = graph, placement
    if fitting is None:
        raise EmuError(f"vector SRAM: the program needs {least} rows of {machine.mlen} elements, there are"
                       f" {machine.vector_rows}")
    return fitting


def _candidates(build, machine) -> Iterator[Graph]:
    """Graphs from the fastest to the smallest."""
    graph = build(None)
    yield graph
    attend = _attend(graph)
    if attend is None:
        return
    alone = attend.slots > 1 or attend.q.token_major  # heads that a step takes one by one, or as rows of a block
    group = 1 if alone else attend.heads // attend.kv_heads
    chunk = min(most_blocks(machine, attend.q.parts), ceil_div(attend.keys, machine.mlen))
    while chunk:
        graph = build(chunk)
        for shares in range(1, group + 1):
            if group % shares == 0:
                yield _shared(graph, shares)
        chunk //= 2


def _shared(graph, shares):
    """The graph whose attention takes a share of a KV head's query heads at a time."""
    operators = [msgspec.structs.replace(operator, shares=shares) if isinstance(operator, Attend) else operator
                 for operator in graph.operators]
    return msgspec.structs.replace(graph, operators=operators)


def _attend(graph):
    """The first attention: all are alike."""
    return next((operator for operator in graph.operators if isinstance(operator, Attend)), None)


def _short(attend, machine):
    return attend.chunk is not None or ceil_div(attend.keys, machine.mlen) <= _LONGEST


def _written_out(attend, placement, machine):
    """Whether the attention's loops become straight code."""
    lowering = Lowering(placement, machine)
    lowering.attend(attend)
    return lowering.b.written_out
