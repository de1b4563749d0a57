"""Reductions of a row that keep their partial results in vector registers (spec §1.5, §2.6)."""

import numpy as np

from ..compiler.jit import JIT

LANES = 8
PARTIALS = 4

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import F32, element_pointer

    _FLOATS = ir.VectorType(F32, LANES)

    def _store_vectors(builder, array, word, vectors):
        """Store vectors that are held in variables at the start of an array, one behind the other."""
        for i, lanes in enumerate(vectors):
            pointer = element_pointer(builder, array, ir.Constant(word, i * LANES), _FLOATS)
            builder.store(builder.load(lanes), pointer, align=4)

    @intrinsic
    def add_groups(typingctx, values, first, groups, part):
        """part[0 : 32] = sum of `groups` times 32 values, lane by lane, from 0 on."""
        signature = types.void(values, first, groups, part)

        def codegen(context, builder, sig, args):
            source, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 3))
            word = args[1].type
            sums = [cgutils.alloca_once(builder, _FLOATS) for _ in range(PARTIALS)]
            for total in sums:
                builder.store(ir.Constant(_FLOATS, [0.0] * LANES), total)
            with cgutils.for_range(builder, args[2]) as loop:
                at = builder.add(args[1], builder.mul(loop.index, ir.Constant(word, PARTIALS * LANES)))
                for i, total in enumerate(sums):
                    pointer = element_pointer(builder, source, builder.add(at, ir.Constant(word, i * LANES)), _FLOATS)
                    builder.store(builder.fadd(builder.load(total), builder.load(pointer, align=4)), total)
            _store_vectors(builder, target, word, sums)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def max_eights(typingctx, values, first, vectors, part):
        """part[0 : 8] = maximum of `vectors` times 8 values, lane by lane; part[8 : 16]: NaN where it held one."""
        signature = types.void(values, first, vectors, part)

        def codegen(context, builder, sig, args):
            source, target = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 3))
            word = args[1].type
            best, odd = (cgutils.alloca_once(builder, _FLOATS) for _ in range(2))
            start = builder.load(element_pointer(builder, source, args[1], _FLOATS), align=4)
            builder.store(start, best)
            builder.store(ir.Constant(_FLOATS, [0.0] * LANES), odd)
            with cgutils.for_range(builder, args[2]) as loop:
                at = builder.add(args[1], builder.mul(loop.index, ir.Constant(word, LANES)))
                x = builder.load(element_pointer(builder, source, at, _FLOATS), align=4)
                old = builder.load(best)
                builder.store(builder.select(builder.fcmp_ordered(">", x, old), x, old), best)
                strange = builder.fcmp_unordered("uno", x, x)
                builder.store(builder.select(strange, x, builder.load(odd)), odd)
            _store_vectors(builder, target, word, (best, odd))
            return context.get_dummy_value()

        return signature, codegen

else:

    def add_groups(values, first, groups, part):
        """The same in numpy, for runs without the compiler."""
        total = np.zeros(PARTIALS * LANES, dtype=np.float32)
        for group in values[first : first + groups * PARTIALS * LANES].reshape(-1, PARTIALS * LANES):
            total += group
        part[: PARTIALS * LANES] = total

    def max_eights(values, first, vectors, part):
        """The same in numpy, for runs without the compiler."""
        lanes = values[first : first + vectors * LANES].reshape(vectors, LANES)
        strange = np.isnan(lanes)
        part[:LANES] = np.where(strange, -np.inf, lanes).max(axis=0)
        part[LANES : 2 * LANES] = np.where(strange.any(axis=0), np.float32(np.nan), np.float32(0.0))
