"""Convert number formats: bits to f32 and back, MX blocks included (spec §2.1-§2.4)."""

import math

import numpy as np

from ..compiler.jit import kernel
from ..layout import FMT_BITS, FMT_EXP, FMT_INT, FMT_MAN, FMT_SIGN
from .floats import bits_of, float_of
from .mx_decode import fits_simd
from .mx_encode import SIMD_WIDTH, encode_eights, largest_of

SIGN = 0x80000000
MAGNITUDE = 0x7FFFFFFF
INF = 0x7F800000
QUIET_NAN = 0x7FC00000


@kernel
def decode_fp(bits, sign_bits, exp_bits, man_bits):
    """Decode a float code to f32 (§2.2)."""
    mantissa = bits & ((1 << man_bits) - 1)
    ones = (1 << exp_bits) - 1
    exponent = (bits >> man_bits) & ones
    sign = SIGN if sign_bits != 0 and (bits >> (man_bits + exp_bits)) & 1 else 0
    bias = (1 << (exp_bits - 1)) - 1
    if exponent == ones:
        return float_of(sign | (INF if mantissa == 0 else QUIET_NAN | mantissa << (23 - man_bits)))
    if exponent == 0 and mantissa == 0:
        return float_of(sign)
    if exponent == 0:
        if exp_bits == 8:
            return float_of(sign | mantissa << (23 - man_bits))
        # Half of the IEEE value: a convention of this machine's quantizer.
        value = np.float32(mantissa) * float_of((127 - bias - man_bits) << 23)
        return -value if sign else value
    return float_of(sign | (exponent - bias + 127) << 23 | mantissa << (23 - man_bits))


@kernel
def decode(bits, fmt):
    """Decode a code in format `fmt` (a row of the format table) to f32 (§2.2)."""
    if fmt[FMT_INT] != 0:
        return np.float32(bits)
    return decode_fp(bits, fmt[FMT_SIGN], fmt[FMT_EXP], fmt[FMT_MAN])


@kernel
def read_code(data, first_bit, width):
    """Read `width` bits of a byte array from bit `first_bit`, low bits first (§2.1)."""
    code = 0
    got = 0
    while got < width:
        bit = first_bit + got
        take = min(8 - (bit & 7), width - got)
        code |= ((np.int64(data[bit >> 3]) >> (bit & 7)) & ((1 << take) - 1)) << got
        got += take
    return code


@kernel
def write_code(data, first_bit, width, code):
    """Put `width` bits into a byte array at bit `first_bit`, low bits first (§2.1)."""
    if width == 8 and first_bit & 7 == 0:
        data[first_bit >> 3] = code
        return
    put = 0
    while put < width:
        bit = first_bit + put
        take = min(8 - (bit & 7), width - put)
        mask = ((1 << take) - 1) << (bit & 7)
        data[bit >> 3] = (np.int64(data[bit >> 3]) & ~mask) | (((code >> put) << (bit & 7)) & mask)
        put += take


@kernel
def round_bits(bits, man_bits):
    """Round the mantissa of f32 bits to `man_bits`, ties to even (§2.3); the result is f32 bits.

    A carry into an all-ones exponent is Inf. A NaN whose rounded mantissa is 0 or carries out is Inf.
    """
    drop = 23 - man_bits
    if drop == 0:
        return bits
    magnitude = bits & MAGNITUDE
    rounded = (magnitude + (1 << (drop - 1)) - 1 + ((magnitude >> drop) & 1)) >> drop << drop
    if rounded > MAGNITUDE:
        rounded = INF
    return (bits & SIGN) | rounded


@kernel
def round_row(words, first, count, man_bits):
    """Round `count` f32 (seen as uint32) in place to `man_bits` mantissa bits (§2.3)."""
    if man_bits == 23:
        return
    for i in range(first, first + count):
        words[i] = round_bits(np.int64(words[i]), man_bits)


@kernel
def round_bf16(x):
    """Round an f32 to bf16 precision, ties to even; a NaN stays a quiet NaN (§2.3, scalar registers)."""
    if x != x:
        return float_of(bits_of(x) & 0xFFFF0000 | QUIET_NAN)
    return float_of(round_bits(bits_of(x), 7))


@kernel
def floor_log2(x):
    """Compute floor(log2(x + 1e-9)) in f32 arithmetic, as a saturating integer (§2.4)."""
    y = np.float32(x) + np.float32(1e-9)
    if y != y:
        return 0
    if y > np.float32(3.4028235e38):
        return 1 << 31
    bits = bits_of(y)
    if bits & 0x7FFFFF < 0x7FFF00:
        return (bits >> 23) - 127
    # The f32 log2 of a value just under a power of two may round up to it.
    return np.int64(math.floor(np.float32(math.log2(np.float64(y)))))


@kernel
def power_of_two(exponent):
    """Compute 2**exponent as f32, -127 <= exponent <= 127."""
    if exponent == -127:
        return float_of(1 << 22)
    return float_of((exponent + 127) << 23)


