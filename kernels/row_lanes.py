"""Eight or sixteen f32 at once: rounding to the SRAM type (spec §2.3), copying, as a few vector instructions."""


from .floats import bits_of
from .jit import JIT, kernel
from .numerics import round_bits

LANES = 8
SIGN = 0x80000000
MAGNITUDE = 0x7FFFFFFF
INF = 0x7F800000

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.extending import intrinsic

    from .blocks import F32, element_pointer, splat

    @intrinsic
    def round_eight(typingctx, values, at, words, o, drop):
        """words[o : o + 8] = bits of the f32 values[at : at + 8] without their last `drop` (>= 1) mantissa bits.

        `round_bits` in every lane: ties to even, what carries past the largest exponent becomes Inf.
        """
        signature = types.void(values, at, words, o, drop)
        lanes = ir.VectorType(ir.IntType(32), LANES)

        def constant(value):
            return ir.Constant(lanes, [value] * LANES)

        def codegen(context, builder, sig, args):
            source = context.make_array(sig.args[0])(context, builder, args[0])
            target = context.make_array(sig.args[2])(context, builder, args[2])
            drop = splat(builder, builder.trunc(args[4], ir.IntType(32)), LANES)
            bits = builder.load(element_pointer(builder, source, args[1], lanes), align=4)
            magnitude = builder.and_(bits, constant(MAGNITUDE))
            last = builder.and_(builder.lshr(magnitude, drop), constant(1))
            half = builder.sub(builder.shl(constant(1), builder.sub(drop, constant(1))), constant(1))
            rounded = builder.add(builder.add(magnitude, half), last)
            rounded = builder.shl(builder.lshr(rounded, drop), drop)
            carried = builder.icmp_signed("<", rounded, constant(0))
            rounded = builder.select(carried, constant(INF), rounded)
            result = builder.or_(rounded, builder.and_(bits, constant(SIGN)))
            builder.store(result, element_pointer(builder, target, args[3], lanes), align=4)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def copy_sixteen(typingctx, source, at, target, o):
        """target[o : o + 16] = source[at : at + 16], both f32."""
        signature = types.void(source, at, target, o)
        lanes = ir.VectorType(F32, 2 * LANES)

        def codegen(context, builder, sig, args):
            origin = context.make_array(sig.args[0])(context, builder, args[0])
            aim = context.make_array(sig.args[2])(context, builder, args[2])
            value = builder.load(element_pointer(builder, origin, args[1], lanes), align=4)
            builder.store(value, element_pointer(builder, aim, args[3], lanes), align=4)
            return context.get_dummy_value()

        return signature, codegen

else:

    def round_eight(values, at, words, o, drop):
        """The same value by value, for runs without the compiler."""
        for i in range(LANES):
            words[o + i] = round_bits(bits_of(values[at + i]), 23 - drop)

    def copy_sixteen(source, at, target, o):
        """The same as a slice, for runs without the compiler."""
        target[o : o + 2 * LANES] = source[at : at + 2 * LANES]


@kernel
def round_values(values, at, words, o, n, man_bits):
    """words[o : o + n] = bits of the f32 values[at : at + n], rounded to `man_bits` mantissa bits (§2.3)."""
    whole = n // LANES * LANES if man_bits < 23 else 0
    for i in range(0, whole, LANES):
        round_eight(values, at + i, words, o + i, 23 - man_bits)
    for i in range(whole, n):
        words[o + i] = round_bits(bits_of(values[at + i]), man_bits)
