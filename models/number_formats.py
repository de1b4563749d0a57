"""The machine's number formats in numpy: decoding (spec §2.2), the stored cache's rounding (§2.4), bf16 (§2.3).

Independent of the emulator's kernels: the check of a build stands on it.
"""

from __future__ import annotations

import functools

import numpy as np

from plena_emu.config.settings import Fp, Int, Mx, Plain
from plena_emu.errors import EmuError

_TINY = np.float32(1e-9)  # added before every log2 (§2.4)


@functools.cache
def value_table(kind: Fp | Int) -> np.ndarray:
    """List the value of every code of a type of at most 8 bits (§2.2).

    Returns
    -------
    f32 array
        Of 2^bits values, read-only.
    """
    codes = np.arange(1 << kind.size_in_bits)
    if isinstance(kind, Int):
        values = codes.astype(np.float32)
    else:
        bias = (1 << kind.exponent - 1) - 1
        fraction = (codes & (1 << kind.mantissa) - 1) / (1 << kind.mantissa)
        exponent = codes >> kind.mantissa & (1 << kind.exponent) - 1
        subnormal = fraction * 2.0 ** ((1 if kind.exponent == 8 else 0) - bias)
        values = np.where(exponent == 0, subnormal, (1 + fraction) * 2.0 ** (exponent - bias))
        values[exponent == (1 << kind.exponent) - 1] = np.nan
        values[(exponent == (1 << kind.exponent) - 1) & (fraction == 0)] = np.inf
        if kind.sign:
            values = np.where(codes >> kind.exponent + kind.mantissa, -values, values)
        values = values.astype(np.float32)
    values.flags.writeable = False
    return values


def decode_plain(data: np.ndarray, kind: Fp | Int) -> np.ndarray:
    """Decode packed values of a vector SRAM type: bf16 or f32 (§2.2).

    Parameters
    ----------
    data : u8 array
        `[…, bytes]`.
    kind : Fp or Int

    Returns
    -------
    f32 array
        `[…, values]`.

    Raises
    ------
    EmuError
        The type is neither.
    """
    width = kind.size_in_bits // 8
    if str(kind) not in ("e8m7", "e8m23"):
        raise EmuError(f"vector SRAM type {kind}: expected bf16 or f32")
    packed = np.ascontiguousarray(data)
    if width == 4:
        return packed.view("<f4")
    return (packed.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


def round_bf16(values: np.ndarray) -> np.ndarray:
    """Round to bf16, to nearest and ties to even (§2.3).

    Returns
    -------
    f32 array
        Of the same shape.
    """
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def check_mx(kind: Mx | Plain, what: str) -> tuple[Mx, Fp]:
    """Refuse a type whose elements are no 8-bit floats or whose scales are not e8m0.

    Returns
    -------
    tuple of Mx and Fp
        The type and that of its elements.

    Raises
    ------
    EmuError
        With `what` as the name of the type's place.
    """
    if isinstance(kind, Mx) and isinstance(kind.elem, Fp) and kind.elem.size_in_bits == 8 and kind.elem.sign \
            and kind.scale == Fp(False, 8, 0):
        return kind, kind.elem
    raise EmuError(f"{what}: {kind} is not supported, expected MX of 8-bit floats with e8m0 scales")


def decode_mx(codes: np.ndarray, scales: np.ndarray, kind: Mx) -> np.ndarray:
    """Decode MX elements (§2.2).

    Parameters
    ----------
    codes : u8 array
        `[…, columns]`.
    scales : u8 array
        `[…, columns / block]`.
    kind : Mx

    Returns
    -------
    f32 array
        `[…, columns]`.
    """
    elements = value_table(kind.elem)[codes].reshape(*scales.shape, kind.block)
    with np.errstate(invalid="ignore"):  # the image may hold foreign bytes: 0 · Inf is NaN, as in the machine
        return (elements * value_table(kind.scale)[scales][..., None]).reshape(codes.shape)


def decode_region(data: np.ndarray, rows: int, columns: int, kind: Mx | Plain) -> np.ndarray:
    """Decode an HBM tensor: `rows` × `columns` element bytes, then their scale bytes (§9.3).

    Returns
    -------
    f32 array
        `[rows, columns]`.
    """
    mx, _ = check_mx(kind, "HBM_M_KV_TYPE")
    count = rows * columns
    codes = np.asarray(data[:count]).reshape(rows, columns)
    scales = np.asarray(data[count : count + count // mx.block]).reshape(rows, columns // mx.block)
    return decode_mx(codes, scales, mx)


def round_stored(values: np.ndarray, kind: Mx | Plain) -> np.ndarray:
    """Round rows as H_STORE_V does in the base revision, and decode them again (§2.4).

    Parameters
    ----------
    values : f32 array
        `[…, columns]`; columns that are no whole blocks count as padded with zeros.
    kind : Mx

    Returns
    -------
    f32 array
        Of the same shape.
    """
    mx, _ = check_mx(kind, "HBM_V_KV_TYPE")
    columns = values.shape[-1]
    spare = -columns % mx.block
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, spare)]).astype(np.float32)
    return decode_mx(*encode_stored(padded, mx), mx)[..., :columns]


def encode_stored(values: np.ndarray, kind: Mx | Plain) -> tuple[np.ndarray, np.ndarray]:
    """Encode rows as H_STORE_V does in the base revision (§2.4): half away from zero, no carry into the exponent.

    Parameters
    ----------
    values : f32 array
        `[…, columns]`, finite, whole blocks.
    kind : Mx

    Returns
    -------
    tuple of u8 arrays
        Codes `[…, columns]` and scale bytes `[…, columns / block]`.
    """
    mx, elem = check_mx(kind, "HBM_V_KV_TYPE")
    blocks = values.reshape(*values.shape[:-1], -1, mx.block).astype(np.float32)
    magnitude = np.abs(blocks)
    largest = magnitude.max(axis=-1)
    limit = (1 << 8 - 1) - 1  # of an e8m0 scale
    power = np.clip(_floor_log2(largest), -limit, limit)
    power[largest == 0] = -limit
    magnitude = np.ldexp(magnitude, -power[..., None])

    exponent_bits, mantissa = elem.exponent, elem.mantissa
    bias = (1 << exponent_bits - 1) - 1
    top = (1 << exponent_bits) - 2 - bias
    exponent = _floor_log2(magnitude)
    overflow = exponent > top
    exponent = np.clip(exponent, -bias, top)
    quotient = np.ldexp(magnitude, -exponent)
    steps = np.where(exponent != -bias, quotient - np.float32(1), quotient) * np.float32(1 << mantissa)
    most = (1 << mantissa) - 1
    rounded = np.where(overflow, most, np.clip(np.floor(steps + np.float32(0.5)), 0, most)).astype(np.int32)
    sign = (blocks < 0).astype(np.int32) << exponent_bits + mantissa
    codes = np.where(magnitude == 0, 0, sign | exponent + bias << mantissa | rounded)
    codes[largest == 0] = 0
    return codes.astype(np.uint8).reshape(values.shape), (power + limit).astype(np.uint8)


def _floor_log2(values):
    """floor(log2(v + 1e-9)) with a log2 rounded to f32, so that a value just under a power of two may reach it."""
    return np.floor(np.log2((values + _TINY).astype(np.float64)).astype(np.float32)).astype(np.int32)
