"""Timing pass of the production DMA in front of the idealised DDR banks of §3.5 (spec §7.3, §7.12).

All lines of a phase are submitted at once, in ascending order.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import entry, kernel, small
from ...layout import DESC_STORE, MEV_DESCRIPTOR, MEV_INDEX
from ...limits import OVERFLOW, TIME_LIMIT
from ...memory.memo_table import look_up
from ...memory.regimes import RESIDENT, RG_CODE
from ...memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    count_resident,
    finish_event,
)
from ...simple.memo import BANK_SHIFT, VALUE_READS, SimpleMemo, insert_value, recall
from ...simple.state import BANKS, SimpleState
from .lines import READS, WRITES, LinePlan
from .plan import begin_event, plan_event
from .simple_memo import place_words, remember_phase, run_phase


class SimpleLineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with the idealised banks inside.

    Attributes
    ----------
    transfer : Transfer
        Its `addr` is `plan.reads`.
    state : SimpleState
    plan : LinePlan
    operations : int64[NUM_DESCRIPTORS]
        DMAs of each descriptor so far.
    nothing : int64[lines]
        Zeros: writes wait for nobody.
    memo : SimpleMemo
        Its keys are those of `simple_memo`.
    """

    transfer: Transfer
    state: SimpleState
    plan: LinePlan
    operations: np.ndarray
    nothing: np.ndarray
    memo: SimpleMemo


@kernel
def run_phases(mem, store):
    """Run the planned lines from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, plan = mem.transfer, mem.plan
    now, held, code = transfer.reg[TRANSFER_NOW], transfer.reg[TRANSFER_HELD], transfer.regime.reg[RG_CODE]
    now = remember_phase(
        mem.memo, mem.state, code, plan.reads, transfer.wait, transfer.link, plan.reg[READS], held, 0, now
    )
    if not store or now == OVERFLOW:
        return now
    return remember_phase(
        mem.memo, mem.state, code, plan.writes, mem.nothing, mem.nothing, plan.reg[WRITES], 0, 1, now
    )


@kernel
def prefetch_at_place(mem, words, event, descriptor):
    """Run a prefetch whose place are the first `words` of the memo's key, and whose lines nothing is decided about.

    Returns the instant of the end, or `OVERFLOW`.
    """
    transfer, state, plan, memo = mem.transfer, mem.state, mem.plan, mem.memo
    now = transfer.reg[TRANSFER_NOW]
    bank = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    key_hash, at = look_up(memo, memo.key, words)
    if at > 0:
        count_resident(transfer, memo.arena[at + VALUE_READS])
        done = recall(memo.arena, at, state, bank, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    plan_event(transfer, plan, event, descriptor)
    done = run_phase(state, plan.reads, transfer.wait, transfer.link, plan.reg[READS], 0, 0, now)
    insert_value(memo, state, words, key_hash, bank, plan.reg[READS], now, done)
    return done


@small
def run_event(mem, event, descriptor):
    """Run a memory event from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, store = mem.transfer, descriptor[DESC_STORE] == 1
    if not store and transfer.regime.reg[RG_CODE] == RESIDENT:
        now = transfer.reg[TRANSFER_NOW]
        words = place_words(mem.memo, mem.state, mem.plan.reads, descriptor, event, now)
        if words > 0:
            return prefetch_at_place(mem, words, event, descriptor)
    plan_event(transfer, mem.plan, event, descriptor)
    return run_phases(mem, store)


@entry
def timing_slice_simple_lines(events, count, descriptors, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` moves on to the end of the last.

    Each event gets the time it took. Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    reg = mem.transfer.reg
    for i in range(count):
        event = events[i]
        reg[TRANSFER_EVENT] = i
        begin_event(mem.transfer, mem.operations, event)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        done = run_event(mem, event, descriptors[event[MEV_DESCRIPTOR]])
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(mem.transfer, event, start, done)
    return TIMING_OK
