"""Dot products in the exact summation orders of spec §2.5.

Every function computes one output row, out[j] = sum over k of a[k] * b[k, j], for strided operands:
`a[a0 + k * ak]` and `b[b0 + k * bk + j * bj]`. The order of the additions and the number of
roundings a term (`fused`: one, else multiply and add) are part of the results' bytes.
"""

import numpy as np

from .floats import fma
from .jit import kernel

LANES = 4


@kernel
def chunk_length(k):
    """Length of the chunks that are summed on their own before they are added up (§2.5)."""
    if k <= 192:
        return k
    if k < 384:
        return k // 2
    return 192


@kernel
def accumulate(a, a0, ak, b, b0, bk, first, last, fused, out, o, n):
    """out[o : o + n] = sum of terms first .. last - 1, one after the other, from 0; columns contiguous."""
    for j in range(n):
        out[o + j] = np.float32(0.0)
    for k in range(first, last):
        x = a[a0 + k * ak]
        row = b0 + k * bk
        if fused:
            for j in range(n):
                out[o + j] = fma(x, b[row + j], out[o + j])
        else:
            for j in range(n):
                out[o + j] = out[o + j] + x * b[row + j]


@kernel
def row_chunked(a, a0, ak, b, b0, bk, k, fused, out, o, n, part):
    """Row of a *chunked* (or, for one chunk, *sequential*) product; columns of b contiguous.

    `part` is scratch of at least `n` f32.
    """
    length = chunk_length(k)
    accumulate(a, a0, ak, b, b0, bk, 0, min(length, k), fused, out, o, n)
    first = length
    while first < k:
        accumulate(a, a0, ak, b, b0, bk, first, min(first + length, k), fused, part, 0, n)
        for j in range(n):
            out[o + j] += part[j]
        first += length


@kernel
def row_sequential(a, a0, ak, b, b0, bk, k, fused, out, o, n):
    """Row of a *sequential* product; columns of b contiguous."""
    accumulate(a, a0, ak, b, b0, bk, 0, k, fused, out, o, n)


@kernel
def term(x, y, acc, fused):
    """One more term of a sum."""
    return fma(x, y, acc) if fused else acc + x * y


@kernel
def dot_four_lanes(a, a0, b, b0, bk, k, fused):
    """One output in *four lanes*: lane l sums the terms l, l + 4, ...; (0 + 2) + (1 + 3)."""
    l0 = np.float32(0.0)
    l1 = np.float32(0.0)
    l2 = np.float32(0.0)
    l3 = np.float32(0.0)
    whole = k // LANES * LANES
    for t in range(0, whole, LANES):
        l0 = term(a[a0 + t], b[b0 + t * bk], l0, fused)
        l1 = term(a[a0 + t + 1], b[b0 + (t + 1) * bk], l1, fused)
        l2 = term(a[a0 + t + 2], b[b0 + (t + 2) * bk], l2, fused)
        l3 = term(a[a0 + t + 3], b[b0 + (t + 3) * bk], l3, fused)
    if whole < k:
        l0 = term(a[a0 + whole], b[b0 + whole * bk], l0, fused)
    if whole + 1 < k:
        l1 = term(a[a0 + whole + 1], b[b0 + (whole + 1) * bk], l1, fused)
    if whole + 2 < k:
        l2 = term(a[a0 + whole + 2], b[b0 + (whole + 2) * bk], l2, fused)
    return (l0 + l2) + (l1 + l3)


@kernel
def dot_four_lanes_head(a, a0, b, b0, bk, k, fused):
    """One output in *four lanes with a head*: lane 0 first takes the terms 0 to 3."""
    l0 = np.float32(0.0)
    for t in range(min(LANES, k)):
        l0 = term(a[a0 + t], b[b0 + t * bk], l0, fused)
    l1 = np.float32(0.0)
    l2 = np.float32(0.0)
    l3 = np.float32(0.0)
    for t in range(LANES, k):
        lane = t % LANES
        x = a[a0 + t]
        y = b[b0 + t * bk]
        if lane == 0:
            l0 = term(x, y, l0, fused)
        elif lane == 1:
            l1 = term(x, y, l1, fused)
        elif lane == 2:
            l2 = term(x, y, l2, fused)
        else:
            l3 = term(x, y, l3, fused)
    return (l0 + l2) + (l1 + l3)


@kernel
def transpose(b, b0, row_stride, rows, columns, out):
    """out[c * rows + r] = b[b0 + r * row_stride + c]: columns become contiguous rows."""
    for r in range(rows):
        for c in range(columns):
            out[c * rows + r] = b[b0 + r * row_stride + c]
