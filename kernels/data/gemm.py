"""Multiply matrices in the exact summation orders of spec §2.5.

`product` covers *sequential* and *chunked*: a loop over panels of up to 16 columns, and in each a microkernel on
register blocks (`microkernel`). `dot_4way` is *four lanes*: terms 4k, 4k+1, 4k+2 and 4k+3 are summed apart, then the
four sums. `fused` selects one rounding a term, else multiply and add. Which instruction takes which
order: `matrix_instructions`.
"""

import numpy as np

from ..compiler.jit import kernel, small
from .floats import fma
from .microkernel import (
    fused_1x1,
    fused_1x8,
    fused_4x4,
    fused_4x8,
    fused_4x16,
    rounded_1x1,
    rounded_1x8,
    rounded_4x4,
    rounded_4x8,
)
from .row_lanes import copy_sixteen

WAYS = 4
ROWS = 4  # rows of a register block
PANEL = 16  # columns of a panel
ONE = np.float32(1.0)
NEAR = 128  # a panel whose rows are further apart than this many elements is packed: it would thrash the L1 cache


@kernel
def chunk_length(k):
    """Compute the length of the chunks that are summed on their own before they are added up (§2.5)."""
    if k <= 192:
        return k
    if k < 384:
        return k // 2
    return 192


@small
def panel_columns(left, fused, height):
    """Choose the columns of the next panel, for blocks of `height` rows (4 or 1), when `left` columns remain."""
    if left >= PANEL and fused and height == ROWS:
        return PANEL
    if left >= 8:
        return 8
    if left >= 4 and height == ROWS:
        return 4
    return 1


@small
def fused_microkernels(
    height, columns, a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count
):
    """Run `count` blocks of `height` x `columns`, one rounding a term: 4 x 16, 4 x 8, 4 x 4, 4 x 1, 1 x 8 or 1 x 1."""
    if columns == PANEL:
        fused_4x16(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    elif columns == 8 and height == ROWS:
        fused_4x8(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    elif columns == 8:
        fused_1x8(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    elif columns == 4:
        fused_4x4(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    else:
        fused_1x1(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count * height)


@small
def rounded_microkernels(
    height, columns, a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count
):
    """Run the same with two roundings a term: 4 x 8, 4 x 4, 4 x 1, 1 x 8 or 1 x 1."""
    if columns == 8 and height == ROWS:
        rounded_4x8(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    elif columns == 8:
        rounded_1x8(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    elif columns == 4:
        rounded_4x4(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count)
    else:
        rounded_1x1(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count * height)


@small
def pack_panel(b, b0, b_term, k, panel):
    """Run `pack` for a whole panel of adjacent columns."""
    for t in range(k):
        copy_sixteen(b, b0 + t * b_term, panel, t * PANEL)


@small
def pack(b, b0, b_term, b_column, k, columns, panel):
    """Copy panel[t * columns + j] = b[b0 + t * b_term + j * b_column]: adjacent columns, adjacent terms."""
    if b_column == 1 and columns == PANEL:
        pack_panel(b, b0, b_term, k, panel)
    elif b_column == 1:
        for t in range(k):
            for j in range(columns):
                panel[t * columns + j] = b[b0 + t * b_term + j]
    else:
        for j in range(columns):
            for t in range(k):
                panel[t * columns + j] = b[b0 + t * b_term + j * b_column]


@small
def panel_loop(
    height, a, a0, a_row, a_term, b, b0, b_term, b_column, rows, k, columns, chunk, fused, out, o, scale, work,
    partial_sums,
):
    """Compute `product` panel by panel for `rows` rows, a multiple of `height` (4 or 1), in blocks of `height`."""
    j = 0
    while j < columns:
        width = panel_columns(columns - j, fused, height)
        panel, panel0, panel_term = b, b0 + j * b_column, b_term
        if b_column != 1 or (b_term > NEAR and rows > ROWS):
            pack(b, panel0, b_term, b_column, k, width, work)
            panel, panel0, panel_term = work, 0, width
        if fused:
            fused_microkernels(
                height, width, a, a0, a_row, a_term, panel, panel0, panel_term, k, chunk, out, o + j, columns, scale,
                partial_sums, rows // height,
            )
        else:
            rounded_microkernels(
                height, width, a, a0, a_row, a_term, panel, panel0, panel_term, k, chunk, out, o + j, columns, scale,
                partial_sums, rows // height,
            )
        j += width


@small
def product(
    a, a0, a_row, a_term, b, b0, b_term, b_column, rows, k, columns, chunk, fused, out, o, scale, work, partial_sums
):
    """Compute out[r, j] += scale * sum over t of a[r, t] * b[t, j], in chunks of `chunk` terms.

    Operands are strided: a[a0 + r * a_row + t * a_term], b[b0 + t * b_term + j * b_column],
    out[o + r * columns + j]. `work` (k * 16 f32) takes a packed panel, `partial_sums` (64 f32) a block.
    """
    fours = rows // ROWS * ROWS
    if fours > 0:
        panel_loop(
            ROWS, a, a0, a_row, a_term, b, b0, b_term, b_column, fours, k, columns, chunk, fused, out, o, scale,
            work, partial_sums,
        )
    if fours < rows:
        panel_loop(
            1, a, a0 + fours * a_row, a_row, a_term, b, b0, b_term, b_column, rows - fours, k, columns, chunk, fused,
            out, o + fours * columns, scale, work, partial_sums,
        )


@kernel
def term(x, y, acc, fused):
    """Add one more term to a sum."""
    return fma(x, y, acc) if fused else acc + x * y


@kernel
def dot_4way(a, a0, b, b0, k, fused):
    """Compute one output in the order *four lanes* (§2.5): way l sums the terms l, l + 4, ...; (0 + 2) + (1 + 3)."""
    l0 = np.float32(0.0)
    l1 = np.float32(0.0)
    l2 = np.float32(0.0)
    l3 = np.float32(0.0)
    whole = k // WAYS * WAYS
    for t in range(0, whole, WAYS):
        l0 = term(a[a0 + t], b[b0 + t], l0, fused)
        l1 = term(a[a0 + t + 1], b[b0 + t + 1], l1, fused)
        l2 = term(a[a0 + t + 2], b[b0 + t + 2], l2, fused)
        l3 = term(a[a0 + t + 3], b[b0 + t + 3], l3, fused)
    if whole < k:
        l0 = term(a[a0 + whole], b[b0 + whole], l0, fused)
    if whole + 1 < k:
        l1 = term(a[a0 + whole + 1], b[b0 + whole + 1], l1, fused)
    if whole + 2 < k:
        l2 = term(a[a0 + whole + 2], b[b0 + whole + 2], l2, fused)
    return (l0 + l2) + (l1 + l3)


@kernel
def dot_4way_head(a, a0, b, b0, k, fused):
    """Compute one output in the order *four lanes with a head* (§2.5): way 0 first takes the terms 0 to 3."""
    l0 = np.float32(0.0)
    for t in range(min(WAYS, k)):
        l0 = term(a[a0 + t], b[b0 + t], l0, fused)
    l1 = np.float32(0.0)
    l2 = np.float32(0.0)
    l3 = np.float32(0.0)
    for t in range(WAYS, k):
        way = t % WAYS
        x = a[a0 + t]
        y = b[b0 + t]
        if way == 0:
            l0 = term(x, y, l0, fused)
        elif way == 1:
            l1 = term(x, y, l1, fused)
        elif way == 2:
            l2 = term(x, y, l2, fused)
        else:
            l3 = term(x, y, l3, fused)
    return (l0 + l2) + (l1 + l3)
