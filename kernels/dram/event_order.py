"""Run the front end under the full event order of §4.10: overlapping tasks, mixed batches, waits for the host.

Used where `front_end` is not enough. Ticks in which nobody is woken are passed over, and a channel runs only when a
request reaches it or one of its reads may return.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER, TIME_LIMIT
from .channel import send
from .event_queue import (
    AT_BATCH,
    AT_END,
    AT_HOST,
    AT_JOIN,
    AT_LEAVE,
    AT_LINK,
    AT_ROOM,
    AT_SERIAL,
    AT_SLEEP,
    AT_START,
    AT_SUB_REQUESTS,
    AT_WAIT,
    CLOSED,
    CORE,
    DONE,
    HOLDING,
    NEW,
    NOBODY,
    QUEUED,
    RETRYING,
    SENT,
    SERIAL,
    SPAWN,
    TICK,
    fire_timers,
    lengthen_group,
    make_ready,
    next_ready,
    pop_woken,
    push_woken,
    reset_loop,
    start_timer,
    wake,
)  # fmt: skip
from .front_end import channel_of, place_of, sub_request_address, ticks_before
from .refused_retries import pass_refused_retries
from .state import FORWARDED, NONE, READ, REJECTED
from .ticks import add_return, advance, pass_quiet_ticks, schedule_tick, tick


@kernel
def clear_run(cfg, run, n):
    """Make one batch of the run's first n accesses, none of them begun."""
    run.task[0].start, run.task[0].stop, run.task[0].front = 0, n, NONE
    run.task[0].kind = run.task[0].armed = run.task[0].joined = 0
    run.task[0].at = run.task[0].left = 0
    for index in range(n):
        access = run.access[index]
        access.stage, access.write, access.in_queue, access.woken = AT_START, READ, 0, 0
    for index in range(cfg.sub_requests * n):
        run.sub_request[index].stage = NEW


# --- accesses -----------------------------------------------------------------------------------


@kernel
def queue_for_lock(run, lock, index):
    """Append a sub-request to the waiters of a lock."""
    loop = run.loop[0]
    run.sub_request[index].stage = QUEUED
    run.sub_request[index].after = NONE
    if loop.lock_front[lock] == NONE:
        loop.lock_front[lock] = index
    else:
        run.sub_request[loop.lock_back[lock]].after = index
    loop.lock_back[lock] = index


