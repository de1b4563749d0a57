"""Run the timing pass on a DRAM controller (spec chapter 4): the `hbm` model and `--dram`."""

from typing import NamedTuple

from ..compiler.jit import entry
from ..layout import DESC_STORE, MEV_DESCRIPTOR, MEV_TOOK
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.transfer import TIME_OVERFLOW, TIMING_OK, TRANSFER_EVENT, TRANSFER_HELD, TRANSFER_NOW, Transfer, issue
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
        if reg[TRANSFER_NOW] > TIME_LIMIT:
            return TIME_OVERFLOW
        held, is_store = reg[TRANSFER_HELD], descriptor[DESC_STORE] == 1
        done = memo_list(
            mem.memo, mem.dram, mem.run, transfer.addr, transfer.wait, transfer.link, n, held, reg[TRANSFER_NOW],
            is_store,
        )
        if done == OVERFLOW:
            return TIME_OVERFLOW
        events[i, MEV_TOOK] = done - reg[TRANSFER_NOW]
        reg[TRANSFER_NOW] = done
    finish_recalled(mem.memo, mem.dram, mem.run)
    catch_up(mem.dram, mem.dram.front[0].ticks)
    return TIMING_OK
