"""Loops that a run without data need not execute one iteration after the other (spec §1.4-§1.7).

Most instructions belong to innermost loops over matrix, vector and fp instructions whose registers move by a
constant each iteration. Without the data pass such a loop changes integer registers, counters and compute time only,
all of them in proportion to its iterations. What is left is that no iteration may fail: an operand that moves by
constant steps without passing 2^32 is aligned everywhere if its first value and the step are, and within its bounds if
its first and last values are. A loop about which that is not certain is executed as usual, and fails where it should.
"""

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_BLEN,
    CFG_MAX_LOOP,
    CFG_MLEN,
    CFG_MOE,
    CFG_ROWS,
    CFG_TILES,
    CFG_VLEN,
    CTL_DEPTH,
    CTL_EXECUTED,
    CTL_GP,
    CTL_LIMIT_AT,
    FP_REGISTERS,
    FP_SRAM_SIZE,
    OP_COST,
    OP_ID,
    OP_IMM,
    OP_RD,
    OP_RS1,
    OP_RS2,
)
from ..limits import U32_MASK

FEWEST = 3  # iterations: fewer are executed sooner than looked at
LONGEST = 64  # words of a body

# Rows of the scratch array `lines` (int64[LINES, REGISTERS + 1]), a column for each register and one for constants.
# A register's value is that of its root at the start of the iteration, plus its offset.
REGISTERS = 16
ROOT, OFFSET, STEP = range(3)
LINES = 3
CONSTANT = REGISTERS  # the root of constants, 0 everywhere
NOT_A_LINE = 1 << 40  # the step of a register that does not move by a constant
NOT_INSIDE = -1  # in place of a last value


@small
def is_skippable(op):
    """Whether an operation may be in a loop that is skipped, besides S_ADDI_INT and S_LUI_INT."""
    return (
        isa.V_ADD_VV <= op <= isa.S_MAP_V_FP or op == isa.M_MM or op == isa.M_TMM or op == isa.M_MV or op == isa.M_TMV
        or op == isa.M_MM_WO or op == isa.M_MV_WO or op == isa.V_SHIFT_V or op == isa.V_MAX_VF or op == isa.V_MIN_VF
    )


@small
def move(lines, table, pc):
    """Follow an integer instruction of the body; False for any other."""
    op, rd = table[pc, OP_ID], table[pc, OP_RD]
    if op == isa.S_ADDI_INT:
        rs1 = table[pc, OP_RS1]
        lines[OFFSET, rd] = (lines[OFFSET, rs1] + table[pc, OP_IMM]) & U32_MASK
        lines[ROOT, rd] = lines[ROOT, rs1]
        return True
    if op == isa.S_LUI_INT:
        lines[OFFSET, rd] = (table[pc, OP_IMM] << 12) & U32_MASK
        lines[ROOT, rd] = CONSTANT
        return True
    return False


@small
def start_lines(lines):
    """Every register is its own root."""
    for x in range(REGISTERS + 1):
        lines[ROOT, x] = x
        lines[OFFSET, x] = 0


@small
def follow(table, lines, pc):
    """Follow the body of the loop at `pc` to its end: its words, C_LOOP_END among them, or 0 where it has others."""
    start_lines(lines)
    for at in range(pc + 1, min(len(table), pc + 1 + LONGEST)):
        if move(lines, table, at):
            continue
        op = table[at, OP_ID]
        if op == isa.C_LOOP_END:
            return at - pc if table[at, OP_RD] == table[pc, OP_RD] else 0
        if not is_skippable(op):
            return 0
    return 0


@small
def find_steps(lines, counter):
    """Set the steps; False where the counter is written, or a register ends as what does not move by a constant."""
    if lines[ROOT, counter] != counter or lines[OFFSET, counter] != 0:
        return False
    lines[OFFSET, counter] = U32_MASK
    for x in range(REGISTERS + 1):
        offset = lines[OFFSET, x]
        lines[STEP, x] = NOT_A_LINE if lines[ROOT, x] != x else offset - (offset >> 31 << 32)
    for x in range(REGISTERS):
        if lines[ROOT, x] != x and lines[STEP, lines[ROOT, x]] == NOT_A_LINE:
            return False
    return True


# --- operands over all iterations ------------------------------------------------------------------


