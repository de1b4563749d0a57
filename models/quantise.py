"""The quantiser of the HBM image: f32 to MX blocks with the best exponent (spec §9.2), on what §2.2 decodes.

Unlike H_STORE_V it rounds to nearest even with carry. It works on any block of rows, so an image can be written in one
streaming pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from plena_emu.errors import EmuError

from .number_formats import check_mx, decode_mx, value_table

if TYPE_CHECKING:
    from plena_emu.config.settings import Mx, Plain

_CHUNK = 1 << 18  # elements that are worked on at a time: their arrays stay near the cache
# Exponents tried, from the one that just holds a block's largest element: a clipped element asks for the next, one
# below the normals can meet a code by chance at any.
_IF_CLIPPED = (0, 1)
_IF_SMALL = tuple(sorted(range(-2, 17), key=abs))


def quantise(values: np.ndarray, kind: Mx | Plain) -> tuple[np.ndarray, np.ndarray]:
    """Quantise rows to MX, the exponent of each block chosen for the smallest squared error (§9.2).

    Parameters
    ----------
    values : f32 array
        `[rows, columns]`, columns whole blocks.
    kind : Mx
        Elements of 8 bits, e8m0 scales.

    Returns
    -------
    tuple of u8 arrays
        Codes `[rows, columns]` and scale bytes `[rows, columns / block]`. A block of zeros has scale byte 0.

    Raises
    ------
    EmuError
        The type is not supported, the columns are no whole blocks, or a value is no finite number.
    """
    mx, _ = check_mx(kind, "HBM_M_WEIGHT_TYPE")
    rows, columns = values.shape
    if columns % mx.block:
        raise EmuError(f"{columns} columns are no whole blocks of {mx.block} elements")
    blocks = np.ascontiguousarray(values, dtype=np.float32).reshape(-1, mx.block)
    codes = np.empty(blocks.shape, dtype=np.uint8)
    scales = np.empty(len(blocks), dtype=np.uint8)
    step = max(1, _CHUNK // mx.block)
    for first in range(0, len(blocks), step):
        part = slice(first, first + step)
        codes[part], scales[part] = _quantise_blocks(blocks[part], mx)
    return codes.reshape(rows, columns), scales.reshape(rows, columns // mx.block)


def quantised_bytes(values: np.ndarray, kind: Mx | Plain) -> bytes:
    """Quantise a whole tensor as it lies in the HBM: element bytes, then scale bytes (§9.3).

    Returns
    -------
    bytes
        rows · columns · (1 + 1 / block).
    """
    codes, scales = quantise(values, kind)
    return codes.tobytes() + scales.tobytes()


def dequantised(values: np.ndarray, kind: Mx | Plain) -> np.ndarray:
    """Round values to what the HBM image holds of them.

    Parameters
    ----------
    values : f32 array
        `[rows, columns]`; columns that are no whole blocks count as padded with zeros.
    kind : Mx

    Returns
    -------
    f32 array
        Of the same shape.
    """
    mx, _ = check_mx(kind, "HBM_M_WEIGHT_TYPE")
    columns = values.shape[1]
    padded = np.pad(values, ((0, 0), (0, -columns % mx.block)))
    return decode_mx(*quantise(padded, mx), mx)[:, :columns]


def _quantise_blocks(blocks, kind):
    """Codes and scale bytes of blocks `[n, block]`.

    Another exponent can only be better where the largest element is clipped or one lies below the normals: a power of
    two moves all the others from code to code without changing their errors.
    """
    largest = _largest(np.abs(blocks))
    if not np.isfinite(largest).all():
        raise EmuError("a value to quantise is infinite or no number")
    limit = _exponent_limit(kind)
    power = np.frexp(largest)[1] - 1 - _top(kind.elem)
    power = np.clip(power, 1 - limit, limit)
    codes, clipped, small = _encode(blocks, power, kind.elem)
    for again, steps in ((clipped & ~small, _IF_CLIPPED), (small, _IF_SMALL)):
        if again.any():
            codes[again], power[again] = _best(blocks[again], power[again], kind, steps)
    scales = (power + limit).astype(np.uint8)
    zero = ~_any(codes) | (largest == 0)
    codes[zero] = 0
    scales[zero] = 0
    return codes, scales


def _largest(magnitudes):
    """Maximum of each row, by halves: numpy is slow along a short last axis."""
    while magnitudes.shape[1] % 2 == 0:
        half = magnitudes.shape[1] // 2
        magnitudes = np.maximum(magnitudes[:, :half], magnitudes[:, half:])
    return magnitudes.max(axis=1) if magnitudes.shape[1] > 1 else magnitudes[:, 0]


def _any(flags):
    """Whether each row of bytes has one that is not 0, eight bytes at a time where rows allow it."""
    if flags.shape[1] % 8 == 0:
        flags = flags.view(np.uint64)
    return flags.any(axis=1) if flags.shape[1] > 1 else flags[:, 0] != 0


def _exponent_limit(kind):
    """Largest exponent of an e8m0 scale, 127; byte 0 is 0.0 and byte 255 Inf (§2.2)."""
    return (1 << kind.scale.exponent - 1) - 1


def _top(elem):
    """Exponent of the largest usable binade: that of all ones holds no numbers (§2.2)."""
    return (1 << elem.exponent) - 2 - ((1 << elem.exponent - 1) - 1)


def _best(blocks, power, kind, steps):
    """Codes and exponents with the smallest squared error; of equal ones the first tried."""
    limit = _exponent_limit(kind)
    table = value_table(kind.elem)
    best = np.full(len(blocks), np.inf)
    codes, chosen = np.zeros(blocks.shape, dtype=np.uint8), power.copy()
    for step in steps:
        tried = np.clip(power + step, 1 - limit, limit)
        made = _encode(blocks, tried, kind.elem)[0]
        held = table[made] * np.ldexp(1.0, tried)[:, None]
        error = np.square(held - blocks).sum(axis=1)
        better = error < best
        best[better], codes[better], chosen[better] = error[better], made[better], tried[better]
    return codes, chosen


def _encode(blocks, power, elem):
    """Nearest codes of blocks divided by 2^power, which blocks clip an element, and which have one below the normals.

    A normal's code is its f32 bits, rounded to nearest even at the last mantissa bit and moved to the element's bias;
    the carry is in the addition.
    """
    mantissa = elem.mantissa
    bias = (1 << elem.exponent - 1) - 1
    scaled = blocks * np.ldexp(np.float32(1), -power)[:, None]  # exact: a power of two
    bits = scaled.view(np.uint32)
    sign = (bits >> np.uint32(31) << np.uint32(elem.exponent + mantissa)).astype(np.uint8)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    cut = np.uint32(23 - mantissa)
    half = np.uint32((1 << 22 - mantissa) - 1)
    rounded = (magnitude + half + (magnitude >> cut & np.uint32(1)) >> cut).astype(np.int32)
    codes = rounded - ((127 - bias) << mantissa)
    most = ((1 << elem.exponent) - 1 << mantissa) - 1
    clipped = codes > most
    codes = np.minimum(codes, most)
    small = magnitude < np.uint32(127 + 1 - bias << 23)
    if small.any():
        codes[small] = _subnormal(np.abs(scaled[small]), mantissa, bias)
    codes = codes.astype(np.uint8) | np.where(codes == 0, np.uint8(0), sign)
    return codes, _any(clipped), _any(small & (magnitude != 0))


def _subnormal(magnitude, mantissa, bias):
    """Nearest codes below the normals: multiples of half the IEEE step (§2.2), then a gap, then the first normal."""
    step = np.float32(2.0 ** -(mantissa + bias))
    last = (1 << mantissa) - 1
    multiple = np.rint(magnitude / step)
    middle = (last + 2 * (last + 1)) / 2
    return np.where(magnitude / step > middle, last + 1, np.minimum(multiple, last)).astype(np.int32)
