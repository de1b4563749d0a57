"""Data pass: executes resolved events on tiles, rows, fp registers and HBM bytes.

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
from .dma import finish_rows, mark_tiles, prefetch, store_rows
from .matrix import m_bmm, m_bmv, m_mm, m_mv, m_tmm, write_out
from .reduce import topk
from .scalar import scalar_fp
from .vector import elementwise, reduction


@entry
def data_slice(events, count, d):
    """Execute `count` events on the arrays of DataState `d`.

    Parameters
    ----------
    events : int64[capacity, EV_WIDTH]
        `layout` tells what the columns mean for each operation.
    """
    cfg = d.cfg
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    heads = cfg[CFG_BROADCAST]
    rows = d.rows
    row_words = d.row_words
    row_touched = d.row_touched
    tiles = d.tiles
    work = d.work
    part = d.part
    for i in range(count):
        op = events[i, 0]
        a = events[i, 1]
        b = events[i, 2]
        c = events[i, 3]
        e = events[i, 4]
        f = events[i, 5]
        if op == isa.M_MM:
            m_mm(cfg, rows, tiles, d.m_accum, work, part, a, b, c)
        elif op == isa.M_TMM:
            m_tmm(cfg, rows, tiles, d.m_accum, work, part, a, b, c)
        elif op == isa.M_BMM or op == isa.M_BTMM:
            m_bmm(cfg, rows, tiles, d.hm_accum, work, part, op, a, b, c, e)
        elif op == isa.M_BMV or op == isa.M_BTMV:
            m_bmv(cfg, rows, tiles, d.hv_accum, work, part, op, a, b, c, e)
        elif op == isa.M_MV or op == isa.M_TMV:
            m_mv(cfg, rows, tiles, d.v_accum, work, part, op, a, b, c)
        elif op == isa.M_MM_WO:
            write_out(cfg, d.m_accum, row_words, row_touched, blen, blen, a, b, c)
        elif op == isa.M_MV_WO:
            write_out(cfg, d.v_accum, row_words, row_touched, 1, blen, a, b, 1)
        elif op == isa.M_BMM_WO:
            write_out(cfg, d.hm_accum, row_words, row_touched, heads * mlen, mlen, a, 0, 1)
        elif op == isa.M_BMV_WO:
            write_out(cfg, d.hv_accum, row_words, row_touched, heads, mlen, a, 0, 1)
        elif op == isa.V_RED_SUM or op == isa.V_RED_MAX:
            reduction(cfg, rows, d.fp, work, part, op, a, b, e)
        elif op == isa.H_PREFETCH_M:
            descriptor = d.descriptors[b]
            prefetch(d.formats, d.tables, d.hbm, d.codes, descriptor, c, e, f, descriptor[DESC_ROWS], tiles, a * mlen)
            mark_tiles(d.tile_touched, a, descriptor[DESC_ROWS] // mlen)
        elif op == isa.H_PREFETCH_V:
            # Rows past the end of the vector SRAM are dropped (§1.7).
            descriptor = d.descriptors[b]
            kept = min(descriptor[DESC_ROWS], cfg[CFG_ROWS] - a)
            prefetch(d.formats, d.tables, d.hbm, d.codes, descriptor, c, e, f, kept, rows, a)
            finish_rows(rows, row_words, row_touched, a, kept, cfg[CFG_VLEN], cfg[CFG_SRAM_MANTISSA])
        elif op == isa.H_STORE_V:
            store_rows(cfg, d.formats, d.descriptors[b], rows, d.hbm, d.hbm_touched, d.codes, a, c, e, f)
        elif op == isa.V_TOPK:
            topk(cfg, rows, d.fp_sram, d.int_sram, work, part, a, b, c, e)
        elif isa.S_ADD_FP <= op <= isa.S_MAP_V_FP:
            scalar_fp(cfg, d.fp, d.fp_sram, row_words, row_touched, op, a, b, c)
        else:
            elementwise(cfg, rows, row_words, row_touched, d.fp, work, d.exp_codes, op, a, b, c, e, f)
