"""Timing pass of the production DMA in front of the idealised DDR banks of §3.5 (spec §7.3, §7.12).

All lines of a phase are submitted at once, in ascending order.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import entry, kernel, small
from ...layout import DESC_STORE, MEV_DESCRIPTOR, MEV_INDEX
from ...limits import ACCESS_BYTES, OVERFLOW, TIME_LIMIT, U32_MASK
from ...memory.memo_table import look_up
from ...memory.regimes import RESIDENT, RG_CODE
from ...memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    TRANSFER_WRITTEN,
    Transfer,
    count_resident,
    finish_event,
)
from ...simple.memo import BANK_SHIFT, VALUE_READS, insert_value, recall
from ...simple.state import BANKS, SimpleState
from .lines import READS, WRITES, LinePlan
from .plan import begin_event, plan_event
from .simple_memo import BatchMemo, place_words, remember_batch

WRITTEN_SHIFT = 32  # in the count of lines that a place remembers


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
    memo : BatchMemo
    """

    transfer: Transfer
    state: SimpleState
    plan: LinePlan
    operations: np.ndarray
    nothing: np.ndarray
    memo: BatchMemo


@kernel
def read_lines(mem):
    """Read the planned lines from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, plan = mem.transfer, mem.plan
    now, held, code = transfer.reg[TRANSFER_NOW], transfer.reg[TRANSFER_HELD], transfer.regime.reg[RG_CODE]
    return remember_batch(
        mem.memo, mem.state, code, plan.reads, transfer.wait, transfer.link, plan.reg[READS], held, 0, now
    )


@kernel
def write_lines(mem, now):
    """Write the planned lines from `now` on: the instant of the end, or `OVERFLOW`."""
    plan = mem.plan
    return remember_batch(
        mem.memo, mem.state, RESIDENT, plan.writes, mem.nothing, mem.nothing, plan.reg[WRITES], 0, 1, now
    )


@kernel
def transfer_lines(mem, store):
    """Read the planned lines from `TRANSFER_NOW` on, then write those of a store.

    Returns the instant of the end, or `OVERFLOW`.
    """
    done = read_lines(mem)
    return write_lines(mem, done) if store and done != OVERFLOW else done


@kernel
def transfer_at_place(mem, words, event, descriptor):
    """Run a memory event whose place has `words` words of key, and whose lines nothing is decided about.

    Returns the instant of the end, or `OVERFLOW`.
    """
    transfer, state, plan, places = mem.transfer, mem.state, mem.plan, mem.memo.places
    now = transfer.reg[TRANSFER_NOW]
    store = descriptor[DESC_STORE] == 1
    bank = 0 if store else (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    key_hash, at = look_up(places, places.key, words)
    if at > 0:
        lines = places.arena[at + VALUE_READS]  # those read, and above them those written
        count_resident(transfer, lines & U32_MASK)
        transfer.reg[TRANSFER_WRITTEN] += ACCESS_BYTES * (lines >> WRITTEN_SHIFT)
        done = recall(places.arena, at, state, bank, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    plan_event(transfer, plan, event, descriptor)
    done = transfer_lines(mem, store)
    lines = plan.reg[WRITES] << WRITTEN_SHIFT | plan.reg[READS]
    insert_value(places, state, words, key_hash, bank, lines, now, done)
    return done


@small
def run_event(mem, event, descriptor):
    """Run a memory event from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer = mem.transfer
    if transfer.regime.reg[RG_CODE] == RESIDENT:
        now = transfer.reg[TRANSFER_NOW]
        words = place_words(mem.memo.places, mem.state, mem.plan.reads, descriptor, event, now)
        if words > 0:
            return transfer_at_place(mem, words, event, descriptor)
    plan_event(transfer, mem.plan, event, descriptor)
    return transfer_lines(mem, descriptor[DESC_STORE] == 1)


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
