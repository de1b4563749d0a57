"""Matrix instructions, data side (spec §1.4, summation orders §2.5).

Shapes: `rows` float32[ROWS * MLEN], `tiles` float32[TILES * MLEN * MLEN], `work` and `part` scratch.
`bmm_scale` is the constant 0.25 of §1.2.
"""

import numpy as np

from plena_emu import isa

from .floats import bits_of
from .jit import kernel
from .layout import CFG_BLEN, CFG_BROADCAST, CFG_HLEN, CFG_MLEN, CFG_SRAM_MANTISSA
from .numerics import round_bits
from .products import dot_four_lanes, dot_four_lanes_head, row_chunked, row_sequential, transpose

BMM_SCALE = np.float32(0.25)
SMALL_BLEN = 8  # up to here the reference takes other summation orders


@kernel
def m_mm(cfg, rows, tiles, m_accum, work, part, tile, column, row):
    """M_MM: m_accum (BLEN x BLEN) += rows x tile columns."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    for i in range(blen):
        a0 = (row + i) * mlen
        if blen <= SMALL_BLEN:
            row_sequential(rows, a0, 1, tiles, tile + column, mlen, mlen, False, work, 0, blen)
        else:
            row_chunked(rows, a0, 1, tiles, tile + column, mlen, mlen, True, work, 0, blen, part)
        for j in range(blen):
            m_accum[i * blen + j] += work[j]


@kernel
def m_tmm(cfg, rows, tiles, m_accum, work, part, tile, column, row):
    """M_TMM: m_accum (BLEN x BLEN) += rows x columns of the transposed tile."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    b0 = tile + column * mlen
    if blen <= SMALL_BLEN:
        for i in range(blen):
            for j in range(blen):
                product = dot_four_lanes(rows, (row + i) * mlen, tiles, b0 + j * mlen, 1, mlen, False)
                m_accum[i * blen + j] += product
        return
    turned = work[blen:]
    transpose(tiles, b0, mlen, blen, mlen, turned)
    for i in range(blen):
        row_chunked(rows, (row + i) * mlen, 1, turned, 0, blen, mlen, True, work, 0, blen, part)
        for j in range(blen):
            m_accum[i * blen + j] += work[j]


@kernel
def m_bmm(cfg, rows, tiles, hm_accum, work, part, op, tile, h, o2, row):
    """M_BMM, M_BTMM: hm_accum[head] (MLEN x MLEN) += (head of the rows x tile slice) * bmm_scale."""
    mlen = cfg[CFG_MLEN]
    hlen = cfg[CFG_HLEN]
    heads = cfg[CFG_BROADCAST]
    # Operand of head i, term d: element i * HLEN + d (M_BTMM) or d * BROADCAST + i (M_BMM).
    head_step = 1
    term_step = heads
    slice_ = tiles[tile + h * mlen + o2 :]
    slice_step = mlen
    if op == isa.M_BTMM:
        head_step = hlen
        term_step = 1
        slice_ = work[mlen:]
        transpose(tiles, tile + o2 * mlen + h, mlen, mlen, hlen, slice_)
    for head in range(heads):
        for r in range(mlen):
            a0 = (row + r) * mlen + head * head_step
            row_chunked(rows, a0, term_step, slice_, 0, slice_step, hlen, True, work, 0, mlen, part)
            at = (head * mlen + r) * mlen
            for j in range(mlen):
                hm_accum[at + j] += work[j] * BMM_SCALE


@kernel
def m_bmv(cfg, rows, tiles, hv_accum, work, op, tile, h, o2, row):
    """M_BMV, M_BTMV: hv_accum[head] (MLEN) += (head of the row x tile slice) * bmm_scale."""
    mlen = cfg[CFG_MLEN]
    hlen = cfg[CFG_HLEN]
    heads = cfg[CFG_BROADCAST]
    first = row * mlen
    for head in range(heads):
        if op == isa.M_BMV:
            row_sequential(rows, first + head, heads, tiles, tile + h * mlen + o2, mlen, hlen, True, work, 0, mlen)
        else:
            for j in range(mlen):
                b0 = tile + (o2 + j) * mlen + h
                work[j] = dot_four_lanes_head(rows, first + head * hlen, tiles, b0, 1, hlen, True)
        for j in range(mlen):
            hv_accum[head * mlen + j] += work[j] * BMM_SCALE


@kernel
def m_mv(cfg, rows, tiles, v_accum, work, op, tile, column, row):
    """M_MV, M_TMV: v_accum (BLEN) += row x tile columns."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    fused = blen > SMALL_BLEN
    if op == isa.M_MV:
        row_sequential(rows, row * mlen, 1, tiles, tile + column, mlen, mlen, fused, work, 0, blen)
    else:
        for j in range(blen):
            work[j] = dot_four_lanes_head(rows, row * mlen, tiles, tile + j * mlen, 1, mlen, fused)
    for j in range(blen):
        v_accum[j] += work[j]


@kernel
def write_out(cfg, accum, row_words, row_touched, count, width, row, offset, step):
    """Round `count` pieces of `width` f32 of an accumulator into rows `step` apart and clear it.

    M_MM_WO, M_MV_WO, M_BMM_WO, M_BMV_WO (§1.4). `row_words` is the vector SRAM as uint32.
    """
    mlen = cfg[CFG_MLEN]
    man_bits = cfg[CFG_SRAM_MANTISSA]
    for i in range(count):
        at = (row + i * step) * mlen + offset
        for j in range(width):
            row_words[at + j] = round_bits(bits_of(accum[i * width + j]), man_bits)
            accum[i * width + j] = np.float32(0.0)
        row_touched[row + i * step] = 1
