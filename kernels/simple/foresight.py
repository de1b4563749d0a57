"""Time a run without data on two threads: one follows control with the timing pass, one foresees values (spec §3.5).

The *follower* runs memory events in order as soon as control has given them. When control has given all, the thread of
control *foresees*: it simulates events from the last one back, until it meets the follower. It goes in pieces, each
from idle banks. That guess may be wrong for the first event of a piece, whose value then is that of another key: right,
but of no use. The follower takes foreseen values where its memo has none (`foreseen`), so all figures and the contents
of its memo are those of one thread. In return it tells what it simulates, so that this is not done twice.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.atomics import load_acquire, store_release
from ..compiler.jit import entry, kernel
from ..layout import DESC_STORE, MEV_DELTA, MEV_DESCRIPTOR, MEV_INDEX
from ..limits import OVERFLOW
from ..memory.accesses import list_accesses
from ..memory.following import DONE, FOLLOWS, STATE, STOPPED, give_events, wait_for_event, wait_until_done
from ..memory.memo_table import hash_of
from .batch import store_blocks
from .fast_path import simulate_plain
from .foreseen import Foreseen, add_foreseen, find_foreseen, has_room
from .memo import BANK_SHIFT, BANKS, recall, write_key
from .state import BANK_DUE, BANK_TURN, LAST_EVENT, SimpleState
from .timing import run_event

PIECE = 16  # events
TOLD_EVERY = 8  # events: a counter that another thread reads takes time to write
SOON = 1 << 32  # ps: foreseen time stays far below its limit


class Foreseer(NamedTuple):
    """What the thread that foresees works on.

    Attributes
    ----------
    shared : int64[SHARED_WIDTH]
        Counters of both threads (`memory.following`).
    foreseen : Foreseen
        What it found.
    told : Foreseen
        What the follower simulated.
    state : SimpleState
        Of its own.
    addr, link : int64[accesses]
        Accesses of an event; none is behind the host link.
    wait : int64[accesses]
        Zeros: no access waits for the host.
    key : int64[KEY_WIDTH]
        Key of the present batch.
    """

    shared: np.ndarray
    foreseen: Foreseen
    told: Foreseen
    state: SimpleState
    addr: np.ndarray
    link: np.ndarray
    wait: np.ndarray
    key: np.ndarray


@entry
def follow(events, patience, descriptors, mem, shared):
    """Run memory events (int64[:, MEV_WIDTH]) in order as they are given, until all are done.

    It stops before that if none is given for `patience` turns, if it is told to, or before an event that passes the
    limit of simulated time.

    It begins behind those that it was done with before. Returns the number of events done.
    """
    store_release(shared, FOLLOWS, 1)
    i = load_acquire(shared, DONE)
    while wait_for_event(shared, i, patience) and run_event(events[i], i, descriptors, mem) != OVERFLOW:
        i += 1
        if i % TOLD_EVERY == 0:
            store_release(shared, DONE, i)
    store_release(shared, DONE, i)
    return i


@entry
def give(count, state, shared):
    """Give the follower the first `count` events of the batch, of which no more come if `state` is not OPEN.

    Returns `count`.
    """
    give_events(shared, count, state)
    return count


@kernel
def rest(state):
    """Make all banks idle, at the instant 0."""
    for bank in range(BANKS):
        state.banks[bank, BANK_DUE] = state.banks[bank, BANK_TURN] = 0
    state.queues[LAST_EVENT] = 0


@kernel
def foresee_event(foreseer, event, descriptor, now):
    """Simulate an event that starts at `now`; adds the value of a prefetch that is not known.

    Returns the instant at which it is done, or `OVERFLOW` where there is no room.
    """
    state, foreseen, key = foreseer.state, foreseer.foreseen, foreseer.key
    if descriptor[DESC_STORE] == 1:
        n = list_accesses(descriptor, event, foreseer.addr)
        return store_blocks(state, foreseer.addr, foreseer.wait, n, now)
    first = (event[MEV_INDEX] >> BANK_SHIFT) & (BANKS - 1)
    length = write_key(key, state, foreseer.addr, foreseer.link, event, descriptor, 0, 0, now)
    key_hash = hash_of(key, length)
    value = find_foreseen(foreseen, key, length, key_hash)
    if value != 0:
        return recall(foreseen.arena, value, state, first, now)
    value = find_foreseen(foreseer.told, key, length, key_hash)
    if value != 0:
        return recall(foreseer.told.arena, value, state, first, now)
    if not has_room(foreseen, length):
        return np.int64(OVERFLOW)
    n = list_accesses(descriptor, event, foreseer.addr)
    done = now + simulate_plain(state, foreseer.addr, n, now, 0)
    add_foreseen(foreseen, key, length, key_hash, state.banks, first, n, now, done)
    return done


@kernel
def foresee_piece(events, first, past, descriptors, foreseer):
    """Foresee the events [first, past) that the follower has not come to.

    Returns whether there was room.
    """
    now = np.int64(SOON) + 1
    for i in range(max(first, load_acquire(foreseer.shared, DONE)), past):
        if now > SOON:
            rest(foreseer.state)
            now = np.int64(0)
        event = events[i]
        now = foresee_event(foreseer, event, descriptors[event[MEV_DESCRIPTOR]], now + min(event[MEV_DELTA], SOON))
        if now == OVERFLOW:
            return False
    return True


@entry
def foresee(events, count, patience, descriptors, foreseer):
    """Foresee the given events [0, count) from the last one back until the follower is met, then wait for it.

    It waits `patience` turns at most and then tells the follower to stop.

    Returns how many events the follower is done with; it may still be in the one after these.
    """
    shared, past = foreseer.shared, count
    while load_acquire(shared, DONE) < past:
        first = max(past - PIECE, 0)
        if not foresee_piece(events, first, past, descriptors, foreseer):
            break
        past = first
    done = wait_until_done(shared, count, patience)
    if done < count:
        store_release(shared, STATE, STOPPED)
    return done
