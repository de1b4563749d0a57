"""Run the timing pass on a DRAM controller (spec chapter 4): the `hbm` model and `--dram`."""

from typing import NamedTuple

from ..compiler.jit import entry
from ..layout import DESC_STORE, MEV_DESCRIPTOR, MEV_PC
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.ledger import region_of
from ..memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    finish_event,
    issue,
)
from .answers import F_FIRST, F_HOLD, Foresight
from .channel import catch_up
from .event_queue import Run
from .foresight import foresee_list, open_last_rows
from .memo import DramMemo, finish_recalled, memo_list
from .row_ledger import charge_rows, owner_of
from .state import DramState


class DramMemory(NamedTuple):
    """Memory model whose memory engine is a DRAM behind its controller."""

    transfer: Transfer
    dram: DramState
    run: Run
    memo: DramMemo
    answers: Foresight


@entry
def timing_slice_dram(events, count, descriptors, mem):
    """Run memory events `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` becomes the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    transfer = mem.transfer
    reg, ledger = transfer.reg, transfer.ledger
    owner = 0
    for i in range(count):
        reg[TRANSFER_EVENT] = mem.answers.reg[F_FIRST] + i
        descriptor = descriptors[events[i, MEV_DESCRIPTOR]]
        n = issue(transfer, events[i], descriptor)
        start = reg[TRANSFER_NOW]
        if start > TIME_LIMIT:
            return TIME_OVERFLOW
        held, is_store = reg[TRANSFER_HELD], descriptor[DESC_STORE] == 1
        owner = owner_of(events[i, MEV_PC], region_of(ledger, events[i]))
        done = memo_list(
            mem.memo, mem.dram, mem.run, ledger, owner, mem.answers, i, transfer.addr, transfer.wait, transfer.link, n,
            held, start, is_store,
        )
        if done == OVERFLOW:
            return TIME_OVERFLOW
        finish_event(transfer, events[i], start, done)
        charge_rows(mem.dram, ledger, owner)
    if mem.answers.reg[F_HOLD] == 1:
        return TIMING_OK
    finish_recalled(mem.memo, mem.dram, mem.run, ledger)
    catch_up(mem.dram, mem.dram.front[0].ticks)
    charge_rows(mem.dram, ledger, owner)
    return TIMING_OK


@entry
def foresee_dram(events, first, past, descriptors, foreseer):
    """Answer memory events `events[first:past]` (int64[:, MEV_WIDTH], a whole batch) ahead of their time.

    Events that are left without an answer, because there was no room, have NONE in `Foresight.at` before.

    Returns the event after the last that was considered.
    """
    open_last_rows(foreseer, events, descriptors, first)
    for event in range(first, past):
        if not foresee_list(foreseer, event, events, descriptors):
            return event
    return past
