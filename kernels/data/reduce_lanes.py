"""Reduce a row with the partial results in vector registers (spec §1.5, §2.6)."""

import numpy as np

from ..compiler.jit import JIT

SIMD_WIDTH = 8  # that of the reference's AVX2 build, so the order of §2.6 depends on it
PARTIALS = 4

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import F32, element_pointer

    _FLOATS = ir.VectorType(F32, SIMD_WIDTH)

    def _store_vectors(builder, array, word, vectors):
        """Store vectors that are held in variables at the start of an array, one behind the other."""
        for i, vector in enumerate(vectors):
            pointer = element_pointer(builder, array, ir.Constant(word, i * SIMD_WIDTH), _FLOATS)
            builder.store(builder.load(vector), pointer, align=4)

    @intrinsic
    def add_groups(typingctx, values, first, groups, partial_sums):
        """Sum `groups` times 32 values into partial_sums[0 : 32], each place on its own, from 0 on."""
        signature = types.void(values, first, groups, partial_sums)

        def codegen(context, builder, sig, args):
            source, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 3))
            word = args[1].type
            sums = [cgutils.alloca_once(builder, _FLOATS) for _ in range(PARTIALS)]
            for total in sums:
                builder.store(ir.Constant(_FLOATS, [0.0] * SIMD_WIDTH), total)
            with cgutils.for_range(builder, args[2]) as loop:
                at = builder.add(args[1], builder.mul(loop.index, ir.Constant(word, PARTIALS * SIMD_WIDTH)))
                for i, total in enumerate(sums):
                    first_of_vector = builder.add(at, ir.Constant(word, i * SIMD_WIDTH))
                    pointer = element_pointer(builder, source, first_of_vector, _FLOATS)
                    builder.store(builder.fadd(builder.load(total), builder.load(pointer, align=4)), total)
            _store_vectors(builder, target, word, sums)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def max_eights(typingctx, values, first, vectors, partial_sums):
        """Find the maximum of `vectors` times 8 values, place by place, into partial_sums[0 : 8].

        partial_sums[8 : 16] becomes NaN where a place held one.
        """
        signature = types.void(values, first, vectors, partial_sums)

        def codegen(context, builder, sig, args):
            source, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 3))
            word = args[1].type
            best, odd = (cgutils.alloca_once(builder, _FLOATS) for _ in range(2))
            start = builder.load(element_pointer(builder, source, args[1], _FLOATS), align=4)
            builder.store(start, best)
            builder.store(ir.Constant(_FLOATS, [0.0] * SIMD_WIDTH), odd)
            with cgutils.for_range(builder, args[2]) as loop:
                at = builder.add(args[1], builder.mul(loop.index, ir.Constant(word, SIMD_WIDTH)))
                x = builder.load(element_pointer(builder, source, at, _FLOATS), align=4)
                old = builder.load(best)
                builder.store(builder.select(builder.fcmp_ordered(">", x, old), x, old), best)
                strange = builder.fcmp_unordered("uno", x, x)
                builder.store(builder.select(strange, x, builder.load(odd)), odd)
            _store_vectors(builder, target, word, (best, odd))
            return context.get_dummy_value()

        return signature, codegen

else:

    def add_groups(values, first, groups, partial_sums):
        """Sum `groups` times 32 values into partial_sums[0 : 32], each place on its own, from 0 on."""
        total = np.zeros(PARTIALS * SIMD_WIDTH, dtype=np.float32)
        for group in values[first : first + groups * PARTIALS * SIMD_WIDTH].reshape(-1, PARTIALS * SIMD_WIDTH):
            total += group
        partial_sums[: PARTIALS * SIMD_WIDTH] = total

    def max_eights(values, first, vectors, partial_sums):
        """Find the maximum of `vectors` times 8 values, place by place, into partial_sums[0 : 8].

        partial_sums[8 : 16] becomes NaN where a place held one.
        """
        vector = values[first : first + vectors * SIMD_WIDTH].reshape(vectors, SIMD_WIDTH)
        strange = np.isnan(vector)
        partial_sums[:SIMD_WIDTH] = np.where(strange, -np.inf, vector).max(axis=0)
        partial_sums[SIMD_WIDTH : 2 * SIMD_WIDTH] = np.where(strange.any(axis=0), np.float32(np.nan), np.float32(0.0))
