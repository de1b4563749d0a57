"""Decoding eight 8-bit MX elements at once (spec §2.2, §2.4): what a prefetch spends its time on.

A signed float of 8 bits becomes f32 by moving its exponent and mantissa into place and multiplying by
a power of two; its subnormals (half of the IEEE value here) and its all-ones exponent are selected in.
"""

import numpy as np

from .floats import float_of
from .jit import JIT, kernel
from .layout import FMT_BITS, FMT_EXP, FMT_INT, FMT_MAN, FMT_SIGN

LANES = 8
INF_BITS = 0x7F800000
MAGNITUDE = 0x7F
SIGN = 0x80

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    from .blocks import F32, element_pointer, splat

    @intrinsic
    def decode_eight(typingctx, codes, at, mantissa, special, normal_scale, subnormal_scale, scale, out, o):
        """out[o : o + 8] = values of codes[at : at + 8] times `scale`.

        `mantissa` bits and `special`, the least magnitude with an all-ones exponent, are int64; the factors
        `normal_scale` = 2**(127 - bias) and `subnormal_scale` = 2**(-bias - mantissa), and `scale`, are f32.
        """
        signature = types.void(
            codes, at, mantissa, special, normal_scale, subnormal_scale, scale, out, o
        )
        word = ir.IntType(32)
        words = ir.VectorType(word, LANES)
        floats = ir.VectorType(F32, LANES)
        bytes_ = ir.VectorType(ir.IntType(8), LANES)

        def constant(value):
            return ir.Constant(words, [value] * LANES)

        def codegen(context, builder, sig, args):
            source = context.make_array(sig.args[0])(context, builder, args[0])
            target = context.make_array(sig.args[7])(context, builder, args[7])
            mantissa, special = (splat(builder, builder.trunc(args[i], word), LANES) for i in (2, 3))
            normal_scale, subnormal_scale, scale = (splat(builder, args[i], LANES) for i in (4, 5, 6))
            code = builder.zext(builder.load(element_pointer(builder, source, args[1], bytes_), align=1), words)
            magnitude = builder.and_(code, constant(MAGNITUDE))
            placed = builder.shl(magnitude, builder.sub(constant(23), mantissa))
            tiny = builder.icmp_signed("<", magnitude, builder.shl(constant(1), mantissa))
            # Subnormals as integers: f32 subnormals would slow the multiplication down.
            whole = builder.bitcast(builder.sitofp(magnitude, floats), words)
            factor = builder.select(tiny, subnormal_scale, normal_scale)
            value = builder.fmul(builder.bitcast(builder.select(tiny, whole, placed), floats), factor)
            bits = builder.bitcast(value, words)
            endless = builder.icmp_signed(">=", magnitude, special)
            bits = builder.select(endless, builder.or_(placed, constant(INF_BITS)), bits)
            bits = builder.or_(bits, builder.shl(builder.and_(code, constant(SIGN)), constant(24)))
            value = builder.fmul(builder.bitcast(bits, floats), scale)
            builder.store(value, element_pointer(builder, target, args[8], floats), align=4)
            return context.get_dummy_value()

        return signature, codegen

else:

    def decode_eight(codes, at, mantissa, special, normal_scale, subnormal_scale, scale, out, o):
        """The same in numpy, for runs without the compiler."""
        code = codes[at : at + LANES].astype(np.uint32)
        magnitude = code & MAGNITUDE
        placed = magnitude << np.uint32(23 - mantissa)
        value = np.where(
            magnitude < 1 << mantissa, magnitude.astype(np.float32) * subnormal_scale,
            placed.view(np.float32) * normal_scale,
        )
        bits = np.where(magnitude >= special, placed | INF_BITS, value.view(np.uint32)) | (code & SIGN) << 24
        out[o : o + LANES] = bits.astype(np.uint32).view(np.float32) * scale


@kernel
def fits_lanes(fmt, block):
    """Whether elements of format `fmt` in blocks of `block` can be decoded eight at a time."""
    return (
        fmt[FMT_INT] == 0 and fmt[FMT_BITS] == 8 and fmt[FMT_SIGN] == 1 and fmt[FMT_EXP] < 8 and block > 0
        and block % LANES == 0
    )


@kernel
def decode_lanes(hbm, element_at, scale_at, fmt, scale_table, n, block, out, o):
    """out[o : o + n] = `n` elements of format `fmt` times their blocks' scales, straight from HBM bytes."""
    mantissa = fmt[FMT_MAN]
    exp_bits = fmt[FMT_EXP]
    bias = (1 << (exp_bits - 1)) - 1
    special = ((1 << exp_bits) - 1) << mantissa
    normal_scale = float_of((254 - bias) << 23)
    subnormal_scale = float_of((127 - bias - mantissa) << 23)
    for b in range(n // block):
        scale = scale_table[hbm[scale_at + b]]
        for i in range(b * block, (b + 1) * block, LANES):
            decode_eight(
                hbm, element_at + i, mantissa, special, normal_scale, subnormal_scale, scale, out, o + i
            )
