"""Run the data pass: execute resolved events on tiles, rows, fp registers and HBM bytes.

It never sees an integer register and checks nothing: the control pass has checked every address.
"""

from plena_emu import isa

from ..compiler.jit import entry
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
from .matrix_instructions import m_bmm, m_bmv, m_mm, m_mv, m_tmm, write_out
from .reduce import topk
from .scalar import scalar_fp
from .vector import elementwise, reduction


@entry
def data_slice(events, count, state):
    """Execute `count` events on the arrays of a DataState.

    Parameters
    ----------
    events : int64[capacity, EV_WIDTH]
        `layout` tells what the columns mean for each operation.
    count : int
    state : DataState

    Returns the number of events executed: `count`, or less where the next event's operation has no kernel.
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
    for i in range(count):
        op = events[i, 0]
        a = events[i, 1]
        b = events[i, 2]
        c = events[i, 3]
        e = events[i, 4]
        f = events[i, 5]
        if op == isa.M_MM:
            m_mm(cfg, rows, tiles, state.m_accum, work, partial_sums, a, b, c)
        elif op == isa.M_TMM:
            m_tmm(cfg, rows, tiles, state.m_accum, work, partial_sums, a, b, c)
        elif op == isa.M_BMM or op == isa.M_BTMM:
            m_bmm(cfg, rows, tiles, state.hm_accum, work, partial_sums, op, a, b, c, e)
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
                state.formats, state.tables, state.hbm, state.codes, descriptor, c, e, f, descriptor[DESC_ROWS], tiles,
                a * mlen,
            )
            mark_tiles(state.tile_touched, a, descriptor[DESC_ROWS] // mlen)
        elif op == isa.H_PREFETCH_V:
            # Rows past the end of the vector SRAM are dropped (§1.7), all of them where the first lies there.
            descriptor = state.descriptors[b]
            kept = max(0, min(descriptor[DESC_ROWS], cfg[CFG_ROWS] - a))
            prefetch(state.formats, state.tables, state.hbm, state.codes, descriptor, c, e, f, kept, rows, a)
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
    return count
