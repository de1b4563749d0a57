"""Tell whether an instruction succeeds, once or in all iterations of a loop (spec §1.4-§1.6).

Asked for every iteration at once, an operand is an *affine* register (`loop_skip`): one that moves by a constant step.
Asked `ONCE`, operands are what the registers hold. Every function says no where it is not certain: the instruction is
executed as usual then, and fails where it should.
"""

from plena_emu import isa

from ..compiler.jit import small
from ..layout import (
    CFG_BLEN,
    CFG_BLEN_SHIFT,
    CFG_FP_SRAM,
    CFG_MLEN,
    CFG_MLEN_SHIFT,
    CFG_MOE,
    CFG_ROWS,
    CFG_TILES,
    CFG_VLEN,
    CFG_VLEN_SHIFT,
    CTL_GP,
    FP_REGISTERS,
    OP_ID,
    OP_IMM,
    OP_RD,
    OP_RS1,
    OP_RS2,
)
from ..limits import U32_MASK
from ..op_groups import is_elementwise, is_fp, is_reduction
from .address_checks import quotient, remainder
from .state import OFFSET, REGISTERS, ROOT, STEP

ONCE = 0  # in place of a number of iterations: the instruction alone, with the registers as they are

CONSTANT = REGISTERS  # the root of constants, 0 everywhere
NOT_AFFINE = 1 << 40  # the step of a register that does not move by a constant
OUT_OF_BOUNDS = -1  # in place of a last value


@small
def is_skippable(op):
    """Tell whether an operation may be in a loop that is skipped, besides S_ADDI_INT and S_LUI_INT."""
    return (
        is_elementwise(op) or is_reduction(op) or is_fp(op) or op == isa.M_MM or op == isa.M_TMM or op == isa.M_MV
        or op == isa.M_TMV or op == isa.M_MM_WO or op == isa.M_MV_WO
    )


# --- operands ----------------------------------------------------------------------------------------


@small
def step_of(affine, register, times):
    """Look up how far an operand moves from one iteration to the next."""
    return 0 if times == ONCE else affine[STEP, affine[ROOT, register]]


@small
def first_of(ctl, affine, register, more, times):
    """Compute the value of a register plus `more` in the first iteration."""
    if times == ONCE:
        return (ctl[CTL_GP + register] + more) & U32_MASK
    root = affine[ROOT, register]
    start = 0 if root == CONSTANT else ctl[CTL_GP + root]
    return (start + affine[OFFSET, register] + more) & U32_MASK


@small
def last_of(first, step, times):
    """Compute the value in the last iteration.

    Returns `OUT_OF_BOUNDS` where it is not known or the way there passes 2^32.
    """
    if times == ONCE:
        return first
    last = first + (times - 1) * step
    return last if step != NOT_AFFINE and 0 <= last <= U32_MASK else OUT_OF_BOUNDS


@small
def rows_in_bounds(ctl, affine, register, count, times):
    """Tell whether `check_rows` of `count` rows from a register on succeeds in every iteration."""
    first, step = first_of(ctl, affine, register, 0, times), step_of(affine, register, times)
    last = last_of(first, step, times)
    vlen, shift = ctl[CFG_VLEN], ctl[CFG_VLEN_SHIFT]
    if last == OUT_OF_BOUNDS or remainder(first, vlen, shift) != 0 or remainder(step, vlen, shift) != 0:
        return False
    return quotient(max(first, last), vlen, shift) + count - 1 < ctl[CFG_ROWS]


# --- instructions ------------------------------------------------------------------------------------


@small
def columns_in_bounds(ctl, first, last, step, unit, unit_shift, size, size_shift):
    """Tell whether a place in `size` elements is a multiple of BLEN units with room for BLEN, in every iteration.

    A shift is the log2 of its number, or negative where that has none (`address_checks.quotient`).
    """
    blen = ctl[CFG_BLEN]
    pitch = unit * blen
    pitch_shift = unit_shift + ctl[CFG_BLEN_SHIFT] if min(unit_shift, ctl[CFG_BLEN_SHIFT]) >= 0 else -1
    if remainder(remainder(first, size, size_shift), pitch, pitch_shift) != 0:
        return False
    if remainder(step, size, size_shift) != 0:
        if quotient(first, size, size_shift) != quotient(last, size, size_shift):
            return False
        if remainder(step, pitch, pitch_shift) != 0:
            return False
    furthest = max(remainder(first, size, size_shift), remainder(last, size, size_shift))
    return quotient(furthest, unit, unit_shift) + blen <= ctl[CFG_MLEN]


