"""Work on all banks of a DRAM channel at once, one bank a lane of a CPU vector (spec §4.5, §4.6).

Every command needs one or a few of these two operations. They are LLVM IR on whole vectors: as loops, LLVM unrolls
them into single lanes.
"""

import numpy as np

from ..compiler.jit import JIT
from .state import ACT, BANKS, COLUMN, KEY_BITS, KINDS, PRE, RD

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import element_pointer, reduced, splat

    I16, I32 = ir.IntType(16), ir.IntType(32)
    LANES = ir.VectorType(I32, BANKS)

    def _row(builder, array, *index):
        """Pointer to row `index` of a C-contiguous int32 array whose last dimension is the lanes."""
        flat = index[0]
        for axis, at in enumerate(index[1:], start=1):
            flat = builder.add(builder.mul(flat, cgutils.unpack_tuple(builder, array.shape)[axis]), at)
        return element_pointer(builder, array, builder.mul(flat, ir.Constant(flat.type, BANKS)), LANES)

    def _larger(builder, a, b):
        return builder.select(builder.icmp_signed(">", a, b), a, b)

    def _smaller(builder, a, b):
        return builder.select(builder.icmp_signed("<", a, b), a, b)

    @intrinsic
    def raise_lanes(typingctx, ready, following, now, raise_by, row, bank):
        """Compute ready[following] = max(ready[following], now + raise_by[row, bank]), bank by bank."""
        signature = types.void(ready, types.int64, types.int32, raise_by, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            table = context.make_array(sig.args[3])(context, builder, args[3])
            banks = ir.Constant(args[4].type, BANKS)
            at = builder.mul(builder.add(builder.mul(args[4], banks), args[5]), banks)
            clocks = builder.load(element_pointer(builder, table, at, ir.VectorType(I16, BANKS)), align=2)
            since = builder.add(builder.sext(clocks, LANES), splat(builder, args[2], BANKS))
            lanes = _row(builder, context.make_array(sig.args[0])(context, builder, args[0]), args[1])
            builder.store(_larger(builder, builder.load(lanes, align=4), since), lanes, align=4)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def earliest_lane(typingctx, ready, key, queue, now):
        """Find the candidate of a queue that is ready first.

        Returns the least (clocks from `now` to readiness << KEY_BITS | key), EMPTY without any candidate.
        """
        signature = types.int32(ready, key, types.int64, types.int32)

        def codegen(context, builder, sig, args):
            clocks, keys = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 1))
            queue, now = args[2], splat(builder, args[3], BANKS)
            shift = splat(builder, ir.Constant(I32, KEY_BITS), BANKS)
            best = None
            for kind in range(KINDS):
                word = queue.type
                command = builder.add(queue, ir.Constant(word, RD)) if kind == COLUMN else ir.Constant(word, kind)
                row = builder.add(builder.mul(queue, ir.Constant(word, KINDS)), ir.Constant(word, kind))
                wait = builder.sub(_larger(builder, builder.load(_row(builder, clocks, command), align=4), now), now)
                value = builder.or_(builder.shl(wait, shift), builder.load(_row(builder, keys, row), align=4))
                best = value if best is None else _smaller(builder, best, value)
            return reduced(builder, "smin", best)

        return signature, codegen

else:

    def raise_lanes(ready, following, now, raise_by, row, bank):
        """Compute ready[following] = max(ready[following], now + raise_by[row, bank]), bank by bank."""
        ready[following] = np.maximum(ready[following], now + raise_by[row, bank].astype(np.int32))

    def earliest_lane(ready, key, queue, now):
        """Find the candidate of a queue that is ready first.

        Returns the least (clocks from `now` to readiness << KEY_BITS | key), EMPTY without any candidate.
        """
        waits = np.maximum(ready[[ACT, PRE, RD + queue]].astype(np.int64), now) - now
        return np.int32((waits << KEY_BITS | key[queue]).min())
