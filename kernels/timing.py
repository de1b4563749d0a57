"""Timing pass: memory events in, simulated picoseconds out (spec §3.1-§3.10).

Every memory engine has the same two operations, `NAME_batch(engine, addr, wait, link, n, now)` for a prefetch and
`NAME_store(...)` for a store, and an entry kernel of its own (`timing`, `timing_dram`), so that a run compiles and
loads only its engine.
"""

from typing import NamedTuple

from .ddr import OVERFLOW, TIME_LIMIT, Ddr, ddr_store
from .ddr_memo import Memo, memo_batch
from .jit import entry
from .layout import MEV_SHAPE, SH_STORE
from .port import PORT_EVENT, PORT_NOW, TIME_OVERFLOW, TIMING_OK, Port, issue


class Memory(NamedTuple):
    """A board-DDR memory model."""

    port: Port
    ddr: Ddr
    memo: Memo


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
            done = memo_batch(mem.memo, mem.ddr, port.addr, port.wait, port.link, n, reg[PORT_NOW])
        if done == OVERFLOW:
            return TIME_OVERFLOW
        reg[PORT_NOW] = done
    return TIMING_OK
