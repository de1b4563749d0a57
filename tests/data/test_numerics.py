"""Number formats of the kernels (§2.2 - §2.4) against the oracle: exhaustive over narrow codes, random above."""

import itertools

import numpy as np
import pytest
from oracle import numerics as nm

from plena_emu.kernels.data import numerics as kernel
from plena_emu.kernels.data.floats import bits_of, exp_f32, float_of
from plena_emu.kernels.data.tables import fill_table
from plena_emu.kernels.layout import FMT_BITS, FMT_EXP, FMT_INT, FMT_MAN, FMT_SIGN, FMT_WIDTH

F32 = np.float32
NARROW = [
    nm.fp(sign, e, m) for sign, e, m in itertools.product((0, 1), range(1, 9), range(0, 8)) if 1 <= sign + e + m <= 8
] + [nm.integer(width) for width in range(1, 9)]
WIDE = [nm.BF16, nm.fp(1, 5, 10), nm.fp(0, 8, 8), nm.fp(1, 6, 9), nm.integer(16)]
ELEMENTS = [nm.fp(*f) for f in ((1, 4, 3), (1, 5, 2), (1, 2, 1), (1, 3, 4), (1, 8, 7), (0, 4, 4))] + [nm.integer(8)]
E8M0 = nm.fp(0, 8, 0)
REVISIONS = ("base", "moe")


def fmt(dtype: nm.DataType) -> np.ndarray:
    """The kernels' row for a data type."""
    row = np.zeros(FMT_WIDTH, dtype=np.int64)
    row[FMT_BITS], row[FMT_INT] = dtype.bits, int(dtype.integer)
    row[FMT_SIGN], row[FMT_EXP], row[FMT_MAN] = dtype.sign, dtype.exponent, dtype.mantissa
    return row


def words(values) -> np.ndarray:
    """Bits of float32 values, every NaN the same."""
    values = np.asarray(values, dtype=F32)
    return np.where(np.isnan(values), 0x7FC00000, values.view(np.uint32).astype(np.int64))


def edge_values() -> np.ndarray:
    """float32 near everything that rounds: every bf16 code, and what lies just beside it and half way to the next."""
    high = np.arange(65536, dtype=np.uint32) << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], dtype=np.uint32)
    return (high[:, None] | low).ravel().view(F32)


# --- decode ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_decode_every_narrow_code(dtype):
    table = np.zeros(256, dtype=F32)
    fill_table(fmt(dtype), table)
    codes = np.arange(1 << dtype.bits)
    assert np.array_equal(words(table[: len(codes)]), words(nm.decode(dtype, codes)))


@pytest.mark.parametrize("dtype", WIDE, ids=str)
def test_decode_every_16_bit_code(dtype):
    row, codes = fmt(dtype), np.arange(65536)
    found = [kernel.decode(code, row) for code in range(65536)]
    assert np.array_equal(words(found), words(nm.decode(dtype, codes)))


def test_values_the_specification_states():
    e4m3 = nm.fp(1, 4, 3)
    assert kernel.decode(0x07, fmt(e4m3)) == F32(0.0068359375)
    assert np.isinf(kernel.decode(0x78, fmt(e4m3))) and np.isnan(kernel.decode(0x7C, fmt(e4m3)))
    scale = fmt(E8M0)
    assert [float(kernel.decode(byte, scale)) for byte in (0, 1, 127, 254, 255)] == [
        0.0, 2.0**-126, 1.0, 2.0**127, np.inf,
    ]  # fmt: skip
    assert kernel.decode(0xFF, fmt(nm.integer(8))) == 255.0


# --- plain encode ---------------------------------------------------------------------------


