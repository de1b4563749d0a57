"""Does decoding eight MX elements at once give what the format rule (§2.2) gives code by code?"""

import numpy as np
import pytest

from plena_emu.inputs.number_formats import Fp, Mx
from plena_emu.kernels.compiler import jit
from plena_emu.kernels.data import mx_decode
from plena_emu.kernels.data.mx_decode import decode_simd, fits_simd, fits_tables
from plena_emu.kernels.data.tables import fill_table
from plena_emu.machine.formats import Formats


@pytest.mark.parametrize("block", [8, 16, 32])
@pytest.mark.parametrize("exponent", range(1, 8))
def test_every_code_of_every_8_bit_float(exponent, block):
    fmt = np.array([0, 8, 1, exponent, 7 - exponent], dtype=np.int64)
    table, scales, out = np.zeros(256, np.float32), np.zeros(256, np.float32), np.zeros(256, np.float32)
    fill_table(fmt, table)
    scales[:] = 2.0 ** (np.arange(256) % 40 - 20)
    codes = np.arange(256, dtype=np.uint8)
    data = np.concatenate((codes, codes[100 : 100 + 256 // block]))
    assert fits_simd(fmt, block)
    with np.errstate(all="ignore"):
        decode_simd(data, 0, 256, fmt, scales, 256, block, out, 0)
        expected = table * np.repeat(scales[data[256:]], block)
    number = ~np.isnan(expected)
    assert np.array_equal(np.isnan(out), ~number)
    assert np.array_equal(out[number].view(np.uint32), expected[number].view(np.uint32))


@pytest.mark.parametrize("fmt, block", [
    ([1, 8, 0, 0, 0], 8), ([0, 8, 0, 8, 0], 8), ([0, 9, 1, 8, 0], 8), ([0, 4, 1, 2, 1], 8), ([0, 8, 1, 4, 3], 0),
    ([0, 8, 1, 4, 3], 12),
])
def test_other_formats_are_left_to_the_general_rule(fmt, block):
    assert not fits_simd(np.array(fmt, dtype=np.int64), block)


def same_values(found, expected):
    """Whether f32 are the same bits, any NaN for any NaN."""
    number = ~np.isnan(expected)
    return np.array_equal(np.isnan(found), ~number) and np.array_equal(
        found[number].view(np.uint32), expected[number].view(np.uint32))


def caller(decode):
    """A kernel that calls an intrinsic, which Python cannot."""

    @jit.kernel
    def call(data, at, scale_at, halves, out, o, steps):
        decode(data, at, scale_at, halves, out, o, steps)

    return call


@pytest.mark.parametrize("block", [8, 16, 32])
@pytest.mark.parametrize("exponent", range(1, 8))
def test_every_code_with_every_scale_from_tables(exponent, block):
    """Compiled where the CPU looks bytes up, and the stand-in in numpy: what the rule gives code by code."""
    formats = Formats([Mx(Fp(True, exponent, 7 - exponent), Fp(False, 8, 0), block)])
    rng = np.random.default_rng([exponent, block])
    codes = np.concatenate([rng.permutation(256) for _ in range(block)]).astype(np.uint8)  # one block a scale byte
    data = np.concatenate(([7], codes, rng.permutation(256))).astype(np.uint8)
    chosen = getattr(mx_decode, f"decode_blocks_of_{block}")
    for decode in (mx_decode._plain(block), caller(chosen) if mx_decode.HAS_TABLES else chosen):
        out = np.full(len(codes) + 2, 5, dtype=np.float32)
        with np.errstate(all="ignore"):
            decode(data, 1, 1 + len(codes), formats.halves[0], out, 1, len(codes) // mx_decode.TABLE_WIDTH)
            expected = formats.tables[0][codes] * np.repeat(formats.tables[1][data[1 + len(codes) :]], block)
        assert same_values(out[1:-1], expected) and out[0] == out[-1] == 5


@pytest.mark.parametrize("scale, block, n, fits", [
    ([0, 8, 0, 8, 0], 8, 64, True), ([0, 8, 0, 8, 0], 32, 32, True), ([0, 8, 0, 8, 0], 8, 48, False),
    ([0, 8, 0, 8, 0], 64, 64, False), ([0, 8, 0, 4, 4], 8, 64, False), ([0, 8, 1, 7, 0], 8, 64, False),
    ([1, 8, 0, 0, 0], 8, 64, False),
])
def test_tables_are_for_scales_of_e8m0_and_usual_blocks(scale, block, n, fits):
    found = fits_tables(np.array([0, 8, 1, 4, 3], dtype=np.int64), np.array(scale, dtype=np.int64), block, n)
    assert bool(found) == (fits and mx_decode.HAS_TABLES)
