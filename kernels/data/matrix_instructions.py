"""Execute the matrix instructions, data side (spec §1.4, summation orders §2.5).

Shapes: `rows` float32[ROWS * MLEN], `tiles` float32[TILES * MLEN * MLEN], `work` and `partial_sums` scratch.
`bmm_scale` is the constant 0.25 of §1.2. M_MM and M_BTMM multiply pairs of bf16 where `pairs` allows it.
"""

import numpy as np

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import CFG_BLEN, CFG_BROADCAST, CFG_HLEN, CFG_MLEN, CFG_MLEN_SHIFT, CFG_SRAM_MANTISSA
from .gemm import (
    NEAR,
    ONE,
    PANEL,
    chunk_length,
    dot_4way,
    dot_4way_head,
    pack_panel,
    product,
)
from .microkernel import LANES, WIDE_ROWS, fused_wide, pairs_8x8, pairs_8x16, pairs_8x32, rounded_8x8
from .pairs import (
    EMPTY_SPAN,
    HALF_LANES,
    HAS_PAIRS,
    WRITTEN,
    allow_pairs,
    fitness,
    joined,
    least_fitness,
    pair_rows,
    pair_slice,
    pair_tile,
)
from .pairs import LANES as PAIR_LANES
from .row_lanes import round_values

BMM_SCALE = np.float32(0.25)
PACKS = LANES < 16  # a panel of columns is one cache line a row then, which is read at the speed of a packed one
SMALL_BLEN = 8  # up to here the reference takes other summation orders
BLOCK = 8  # rows of a register block of pairs


@kernel
def make_pairs(cfg, state, width, tile, row):
    """Make the pairs that M_MM of a tile and rows needs, where they lack."""
    pair_rows(cfg[CFG_MLEN], state.rows, state.row_pairs, state.row_touched, row, cfg[CFG_BLEN])
    pair_tile(cfg[CFG_MLEN], width, state.tiles, state.tile_pairs, state.tile_touched, tile)


@small
def pairs_are_ready(cfg, state, width, tile, row):
    """Tell whether M_MM of a tile and rows may multiply pairs; makes them where they lack."""
    blen = cfg[CFG_BLEN]
    row_fitness = least_fitness(state.row_touched, row, blen)
    tile_fitness = np.int64(state.tile_touched[tile])
    if row_fitness == WRITTEN or tile_fitness == WRITTEN:
        make_pairs(cfg, state, width, tile, row)
        row_fitness = least_fitness(state.row_touched, row, blen)
        tile_fitness = np.int64(state.tile_touched[tile])
    return allow_pairs(row_fitness, tile_fitness)


@small
def m_mm_by_pairs(cfg, state, width, at, column, row):
    """Do the same as `m_mm_by_terms` with the pairs of the tile that begins at an element `at`, and of the rows."""
    blen = cfg[CFG_BLEN]
    half = cfg[CFG_MLEN] >> 1
    chunk = half if blen <= SMALL_BLEN else chunk_length(cfg[CFG_MLEN]) >> 1
    a, b, out, scratch = state.row_pairs, state.tile_pairs, state.m_accum, state.partial_sums
    a0 = row * half
    panel = (at >> 1) + column * half
    blocks = blen // BLOCK
    if width == HALF_LANES:
        pairs_8x8(a, a0, half, 1, b, panel, width, half, chunk, out, 0, blen, ONE, scratch, blocks)
    elif width == PAIR_LANES:
        for j in range(0, blen, PAIR_LANES):
            pairs_8x16(a, a0, half, 1, b, panel + j * half, width, half, chunk, out, j, blen, ONE, scratch, blocks)
    else:
        for j in range(0, blen, 2 * PAIR_LANES):
            pairs_8x32(a, a0, half, 1, b, panel + j * half, width, half, chunk, out, j, blen, ONE, scratch, blocks)


@small
def tile_at(cfg, at):
    """Find the number of the tile that begins at an element; a division takes as long as the rest of the question."""
    shift = cfg[CFG_MLEN_SHIFT]
    return at >> 2 * shift if shift >= 0 else at // (cfg[CFG_MLEN] * cfg[CFG_MLEN])


