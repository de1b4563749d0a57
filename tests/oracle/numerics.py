"""Number formats of the machine (spec chapter 2) in numpy: packing, decoding, encoding.

Codes are int64 arrays of raw bit patterns, values are float32 arrays. The arithmetic of encoders is
done in float32 where §2.4 says so and in float64 where that cannot change a result.
"""

from dataclasses import dataclass

import numpy as np

F32 = np.float32
BF16_NAN = 0x7FC0


@dataclass(frozen=True)
class DataType:
    """One data type of the settings file (§2.1): a float format, or an unsigned integer."""

    integer: bool
    sign: int
    exponent: int
    mantissa: int
    width: int

    @property
    def bits(self) -> int:
        return self.width if self.integer else self.sign + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent - 1) - 1


@dataclass(frozen=True)
class Format:
    """`Plain` (scale is None, block 0) or `Mx` type (§2.1)."""

    elem: DataType
    scale: DataType | None = None
    block: int = 0

    @property
    def ratio(self) -> int:
        return 1 if self.scale is None else self.elem.bits * self.block // self.scale.bits


def fp(sign: int, exponent: int, mantissa: int) -> DataType:
    return DataType(False, int(sign), exponent, mantissa, 0)


def integer(width: int) -> DataType:
    return DataType(True, 0, 0, 0, width)


BF16 = fp(1, 8, 7)


def parse_data_type(table: dict) -> DataType:
    if table["type"] == "Int":
        return integer(table["width"])
    return fp(table["sign"], table["exponent"], table["mantissa"])


def parse_format(table: dict) -> Format:
    if table["format"] == "Plain":
        return Format(parse_data_type(table["DATA_TYPE"]))
    return Format(parse_data_type(table["ELEM"]), parse_data_type(table["SCALE"]), table["block"])


# --- packing (§2.1) -------------------------------------------------------------------------


def unpack_codes(raw: bytes, bits: int, count: int) -> np.ndarray:
    """First `count` codes of `bits` bits each, low bits first; missing bytes are 0."""
    raw = raw[: (count * bits + 7) // 8]
    stream = np.zeros(count * bits, dtype=np.int64)
    found = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), bitorder="little")[: count * bits]
    stream[: len(found)] = found
    return stream.reshape(count, bits) @ (np.int64(1) << np.arange(bits, dtype=np.int64))


def pack_codes(codes: np.ndarray, bits: int) -> bytes:
    """Codes of `bits` bits each as bytes, low bits first, the last byte filled up with zeros."""
    stream = (np.asarray(codes, dtype=np.int64)[:, None] >> np.arange(bits)) & 1
    return np.packbits(stream.astype(np.uint8).ravel(), bitorder="little").tobytes()


# --- bits -> f32 (§2.2) ---------------------------------------------------------------------


def decode(dtype: DataType, codes: np.ndarray) -> np.ndarray:
    """float32 value of every code."""
    codes = np.asarray(codes, dtype=np.int64)
    if dtype.integer:
        return codes.astype(F32)
    e_bits, m_bits = dtype.exponent, dtype.mantissa
    mantissa = codes & ((1 << m_bits) - 1)
    exponent = (codes >> m_bits) & ((1 << e_bits) - 1)
    negative = ((codes >> (m_bits + e_bits)) & 1 if dtype.sign else np.zeros_like(codes)).astype(np.int64)
    if e_bits == 8:  # bf16, f32, e8m0, ...: the leading bits of an f32
        word = (negative << 31) | (exponent << 23) | (mantissa << (23 - m_bits))
        return word.astype(np.uint32).view(F32)
    fraction = mantissa / 2.0**m_bits
    value = (1.0 + fraction) * 2.0 ** (exponent - dtype.bias).astype(np.float64)
    # Subnormals count half of what IEEE gives them: 2^-bias instead of 2^(1-bias).
    value = np.where(exponent == 0, fraction * 2.0**-dtype.bias, value)
    special = np.where(mantissa == 0, np.inf, np.nan)
    value = np.where(exponent == (1 << e_bits) - 1, special, value)
    return np.where(negative == 1, -value, value).astype(F32)


