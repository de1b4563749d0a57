"""Loops of a program, from its words alone (spec §1.7)."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ... import isa
from ...kernels.layout import OP_ID, OP_IMM, OP_RD


class Span(NamedTuple):
    """A closed loop: indices of its C_LOOP_START and C_LOOP_END."""

    start: int
    end: int


def close_loops(marks: Iterable[tuple[int, bool, int]]) -> tuple[list[Span], list[int]]:
    """Match the loop instructions of a program.

    A C_LOOP_END closes the innermost open loop of its register (§1.7); loops still open inside that one never repeat
    and are none.

    Parameters
    ----------
    marks : iterable of (index, is a C_LOOP_START, register)
        The loop instructions in program order.

    Returns
    -------
    list of Span, list of int
        Closed loops by start, properly nested; indices of the C_LOOP_END that close none.
    """
    open_loops: list[tuple[int, int]] = []
    depths: dict[int, list[int]] = {}  # of the open loops of each register, so that none is searched for
    spans, strays = [], []
    for index, starts, register in marks:
        if starts:
            depths.setdefault(register, []).append(len(open_loops))
            open_loops.append((index, register))
        elif not depths.get(register):
            strays.append(index)
        else:
            depth = depths[register][-1]
            spans.append(Span(open_loops[depth][0], index))
            while len(open_loops) > depth:
                depths[open_loops.pop()[1]].pop()
    return sorted(spans), strays


def loops_of(table: np.ndarray) -> list[Span]:
    """Find the closed loops of a decoded program.

    Parameters
    ----------
    table : int64[words, OP_WIDTH]
        Decoded program.

    Returns
    -------
    list of Span
        By start, properly nested.
    """
    ids = table[:, OP_ID]
    at = np.flatnonzero((ids == isa.C_LOOP_START) | (ids == isa.C_LOOP_END))
    starts = (ids[at] == isa.C_LOOP_START).tolist()
    return close_loops(zip(at.tolist(), starts, table[at, OP_RD].tolist(), strict=True))[0]


def static_total(table: np.ndarray) -> int | None:
    """Count the instructions that a run executes, if every loop makes all its iterations.

    Returns
    -------
    int or None
        None where a C_BREAK may end a loop early.
    """
    if (table[:, OP_ID] == isa.C_BREAK).any():
        return None
    total, covered = 0, 0
    factors = [1]  # iterations of the loops around a word, the innermost last
    edges = sorted((at, at == span.end, span) for span in loops_of(table) for at in span)
    for at, is_end, span in edges:
        total += (at + 1 - covered) * factors[-1]  # a C_LOOP_START runs as often as its loop is entered
        covered = at + 1
        if is_end:
            factors.pop()
        else:
            factors.append(factors[-1] * int(table[span.start, OP_IMM]))
    return total + len(table) - covered


def loop_paths(table: np.ndarray) -> tuple[list[tuple[Span, ...]], np.ndarray]:
    """Find which loops each word lies in.

    Returns
    -------
    list of tuple of Span
        Paths from the outermost loop in; the first is the empty one.
    int32[words]
        Which path is that of each word. The loop instructions lie in their loop.
    """
    paths: list[tuple[Span, ...]] = [()]
    of_word = np.zeros(len(table), dtype=np.int32)
    around: list[Span] = []
    for span in loops_of(table):
        while around and around[-1].end < span.start:
            around.pop()
        around.append(span)
        of_word[span.start : span.end + 1] = len(paths)
        paths.append(tuple(around))
    return paths, of_word
