"""Run the timing pass on the idealised banks: memory events in, simulated picoseconds out (spec §3.1-§3.10).

Every memory engine has an entry kernel of its own (`simple.timing`, `dram.timing`), so that a run compiles and loads
only its engine.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import entry, small
from ..layout import DESC_STORE, MEV_DELTA, MEV_DESCRIPTOR, MEV_INDEX
from ..limits import OVERFLOW, TIME_LIMIT
from ..memory.memo_table import MEMO_ON, look_up
from ..memory.regimes import RESIDENT, RG_CODE, STREAM
from ..memory.transfer import (
    TIME_OVERFLOW,
    TIMING_OK,
    TRANSFER_EVENT,
    TRANSFER_HELD,
    TRANSFER_NOW,
    Transfer,
    count_resident,
    finish_event,
    list_event,
)
from .batch import run_batch, store_blocks
from .foreseen import F_ON, Foreseen, add_foreseen, find_foreseen, has_room, take_foreseen
from .memo import BANK_SHIFT, BANKS, VALUE_READS, WIDEST, SimpleMemo, insert_value, recall, write_key
from .state import SimpleState


class SimpleMemory(NamedTuple):
    """Memory model whose memory engine is the idealised banks."""

    transfer: Transfer
    state: SimpleState
    memo: SimpleMemo
    foreseen: Foreseen  # what this thread may take
    told: Foreseen  # what it tells the thread that foresees


@small
def can_remember(memo, code, n, held):
    """Tell whether a batch may be looked up: a swap's wait is not in the key, a streamed read always waits the same."""
    return memo.reg[MEMO_ON] == 1 and (held == 0 or (code == STREAM and n <= WIDEST))


@small
def prefetch_listed(mem, n, held):
    """Run a prefetch that starts now, of the reads `transfer.addr[:n]`.

    Returns the completion time in ps, or `OVERFLOW`.
    """
    transfer = mem.transfer
    return run_batch(mem.state, transfer.addr, transfer.wait, transfer.link, n, held, transfer.reg[TRANSFER_NOW], 0)


@small
def prefetch(mem, event, descriptor):
    """Run a prefetch that starts now; its reads are listed only where need be.

    Returns the completion time in ps, or `OVERFLOW`.
    """
    transfer, state, memo = mem.transfer, mem.state, mem.memo
    now = transfer.reg[TRANSFER_NOW]
    code = transfer.regime.reg[RG_CODE]
    n = held = 0
    if code != RESIDENT:
        n = list_event(transfer, event, descriptor)
        held = transfer.reg[TRANSFER_HELD]
    if not can_remember(memo, code, n, held):
        if code == RESIDENT:
            n = list_event(transfer, event, descriptor)
        return prefetch_listed(mem, n, held)
    first = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    length = write_key(memo.key, state, transfer.addr, transfer.link, event, descriptor, n, held, now)
    key_hash, at = look_up(memo, memo.key, length)
    if at == 0 and mem.foreseen.reg[F_ON] == 1:
        value = find_foreseen(mem.foreseen, memo.key, length, key_hash)
        if value != 0:
            at = take_foreseen(memo, mem.foreseen, value, length, key_hash)
    if at > 0:
        if code == RESIDENT:
            count_resident(transfer, memo.arena[at + VALUE_READS])
        done = recall(memo.arena, at, state, first, now)
        return done if done <= TIME_LIMIT else OVERFLOW
    if code == RESIDENT:
        n = list_event(transfer, event, descriptor)
    done = prefetch_listed(mem, n, held)
    insert_value(memo, state, length, key_hash, first, n, now, done)
    if mem.told.reg[F_ON] == 1 and done != OVERFLOW and has_room(mem.told, length):
        add_foreseen(mem.told, memo.key, length, key_hash, state.banks, first, n, now, done)
    return done


@small
def run_event(event, number, descriptors, mem):
    """Run a memory event, `number` of its slice; `TRANSFER_NOW` becomes its end.

    Returns that, or `OVERFLOW` with `TRANSFER_NOW` unchanged.
    """
    transfer = mem.transfer
    reg = transfer.reg
    descriptor = descriptors[event[MEV_DESCRIPTOR]]
    before = reg[TRANSFER_NOW]
    start = before + event[MEV_DELTA]
    reg[TRANSFER_EVENT] = number
    reg[TRANSFER_NOW] = start
    done = np.int64(OVERFLOW)
    if start <= TIME_LIMIT:
        if descriptor[DESC_STORE] == 1:
            n = list_event(transfer, event, descriptor)
            done = store_blocks(mem.state, transfer.addr, transfer.wait, n, start)
        else:
            done = prefetch(mem, event, descriptor)
    if done == OVERFLOW:
        reg[TRANSFER_NOW] = before
    else:
        finish_event(transfer, event, start, done)
    return done


@entry
def timing_slice(events, count, descriptors, mem):
    """Run memory events `events[:count]` (int64[:, MEV_WIDTH]); `TRANSFER_NOW` becomes the end of the last.

    Returns `TIMING_OK` or `TIME_OVERFLOW`.
    """
    for i in range(count):
        if run_event(events[i], i, descriptors, mem) == OVERFLOW:
            return TIME_OVERFLOW
    return TIMING_OK
