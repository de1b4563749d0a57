"""Skip loops that a run without data need not execute one iteration after the other (spec §1.4-§1.7).

Most instructions belong to innermost loops over matrix, vector and fp instructions whose registers are *affine*: they
move by a constant each iteration. Without the data pass such a loop changes integer registers, counters and compute
time only, all of them in proportion to its iterations. What is left is that no iteration may fail (`in_bounds`). An
operand that moves by constant steps without passing 2^32 is aligned everywhere if its first value and the step are,
and in bounds if its first and last values are. A loop about which that is not certain is executed as usual, and fails
where it should. Example, 4 iterations with gp1 = 0 and VLEN 64:

    V_ADD_VV gp2, gp1, gp1    gp1 is 0, 64, 128, 192: first 0 and step 64 are multiples of VLEN, 192 is in the SRAM
    S_ADDI_INT gp1, gp1, 64   gp1 has root gp1, offset 64 at the end of the body: its step

Bodies are short and write few registers. So what is known about registers (`affine`) is that every one stays as it
is, whenever no loop is looked at; a loop changes the columns of the registers it writes, and puts them back.
"""

from plena_emu import isa

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_MAX_LOOP,
    CTL_EXECUTED,
    CTL_GP,
    CTL_LIMIT_AT,
    CTL_TOP_LOOP,
    NO_LOOP,
    OP_COST,
    OP_ID,
    OP_IMM,
    OP_RD,
    OP_RS1,
)
from ..limits import U32_MASK
from .in_bounds import CONSTANT, NOT_AFFINE, in_bounds, is_skippable
from .state import OFFSET, ROOT, STEP

FEWEST = 3  # iterations: fewer are executed sooner than looked at
LONGEST = 64  # words of a body


# --- what a body makes of the registers --------------------------------------------------------------


@small
def is_tracked(op):
    """Tell whether an operation is one of those whose result is followed through a body."""
    return op == isa.S_ADDI_INT or op == isa.S_LUI_INT


@small
def track(affine, table, pc):
    """Track the integer instruction at `pc` in `affine`."""
    rd = table[pc, OP_RD]
    if table[pc, OP_ID] == isa.S_ADDI_INT:
        rs1 = table[pc, OP_RS1]
        affine[OFFSET, rd] = (affine[OFFSET, rs1] + table[pc, OP_IMM]) & U32_MASK
        affine[ROOT, rd] = affine[ROOT, rs1]
    else:
        affine[OFFSET, rd] = (table[pc, OP_IMM] << 12) & U32_MASK
        affine[ROOT, rd] = CONSTANT


@small
def body_words(table, pc):
    """Count the words of the body of the loop at `pc`, its C_LOOP_END among them.

    Returns 0 where it has instructions that cannot be skipped.
    """
    for at in range(pc + 1, min(len(table), pc + 1 + LONGEST)):
        op = table[at, OP_ID]
        if op == isa.C_LOOP_END:
            return at - pc if table[at, OP_RD] == table[pc, OP_RD] else 0
        if not is_tracked(op) and not is_skippable(op):
            return 0
    return 0


@small
def restart(affine, table, pc, words):
    """Make every register that the body writes its own root again, as at the start of an iteration."""
    for at in range(pc + 1, pc + words):
        if is_tracked(table[at, OP_ID]):
            affine[ROOT, table[at, OP_RD]] = table[at, OP_RD]
            affine[OFFSET, table[at, OP_RD]] = 0


@small
def find_steps(affine, table, pc, words):
    """Set the step of every register that the body writes, and of the loop's counter.

    Returns False where the counter is written, or a register ends as a copy of one that is not affine.
    """
    counter = table[pc, OP_RD]
    for at in range(pc + 1, pc + words):
        if is_tracked(table[at, OP_ID]):
            track(affine, table, at)
    if affine[ROOT, counter] != counter or affine[OFFSET, counter] != 0:
        return False
    affine[STEP, counter] = -1
    for at in range(pc + 1, pc + words):
        rd = table[at, OP_RD]
        if is_tracked(table[at, OP_ID]) and rd != counter:
            offset = affine[OFFSET, rd]
            affine[STEP, rd] = NOT_AFFINE if affine[ROOT, rd] != rd else offset - (offset >> 31 << 32)
    for at in range(pc + 1, pc + words):
        rd = table[at, OP_RD]
        if is_tracked(table[at, OP_ID]) and affine[ROOT, rd] != rd and affine[STEP, affine[ROOT, rd]] == NOT_AFFINE:
            return False
    return True


