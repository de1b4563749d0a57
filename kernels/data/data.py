"""Run the data pass: execute resolved events on tiles, rows, fp registers and HBM bytes.

It never sees an integer register and checks nothing: the control pass has checked every address.
"""

import numpy as np

from plena_emu import isa

from ..compiler.atomics import call_address, exchange_if, fetch_add, load_acquire, pause, store_release
from ..compiler.jit import entry, kernel, small
from ..layout import (
    CFG_BLEN,
    CFG_BROADCAST,
    CFG_MLEN,
    CFG_ROWS,
    CFG_SRAM_MANTISSA,
    CFG_VLEN,
    DESC_ROWS,
)
from ..op_groups import is_elementwise, is_fp, is_reduction
from .dma import finish_rows, mark_tiles, prefetch, store_rows
from .matrix_instructions import m_bmm, m_bmv, m_mm, m_mv, m_tmm, make_pairs, tile_at, write_out
from .pairs import HAS_PAIRS, pair_tile, panel_width
from .plan import (
    BASE,
    CPU,
    DONE,
    FRONT,
    HELP,
    LAST,
    LEAD,
    LED,
    LEFT,
    OVER,
    PAUSED,
    PIECE_FIRST,
    PIECE_PAST,
    PIECES,
    READY,
    SEG_FIRST,
    SEG_PAST,
    SEG_PIECE,
    SEG_PIECES_PAST,
    SEG_WORK,
    SEGMENT,
    SLEEP,
    STARVED,
    WHERE,
    YIELD,
)
from .reduce import topk
from .scalar import scalar_fp
from .vector import elementwise, reduction

SPINS = 1000  # pauses of a thread that waits, some ten microseconds: by then the other may have lost its CPU
YIELDS = 3000  # turns from which on it sleeps
NAP = 50  # microseconds