@pytest.mark.parametrize("mantissa", [1, 7, 10, 22, 23])
def test_row_rounding(mantissa):
    dtype = nm.fp(1, 8, mantissa)
    values = edge_values()
    rounded = values.copy().view(np.uint32)
    kernel.round_row(rounded, 0, len(rounded), mantissa)
    expected = nm.encode_plain(dtype, values) << (23 - mantissa)
    assert np.array_equal(rounded.astype(np.int64), expected)  # the bits of a NaN decide whether it becomes Inf


@pytest.mark.parametrize(
    "word, code",
    [(0x7FC00000, 0x7FC0), (0x7F800001, 0x7F80), (0x7FFFFFFF, 0x7F80), (0x7F7FFFFF, 0x7F80), (0x00018000, 2)],
)
def test_plain_encoding_the_specification_states(word, code):
    words = np.array([word], dtype=np.uint32)
    assert nm.encode_plain(nm.BF16, words.view(F32))[0] == code
    kernel.round_row(words, 0, 1, 7)
    assert words[0] == code << 16


def test_every_bf16_code_survives_a_round_trip():
    row = fmt(nm.BF16)
    found = np.array([kernel.encode_plain(kernel.decode(code, row), row) for code in range(65536)])
    codes = np.arange(65536)
    nan = codes & 0x7FFF > 0x7F80
    assert np.array_equal(found[~nan], codes[~nan])
    assert (found[nan] & 0x7FFF > 0x7F80).all()