@small
def body_in_bounds(ctl, affine, table, pc, words, times):
    """Tell whether every instruction of the body succeeds in every iteration.

    Leaves roots and offsets as they are at the body's end, if so.
    """
    for at in range(pc + 1, pc + words):
        if is_tracked(table[at, OP_ID]):
            track(affine, table, at)
        elif not in_bounds(ctl, affine, table, at, times):
            return False
    return True


@small
def forget(affine, table, pc, words):
    """Put back what is known about registers: every one stays as it is."""
    restart(affine, table, pc, words)
    affine[STEP, table[pc, OP_RD]] = 0
    for at in range(pc + 1, pc + words):
        if is_tracked(table[at, OP_ID]):
            affine[STEP, table[at, OP_RD]] = 0


# --- a loop ----------------------------------------------------------------------------------------


@small
def finish_registers(ctl, affine, table, pc, words, times):
    """Set the registers to what they are after the last iteration.

    A copy of a register that moves is one of its last iteration's start; registers that move change last, and once.
    """
    for at in range(pc + 1, pc + words):
        rd = table[at, OP_RD]
        root = affine[ROOT, rd]
        if not is_tracked(table[at, OP_ID]) or root == rd:
            continue
        start = 0 if root == CONSTANT else ctl[CTL_GP + root] + (times - 1) * affine[STEP, root]
        ctl[CTL_GP + rd] = (start + affine[OFFSET, rd]) & U32_MASK
    for at in range(pc + 1, pc + words):
        rd = table[at, OP_RD]
        if is_tracked(table[at, OP_ID]) and affine[ROOT, rd] == rd:
            ctl[CTL_GP + rd] = (ctl[CTL_GP + rd] + times * affine[STEP, rd]) & U32_MASK
            affine[STEP, rd] = 0
    ctl[CTL_GP + table[pc, OP_RD]] = 0


@small
def count_words(table, counts, pc, words, times):
    """Count every word of a body `times` times; returns the cost of one iteration, ps."""
    cost = 0
    for at in range(pc + 1, pc + words + 1):
        counts[at] += times
        cost += table[at, OP_COST]
    return cost


@kernel
def skip_loop(table, ctl, affine, counts, pc, times, budget):
    """Execute all iterations of the loop at `pc` at once.

    The caller adds instructions and cost; the loop never enters the loop stack. It is left alone where `budget` or
    the limits of the loops around it might be reached on the way.

    Returns (words of its body, their cost in ps), or (0, 0) where it has to be executed as usual.
    """
    if times < FEWEST:
        return 0, 0
    words = body_words(table, pc)
    done = words * times
    if words == 0 or words > ctl[CFG_MAX_LOOP] or done > budget:
        return 0, 0
    if ctl[CTL_TOP_LOOP] != NO_LOOP and ctl[CTL_EXECUTED] + done >= ctl[CTL_LIMIT_AT]:
        return 0, 0
    counter = table[pc, OP_RD]
    old = ctl[CTL_GP + counter]
    ctl[CTL_GP + counter] = times
    succeeds = find_steps(affine, table, pc, words)
    if succeeds:
        restart(affine, table, pc, words)
        succeeds = body_in_bounds(ctl, affine, table, pc, words, times)
    if succeeds:
        finish_registers(ctl, affine, table, pc, words, times)
    else:
        ctl[CTL_GP + counter] = old
    forget(affine, table, pc, words)
    if not succeeds:
        return 0, 0
    return words, count_words(table, counts, pc, words, times)
