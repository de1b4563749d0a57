"""Multiply a register block of a matrix product: the inner loop of every tile product (spec §2.5).

A block is R rows by C columns of a product, held in vector registers while k runs; every element of a register is
one output and sums its terms in increasing k, so the order of the additions is the sequential one, within a chunk.
numba does not keep an array of accumulators in registers by itself, hence the LLVM IR. It loops over the blocks
below by itself, because a call with its arrays taken apart costs as much as a small block.

Operands are f32, or *pairs* of terms: two bf16 in a word, which the CPU multiplies and adds with one instruction
(`pairs` tells when the result is the same).
"""

import numpy as np

from ..compiler.jit import JIT
from ..compiler.simd import has_pairs, lanes
from .floats import fma_arrays

FUSED, ROUNDED, PAIRS = range(3)  # how a term is added: with one rounding, with two, or two terms from a pair

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import BF16, F32, element_pointer, splat

    def _vector_fma(builder, vector):
        """Declare the LLVM intrinsic x * y + z with a single rounding, for every element of a vector."""
        kind = ir.FunctionType(vector, [vector] * 3)
        return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{vector.count}f32")

    def _vector_dot(builder, vector):
        """Declare the instruction that adds two products of bf16 to every element of a vector, the upper pair first."""
        halves = ir.VectorType(BF16, 2 * vector.count)
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * vector.count}"
        return cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector, halves, halves]), name)

    def _added(builder, how, x, y, old):
        """Add a term, or a pair of terms, to a vector of sums."""
        if how == FUSED:
            return builder.call(_vector_fma(builder, old.type), (x, y, old))
        if how == ROUNDED:
            return builder.fadd(old, builder.fmul(x, y))
        halves = ir.VectorType(BF16, 2 * old.type.count)
        pairs = [builder.bitcast(operand, halves) for operand in (x, y)]
        return builder.call(_vector_dot(builder, old.type), (old, *pairs))

    def _splat_of(builder, pointer, vector):
        """Load a number into every element of a vector.

        A pair goes by the instruction for integers. LLVM would take that for f32, and the one that multiplies pairs
        runs at three quarters of its speed behind it.
        """
        if vector.element == F32:
            return splat(builder, builder.load(pointer), vector.count)
        kind = ir.FunctionType(vector, [pointer.type])
        load = builder.asm(kind, "vpbroadcastd ($1), $0", "=v,r", [pointer], False, name="pair")
        load.attributes.add("readonly")
        return load

    def _compiled(rows, vectors, simd_width, how):
        """Make the intrinsic for a column of blocks of `rows` x (`vectors` * `simd_width`)."""
        vector = ir.VectorType(F32, simd_width)
        operand = ir.IntType(32) if how == PAIRS else F32
        operands = ir.VectorType(operand, simd_width)
        places = [(r, v) for r in range(rows) for v in range(vectors)]

        @intrinsic
        def microkernel(
            typingctx, a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count
        ):
            signature = types.void(
                a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count
            )

            def codegen(context, builder, sig, args):
                arrays = {i: context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 4, 9, 13)}
                array_a, array_b, array_out, array_partials = arrays.values()
                a0, a_row, a_term, b0, b_term, k, chunk = (args[i] for i in (1, 2, 3, 5, 6, 7, 8))
                o, out_row, scale, count = (args[i] for i in (10, 11, 12, 14))
                word = a0.type
                zero = ir.Constant(vector, [0.0] * simd_width)
                factor = splat(builder, scale, simd_width)
                sums = {place: cgutils.alloca_once(builder, vector) for place in places}
                first = cgutils.alloca_once(builder, word)  # term that the next chunk begins with

                def many(value, times):
                    return builder.mul(value, ir.Constant(word, times))

                def vector_at(array, index, v, kind=vector):
                    first_of_vector = builder.add(index, ir.Constant(word, v * simd_width))
                    return element_pointer(builder, array, first_of_vector, kind)

                def sum_of_chunk(a_group, start, stop):
                    with cgutils.for_range(builder, builder.sub(stop, start)) as loop:
                        term = builder.add(start, loop.index)
                        b_at = builder.add(b0, builder.mul(term, b_term))
                        pointers = [vector_at(array_b, b_at, v, operands) for v in range(vectors)]
                        b_values = [builder.load(pointer, align=4) for pointer in pointers]
                        a_at = builder.add(a_group, builder.mul(term, a_term))
                        for r in range(rows):
                            index = builder.add(a_at, many(a_row, r))
                            x = _splat_of(builder, element_pointer(builder, array_a, index, operand), operands)
                            for v in range(vectors):
                                new = _added(builder, how, x, b_values[v], builder.load(sums[r, v]))
                                builder.store(new, sums[r, v])

                def pointer_to_partials(r, v):
                    return vector_at(array_partials, ir.Constant(word, r * vectors * simd_width), v)

                def one_chunk(a_group):
                    """Leaves the sum of all chunks so far in `sums`, and in `partial_sums` unless it was the last."""
                    start = builder.load(first)
                    ahead = builder.add(start, chunk)
                    stop = builder.select(builder.icmp_signed("<", ahead, k), ahead, k)
                    for place in places:
                        builder.store(zero, sums[place])
                    sum_of_chunk(a_group, start, stop)
                    with builder.if_then(builder.icmp_signed(">", start, ir.Constant(word, 0))):
                        for place in places:
                            before = builder.load(pointer_to_partials(*place), align=4)
                            builder.store(builder.fadd(before, builder.load(sums[place])), sums[place])
                    with builder.if_then(builder.icmp_signed("<", stop, k)):
                        for place in places:
                            builder.store(builder.load(sums[place]), pointer_to_partials(*place), align=4)
                    builder.store(stop, first)

                with cgutils.for_range(builder, count) as group:
                    a_group = builder.add(a0, builder.mul(group.index, many(a_row, rows)))
                    out_group = builder.add(o, builder.mul(group.index, many(out_row, rows)))
                    builder.store(ir.Constant(word, 0), first)
                    again = builder.append_basic_block("chunk")
                    done = builder.append_basic_block("chunks.done")
                    builder.branch(again)
                    builder.position_at_end(again)
                    one_chunk(a_group)
                    builder.cbranch(builder.icmp_signed("<", builder.load(first), k), again, done)
                    builder.position_at_end(done)
                    for r, v in places:
                        at = vector_at(array_out, builder.add(out_group, many(out_row, r)), v)
                        product = builder.fmul(builder.load(sums[r, v]), factor)
                        builder.store(builder.fadd(builder.load(at, align=4), product), at, align=4)
                return context.get_dummy_value()

            return signature, codegen

        return microkernel


