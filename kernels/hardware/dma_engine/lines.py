"""The 64-byte lines of a production DMA (spec §7.2, §7.3): which it reads, which it writes.

A transfer's rows are *pieces*, ranges of bytes. Pieces in ascending order are merged into *spans* that neither touch
nor overlap; a line is covered completely when it lies in one span. Addresses are u64 bit patterns; pieces and spans
hold *keys*, addresses with their sign bit flipped, so that int64 order is u64 order.

Almost every transfer *ascends*: its rows follow each other without overlap, and so do elements and scales. Then its
lines are listed row by row, and a line is covered completely when 64 of its bytes were met.

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
HIGHEST = 1 << 62  # transfers that begin below do not pass the last address
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


# --- transfers that ascend -------------------------------------------------------------------------


@small
def range_of_rows(first, rows, length, jump):
    """Find the ranges of bytes of some rows: rows without a gap are one.

    Returns (whether they ascend, rows, bytes a row, first byte behind the last row).
    """
    end = first + (rows - 1) * jump + length
    apart = rows == 1 or jump >= length
    ascend = apart and 0 <= first < HIGHEST and (rows - 1) * jump <= U32_MASK
    if jump == length:
        return ascend, 1, rows * length, end
    return ascend, rows, length, end


@small
def ranges_of(descriptor, event):
    """Find the ranges of bytes of a memory event that ascends: the lower of elements and scales, then the higher.

    Returns (whether it ascends, first byte, rows, bytes a row, bytes to the next row, then the last four once more).
    """
    rows, length, slen = descriptor[DESC_ROWS], descriptor[DESC_ROW_BYTES], descriptor[DESC_SCALE_BYTES]
    index, scale_index, step = event[MEV_INDEX], event[MEV_SCALE], event[MEV_STEP]
    jump = packed_step(descriptor, step, length)
    ascend, count, size, end = range_of_rows(index, rows, length, jump)
    ascend = ascend and rows > 0 and length > 0
    if slen == 0:
        return ascend, index, count, size, jump, end, 0, 0, 0
    scale_jump = packed_step(descriptor, step, slen)
    scales_ascend, scale_count, scale_size, scale_end = range_of_rows(scale_index, rows, slen, scale_jump)
    ascend = ascend and scales_ascend
    if scale_index < index:
        ascend = ascend and scale_end <= index
        return ascend, scale_index, scale_count, scale_size, scale_jump, index, count, size, jump
    ascend = ascend and end <= scale_index
    return ascend, index, count, size, jump, scale_index, scale_count, scale_size, scale_jump


@small
def append_rows(lines, n, most, first, rows, length, jump):
    """Append the lines of ascending rows to `lines[:n]`, which ascend too, until there are `most`.

    Returns how many there are.
    """
    free = lines[n - 1] + ACCESS_BYTES if n > 0 else np.int64(0)
    for row in range(rows):
        end = first + row * jump + length
        line = max((end - length) & -ACCESS_BYTES, free)
        while line < end and n < most:
            lines[n] = line
            n += 1
            line += ACCESS_BYTES
        free = line
        if n == most:
            break
    return n


@small
def list_ascending(lines, most, descriptor, event):
    """List the first lines, at most `most`, of a memory event.

    Returns how many, 0 where it does not ascend.
    """
    ascend, first, rows, length, jump, second, more_rows, more_length, more_jump = ranges_of(descriptor, event)
    if not ascend:
        return 0
    n = append_rows(lines, 0, most, first, rows, length, jump)
    return append_rows(lines, n, most, second, more_rows, more_length, more_jump)


@small
def append_stored_rows(plan, read, written, covered, first, rows, length, jump):
    """Append the lines of ascending rows that a store writes; `covered` are bytes of the last line so far.

    A line is known to be read, too, once the next one begins.

    Returns the same three numbers: lines to read, lines to write, bytes of the last line.
    """
    last = plan.writes[written - 1] if written > 0 else np.int64(-1)
    if (first | length | jump) & (ACCESS_BYTES - 1) == 0 and rows > 0:  # lines that are covered completely, as is usual
        if covered < ACCESS_BYTES:
            plan.reads[read] = last
            read += 1
        return read, append_rows(plan.writes, written, len(plan.writes), first, rows, length, jump), ACCESS_BYTES
    for row in range(rows):
        at = first + row * jump
        end = at + length
        while at < end:
            line = at & -ACCESS_BYTES
            if line != last:
                if covered < ACCESS_BYTES:
                    plan.reads[read] = last
                    read += 1
                plan.writes[written] = last = line
                written += 1
                covered = 0
            upto = min(end, line + ACCESS_BYTES)
            covered += upto - at
            at = upto
    return read, written, covered


@small
def plan_ascending(plan, descriptor, event):
    """Plan a memory event that ascends.

    Returns whether it does.
    """
    reg = plan.reg
    if descriptor[DESC_STORE] == 0:
        reg[READS], reg[WRITES] = list_ascending(plan.reads, len(plan.reads), descriptor, event), 0
        return reg[READS] > 0
    ascend, first, rows, length, jump, second, more_rows, more_length, more_jump = ranges_of(descriptor, event)
    if not ascend:
        return False
    read, written, covered = append_stored_rows(plan, 0, 0, ACCESS_BYTES, first, rows, length, jump)
    read, written, covered = append_stored_rows(
        plan, read, written, covered, second, more_rows, more_length, more_jump
    )
    if covered < ACCESS_BYTES:
        plan.reads[read] = plan.writes[written - 1]
        read += 1
    reg[READS], reg[WRITES] = read, written
    return True


# --- any transfer ----------------------------------------------------------------------------------


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


@kernel
def plan_pieces(plan, descriptor, event):
    """Plan any memory event: its pieces, sorted and merged."""
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
def plan_lines(plan, descriptor, event):
    """Fill `plan.reads` and `plan.writes` with the lines of a memory event, ascending (§7.3).

    Parameters
    ----------
    plan : LinePlan
    descriptor : int64[DESC_WIDTH]
    event : int64[MEV_WIDTH]
        Its step counts elements.
    """
    if not plan_ascending(plan, descriptor, event):
        plan_pieces(plan, descriptor, event)
