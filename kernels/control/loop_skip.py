"""Skip loops that a run without data need not execute one iteration after the other (spec §1.4-§1.7).

Most instructions belong to innermost loops over matrix, vector and fp instructions whose registers are *affine*: they
move by a constant each iteration. Without the data pass such a loop changes integer registers, counters and compute
time only, all of them in proportion to its iterations. What is left is that no iteration may fail. An operand that
moves by constant steps without passing 2^32 is aligned everywhere if its first value and the step are, and in bounds
if its first and last values are. A loop about which that is not certain is executed as usual, and fails where it
should. Example, 4 iterations with gp1 = 0 and VLEN 64:

    V_ADD_VV gp2, gp1, gp1    gp1 is 0, 64, 128, 192: first 0 and step 64 are multiples of VLEN, 192 is in the SRAM
    S_ADDI_INT gp1, gp1, 64   gp1 has root gp1, offset 64 at the end of the body: its step
"""

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_BLEN,
    CFG_FP_SRAM,
    CFG_MAX_LOOP,
    CFG_MLEN,
    CFG_MOE,
    CFG_ROWS,
    CFG_TILES,
    CFG_VLEN,
    CTL_EXECUTED,
    CTL_GP,
    CTL_LIMIT_AT,
    CTL_TOP_LOOP,
    FP_REGISTERS,
    NO_LOOP,
    OP_COST,
    OP_ID,
    OP_IMM,
    OP_RD,
    OP_RS1,
    OP_RS2,
)
from ..limits import U32_MASK
from ..op_groups import is_elementwise, is_fp, is_reduction

FEWEST = 3  # iterations: fewer are executed sooner than looked at
LONGEST = 64  # words of a body

# Rows of the scratch array `affine`, int64[AFFINE_ROWS, REGISTERS + 1]: a column for each register, one for constants.
# A register's value is that of its root at the start of the iteration, plus its offset.
REGISTERS = 16
ROOT, OFFSET, STEP = range(3)
AFFINE_ROWS = 3
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


@small
def track(affine, table, pc):
    """Track an integer instruction of the body in `affine`.

    Returns False for any other instruction.
    """
    op, rd = table[pc, OP_ID], table[pc, OP_RD]
    if op == isa.S_ADDI_INT:
        rs1 = table[pc, OP_RS1]
        affine[OFFSET, rd] = (affine[OFFSET, rs1] + table[pc, OP_IMM]) & U32_MASK
        affine[ROOT, rd] = affine[ROOT, rs1]
        return True
    if op == isa.S_LUI_INT:
        affine[OFFSET, rd] = (table[pc, OP_IMM] << 12) & U32_MASK
        affine[ROOT, rd] = CONSTANT
        return True
    return False


@small
def start_affine(affine):
    """Make every register its own root."""
    for register in range(REGISTERS + 1):
        affine[ROOT, register] = register
        affine[OFFSET, register] = 0


@small
def scan_body(table, affine, pc):
    """Scan the body of the loop at `pc` to its end, tracking its registers.

    Returns its words, C_LOOP_END among them, or 0 where it has instructions that cannot be skipped.
    """
    start_affine(affine)
    for at in range(pc + 1, min(len(table), pc + 1 + LONGEST)):
        if track(affine, table, at):
            continue
        op = table[at, OP_ID]
        if op == isa.C_LOOP_END:
            return at - pc if table[at, OP_RD] == table[pc, OP_RD] else 0
        if not is_skippable(op):
            return 0
    return 0


@small
def find_steps(affine, counter):
    """Set the step of every register.

    Returns False where the counter is written, or a register ends as a copy of one that is not affine.
    """
    if affine[ROOT, counter] != counter or affine[OFFSET, counter] != 0:
        return False
    affine[OFFSET, counter] = U32_MASK
    for register in range(REGISTERS + 1):
        offset = affine[OFFSET, register]
        affine[STEP, register] = NOT_AFFINE if affine[ROOT, register] != register else offset - (offset >> 31 << 32)
    for register in range(REGISTERS):
        if affine[ROOT, register] != register and affine[STEP, affine[ROOT, register]] == NOT_AFFINE:
            return False
    return True


# --- operands over all iterations ------------------------------------------------------------------


@small
def step_of(affine, register):
    """Look up how far an operand moves from one iteration to the next."""
    return affine[STEP, affine[ROOT, register]]


@small
def first_of(ctl, affine, register, more):
    """Compute the value of a register plus `more` in the first iteration."""
    root = affine[ROOT, register]
    start = 0 if root == CONSTANT else ctl[CTL_GP + root]
    return (start + affine[OFFSET, register] + more) & U32_MASK


@small
def last_of(first, step, times):
    """Compute the value in the last iteration.

    Returns `OUT_OF_BOUNDS` where it is not known or the way there passes 2^32.
    """
    last = first + (times - 1) * step
    return last if step != NOT_AFFINE and 0 <= last <= U32_MASK else OUT_OF_BOUNDS


