"""Timing pass of the production DMA in front of a DRAM controller (spec §7.3, §7.4)."""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import entry, kernel
from ..dram.state import READ, WRITE, DramState
from ..layout import MEV_SHAPE, MEV_TOOK, SH_STORE
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.transfer import PORT_EVENT, PORT_HELD, PORT_NOW, TIME_OVERFLOW, TIMING_OK, Port
from .batch import run_held_lines, run_lines
from .lines import READS, WRITES, LinePlan
from .plan import plan_event


class LineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with a DRAM behind its controller inside.

    Attributes
    ----------
    port : Port
        Its `addr` is `plan.reads`.
    dram : DramState
    plan : LinePlan
    operations : int64[NUM_SHAPES]
        DMAs of each shape so far.
    arrived : int64[PARTS]
        Room of `batch`.
    """

    port: Port
    dram: DramState
    plan: LinePlan
    operations: np.ndarray
    arrived: np.ndarray


@kernel
def run_event(mem, store):
    """Run the planned lines from `PORT_NOW` on: the instant of the end, or `OVERFLOW`."""
    port, plan = mem.port, mem.plan
    now, reads = port.reg[PORT_NOW], plan.reg[READS]
    if port.reg[PORT_HELD] > 0:
        now = run_held_lines(mem.dram, mem.arrived, plan.reads, port.wait, port.link, reads, now)
    else:
        now = run_lines(mem.dram, mem.arrived, plan.reads, reads, READ, now)
    if store and now != OVERFLOW:
        now = run_lines(mem.dram, mem.arrived, plan.writes, plan.reg[WRITES], WRITE, now)
    return now


@entry
def timing_slice_lines(events, count, shapes, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `PORT_NOW` moves on to the end of the last.

    Each event gets the time it took. Returns `TIMING_OK` or `TIME_OVERFLOW`.
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
        events[i, MEV_TOOK] = done - start
        reg[PORT_NOW] = done
    return TIMING_OK
