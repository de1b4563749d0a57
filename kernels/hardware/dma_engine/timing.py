"""Timing pass of the production DMA in front of a DRAM controller (spec §7.3, §7.4)."""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import entry, kernel
from ...dram.row_ledger import charge_rows, owner_of
from ...dram.state import READ, WRITE, DramState
from ...layout import DESC_STORE, MEV_DESCRIPTOR, MEV_PC
from ...limits import OVERFLOW, TIME_LIMIT
from ...memory.ledger import region_of
from ...memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    finish_event,
)
from .batch import run_held_lines, run_lines
from .lines import READS, WRITES, LinePlan
from .plan import plan_event


class LineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with a DRAM behind its controller inside.

    Attributes
    ----------
    transfer : Transfer
        Its `addr` is `plan.reads`.
    dram : DramState
    plan : LinePlan
    operations : int64[NUM_DESCRIPTORS]
        DMAs of each descriptor so far.
    arrived : int64[SUB_REQUESTS]
        Room of `batch`.
    """

    transfer: Transfer
    dram: DramState
    plan: LinePlan
    operations: np.ndarray
    arrived: np.ndarray


@kernel
def run_event(mem, store):
    """Run the planned lines from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, plan = mem.transfer, mem.plan
    now, reads = transfer.reg[TRANSFER_NOW], plan.reg[READS]
    if transfer.reg[TRANSFER_HELD] > 0:
        now = run_held_lines(mem.dram, mem.arrived, plan.reads, transfer.wait, transfer.link, reads, now)
    else:
        now = run_lines(mem.dram, mem.arrived, plan.reads, reads, READ, now)
    if store and now != OVERFLOW:
        now = run_lines(mem.dram, mem.arrived, plan.writes, plan.reg[WRITES], WRITE, now)
    return now


@entry
def timing_slice_lines(events, count, descriptors, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` moves on to the end of the last.

    Each event gets the time it took. Nothing is queued after one, so all row hits since the event before are its own.
    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    reg, ledger = mem.transfer.reg, mem.transfer.ledger
    for i in range(count):
        event = events[i]
        descriptor = descriptors[event[MEV_DESCRIPTOR]]
        reg[TRANSFER_EVENT] = i
        plan_event(mem.transfer, mem.plan, mem.operations, event, descriptor)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        done = run_event(mem, descriptor[DESC_STORE] == 1)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(mem.transfer, event, start, done)
        charge_rows(mem.dram, ledger, owner_of(event[MEV_PC], region_of(ledger, event)))
    return TIMING_OK
