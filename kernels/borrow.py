"""Arrays without reference counts inside the kernels.

Every call between compiled functions counts references of its array arguments with atomic
instructions, which cost more than what most control instructions do. The caller of an entry kernel
holds its arrays while the kernel runs, so the kernel may work on borrowed ones.
"""


from .jit import JIT


def _borrow(context, builder, kind, value):
    """`value` with the owner of every array in it left out."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        parts = [
            _borrow(context, builder, part, builder.extract_value(value, i)) for i, part in enumerate(kind.types)
        ]
        return context.make_tuple(builder, kind, parts)
    return value


if JIT:
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def borrowed(typingctx, value):
        """The same array, or tuple of arrays, without ownership: for use within one entry kernel."""

        def codegen(context, builder, signature, args):
            return _borrow(context, builder, signature.args[0], args[0])

        return value(value), codegen

else:

    def borrowed(value):
        """Plain Python counts references anyway."""
        return value
