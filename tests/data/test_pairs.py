"""Products of pairs of bf16: the same bits as in f32, used where that is sure and nowhere else (spec §2.5)."""

import msgspec
import numpy as np
import pytest
from oracle import products as pr

from plena_emu import isa
from plena_emu.config.settings import default_settings
from plena_emu.inputs.number_formats import Fp, Plain
from plena_emu.kernels import layout
from plena_emu.kernels.compiler import jit
from plena_emu.kernels.data import gemm, microkernel, pairs
from plena_emu.kernels.data.data import data_slice
from plena_emu.kernels.data.plan import ALONE, NO_PLAN
from plena_emu.machine.core import Machine

F32 = np.float32
U32 = np.uint32
GEOMETRIES = ((32, 8), (64, 16), (64, 32), (96, 48), (256, 64), (416, 16))  # MLEN, BLEN
needs_pairs = pytest.mark.skipif(not microkernel.HAS_PAIRS, reason="this CPU does not multiply pairs")


def bf16_values(rng, shape, low=100, high=140):
    """Random bf16 of biased exponents [low, high), some of them 0 of either sign, as f32."""
    bits = rng.integers(low, high, shape) << 23 | rng.integers(0, 128, shape) << 16 | rng.integers(0, 2, shape) << 31
    bits[rng.random(shape) < 0.05] &= 1 << 31
    return bits.astype(U32).view(F32)


def words_of(values):
    """Pairs of adjacent columns of f32, worked out in plain integers."""
    bits = values.view(U32).astype(np.int64)
    return (bits[..., ::2] & 0xFFFF0000 | bits[..., 1::2] >> 16).astype(U32)


def fitness_of(values):
    """What the map says of values, by the rule in words."""
    bits = values.view(U32).astype(np.int64).ravel()
    magnitudes = bits & 0x7FFFFFFF
    some = magnitudes[magnitudes > 0]
    if (bits & 0xFFFF).any() or (some >= (127 + 56) << 23).any() or (some < 1 << 23).any():
        return pairs.UNFIT
    return 2 + int(some.min() >> 23 if len(some) else 182)