def upper_halves(words):
    """Take the first term of each pair, as f32."""
    return (words & np.uint32(0xFFFF0000)).view(np.float32)


def lower_halves(words):
    """Take the second term of each pair, as f32."""
    return (words << np.uint32(16)).view(np.float32)


def _add_terms(how, x, y, sums):
    """Add a term, or a pair of terms, to sums."""
    if how == PAIRS:
        return fma_arrays(lower_halves(x), lower_halves(y), fma_arrays(upper_halves(x), upper_halves(y), sums))
    return fma_arrays(x, y, sums) if how == FUSED else sums + x * y


def _plain(rows, vectors, simd_width, how):
    """Make the same in numpy, for runs without the compiler."""
    columns = vectors * simd_width

    def microkernel(a, a0, a_row, a_term, b, b0, b_term, k, chunk, out, o, out_row, scale, partial_sums, count):
        height = rows * count
        total = np.zeros((height, columns), dtype=np.float32)
        for first in range(0, k, chunk):
            sums = np.zeros((height, columns), dtype=np.float32)
            for term in range(first, min(first + chunk, k)):
                x = a[a0 + term * a_term + np.arange(height) * a_row][:, None]
                y = b[b0 + term * b_term : b0 + term * b_term + columns][None, :]
                sums = _add_terms(how, x, y, sums)
            total += sums
        for r in range(height):
            out[o + r * out_row : o + r * out_row + columns] += total[r] * scale

    return microkernel


_make = _compiled if JIT else _plain

# Rows, vectors and lanes of a block of 16 columns that uses the CPU's registers to the full: accumulators enough to
# hide the latency of an addition, and no more than there are registers.
_WIDE = {16: (8, 1, 16), 8: (4, 2, 8), 4: (2, 4, 4)}
LANES = lanes() if JIT else 8
WIDE_ROWS = _WIDE[LANES][0]

# `kind`_rxc: out[r, c] += scale * sum over k of a[r, k] * b[k, c] for `count` blocks of r rows, one below the other.
# Arguments: a, its first element, steps to the next row and term; b, its first element, step to the next term (columns
# adjacent); k; chunk: how many terms are summed on their own before the sums are added in order; out, its first
# element, step to the next row; scale (f32); scratch of r * c f32; count. `fused` takes one rounding a term; `wide` is
# WIDE_ROWS x 16. `pairs` counts pairs for terms: in k, chunk and steps, and a and b are uint32.
fused_wide = _make(*_WIDE[LANES], FUSED)
fused_4x16 = _make(4, 2, 8, FUSED)
fused_4x8 = _make(4, 1, 8, FUSED)
fused_4x4 = _make(4, 1, 4, FUSED)
fused_1x8 = _make(1, 1, 8, FUSED)
fused_1x1 = _make(1, 1, 1, FUSED)
rounded_8x8 = _make(8, 1, 8, ROUNDED)
rounded_4x8 = _make(4, 1, 8, ROUNDED)
rounded_4x4 = _make(4, 1, 4, ROUNDED)
rounded_1x8 = _make(1, 1, 8, ROUNDED)
rounded_1x1 = _make(1, 1, 1, ROUNDED)

# Blocks of pairs have sixteen or eight accumulators, by how many columns a panel has.
HAS_PAIRS = JIT and has_pairs()
_make_pairs = _make if HAS_PAIRS else _plain
pairs_8x32 = _make_pairs(8, 2, 16, PAIRS)
pairs_8x16 = _make_pairs(8, 1, 16, PAIRS)
pairs_8x8 = _make_pairs(8, 1, 8, PAIRS)
