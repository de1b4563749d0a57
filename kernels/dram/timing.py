"""Run the timing pass on a DRAM controller (spec chapter 4): the `hbm` model and `--dram`."""

from typing import NamedTuple

from ..compiler.jit import entry
from ..layout import DESC_STORE, MEV_DESCRIPTOR
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.transfer import TRANSFER_EVENT, TRANSFER_HELD, TRANSFER_NOW, TIME_OVERFLOW, TIMING_OK, Transfer, finish_event, issue
from .channel import catch_up
from .event_queue import Run
from .memo import DramMemo, finish_recalled, memo_list
from .state import DramState


class DramMemory(NamedTuple):
    """Memory model whose memory engine is a DRAM behind its controller."""

    transfer: Transfer
    dram: DramState
    run: Run
    memo: DramMemo


@entry
def timing_slice_dram(events, count, descriptors, mem):
    """Run memory events `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` becomes the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    transfer = mem.transfer
    reg = transfer.reg
    for i in range(count):
        reg[TRANSFER_EVENT] = i
        descriptor = descriptors[events[i, MEV_DESCRIPTOR]]
        n = issue(transfer, events[i], descriptor)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        held, is_store = reg[TRANSFER_HELD], descriptor[DESC_STORE] == 1
        done = memo_list(mem.memo, mem.dram, mem.run, transfer.addr, transfer.wait, transfer.link, n, held, start, is_store)
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(transfer, events[i], start, done)
    finish_recalled(mem.memo, mem.dram, mem.run)
    catch_up(mem.dram, mem.dram.front[0].ticks)
    return TIMING_OK
