"""Encode eight 8-bit MX elements at once (spec §2.4): what a store spends its time on.

`numerics.encode_block` is the rule, for any format; it calls this where it applies.
"""

import numpy as np

from ..compiler.jit import JIT

SIMD_WIDTH = 8
MAGNITUDE = 0x7FFFFFFF
FRACTION = 0x7FFFFF
NEAR_NEXT = 0x7FFF00  # from this fraction on the f32 log2 may round up to the next integer
INF = 0x7F800000
LOG_OFFSET = np.float32(1e-9)

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import F32, element_pointer, reduced, splat

    _I32 = ir.IntType(32)
    _WORDS = ir.VectorType(_I32, SIMD_WIDTH)
    _FLOATS = ir.VectorType(F32, SIMD_WIDTH)

    def _constant(value):
        return ir.Constant(_WORDS, [value] * SIMD_WIDTH)

    def _eight(builder, array, first, number):
        """Values number * 8 to number * 8 + 7 from `first` on."""
        ahead = builder.mul(number, ir.Constant(first.type, SIMD_WIDTH))
        return builder.load(element_pointer(builder, array, builder.add(first, ahead), _FLOATS), align=4)

    @intrinsic
    def largest_of(typingctx, values, first, vectors):
        """Largest magnitude of `vectors` times eight f32, NaN ignored."""
        signature = types.float32(values, first, vectors)

        def codegen(context, builder, sig, args):
            source = context.make_array(sig.args[0])(context, builder, args[0])
            best = cgutils.alloca_once_value(builder, _constant(0))
            with cgutils.for_range(builder, args[2]) as loop:
                bits = builder.bitcast(_eight(builder, source, args[1], loop.index), _WORDS)
                magnitude = builder.and_(bits, _constant(MAGNITUDE))
                number = builder.icmp_signed("<=", magnitude, _constant(INF))
                magnitude = builder.select(number, magnitude, _constant(0))
                old = builder.load(best)  # magnitudes are in the order of their bits
                builder.store(builder.select(builder.icmp_signed(">", magnitude, old), magnitude, old), best)
            return builder.bitcast(reduced(builder, "smax", builder.load(best)), F32)

        return signature, codegen

    @intrinsic
    def encode_eights(typingctx, values, first, vectors, factor, mantissa, exponent, moe, codes, o):
        """Encode values[first : first + n] times `factor` to codes[o : o + n], n = 8 * vectors.

        Returns 0, or another int64 where some value is not a number or so near a power of two that its logarithm
        decides: the codes are not right then.
        """
        signature = types.int64(values, first, vectors, factor, mantissa, exponent, moe, codes, o)

        def codegen(context, builder, sig, args):
            source, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 7))
            mantissa, exponent, moe = (builder.trunc(args[i], _I32) for i in (4, 5, 6))
            one = ir.Constant(_I32, 1)
            bias = builder.sub(builder.shl(one, builder.sub(exponent, one)), one)
            emax = builder.sub(builder.sub(builder.shl(one, exponent), ir.Constant(_I32, 2)), bias)
            top = builder.sub(builder.shl(one, mantissa), one)
            rounding = splat(builder, builder.sub(one, moe), SIMD_WIDTH)
            least, most, offset = (splat(builder, x, SIMD_WIDTH) for x in (builder.neg(bias), emax, bias))
            width, last = splat(builder, mantissa, SIMD_WIDTH), splat(builder, top, SIMD_WIDTH)
            limit = builder.sitofp(last, _FLOATS)
            places = builder.sitofp(builder.add(last, _constant(1)), _FLOATS)
            factor = splat(builder, args[3], SIMD_WIDTH)
            zero, unit = ir.Constant(_FLOATS, [0.0] * SIMD_WIDTH), ir.Constant(_FLOATS, [1.0] * SIMD_WIDTH)
            strange = cgutils.alloca_once_value(builder, _constant(0))

            def code_of(x):
                bits = builder.bitcast(x, _WORDS)
                magnitude = builder.bitcast(builder.and_(bits, _constant(MAGNITUDE)), _FLOATS)
                logged = builder.fadd(magnitude, ir.Constant(_FLOATS, [float(LOG_OFFSET)] * SIMD_WIDTH))
                logged = builder.bitcast(logged, _WORDS)
                odd = builder.or_(
                    builder.icmp_signed(">=", builder.and_(logged, _constant(FRACTION)), _constant(NEAR_NEXT)),
                    builder.icmp_signed(">=", logged, _constant(INF)),
                )
                builder.store(builder.or_(builder.load(strange), builder.sext(odd, _WORDS)), strange)
                e = builder.sub(builder.lshr(logged, _constant(23)), _constant(127))
                over = builder.icmp_signed(">", e, most)
                e = builder.select(over, most, e)
                tiny = builder.icmp_signed("<=", e, least)
                e = builder.select(tiny, least, e)
                scale = builder.bitcast(builder.shl(builder.sub(_constant(127), e), _constant(23)), _FLOATS)
                q = builder.fsub(builder.fmul(magnitude, scale), builder.select(tiny, zero, unit))
                s = builder.fmul(q, places)
                s = builder.select(builder.fcmp_ordered("<", s, limit), s, limit)
                s = builder.select(builder.fcmp_ordered(">", s, zero), s, zero)
                quarters = builder.fptosi(builder.fmul(s, ir.Constant(_FLOATS, [4.0] * SIMD_WIDTH)), _WORDS)
                whole = builder.lshr(quarters, _constant(2))
                # Up from a half on (base), or half to even (moe).
                push = builder.or_(builder.and_(whole, _constant(1)), rounding)
                up = builder.icmp_signed(">", builder.add(builder.and_(quarters, _constant(3)), push), _constant(2))
                whole = builder.add(whole, builder.zext(up, _WORDS))
                full = builder.or_(over, builder.icmp_signed(">", whole, last))
                code = builder.or_(builder.select(full, last, whole), builder.shl(builder.add(e, offset), width))
                code = builder.or_(code, builder.and_(builder.lshr(bits, _constant(24)), _constant(0x80)))
                return builder.select(builder.fcmp_ordered("==", x, zero), _constant(0), code)

            bytes_ = ir.VectorType(ir.IntType(8), SIMD_WIDTH)
            with cgutils.for_range(builder, args[2]) as loop:
                x = builder.fmul(_eight(builder, source, args[1], loop.index), factor)
                ahead = builder.mul(loop.index, ir.Constant(args[8].type, SIMD_WIDTH))
                pointer = element_pointer(builder, target, builder.add(args[8], ahead), bytes_)
                builder.store(builder.trunc(code_of(x), bytes_), pointer, align=1)
            return builder.sext(reduced(builder, "or", builder.load(strange)), ir.IntType(64))

        return signature, codegen

else:

    def largest_of(values, first, vectors):
        """Compute the same in numpy, for runs without the compiler."""
        magnitude = np.abs(values[first : first + vectors * SIMD_WIDTH])
        return np.max(np.where(np.isnan(magnitude), np.float32(0.0), magnitude), initial=np.float32(0.0))

    def encode_eights(values, first, vectors, factor, mantissa, exponent, moe, codes, o):
        """Encode nothing without the compiler; every value is left to the general way."""
        return -1
