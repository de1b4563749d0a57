"""Run a gather task of reads and writes that is alone (spec §4.9, §4.10), on the locks and attempts of `open_loop`.

All its accesses are polled at the instant it is spawned, in order; from then on there are the attempts of the two
locks' holders, all a clock apart, and the ticks. Two things are left of the order of an instant.

- The task is woken where the first of its attempts is due, and polls what was woken before it ends its turn. So both
  holders come before the tick where one of them does, and behind it where the tick is the first of all.
- Its turn ends early, and lets the tick pass, when two accesses were woken by their own polls since one finished:
  those of which a request was taken after a wait, if that hands the lock to another request of the same access, or
  the channel's request stands for those of other channels, too.

Only where the queues are so long that a turn never ends because all accesses were polled (`CONFIG.direct`).
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .open_loop import HANDED, TICK, attempt, finish_reads, fire_timers, pass_refused_attempts, take_lock, tick
from .state import NONE, READ, WRITE


@kernel
def begin_list(state, run, work, task, now):
    """Spawn a gather task at `now` and poll its accesses; `work` is an `OpenRun` with room for them."""
    cfg, front, loop = state.config[0], state.front[0], work.loop[0]
    loop.now, loop.core_due = now, NEVER
    loop.created = loop.pending = loop.starved = loop.polled = loop.ready_head = loop.ready_tail = 0
    loop.holder[:] = NONE
    loop.first_attempt[:] = NONE
    loop.part[:] = 0
    loop.retry_due[:] = NEVER
    front.ticks = max(front.ticks, -(-now // cfg.tck_ps))
    for index in range(task.stop - task.start):
        lock = np.int64(run.access[task.start + index].write)
        run.access[task.start + index].issue = now
        work.address[index] = run.address[task.start + index]
        work.write[index] = lock
        work.left[index] = cfg.sub_requests
        work.done[index] = 0
        front.reads += 1 - lock
        front.writes += lock
    for index in range(task.stop - task.start):
        lock = np.int64(work.write[index])
        loop.polled += 1
        if loop.holder[lock] == NONE:
            take_lock(work, lock, index)
            attempt(state, work, lock)
    if loop.ready_head != loop.ready_tail:  # the tick of this instant
        loop.ready_head = loop.ready_tail
        tick(state, work)


@small
def is_list_sent(work):
    """Tell whether every access was taken."""
    loop = work.loop[0]
    return loop.holder[READ] == NONE and loop.holder[WRITE] == NONE


@kernel
def run_turns(state, work):
    """Run the turns of the task at an instant at which attempts are due, and its tick."""
    loop = work.loop[0]
    mask = len(work.ready) - 1
    tick_waits = loop.pending == 1 and loop.tick_due == loop.now
    if tick_waits and work.ready[loop.ready_head & mask] == TICK:
        tick_waits = False
        tick(state, work)
    own_wakes = 0
    while loop.ready_head != loop.ready_tail:
        index = np.int64(work.ready[loop.ready_head & mask])
        loop.ready_head += 1
        if index == TICK:
            continue
        lock = np.int64(work.write[index])
        if loop.holder[lock] != index or not (loop.stage[lock] == HANDED or loop.now >= loop.retry_due[lock]):
            continue
        own_wakes += np.int64(attempt(state, work, lock))
        if lock == WRITE and loop.holder[lock] != index:  # it finished
            own_wakes = 0
        if own_wakes == 2:
            own_wakes = 0
            if tick_waits:
                tick_waits = False
                tick(state, work)
    if tick_waits:
        tick(state, work)


@kernel
def run_list(state, work, budget):
    """Run the task until every access was taken (`is_list_sent`), or for `budget` instants.

    Returns what is left of the budget.
    """
    loop = work.loop[0]
    while budget > 0 and not is_list_sent(work):
        budget -= 1
        pass_refused_attempts(state, work)
        fire_timers(state, work, min(loop.retry_due[READ], loop.retry_due[WRITE]))
        run_turns(state, work)
    return budget


@kernel
def finish_list(state, run, work, task):
    """Wait for the reads of a task that was sent.

    Returns the instant of its end.
    """
    end = finish_reads(state, work)
    for index in range(task.stop - task.start):
        run.access[task.start + index].accept = work.accept[index]
        run.access[task.start + index].done = work.done[index]
    return end
