"""Run single accesses that begin at instants of their own, as in a trace of text (spec §4.9, §4.10).

Each access is a gather task of one. That leaves of the event order: the accesses of a kind hold its lock in the order
of the trace; what may happen at an instant is the begin of accesses (CORE), an attempt of the read lock's or the write
lock's holder, and a tick, each with one timer at most; and a read that returns does nothing but end, so that its end is
noted when its RD is issued and ticks without anything else are passed over. `event_order` runs any tasks, and is what
this is tested against.

An access that had to queue is polled once more in the same instant (§4.10: all of its task's reads were polled): that
is an entry of its own in the run queue, and comes to something where it was handed the lock meanwhile.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .channel import catch_up, send, step, writes_to
from .event_queue import ENDED, PAUSED, STARVED
from .front_end import channel_of, place_of, sub_request_address
from .state import BANK_MASK, FORWARDED, NONE, READ, REJECTED, REJECTED_SENDS, WRITE

# Entries of the run queue; an access is its number.
TICK, CORE, NOBODY = -1, -2, -3

# What the holder of a lock is about to attempt: it took the free lock, was handed it, was refused.
FRESH, HANDED, RETRYING = range(3)

_i8 = np.int64

OPEN = np.dtype(
    [
        ("now", _i8),
        ("created", _i8),  # timers created so far
        ("loaded", _i8),  # accesses at hand
        ("whole", _i8),  # 1: no access follows them
        ("starved", _i8),  # 1: CORE stopped before an access that is not at hand yet
        ("begun", _i8),  # accesses that began: they are, or were, in the run queue
        ("polled", _i8),  # accesses that were polled
        ("core_due", _i8),  # instant at which the next access begins, NEVER without one
        ("core_number", _i8),
        ("pending", _i8),  # 1: a read is under way
        ("tick_due", _i8),  # instant of the tick's timer while `pending`
        ("tick_number", _i8),
        ("ready_head", _i8),
        ("ready_tail", _i8),
        # the read lock and the write lock
        ("holder", _i8, (2,)),
        ("stage", _i8, (2,)),
        ("part", _i8, (2,)),  # sub-request of the holder that is next
        ("first_attempt", _i8, (2,)),  # clock of that one's, NONE before it
        ("retry_due", _i8, (2,)),  # NEVER where the holder was not refused
        ("retry_number", _i8, (2,)),
        ("retry_channel", _i8, (2,)),
    ]
)


class OpenRun(NamedTuple):
    """Accesses at hand and what became of them.

    Attributes
    ----------
    loop : OPEN[1]
    time : int64[n]
        Instant at which an access begins.
    address : int64[n]
        Byte addresses (u64 bit patterns).
    write : uint8[n]
        1 for a write.
    left : uint8[n]
        Sub-requests of a read whose return is not known yet, of a write that are not taken yet.
    accept, done : int64[n]
        As in `state.ACCESS`.
    ready : int32[power of two >= 4 n]
        Run queue: an access is there at most three times.
    """

    loop: np.ndarray
    time: np.ndarray
    address: np.ndarray
    write: np.ndarray
    left: np.ndarray
    accept: np.ndarray
    done: np.ndarray
    ready: np.ndarray


@small
def push(run, task):
    """Append an entry to the run queue."""
    loop = run.loop[0]
    run.ready[loop.ready_tail & (len(run.ready) - 1)] = task
    loop.ready_tail += 1


@small
def number_timer(loop):
    """Count a timer that is created now.

    Returns its number.
    """
    loop.created += 1
    return loop.created


# --- channels -----------------------------------------------------------------------------------


@small
def note_return(cfg, run, channel, tag):
    """Note the end of a sub-request of read `tag`, whose return was just inserted."""
    run.done[tag] = max(run.done[tag], (channel.last_return - 1) * cfg.tck_ps)
    run.left[tag] -= 1


@kernel
def advance(cfg, run, channel, clk):
    """Run the channel's ticks up to `clk`."""
    while channel.clk < clk:
        tag = step(cfg, channel, clk)
        if tag != NONE:
            note_return(cfg, run, channel, tag)


