"""Process rows of f32 eight at a time: an operation and the rounding to the SRAM type (spec §2.3) in one pass; copies.

The loop over a row is inside: a call for every eight values would cost more than what it does.
"""

import numpy as np

from ..compiler.jit import JIT, kernel
from .floats import bits_of
from .numerics import round_bits

SIMD_WIDTH = 8
SIGN = 0x80000000
MAGNITUDE = 0x7FFFFFFF
INF = 0x7F800000
ONE = np.float32(1.0)

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import F32, element_pointer, splat

    _WORDS = ir.VectorType(ir.IntType(32), SIMD_WIDTH)
    _FLOATS = ir.VectorType(F32, SIMD_WIDTH)

    def _constant(value):
        return ir.Constant(_WORDS, [value] * SIMD_WIDTH)

    def _rounded(builder, value, drop):
        """Bits of eight f32 without their last `drop` (>= 1) mantissa bits: `round_bits` in all eight."""
        bits = builder.bitcast(value, _WORDS)
        magnitude = builder.and_(bits, _constant(MAGNITUDE))
        last = builder.and_(builder.lshr(magnitude, drop), _constant(1))
        half = builder.sub(builder.shl(_constant(1), builder.sub(drop, _constant(1))), _constant(1))
        rounded = builder.add(builder.add(magnitude, half), last)
        rounded = builder.shl(builder.lshr(rounded, drop), drop)
        carried = builder.icmp_signed("<", rounded, _constant(0))
        rounded = builder.select(carried, _constant(INF), rounded)
        return builder.or_(rounded, builder.and_(bits, _constant(SIGN)))

    def _pass(combine, plain):
        """Intrinsic that rounds `combine`(builder, a, b, f) of two rows and a scalar into a row."""

        @intrinsic
        def over_row(typingctx, a, a0, b, b0, f, words, o, vectors, drop):
            signature = types.void(a, a0, b, b0, f, words, o, vectors, drop)

            def codegen(context, builder, sig, args):
                row_a, row_b, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 2, 5))
                drop = splat(builder, builder.trunc(args[8], ir.IntType(32)), SIMD_WIDTH)
                f = splat(builder, args[4], SIMD_WIDTH)
                with cgutils.for_range(builder, args[7]) as loop:
                    ahead = builder.mul(loop.index, ir.Constant(args[1].type, SIMD_WIDTH))

                    def eight(array, first, kind):
                        return element_pointer(builder, array, builder.add(first, ahead), kind)

                    x = builder.load(eight(row_a, args[1], _FLOATS), align=4)
                    y = builder.load(eight(row_b, args[3], _FLOATS), align=4)
                    result = _rounded(builder, combine(builder, x, y, f), drop)
                    builder.store(result, eight(target, args[6], _WORDS), align=4)
                return context.get_dummy_value()

            return signature, codegen

        return over_row

    @intrinsic
    def copy_sixteen(typingctx, source, at, target, o):
        """Copy target[o : o + 16] = source[at : at + 16], both f32."""
        signature = types.void(source, at, target, o)
        sixteen = ir.VectorType(F32, 2 * SIMD_WIDTH)

        def codegen(context, builder, sig, args):
            origin = context.make_array(sig.args[0])(context, builder, args[0])
            aim = context.make_array(sig.args[2])(context, builder, args[2])
            value = builder.load(element_pointer(builder, origin, args[1], sixteen), align=4)
            builder.store(value, element_pointer(builder, aim, args[3], sixteen), align=4)
            return context.get_dummy_value()

        return signature, codegen

else:

    def _pass(combine, plain):
        """Make the same in numpy, for runs without the compiler."""

        def over_row(a, a0, b, b0, f, words, o, vectors, drop):
            n = vectors * SIMD_WIDTH
            bits = plain(a[a0 : a0 + n], b[b0 : b0 + n], f).view(np.uint32)
            magnitude = bits & np.uint32(MAGNITUDE)
            rounded = magnitude + np.uint32((1 << (drop - 1)) - 1) + (magnitude >> np.uint32(drop) & np.uint32(1))
            rounded = rounded >> np.uint32(drop) << np.uint32(drop)
            rounded[rounded > MAGNITUDE] = INF
            words[o : o + n] = rounded | bits & np.uint32(SIGN)

        return over_row

    def copy_sixteen(source, at, target, o):
        """Copy the same as a slice, for runs without the compiler."""
        target[o : o + 2 * SIMD_WIDTH] = source[at : at + 2 * SIMD_WIDTH]


# words[o : o + n] = bits of the f32 results, rounded, for n = 8 * vectors. Arguments: row a and its first element, row
# b and its first element (any row where there is none), scalar f, words, o, vectors, mantissa bits to drop (1 to 23).
copied_row = _pass(lambda build, x, y, f: x, lambda a, b, f: a)
row_plus_row = _pass(lambda build, x, y, f: build.fadd(x, y), lambda a, b, f: a + b)
row_minus_row = _pass(lambda build, x, y, f: build.fsub(x, y), lambda a, b, f: a - b)
row_times_row = _pass(lambda build, x, y, f: build.fmul(x, y), lambda a, b, f: a * b)
row_plus = _pass(lambda build, x, y, f: build.fadd(x, f), lambda a, b, f: a + f)
row_times = _pass(lambda build, x, y, f: build.fmul(x, f), lambda a, b, f: a * f)
row_minus = _pass(lambda build, x, y, f: build.fsub(x, f), lambda a, b, f: a - f)
minus_row = _pass(lambda build, x, y, f: build.fneg(build.fsub(x, f)), lambda a, b, f: -(a - f))
one_over_row = _pass(
    lambda build, x, y, f: build.fdiv(ir.Constant(x.type, [1.0] * SIMD_WIDTH), x), lambda a, b, f: ONE / a
)


@kernel
def round_values(values, at, words, o, n, man_bits):
    """Round words[o : o + n] = bits of the f32 values[at : at + n], to `man_bits` mantissa bits (§2.3)."""
    vectors = n // SIMD_WIDTH if man_bits < 23 else 0
    copied_row(values, at, values, at, ONE, words, o, vectors, 23 - man_bits)
    for i in range(vectors * SIMD_WIDTH, n):
        words[o + i] = round_bits(bits_of(values[at + i]), man_bits)
