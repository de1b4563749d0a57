"""Dot products, row reductions (§2.5, §2.6): the oracle against exact arithmetic, the kernels against the oracle."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import products as pr

from plena_emu.kernels.compiler import jit
from plena_emu.kernels.data import gemm as kernel
from plena_emu.kernels.data import microkernel, reduce

F32 = np.float32
LENGTHS = (4, 8, 12, 16, 64, 128, 192, 194, 200, 256, 382, 384, 392, 512)


def finite_f32() -> st.SearchStrategy:
    return st.floats(width=32, allow_nan=False, allow_infinity=False).map(F32)


def nearest_f32(exact: Fraction) -> np.float32:
    """The f32 nearest to an exact value, ties to the even one."""
    if exact == 0:
        return F32(0)
    with np.errstate(over="ignore"):
        guess = F32(float(exact))
        candidates = [guess, np.nextafter(guess, F32(-np.inf)), np.nextafter(guess, F32(np.inf))]
    # Beyond the largest f32 the next binary exponent stands in for infinity.
    worth = [Fraction(float(v)) if np.isfinite(v) else Fraction(2) ** 128 * (1 if v > 0 else -1) for v in candidates]
    pairs = zip(candidates, worth, strict=True)
    return min(pairs, key=lambda pair: (abs(pair[1] - exact), int(pair[0].view(np.int32)) & 1))[0]


@settings(max_examples=400, deadline=None)
@given(finite_f32(), finite_f32(), finite_f32())
def test_fused_multiply_add_is_exact(a, b, c):
    expected = nearest_f32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    with np.errstate(over="ignore"):
        assert pr.fma_f32(F32([a]), F32([b]), F32([c]))[0] == expected
        assert call_fma(a, b, c) == expected


def call_fma(a, b, c):
    """One fused term through a kernel; the intrinsic itself cannot be called from Python."""
    return kernel.term(a, b, c, True)


@pytest.mark.parametrize(
    "a, b, c",
    [
        (1 + 2**-12, 1 + 2**-12, 2**-60),  # a tie of f32 that only the tiny addend breaks
        (1 + 2**-12, 1 + 2**-12, -(2**-60)),
        (1 + 2**-23, 1 - 2**-23, -1.0),
        (2**-100, 2**-100, 2**-149),
    ],
)
def test_double_rounding_cannot_happen(a, b, c):
    a, b, c = F32(a), F32(b), F32(c)
    expected = nearest_f32(Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c)))
    assert pr.fma_f32(F32([a]), F32([b]), F32([c]))[0] == expected == call_fma(a, b, c)


def operands(k: int, columns: int, seed: int, edge: bool) -> tuple[np.ndarray, np.ndarray]:
    """Row [1, k] and matrix [k, columns] whose sums depend on the order of the additions."""
    rng = np.random.default_rng([seed, k, columns])
    row = (rng.normal(0, 1, (1, k)) * 2.0 ** rng.integers(-12, 13, (1, k))).astype(F32)
    matrix = (rng.normal(0, 1, (k, columns)) * 2.0 ** rng.integers(-12, 13, (k, columns))).astype(F32)
    if edge:
        row[0, rng.integers(k)] = rng.choice(F32([np.inf, np.nan, 3e38, 1e-45, -0.0]))
        matrix[rng.integers(k), :] = rng.choice(F32([np.inf, -np.inf, 3e38, 1e-38, 0.0]), columns)
    return row, matrix


def same(found, expected) -> bool:
    return np.array_equal(np.asarray(found), np.asarray(expected), equal_nan=True)


@pytest.mark.parametrize("fused", [False, True], ids=["two roundings", "one rounding"])
@pytest.mark.parametrize("k", LENGTHS)
def test_products(k, fused):
    """Every block width (16, 8, 4, 1) and height (4, 1), columns adjacent and a whole column apart."""
    for seed, (rows, n) in enumerate([(1, 5), (4, 16), (5, 29), (8, 8), (9, 20), (3, 4)]):
        matrix = operands(k, n, seed, seed % 2 == 1)[1]
        a = np.concatenate([operands(k, n, seed + r, False)[0] for r in range(rows)])
        for b_term, b_column, flat in ((n, 1, matrix.ravel()), (1, k, matrix.T.ravel())):
            for chunk, order in ((kernel.chunk_length(k), pr.chunked), (k, pr.sequential)):
                out = np.zeros(rows * n, dtype=F32)
                work, part = np.zeros(16 * k, dtype=F32), np.zeros(64, dtype=F32)
                with np.errstate(all="ignore"):
                    kernel.product(
                        a.ravel(), 0, k, 1, flat, 0, b_term, b_column, rows, k, n, chunk, fused, out, 0, F32(0.25),
                        work, part,
                    )
                    assert same(out, (order(a, matrix, fused) * F32(0.25)).ravel())


@pytest.mark.parametrize("lanes", sorted(microkernel._WIDE))
def test_blocks_of_every_vector_width(lanes):
    """The blocks of CPUs with vectors of 4, 8 and 16 lanes: the same bits, whatever this CPU has."""
    height, vectors, _ = microkernel._WIDE[lanes]
    assert height * vectors * lanes <= 128  # room of `partial_sums`
    wide = wide_caller(lanes)
    for k, rows in ((5, height), (64, 2 * height), (256, height), (392, 3 * height)):
        matrix = operands(k, 40, k, k == 64)[1]
        a = np.concatenate([operands(k, 40, k + r, False)[0] for r in range(rows)])
        out = np.ones((rows, 20), dtype=F32)
        with np.errstate(all="ignore"):
            wide(a.ravel(), k, matrix.ravel(), 7, 40, k, kernel.chunk_length(k), out.ravel(), 20, np.zeros(128, F32),
                 rows // height)
            assert same(out[:, 3:19], pr.chunked(a, matrix[:, 7:23], True) * F32(0.25) + F32(1))
        assert (out[:, :3] == 1).all() and (out[:, 19:] == 1).all()


def wide_caller(lanes):
    """A kernel that calls a block of a width; an intrinsic itself cannot be called from Python."""
    block = microkernel._make(*microkernel._WIDE[lanes], microkernel.FUSED)

    @jit.kernel
    def call(a, k, b, b0, b_term, terms, chunk, out, out_row, part, count):
        block(a, 0, k, 1, b, b0, b_term, terms, chunk, out, 3, out_row, np.float32(0.25), part, count)

    return call


@pytest.mark.parametrize("fused", [False, True], ids=["two roundings", "one rounding"])
@pytest.mark.parametrize("k", LENGTHS)
def test_four_lanes(k, fused):
    n = 5
    for seed in range(6):
        row, matrix = operands(k, n, seed, seed % 2 == 1)
        columns = np.ascontiguousarray(matrix.T).ravel()
        with np.errstate(all="ignore"):
            lanes = [kernel.dot_4way(row[0], 0, columns, j * k, k, fused) for j in range(n)]
            assert same(lanes, pr.four_lanes(row, matrix, fused)[0])
            lanes = [kernel.dot_4way_head(row[0], 0, columns, j * k, k, fused) for j in range(n)]
            assert same(lanes, pr.four_lanes_with_head(row, matrix, fused)[0])


def test_the_orders_differ():
    """Otherwise the tests above would prove nothing."""
    row, matrix = operands(512, 64, 0, False)
    orders = (pr.sequential, pr.chunked, pr.four_lanes, pr.four_lanes_with_head)
    results = [order(row, matrix, fused).tobytes() for order in orders for fused in (False, True)]
    assert len(set(results)) == len(results)


@pytest.mark.parametrize("k, length", [(192, 192), (194, 97), (383, 191), (384, 192), (512, 192)])
def test_chunk_length(k, length):
    assert pr.chunk_length(k) == kernel.chunk_length(k) == length


@pytest.mark.parametrize("n", [1, 4, 7, 8, 16, 24, 31, 32, 40, 64, 72, 104, 208, 256, 512, 544, 1100])
def test_row_reductions(n):
    part = np.zeros(64, dtype=F32)
    for seed in range(8):
        row = operands(n, 1, seed, seed % 3 == 2)[0][0]
        if seed == 7:
            row = np.random.default_rng(n).choice(F32([0.0, -0.0]), n)
        with np.errstate(all="ignore"):
            found, expected = reduce.row_sum(row, 0, n, part), pr.row_sum(row)
            assert same(found, expected) and np.signbit(found) == np.signbit(expected)
            found, expected = reduce.row_max(row, 0, n), pr.row_max(row)
            assert same(found, expected) and (np.isnan(found) or np.signbit(found) == np.signbit(expected))
