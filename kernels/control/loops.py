"""Keep the stack of active loops: C_LOOP_START, C_LOOP_END, and how long a loop may be (spec §1.7)."""

from ..compiler.jit import kernel, small
from ..layout import (
    CFG_MAX_LOOP,
    CTL_ERR_A,
    CTL_ERR_B,
    CTL_EXECUTED,
    CTL_FREE_LOOP,
    CTL_GP,
    CTL_LIMIT_AT,
    CTL_LOOP_OF,
    CTL_LOOP_SLOTS,
    CTL_TOP_LOOP,
    LOOP_ABOVE,
    LOOP_BASE,
    LOOP_BELOW,
    LOOP_PC,
    LOOP_REG,
    LOOP_SAME,
    NO_LOOP,
)
from ..status import LOOP_LIMIT, LOOP_ZERO, OK
from .state import NO_LIMIT


@kernel
def check_limit(ctl, loops):
    """Renew CTL_LIMIT_AT, the instruction count up to which no active loop can be over its maximum (§1.7).

    CTL_LIMIT_AT may lag behind (be too low) when loops begin anew or end; it is renewed when it is reached.

    Returns LOOP_LIMIT when some active loop's instruction count is over the maximum, else OK.
    """
    max_loop = ctl[CFG_MAX_LOOP]
    limit = NO_LIMIT
    over = NO_LOOP
    slot = ctl[CTL_TOP_LOOP]
    while slot != NO_LOOP:
        at = loops[slot, LOOP_BASE] + max_loop + 1
        if at <= ctl[CTL_EXECUTED]:
            over = slot
        limit = min(limit, at)
        slot = loops[slot, LOOP_BELOW]
    if over != NO_LOOP:
        ctl[CTL_ERR_A] = loops[over, LOOP_PC]
        ctl[CTL_ERR_B] = max_loop
        return LOOP_LIMIT
    ctl[CTL_LIMIT_AT] = limit
    return OK


@small
def loops_full(ctl, loops):
    """Tell whether no slot is left for another loop."""
    return ctl[CTL_FREE_LOOP] == NO_LOOP and ctl[CTL_LOOP_SLOTS] == loops.shape[0] - 1


@small
def loop_start(ctl, loops, pc, reg, count):
    """Execute C_LOOP_START: push a loop of `count` iterations into a free slot.

    Returns a status.
    """
    if count == 0:
        return LOOP_ZERO
    slot = ctl[CTL_FREE_LOOP]
    if slot == NO_LOOP:
        slot = ctl[CTL_LOOP_SLOTS] + 1
        ctl[CTL_LOOP_SLOTS] = slot
    else:
        ctl[CTL_FREE_LOOP] = loops[slot, LOOP_BELOW]
    around = ctl[CTL_TOP_LOOP]
    ctl[CTL_GP + reg] = count
    loops[slot, LOOP_PC] = pc
    loops[slot, LOOP_REG] = reg
    loops[slot, LOOP_BASE] = ctl[CTL_EXECUTED]
    loops[slot, LOOP_BELOW] = around
    loops[slot, LOOP_ABOVE] = NO_LOOP
    loops[slot, LOOP_SAME] = ctl[CTL_LOOP_OF + reg]
    loops[around, LOOP_ABOVE] = slot
    ctl[CTL_LOOP_OF + reg] = slot
    ctl[CTL_TOP_LOOP] = slot
    if around == NO_LOOP:
        ctl[CTL_LIMIT_AT] = ctl[CTL_EXECUTED] + ctl[CFG_MAX_LOOP] + 1
    return OK


@small
def loop_drop(ctl, loops, slot):
    """Take a loop off the stack: the innermost of its register."""
    below, above = loops[slot, LOOP_BELOW], loops[slot, LOOP_ABOVE]
    loops[below, LOOP_ABOVE] = above
    loops[above, LOOP_BELOW] = below
    if above == NO_LOOP:
        ctl[CTL_TOP_LOOP] = below
    ctl[CTL_LOOP_OF + loops[slot, LOOP_REG]] = loops[slot, LOOP_SAME]
    loops[slot, LOOP_BELOW] = ctl[CTL_FREE_LOOP]
    ctl[CTL_FREE_LOOP] = slot


@small
def loop_end(ctl, loops, pc, reg):
    """Execute C_LOOP_END (§1.7).

    Returns the pc of the next instruction, or -1 when no active loop uses `reg`.
    """
    slot = ctl[CTL_LOOP_OF + reg]
    if slot == NO_LOOP:
        return -1
    if ctl[CTL_GP + reg] > 1:
        ctl[CTL_GP + reg] -= 1
        loops[slot, LOOP_BASE] = ctl[CTL_EXECUTED]
        return loops[slot, LOOP_PC] + 1
    ctl[CTL_GP + reg] = 0
    loop_drop(ctl, loops, slot)
    return pc + 1
