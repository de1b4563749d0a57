"""Timing pass: memory events in, simulated picoseconds out (spec §3.1-§3.10).

Every memory engine has an entry kernel of its own (`timing`, `timing_dram`), so that a run compiles and loads only
its engine.
"""

from typing import NamedTuple

from ..compiler.jit import entry, small
from ..layout import MEV_DELTA, MEV_INDEX, MEV_SHAPE, SH_STORE
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.memo_table import MEMO_ON, look_up
from ..memory.regimes import RESIDENT, RG_CODE, STREAM
from ..memory.transfer import (
    PORT_EVENT,
    PORT_HELD,
    PORT_NOW,
    TIME_OVERFLOW,
    TIMING_OK,
    Port,
    count_resident,
    finish_event,
    list_event,
)
from .batch import run_batch, store_blocks
from .memo import ANSWER_READS, BANK_SHIFT, BANKS, WIDEST, Memo, keep, recall, write_key
from .state import Ddr


class Memory(NamedTuple):
    """A board-DDR memory model."""

    port: Port
    ddr: Ddr
    memo: Memo


@small
def can_remember(memo, code, n, held):
    """Whether a batch may be looked up: a swap's wait is not in the key, a streamed read always waits the same."""
    return memo.reg[MEMO_ON] == 1 and (held == 0 or (code == STREAM and n <= WIDEST))


@small
def prefetch_listed(mem, n, held):
    """Completion time of a prefetch that starts now, of the reads `port.addr[:n]`."""
    port = mem.port
    return run_batch(mem.ddr, port.addr, port.wait, port.link, n, held, port.reg[PORT_NOW])


@small
def prefetch(mem, event, shape):
    """Completion time of a prefetch that starts now, or `OVERFLOW`; its reads are listed only where need be."""
    port, d, memo = mem.port, mem.ddr, mem.memo
    now = port.reg[PORT_NOW]
    code = port.regime.reg[RG_CODE]
    n = held = 0
    if code != RESIDENT:
        n = list_event(port, event, shape)
        held = port.reg[PORT_HELD]
    if not can_remember(memo, code, n, held):
        if code == RESIDENT:
            n = list_event(port, event, shape)
        return prefetch_listed(mem, n, held)
    first = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    length = write_key(memo.key, d, port, event, shape, n, held, now)
    h, at = look_up(memo, memo.key, length)
    if at > 0:
        if code == RESIDENT:
            count_resident(port, memo.pool[at + ANSWER_READS])
        done = recall(memo.pool, at, d, first, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    if code == RESIDENT:
        n = list_event(port, event, shape)
    done = prefetch_listed(mem, n, held)
    keep(memo, d, length, h, first, n, now, done)
    return done


@entry
def timing_slice(events, count, shapes, mem):
    """Run `events[:count]` (int64[:, MEV_WIDTH]) on a board-DDR model; `PORT_NOW` moves on to the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    port = mem.port
    reg = port.reg
    for i in range(count):
        event = events[i]
        shape = shapes[event[MEV_SHAPE]]
        reg[PORT_EVENT] = i
        reg[PORT_NOW] += event[MEV_DELTA]
        start = reg[PORT_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        if shape[SH_STORE] == 1:
            n = list_event(port, event, shape)
            done = store_blocks(mem.ddr, port.addr, port.wait, n, start)
        else:
            done = prefetch(mem, event, shape)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(port, event, start, done)
    return TIMING_OK
