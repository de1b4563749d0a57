"""Find what threads may do side by side in a chunk of events: tile products, and prefetches of tiles.

A *product* is the events that fill the M_MM accumulator and the M_MM_WO that writes it out and clears it:

    M_MM  M_MM  M_MM_WO     M_MM  M_MM  M_MM_WO     V_ADD_VV   M_MM ...
    one product             the next                others     a product that is not complete in this chunk

Adjacent products are a *group* as long as none reads a row that another writes and none writes what another does. Each
is a *piece*, computed by one thread on an accumulator of its own in the order of its instructions, so the bits are
those of one thread (§2.5). Adjacent H_PREFETCH_M of different tiles are a group, too, each a piece. What belongs to no
group stays in order, between the groups.
"""

from typing import NamedTuple

import numpy as np

from plena_emu import isa

from ..compiler.atomics import store_release
from ..compiler.jit import entry, kernel, small
from ..layout import CFG_BLEN, CFG_MLEN, DESC_ROWS
from ..op_groups import is_elementwise

ALONE, LEAD, HELP = range(3)  # parts of a thread in the data pass
STARVED, PAUSED, OVER = range(3)  # why a thread leads no more

# Columns of a segment: events [first, past), pieces [first, past) and work; no pieces where the events stay in order.
SEG_FIRST, SEG_PAST, SEG_PIECE, SEG_PIECES_PAST, SEG_WORK, SEG_WIDTH = range(6)
PIECE_FIRST, PIECE_PAST, PIECE_WIDTH = range(3)  # events of a piece

# Counters that the threads of a run share. What different threads write lies on cache lines of its own.
LINE = 16
LEFT = 0 * LINE  # pieces of the group that nobody took; plus FRONT for each that was taken from its front
PIECES = 1 * LINE  # row of the table with the first piece of the group
BASE = PIECES + 1  # row of the first event of the chunk
DONE = 2 * LINE  # pieces that are done of the group
READY = 3 * LINE  # chunks that are planned
LAST = READY + 1  # chunks that there will be, FOREVER as long as nobody knows
IS_CLEAR = READY + 2  # whether the accumulator is as M_MM_WO leaves it, behind the chunks that are planned
ROWS_WRITTEN = READY + 3  # row behind the highest that those chunks write, about: only memory is made ready by it
LED = 4 * LINE  # chunks that are done, GIVEN_UP when none will be led any more
SEGMENT = LED + 1  # segments that are done of the next chunk
CPU = LED + 2  # where the leading thread is, -1 where nobody knows
YIELD = 5 * LINE  # address of a C function that gives up the CPU, 0 without
SLEEP = YIELD + 1  # of one that sleeps for so many microseconds
WHERE = YIELD + 2  # of one that tells the CPU of the calling thread
SHARED_WIDTH = 6 * LINE
FRONT = 1 << 32
FOREVER = 1 << 62
GIVEN_UP = 1 << 62


class Plan(NamedTuple):
    """How the events of the chunks in a ring are handed out.

    Chunk n has a slot of the ring, n % slots, and so many rows of each table from slot * length on as a chunk has
    events at most.

    Attributes
    ----------
    segments : int64[slots * length, SEG_WIDTH]
    pieces : int64[slots * length, PIECE_WIDTH]
    counts : int64[slots]
        How many segments there are.
    shared : int64[SHARED_WIDTH]
    """

    segments: np.ndarray
    pieces: np.ndarray
    counts: np.ndarray
    shared: np.ndarray


NO_PLAN = Plan(
    np.zeros((0, SEG_WIDTH), dtype=np.int64), np.zeros((0, PIECE_WIDTH), dtype=np.int64),
    np.zeros(1, dtype=np.int64), np.zeros(SHARED_WIDTH, dtype=np.int64),
)


@small
def is_fill(op):
    """Tell whether an operation fills the accumulator of M_MM_WO."""
    return op == isa.M_MM or op == isa.M_TMM


@small
def meet(low, high, other_low, other_high):
    """Tell whether [low, high) and [other_low, other_high) have something in common."""
    return low < other_high and other_low < high


@kernel
def end_of_product(events, row, count, at):
    """Find the M_MM_WO of the product that begins at an event of the chunk from `row` on; `count` without one."""
    past = at
    while past < count and is_fill(events[row + past, 0]):
        past += 1
    return past if past > at and past < count and events[row + past, 0] == isa.M_MM_WO else count


