"""Timing pass of the production DMA in front of a DRAM controller (spec §7.3, §7.4)."""

from typing import NamedTuple

import numpy as np

from ...compiler.jit import entry, kernel
from ...dram.channel import catch_up
from ...dram.row_ledger import charge_rows, owner_of
from ...layout import MEV_DESCRIPTOR, MEV_PC
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
from .batch import run_held_lines
from .lines import READS, WRITES, LinePlan
from .memo import LineRun, finish_pending, finish_recalled, remember_lines
from .plan import begin_event, plan_event


class LineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with a DRAM behind its controller inside.

    Attributes
    ----------
    transfer : Transfer
        Its `addr` is `plan.reads`.
    run : LineRun
    plan : LinePlan
    operations : int64[NUM_DESCRIPTORS]
        DMAs of each descriptor so far.
    """

    transfer: Transfer
    run: LineRun
    plan: LinePlan
    operations: np.ndarray


@kernel
def run_event(mem, owner):
    """Run the planned lines from `TRANSFER_NOW` on: the instant of the end, or `OVERFLOW`."""
    transfer, plan, run = mem.transfer, mem.plan, mem.run
    now, read, written = transfer.reg[TRANSFER_NOW], plan.reg[READS], plan.reg[WRITES]
    idle = finish_pending(run, transfer.ledger, now)
    if transfer.reg[TRANSFER_HELD] > 0:
        now = run_held_lines(run.dram, run.arrived, plan.reads, transfer.wait, transfer.link, read, now)
        if now == OVERFLOW:
            return now
        idle, read = False, 0
    return remember_lines(run, idle, owner, plan.reads, read, plan.writes, written, now)


@entry
def timing_slice_lines(events, count, descriptors, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` moves on to the end of the last.

    Each event gets the time it took. Nothing is queued after one, so all row hits since the event before are its own;
    those of a recalled one are charged when the next begins. Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    reg, ledger = mem.transfer.reg, mem.transfer.ledger
    for i in range(count):
        event = events[i]
        reg[TRANSFER_EVENT] = i
        begin_event(mem.transfer, mem.operations, event)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        plan_event(mem.transfer, mem.plan, event, descriptors[event[MEV_DESCRIPTOR]])
        owner = owner_of(event[MEV_PC], region_of(ledger, event))
        done = run_event(mem, owner)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(mem.transfer, event, start, done)
        charge_rows(mem.run.dram, ledger, owner)
    finish_recalled(mem.run, ledger)
    catch_up(mem.run.dram, mem.run.dram.front[0].ticks)  # so that statistics count data under way, and refreshes
    return TIMING_OK
