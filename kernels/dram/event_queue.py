"""Keep run queue, timers and task queues of the event loop of §4.10.

Tasks are the core (it starts batches and runs some accesses itself), one gather task a batch, and the tick. The run
queue holds them in wake order; timers fire by (instant, number of creation). The tick's timer is kept apart from the
others. Lists are linked by number, NONE ends one.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel
from ..limits import NEVER
from .state import CHANNELS, NONE

# Kinds of batches.
# GATHER: a gather task, spawned `at` ps after all earlier batches are complete.
# SPAWN: a gather task, spawned at instant `at`, or at once if that is past.
# SERIAL: as GATHER, but the core runs the accesses itself, one after the other.
# CLOSED: a gather task, spawned as soon as fewer than `at` tasks of this kind are under way.
GATHER, SPAWN, SERIAL, CLOSED = range(4)

# Tasks of the run queue; a batch's number is its gather task. A task whose batch was dropped from the run is NOBODY.
TICK, CORE, NOBODY = -1, -2, -3

# Stages of an access.
AT_START, AT_LINK, AT_HOST, AT_WAIT, AT_SUB_REQUESTS, AT_END = range(6)

# Stages of a sub-request.
NEW, QUEUED, HOLDING, RETRYING, SENT, DONE = range(6)

# Stages of the core.
AT_BATCH, AT_JOIN, AT_SLEEP, AT_SERIAL, AT_LEAVE, AT_ROOM = range(6)

# How a slice of a replay ends: its budget is used up, all is run, what is at hand does not tell how it goes on.
PAUSED, ENDED, STARVED = range(3)

_u1, _i4, _i8 = np.uint8, np.int32, np.int64

SUB_REQUEST = np.dtype([("return_tick", _i8), ("after", _i4), ("stage", _u1)], align=True)

TASK = np.dtype(
    [
        ("at", _i8),  # ps, see the kinds
        ("start", _i8),  # first access
        ("stop", _i8),  # behind the last access
        ("kind", _u1),
        ("armed", _u1),  # 1: the next wake makes the task ready
        ("joined", _u1),  # 1: the core waits for its end
        ("left", _i4),  # unfinished accesses
        ("front", _i4),  # ends of its queue of woken accesses
        ("back", _i4),
    ],
    align=True,
)

LOOP = np.dtype(
    [
        ("now", _i8),
        ("created", _i8),  # timers created so far
        ("pending", _i8),  # sub-requests of reads under way
        ("late", _i8),  # 1: a wait would have passed the time limit
        ("tick_due", _i8),  # instant of the tick's timer, NEVER without one
        ("tick_number", _i8),
        ("timers", _i8),
        ("ready_head", _i8),
        ("ready_tail", _i8),
        ("link_holder", _i8),
        ("link_front", _i8),
        ("link_back", _i8),
        ("core_stage", _i8),
        ("core_batch", _i8),
        ("core_stop", _i8),  # behind the last batch known to belong to the group in hand
        ("core_joined", _i8),
        ("core_access", _i8),
        ("core_due", _i8),
        ("closed", _i8),  # CLOSED tasks under way
        # a trace that is loaded piece by piece
        ("loaded", _i8),  # batches at hand
        ("whole", _i8),  # 1: no batch follows them
        ("starved", _i8),  # 1: the core's turn stopped before a batch that is not at hand yet
        # a replay between two slices: the batches in hand, the next access of one that is alone, the instant
        ("replay_batch", _i8),
        ("replay_stop", _i8),  # behind the last batch in hand; `replay_batch` where none is
        ("replay_access", _i8),
        ("replay_now", _i8),
        # the read lock and the write lock
        ("holder", _i8, (2,)),
        ("lock_front", _i8, (2,)),
        ("lock_back", _i8, (2,)),
        ("retry_due", _i8, (2,)),
        ("retry_channel", _i8, (2,)),  # record that refused the holder's request
        ("first_attempt", _i8, (2,)),  # clock of the holder's; NONE before it
        # sub-requests whose return is known, a list a channel
        ("return_front", _i8, (CHANNELS,)),
        ("return_back", _i8, (CHANNELS,)),
    ]
)


class Run(NamedTuple):
    """Batches of accesses, what became of each access, and the event loop that runs them.

    Attributes
    ----------
    loop : LOOP[1]
    address : int64[n]
        Byte addresses (u64 bit patterns).
    access : ACCESS[n]
    sub_request : SUB_REQUEST[sub-requests of an access * n]
    task : TASK[m]
        The batches in order.
    timer : int64[timers, 3]
        Heap of (instant, number of creation, access or CORE).
    ready : int32[power of two]
        Run queue.
    """

    loop: np.ndarray
    address: np.ndarray
    access: np.ndarray
    sub_request: np.ndarray
    task: np.ndarray
    timer: np.ndarray
    ready: np.ndarray


@kernel
def make_ready(run, task):
    """Append a task to the run queue."""
    loop = run.loop[0]
    run.ready[loop.ready_tail & (len(run.ready) - 1)] = task
    loop.ready_tail += 1


@kernel
def next_ready(run):
    """Take the task at the head of the run queue."""
    loop = run.loop[0]
    task = run.ready[loop.ready_head & (len(run.ready) - 1)]
    loop.ready_head += 1
    return task


@kernel
def earlier(timer, a, b):
    """Tell whether timer `a` of the heap fires before timer `b`."""
    return timer[a, 0] < timer[b, 0] or (timer[a, 0] == timer[b, 0] and timer[a, 1] < timer[b, 1])


@kernel
def swap(timer, a, b):
    """Exchange two timers of the heap."""
    for column in range(3):
        timer[a, column], timer[b, column] = timer[b, column], timer[a, column]


@kernel
def start_timer(run, due, whom):
    """Create a timer that wakes an access or the core."""
    loop, timer = run.loop[0], run.timer
    at = loop.timers
    timer[at, 0] = due
    timer[at, 1] = loop.created
    timer[at, 2] = whom
    loop.created += 1
    loop.timers += 1
    while at > 0 and earlier(timer, at, (at - 1) // 2):
        swap(timer, at, (at - 1) // 2)
        at = (at - 1) // 2


@kernel
def pop_timer(run):
    """Remove the timer that fires first.

    Returns whom it wakes.
    """
    loop, timer = run.loop[0], run.timer
    whom = timer[0, 2]
    loop.timers -= 1
    count = loop.timers
    swap(timer, 0, count)
    at = 0
    while 2 * at + 1 < count:
        child = 2 * at + 1
        if child + 1 < count and earlier(timer, child + 1, child):
            child += 1
        if not earlier(timer, child, at):
            break
        swap(timer, at, child)
        at = child
    return whom


@kernel
def push_woken(run, number, index):
    """Append access `index` to the queue of gather task `number`."""
    task, access = run.task[number], run.access[index]
    access.in_queue = 1
    access.after = NONE
    if task.front == NONE:
        task.front = index
    else:
        run.access[task.back].after = index
    task.back = index


@kernel
def pop_woken(run, number):
    """Take the access at the head of the queue of gather task `number`."""
    task = run.task[number]
    index = np.int64(task.front)
    access = run.access[index]
    task.front = access.after
    access.in_queue = 0
    access.woken = 0
    return index


@kernel
def wake(run, index):
    """Wake the owner of access `index`; a gather task is made ready by the first wake since its turn began."""
    access = run.access[index]
    if access.owner == CORE:
        make_ready(run, CORE)
        return
    access.woken = 1
    if access.in_queue == 1:
        return
    push_woken(run, access.owner, index)
    if run.task[access.owner].armed == 1:
        run.task[access.owner].armed = 0
        make_ready(run, access.owner)


@kernel
def fire_timers(run, due):
    """Pop the timers of the next instant in the order of their creation; each wakes its owner."""
    loop = run.loop[0]
    loop.now = due
    ticking = loop.tick_due == due
    while loop.timers > 0 and run.timer[0, 0] == due:
        if ticking and loop.tick_number < run.timer[0, 1]:
            make_ready(run, TICK)
            ticking = False
        whom = pop_timer(run)
        if whom == CORE:
            make_ready(run, CORE)
        else:
            wake(run, whom)
    if ticking:
        make_ready(run, TICK)


@kernel
def lengthen_group(run):
    """Take the batch behind the group in hand into it, if it is one that may overlap it.

    Returns False where that batch is not at hand yet.
    """
    loop = run.loop[0]
    if loop.core_stop >= loop.loaded:
        return loop.whole == 1
    kind = run.task[loop.core_stop].kind
    if kind == SPAWN or kind == CLOSED:
        loop.core_stop += 1
    return True


@kernel
def reset_loop(run, start, stop, now):
    """Prepare batches `start` to `stop` - 1, the core about to run at instant `now`."""
    loop = run.loop[0]
    loop.now = now
    loop.created = loop.pending = loop.late = loop.timers = loop.ready_head = loop.ready_tail = loop.closed = 0
    loop.starved = 0
    loop.tick_due = NEVER
    loop.link_holder = loop.link_front = NONE
    loop.core_stage = AT_BATCH
    loop.core_batch, loop.core_stop, loop.core_joined = start, stop, start
    loop.holder[:] = NONE
    loop.lock_front[:] = NONE
    loop.first_attempt[:] = NONE
    loop.return_front[:] = NONE
    make_ready(run, CORE)