@small
def m_mm(cfg, state, width, at, column, row):
    """Execute M_MM: m_accum (BLEN x BLEN) += rows x columns of the tile that begins at an element `at`."""
    if HAS_PAIRS and width > 0 and pairs_are_ready(cfg, state, width, tile_at(cfg, at), row):
        m_mm_by_pairs(cfg, state, width, at, column, row)
    else:
        m_mm_by_terms(cfg, state.rows, state.tiles, state.m_accum, state.work, state.partial_sums, at, column, row)


@small
def m_mm_by_terms(cfg, rows, tiles, m_accum, work, partial_sums, tile, column, row):
    """Compute m_accum (BLEN x BLEN) += rows x tile columns in f32.

    Half of a run's work: the usual BLEN go straight to their microkernels, without the calls of `product`.
    """
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    a0 = row * mlen
    b0 = tile + column
    if blen % PANEL == 0:
        chunk = chunk_length(mlen)
        packed = PACKS and mlen > NEAR and blen > PANEL
        for j in range(0, blen, PANEL):
            panel, panel0, panel_term = tiles, b0 + j, mlen
            if packed:
                pack_panel(tiles, panel0, mlen, mlen, work)
                panel, panel0, panel_term = work, 0, PANEL
            fused_wide(
                rows, a0, mlen, 1, panel, panel0, panel_term, mlen, chunk, m_accum, j, blen, ONE, partial_sums,
                blen // WIDE_ROWS,
            )
    elif blen == SMALL_BLEN:
        rounded_8x8(rows, a0, mlen, 1, tiles, b0, mlen, mlen, mlen, m_accum, 0, blen, ONE, partial_sums, 1)
    else:
        fused = blen > SMALL_BLEN
        chunk = chunk_length(mlen) if fused else mlen
        product(
            rows, a0, mlen, 1, tiles, b0, mlen, 1, blen, mlen, blen, chunk, fused, m_accum, 0, ONE, work, partial_sums,
        )


