"""Decode many 8-bit MX elements at once (spec §2.2, §2.4): what a prefetch spends its time on.

Eight at a time are computed. CPUs that look up bytes in a table (AVX512-VBMI) take 32 at a time, with scales of e8m0:
`halves` of a format has the upper bytes of the values of codes 0 to 127 as bf16, then the lower bytes.
"""

import numpy as np

from ..compiler.jit import JIT, kernel, small
from ..compiler.simd import has_byte_tables
from ..layout import FMT_BITS, FMT_EXP, FMT_INT, FMT_MAN, FMT_SIGN

SIMD_WIDTH = 8
TABLE_WIDTH = 32  # elements that are looked up at once
HALF_CODES = 128  # codes without their sign
SIGN_CODE = 0x80
SCALE_SHIFT = 23  # a scale byte of e8m0 is the exponent of an f32: 0 gives 0.0, 255 Inf
INF_BITS = 0x7F800000
MAGNITUDE = 0x7F
SIGN_BIT = -(1 << 31)  # as i32
LEAST_NORMAL = 1 << 23

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import F32, element_pointer, splat

    @intrinsic
    def decode_blocks(typingctx, codes, at, scale_at, mantissa, exponent, scales, blocks, vectors, out, o):
        """Decode codes[at : at + n], times their blocks' scales, to out[o : o + n], n = blocks * vectors * 8.

        A block is `vectors` times eight elements of `exponent` and `mantissa` bits; its scale is
        scales[codes[scale_at + block]]. A float code is moved into place and its exponent biased anew, which
        makes (1 + m) * 2**-bias of a subnormal m * 2**-bias: 2**-bias has to be taken away (§2.2).
        """
        signature = types.void(codes, at, scale_at, mantissa, exponent, scales, blocks, vectors, out, o)
        word = ir.IntType(32)
        words = ir.VectorType(word, SIMD_WIDTH)
        floats = ir.VectorType(F32, SIMD_WIDTH)
        bytes_ = ir.VectorType(ir.IntType(8), SIMD_WIDTH)

        def constant(value):
            return ir.Constant(words, [value] * SIMD_WIDTH)

        def codegen(context, builder, sig, args):
            source, table, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 5, 8))
            at, scale_at, blocks, vectors, o = (args[i] for i in (1, 2, 6, 7, 9))
            mantissa, exponent = (builder.trunc(args[i], word) for i in (3, 4))
            one = ir.Constant(word, 1)
            ones = builder.sub(builder.shl(one, exponent), one)
            rebias = builder.sub(ir.Constant(word, 128), builder.shl(one, builder.sub(exponent, one)))
            shift = splat(builder, builder.sub(ir.Constant(word, 23), mantissa), SIMD_WIDTH)
            rebias = splat(builder, builder.shl(rebias, ir.Constant(word, 23)), SIMD_WIDTH)
            special = splat(builder, builder.shl(ones, ir.Constant(word, 23)), SIMD_WIDTH)
            in_place = builder.shl(constant(MAGNITUDE), shift)

            def eight(index, scale, to):
                code = builder.sext(builder.load(element_pointer(builder, source, index, bytes_), align=1), words)
                placed = builder.and_(builder.shl(code, shift), in_place)
                biased = builder.add(placed, rebias)
                tiny = builder.icmp_signed("<", placed, constant(LEAST_NORMAL))
                excess = builder.select(tiny, rebias, constant(0))
                value = builder.fsub(builder.bitcast(biased, floats), builder.bitcast(excess, floats))
                endless = builder.icmp_signed(">=", placed, special)
                bits = builder.bitcast(value, words)
                bits = builder.or_(bits, builder.select(endless, constant(INF_BITS), constant(0)))
                bits = builder.or_(bits, builder.and_(code, constant(SIGN_BIT)))
                value = builder.fmul(builder.bitcast(bits, floats), scale)
                builder.store(value, element_pointer(builder, target, to, floats), align=4)

            def scale_of(block):
                pointer = element_pointer(builder, source, builder.add(scale_at, block), ir.IntType(8))
                code = builder.zext(builder.load(pointer), at.type)
                return splat(builder, builder.load(element_pointer(builder, table, code, F32)), SIMD_WIDTH)

            def number(vector, scale):
                ahead = builder.mul(vector, ir.Constant(at.type, SIMD_WIDTH))
                eight(builder.add(at, ahead), scale, builder.add(o, ahead))

            # Blocks of eight are the usual ones, and a loop of one round would take as long as what it does.
            with builder.if_else(builder.icmp_signed("==", vectors, ir.Constant(at.type, 1))) as (short, long):
                with short, cgutils.for_range(builder, blocks) as block:
                    number(block.index, scale_of(block.index))
                with long, cgutils.for_range(builder, blocks) as block:
                    scale = scale_of(block.index)
                    before = builder.mul(block.index, vectors)
                    with cgutils.for_range(builder, vectors) as vector:
                        number(builder.add(before, vector.index), scale)
            return context.get_dummy_value()

        return signature, codegen

    def _shuffled(builder, a, b, places):
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
        return builder.shuffle_vector(a, b, mask)

    def _looked_up(builder, table, codes):
        """Look up 64 codes of seven bits in a table of two vectors of 64 bytes; the last bit of a code is ignored."""
        kind = ir.FunctionType(codes.type, [codes.type] * 3)
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpermi2var.qi.512")
        return builder.call(function, (table[0], codes, table[1]))

    def _compiled(block):
        """Make the intrinsic that looks elements up, for blocks of 8, 16 or 32."""
        byte, word = ir.IntType(8), ir.IntType(32)
        codes_type, table_type = ir.VectorType(byte, TABLE_WIDTH), ir.VectorType(byte, 2 * TABLE_WIDTH)
        floats = ir.VectorType(F32, 16)
        scales = TABLE_WIDTH // block
        # The halves of a value are joined within each fourth of a vector, so four codes of every sixteen go there.
        in_fourths = [16 * (i % 16 // 4) + 4 * (i // 16) + i % 4 for i in range(2 * TABLE_WIDTH)]
        in_fourths = [place if place < TABLE_WIDTH else 0 for place in in_fourths]

        def joined(builder, low, high, half):
            """Pairs of bytes or words, of the lower or the upper half of each fourth of two vectors."""
            count = low.type.count
            fourth = count // 4
            places = [fourth * (i // fourth) + half * fourth // 2 + i % fourth // 2 + count * (i % 2)
                      for i in range(count)]
            wide = ir.VectorType(ir.IntType(2 * low.type.element.width), count // 2)
            return builder.bitcast(_shuffled(builder, low, high, places), wide)

        @intrinsic
        def decode_by_table(typingctx, codes, at, scale_at, halves, out, o, steps):
            """Decode codes[at : at + 32 * steps], times the e8m0 scales at codes[scale_at], to out[o : ...]."""
            signature = types.void(codes, at, scale_at, halves, out, o, steps)

            def codegen(context, builder, sig, args):
                source, table, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 3, 4))
                at, scale_at, o, steps = (args[i] for i in (1, 2, 5, 6))
                quarters = [element_pointer(builder, table, ir.Constant(at.type, 64 * i), table_type) for i in range(4)]
                parts = [builder.load(pointer, align=1) for pointer in quarters]

                def ahead(first, step, length):
                    return builder.add(first, builder.mul(step, ir.Constant(at.type, length)))

                with cgutils.for_range(builder, steps) as loop:
                    pointer = element_pointer(builder, source, ahead(at, loop.index, TABLE_WIDTH), codes_type)
                    code = builder.load(pointer, align=1)
                    code = _shuffled(builder, code, ir.Constant(codes_type, ir.Undefined), in_fourths)
                    sign = builder.and_(code, ir.Constant(table_type, [SIGN_CODE - 256] * 64))
                    upper = builder.or_(_looked_up(builder, parts[:2], code), sign)
                    value = joined(builder, _looked_up(builder, parts[2:], code), upper, 0)
                    pointer = element_pointer(builder, source, ahead(scale_at, loop.index, scales),
                                              ir.VectorType(byte, scales))
                    scale = builder.zext(builder.load(pointer, align=1), ir.VectorType(word, scales))
                    scale = builder.shl(scale, ir.Constant(scale.type, [SCALE_SHIFT] * scales))
                    for half in range(2):
                        bits = builder.bitcast(joined(builder, ir.Constant(value.type, [0] * 32), value, half), floats)
                        of_block = [(16 * half + i) // block for i in range(16)]
                        factor = _shuffled(builder, scale, ir.Constant(scale.type, ir.Undefined), of_block)
                        result = builder.fmul(bits, builder.bitcast(factor, floats))
                        place = ahead(ahead(o, loop.index, TABLE_WIDTH), ir.Constant(at.type, half), 16)
                        builder.store(result, element_pointer(builder, target, place, floats), align=4)
                return context.get_dummy_value()

            return signature, codegen

        return decode_by_table

    @intrinsic
    def touch(typingctx, data, at):
        """Have the cache line of data[at] (bytes) loaded in the background; `at` may be anywhere."""
        signature = types.void(data, at)

        def codegen(context, builder, sig, args):
            array = context.make_array(sig.args[0])(context, builder, args[0])
            byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            pointer = element_pointer(builder, array, args[1], ir.IntType(8))
            builder.call(function, (pointer, *(ir.Constant(word, flag) for flag in (0, 3, 1))))
            return context.get_dummy_value()

        return signature, codegen

else:

    def decode_blocks(codes, at, scale_at, mantissa, exponent, scales, blocks, vectors, out, o):
        """Compute the same in numpy, for runs without the compiler."""
        n = blocks * vectors * SIMD_WIDTH
        code = codes[at : at + n].astype(np.uint32)
        placed = (code & MAGNITUDE) << np.uint32(23 - mantissa)
        rebias = (128 - (1 << (exponent - 1))) << 23
        biased = (placed + np.uint32(rebias)).view(np.float32)
        value = biased - np.where(placed < LEAST_NORMAL, np.uint32(rebias).view(np.float32), np.float32(0.0))
        endless = np.where(placed >= ((1 << exponent) - 1) << 23, INF_BITS, 0)
        bits = (value.view(np.uint32) | endless | (code & 0x80) << 24).astype(np.uint32)
        scale = scales[codes[scale_at : scale_at + blocks]]
        out[o : o + n] = bits.view(np.float32) * np.repeat(scale, vectors * SIMD_WIDTH)

    def touch(data, at):
        """Do nothing: only compiled code is fast enough to gain from it."""


def _plain(block):
    """Make the same in numpy, for runs without the compiler."""

    def decode_by_table(codes, at, scale_at, halves, out, o, steps):
        n = steps * TABLE_WIDTH
        code = codes[at : at + n].astype(np.uint32)
        upper = halves[:HALF_CODES][code & MAGNITUDE].astype(np.uint32) | code & SIGN_CODE
        value = upper << 24 | halves[HALF_CODES:][code & MAGNITUDE].astype(np.uint32) << 16
        scale = codes[scale_at : scale_at + n // block].astype(np.uint32) << SCALE_SHIFT
        out[o : o + n] = value.view(np.float32) * np.repeat(scale, block).view(np.float32)

    return decode_by_table


@kernel
def fits_simd(fmt, block):
    """Tell whether elements of format `fmt` in blocks of `block` can be decoded eight at a time."""
    return (
        fmt[FMT_INT] == 0 and fmt[FMT_BITS] == 8 and fmt[FMT_SIGN] == 1 and fmt[FMT_EXP] < 8 and block > 0
        and block % SIMD_WIDTH == 0
    )


@small
def decode_simd(hbm, element_at, scale_at, fmt, scale_table, n, block, out, o):
    """Compute out[o : o + n] = `n` elements of format `fmt` times their blocks' scales, straight from HBM bytes."""
    decode_blocks(
        hbm, element_at, scale_at, fmt[FMT_MAN], fmt[FMT_EXP], scale_table, n // block, block // SIMD_WIDTH, out, o
    )


HAS_TABLES = JIT and has_byte_tables()
_make = _compiled if HAS_TABLES else _plain
decode_blocks_of_8, decode_blocks_of_16, decode_blocks_of_32 = (_make(block) for block in (8, 16, 32))


@kernel
def fits_tables(fmt, scale_fmt, block, n):
    """Tell whether rows of `n` elements that `fits_simd` are looked up in tables."""
    is_e8m0 = scale_fmt[FMT_INT] == 0 and scale_fmt[FMT_BITS] == 8 and scale_fmt[FMT_EXP] == 8
    return HAS_TABLES and is_e8m0 and n % TABLE_WIDTH == 0 and (block == 8 or block == 16 or block == 32)


@small
def decode_tables(hbm, element_at, scale_at, halves, n, block, out, o):
    """Do the same as `decode_simd` for elements that are looked up."""
    steps = n // TABLE_WIDTH
    if block == 8:
        decode_blocks_of_8(hbm, element_at, scale_at, halves, out, o, steps)
    elif block == 16:
        decode_blocks_of_16(hbm, element_at, scale_at, halves, out, o, steps)
    else:
        decode_blocks_of_32(hbm, element_at, scale_at, halves, out, o, steps)
