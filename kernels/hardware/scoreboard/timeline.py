"""Scoreboard pass: executed instructions in, the rtl-v1 timeline out (spec §7.6-§7.9)."""

from ...compiler.jit import entry, small
from ...layout import MEV_TOOK, OP_ID, OP_IMM, OP_RD, OP_RS1, OP_RS2, TR_PC
from ...limits import NEVER
from .accounting import cover_deferred
from .layout import (
    DIM_PERIOD,
    NO_COST,
    PENDING_FULL,
    PLACED_ALL,
    RULE_READY,
    RULE_SILENT,
    SB_AT,
    SB_AT_EVENT,
    SB_DEFERRED,
    SB_MATRIX_PENDING,
    SB_PC,
    SB_VECTOR_PENDING,
    SERVICE,
)
from .placement import place, place_silent


@small
def service_cycles(picoseconds, period):
    """Core cycles of a DMA, rounded up, at least 1 (§7.6)."""
    return max(1, -(-picoseconds // period))


@entry
def scoreboard_slice(table, executed, count, tracked, events, sb):
    """Place the instructions `executed[:count]`, going on at SB_AT; returns PLACED_ALL, PENDING_FULL or NO_COST.

    Parameters
    ----------
    table : int64[words, OP_WIDTH]
        Decoded program.
    executed : int64[>= count, TR_WIDTH]
        Each executed instruction of the slice.
    tracked : int64[NUM_OPS]
        1 for operations that access an SRAM which the scoreboard tracks.
    events : int64[n, MEV_WIDTH]
        Memory events of the slice; timing has written how long each took.
    sb : Scoreboard
        SB_AT and SB_AT_EVENT are 0 at the start of a slice.
    """
    reg = sb.reg
    at, event = reg[SB_AT], reg[SB_AT_EVENT]
    period = sb.dims[DIM_PERIOD]
    status = PLACED_ALL
    while at < count:
        pc = executed[at, TR_PC]
        op = table[pc, OP_ID]
        if sb.rules[op, RULE_SILENT] == 1:
            place_silent(sb, pc, op, at)
            at += 1
            continue
        if sb.rules[op, RULE_READY] == 0:
            reg[SB_PC] = pc
            status = NO_COST
            break
        if reg[SB_MATRIX_PENDING] == len(sb.matrix_pending) or reg[SB_VECTOR_PENDING] == len(sb.vector_pending):
            status = PENDING_FULL
            break
        cycles = 0
        if sb.rules[op, RULE_READY] == SERVICE:
            cycles = service_cycles(events[event, MEV_TOOK], period)
            event += 1
        place(
            sb, op, table[pc, OP_RD], table[pc, OP_RS1], table[pc, OP_RS2], table[pc, OP_IMM],
            executed[at], tracked[op] == 1, cycles, at,
        )
        at += 1
    reg[SB_AT], reg[SB_AT_EVENT] = at, event
    return status


@entry
def scoreboard_end(sb):
    """Add what is still deferred to the unions, once all instructions are placed."""
    if sb.reg[SB_DEFERRED] > 0:
        cover_deferred(sb, NEVER - 1)