@kernel
def group_products(events, count, cfg, work, most, at, plan, row, pieces):
    """Make a piece of each product that begins at an event with a clear accumulator, until two of them meet.

    The chunk and its pieces are from a `row` of their tables on.

    The places that a group writes must be blocks of one grid, in ascending order by row or by column: then they
    are different.

    Returns (end of the last product, pieces, work); the end is `at` where there is none.
    """
    blen = cfg[CFG_BLEN]
    total = np.int64(0)
    read_low, read_high, write_low, write_high = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    written, offset = np.int64(0), np.int64(0)
    by_row, by_column = True, True
    begun = at
    while True:
        end = end_of_product(events, row, count, at)
        if end == count or events[row + end, 3] != 1:
            break
        low, high, cost = events[row + at, 3], events[row + at, 3], np.int64(0)
        for i in range(row + at, row + end):
            low, high = min(low, events[i, 3]), max(high, events[i, 3])
            cost += work[events[i, 0]]
        high += blen
        new_row, new_offset = events[row + end, 1], events[row + end, 2]
        if at > begun:
            down, right = new_row - written, new_offset - offset
            by_row = by_row and (down > 0 or (down == 0 and right > 0))
            by_column = by_column and (right > 0 or (right == 0 and down > 0))
            off_grid = down % blen != 0 or right % blen != 0
            low_all, high_all = min(low, read_low), max(high, read_high)
            if (
                not (by_row or by_column) or off_grid or total + cost > most
                or meet(low, high, write_low, write_high) or meet(read_low, read_high, new_row, new_row + blen)
            ):
                break
            read_low, read_high = low_all, high_all
            write_low, write_high = min(write_low, new_row), max(write_high, new_row + blen)
        else:
            read_low, read_high, write_low, write_high = low, high, new_row, new_row + blen
        plan.pieces[row + pieces, PIECE_FIRST] = at
        plan.pieces[row + pieces, PIECE_PAST] = end + 1
        pieces += 1
        total += cost
        written, offset = new_row, new_offset
        at = end + 1
    return at, pieces, total


@kernel
def group_prefetches(events, count, descriptors, cfg, work, most, at, plan, row, pieces):
    """Make a piece of each H_PREFETCH_M from an event on, until one is not of tiles behind those of the others.

    The chunk and its pieces are from a `row` of their tables on.

    Returns (end of the last prefetch, pieces, work).
    """
    mlen = cfg[CFG_MLEN]
    cost = work[isa.H_PREFETCH_M]
    tile, total = np.int64(0), np.int64(0)
    while at < count and total + cost <= most:
        event = events[row + at]
        if event[0] != isa.H_PREFETCH_M or event[1] < tile:
            break
        tile = event[1] + (descriptors[event[2], DESC_ROWS] + mlen - 1) // mlen
        plan.pieces[row + pieces, PIECE_FIRST] = at
        plan.pieces[row + pieces, PIECE_PAST] = at + 1
        pieces += 1
        total += cost
        at += 1
    return at, pieces, total


@small
def add_segment(plan, row, segments, first, past, piece, pieces, work):
    """Add a segment behind those of the chunk, which are from a row of the table on.

    Returns the number of segments.
    """
    at = row + segments
    plan.segments[at, SEG_FIRST] = first
    plan.segments[at, SEG_PAST] = past
    plan.segments[at, SEG_PIECE] = piece
    plan.segments[at, SEG_PIECES_PAST] = pieces
    plan.segments[at, SEG_WORK] = work
    return segments + 1


@entry
def plan_chunk(events, count, shares, plan, cfg, descriptors, work, most):
    """Cut the next chunk of a run into segments, and let it be led.

    Parameters
    ----------
    events : int64[slots * length, EV_WIDTH]
    count : int
        Events of the chunk.
    shares : int
        1 to make groups.
    plan : Plan
    cfg : int64[CFG_WIDTH]
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
    work : int64[NUM_OPS]
        Work of an event by its operation.
    most : int
        Work of a segment.

    Returns the number of segments. They are in order and cover the chunk.
    """
    shared = plan.shared
    slots = plan.counts.shape[0]
    slot = shared[READY] % slots
    row = slot * (events.shape[0] // slots)
    clear = shared[IS_CLEAR] != 0
    segments, pieces, done, at, in_order = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while at < count:
        op = events[row + at, 0]
        past, more, total = at, pieces, np.int64(0)
        if shares == 1 and op == isa.H_PREFETCH_M:
            past, more, total = group_prefetches(events, count, descriptors, cfg, work, most, at, plan, row, pieces)
        elif shares == 1 and clear and is_fill(op):
            past, more, total = group_products(events, count, cfg, work, most, at, plan, row, pieces)
        if more - pieces > 1:
            if done < at:
                segments = add_segment(plan, row, segments, done, at, pieces, pieces, in_order)
            segments = add_segment(plan, row, segments, at, past, pieces, more, total)
            done, at, pieces, in_order = past, past, more, np.int64(0)
            continue
        if past == at:  # an event on its own
            past, total = at + 1, work[op]
            clear = op == isa.M_MM_WO or (clear and not is_fill(op))
        if done < at and in_order + total > most:
            segments = add_segment(plan, row, segments, done, at, pieces, pieces, in_order)
            done, in_order = at, np.int64(0)
        in_order += total
        at = past
    if done < count:
        segments = add_segment(plan, row, segments, done, count, pieces, pieces, in_order)
    for at in range(row, row + count):
        op = events[at, 0]
        if is_elementwise(op) or op == isa.M_MM_WO or op == isa.H_PREFETCH_V:
            shared[ROWS_WRITTEN] = max(shared[ROWS_WRITTEN], events[at, 1] + 1)
    shared[IS_CLEAR] = 1 if clear else 0
    plan.counts[slot] = segments
    store_release(shared, READY, shared[READY] + 1)
    return segments
