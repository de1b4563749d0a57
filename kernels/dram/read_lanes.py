"""Work on all banks of an idle channel at once, one bank a lane of 16 bits of a CPU vector (spec §4.5, §4.6).

A list of reads on an idle memory (`idle_reads`) has few reads and few clocks, so that lanes of half the width of those
in `bank_lanes` hold both. A command is one operation: it raises the clocks of all banks, changes the candidates of its
own bank, and finds the oldest candidate that is allowed at the next clock.

Candidates are read by whole vectors soon after they change. A CPU hands a store on to such a load only if it is a whole
vector too: no lane is stored alone, nor by a mask. So lanes are chosen by rows of a table, of which LLVM makes no mask.
"""

import numpy as np

from ..compiler.jit import JIT
from .state import BANKS, KINDS

WAIT_SHIFT = 14  # bits of a key; a lane's value in a search has the clocks to wait above it
LATER = 3  # that many clocks, or more
EMPTY = (1 << 16) - 1  # key of no candidate, as all that have bits at or above WAIT_SHIFT

if JIT:
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from ..compiler.llvm_ir import element_pointer, reduced, splat

    I16, I64 = ir.IntType(16), ir.IntType(64)
    LANES = ir.VectorType(I16, BANKS)
    ALL = ir.Constant(LANES, [EMPTY] * BANKS)
    LARGEST_KEY = ir.Constant(LANES, [(1 << WAIT_SHIFT) - 1] * BANKS)

    def _array(context, builder, sig, args, number):
        return context.make_array(sig.args[number])(context, builder, args[number])

    def _row(builder, array, *index):
        """Pointer to a row of lanes of a C-contiguous array of 16 bits, whose last dimensions are in `index`."""
        flat = None
        for place, size in index:
            flat = place if flat is None else builder.add(builder.mul(flat, ir.Constant(I64, size)), place)
        return element_pointer(builder, array, builder.mul(flat, ir.Constant(I64, BANKS)), LANES)

    def _load(builder, pointer):
        return builder.load(pointer, align=2)

    def _larger(builder, a, b):
        return builder.select(builder.icmp_unsigned(">", a, b), a, b)

    def _smaller(builder, a, b):
        return builder.select(builder.icmp_unsigned("<", a, b), a, b)

    def _lanes(builder, value):
        return splat(builder, builder.trunc(value, I16), BANKS)

    def _least(builder, lanes):
        return builder.zext(reduced(builder, "umin", lanes), I64)

    def _waiting(builder, best, ready, key, now):
        """Smaller of `best` and the values of lanes: clocks from `now` until ready, at most LATER, above the key."""
        kind = ir.FunctionType(LANES, [LANES, LANES])
        minus = cgutils.get_or_insert_function(builder.module, kind, f"llvm.usub.sat.v{BANKS}i16")
        wait = _smaller(builder, builder.call(minus, [ready, now]), ir.Constant(LANES, [LATER] * BANKS))
        value = builder.or_(builder.shl(wait, ir.Constant(LANES, [WAIT_SHIFT] * BANKS)), key)
        return value if best is None else _smaller(builder, best, value)

    def _changed(builder, key, only, value):
        """Lanes of `key`, those where `only` is all ones as in `value`."""
        return builder.xor(key, builder.and_(builder.xor(key, value), only))

    def _oldest(builder, best, ready, key, now):
        """Smaller of `best` and the keys of lanes that are ready at `now`."""
        allowed = builder.select(builder.icmp_unsigned("<=", ready, now), key, ALL)
        return allowed if best is None else _smaller(builder, best, allowed)

    @intrinsic
    def issue(typingctx, ready, key, now, raise_by, lane, command, bank, act, pre, column):
        """Issue a command for a bank, whose candidates then are key[:, bank] = act, pre, column.

        Computes ready[kind] = max(ready[kind], now + raise_by[command, bank, kind]) of every kind, bank by bank.

        Returns the least (clocks from now + 1 until the candidate is allowed << WAIT_SHIFT | key); LATER clocks stand
        for more, and for no candidate.
        """
        signature = types.int64(ready, key, types.int64, raise_by, lane, *[types.int64] * 5)

        def codegen(context, builder, sig, args):
            ready, key, table, lane = (_array(context, builder, sig, args, i) for i in (0, 1, 3, 4))
            now, command, bank = args[2], args[5], args[6]
            at, after = _lanes(builder, now), _lanes(builder, builder.add(now, ir.Constant(I64, 1)))
            only = _load(builder, _row(builder, lane, (bank, BANKS)))
            best = None
            for kind in range(KINDS):
                number = ir.Constant(I64, kind)
                clocks = _load(builder, _row(builder, table, (command, 0), (bank, BANKS), (number, KINDS)))
                row = _row(builder, ready, (number, KINDS))
                since = _larger(builder, _load(builder, row), builder.add(clocks, at))
                builder.store(since, row, align=2)
                row = _row(builder, key, (number, KINDS))
                keys = _changed(builder, _load(builder, row), only, _lanes(builder, args[7 + kind]))
                builder.store(keys, row, align=2)
                best = _waiting(builder, best, since, keys, after)
            return _least(builder, best)

        return signature, codegen

    @intrinsic
    def offer(typingctx, key, lane, kind, bank, value):
        """Make a read a candidate of a bank that has none of this kind: key[kind, bank] = value."""
        signature = types.void(key, lane, types.int64, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            key, lane = (_array(context, builder, sig, args, i) for i in (0, 1))
            row = _row(builder, key, (args[2], KINDS))
            only = _load(builder, _row(builder, lane, (args[3], BANKS)))
            builder.store(_changed(builder, _load(builder, row), only, _lanes(builder, args[4])), row, align=2)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def hold_lanes(typingctx, ready, kind, node, rule, bank, since):
        """Allow a kind of command no sooner than `since` to the banks where node[rule, bank] is all ones."""
        signature = types.void(ready, types.int64, node, types.int64, types.int64, types.int64)

        def codegen(context, builder, sig, args):
            ready, node = (_array(context, builder, sig, args, i) for i in (0, 2))
            row = _row(builder, ready, (args[1], KINDS))
            held = _load(builder, _row(builder, node, (args[3], 0), (args[4], BANKS)))
            held = builder.and_(held, _lanes(builder, args[5]))
            builder.store(_larger(builder, _load(builder, row), held), row, align=2)
            return context.get_dummy_value()

        return signature, codegen

    @intrinsic
    def first_allowed(typingctx, ready, key):
        """Find the first clock at which some candidate is allowed, EMPTY without any candidate."""
        signature = types.int64(ready, key)

        def codegen(context, builder, sig, args):
            ready, key = (_array(context, builder, sig, args, i) for i in (0, 1))
            best = None
            for kind in range(KINDS):
                number = ir.Constant(I64, kind)
                keys = _load(builder, _row(builder, key, (number, KINDS)))
                none = builder.sext(builder.icmp_unsigned(">", keys, LARGEST_KEY), LANES)
                since = builder.or_(_load(builder, _row(builder, ready, (number, KINDS))), none)
                best = since if best is None else _smaller(builder, best, since)
            return _least(builder, best)

        return signature, codegen

    @intrinsic
    def oldest_allowed(typingctx, ready, key, now):
        """Find the oldest candidate that is allowed at `now`, EMPTY for none."""
        signature = types.int64(ready, key, types.int64)

        def codegen(context, builder, sig, args):
            ready, key = (_array(context, builder, sig, args, i) for i in (0, 1))
            best = None
            for kind in range(KINDS):
                row = (ir.Constant(I64, kind), KINDS)
                best = _oldest(builder, best, _load(builder, _row(builder, ready, row)),
                               _load(builder, _row(builder, key, row)), _lanes(builder, args[2]))
            return _least(builder, best)

        return signature, codegen

else:

    def issue(ready, key, now, raise_by, lane, command, bank, act, pre, column):
        """Issue a command for a bank, whose candidates then are key[:, bank] = act, pre, column.

        Computes ready[kind] = max(ready[kind], now + raise_by[command, bank, kind]) of every kind, bank by bank.

        Returns the least (clocks from now + 1 until the candidate is allowed << WAIT_SHIFT | key); LATER clocks stand
        for more, and for no candidate.
        """
        ready[:] = np.maximum(ready, np.uint16(now) + raise_by[command, bank])
        key[:, bank] = np.array((act, pre, column)) & EMPTY
        waits = np.clip(ready.astype(np.int64) - (now + 1), 0, LATER)
        return np.int64((waits << WAIT_SHIFT | key).min())

    def offer(key, lane, kind, bank, value):
        """Make a read a candidate of a bank that has none of this kind: key[kind, bank] = value."""
        key[kind, bank] = value

    def hold_lanes(ready, kind, node, rule, bank, since):
        """Allow a kind of command no sooner than `since` to the banks where node[rule, bank] is all ones."""
        ready[kind] = np.maximum(ready[kind], node[rule, bank] & np.uint16(since))

    def first_allowed(ready, key):
        """Find the first clock at which some candidate is allowed, EMPTY without any candidate."""
        return np.int64(np.where(key >> WAIT_SHIFT != 0, EMPTY, ready).min())

    def oldest_allowed(ready, key, now):
        """Find the oldest candidate that is allowed at `now`, EMPTY for none."""
        return np.int64(np.where(ready <= now, key, EMPTY).min())
