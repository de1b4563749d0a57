"""Let kernels on several threads agree: counters in an int64 array that each thread sees change in the same order.

`fetch_add(array, at, value)` adds to an element and returns what it was; `exchange_if(array, at, old, new)` writes it
where it is still `old`, and tells whether it was; `load_acquire(array, at)` reads it, and what the writer wrote before
is seen after; `store_release(array, at, value)` writes it behind everything written before. `pause()` tells the CPU
that a thread waits for one of them, and `call_address(address, argument)` calls a C function from int to int, by which
the host has a waiting thread give up its CPU.

Without the compiler they are the plain operations: kernels in plain Python run on one thread.
"""

from .jit import JIT, MODE
from .modes import PYTHON

IS_ATOMIC = MODE != PYTHON  # whether kernels may run on several threads that share an array of counters

if JIT:
    import platform

    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from .llvm_ir import element_pointer

    _ALIGN = 8

    def _pointer(context, builder, kind, array, index):
        return element_pointer(builder, context.make_array(kind)(context, builder, array), index, ir.IntType(64))

    @intrinsic
    def fetch_add(typingctx, array, at, value):
        """Add to an element; its value before."""

        def codegen(context, builder, signature, args):
            pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
            return builder.atomic_rmw("add", pointer, args[2], "seq_cst")

        return types.int64(array, types.int64, types.int64), codegen

    @intrinsic
    def exchange_if(typingctx, array, at, old, new):
        """Write an element that is still `old`; whether it was."""

        def codegen(context, builder, signature, args):
            pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
            found = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
            return builder.extract_value(found, 1)

        return types.boolean(array, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def load_acquire(typingctx, array, at):
        """Read an element."""

        def codegen(context, builder, signature, args):
            pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
            return builder.load_atomic(pointer, "acquire", _ALIGN)

        return types.int64(array, types.int64), codegen

    @intrinsic
    def store_release(typingctx, array, at, value):
        """Write an element."""

        def codegen(context, builder, signature, args):
            pointer = _pointer(context, builder, signature.args[0], args[0], args[1])
            builder.store_atomic(args[2], pointer, "release", _ALIGN)
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64), codegen

    @intrinsic
    def pause(typingctx):
        """Wait for a moment."""

        def codegen(context, builder, signature, args):
            if platform.machine() in ("x86_64", "AMD64"):
                kind = ir.FunctionType(ir.VoidType(), [])
                builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse2.pause"), [])
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def call_address(typingctx, address, argument):
        """Call the C function at an address; what it returns."""

        def codegen(context, builder, signature, args):
            word = ir.IntType(32)
            kind = ir.FunctionType(word, [word])
            function = builder.inttoptr(args[0], kind.as_pointer())
            found = builder.call(function, [builder.trunc(args[1], word)])
            return builder.sext(found, ir.IntType(64))

        return types.int64(types.int64, types.int64), codegen

else:

    def fetch_add(array, at, value):
        """Add to an element; its value before."""
        before = array[at]
        array[at] += value
        return before

    def exchange_if(array, at, old, new):
        """Write an element that is still `old`; whether it was."""
        if array[at] != old:
            return False
        array[at] = new
        return True

    def load_acquire(array, at):
        """Read an element."""
        return array[at]

    def store_release(array, at, value):
        """Write an element."""
        array[at] = value

    def pause():
        """Wait for a moment."""

    def call_address(address, argument):
        """Call nothing: nobody waits."""
        return 0