@kernel
def is_read_under_way(state, run, clk):
    """Tell whether a read is under way when `clk` ticks are done."""
    cfg = state.config[0]
    for number in range(cfg.channels):  # mostly this can be told without running a channel
        channel = state.channels[number]
        if channel.last_return > clk or (channel.reads_left > 0 and channel.clk + cfg.read_latency >= clk):
            return True
    for number in range(cfg.channels):
        channel = state.channels[number]
        if channel.reads_left > 0:
            advance(cfg, run, channel, clk)
        if channel.reads_left > 0 or channel.last_return > clk:
            return True
    return False


@small
def schedule_tick(front, cfg, run):
    """Create the tick's timer; a tick of this very instant is ready at once."""
    loop = run.loop[0]
    loop.pending = 1
    loop.tick_due = front.ticks * cfg.tck_ps
    loop.tick_number = number_timer(loop)
    if loop.tick_due == loop.now:
        push(run, TICK)


@kernel
def tick(state, run):
    """Run the tick of this instant."""
    front, loop = state.front[0], run.loop[0]
    front.ticks += 1
    loop.pending = 0
    if is_read_under_way(state, run, front.ticks):
        schedule_tick(front, state.config[0], run)


# --- locks --------------------------------------------------------------------------------------


@small
def release_lock(run, lock):
    """Give the lock to its longest waiter: the next access of the kind, if it was polled already."""
    loop = run.loop[0]
    index = loop.holder[lock] + 1
    while index < loop.polled and run.write[index] != lock:
        index += 1
    loop.part[lock] = 0
    if index >= loop.polled:
        loop.holder[lock] = NONE
        return
    loop.holder[lock] = index
    loop.stage[lock] = HANDED
    push(run, index)


@kernel
def attempt(state, run, lock):
    """Send the sub-requests of the access that holds a lock until one is refused (§4.9).

    Returns True where one was taken that had waited, so that the access is woken by its own poll: the lock goes on to
    its next sub-request, or from one lockstep channel's request to the next.
    """
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    index = loop.holder[lock]
    waited, woken = loop.stage[lock] != FRESH, False
    block = place_of(cfg, run.address[index])
    loop.retry_due[lock] = NEVER
    clock = loop.now // cfg.tck_ps
    while loop.part[lock] < cfg.sub_requests:
        if loop.first_attempt[lock] == NONE:
            loop.first_attempt[lock] = clock
        part = loop.part[lock]
        place = block ^ cfg.sub_request_place[part]
        channel = state.channels[channel_of(place)]
        advance(cfg, run, channel, front.ticks)
        address = sub_request_address(cfg, run.address[index], part)
        sent = send(cfg, channel, lock, place, address, loop.first_attempt[lock], clock, index)
        if sent == REJECTED:
            loop.stage[lock] = RETRYING
            loop.retry_due[lock] = loop.now + cfg.tck_ps
            loop.retry_channel[lock] = channel_of(place)
            loop.retry_number[lock] = number_timer(loop)
            return woken
        woken = woken or (waited and (cfg.lockstep_channels > 1 or part + 1 < cfg.sub_requests))
        if sent == FORWARDED:
            note_return(cfg, run, channel, index)
        if lock == WRITE:
            run.left[index] -= 1
        elif loop.pending == 0:
            schedule_tick(front, cfg, run)
        loop.first_attempt[lock] = NONE
        loop.part[lock] += 1
    run.accept[index] = loop.now
    if lock == WRITE:
        run.done[index] = loop.now
    release_lock(run, lock)
    return woken


@small
def take_lock(run, lock, index):
    """Take a lock that is free."""
    run.loop[0].holder[lock] = index
    run.loop[0].stage[lock] = FRESH


@small
def poll(state, run, index):
    """Advance an access until it has to wait."""
    front, loop, lock = state.front[0], run.loop[0], np.int64(run.write[index])
    if index == loop.polled:
        loop.polled += 1
        front.reads += 1 - lock
        front.writes += lock
        if loop.holder[lock] != NONE:
            push(run, index)
            return
        take_lock(run, lock, index)
        attempt(state, run, lock)
    elif loop.holder[lock] == index and (loop.stage[lock] == HANDED or loop.now >= loop.retry_due[lock]):
        attempt(state, run, lock)


# --- instants -----------------------------------------------------------------------------------


@small
def begin_accesses(run):
    """Begin the accesses whose time has come, as the core; it stops as `starved` where the next is not at hand."""
    loop = run.loop[0]
    while loop.begun < loop.loaded and run.time[loop.begun] <= loop.now:
        push(run, loop.begun)
        loop.begun += 1
    loop.starved = np.int64(loop.begun == loop.loaded and loop.whole == 0)
    loop.core_due = NEVER
    if loop.begun < loop.loaded:
        loop.core_due = run.time[loop.begun]
        loop.core_number = number_timer(loop)