@kernel
def round_mantissa(s, moe):
    """Round a scaled mantissa to an integer, as f32 (§2.4): the rule of each revision."""
    if moe != 0:
        s = np.float32(math.floor(s * np.float32(4.0))) / np.float32(4.0)
        whole = np.float32(math.floor(s))
        rest = s - whole
        up = rest > np.float32(0.5) or (rest == np.float32(0.5) and np.int64(whole) & 1 == 1)
        return whole + np.float32(1.0) if up else whole
    # Half away from zero; s is not negative where it matters (negative becomes 0).
    whole = np.float32(math.floor(s))
    return whole + np.float32(1.0) if s - whole >= np.float32(0.5) else whole


@kernel
def encode_element(x, fmt, moe):
    """Encode one scaled element (§2.4). There is no carry from mantissa into exponent."""
    if fmt[FMT_INT] != 0:
        return encode_int(x, fmt[FMT_BITS])
    if x == np.float32(0.0):
        return 0
    man_bits = fmt[FMT_MAN]
    bias = (1 << (fmt[FMT_EXP] - 1)) - 1
    emax = (1 << fmt[FMT_EXP]) - 2 - bias
    magnitude = abs(x)
    e = floor_log2(magnitude)
    overflow = e > emax
    e = max(-bias, min(e, emax))
    top = (1 << man_bits) - 1
    code = 0
    if overflow:
        code = top
    else:
        q = magnitude / power_of_two(e)
        if e != -bias:
            q -= np.float32(1.0)
        s = q * np.float32(1 << man_bits)
        # A NaN and anything negative become 0; the comparison keeps huge values from the cast.
        if s >= np.float32(top):
            code = top
        elif s > np.float32(0.0):
            code = min(top, np.int64(round_mantissa(s, moe)))
    code |= (e + bias) << man_bits
    if x < np.float32(0.0) and fmt[FMT_SIGN] != 0:
        code |= 1 << (man_bits + fmt[FMT_EXP])
    return code


@kernel
def encode_int(x, width):
    """Encode an integer element: toward zero, saturating, low `width` bits (§2.4)."""
    if x != x:
        return 0
    value = np.int64(max(np.float64(-2147483648.0), min(np.float64(x), np.float64(2147483647.0))))
    return value & ((1 << width) - 1)


@kernel
def block_scale(values, first, count, scale_exp_bits):
    """Compute the exponent p of a block's scale 2**p (§2.4).

    Returns -1000 when every element is 0 (or NaN).
    """
    vectors = count // SIMD_WIDTH
    largest = largest_of(values, first, vectors)
    for i in range(first + vectors * SIMD_WIDTH, first + count):
        magnitude = abs(values[i])
        if magnitude > largest:
            largest = magnitude
    if largest == np.float32(0.0):
        return -1000
    bound = (1 << (scale_exp_bits - 1)) - 1
    return max(-bound, min(floor_log2(largest), bound))


@kernel
def encode_block(values, first, count, fmt, scale_fmt, moe, elements, element_bit, scales, scale_bit):
    """Encode one MX block of f32 into packed element and scale codes (§2.4).

    Parameters
    ----------
    values : float32[:]
        Row; the block is `values[first : first + count]`.
    fmt, scale_fmt : int64[FMT_WIDTH]
        Formats of elements and scale.
    moe : int
        1 selects the rounding of the moe revision.
    elements, scales : uint8[:]
        Packed outputs, written from bit `element_bit` and `scale_bit`.
    """
    p = block_scale(values, first, count, scale_fmt[FMT_EXP])
    bound = (1 << (scale_fmt[FMT_EXP] - 1)) - 1
    code = 0 if p <= -bound else p + bound
    write_code(scales, scale_bit, scale_fmt[FMT_BITS], code << scale_fmt[FMT_MAN])
    width = fmt[FMT_BITS]
    if p != -1000 and fits_simd(fmt, count) and element_bit & 7 == 0:
        # Times 2**-p is divided by 2**p: both are exact powers.
        strange = encode_eights(
            values, first, count // SIMD_WIDTH, power_of_two(-p), fmt[FMT_MAN], fmt[FMT_EXP], moe, elements,
            element_bit >> 3,
        )
        if strange == 0:
            return
    for i in range(count):
        code = 0
        if p != -1000:
            code = encode_element(values[first + i] / power_of_two(p), fmt, moe)
        write_code(elements, element_bit + i * width, width, code)


@kernel
def encode_plain(x, fmt):
    """Encode an f32 in a plain type (§2.3): 8-bit exponents; integers truncate toward zero."""
    if fmt[FMT_INT] != 0:
        return encode_int(x, fmt[FMT_BITS])
    return round_bits(bits_of(x), fmt[FMT_MAN]) >> (23 - fmt[FMT_MAN])