@pytest.mark.parametrize("spoil", [None, 1e-40, 1.0 + 2.0**-8, 2.0**56, np.inf, np.nan, -0.0, 2.0**-126, -(2.0**55)])
def test_pairs_and_fitness_of_a_row(spoil):
    rng = np.random.default_rng(1)
    mlen, rows = 64, 6
    values = bf16_values(rng, (rows, mlen))
    values[3] = 0
    if spoil is not None:
        values[:3, rng.integers(mlen)] = F32(spoil)
    touched = np.array([1, 1, 0, 1, 1, 2], dtype=np.uint8)
    made = np.zeros((rows, mlen // 2), dtype=U32)
    pairs.pair_rows(mlen, values.ravel(), made.ravel(), touched, 0, rows)
    expected = [fitness_of(row) for row in values]
    assert touched.tolist() == [expected[0], expected[1], 0, expected[3], expected[4], 2]
    for row in (0, 1, 3, 4):
        assert (made[row] == words_of(values[row])).all()
    assert not made[[2, 5]].any()


@pytest.mark.parametrize("width", [8, 16, 32])
def test_pairs_of_a_tile_lie_in_panels(width):
    rng = np.random.default_rng(2)
    mlen = 64
    tiles = bf16_values(rng, (3, mlen, mlen), 60, 180)
    made, touched = np.zeros((3, mlen * mlen // 2), dtype=U32), np.array([1, 1, 1], dtype=np.uint8)
    pairs.pair_tile(mlen, width, tiles.ravel(), made.ravel(), touched, 1)
    assert touched.tolist() == [1, fitness_of(tiles[1]), 1] and not made[[0, 2]].any()
    panels = made[1].reshape(mlen // width, mlen // 2, width)
    for panel, columns in enumerate(np.split(tiles[1], mlen // width, axis=1)):
        assert (panels[panel] == words_of(np.ascontiguousarray(columns.T)).T).all()


def test_a_panel_of_a_transposed_slice():
    rng = np.random.default_rng(3)
    mlen, hlen, columns, h = 64, 32, 32, 32
    tile = bf16_values(rng, (mlen, mlen))
    panel, work = np.zeros((hlen // 2, columns), dtype=U32), np.zeros(hlen // 2 * columns, dtype=U32)
    span = pairs.pair_slice(tile.ravel(), 5 * mlen + h, mlen, hlen, columns, work, panel.ravel())
    part = np.ascontiguousarray(tile[5 : 5 + columns, h : h + hlen])
    assert (panel == words_of(part).T).all() and pairs.fitness(span) == fitness_of(part)


def caller(block):
    """A kernel that calls a block; an intrinsic itself cannot be called from Python."""

    @jit.kernel
    def call(a, half, b, width, chunk, out, part, count):
        block(a, 0, half, 1, b, 0, width, half, chunk, out, 0, width, np.float32(0.25), part, count)

    return call


@pytest.mark.parametrize("name, width", [("pairs_8x8", 8), ("pairs_8x16", 16), ("pairs_8x32", 32)])
def test_blocks_take_terms_in_order(name, width):
    """Sums whose bits depend on the order, of 0 of both signs too."""
    call = caller(getattr(microkernel, name)) if microkernel.HAS_PAIRS else None
    for k, rows in ((32, 8), (64, 16), (256, 8), (416, 8)):
        rng = np.random.default_rng([k, width])
        a, b = bf16_values(rng, (rows, k)), bf16_values(rng, (k, width))
        panel = np.ascontiguousarray(words_of(np.ascontiguousarray(b.T)).T)
        for chunk, order in ((gemm.chunk_length(k), pr.chunked), (k, pr.sequential)):
            expected = order(a, b, True) * F32(0.25) + F32(1)
            for run in filter(None, (call, plain_caller(width))):
                out = np.ones((rows, width), dtype=F32)
                run(words_of(a).ravel(), k // 2, panel.ravel(), width, chunk // 2, out.ravel(),
                    np.zeros(256, dtype=F32), rows // 8)
                assert (out.view(U32) == expected.view(U32)).all()


def plain_caller(width):
    """The numpy stand-in of a block."""
    block = microkernel._plain(8, width // 8, 8, microkernel.PAIRS)

    def call(a, half, b, width, chunk, out, part, count):
        block(a, 0, half, 1, b, 0, width, half, chunk, out, 0, width, F32(0.25), part, count)

    return call


def machine_of(mlen, blen):
    heads = 2
    sram = Plain(Fp(True, 8, 23))
    settings = msgspec.structs.replace(
        default_settings(), vlen=mlen, mlen=mlen, blen=blen, hlen=mlen // heads, broadcast=heads,
        vector_sram_size=2 * mlen, matrix_sram_size=2 * mlen, vector_sram_type=sram, matrix_sram_type=sram,
        hbm_size=4096,
    )
    return Machine(settings, "base")


def run(machine, *events):
    table = np.array([[*event, *[0] * (layout.EV_WIDTH - len(event))] for event in events], dtype=np.int64)
    with np.errstate(all="ignore"):
        assert data_slice(table, 0, len(table), ALONE, NO_PLAN, machine.data) == len(table)


def both_ways(machine, rows, tiles, event, accumulator):
    """Bits of an accumulator after an event, by pairs (if they are allowed) and in f32, and whether rows had pairs."""
    data = machine.data
    found = []
    for touched in (pairs.WRITTEN, pairs.UNWRITTEN):  # nobody makes pairs of rows that were never written
        data.rows[:], data.tiles[:] = rows.ravel(), tiles.ravel()
        data.row_touched[:], data.tile_touched[:] = touched, touched
        getattr(data, accumulator)[:] = 0
        run(machine, event)
        found.append(getattr(data, accumulator).view(U32).copy())
        if touched:
            had = int(data.row_touched.max())
    return found[0], found[1], had


def without_nan_bits(words):
    """The same words with one NaN for all: which bits a NaN has is the CPU's choice (spec §2.1)."""
    return np.where((words & 0x7FFFFFFF) > 0x7F800000, 0x7FC00000, words)


@pytest.mark.parametrize("mlen, blen", GEOMETRIES)
@pytest.mark.parametrize("op", [isa.M_MM, isa.M_BTMM])
def test_instructions_have_the_bits_of_f32(mlen, blen, op):
    """Operands around every edge of the rule, and beyond."""
    machine = machine_of(mlen, blen)
    rng = np.random.default_rng([mlen, blen, op])
    event, name = (op, 0, 0, mlen // 2), "hm_accum"
    if op == isa.M_MM:
        event, name = (op, mlen * mlen, mlen - blen, mlen // 2), "m_accum"
    spans = ((110, 140), (1, 182), (60, 80), (70, 72), (71, 73), (71, 183), (0, 255), (1, 20), (120, 121))
    used = 0
    for trial, (low, high) in enumerate(spans * 2):
        rows = bf16_values(rng, (2 * mlen, mlen), low, high)
        tiles = bf16_values(rng, (2, mlen, mlen), *spans[(trial * 5 + 1) % len(spans)])
        if trial % 3 == 2:
            rows[rng.integers(2 * mlen, size=4), rng.integers(mlen, size=4)] = rng.choice(
                F32([1e-45, 1e-39, 3e38, np.inf, np.nan, 1 + 2.0**-20, -0.0]), 4)
        one, other, had = both_ways(machine, rows, tiles, event, name)
        assert (without_nan_bits(one) == without_nan_bits(other)).all(), (trial, low, high)
        used += had >= pairs.FIT
    assert used >= 4 or not microkernel.HAS_PAIRS


@needs_pairs
@pytest.mark.parametrize("least, allowed", [(71, True), (70, False)])
def test_the_least_exponents_decide(least, allowed):
    """2**-112 is the least product whose last bit is worth 2**-126; then nothing is taken for 0."""
    assert pairs.allow_pairs(2 + 71, 2 + least) == allowed
    assert pairs.allow_pairs(2 + 182, 2 + 1) and not pairs.allow_pairs(pairs.UNFIT, 2 + 182)
    assert not pairs.allow_pairs(pairs.UNWRITTEN, 2 + 182) and not pairs.allow_pairs(2 + 182, pairs.WRITTEN)


@needs_pairs
@pytest.mark.parametrize("mlen, blen", GEOMETRIES)
def test_pairs_do_not_outlive_their_values(mlen, blen):
    """Every kind of write between two products: the second sees it."""
    machine = machine_of(mlen, blen)
    data, fresh = machine.data, machine_of(mlen, blen)
    rng = np.random.default_rng([mlen, blen])
    data.rows[:], data.tiles[:] = bf16_values(rng, 2 * mlen * mlen), bf16_values(rng, 2 * mlen * mlen)
    data.row_touched[:], data.tile_touched[:] = 1, 1
    data.hbm[:] = rng.integers(0x30, 0x40, len(data.hbm))
    product = (isa.M_MM, 0, 0, 8)
    writes = ((isa.V_ADD_VV, 8, 9, 10, 0, -1), (isa.V_EXP_V, 9, 9, 0, 0, -1), (isa.M_MM_WO, 8, 0, 1),
              (isa.H_PREFETCH_V, 8, layout.DESCRIPTOR_V_ACT, 0, 2048, mlen), (isa.V_MUL_VV, 8, 9, 10, 0, 1),
              (isa.H_PREFETCH_M, 0, layout.DESCRIPTOR_M_WEIGHT, 0, 2048, mlen))
    for write in writes:
        run(machine, product)
        data.m_accum[:] = 1
        run(machine, write, product)
        for name in ("rows", "tiles", "fp"):
            getattr(fresh.data, name)[:] = getattr(data, name)
        fresh.data.m_accum[:] = 0 if write[0] == isa.M_MM_WO else 1
        run(fresh, product)
        assert (data.m_accum.view(U32) == fresh.data.m_accum.view(U32)).all(), write
