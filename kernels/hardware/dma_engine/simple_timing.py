"""Timing pass of the production DMA in front of the idealised DDR banks of §3.5 (spec §7.3, §7.12).

All lines of a phase are submitted at once, in ascending order.
"""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import entry, kernel
from ...layout import DESC_STORE, MEV_DESCRIPTOR
from ...limits import OVERFLOW, TIME_LIMIT
from ...memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    finish_event,
)
from ...simple.batch import run_batch
from ...simple.event_loop import simulate_loop
from ...simple.state import SimpleState
from .lines import READS, WRITES, LinePlan
from .plan import plan_event


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
    """

    transfer: Transfer
    state: SimpleState
    plan: LinePlan
    operations: np.ndarray
    nothing: np.ndarray


@kernel
def run_phases(mem, store):
    """Run the planned lines from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, plan = mem.transfer, mem.plan
    now, reads, writes = transfer.reg[TRANSFER_NOW], plan.reg[READS], plan.reg[WRITES]
    if reads > 0:
        now = run_batch(mem.state, plan.reads, transfer.wait, transfer.link, reads, transfer.reg[TRANSFER_HELD], now)
    if not store or now == OVERFLOW or writes == 0:
        return now
    took = simulate_loop(mem.state, plan.writes, mem.nothing, mem.nothing, writes, now, TIME_LIMIT - now, 1)
    return OVERFLOW if took == OVERFLOW else now + took


@entry
def timing_slice_simple_lines(events, count, descriptors, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` moves on to the end of the last.

    Each event gets the time it took. Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    reg = mem.transfer.reg
    for i in range(count):
        event = events[i]
        descriptor = descriptors[event[MEV_DESCRIPTOR]]
        reg[TRANSFER_EVENT] = i
        plan_event(mem.transfer, mem.plan, mem.operations, event, descriptor)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        done = run_phases(mem, descriptor[DESC_STORE] == 1)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(mem.transfer, event, start, done)
    return TIMING_OK
