"""Run the timing pass on a DRAM controller (spec chapter 4): the `hbm` model and `--dram`."""

from typing import NamedTuple

from ..compiler.atomics import load_acquire, store_release
from ..compiler.jit import entry, kernel
from ..layout import DESC_STORE, MEV_DELTA, MEV_DESCRIPTOR, MEV_PC
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.following import DONE, FOLLOWS, GIVEN, give_events, wait_for_event, wait_until_done
from ..memory.ledger import region_of
from ..memory.transfer import (
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    finish_event,
    issue,
)
from .answers import Foresight
from .channel import catch_up
from .event_queue import Run
from .foresight import foresee_windows
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


@kernel
def run_event(events, i, descriptors, mem):
    """Run memory event `i`; `TRANSFER_NOW` becomes its end.

    Returns whether it did: not where simulated time passes its limit.
    """
    transfer, event = mem.transfer, events[i]
    reg, ledger = transfer.reg, transfer.ledger
    reg[TRANSFER_EVENT] = i
    if reg[TRANSFER_NOW] + event[MEV_DELTA] > TIME_LIMIT:
        return False
    descriptor = descriptors[event[MEV_DESCRIPTOR]]
    n = issue(transfer, event, descriptor)
    start, held, is_store = reg[TRANSFER_NOW], reg[TRANSFER_HELD], descriptor[DESC_STORE] == 1
    owner = owner_of(event[MEV_PC], region_of(ledger, event))
    done = memo_list(
        mem.memo, mem.dram, mem.run, ledger, owner, mem.answers, i, transfer.addr, transfer.wait, transfer.link, n,
        held, start, is_store,
    )
    if done == OVERFLOW:
        return False
    finish_event(transfer, event, start, done)
    charge_rows(mem.dram, ledger, owner)
    return True


@entry
def follow_dram(shared, events, patience, descriptors, mem):
    """Run memory events (int64[:, MEV_WIDTH]) in order as they are given, until all are done.

    It stops before that if none is given for `patience` turns, if it is told to, or at an event that passes the limit
    of simulated time.

    It begins behind those that it was done with before. Returns the number of events done.
    """
    store_release(shared, FOLLOWS, 1)
    i = load_acquire(shared, DONE)
    while wait_for_event(shared, i, patience) and run_event(events, i, descriptors, mem):
        i += 1
        if i < load_acquire(shared, GIVEN):  # the last one is done when the memory is as it leaves it
            store_release(shared, DONE, i)
    finish_recalled(mem.memo, mem.dram, mem.run, mem.transfer.ledger)
    catch_up(mem.dram, mem.dram.front[0].ticks)
    charge_rows(mem.dram, mem.transfer.ledger, mem.dram.channels[0].owner)
    store_release(shared, DONE, i)
    return i


@entry
def give_dram(count, state, patience, shared):
    """Give the follower the first `count` events of the batch, of which no more come if `state` is not OPEN.

    Waits until it is done with them, for `patience` turns at most. Returns how many it is done with.
    """
    give_events(shared, count, state)
    return wait_until_done(shared, count, patience)


@entry
def foresee_dram(events, first, count, windows, descriptors, foreseer):
    """Answer the memory events [first, count) of int64[:, MEV_WIDTH], a batch, ahead of the follower.

    At most `windows` windows of them. Returns the event behind the last window, `count` where there is no more room.
    """
    return foresee_windows(foreseer, events, first, count, windows, descriptors)
