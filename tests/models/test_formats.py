"""Number formats and the image's quantiser against plain-Python oracles (spec §2.2, §2.4, §9.2)."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import numerics

from plena_emu.config.settings import Fp, Int, Mx, Plain
from plena_emu.errors import EmuError
from plena_emu.models.number_formats import decode_mx, encode_stored, round_bf16, round_stored, value_table
from plena_emu.models.quantise import dequantised, quantise, quantised_bytes

E4M3 = Mx(Fp(True, 4, 3), Fp(False, 8, 0), 8)
E5M2 = Mx(Fp(True, 5, 2), Fp(False, 8, 0), 8)
E3M4 = Mx(Fp(True, 3, 4), Fp(False, 8, 0), 16)
KINDS = pytest.mark.parametrize("kind", [E4M3, E5M2, E3M4], ids=str)


def finite_values(kind):
    """Every finite value of an element, by the words of §2.2."""
    exponent_bits, mantissa_bits = kind.elem.exponent, kind.elem.mantissa
    bias = 2 ** (exponent_bits - 1) - 1
    magnitudes = [m / 2**mantissa_bits * 2.0**-bias for m in range(2**mantissa_bits)]
    magnitudes += [(1 + m / 2**mantissa_bits) * 2.0 ** (e - bias)
                   for e in range(1, 2**exponent_bits - 1) for m in range(2**mantissa_bits)]
    return np.array([*magnitudes, *(-value for value in magnitudes)])


def least_error(block, kind):
    """Smallest squared error of a block over every scale that can matter, by trying every code."""
    values = finite_values(kind)
    best = float(np.sum(block**2))
    centre = math.frexp(np.abs(block).max())[1] if block.any() else 0
    for power in range(max(-126, centre - 40), min(127, centre + 40) + 1):
        errors = np.square(values[None] * 2.0**power - block[:, None]).min(axis=1)
        best = min(best, float(errors.sum()))
    return best


def test_values_of_codes():
    table = value_table(E4M3.elem)
    assert table[0x07] == 0.0068359375 and table[0x08] == 2.0**-6 and table[0x77] == 240
    assert np.isinf(table[0x78]) and np.isnan(table[0x79]) and np.isinf(table[0xF8]) and table[0xF8] < 0
    scales = value_table(E4M3.scale)
    assert scales[0] == 0 and scales[1] == 2.0**-126 and scales[254] == 2.0**127 and np.isinf(scales[255])
    assert value_table(Int(8))[200] == 200
    assert np.array_equal(np.sort(table[np.isfinite(table)]), np.sort(finite_values(E4M3).astype(np.float32)))


blocks = st.lists(
    st.one_of(st.floats(-(2.0**100), 2.0**100, width=32), st.floats(-8, 8, width=32), st.just(0.0),
              st.builds(lambda s, e: s * 2.0**e, st.sampled_from((-1.0, 1.0, 1.9375, 1.97)), st.integers(-40, 20))),
    min_size=16, max_size=16)


@KINDS
@settings(max_examples=60, deadline=None)
@given(block=blocks)
def test_no_exponent_is_better_than_the_chosen_one(kind, block):
    values = np.array(block, dtype=np.float32)[None]
    codes, scales = quantise(values, kind)
    held = decode_mx(codes, scales, kind).astype(np.float64)
    assert np.isfinite(held).all()
    for first in range(0, 16, kind.block):
        part = values[0, first : first + kind.block].astype(np.float64)
        found = float(np.square(held[0, first : first + kind.block] - part).sum())
        tiny = 1e-70  # what underflows f32 in either is no matter
        assert found <= least_error(part, kind) * (1 + 1e-6) + tiny


@KINDS
def test_what_the_machine_can_hold_stays_as_it_is(kind):
    table = value_table(kind.elem)
    held = np.repeat(table[np.isfinite(table)], kind.block)[None] * np.float32(2.0**-9)
    assert np.array_equal(dequantised(held, kind), held)


def test_rounding_carries_into_the_exponent():
    block = np.array([[0.99, 1, 1.5, 0, 0, 0, 0, 0]], dtype=np.float32)
    assert dequantised(block, E4M3)[0].tolist() == [1, 1, 1.5, 0, 0, 0, 0, 0]
    # Just under the top of the binade: clipped at 240 it would be a far worse 1.875.
    assert decode_mx(*quantise(np.full((1, 8), 1.999, np.float32), E4M3), E4M3)[0, 0] == 2.0


def test_bytes_of_a_tensor():
    values = np.zeros((3, 16), dtype=np.float32)
    values[1, 8:] = 1
    data = quantised_bytes(values, E4M3)
    assert len(data) == 3 * 16 * 9 // 8
    assert data[48:] == bytes([0, 0, 0, data[51], 0, 0]) and data[51] != 0


@pytest.mark.parametrize("values, message", [
    (np.zeros((2, 12)), "12 columns are no whole blocks of 8"),
    (np.full((1, 8), np.nan), "infinite or no number"),
    (np.full((1, 8), np.inf), "infinite or no number"),
])  # fmt: skip
def test_what_cannot_be_quantised(values, message):
    with pytest.raises(EmuError, match=message):
        quantise(values.astype(np.float32), E4M3)


@pytest.mark.parametrize("kind", [
    Plain(Fp(True, 8, 7)), Mx(Int(8), Fp(False, 8, 0), 8), Mx(Fp(True, 2, 1), Fp(False, 8, 0), 8),
    Mx(Fp(True, 4, 3), Fp(False, 4, 4), 8),
], ids=str)
def test_types_without_a_byte_an_element(kind):
    with pytest.raises(EmuError, match="expected MX of 8-bit floats with e8m0 scales"):
        quantise(np.zeros((1, 8), np.float32), kind)


@settings(max_examples=200, deadline=None)
@given(block=st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.floats(-2, 2, width=32)), min_size=8, max_size=8))
def test_stored_rows_are_encoded_as_the_oracle_does(block):
    values = np.array(block, dtype=np.float32)
    codes, scales = encode_stored(values[None], E4M3)
    expected = numerics_encode(values)
    assert (codes[0].tolist(), scales[0].tolist()) == expected
    assert np.array_equal(round_stored(values[None, :], E4M3), decode_mx(codes, scales, E4M3))


def numerics_encode(values):
    """Codes and scales of a row by `oracle.numerics`."""
    form = numerics.Format(numerics.fp(1, 4, 3), numerics.fp(0, 8, 0), 8)
    codes, scales = numerics.encode_mx(form, values, "base")
    return codes.tolist(), scales.tolist()


def test_rows_that_are_no_whole_blocks():
    values = np.linspace(-1, 1, 5, dtype=np.float32)[None]
    padded = np.pad(values, ((0, 0), (0, 3)))
    assert np.array_equal(round_stored(values, E4M3), round_stored(padded, E4M3)[:, :5])


def test_bf16():
    values = np.array([1.00390625, 1.01171875, -3.3, 0, 1e-40, 3.4e38], dtype=np.float32)
    assert round_bf16(values)[:2].tolist() == [1.0, 1.015625]
    found = round_bf16(values)
    assert ((found.view("<u4") & 0xFFFF) == 0).all() and np.abs(found[2] - values[2]) < 0.01 and np.isinf(found[5])