def test_scalar_rounding_keeps_a_nan():
    values = edge_values()[::5]
    expected = [nm.to_bf16(value) for value in values[:: len(values) // 4000]]
    found = [kernel.round_bf16(value) for value in values[:: len(values) // 4000]]
    assert np.array_equal(words(found), words(expected))
    for word in (0x7F800001, 0x7FFFFFFF, 0xFF800001):
        rounded = kernel.round_bf16(float_of(word))
        assert np.isnan(rounded) and bits_of(rounded) & 0xFFFF == 0


# --- packing --------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 4, 6, 8, 12, 16, 23, 32])
def test_packed_codes(width):
    rng = np.random.default_rng(width)
    codes = rng.integers(0, 1 << width, 64)
    packed = np.zeros(64 * width // 8, dtype=np.uint8)
    for i, code in enumerate(codes):
        kernel.write_code(packed, i * width, width, code)
    assert packed.tobytes() == nm.pack_codes(codes, width)
    assert [kernel.read_code(packed, i * width, width) for i in range(64)] == codes.tolist()
    assert nm.unpack_codes(packed.tobytes(), width, 64).tolist() == codes.tolist()


# --- MX encode ------------------------------------------------------------------------------


def near_powers_of_two(rng: np.random.Generator) -> np.ndarray:
    """Values just beside powers of two, where floor(log2) is delicate, and half way between codes."""
    powers = 2.0 ** np.arange(-32, 18)
    offsets = np.concatenate([np.arange(-64, 65), rng.integers(-(1 << 20), 1 << 20, 40)])
    beside = (powers.astype(F32).view(np.int32)[:, None] + offsets).astype(np.int32).view(F32)
    ties = (powers[:, None] * (1 + np.arange(0, 128) / 64.0)).astype(F32)
    return np.concatenate([beside.ravel(), ties.ravel()])


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
def test_element_codes(dtype, revision):
    rng = np.random.default_rng(1)
    every = (np.arange(65536, dtype=np.uint32) << 16).view(F32)
    beside = near_powers_of_two(rng)
    values = np.concatenate([every[:: 1 if dtype == ELEMENTS[0] else 7], beside, -beside[::9]])
    expected = nm.encode_mx_element(dtype, values, revision) & ((1 << dtype.bits) - 1)
    row, moe = fmt(dtype), int(revision == "moe")
    found = np.array([kernel.encode_element(value, row, moe) for value in values]) & ((1 << dtype.bits) - 1)
    wrong = np.nonzero(found != expected)[0]
    assert len(wrong) == 0, [(float(values[i]), int(found[i]), int(expected[i])) for i in wrong[:5]]


def random_blocks(rng: np.random.Generator, count: int, block: int) -> np.ndarray:
    """Blocks around one exponent each, some with zeros, NaN, Inf and extremes."""
    exponent = rng.integers(-140, 128, (count, 1))
    spread = rng.integers(-12, 1, (count, block))
    with np.errstate(over="ignore"):
        values = (rng.normal(0, 1, (count, block)) * 2.0 ** (exponent + spread)).astype(F32)
    special = F32([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, 3.4e38, 1.0])
    where = (rng.random((count, block)) < 0.2) & (rng.random((count, 1)) < 0.3)
    values = np.where(where, rng.choice(special, (count, block)), values)
    values[rng.random(count) < 0.02] = 0.0
    return values.astype(F32)


@pytest.mark.parametrize("revision", REVISIONS)
@pytest.mark.parametrize("dtype", ELEMENTS, ids=str)
@pytest.mark.parametrize("block", [8, 32])
def test_blocks(dtype, block, revision):
    rng = np.random.default_rng([block, dtype.bits])
    values = random_blocks(rng, 400, block)
    expected = nm.encode_row(nm.Format(dtype, E8M0, block), values.ravel(), revision)
    elements = np.zeros(values.size * dtype.bits // 8, dtype=np.uint8)
    scales = np.zeros(len(values), dtype=np.uint8)
    row, scale_row, flat = fmt(dtype), fmt(E8M0), values.ravel()
    for b in range(len(values)):
        kernel.encode_block(
            flat, b * block, block, row, scale_row, int(revision == "moe"),
            elements, b * block * dtype.bits, scales, b * 8,
        )  # fmt: skip
    assert (elements.tobytes(), scales.tobytes()) == expected


def test_the_revisions_round_differently():
    # 1.1875 lies half way between two e4m3 significands; 1.0625 does not tell the rules apart.
    e4m3 = fmt(nm.fp(1, 4, 3))
    assert [kernel.encode_element(F32(1.0625), e4m3, moe) for moe in (0, 1)] == [0x39, 0x38]
    assert [kernel.encode_element(F32(1.1875), e4m3, moe) for moe in (0, 1)] == [0x3A, 0x3A]
    assert kernel.encode_element(F32(1.99), e4m3, 0) == 0x3F  # no carry into the exponent


def test_logarithm_matches_the_c_library_near_powers_of_two():
    import ctypes
    import ctypes.util

    name = ctypes.util.find_library("m")
    if name is None:
        pytest.skip("no C mathematics library to compare with")
    log2f = ctypes.CDLL(name).log2f
    log2f.restype, log2f.argtypes = ctypes.c_float, [ctypes.c_float]
    for exponent in range(-126, 128):
        bits = (np.float32(2.0**exponent).view(np.int32) + np.arange(-40, 41)).astype(np.int32)
        values = bits.view(F32)
        values = values[(values > 0) & np.isfinite(values)]
        expected = np.floor([log2f(float(value)) for value in values])
        assert np.array_equal(np.floor(nm.log2_f32(values)), expected)


# --- exp ------------------------------------------------------------------------------------


def test_exp_is_correctly_rounded_for_every_bf16():
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("long double is no wider than double here")
    values = (np.arange(65536, dtype=np.uint32) << 16).view(F32)
    clamped = np.clip(values, F32(-88), F32(88))
    with np.errstate(invalid="ignore"):
        expected = np.exp(clamped.astype(np.longdouble)).astype(F32)
    assert np.array_equal(words([exp_f32(value) for value in values]), words(expected))


def test_exp_of_any_f32():
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.uniform(-90, 90, 50_000), rng.normal(0, 1e-3, 20_000)]).astype(F32)
    expected = np.exp(np.clip(values, F32(-88), F32(88)).astype(np.float64)).astype(F32)
    assert np.array_equal(words([exp_f32(value) for value in values]), words(expected))
