"""Timing pass of the production DMA in front of a DRAM controller (spec §7.3, §7.4)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import entry, kernel, small
from ..dram.state import READ, WRITE, DramState
from ..layout import MEV_DELTA, MEV_SHAPE, SH_STORE
from ..limits import ACCESS_BYTES, OVERFLOW, TIME_LIMIT
from ..memory.regimes import decide
from ..memory.transfer import (
    PORT_EVENT, PORT_HELD, PORT_NOW, PORT_READ, PORT_WRITTEN, TIME_OVERFLOW, TIMING_OK, Port,
)
from .batch import run_held_lines, run_lines
from .lines import READS, WRITES, LinePlan, plan_lines


class LineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with a DRAM behind its controller inside.

    Attributes
    ----------
    port : Port
        Its `addr` is `plan.reads`.
    dram : DramState
    plan : LinePlan
    service : int64[events]
        Picoseconds that each memory event of the slice took.
    operations : int64[NUM_SHAPES]
        DMAs of each shape so far.
    """

    port: Port
    dram: DramState
    plan: LinePlan
    service: np.ndarray
    operations: np.ndarray


@small
def plan_event(port, plan, operations, event, shape):
    """Advance to the start of a memory event, plan its lines, decide about its reads and count."""
    reg = port.reg
    reg[PORT_NOW] += event[MEV_DELTA]
    plan_lines(plan, shape, event)
    reads, writes = plan.reg[READS], plan.reg[WRITES]
    reg[PORT_HELD] = decide(port.regime, plan.reads, reads, port.wait, port.link)
    reg[PORT_READ] += ACCESS_BYTES * reads
    reg[PORT_WRITTEN] += ACCESS_BYTES * writes
    operations[event[MEV_SHAPE]] += 1


@kernel
def run_event(mem, store):
    """Run the planned lines from `PORT_NOW` on: the instant of the end, or `OVERFLOW`."""
    port, plan = mem.port, mem.plan
    now, reads = port.reg[PORT_NOW], plan.reg[READS]
    if port.reg[PORT_HELD] > 0:
        now = run_held_lines(mem.dram, plan.reads, port.wait, port.link, reads, now)
    else:
        now = run_lines(mem.dram, plan.reads, reads, READ, now)
    if store and now != OVERFLOW:
        now = run_lines(mem.dram, plan.writes, plan.reg[WRITES], WRITE, now)
    return now


@entry
def timing_slice_lines(events, count, shapes, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `PORT_NOW` moves on to the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    reg = mem.port.reg
    for i in range(count):
        event = events[i]
        shape = shapes[event[MEV_SHAPE]]
        reg[PORT_EVENT] = i
        plan_event(mem.port, mem.plan, mem.operations, event, shape)
        start = reg[PORT_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        done = run_event(mem, shape[SH_STORE] == 1)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        mem.service[i] = done - start
        reg[PORT_NOW] = done
    return TIMING_OK