@kernel
def release_lock(cfg, run, lock):
    """Give the lock to its longest waiter."""
    loop = run.loop[0]
    index = loop.lock_front[lock]
    loop.holder[lock] = index
    loop.first_attempt[lock] = NONE
    if index != NONE:
        loop.lock_front[lock] = run.sub_request[index].after
        run.sub_request[index].stage = HOLDING
        wake(run, index // cfg.sub_requests)


@kernel
def attempt(state, run, lock, index):
    """Send the sub-request that holds the lock (§4.9)."""
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    owner = index // cfg.sub_requests
    sub_request = index % cfg.sub_requests
    if loop.first_attempt[lock] == NONE:
        loop.first_attempt[lock] = loop.now // cfg.tck_ps
    if loop.pending == 0:
        front.ticks = ticks_before(cfg, front, loop.now)
    place = place_of(cfg, run.address[owner]) ^ cfg.sub_request_place[sub_request]
    number = channel_of(place)
    channel = state.channels[number]
    advance(cfg, run, number, channel, front.ticks)
    first, rest = loop.first_attempt[lock], loop.now // cfg.tck_ps
    address = sub_request_address(cfg, run.address[owner], sub_request)
    sent = send(cfg, channel, lock, place, address, first, rest, index)
    if sent == REJECTED:
        run.sub_request[index].stage = RETRYING
        loop.retry_due[lock] = loop.now + cfg.tck_ps
        loop.retry_channel[lock] = number
        start_timer(run, loop.retry_due[lock], owner)
        return
    run.access[owner].accept = loop.now
    if run.sub_request[index].stage != NEW:
        for _ in range(cfg.lockstep_channels - 1):  # they waited too, and hand the lock from one to the next
            wake(run, owner)
    run.sub_request[index].stage = SENT if lock == READ else DONE
    if sent == FORWARDED:
        add_return(run, number, channel, index)
    if lock == READ:
        if loop.pending == 0:
            schedule_tick(state, run)
        loop.pending += 1
    release_lock(cfg, run, lock)


@kernel
def poll_sub_requests(state, run, owner):
    """Advance every sub-request of access `owner`.

    Returns True once all are done.
    """
    cfg, loop = state.config[0], run.loop[0]
    lock = np.int64(run.access[owner].write)
    first = owner * cfg.sub_requests
    for index in range(first, first + cfg.sub_requests):
        stage = run.sub_request[index].stage
        if stage == NEW and loop.holder[lock] != NONE:
            queue_for_lock(run, lock, index)
        elif stage == NEW:
            loop.holder[lock] = index
            attempt(state, run, lock, index)
        elif stage == HOLDING or (stage == RETRYING and loop.now >= loop.retry_due[lock]):
            attempt(state, run, lock, index)
    for index in range(first, first + cfg.sub_requests):
        if run.sub_request[index].stage != DONE:
            return False
    return True


@kernel
def take_link(run, index):
    """Take the host link, or queue for it.

    Returns True where it was free.
    """
    loop = run.loop[0]
    if loop.link_holder == NONE:
        loop.link_holder = index
        return True
    run.access[index].after_link = NONE
    if loop.link_front == NONE:
        loop.link_front = index
    else:
        run.access[loop.link_back].after_link = index
    loop.link_back = index
    return False


@kernel
def give_link(run):
    """Give the host link to its longest waiter."""
    loop = run.loop[0]
    index = loop.link_front
    loop.link_holder = index
    if index != NONE:
        loop.link_front = run.access[index].after_link
        run.access[index].stage = AT_HOST
        wake(run, index)


@kernel
def wait_for_host(run, index):
    """Take the host link and wait, where access `index` is asked to, before the access itself.

    Returns True once that is over.
    """
    loop, access = run.loop[0], run.access[index]
    if access.stage == AT_START:
        access.stage = AT_HOST if access.link == 0 or take_link(run, index) else AT_LINK
    if access.stage == AT_HOST:
        access.stage = AT_WAIT
        access.due = loop.now
        if access.wait > TIME_LIMIT - loop.now:
            loop.late = 1
        elif access.wait > 0:
            access.due += access.wait
            start_timer(run, access.due, index)
    if access.stage == AT_WAIT and loop.now >= access.due:
        access.stage = AT_SUB_REQUESTS
    return access.stage == AT_SUB_REQUESTS


@kernel
def poll(state, run, index):
    """Advance access `index` until it has to wait again.

    Returns True once it is finished.
    """
    front, loop, access = state.front[0], run.loop[0], run.access[index]
    if access.stage == AT_START:
        access.issue = loop.now
        front.reads += 1 - np.int64(access.write)
        front.writes += np.int64(access.write)
    if not (wait_for_host(run, index) and poll_sub_requests(state, run, index)):
        return False
    access.stage = AT_END
    access.done = loop.now
    if access.link == 1:
        give_link(run)
    return True


# --- tasks --------------------------------------------------------------------------------------


@kernel
def gather_turn(state, run, number):
    """Run turns of a gather task until none of its accesses is woken or a turn ends early (§4.10)."""
    task = run.task[number]
    if task.left == 0:
        return
    task.armed = 1
    polls, own_wakes = task.left, 0
    while task.front != NONE:
        index = pop_woken(run, number)
        if run.access[index].stage == AT_END:
            continue
        if poll(state, run, index):
            task.left -= 1
            task.armed = 1
            polls, own_wakes = task.left, 0
            continue
        polls -= 1
        own_wakes += run.access[index].woken
        if polls == 0 or own_wakes == 2:
            make_ready(run, number)
            return
    if task.left > 0:
        return
    if task.kind == CLOSED:
        run.loop[0].closed -= 1
        if run.loop[0].core_stage == AT_ROOM:
            make_ready(run, CORE)
    if task.joined == 1:
        make_ready(run, CORE)


@kernel
def start_gather(run, number):
    """Spawn a batch's gather task; all its accesses are to be polled."""
    task = run.task[number]
    for index in range(task.start, task.stop):
        run.access[index].owner = number
        push_woken(run, number, index)
    task.left = task.stop - task.start
    make_ready(run, number)


@kernel
def join_before(run, batch):
    """Make the core wait for the first batch before `batch` that is not complete.

    Returns True when there is none.
    """
    loop = run.loop[0]
    while loop.core_joined < batch:
        task = run.task[loop.core_joined]
        if task.left > 0:
            task.joined = 1
            return False
        loop.core_joined += 1
    return True


@kernel
def sleep_until(run, due):
    """Let the core sleep until instant `due`."""
    loop = run.loop[0]
    loop.core_stage = AT_SLEEP
    loop.core_due = due
    if due > loop.now:
        start_timer(run, due, CORE)


@kernel
def start_batch(run, batch):
    """Start a batch whose time has come, as the core."""
    loop, task = run.loop[0], run.task[batch]
    if task.kind == SERIAL:
        loop.core_stage = AT_SERIAL
        loop.core_access = task.start
    else:
        start_gather(run, batch)
        loop.core_stage = AT_BATCH
        loop.core_batch += 1


@kernel
def run_serial(state, run, task):
    """Run a batch's accesses as the core itself.

    Returns True after the last.
    """
    loop = run.loop[0]
    while loop.core_access < task.stop:
        run.access[loop.core_access].owner = CORE
        if not poll(state, run, loop.core_access):
            return False
        loop.core_access += 1
    return True


@kernel
def core_turn(state, run):
    """Run the core from batch to batch until it has to wait; a wake-up without cause does nothing.

    Where the next batch is not at hand, the turn stops as `starved`, to be gone on with once it is.
    """
    loop = run.loop[0]
    while True:
        batch, stage = loop.core_batch, loop.core_stage
        if stage == AT_BATCH and batch == loop.core_stop and not lengthen_group(run):
            loop.starved = 1
            return
        kind = run.task[batch].kind if batch < loop.core_stop else NONE
        if stage == AT_BATCH and kind == SPAWN:
            sleep_until(run, run.task[batch].at)
        elif kind == CLOSED and (stage == AT_BATCH or stage == AT_ROOM):
            loop.core_stage = AT_ROOM
            if loop.closed >= run.task[batch].at:
                return
            loop.closed += 1
            start_batch(run, batch)
        elif stage == AT_BATCH:
            loop.core_stage = AT_JOIN
        elif stage == AT_JOIN:
            if not join_before(run, batch):
                return
            if batch < loop.core_stop:
                sleep_until(run, loop.now + run.task[batch].at)
            else:
                loop.core_stage = AT_LEAVE
        elif stage == AT_SLEEP:
            if loop.now < loop.core_due:
                return
            start_batch(run, batch)
        elif stage == AT_SERIAL:
            if not run_serial(state, run, run.task[batch]):
                return
            loop.core_stage = AT_BATCH
            loop.core_batch += 1
        else:
            return


@kernel
def run_ready(state, run):
    """Run tasks in wake order until none is left, or the core is starved."""
    loop = run.loop[0]
    if loop.starved == 1:
        loop.starved = 0
        core_turn(state, run)
    while loop.starved == 0 and loop.ready_head != loop.ready_tail:
        task = next_ready(run)
        if task == TICK:
            tick(state, run)
        elif task == CORE:
            core_turn(state, run)
        elif task != NOBODY:
            gather_turn(state, run, task)


@small
def is_drained(run):
    """Tell whether the event loop has nothing left to happen."""
    loop = run.loop[0]
    return loop.timers == 0 and loop.tick_due == NEVER and loop.starved == 0


@kernel
def drain_events(state, run, budget):
    """Run the event loop until nothing is left to happen (`is_drained`), it is starved, or for `budget` instants.

    Returns what is left of the budget.
    """
    front, loop = state.front[0], run.loop[0]
    run_ready(state, run)
    while not is_drained(run):
        if budget <= 0 or loop.starved == 1:
            return budget
        budget -= 1
        pass_refused_retries(state, run)
        due = run.timer[0, 0] if loop.timers > 0 else NEVER
        if loop.tick_due < due:
            pass_quiet_ticks(state, run, due)
        fire_timers(run, min(due, loop.tick_due))
        run_ready(state, run)
    front.last_event = max(front.last_event, loop.now)
    return budget


@kernel
def run_events(state, run, start, stop, now):
    """Run batches `start` to `stop` - 1 from instant `now` on; no read is under way before or after.

    Returns the instant of the last event.
    """
    reset_loop(run, start, stop, now)
    drain_events(state, run, NEVER)
    return run.loop[0].now
