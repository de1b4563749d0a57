"""The 64-byte lines of a production DMA (spec §7.2, §7.3): which it reads, which it writes.

A transfer's rows are *pieces*, ranges of bytes. Pieces in ascending order are merged into *spans* that neither touch
nor overlap; a line is covered completely when it lies in one span. Addresses are u64 bit patterns; pieces and spans
hold *keys*, addresses with their sign bit flipped, so that int64 order is u64 order.

Example: elements [32, 160) and scales [4096, 4104) make two spans. A prefetch reads lines 0, 64, 128 and 4096. A store
reads lines 0, 128 and 4096, which it covers partly, and then writes all four.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import kernel, small
from ...layout import DESC_ROW_BYTES, DESC_ROWS, DESC_SCALE_BYTES, DESC_STORE, MEV_INDEX, MEV_SCALE, MEV_STEP
from ...limits import ACCESS_BYTES, U32_MASK
from ...memory.dma_address import packed_step

SIGN = np.int64(-(2**63))  # flips u64 order into int64 order
LAST_KEY = np.int64(2**63 - 1)
PIECES_A_ROW = 4  # elements and scales, each of which may pass the end of the address space

# Slots of `LinePlan.reg`.
PIECES = 0  # pieces so far
SORTED = 1  # 1 while they ascend
READS = 2  # lines to read
WRITES = 3  # lines to write
PLAN_WIDTH = 4


class LinePlan(NamedTuple):
    """The lines of one DMA, and room to find them.

    Attributes
    ----------
    reg : int64[PLAN_WIDTH]
    first, final : int64[PIECES_A_ROW * rows]
        Keys of the first and the last byte of each piece.
    reads, writes : int64[lines]
        Line addresses (u64 bit patterns), ascending.
    """

    reg: np.ndarray
    first: np.ndarray
    final: np.ndarray
    reads: np.ndarray
    writes: np.ndarray


@small
def add_piece(plan, first, length):
    """Append the piece of `length` bytes at key `first`; one that passes the last address goes on at address 0."""
    reg = plan.reg
    at = reg[PIECES]
    if at > 0 and first < plan.first[at - 1]:
        reg[SORTED] = 0
    plan.first[at] = first
    plan.final[at] = first + (length - 1) if first <= LAST_KEY - (length - 1) else LAST_KEY
    reg[PIECES] = at + 1
    if plan.final[at] - first < length - 1:
        plan.first[at + 1] = SIGN
        plan.final[at + 1] = SIGN + (length - 2 - (LAST_KEY - first))
        reg[PIECES] = at + 2
        reg[SORTED] = 0


@kernel
def add_rows(plan, address, rows, length, jump):
    """Append the pieces of `rows` rows of `length` bytes, `jump` bytes (modulo 2^32) from one to the next."""
    if length == 0 or rows == 0:
        return
    first = address ^ SIGN
    if jump == length and rows * length <= U32_MASK:
        add_piece(plan, first, rows * length)
        return
    for row in range(rows):
        add_piece(plan, first + ((row * jump) & U32_MASK), length)


@small
def sift_down(plan, at, count):
    """Restore the heap of pieces below place `at`."""
    first, final = plan.first, plan.final
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and first[child + 1] > first[child]:
            child += 1
        if first[child] <= first[at]:
            return
        first[at], first[child] = first[child], first[at]
        final[at], final[child] = final[child], final[at]
        at = child


@kernel
def sort_pieces(plan):
    """Put the pieces in ascending order (heapsort: kernels cannot allocate)."""
    count = plan.reg[PIECES]
    for at in range(count // 2 - 1, -1, -1):
        sift_down(plan, at, count)
    for last in range(count - 1, 0, -1):
        plan.first[0], plan.first[last] = plan.first[last], plan.first[0]
        plan.final[0], plan.final[last] = plan.final[last], plan.final[0]
        sift_down(plan, 0, last)
    plan.reg[SORTED] = 1


@kernel
def add_lines(plan, first, final, store):
    """List the lines of a span; one it shares with the span before is listed already, as covered partly."""
    reg = plan.reg
    reads, writes = reg[READS], reg[WRITES]
    line = first & -ACCESS_BYTES
    count = ((final & -ACCESS_BYTES) - line) // ACCESS_BYTES + 1
    listed = plan.writes if store else plan.reads
    at = writes if store else reads
    if at > 0 and listed[at - 1] == line ^ SIGN:
        line += ACCESS_BYTES
        count -= 1
    for k in range(count):
        key = line + ACCESS_BYTES * k
        listed[at + k] = key ^ SIGN
        if store and (first > key or final - key < ACCESS_BYTES - 1):
            plan.reads[reads] = key ^ SIGN
            reads += 1
    reg[READS] = reads if store else at + count
    reg[WRITES] = at + count if store else 0


@kernel
def plan_lines(plan, descriptor, event):
    """Fill `plan.reads` and `plan.writes` with the lines of a memory event, ascending (§7.3).

    Parameters
    ----------
    plan : LinePlan
    descriptor : int64[DESC_WIDTH]
    event : int64[MEV_WIDTH]
        Its step counts elements.
    """
    reg = plan.reg
    reg[PIECES] = reg[READS] = reg[WRITES] = 0
    reg[SORTED] = 1
    rows, length, slen = descriptor[DESC_ROWS], descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    index, scale_index = event[MEV_INDEX], event[MEV_SCALE]
    jump = packed_step(descriptor, event[MEV_STEP], length)
    scale_jump = packed_step(descriptor, event[MEV_STEP], slen)
    if scale_index ^ SIGN >= index ^ SIGN:
        add_rows(plan, index, rows, length, jump)
        add_rows(plan, scale_index, rows, slen, scale_jump)
    else:
        add_rows(plan, scale_index, rows, slen, scale_jump)
        add_rows(plan, index, rows, length, jump)
    if reg[SORTED] == 0:
        sort_pieces(plan)
    list_spans(plan, descriptor[DESC_STORE] == 1)


@kernel
def list_spans(plan, store):
    """Merge the pieces into spans and list the lines of each."""
    count = plan.reg[PIECES]
    if count == 0:
        return
    first, final = plan.first[0], plan.final[0]
    for at in range(1, count):
        if plan.first[at] <= final or plan.first[at] - 1 == final:
            final = max(final, plan.final[at])
        else:
            add_lines(plan, first, final, store)
            first, final = plan.first[at], plan.final[at]
    add_lines(plan, first, final, store)
