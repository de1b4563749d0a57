"""Run the data pass: execute resolved events on tiles, rows, fp registers and HBM bytes.

It never sees an integer register and checks nothing: the control pass has checked every address.
"""

from plena_emu import isa

from ..compiler.atomics import call_address, fetch_add, load_acquire, pause, store_release
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
from .pairs import HAS_PAIRS, panel_width
from .plan import (
    DONE,
    GIVEN_UP,
    LED,
    MINE,
    NEXT,
    NUMBER,
    OPEN,
    PIECE_FIRST,
    PIECE_PAST,
    PIECES,
    SEG_FIRST,
    SEG_PAST,
    SEG_PIECE,
    SEG_PIECES_PAST,
    YIELD,
)
from .reduce import topk
from .scalar import scalar_fp
from .vector import elementwise, reduction

ALONE, LEAD, HELP, AWAIT = range(4)  # parts of a thread
SPINS = 1000  # pauses, some ten microseconds: by then the other thread may have lost its CPU
PATIENCE = 2000  # turns in which the next chunk should have begun
FOREVER = 1 << 62


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
def wait_for(counters, counter, value, crew, most):
    """Wait until a counter has reached a value, for `most` turns or until no chunk is led.

    The first turns are pauses; in the others this thread gives up its CPU.
    """
    turns = 0
    while turns < most and load_acquire(counters, counter) < value and load_acquire(crew, LED) != GIVEN_UP:
        turns += 1
        if turns > SPINS and crew[YIELD] != 0:
            call_address(crew[YIELD])
        else:
            pause()


@kernel
def help_out(events, plan, state):
    """Run pieces of a chunk beside the thread that leads it, until none is left.

    Returns 0.
    """
    shared, crew = plan.shared, plan.crew
    pieces = shared[PIECES]
    piece = fetch_add(shared, NEXT, 1)
    while piece < pieces:
        wait_for(shared, OPEN, piece + 1, crew, FOREVER)
        if load_acquire(crew, LED) == GIVEN_UP:
            break
        run_events(events, plan.pieces[piece, PIECE_FIRST], plan.pieces[piece, PIECE_PAST], state)
        fetch_add(shared, DONE, 1)
        piece = fetch_add(shared, NEXT, 1)
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
def lead(events, first, past, plan, state):
    """Run segments [first, past) of a chunk, the pieces of each with whoever helps.

    A piece that is taken before its segment begins waits for it: this thread's own is the first of the next group.

    Returns `past`, or -1 - the place of an event whose operation has no kernel.
    """
    shared = plan.shared
    store_release(plan.crew, LED, shared[NUMBER])
    for number in range(first, past):
        pieces = plan.segments[number, SEG_PIECES_PAST]
        if plan.segments[number, SEG_PIECE] == pieces:
            end = plan.segments[number, SEG_PAST]
            done = run_events(events, plan.segments[number, SEG_FIRST], end, state)
            if done < end:
                return -1 - done
            continue
        if HAS_PAIRS:
            make_pairs_of_group(events, plan.segments[number, SEG_FIRST], plan.segments[number, SEG_PAST], state)
        store_release(shared, OPEN, pieces)
        while shared[MINE] < pieces:
            piece = shared[MINE]
            run_events(events, plan.pieces[piece, PIECE_FIRST], plan.pieces[piece, PIECE_PAST], state)
            fetch_add(shared, DONE, 1)
            shared[MINE] = fetch_add(shared, NEXT, 1)
        wait_for(shared, DONE, pieces, plan.crew, FOREVER)
    return past


@entry
def data_slice(events, first, past, part, plan, state):
    """Execute events of a chunk on the arrays of a DataState.

    Parameters
    ----------
    events : int64[capacity, EV_WIDTH]
        `layout` tells what the columns mean for each operation.
    first, past : int
        ALONE: events [first, past). LEAD: segments of the plan.
    part : int
        ALONE; LEAD; HELP: run pieces of the plan on another thread; AWAIT: wait for a while until the next chunk is
        led. A thread that waits so, and not in Python, has its lock at once when the leading one is in this kernel.
    plan : Plan
    state : DataState
        A thread that helps has its own accumulators and scratch.

    Returns `past`; where an event's operation has no kernel its place, or with LEAD -1 - its place.
    """
    if part == HELP:
        return help_out(events, plan, state)
    if part == AWAIT:
        wait_for(plan.crew, LED, plan.shared[NUMBER] + 1, plan.crew, PATIENCE)
        return past
    if part == LEAD:
        return lead(events, first, past, plan, state)
    return run_events(events, first, past, state)
