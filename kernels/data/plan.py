"""Find what threads may do side by side in a chunk of events: products between two writes, prefetches of tiles.

A *product* is the events that fill the M_MM accumulator and the M_MM_WO that writes it out and clears it:

    M_MM  M_MM  M_MM_WO     M_MM  M_MM  M_MM_WO     V_ADD_VV   M_MM ...
    one product             the next                others     a product that is not complete in this chunk

Adjacent products are a *group* as long as none reads a row that another writes and none writes what another does. Each
is computed by one thread on an accumulator of its own in the order of its instructions, so the bits are those of one
thread (§2.5). Adjacent H_PREFETCH_M are a group as long as no tile is filled twice. What belongs to no group stays in
order, between the groups.
"""

from typing import NamedTuple

import numpy as np

from plena_emu import isa

from ..compiler.jit import entry, kernel, small
from ..layout import CFG_BLEN, CFG_MLEN, DESC_ROWS

# Columns of a segment: events [first, past), pieces [first, past) and work; no pieces where the events stay in order.
SEG_FIRST, SEG_PAST, SEG_PIECE, SEG_PIECES_PAST, SEG_WORK, SEG_WIDTH = range(6)
PIECE_FIRST, PIECE_PAST, PIECE_WIDTH = range(3)  # events of a piece: products, or a prefetch

# Counters that threads share, each on cache lines of its own.
LINE = 16
NEXT = 0 * LINE  # piece that the next thread takes
OPEN = 1 * LINE  # pieces before this one may be begun
DONE = 2 * LINE  # pieces that are done
PIECES = 3 * LINE  # pieces of the chunk
IS_CLEAR = 4 * LINE  # whether the accumulator is as M_MM_WO leaves it: before, then behind the chunk
GIVEN_UP = 5 * LINE  # whether nobody leads the chunk any more
YIELD = 6 * LINE  # address of a C function that gives up the CPU, 0 without
MINE = 7 * LINE  # piece that the leading thread has taken
SHARED_WIDTH = 8 * LINE

# Work is counted in multiply-adds of a product. Handing out a piece costs as much as some thousand of them.
LEAST_PIECE = 0  # of a piece, but for the last of its group
LEAST_GROUP = 1  # of a group: less is done sooner by one thread
MOST_GROUP = 2  # of a group, and of what stays in order between two
LIMITS = 3


class Plan(NamedTuple):
    """How the events of one chunk are handed out.

    Attributes
    ----------
    segments : int64[n, SEG_WIDTH]
    pieces : int64[n, PIECE_WIDTH]
    shared : int64[SHARED_WIDTH]
        Zeros before, of its own for every chunk: a thread that comes late may still look at it.
    """

    segments: np.ndarray
    pieces: np.ndarray
    shared: np.ndarray


@small
def is_fill(op):
    """Tell whether an operation fills the accumulator of M_MM_WO."""
    return op == isa.M_MM or op == isa.M_TMM


@small
def meet(low, high, other_low, other_high):
    """Tell whether [low, high) and [other_low, other_high) have something in common."""
    return low < other_high and other_low < high


@kernel
def end_of_product(events, count, at):
    """Find the M_MM_WO of the product that begins at an event; `count` without one."""
    past = at
    while past < count and is_fill(events[past, 0]):
        past += 1
    return past if past > at and past < count and events[past, 0] == isa.M_MM_WO else count


@kernel
def cut(plan, pieces, first, past, done, least):
    """Add events [first, past) to the last piece of a group, whose work so far is `done`; begin one if that is enough.

    Returns the number of pieces.
    """
    if 0 < done < least:
        plan.pieces[pieces - 1, PIECE_PAST] = past
        return pieces
    plan.pieces[pieces, PIECE_FIRST] = first
    plan.pieces[pieces, PIECE_PAST] = past
    return pieces + 1