@kernel
def m_tmm(cfg, rows, tiles, m_accum, work, partial_sums, tile, column, row):
    """Execute M_TMM: m_accum (BLEN x BLEN) += rows x columns of the transposed tile."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    b0 = tile + column * mlen
    if blen > SMALL_BLEN:
        product(
            rows, row * mlen, mlen, 1, tiles, b0, 1, mlen, blen, mlen, blen, chunk_length(mlen), True, m_accum, 0,
            ONE, work, partial_sums,
        )
        return
    for i in range(blen):
        for j in range(blen):
            m_accum[i * blen + j] += dot_4way(rows, (row + i) * mlen, tiles, b0 + j * mlen, mlen, False)


@kernel
def m_btmm_by_pairs(cfg, state, at, row):
    """Execute M_BTMM with pairs, of the slice of a tile that begins at an element `at`.

    Returns 0 where they cannot be used.
    """
    mlen, hlen, heads = cfg[CFG_MLEN], cfg[CFG_HLEN], cfg[CFG_BROADCAST]
    columns = 2 * PAIR_LANES
    half = hlen >> 1
    panel = state.work[: columns * half].view(np.uint32)
    work = state.work[columns * half : 2 * columns * half].view(np.uint32)
    span = np.int64(EMPTY_SPAN)
    for j in range(0, mlen, columns):
        span = joined(span, pair_slice(state.tiles, at + j * mlen, mlen, hlen, columns, work, panel))
    pair_rows(mlen, state.rows, state.row_pairs, state.row_touched, row, mlen)
    if not allow_pairs(least_fitness(state.row_touched, row, mlen), fitness(span)):
        return 0
    for j in range(0, mlen, columns):
        pair_slice(state.tiles, at + j * mlen, mlen, hlen, columns, work, panel)
        for head in range(heads):
            pairs_8x32(
                state.row_pairs, (row * mlen >> 1) + head * half, mlen >> 1, 1, panel, 0, columns, half,
                chunk_length(hlen) >> 1, state.hm_accum, head * mlen * mlen + j, mlen, BMM_SCALE, state.partial_sums,
                mlen // BLOCK,
            )
    return 1


@kernel
def m_bmm(cfg, state, width, op, tile, h, o2, row):
    """Execute M_BMM or M_BTMM: hm_accum[head] (MLEN x MLEN) += (head of the rows x tile slice) * bmm_scale."""
    hlen = cfg[CFG_HLEN]
    fits = width > 0 and hlen % (2 * HALF_LANES) == 0 and hlen * cfg[CFG_BROADCAST] <= cfg[CFG_MLEN]
    if HAS_PAIRS and op == isa.M_BTMM and fits and m_btmm_by_pairs(cfg, state, tile + o2 * cfg[CFG_MLEN] + h, row):
        return
    m_bmm_by_terms(cfg, state.rows, state.tiles, state.hm_accum, state.work, state.partial_sums, op, tile, h, o2, row)


@kernel
def m_bmm_by_terms(cfg, rows, tiles, hm_accum, work, partial_sums, op, tile, h, o2, row):
    """Compute M_BMM or M_BTMM in f32."""
    mlen = cfg[CFG_MLEN]
    hlen = cfg[CFG_HLEN]
    heads = cfg[CFG_BROADCAST]
    # Operand of head i, term d: element i * HLEN + d (M_BTMM) or d * BROADCAST + i (M_BMM).
    head_step, term_step = 1, heads
    b0, b_term, b_column = tile + h * mlen + o2, mlen, 1
    if op == isa.M_BTMM:
        head_step, term_step = hlen, 1
        b0, b_term, b_column = tile + o2 * mlen + h, 1, mlen
    for head in range(heads):
        product(
            rows, row * mlen + head * head_step, mlen, term_step, tiles, b0, b_term, b_column, mlen, hlen, mlen,
            chunk_length(hlen), True, hm_accum, head * mlen * mlen, BMM_SCALE, work, partial_sums,
        )


@kernel
def m_bmv(cfg, rows, tiles, hv_accum, work, partial_sums, op, tile, h, o2, row):
    """Execute M_BMV or M_BTMV: hv_accum[head] (MLEN) += (head of the row x tile slice) * bmm_scale."""
    mlen = cfg[CFG_MLEN]
    hlen = cfg[CFG_HLEN]
    heads = cfg[CFG_BROADCAST]
    first = row * mlen
    for head in range(heads):
        if op == isa.M_BMV:
            product(
                rows, first + head, mlen, heads, tiles, tile + h * mlen + o2, mlen, 1, 1, hlen, mlen, hlen, True,
                hv_accum, head * mlen, BMM_SCALE, work, partial_sums,
            )
        else:
            for j in range(mlen):
                b0 = tile + (o2 + j) * mlen + h
                dot = dot_4way_head(rows, first + head * hlen, tiles, b0, hlen, True)
                hv_accum[head * mlen + j] += dot * BMM_SCALE


@kernel
def m_mv(cfg, rows, tiles, v_accum, work, partial_sums, op, tile, column, row):
    """Execute M_MV or M_TMV: v_accum (BLEN) += row x tile columns."""
    mlen = cfg[CFG_MLEN]
    blen = cfg[CFG_BLEN]
    fused = blen > SMALL_BLEN
    if op == isa.M_MV:
        product(
            rows, row * mlen, mlen, 1, tiles, tile + column, mlen, 1, 1, mlen, blen, mlen, fused, v_accum, 0, ONE,
            work, partial_sums,
        )
    else:
        for j in range(blen):
            v_accum[j] += dot_4way_head(rows, row * mlen, tiles, tile + j * mlen, mlen, fused)


@kernel
def write_out(cfg, accum, row_words, row_touched, count, width, row, offset, step):
    """Round `count` pieces of `width` f32 of an accumulator into rows `step` apart and clear it.

    M_MM_WO, M_MV_WO, M_BMM_WO, M_BMV_WO (§1.4). `row_words` is the vector SRAM as uint32.
    """
    mlen = cfg[CFG_MLEN]
    man_bits = cfg[CFG_SRAM_MANTISSA]
    for i in range(count):
        at = (row + i * step) * mlen + offset
        round_values(accum, i * width, row_words, at, width, man_bits)
        row_touched[row + i * step] = 1
    accum[: count * width] = np.float32(0.0)
