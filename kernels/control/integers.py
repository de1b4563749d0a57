"""Execute the instructions that compute integer registers from others and from immediates (spec §1.6)."""

from plena_emu import isa

from ..compiler.jit import small
from ..layout import CTL_GP, OP_IMM, OP_RD, OP_RS1, OP_RS2
from ..limits import U32_MASK


@small
def product_u32(a, b):
    """Multiply two u32, modulo 2^32, without leaving 63 bits (so that plain Python agrees)."""
    return (a * (b & 0xFFFF) + (((a * (b >> 16)) & 0xFFFF) << 16)) & U32_MASK


@small
def execute_integer(ctl, table, pc, op):
    """Execute the instruction at `pc`, if it is one of these.

    Returns whether it is.
    """
    rd, a = CTL_GP + table[pc, OP_RD], ctl[CTL_GP + table[pc, OP_RS1]]
    if op == isa.S_ADDI_INT:
        ctl[rd] = (a + table[pc, OP_IMM]) & U32_MASK
    elif op == isa.S_ADD_INT:
        ctl[rd] = (a + ctl[CTL_GP + table[pc, OP_RS2]]) & U32_MASK
    elif op == isa.S_SUB_INT:
        ctl[rd] = (a - ctl[CTL_GP + table[pc, OP_RS2]]) & U32_MASK
    elif op == isa.S_MUL_INT:
        ctl[rd] = product_u32(a, ctl[CTL_GP + table[pc, OP_RS2]])
    elif op == isa.S_LUI_INT:
        ctl[rd] = (table[pc, OP_IMM] << 12) & U32_MASK
    else:
        return False
    return True
