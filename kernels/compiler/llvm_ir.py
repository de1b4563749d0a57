"""Pieces of LLVM IR that several intrinsics share; imported only where kernels are compiled."""

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils

llvm.initialize_native_asmparser()  # for inline assembly

F32 = ir.FloatType()


class _Brain(ir.Type):
    """The type `bfloat`, which llvmlite lacks: eight bits of exponent and seven of mantissa."""

    def _to_string(self):
        return "bfloat"


BF16 = _Brain()


def element_pointer(builder, array, index, kind):
    """Pointer to `array[index]`, as a pointer to `kind`."""
    return builder.bitcast(builder.gep(array.data, [index]), kind.as_pointer())


def splat(builder, value, lanes):
    """Vector with `value` in every lane."""
    vector = ir.VectorType(value.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)


def reduced(builder, name, vector):
    """Integer made of all elements of a vector of integers by an operation: `or`, `smin`, `umax` and the like."""
    kind = ir.FunctionType(vector.type.element, [vector.type])
    symbol = f"llvm.vector.reduce.{name}.v{vector.type.count}i{vector.type.element.width}"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, symbol), [vector])
