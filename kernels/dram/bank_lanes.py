"""Work on all banks of a DRAM channel at once, one bank a lane of a CPU vector (spec §4.5, §4.6).

Every command needs one or a few of these two operations. They are LLVM IR on whole vectors: as loops, LLVM unrolls
them into single lanes.
"""

import numpy as np

from ..compiler.jit import JIT
from .state import ACT, BANKS, COLUMN, EMPTY, KEY_BITS, KINDS, PRE, RD

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import element_pointer, splat

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
            kind = ir.FunctionType(I32, [LANES])
            reduce = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.smin.v{BANKS}i32")
            return builder.call(reduce, [best])

        return signature, codegen

    @intrinsic
    def raise_kinds(typingctx, ready, now, raise_by, command, bank):
        """Compute ready[kind] = max(ready[kind], now + raise_by[command, kind, bank]) of every kind, bank by bank."""
        signature = types.void(ready, types.int32, raise_by, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            clocks, table = (context.make_array(sig.args[i])(context, builder, args[i]) for i in (0, 2))
            word, now = args[3].type, splat(builder, args[1], BANKS)
            for kind in range(KINDS):
                row = builder.add(builder.mul(args[3], ir.Constant(word, KINDS)), ir.Constant(word, kind))
                at = builder.mul(builder.add(builder.mul(row, ir.Constant(word, BANKS)), args[4]),
                                 ir.Constant(word, BANKS))
                since = builder.load(element_pointer(builder, table, at, ir.VectorType(I16, BANKS)), align=2)
                since = builder.add(builder.sext(since, LANES), now)
                lanes = _row(builder, clocks, ir.Constant(word, kind))
                builder.store(_larger(builder, builder.load(lanes, align=4), since), lanes, align=4)
            return context.get_dummy_value()

        return signature, codegen

    # Candidates are read by whole vectors soon after they change. A CPU hands a store on to such a load only if it is
    # a whole vector too: no lane is stored alone, nor by a mask, which LLVM makes of a selection that is stored.

    def _only(builder, bank, value, others):
        """Lanes with `value` for a bank and a constant for the others."""
        lanes = ir.Constant(LANES, list(range(BANKS)))
        here = builder.icmp_signed("==", splat(builder, builder.trunc(bank, I32), BANKS), lanes)
        return builder.select(here, splat(builder, value, BANKS), ir.Constant(LANES, [others] * BANKS))

    def _set(builder, lanes, bank, value):
        """Set the lane of a bank."""
        emptied = _larger(builder, builder.load(lanes, align=4), _only(builder, bank, ir.Constant(I32, EMPTY), 0))
        builder.store(_smaller(builder, emptied, _only(builder, bank, value, EMPTY)), lanes, align=4)

    @intrinsic
    def set_candidates(typingctx, key, bank, act, pre, column):
        """Set the candidates of a bank: key[0, :, bank] = act, pre, column."""
        signature = types.void(key, types.int64, types.int32, types.int32, types.int32)

        def codegen(context, builder, sig, args):
            keys = context.make_array(sig.args[0])(context, builder, args[0])
            for kind in range(KINDS):
                _set(builder, _row(builder, keys, ir.Constant(args[1].type, kind)), args[1], args[2 + kind])
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def set_candidate(typingctx, key, kind, bank, value):
        """Set a candidate of a bank: key[0, kind, bank] = value."""
        signature = types.void(key, types.int64, types.int64, types.int32)

        def codegen(context, builder, sig, args):
            keys = context.make_array(sig.args[0])(context, builder, args[0])
            _set(builder, _row(builder, keys, args[1]), args[2], args[3])
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def offer_candidate(typingctx, key, kind, bank, value):
        """Set a candidate of a bank unless it has an older one: the smaller key stays."""
        signature = types.void(key, types.int64, types.int64, types.int32)

        def codegen(context, builder, sig, args):
            lanes = _row(builder, context.make_array(sig.args[0])(context, builder, args[0]), args[1])
            offered = _only(builder, args[2], args[3], EMPTY)
            builder.store(_smaller(builder, builder.load(lanes, align=4), offered), lanes, align=4)
            return context.get_dummy_value()

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

    def raise_kinds(ready, now, raise_by, command, bank):
        """Compute ready[kind] = max(ready[kind], now + raise_by[command, kind, bank]) of every kind, bank by bank."""
        ready[:KINDS] = np.maximum(ready[:KINDS], now + raise_by[command, :, bank].astype(np.int32))

    def set_candidates(key, bank, act, pre, column):
        """Set the candidates of a bank: key[0, :, bank] = act, pre, column."""
        key[0, :, bank] = act, pre, column

    def set_candidate(key, kind, bank, value):
        """Set a candidate of a bank: key[0, kind, bank] = value."""
        key[0, kind, bank] = value

    def offer_candidate(key, kind, bank, value):
        """Set a candidate of a bank unless it has an older one: the smaller key stays."""
        key[0, kind, bank] = min(key[0, kind, bank], value)
