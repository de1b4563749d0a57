"""Does decoding eight MX elements at once give what the format rule (§2.2) gives code by code?"""

import numpy as np
import pytest

from plena_emu.kernels.data.mx_decode import decode_simd, fits_simd
from plena_emu.kernels.data.tables import fill_table


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