# --- f32 -> bits of a plain type (§2.3) -----------------------------------------------------


def encode_plain(dtype: DataType, values: np.ndarray) -> np.ndarray:
    """Code of every float32 for a float type with 8 exponent bits.

    Raises ValueError for any other type.
    """
    if dtype.integer or dtype.exponent != 8:
        raise ValueError(f"plain encoding needs 8 exponent bits: {dtype}")
    word = np.ascontiguousarray(values, dtype=F32).view(np.uint32).astype(np.int64)
    negative, exponent, mantissa = word >> 31, (word >> 23) & 0xFF, word & 0x7FFFFF
    cut = 23 - dtype.mantissa
    kept, rest = mantissa >> cut, mantissa & ((1 << cut) - 1)
    half = (1 << cut) >> 1
    up = (rest > half) | ((rest == half) & (kept & 1 == 1)) if cut else np.zeros_like(word, dtype=bool)
    kept = kept + up
    carry = kept >> dtype.mantissa
    kept = np.where(carry == 1, 0, kept)
    exponent = np.minimum(exponent + carry, 255)
    code = (exponent << dtype.mantissa) | kept
    if dtype.sign:
        code |= negative << (8 + dtype.mantissa)
    return code


def round_plain(dtype: DataType, values: np.ndarray) -> np.ndarray:
    """What a row holds after it was stored in an SRAM of this type."""
    return decode(dtype, encode_plain(dtype, values))


def to_bf16(value) -> np.float32:
    """A scalar register's value (§2.3, last paragraph): nearest bf16, ties to even, NaN stays NaN."""
    value = F32(value)
    if np.isnan(value):
        return F32(np.nan)
    return round_plain(BF16, np.array([value]))[0]