@kernel
def run_ready(state, run):
    """Run the entries of the run queue in their order until none is left, or the core is starved."""
    loop = run.loop[0]
    if loop.starved == 1:
        begin_accesses(run)
    while loop.starved == 0 and loop.ready_head != loop.ready_tail:
        task = np.int64(run.ready[loop.ready_head & (len(run.ready) - 1)])
        loop.ready_head += 1
        if task >= 0:
            poll(state, run, task)
        elif task == CORE:
            begin_accesses(run)
        elif task == TICK:
            tick(state, run)


@small
def next_timer(loop, due, after):
    """Find the timer of an instant that was created first after timer number `after`.

    Returns (number, TICK, CORE or the lock's holder), NEVER as the number where there is none.
    """
    number, task = NEVER, np.int64(NOBODY)
    if loop.core_due == due and after < loop.core_number < number:
        number, task = loop.core_number, np.int64(CORE)
    if loop.pending == 1 and loop.tick_due == due and after < loop.tick_number < number:
        number, task = loop.tick_number, np.int64(TICK)
    for lock in range(2):
        if loop.retry_due[lock] == due and after < loop.retry_number[lock] < number:
            number, task = loop.retry_number[lock], loop.holder[lock]
    return number, task


@kernel
def fire_timers(state, run, due):
    """Go on to the next instant at which anything but ticks happens, and make ready what its timers wake.

    Where the tick's timer is one of an earlier instant, ticks were passed over: it was created anew in each, and is
    the youngest timer.
    """
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    loop.now = due
    clk = -(-due // cfg.tck_ps)
    if loop.pending == 1:
        loop.pending = np.int64(is_read_under_way(state, run, clk))
        if loop.pending == 1 and loop.tick_due < clk * cfg.tck_ps:
            loop.tick_due = clk * cfg.tck_ps
            loop.tick_number = number_timer(loop)
    front.ticks = max(front.ticks, clk)
    number, task = next_timer(loop, due, np.int64(NONE))
    while number != NEVER:
        push(run, task)
        number, task = next_timer(loop, due, number)


# --- refused attempts ---------------------------------------------------------------------------


@small
def comes_behind_tick(loop, lock):
    """Tell whether the next attempt of a lock's holder, which was refused, comes behind a tick of its instant."""
    at_tick = loop.pending == 1 and loop.tick_due == loop.retry_due[lock]
    return at_tick and loop.tick_number < loop.retry_number[lock]


@small
def clock_seen(cfg, loop, lock):
    """Find how many ticks are done at the next attempt of a lock's holder, which was refused."""
    return -(-loop.retry_due[lock] // cfg.tck_ps) + np.int64(comes_behind_tick(loop, lock))


@kernel
def clocks_with_reads(state):
    """Find a number of ticks up to which some read is under way."""
    cfg, clocks = state.config[0], np.int64(0)
    for number in range(cfg.channels):
        channel = state.channels[number]
        clocks = max(clocks, channel.last_return - 1)
        if channel.reads_left > 0:
            clocks = max(clocks, channel.clk + cfg.read_latency - 1)
    return clocks


@kernel
def may_forward(state, run):
    """Tell whether a queued write holds the address of the read that was refused: it came since."""
    cfg, loop = state.config[0], run.loop[0]
    channel = state.channels[loop.retry_channel[READ]]
    if channel.queued[WRITE] == 0:
        return False
    address = run.address[loop.holder[READ]]
    place = place_of(cfg, address) ^ cfg.sub_request_place[loop.part[READ]]
    return writes_to(channel, place & BANK_MASK, sub_request_address(cfg, address, loop.part[READ]))


@small
def is_full(cfg, channel, lock):
    """Tell whether the queue of a channel takes no request of a lock."""
    return channel.queued[lock] > cfg.queue_capacity[lock]


@kernel
def run_while_full(state, run, lock, clk):
    """Run the channel that refused a lock's holder up to `clk`, or to the command that makes room, if that is sooner.

    Returns the clock reached.
    """
    cfg = state.config[0]
    channel = state.channels[run.loop[0].retry_channel[lock]]
    while channel.clk < clk and is_full(cfg, channel, lock):
        tag = step(cfg, channel, clk)
        if tag != NONE:
            note_return(cfg, run, channel, tag)
    return channel.clk


@kernel
def pass_refused_attempts(state, run):
    """Pass over the next instants in which nothing happens but attempts that are refused (§4.9).

    Such attempts come every clock and find the same: the channel with a full queue. Those that come behind a tick do so
    while a read is under way.
    """
    cfg, loop = state.config[0], run.loop[0]
    reads, writes = loop.retry_due[READ] != NEVER, loop.retry_due[WRITE] != NEVER
    if not (reads or writes) or (reads and may_forward(state, run)):
        return
    lock = READ if reads else WRITE
    clk, last = clock_seen(cfg, loop, lock), loop.retry_due[lock]
    if reads and writes:
        if clock_seen(cfg, loop, WRITE) != clk:
            return  # one of them sees a tick that the other does not
        last = max(last, loop.retry_due[WRITE])
    clocks = (loop.core_due - 1 - last) // cfg.tck_ps
    behind_tick = (reads and comes_behind_tick(loop, READ)) or (writes and comes_behind_tick(loop, WRITE))
    if behind_tick:
        clocks = min(clocks, clocks_with_reads(state) - clk)
    if clocks <= 0:
        return
    channel = state.channels[loop.retry_channel[lock]]
    if not (reads and writes):
        advance(cfg, run, channel, clk)
        clocks = run_while_full(state, run, lock, clk + clocks) - clk
    else:
        clocks = clocks_while_both_full(state, run, clk, clocks)
    if clocks <= 0:
        return
    for each in range(2):
        if loop.retry_due[each] != NEVER:
            loop.retry_due[each] += clocks * cfg.tck_ps
            state.channels[loop.retry_channel[each]].count[REJECTED_SENDS] += clocks
    if behind_tick:
        loop.tick_due += clocks * cfg.tck_ps


@kernel
def clocks_while_both_full(state, run, clk, most):
    """Run the channels that refused both locks' holders from clock `clk` on until one has room.

    Returns for how many clocks none has, at most `most`.
    """
    cfg, loop = state.config[0], run.loop[0]
    first, second = state.channels[loop.retry_channel[READ]], state.channels[loop.retry_channel[WRITE]]
    limit = clk + most
    if loop.retry_channel[READ] == loop.retry_channel[WRITE]:
        advance(cfg, run, first, clk)
        while first.clk < limit and is_full(cfg, first, READ) and is_full(cfg, first, WRITE):
            tag = step(cfg, first, limit)
            if tag != NONE:
                note_return(cfg, run, first, tag)
        return first.clk - clk
    while clk < limit:
        advance(cfg, run, first, clk)
        advance(cfg, run, second, clk)
        if not is_full(cfg, first, READ) or not is_full(cfg, second, WRITE):
            break
        clk += 1
    return clk + most - limit


# --- the loop -----------------------------------------------------------------------------------


@kernel
def run_open(dram, run, budget):
    """Run the accesses of an `OpenRun`, from instant 0 of an unused memory, for `budget` instants.

    Returns PAUSED when the budget is used up, STARVED where the accesses at hand do not tell how it goes on, ENDED when
    all are run.
    """
    loop = run.loop[0]
    run_ready(dram, run)
    while loop.starved == 0:
        if budget <= 0:
            return np.int64(PAUSED)
        budget -= 1
        pass_refused_attempts(dram, run)
        due = min(loop.core_due, min(loop.retry_due[READ], loop.retry_due[WRITE]))
        if due == NEVER:
            break
        fire_timers(dram, run, due)
        run_ready(dram, run)
    if loop.starved == 1:
        return np.int64(STARVED)
    finish_reads(dram, run)
    catch_up(dram, dram.front[0].ticks)
    return np.int64(ENDED)


@kernel
def finish_reads(state, run):
    """Run every channel until its reads have returned.

    Returns the instant of the last event.
    """
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    end = loop.now
    for number in range(cfg.channels):
        channel = state.channels[number]
        while channel.reads_left > 0:
            tag = step(cfg, channel, NEVER)
            if tag != NONE:
                note_return(cfg, run, channel, tag)
        front.ticks = max(front.ticks, channel.last_return)
        end = max(end, (channel.last_return - 1) * cfg.tck_ps)
    front.last_event = max(front.last_event, end)
    return end