@kernel
def group_products(events, count, cfg, work, limits, at, plan, pieces):
    """Make pieces of the products that begin at an event with a clear accumulator, until two of them meet.

    The places that a group writes must be blocks of one grid, in ascending order by row or by column: then they
    are different.

    Returns (end of the last product, pieces, work); the end is `at` where there is none.
    """
    blen = cfg[CFG_BLEN]
    total, in_piece = np.int64(0), np.int64(0)
    read_low, read_high, write_low, write_high = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    row, offset = np.int64(0), np.int64(0)
    by_row, by_column = True, True
    begun = at
    while True:
        end = end_of_product(events, count, at)
        if end == count or events[end, 3] != 1:
            break
        low, high, cost = events[at, 3], events[at, 3], np.int64(0)
        for i in range(at, end):
            low, high = min(low, events[i, 3]), max(high, events[i, 3])
            cost += work[events[i, 0]]
        high += blen
        new_row, new_offset = events[end, 1], events[end, 2]
        if at > begun:
            down, right = new_row - row, new_offset - offset
            by_row = by_row and (down > 0 or (down == 0 and right > 0))
            by_column = by_column and (right > 0 or (right == 0 and down > 0))
            off_grid = down % blen != 0 or right % blen != 0
            low_all, high_all = min(low, read_low), max(high, read_high)
            if (
                not (by_row or by_column) or off_grid or total + cost > limits[MOST_GROUP]
                or meet(low, high, write_low, write_high) or meet(read_low, read_high, new_row, new_row + blen)
            ):
                break
            read_low, read_high = low_all, high_all
            write_low, write_high = min(write_low, new_row), max(write_high, new_row + blen)
        else:
            read_low, read_high, write_low, write_high = low, high, new_row, new_row + blen
        pieces = cut(plan, pieces, at, end + 1, in_piece, limits[LEAST_PIECE])
        in_piece = cost if in_piece >= limits[LEAST_PIECE] else in_piece + cost
        total += cost
        row, offset = new_row, new_offset
        at = end + 1
    return at, pieces, total


@kernel
def group_prefetches(events, count, cfg, descriptors, work, limits, at, plan, pieces):
    """Make pieces of the prefetches of tiles that begin at an event, until two of them fill one tile.

    Returns (the end of the last one, pieces, work).
    """
    total, in_piece = np.int64(0), np.int64(0)
    low, high = np.int64(0), np.int64(0)
    begun = at
    while at < count and events[at, 0] == isa.H_PREFETCH_M:
        tile, cost = events[at, 1], work[isa.H_PREFETCH_M]
        past = tile + max(1, descriptors[events[at, 2], DESC_ROWS] // cfg[CFG_MLEN])
        if at > begun and (meet(tile, past, low, high) or total + cost > limits[MOST_GROUP]):
            break
        low = tile if at == begun else min(low, tile)
        high = past if at == begun else max(high, past)
        pieces = cut(plan, pieces, at, at + 1, in_piece, limits[LEAST_PIECE])
        in_piece = cost if in_piece >= limits[LEAST_PIECE] else in_piece + cost
        total += cost
        at += 1
    return at, pieces, total


@small
def add_segment(plan, segments, first, past, piece, pieces, work):
    """Add a segment.

    Returns the number of segments.
    """
    plan.segments[segments, SEG_FIRST] = first
    plan.segments[segments, SEG_PAST] = past
    plan.segments[segments, SEG_PIECE] = piece
    plan.segments[segments, SEG_PIECES_PAST] = pieces
    plan.segments[segments, SEG_WORK] = work
    return segments + 1


@entry
def plan_chunk(events, count, cfg, descriptors, work, limits, plan):
    """Cut a chunk of events into segments; the chunks of a run come in order, each once.

    Parameters
    ----------
    events : int64[capacity, EV_WIDTH]
    count : int
    cfg : int64[CFG_WIDTH]
    descriptors : int64[NUM_DESCRIPTORS, DESC_WIDTH]
    work : int64[NUM_OPS]
        Work of an event by its operation.
    limits : int64[LIMITS]
    plan : Plan
        With IS_CLEAR as the chunk before left it.

    Returns the number of segments. They are in order and cover the chunk.
    """
    clear = plan.shared[IS_CLEAR] != 0
    segments, pieces, done, at, in_order = np.int64(0), np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    while at < count:
        op = events[at, 0]
        past, more, total = at, pieces, np.int64(0)
        if is_fill(op) and clear:
            past, more, total = group_products(events, count, cfg, work, limits, at, plan, pieces)
        elif op == isa.H_PREFETCH_M:
            past, more, total = group_prefetches(events, count, cfg, descriptors, work, limits, at, plan, pieces)
        if more - pieces > 1 and total >= limits[LEAST_GROUP]:
            if done < at:
                segments = add_segment(plan, segments, done, at, pieces, pieces, in_order)
            segments = add_segment(plan, segments, at, past, pieces, more, total)
            done, at, pieces, in_order = past, past, more, np.int64(0)
            continue
        if past == at:  # neither: one event on its own
            past, total = at + 1, work[op]
            clear = op == isa.M_MM_WO or (clear and not is_fill(op))
        if done < at and in_order + total > limits[MOST_GROUP]:
            segments = add_segment(plan, segments, done, at, pieces, pieces, in_order)
            done, in_order = at, np.int64(0)
        in_order += total
        at = past
    if done < count:
        segments = add_segment(plan, segments, done, count, pieces, pieces, in_order)
    shared = plan.shared
    shared[IS_CLEAR] = 1 if clear else 0
    shared[PIECES] = pieces
    shared[NEXT] = 1  # the leading thread has the first
    return segments
