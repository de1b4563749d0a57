"""Register-blocked piece of a matrix product: the inner loop of every tile product (spec §2.5).

A block is R rows by C columns of a product, held in vector registers while k runs; every lane is one
output and sums its terms in increasing k, so the order of the additions is the sequential one. numba
does not keep an array of accumulators in registers by itself, hence the few lines of LLVM IR.
"""

import numpy as np

from .floats import fma_lanes
from .jit import JIT

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    F32 = ir.FloatType()

    def element_pointer(builder, array, index, kind):
        """Pointer to `array[index]`, as a pointer to `kind`."""
        return builder.bitcast(builder.gep(array.data, [index]), kind.as_pointer())

    def splat(builder, value, lanes):
        """Vector with `value` in every lane."""
        vector = ir.VectorType(value.type, lanes)
        single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)

    def _vector_fma(builder, vector):
        """The LLVM intrinsic x * y + z with a single rounding, in every lane."""
        kind = ir.FunctionType(vector, [vector] * 3)
        return cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{vector.count}f32")

    def _compiled(rows, vectors, lanes, fused):
        """Intrinsic for a block of `rows` x (`vectors` * `lanes`)."""
        vector = ir.VectorType(F32, lanes)

        @intrinsic
        def block(typingctx, a, a0, a_row, a_term, b, b0, b_term, k, out, o, out_row, scale):
            signature = types.void(a, a0, a_row, a_term, b, b0, b_term, k, out, o, out_row, scale)

            def codegen(context, builder, sig, args):
                make = context.make_array
                array_a, array_b, array_out = (make(sig.args[i])(context, builder, args[i]) for i in (0, 4, 8))
                a0, a_row, a_term, b0, b_term, k, o, out_row, scale = (args[i] for i in (1, 2, 3, 5, 6, 7, 9, 10, 11))
                word = a0.type
                zero = ir.Constant(vector, [0.0] * lanes)
                sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(vectors)] for _ in range(rows)]
                with cgutils.for_range(builder, k) as loop:
                    b_at = builder.add(b0, builder.mul(loop.index, b_term))
                    b_parts = []
                    for v in range(vectors):
                        index = builder.add(b_at, ir.Constant(word, v * lanes))
                        b_parts.append(builder.load(element_pointer(builder, array_b, index, vector), align=4))
                    a_at = builder.add(a0, builder.mul(loop.index, a_term))
                    for r in range(rows):
                        index = builder.add(a_at, builder.mul(ir.Constant(word, r), a_row))
                        x = splat(builder, builder.load(element_pointer(builder, array_a, index, F32)), lanes)
                        for v in range(vectors):
                            old = builder.load(sums[r][v])
                            if fused:
                                new = builder.call(_vector_fma(builder, vector), (x, b_parts[v], old))
                            else:
                                new = builder.fadd(old, builder.fmul(x, b_parts[v]))
                            builder.store(new, sums[r][v])
                factor = splat(builder, scale, lanes)
                for r in range(rows):
                    for v in range(vectors):
                        index = builder.add(o, builder.mul(ir.Constant(word, r), out_row))
                        first = builder.add(index, ir.Constant(word, v * lanes))
                        at = element_pointer(builder, array_out, first, vector)
                        product = builder.fmul(builder.load(sums[r][v]), factor)
                        builder.store(builder.fadd(builder.load(at, align=4), product), at, align=4)
                return context.get_dummy_value()

            return signature, codegen

        return block


def _plain(rows, vectors, lanes, fused):
    """The same in numpy, for runs without the compiler."""
    columns = vectors * lanes

    def block(a, a0, a_row, a_term, b, b0, b_term, k, out, o, out_row, scale):
        sums = np.zeros((rows, columns), dtype=np.float32)
        for term in range(k):
            x = a[a0 + term * a_term + np.arange(rows) * a_row][:, None]
            y = b[b0 + term * b_term : b0 + term * b_term + columns][None, :]
            sums = fma_lanes(x, y, sums) if fused else sums + x * y
        for r in range(rows):
            out[o + r * out_row : o + r * out_row + columns] += sums[r] * scale

    return block


_make = _compiled if JIT else _plain

# BLOCK_rxc: out[r, c] += scale * sum over k of a[r, k] * b[k, c]. Arguments: a, its first element, steps to
# the next row and term; b, its first element, step to the next term (columns adjacent); k; out, its first
# element, step to the next row; scale (f32). `fused` takes one rounding a term.
fused_4x16 = _make(4, 2, 8, True)
fused_4x8 = _make(4, 1, 8, True)
fused_4x4 = _make(4, 1, 4, True)
fused_1x8 = _make(1, 1, 8, True)
fused_1x1 = _make(1, 1, 1, True)
rounded_4x8 = _make(4, 1, 8, False)
rounded_4x4 = _make(4, 1, 4, False)
rounded_1x8 = _make(1, 1, 8, False)
rounded_1x1 = _make(1, 1, 1, False)