@small
def product_in_bounds(ctl, affine, op, tile, rows, times):
    """Tell whether `resolve_product` of the registers `tile` and `rows` succeeds in every iteration."""
    mlen, mlen_shift = ctl[CFG_MLEN], ctl[CFG_MLEN_SHIFT]
    size, size_shift = mlen * mlen, 2 * mlen_shift
    first, step = first_of(ctl, affine, tile, 0, times), step_of(affine, tile, times)
    last = last_of(first, step, times)
    if last == OUT_OF_BOUNDS or mlen != ctl[CFG_VLEN]:
        return False
    if quotient(max(first, last), size, size_shift) >= ctl[CFG_TILES]:
        return False
    if op == isa.M_TMV:
        if remainder(first, size, size_shift) != 0 or remainder(step, size, size_shift) != 0:
            return False
        if ctl[CFG_BLEN] > mlen:
            return False
    else:
        whole_rows = op == isa.M_TMM or (op == isa.M_MM and ctl[CFG_MOE] != 0)
        unit = mlen if whole_rows else 1
        unit_shift = mlen_shift if whole_rows else 0
        if not columns_in_bounds(ctl, first, last, step, unit, unit_shift, size, size_shift):
            return False
    return rows_in_bounds(ctl, affine, rows, ctl[CFG_BLEN] if op == isa.M_MM or op == isa.M_TMM else 1, times)


@small
def write_out_in_bounds(ctl, affine, op, rd, rs1, imm, times):
    """Tell whether `resolve_write_out` of M_MM_WO or M_MV_WO succeeds in every iteration."""
    mlen, mlen_shift = ctl[CFG_MLEN], ctl[CFG_MLEN_SHIFT]
    first, step = first_of(ctl, affine, rd, imm, times), step_of(affine, rd, times)
    last = last_of(first, step, times)
    if last == OUT_OF_BOUNDS or mlen != ctl[CFG_VLEN]:
        return False
    if not columns_in_bounds(ctl, first, last, step, 1, 0, mlen, mlen_shift):
        return False
    further = 0
    if op == isa.M_MM_WO:
        further = ctl[CFG_BLEN] - 1
        if rs1 != 0:
            if step_of(affine, rs1, times) != 0:
                return False
            further *= first_of(ctl, affine, rs1, 0, times)
    return quotient(max(first, last), mlen, mlen_shift) + further < ctl[CFG_ROWS]


@small
def vector_in_bounds(ctl, affine, op, rd, rs1, rs2, times):
    """Tell whether `resolve_vector`, without V_TOPK, succeeds in every iteration."""
    if op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        return rd == 0 or (rd < FP_REGISTERS and rows_in_bounds(ctl, affine, rs1, 1, times))
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        if not rows_in_bounds(ctl, affine, rs2, 1, times):
            return False
    elif op != isa.V_SHIFT_V and op != isa.V_EXP_V and op != isa.V_RECI_V and rs2 >= FP_REGISTERS:
        return False
    return rows_in_bounds(ctl, affine, rs1, 1, times) and rows_in_bounds(ctl, affine, rd, 1, times)


@small
def fp_in_bounds(ctl, affine, op, rd, rs1, rs2, imm, times):
    """Tell whether `resolve_fp` succeeds in every iteration."""
    if op == isa.S_LD_FP or op == isa.S_ST_FP or op == isa.S_MAP_V_FP:
        first, step = first_of(ctl, affine, rs1, imm, times), step_of(affine, rs1, times)
        last = last_of(first, step, times)
        if op == isa.S_MAP_V_FP:
            if not rows_in_bounds(ctl, affine, rd, 1, times):
                return False
            return last != OUT_OF_BOUNDS and max(first, last) + ctl[CFG_VLEN] - 1 < ctl[CFG_FP_SRAM]
        return last != OUT_OF_BOUNDS and rd < FP_REGISTERS and max(first, last) < ctl[CFG_FP_SRAM]
    if rd == 0:
        return True
    if op == isa.S_EXP_FP or op == isa.S_RECI_FP or op == isa.S_SQRT_FP:
        rs2 = 0
    return max(rd, rs1, rs2) < FP_REGISTERS


@small
def in_bounds(ctl, affine, table, pc, times):
    """Tell whether the skippable instruction at `pc` succeeds in every iteration, or `ONCE`."""
    op, rd, rs1, rs2, imm = (
        table[pc, OP_ID], table[pc, OP_RD], table[pc, OP_RS1], table[pc, OP_RS2], table[pc, OP_IMM],
    )
    if op == isa.M_TMM:
        return product_in_bounds(ctl, affine, op, rs2, rs1, times)
    if op == isa.M_MM or op == isa.M_MV or op == isa.M_TMV:
        return product_in_bounds(ctl, affine, op, rs1, rs2, times)
    if op == isa.M_MM_WO or op == isa.M_MV_WO:
        return write_out_in_bounds(ctl, affine, op, rd, rs1, imm, times)
    if is_fp(op):
        return fp_in_bounds(ctl, affine, op, rd, rs1, rs2, imm, times)
    return vector_in_bounds(ctl, affine, op, rd, rs1, rs2, times)
