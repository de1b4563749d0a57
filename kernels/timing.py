"""Timing pass: memory events in, simulated picoseconds out (spec §3.1-§3.10).

Every memory engine has the same two operations, `NAME_batch(engine, addr, wait, link, n, now)` for a prefetch and
`NAME_store(...)` for a store, and an entry kernel of its own, so that a run compiles and loads only its engine.
"""

from typing import NamedTuple

import numpy as np

from .ddr import OVERFLOW, TIME_LIMIT, Ddr, ddr_batch, ddr_store
from .jit import entry, kernel
from .layout import MEV_DELTA, MEV_SHAPE, SH_STORE
from .reads import BLOCK, list_accesses
from .regimes import Regime, decide

# Status of a slice.
TIMING_OK = 0
TIME_OVERFLOW = 1  # simulated time passes TIME_LIMIT; PORT_EVENT is the event

# Slots of `Port.reg`.
PORT_NOW = 0  # completion of the last event, ps
PORT_READ = 1  # bytes read
PORT_WRITTEN = 2  # bytes written
PORT_EVENT = 3  # event of the slice that is being worked on
PORT_WIDTH = 4


class Port(NamedTuple):
    """What stands in front of every memory engine; `accesses` is the longest list any DMA shape gives.

    Attributes
    ----------
    reg : int64[PORT_WIDTH]
    addr : int64[accesses]
        Block addresses of the event (u64 bit patterns), in issue order.
    wait : int64[accesses]
        Picoseconds a read waits for the host, 0 for none.
    link : int64[accesses]
        1 for a read behind the host link.
    regime : Regime
    """

    reg: np.ndarray
    addr: np.ndarray
    wait: np.ndarray
    link: np.ndarray
    regime: Regime


class Memory(NamedTuple):
    """A board-DDR memory model."""

    port: Port
    ddr: Ddr


@kernel
def issue(port, event, shape):
    """Advance to the start of an event, list its accesses and decide about its reads: how many there are."""
    reg = port.reg
    reg[PORT_NOW] += event[MEV_DELTA]
    n = list_accesses(shape, event, port.addr)
    decide(port.regime, port.addr, n, port.wait, port.link)
    reg[PORT_READ] += BLOCK * n
    if shape[SH_STORE] == 1:
        reg[PORT_WRITTEN] += BLOCK * n
    return n


@entry
def timing_slice(events, count, shapes, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]) on a board-DDR model; `PORT_NOW` moves on to the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    port = mem.port
    reg = port.reg
    for i in range(count):
        reg[PORT_EVENT] = i
        shape = shapes[events[i, MEV_SHAPE]]
        n = issue(port, events[i], shape)
        if reg[PORT_NOW] > TIME_LIMIT:
            return TIME_OVERFLOW
        if shape[SH_STORE] == 1:
            done = ddr_store(mem.ddr, port.addr, port.wait, port.link, n, reg[PORT_NOW])
        else:
            done = ddr_batch(mem.ddr, port.addr, port.wait, port.link, n, reg[PORT_NOW])
        if done == OVERFLOW:
            return TIME_OVERFLOW
        reg[PORT_NOW] = done
    return TIMING_OK
