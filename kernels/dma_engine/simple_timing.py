"""Timing pass of the production DMA in front of the idealised DDR banks of §3.5 (spec §7.3, §7.12).

All lines of a phase are submitted at once, in ascending order.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import entry, kernel
from ..layout import MEV_SHAPE, MEV_TOOK, SH_STORE
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.transfer import PORT_EVENT, PORT_HELD, PORT_NOW, TIME_OVERFLOW, TIMING_OK, Port
from ..simple.batch import run_batch
from ..simple.event_loop import simulate_loop
from ..simple.state import Ddr
from .lines import READS, WRITES, LinePlan
from .plan import plan_event


class SimpleLineMemory(NamedTuple):
    """A memory model whose DMA moves lines, with the idealised banks inside.

    Attributes
    ----------
    port : Port
        Its `addr` is `plan.reads`.
    ddr : Ddr
    plan : LinePlan
    operations : int64[NUM_SHAPES]
        DMAs of each shape so far.
    nothing : int64[lines]
        Zeros: writes wait for nobody.
    """

    port: Port
    ddr: Ddr
    plan: LinePlan
    operations: np.ndarray
    nothing: np.ndarray


@kernel
def run_phases(mem, store):
    """Run the planned lines from `PORT_NOW` on: the instant of the end, or `OVERFLOW`."""
    port, plan = mem.port, mem.plan
    now, reads, writes = port.reg[PORT_NOW], plan.reg[READS], plan.reg[WRITES]
    if reads > 0:
        now = run_batch(mem.ddr, plan.reads, port.wait, port.link, reads, port.reg[PORT_HELD], now)
    if not store or now == OVERFLOW or writes == 0:
        return now
    took = simulate_loop(mem.ddr, plan.writes, mem.nothing, mem.nothing, writes, now, TIME_LIMIT - now, 1)
    return OVERFLOW if took == OVERFLOW else now + took


@entry
def timing_slice_simple_lines(events, count, shapes, mem):
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
        done = run_phases(mem, shape[SH_STORE] == 1)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        events[i, MEV_TOOK] = done - start
        reg[PORT_NOW] = done
    return TIMING_OK
