"""Matrix products and row reductions in the summation order of the reference (§2.5, §2.6).

Everything is vectorised over the outputs; the order of the additions is an explicit loop over k.
"""

import numpy as np

F32 = np.float32


def fma_f32(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a·b + c with one rounding to float32.

    The product of two float32 is exact in float64. The sum is rounded to odd there, which makes the
    second rounding (to float32) the only one that counts.
    """
    product = a.astype(np.float64) * b.astype(np.float64)
    addend = c.astype(np.float64)
    total = product + addend
    part = total - product  # TwoSum: product + addend == total + error, exactly
    error = (product - (total - part)) + (addend - part)
    inexact = np.isfinite(total) & (error != 0)
    if inexact.any():
        even = (total.view(np.int64) & 1) == 0
        odd = np.nextafter(total, np.copysign(np.inf, error))
        total = np.where(inexact & even, odd, total)
    return total.astype(F32)


def mul_add_f32(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """a·b + c, rounded after the product and after the sum."""
    return a * b + c


class Sum:
    """Running sums of A[:, k]·B[k, :] for chosen k, with one or two roundings a term."""

    def __init__(self, a: np.ndarray, b: np.ndarray, fused: bool):
        self.a, self.b = np.asarray(a, dtype=F32), np.asarray(b, dtype=F32)
        self.step = fma_f32 if fused else mul_add_f32

    def over(self, ks) -> np.ndarray:
        """Sum of the terms ks in the given order, from 0."""
        acc = np.zeros((self.a.shape[0], self.b.shape[1]), dtype=F32)
        for k in ks:
            acc = self.step(*np.broadcast_arrays(self.a[:, k, None], self.b[None, k, :]), acc)
        return acc


def sequential(a: np.ndarray, b: np.ndarray, fused: bool) -> np.ndarray:
    """A[m, K]·B[K, n], k in increasing order."""
    return Sum(a, b, fused).over(range(a.shape[1]))


def chunk_length(k: int) -> int:
    if k <= 192:
        return k
    return k // 2 if k < 384 else 192


def chunked(a: np.ndarray, b: np.ndarray, fused: bool) -> np.ndarray:
    """A[m, K]·B[K, n] in chunks that are summed from 0 and then added left to right."""
    k, step, terms = a.shape[1], chunk_length(a.shape[1]), Sum(a, b, fused)
    total = None
    for start in range(0, k, step):
        chunk = terms.over(range(start, min(start + step, k)))
        total = chunk if total is None else total + chunk
    return total


def _join_lanes(lanes: list) -> np.ndarray:
    return (lanes[0] + lanes[2]) + (lanes[1] + lanes[3])


def four_lanes(a: np.ndarray, b: np.ndarray, fused: bool) -> np.ndarray:
    """A[m, K]·B[K, n] with lane l summing k = l, l+4, …"""
    terms = Sum(a, b, fused)
    return _join_lanes([terms.over(range(lane, a.shape[1], 4)) for lane in range(4)])


def four_lanes_with_head(a: np.ndarray, b: np.ndarray, fused: bool) -> np.ndarray:
    """As `four_lanes`, but k = 0…3 all go to lane 0, one after the other, before its own terms."""
    terms, k = Sum(a, b, fused), a.shape[1]
    lanes = [terms.over([*range(min(4, k)), *range(4, k, 4)])]
    lanes += [terms.over(range(4 + lane, k, 4)) for lane in (1, 2, 3)]
    return _join_lanes(lanes)


def row_sum(row: np.ndarray) -> np.float32:
    """Sum of a float32 row in the order of §2.6, eight lanes wide."""
    row = np.asarray(row, dtype=F32)
    count = len(row) // 8
    vectors, tail = row[: count * 8].reshape(count, 8), row[count * 8 :]
    groups = count // 4
    low, high = np.zeros((4, 8), dtype=F32), np.zeros((4, 8), dtype=F32)
    for t in range(groups):
        low = low + vectors[4 * t : 4 * t + 4]
        if (t + 1) % 16 == 0:  # second level, beyond 16 groups of four
            low, high = np.zeros((4, 8), dtype=F32), high + low
    partial = low + high
    for vector in vectors[4 * groups :]:
        partial[0] = partial[0] + vector
    lanes = ((partial[0] + partial[1]) + partial[2]) + partial[3]
    total = F32(0)
    for value in tail:
        total = total + value
    for value in lanes if count else ():
        total = total + value
    return total


def row_max(row: np.ndarray) -> np.float32:
    """Largest value of a row; a NaN wins, and of equal values (zeros of both signs) the last one."""
    row = np.asarray(row, dtype=F32)
    if np.isnan(row).any():
        return F32(np.nan)
    return row[np.nonzero(row == row.max())[0][-1]]
