"""Run what needs no data event, where nobody wants data: a tight loop inside that of `control` (spec §1.2-§1.7).

Without the data pass a matrix, vector or fp instruction that succeeds changes counters only. So such instructions,
the loops around them and the integers that walk through them are run here, without events. Whatever might fail, moves
data or is rare is left to `control_slice`, which executes it, or fails at it, as with data.
"""

from plena_emu import isa

from ..compiler.jit import kernel
from ..layout import (
    CTL_COMPUTE,
    CTL_DELTA,
    CTL_EXECUTED,
    CTL_LIMIT_AT,
    CTL_LOOP_OF,
    NO_LOOP,
    OP_COST,
    OP_ID,
    OP_IMM,
    OP_RD,
)
from .in_bounds import ONCE, in_bounds, is_skippable
from .integers import execute_integer
from .loop_skip import skip_loop
from .loops import loop_end, loop_start, loops_full


@kernel
def run_unwatched(table, ctl, loops, counts, affine, pc, budget):
    """Execute instructions from `pc` on, `budget` at most, up to one that is left to `control_slice`.

    Counts instructions and time in `ctl`, as far as it came: CTL_EXECUTED, CTL_COMPUTE, CTL_DELTA.

    Returns the pc of the next instruction.
    """
    began = executed = ctl[CTL_EXECUTED]
    spent = 0
    while pc < len(table) and executed - began < budget and executed + 1 < ctl[CTL_LIMIT_AT]:
        op, rd = table[pc, OP_ID], table[pc, OP_RD]
        cost = table[pc, OP_COST]
        next_pc = pc + 1
        if execute_integer(ctl, table, pc, op):
            pass
        elif op == isa.C_LOOP_START:
            times = table[pc, OP_IMM]
            if times == 0 or loops_full(ctl, loops):
                break
            ctl[CTL_EXECUTED] = executed + 1
            words, body = skip_loop(table, ctl, affine, counts, pc, times, budget - (executed + 1 - began))
            if words == 0:
                loop_start(ctl, loops, pc, rd, times)
            executed += words * times
            cost += body * times
            next_pc += words
        elif op == isa.C_LOOP_END:
            if ctl[CTL_LOOP_OF + rd] == NO_LOOP:
                break
            ctl[CTL_EXECUTED] = executed + 1
            next_pc = loop_end(ctl, loops, pc, rd)
        elif not is_skippable(op) or not in_bounds(ctl, affine, table, pc, ONCE):
            break
        executed += 1
        counts[pc] += 1
        spent += cost
        pc = next_pc
    ctl[CTL_EXECUTED] = executed
    ctl[CTL_COMPUTE] += spent
    ctl[CTL_DELTA] += spent
    return pc