@kernel
def run_events(events, first, past, state):
    """Execute events [first, past) in order.

    Returns `past`, or the place of the first event whose operation has no kernel.
    """
    cfg = state.cfg
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    heads = cfg[CFG_BROADCAST]
    rows = state.rows
    row_words = state.row_words
    row_touched = state.row_touched
    tiles = state.tiles
    work = state.work
    partial_sums = state.partial_sums
    width = panel_width(cfg)
    for i in range(first, past):
        op = events[i, 0]
        a = events[i, 1]
        b = events[i, 2]
        c = events[i, 3]
        e = events[i, 4]
        f = events[i, 5]
        if op == isa.M_MM:
            m_mm(cfg, state, width, a, b, c)
        elif op == isa.M_TMM:
            m_tmm(cfg, rows, tiles, state.m_accum, work, partial_sums, a, b, c)
        elif op == isa.M_BMM or op == isa.M_BTMM:
            m_bmm(cfg, state, width, op, a, b, c, e)
        elif op == isa.M_BMV or op == isa.M_BTMV:
            m_bmv(cfg, rows, tiles, state.hv_accum, work, partial_sums, op, a, b, c, e)
        elif op == isa.M_MV or op == isa.M_TMV:
            m_mv(cfg, rows, tiles, state.v_accum, work, partial_sums, op, a, b, c)
        elif op == isa.M_MM_WO:
            write_out(cfg, state.m_accum, row_words, row_touched, blen, blen, a, b, c)
        elif op == isa.M_MV_WO:
            write_out(cfg, state.v_accum, row_words, row_touched, 1, blen, a, b, 1)
        elif op == isa.M_BMM_WO:
            write_out(cfg, state.hm_accum, row_words, row_touched, heads * mlen, mlen, a, 0, 1)
        elif op == isa.M_BMV_WO:
            write_out(cfg, state.hv_accum, row_words, row_touched, heads, mlen, a, 0, 1)
        elif is_reduction(op):
            reduction(cfg, rows, state.fp, work, partial_sums, op, a, b, e)
        elif op == isa.H_PREFETCH_M:
            descriptor = state.descriptors[b]
            prefetch(
                state.formats, state.tables, state.halves, state.hbm, state.codes, descriptor, c, e, f,
                descriptor[DESC_ROWS], tiles, a * mlen,
            )
            mark_tiles(state.tile_touched, a, descriptor[DESC_ROWS] // mlen)
        elif op == isa.H_PREFETCH_V:
            # Rows past the end of the vector SRAM are dropped (§1.7), all of them where the first lies there.
            descriptor = state.descriptors[b]
            kept = max(0, min(descriptor[DESC_ROWS], cfg[CFG_ROWS] - a))
            prefetch(
                state.formats, state.tables, state.halves, state.hbm, state.codes, descriptor, c, e, f, kept, rows, a
            )
            finish_rows(rows, row_words, row_touched, a, kept, cfg[CFG_VLEN], cfg[CFG_SRAM_MANTISSA])
        elif op == isa.H_STORE_V:
            store_rows(
                cfg, state.formats, state.descriptors[b], rows, state.hbm, state.hbm_touched, state.codes, a, c, e, f
            )
        elif op == isa.V_TOPK:
            topk(cfg, rows, state.fp_sram, state.int_sram, work, partial_sums, a, b, c, e)
        elif is_fp(op):
            scalar_fp(cfg, state.fp, state.fp_sram, row_words, row_touched, op, a, b, c)
        elif is_elementwise(op):
            elementwise(cfg, rows, row_words, row_touched, state.fp, work, state.exp_codes, op, a, b, c, e, f)
        else:
            return i
    return past


@small
def relax(shared, turns):
    """Wait for a moment, the longer the more `turns` were waited already."""
    if turns <= SPINS or shared[YIELD] == 0:
        pause()
    elif turns <= YIELDS or shared[SLEEP] == 0:
        call_address(shared[YIELD], 0)
    else:
        call_address(shared[SLEEP], NAP)


@small
def cpu_of_this_thread(shared):
    """Tell where the calling thread is, -1 where the system does not say."""
    return call_address(shared[WHERE], 0) if shared[WHERE] != 0 else -1


@small
def take_piece(shared, from_front):
    """Take a piece of the open group, from the front or from the back.

    Neighbours read the same columns of a tile: a thread that takes those has fewer from the other CPU's cache. What is
    taken and what is left is one word, so a thread that comes late takes a piece of the group that is open by then.

    Returns the row of its table that it stands in, -1 where none is left.
    """
    left = load_acquire(shared, LEFT)
    while left % FRONT > 0:
        if exchange_if(shared, LEFT, left, left - 1 + FRONT if from_front else left - 1):
            place = left // FRONT if from_front else left // FRONT + left % FRONT - 1
            return shared[PIECES] + place
        left = load_acquire(shared, LEFT)
    return np.int64(-1)


@kernel
def make_pairs_of_tiles(event, state):
    """Make the pairs of the tiles that an H_PREFETCH_M has read, which M_MM mostly needs next."""
    cfg = state.cfg
    mlen, width = cfg[CFG_MLEN], panel_width(cfg)
    if width > 0:
        for tile in range(event[1], event[1] + state.descriptors[event[2], DESC_ROWS] // mlen):
            pair_tile(mlen, width, state.tiles, state.tile_pairs, state.tile_touched, tile)


@kernel
def run_piece(events, row, plan, state):
    """Execute a piece that this thread has taken; its group lasts until then."""
    shared = plan.shared
    base = shared[BASE]
    first = base + plan.pieces[row, PIECE_FIRST]
    run_events(events, first, base + plan.pieces[row, PIECE_PAST], state)
    if HAS_PAIRS and events[first, 0] == isa.H_PREFETCH_M:
        make_pairs_of_tiles(events[first], state)
    fetch_add(shared, DONE, 1)


@kernel
def help_out(events, ready, led, plan, state):
    """Run pieces beside the thread that leads, until so many chunks are led.

    Unless `ready` is negative, it also comes back when another number of chunks is ready, or all are led. And it does
    when both threads are on one CPU. Returns 0.
    """
    shared = plan.shared
    turns = 0
    while load_acquire(shared, LED) < led:
        if ready >= 0 and (load_acquire(shared, READY) != ready or shared[LED] >= load_acquire(shared, LAST)):
            break
        piece = take_piece(shared, False)
        if piece >= 0:
            run_piece(events, piece, plan, state)
            turns = 0
        else:
            turns += 1
            relax(shared, turns)
        if (turns == 0 or turns > SPINS) and shared[WHERE] != 0 and shared[CPU] == cpu_of_this_thread(shared):
            break
    return 0


@kernel
def make_pairs_of_group(events, first, past, state):
    """Make the pairs that the M_MM among events need, before threads read them side by side."""
    cfg = state.cfg
    width = panel_width(cfg)
    if width == 0:
        return
    for i in range(first, past):
        if events[i, 0] == isa.M_MM:
            make_pairs(cfg, state, width, tile_at(cfg, events[i, 1]), events[i, 3])


@kernel
def lead_group(events, row, pieces, base, plan, state):
    """Run a group of pieces, from a row of their table on, with whoever helps."""
    shared = plan.shared
    shared[PIECES], shared[BASE], shared[DONE] = row, base, 0
    store_release(shared, LEFT, pieces)
    piece = take_piece(shared, True)
    while piece >= 0:
        shared[CPU] = cpu_of_this_thread(shared)
        run_piece(events, piece, plan, state)
        piece = take_piece(shared, True)
    turns = 0
    while load_acquire(shared, DONE) < pieces:
        turns += 1
        relax(shared, min(turns, YIELDS))


@kernel
def lead_chunk(events, slot, most, is_first, plan, state):
    """Run the segments of a chunk that are not done, as long as their work is at most so much.

    The first runs anyway where `is_first` says that nothing ran before in the call.

    Returns the work; -1 - the row of an event whose operation has no kernel.
    """
    shared = plan.shared
    base = slot * (events.shape[0] // plan.counts.shape[0])
    total = np.int64(0)
    for row in range(base + shared[SEGMENT], base + plan.counts[slot]):
        if total + plan.segments[row, SEG_WORK] > most and not is_first:
            break
        total += plan.segments[row, SEG_WORK]
        is_first = False
        shared[CPU] = cpu_of_this_thread(shared)
        piece, pieces_past = plan.segments[row, SEG_PIECE], plan.segments[row, SEG_PIECES_PAST]
        first, end = base + plan.segments[row, SEG_FIRST], base + plan.segments[row, SEG_PAST]
        if piece < pieces_past:
            if HAS_PAIRS:
                make_pairs_of_group(events, first, end, state)
            lead_group(events, base + piece, pieces_past - piece, base, plan, state)
        else:
            done = run_events(events, first, end, state)
            if done < end:
                return -1 - done
        shared[SEGMENT] += 1
    return total


@kernel
def lead(events, turns, most, plan, state):
    """Run the chunks that are ready, until none has been for so many turns or their work is more than `most`.

    Returns STARVED, PAUSED, or OVER; or -1 - the row of an event whose operation has no kernel.
    """
    shared = plan.shared
    left = most
    waited = 0
    while True:
        number = shared[LED]
        if number == load_acquire(shared, LAST):
            return np.int64(OVER)
        if number == load_acquire(shared, READY):
            if waited == turns:
                return np.int64(STARVED)
            waited += 1
            relax(shared, min(waited, YIELDS))
            continue
        waited = 0
        slot = number % plan.counts.shape[0]
        done = lead_chunk(events, slot, left, left == most, plan, state)
        if done < 0:
            return done
        if shared[SEGMENT] < plan.counts[slot]:
            return np.int64(PAUSED)
        left -= done
        shared[SEGMENT] = 0
        store_release(shared, LED, number + 1)


@entry
def data_slice(events, first, past, part, plan, state):
    """Execute events on the arrays of a DataState.

    Parameters
    ----------
    events : int64[rows, EV_WIDTH]
        `layout` tells what the columns mean for each operation.
    first, past : int
        ALONE: events [first, past). LEAD: for how many turns to wait for the next chunk, and the work of the call.
        HELP: chunks that are ready now, or -1; the call ends when others are, or when `past` are led.
    part : int
        ALONE; LEAD: execute the chunks of a ring that the plan describes, in order; HELP: run pieces of the plan on
        another thread.
    plan : Plan
    state : DataState
        A thread that helps has its own accumulators and scratch.

    Returns with ALONE `past`, or the place of the first event whose operation has no kernel; with LEAD why it ended,
    or -1 - that place; with HELP 0.
    """
    if part == HELP:
        return help_out(events, first, past, plan, state)
    if part == LEAD:
        return lead(events, first, past, plan, state)
    return run_events(events, first, past, state)
