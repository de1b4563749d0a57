"""Counters by which two threads share a batch of memory events: one times them in order as control gives them.

That is the *follower*. The thread of control gives events, and when it has given all it finds answers to those that the
follower has not come to (`simple.foresight`, `dram.foresight`).
"""

from ..compiler.atomics import load_acquire, pause, store_release
from ..compiler.jit import kernel

# Counters of int64[SHARED_WIDTH], each on a cache line of its own.
GIVEN = 0  # events that control has given
STATE = 1  # of the batch: what follows
DONE = 8  # events that the follower is done with
FOLLOWS = 16  # 1 once the follower has begun
SHARED_WIDTH = 24

OPEN, ENDED, STOPPED = range(3)  # more events may come; all are given; the follower is to stop at once


@kernel
def wait_for_event(shared, event, patience):
    """Wait, as the follower, until an event is given, for `patience` turns at most.

    Returns whether it is; not where the batch ends before it, or where the follower is to stop.
    """
    turns = 0
    while load_acquire(shared, STATE) != STOPPED:
        if event < load_acquire(shared, GIVEN):
            return True
        # In this order: what is given before the end is seen.
        ended = load_acquire(shared, STATE) != OPEN
        if turns == patience or (ended and event >= load_acquire(shared, GIVEN)):
            return False
        turns += 1
        pause()
    return False


@kernel
def give_events(shared, count, state):
    """Give the follower the first `count` events of the batch, of which no more come if `state` is not OPEN."""
    store_release(shared, GIVEN, count)
    store_release(shared, STATE, state)


@kernel
def wait_until_done(shared, count, patience):
    """Wait until the follower is done with `count` events, for `patience` turns at most.

    Returns how many it is done with.
    """
    turns = 0
    while load_acquire(shared, DONE) < count and turns < patience:
        turns += 1
        pause()
    return load_acquire(shared, DONE)