@small
def rows_in_bounds(ctl, affine, register, count, times):
    """Tell whether `check_rows` of `count` rows from a register on succeeds in every iteration."""
    first, step, vlen = first_of(ctl, affine, register, 0), step_of(affine, register), ctl[CFG_VLEN]
    last = last_of(first, step, times)
    if last == OUT_OF_BOUNDS or first % vlen != 0 or step % vlen != 0:
        return False
    return max(first, last) // vlen + count - 1 < ctl[CFG_ROWS]


@small
def columns_in_bounds(ctl, first, last, step, unit, size):
    """Tell whether a place in `size` elements is a multiple of BLEN units with room for BLEN, in every iteration."""
    blen = ctl[CFG_BLEN]
    if (first % size) % (unit * blen) != 0:
        return False
    if step % size != 0 and (first // size != last // size or step % (unit * blen) != 0):
        return False
    return max(first % size, last % size) // unit + blen <= ctl[CFG_MLEN]


@small
def product_in_bounds(ctl, affine, op, tile, rows, times):
    """Tell whether `resolve_product` of the registers `tile` and `rows` succeeds in every iteration."""
    mlen = ctl[CFG_MLEN]
    size = mlen * mlen
    first, step = first_of(ctl, affine, tile, 0), step_of(affine, tile)
    last = last_of(first, step, times)
    if last == OUT_OF_BOUNDS or mlen != ctl[CFG_VLEN] or max(first, last) // size >= ctl[CFG_TILES]:
        return False
    if op == isa.M_TMV:
        if first % size != 0 or step % size != 0 or ctl[CFG_BLEN] > mlen:
            return False
    else:
        unit = mlen if op == isa.M_TMM or (op == isa.M_MM and ctl[CFG_MOE] != 0) else 1
        if not columns_in_bounds(ctl, first, last, step, unit, size):
            return False
    return rows_in_bounds(ctl, affine, rows, ctl[CFG_BLEN] if op == isa.M_MM or op == isa.M_TMM else 1, times)


@small
def write_out_in_bounds(ctl, affine, op, rd, rs1, imm, times):
    """Tell whether `resolve_write_out` of M_MM_WO or M_MV_WO succeeds in every iteration."""
    mlen = ctl[CFG_MLEN]
    first, step = first_of(ctl, affine, rd, imm), step_of(affine, rd)
    last = last_of(first, step, times)
    if last == OUT_OF_BOUNDS or mlen != ctl[CFG_VLEN] or not columns_in_bounds(ctl, first, last, step, 1, mlen):
        return False
    further = 0
    if op == isa.M_MM_WO:
        further = ctl[CFG_BLEN] - 1
        if rs1 != 0:
            if step_of(affine, rs1) != 0:
                return False
            further *= first_of(ctl, affine, rs1, 0)
    return max(first, last) // mlen + further < ctl[CFG_ROWS]


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
        first, step = first_of(ctl, affine, rs1, imm), step_of(affine, rs1)
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
    """Tell whether the instruction at `pc` succeeds in every iteration."""
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


# --- a loop ----------------------------------------------------------------------------------------


@small
def finish_registers(ctl, affine, times):
    """Set the registers to what they are after the last iteration.

    A copy of a register that moves is one of its last iteration's start; registers that move change last.
    """
    for register in range(REGISTERS):
        root = affine[ROOT, register]
        if root == CONSTANT:
            ctl[CTL_GP + register] = affine[OFFSET, register]
        elif root != register:
            moved = ctl[CTL_GP + root] + (times - 1) * affine[STEP, root]
            ctl[CTL_GP + register] = (moved + affine[OFFSET, register]) & U32_MASK
    for register in range(REGISTERS):
        if affine[ROOT, register] == register:
            ctl[CTL_GP + register] = (ctl[CTL_GP + register] + times * affine[STEP, register]) & U32_MASK


@small
def body_in_bounds(ctl, affine, table, pc, words, times):
    """Tell whether every instruction of the body succeeds in every iteration; leaves `affine` at the body's end."""
    start_affine(affine)
    for at in range(pc + 1, pc + words):
        if not track(affine, table, at) and not in_bounds(ctl, affine, table, at, times):
            return False
    return True


@kernel
def skip_loop(table, ctl, affine, counts, pc, times, budget):
    """Execute all iterations of the loop at `pc` at once.

    The caller adds instructions and cost; the loop never enters the loop stack. It is left alone where `budget` or
    the limits of the loops around it might be reached on the way.

    Returns (words of its body, their cost in ps), or (0, 0) where it has to be executed as usual.
    """
    if times < FEWEST:
        return 0, 0
    words = scan_body(table, affine, pc)
    done = words * times
    if words == 0 or words > ctl[CFG_MAX_LOOP] or done > budget:
        return 0, 0
    if ctl[CTL_TOP_LOOP] != NO_LOOP and ctl[CTL_EXECUTED] + done >= ctl[CTL_LIMIT_AT]:
        return 0, 0
    counter = table[pc, OP_RD]
    old = ctl[CTL_GP + counter]
    ctl[CTL_GP + counter] = times
    if not find_steps(affine, counter) or not body_in_bounds(ctl, affine, table, pc, words, times):
        ctl[CTL_GP + counter] = old
        return 0, 0
    finish_registers(ctl, affine, times)
    cost = 0
    for at in range(pc + 1, pc + words + 1):
        counts[at] += times
        cost += table[at, OP_COST]
    return words, cost
