"""Timing pass in front of a DRAM controller (spec chapter 4): the `hbm` model and `--dram`."""

from typing import NamedTuple

from ..compiler.jit import entry
from ..layout import MEV_SHAPE, SH_STORE
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.transfer import PORT_EVENT, PORT_HELD, PORT_NOW, TIME_OVERFLOW, TIMING_OK, Port, finish_event, issue
from .channel import catch_up
from .event_queue import Run
from .memo import DramMemo, finish_recalled, memo_list
from .state import DramState


class DramMemory(NamedTuple):
    """A memory model whose inner memory is a DRAM behind its controller."""

    port: Port
    dram: DramState
    run: Run
    memo: DramMemo


@entry
def timing_slice_dram(events, count, shapes, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]); `PORT_NOW` moves on to the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    port = mem.port
    reg = port.reg
    for i in range(count):
        reg[PORT_EVENT] = i
        shape = shapes[events[i, MEV_SHAPE]]
        n = issue(port, events[i], shape)
        start = reg[PORT_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        held, is_store = reg[PORT_HELD], shape[SH_STORE] == 1
        done = memo_list(mem.memo, mem.dram, mem.run, port.addr, port.wait, port.link, n, held, start, is_store)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(port, events[i], start, done)
    finish_recalled(mem.memo, mem.dram, mem.run)
    catch_up(mem.dram, mem.dram.front[0].ticks)
    return TIMING_OK