def canonical(dtype: DataType, raw: bytes) -> bytes:
    """Packed codes of a float type with every NaN made the same: sign and payload are free."""
    raw = raw.ljust(-(-len(raw) // dtype.bits) * dtype.bits, b"\0")  # whole codes
    codes = unpack_codes(raw, dtype.bits, len(raw) * 8 // dtype.bits)
    top = ((1 << dtype.exponent) - 1) << dtype.mantissa
    magnitude = codes & ((1 << (dtype.exponent + dtype.mantissa)) - 1)
    codes[magnitude > top] = top | 1 << (dtype.mantissa - 1)
    return pack_codes(codes, dtype.bits)


def canonical_bf16(raw: bytes) -> bytes:
    """The bytes with every aligned bf16 NaN replaced by 0x7FC0."""
    even = len(raw) // 2 * 2
    words = np.frombuffer(raw[:even], dtype="<u2").copy()
    words[(words & 0x7FFF) > 0x7F80] = BF16_NAN
    return words.tobytes() + raw[even:]


# --- f32 -> MX block (§2.4) -----------------------------------------------------------------


def log2_f32(values: np.ndarray) -> np.ndarray:
    """log2 rounded to float32, so that a value just under a power of two may reach it."""
    with np.errstate(all="ignore"):
        return np.log2(np.asarray(values, dtype=F32).astype(np.float64)).astype(F32)


def _floor_log2(values: np.ndarray) -> np.ndarray:
    """floor(log2(v + 1e-9)) as int64; the cast saturates and makes a NaN 0."""
    exponent = np.floor(log2_f32(values + F32(1e-9))).astype(np.float64)
    exponent = np.where(np.isnan(exponent), 0.0, exponent)
    return np.clip(exponent, -(2.0**31), 2.0**31 - 1).astype(np.int64)


def _power_of_two(exponent) -> np.ndarray:
    return (2.0 ** np.asarray(exponent, dtype=np.float64)).astype(F32)


def round_significand(s: np.ndarray, revision: str) -> np.ndarray:
    """Integer significand of an element: the rounding that differs between the revisions."""
    s = s.astype(np.float64)
    if revision == "base":
        return np.copysign(np.floor(np.abs(s) + 0.5), s)
    return np.rint(np.floor(4.0 * s) / 4.0)


def encode_integer(dtype: DataType, values: np.ndarray) -> np.ndarray:
    """Integer codes: toward zero, saturating at 32 bits signed, a NaN is 0, then the low bits."""
    with np.errstate(invalid="ignore"):
        whole = np.trunc(np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=2.0**31, neginf=-(2.0**31)))
    whole = np.clip(whole, -(2.0**31), 2.0**31 - 1).astype(np.int64)
    return whole & ((1 << dtype.width) - 1)


def encode_mx_element(dtype: DataType, values: np.ndarray, revision: str) -> np.ndarray:
    """Code of every (already scaled) element."""
    if dtype.integer:
        return encode_integer(dtype, values)
    bias, m_bits = dtype.bias, dtype.mantissa
    emax = 2**dtype.exponent - 2 - bias
    with np.errstate(all="ignore"):
        magnitude = np.abs(values)
        e = _floor_log2(magnitude)
        overflow = e > emax
        e = np.clip(e, -bias, emax)
        q = magnitude / _power_of_two(e)
        s = np.where(e != -bias, q - F32(1), q) * F32(2**m_bits)
        s = round_significand(s, revision)
    s = np.clip(np.nan_to_num(s, nan=0.0, posinf=2.0**31), 0, 2**m_bits - 1).astype(np.int64)
    s = np.where(overflow, 2**m_bits - 1, s)
    code = ((e + bias) << m_bits) | s
    code |= (values < 0).astype(np.int64) << (dtype.exponent + m_bits)
    return np.where(values == 0, 0, code)


def encode_mx(fmt: Format, row: np.ndarray, revision: str) -> tuple[np.ndarray, np.ndarray]:
    """Element codes and scale codes of one row whose length is a multiple of the block."""
    limit = 2 ** (fmt.scale.exponent - 1) - 1
    blocks = np.asarray(row, dtype=F32).reshape(-1, fmt.block)
    peak = np.max(np.where(np.isnan(blocks), F32(0), np.abs(blocks)), axis=1)
    p = np.clip(_floor_log2(peak), -limit, limit)
    with np.errstate(all="ignore"):
        scaled = blocks / _power_of_two(p)[:, None]
    elements = encode_mx_element(fmt.elem, scaled, revision)
    elements = np.where(peak[:, None] == 0, 0, elements)
    scales = np.where((peak == 0) | (p == -limit), 0, p + limit)
    return elements.ravel(), scales << fmt.scale.mantissa


def encode_row(fmt: Format, row: np.ndarray, revision: str) -> tuple[bytes, bytes]:
    """Element bytes and scale bytes of a row as H_STORE_V writes them; no scale bytes for a plain type."""
    if fmt.scale is None:
        encode = encode_integer if fmt.elem.integer else encode_plain
        return pack_codes(encode(fmt.elem, row), fmt.elem.bits), b""
    elements, scales = encode_mx(fmt, row, revision)
    return pack_codes(elements, fmt.elem.bits), pack_codes(scales, fmt.scale.bits)


def decode_row(fmt: Format, elements: bytes, scales: bytes, count: int) -> np.ndarray:
    """`count` values of a row from its element and scale bytes (§3.2, data)."""
    values = decode(fmt.elem, unpack_codes(elements, fmt.elem.bits, count))
    if fmt.scale is None:
        return values
    factors = decode(fmt.scale, unpack_codes(scales, fmt.scale.bits, count // fmt.block))
    with np.errstate(all="ignore"):
        return (values.reshape(-1, fmt.block) * factors[:, None]).ravel()
