"""Matrix instructions, data side (spec §1.4, summation orders §2.5).

`bmm_scale` is the constant 0.25 of §1.2.
"""

import numpy as np

from plena_emu import isa

from .jit import kernel
from .layout import CFG_BLEN, CFG_BROADCAST, CFG_HLEN, CFG_MLEN, CFG_SRAM_MANTISSA
from .numerics import round_row
from .products import dot_four_lanes, dot_four_lanes_head, row_chunked, row_sequential, transpose

BMM_SCALE = np.float32(0.25)
SMALL_BLEN = 8  # up to here the reference takes other summation orders


@kernel
def m_mm(d, tile, column, row):
    """M_MM: m_accum += rows x tile columns."""
    mlen = d.cfg[CFG_MLEN]
    blen = d.cfg[CFG_BLEN]
    for i in range(blen):
        a0 = (row + i) * mlen
        if blen <= SMALL_BLEN:
            row_sequential(d.rows, a0, 1, d.tiles, tile + column, mlen, mlen, False, d.scratch, 0, blen)
        else:
            row_chunked(d.rows, a0, 1, d.tiles, tile + column, mlen, mlen, True, d.scratch, 0, blen, d.part)
        for j in range(blen):
            d.m_accum[i * blen + j] += d.scratch[j]


@kernel
def m_tmm(d, tile, column, row):
    """M_TMM: m_accum += rows x columns of the transposed tile."""
    mlen = d.cfg[CFG_MLEN]
    blen = d.cfg[CFG_BLEN]
    b0 = tile + column * mlen
    if blen <= SMALL_BLEN:
        for i in range(blen):
            for j in range(blen):
                product = dot_four_lanes(d.rows, (row + i) * mlen, d.tiles, b0 + j * mlen, 1, mlen, False)
                d.m_accum[i * blen + j] += product
        return
    turned = d.scratch[blen:]
    transpose(d.tiles, b0, mlen, blen, mlen, turned)
    for i in range(blen):
        row_chunked(d.rows, (row + i) * mlen, 1, turned, 0, blen, mlen, True, d.scratch, 0, blen, d.part)
        for j in range(blen):
            d.m_accum[i * blen + j] += d.scratch[j]


@kernel
def m_bmm(d, op, tile, h, o2, row):
    """M_BMM, M_BTMM: hm_accum[head] += (head of the rows x tile slice) * bmm_scale."""
    mlen = d.cfg[CFG_MLEN]
    hlen = d.cfg[CFG_HLEN]
    heads = d.cfg[CFG_BROADCAST]
    transposed = op == isa.M_BTMM
    turned = d.scratch[mlen:]
    if transposed:
        transpose(d.tiles, tile + o2 * mlen + h, mlen, mlen, hlen, turned)
    for head in range(heads):
        for r in range(mlen):
            first = (row + r) * mlen
            if transposed:
                row_chunked(
                    d.rows, first + head * hlen, 1, turned, 0, mlen, hlen, True, d.scratch, 0, mlen, d.part
                )
            else:
                row_chunked(
                    d.rows, first + head, heads, d.tiles, tile + h * mlen + o2, mlen, hlen, True,
                    d.scratch, 0, mlen, d.part,
                )
            at = (head * mlen + r) * mlen
            for j in range(mlen):
                d.hm_accum[at + j] += d.scratch[j] * BMM_SCALE


@kernel
def m_bmv(d, op, tile, h, o2, row):
    """M_BMV, M_BTMV: hv_accum[head] += (head of the row x tile slice) * bmm_scale."""
    mlen = d.cfg[CFG_MLEN]
    hlen = d.cfg[CFG_HLEN]
    heads = d.cfg[CFG_BROADCAST]
    first = row * mlen
    for head in range(heads):
        at = head * mlen
        if op == isa.M_BMV:
            row_sequential(
                d.rows, first + head, heads, d.tiles, tile + h * mlen + o2, mlen, hlen, True, d.scratch, 0, mlen
            )
            for j in range(mlen):
                d.hv_accum[at + j] += d.scratch[j] * BMM_SCALE
        else:
            for j in range(mlen):
                b0 = tile + (o2 + j) * mlen + h
                product = dot_four_lanes_head(d.rows, first + head * hlen, d.tiles, b0, 1, hlen, True)
                d.hv_accum[at + j] += product * BMM_SCALE


@kernel
def m_mv(d, op, tile, column, row):
    """M_MV, M_TMV: v_accum += row x tile columns."""
    mlen = d.cfg[CFG_MLEN]
    blen = d.cfg[CFG_BLEN]
    fused = blen > SMALL_BLEN
    if op == isa.M_MV:
        row_sequential(d.rows, row * mlen, 1, d.tiles, tile + column, mlen, mlen, fused, d.scratch, 0, blen)
    else:
        for j in range(blen):
            d.scratch[j] = dot_four_lanes_head(d.rows, row * mlen, d.tiles, tile + j * mlen, 1, mlen, fused)
    for j in range(blen):
        d.v_accum[j] += d.scratch[j]


@kernel
def write_rows(d, source, first, count, row, offset, step, width):
    """Write `count` pieces of `width` f32 from `source` to rows `step` apart and clear the source."""
    mlen = d.cfg[CFG_MLEN]
    for i in range(count):
        at = (row + i * step) * mlen + offset
        for j in range(width):
            d.rows[at + j] = source[first + i * width + j]
            source[first + i * width + j] = np.float32(0.0)
        round_row(d.row_words, at, width, d.cfg[CFG_SRAM_MANTISSA])
        d.row_touched[row + i * step] = 1


@kernel
def write_out(d, op, row, offset, step):
    """M_MM_WO, M_MV_WO, M_BMM_WO, M_BMV_WO: round an accumulator into the vector SRAM and clear it."""
    mlen = d.cfg[CFG_MLEN]
    blen = d.cfg[CFG_BLEN]
    heads = d.cfg[CFG_BROADCAST]
    if op == isa.M_MM_WO:
        write_rows(d, d.m_accum, 0, blen, row, offset, step, blen)
    elif op == isa.M_MV_WO:
        write_rows(d, d.v_accum, 0, 1, row, offset, 1, blen)
    elif op == isa.M_BMM_WO:
        write_rows(d, d.hm_accum, 0, heads * mlen, row, 0, 1, mlen)
    else:
        write_rows(d, d.hv_accum, 0, heads, row, 0, 1, mlen)