@small
def step_of(lines, x):
    """How far an operand moves from one iteration to the next."""
    return lines[STEP, lines[ROOT, x]]


@small
def first_of(ctl, lines, x, more):
    """Value of register `x` plus `more` in the first iteration."""
    root = lines[ROOT, x]
    start = 0 if root == CONSTANT else ctl[CTL_GP + root]
    return (start + lines[OFFSET, x] + more) & U32_MASK


@small
def last_of(first, step, times):
    """Value in the last iteration, `NOT_INSIDE` where it is not known or the way there passes 2^32."""
    last = first + (times - 1) * step
    return last if step != NOT_A_LINE and 0 <= last <= U32_MASK else NOT_INSIDE


@small
def rows_hold(ctl, lines, x, count, times):
    """`check_rows` of `count` rows from register `x` on, in every iteration."""
    first, step, vlen = first_of(ctl, lines, x, 0), step_of(lines, x), ctl[CFG_VLEN]
    last = last_of(first, step, times)
    if last == NOT_INSIDE or first % vlen != 0 or step % vlen != 0:
        return False
    return max(first, last) // vlen + count - 1 < ctl[CFG_ROWS]


@small
def columns_hold(ctl, first, last, step, unit, size):
    """Whether the place within `size` elements is a multiple of BLEN units with room for BLEN, in every iteration."""
    blen = ctl[CFG_BLEN]
    if (first % size) % (unit * blen) != 0:
        return False
    if step % size != 0 and (first // size != last // size or step % (unit * blen) != 0):
        return False
    return max(first % size, last % size) // unit + blen <= ctl[CFG_MLEN]


@small
def product_holds(ctl, lines, op, m, v, times):
    """`resolve_product` with the tile at register `m` and the rows at register `v`, in every iteration."""
    mlen = ctl[CFG_MLEN]
    size = mlen * mlen
    first, step = first_of(ctl, lines, m, 0), step_of(lines, m)
    last = last_of(first, step, times)
    if last == NOT_INSIDE or mlen != ctl[CFG_VLEN] or max(first, last) // size >= ctl[CFG_TILES]:
        return False
    if op == isa.M_TMV:
        if first % size != 0 or step % size != 0 or ctl[CFG_BLEN] > mlen:
            return False
    else:
        unit = mlen if op == isa.M_TMM or (op == isa.M_MM and ctl[CFG_MOE] != 0) else 1
        if not columns_hold(ctl, first, last, step, unit, size):
            return False
    return rows_hold(ctl, lines, v, ctl[CFG_BLEN] if op == isa.M_MM or op == isa.M_TMM else 1, times)


@small
def write_out_holds(ctl, lines, op, rd, rs1, imm, times):
    """`resolve_write_out` of M_MM_WO and M_MV_WO in every iteration."""
    mlen = ctl[CFG_MLEN]
    first, step = first_of(ctl, lines, rd, imm), step_of(lines, rd)
    last = last_of(first, step, times)
    if last == NOT_INSIDE or mlen != ctl[CFG_VLEN] or not columns_hold(ctl, first, last, step, 1, mlen):
        return False
    further = 0
    if op == isa.M_MM_WO:
        further = ctl[CFG_BLEN] - 1
        if rs1 != 0:
            if step_of(lines, rs1) != 0:
                return False
            further *= first_of(ctl, lines, rs1, 0)
    return max(first, last) // mlen + further < ctl[CFG_ROWS]


@small
def vector_holds(ctl, lines, op, rd, rs1, rs2, times):
    """`resolve_vector`, without V_TOPK, in every iteration."""
    if op == isa.V_RED_SUM or op == isa.V_RED_MAX:
        return rd == 0 or (rd < FP_REGISTERS and rows_hold(ctl, lines, rs1, 1, times))
    if op == isa.V_ADD_VV or op == isa.V_SUB_VV or op == isa.V_MUL_VV:
        if not rows_hold(ctl, lines, rs2, 1, times):
            return False
    elif op != isa.V_SHIFT_V and op != isa.V_EXP_V and op != isa.V_RECI_V and rs2 >= FP_REGISTERS:
        return False
    return rows_hold(ctl, lines, rs1, 1, times) and rows_hold(ctl, lines, rd, 1, times)


@small
def fp_holds(ctl, lines, op, rd, rs1, rs2, imm, times):
    """`resolve_fp` in every iteration."""
    if op == isa.S_LD_FP or op == isa.S_ST_FP or op == isa.S_MAP_V_FP:
        first, step = first_of(ctl, lines, rs1, imm), step_of(lines, rs1)
        last = last_of(first, step, times)
        if op == isa.S_MAP_V_FP:
            if not rows_hold(ctl, lines, rd, 1, times):
                return False
            return last != NOT_INSIDE and max(first, last) + ctl[CFG_VLEN] - 1 < FP_SRAM_SIZE
        return last != NOT_INSIDE and rd < FP_REGISTERS and max(first, last) < FP_SRAM_SIZE
    if rd == 0:
        return True
    if op == isa.S_EXP_FP or op == isa.S_RECI_FP or op == isa.S_SQRT_FP:
        rs2 = 0
    return max(rd, rs1, rs2) < FP_REGISTERS


@small
def holds(ctl, lines, table, pc, times):
    """Whether the instruction at `pc` succeeds in every iteration."""
    op, rd, rs1, rs2, imm = (
        table[pc, OP_ID], table[pc, OP_RD], table[pc, OP_RS1], table[pc, OP_RS2], table[pc, OP_IMM],
    )
    if op == isa.M_TMM:
        return product_holds(ctl, lines, op, rs2, rs1, times)
    if op == isa.M_MM or op == isa.M_MV or op == isa.M_TMV:
        return product_holds(ctl, lines, op, rs1, rs2, times)
    if op == isa.M_MM_WO or op == isa.M_MV_WO:
        return write_out_holds(ctl, lines, op, rd, rs1, imm, times)
    if isa.S_ADD_FP <= op <= isa.S_MAP_V_FP:
        return fp_holds(ctl, lines, op, rd, rs1, rs2, imm, times)
    return vector_holds(ctl, lines, op, rd, rs1, rs2, times)


# --- a loop ----------------------------------------------------------------------------------------


@small
def finish_registers(ctl, lines, times):
    """Set the registers to what they are after the last iteration.

    A copy of a register that moves is one of its last iteration's start; registers that move change last.
    """
    for x in range(REGISTERS):
        root = lines[ROOT, x]
        if root == CONSTANT:
            ctl[CTL_GP + x] = lines[OFFSET, x]
        elif root != x:
            ctl[CTL_GP + x] = (ctl[CTL_GP + root] + (times - 1) * lines[STEP, root] + lines[OFFSET, x]) & U32_MASK
    for x in range(REGISTERS):
        if lines[ROOT, x] == x:
            ctl[CTL_GP + x] = (ctl[CTL_GP + x] + times * lines[STEP, x]) & U32_MASK


@small
def body_holds(ctl, lines, table, pc, words, times):
    """Whether every instruction of the body succeeds in every iteration; leaves `lines` at the body's end."""
    start_lines(lines)
    for at in range(pc + 1, pc + words):
        if not move(lines, table, at) and not holds(ctl, lines, table, at, times):
            return False
    return True


@kernel
def skip_loop(table, ctl, lines, counts, pc, times, budget):
    """Execute all iterations of the loop at `pc` at once: (words of its body, their cost in ps), or (0, 0).

    The caller adds instructions and cost; the loop never enters the loop stack. It is left alone where `budget` or
    the limits of the loops around it might be reached on the way.
    """
    if times < FEWEST:
        return 0, 0
    words = follow(table, lines, pc)
    done = words * times
    if words == 0 or words > ctl[CFG_MAX_LOOP] or done > budget:
        return 0, 0
    if ctl[CTL_DEPTH] > 0 and ctl[CTL_EXECUTED] + done >= ctl[CTL_LIMIT_AT]:
        return 0, 0
    counter = table[pc, OP_RD]
    before = ctl[CTL_GP + counter]
    ctl[CTL_GP + counter] = times
    if not find_steps(lines, counter) or not body_holds(ctl, lines, table, pc, words, times):
        ctl[CTL_GP + counter] = before
        return 0, 0
    finish_registers(ctl, lines, times)
    cost = 0
    for at in range(pc + 1, pc + words + 1):
        counts[at] += times
        cost += table[at, OP_COST]
    return words, cost
