"""Pass over the clocks in which nothing happens but retries that are refused (§4.9).

A refused request tries again every clock. While no read returns, no other timer fires and every retry is refused, one
clock is like the next: the same timers fire in the same order and create their successors. Such clocks are passed over
as one. A retry is refused while its queue is full; a read is not where a write to its address came since.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .channel import step, writes_to
from .event_queue import RETRYING
from .front_end import place_of, sub_request_address
from .state import BANK_MASK, NONE, READ, REJECTED_SENDS, WRITE
from .ticks import add_return, advance

MOST_TIMERS = 8  # with more of them retries are not looked for
MOST_CLOCKS = 1 << 20  # that are passed over at a time


@small
def is_retrying(run, lock):
    """Tell whether the holder of a lock was refused and waits to try again."""
    holder = run.loop[0].holder[lock]
    return holder != NONE and run.sub_request[holder].stage == RETRYING


@kernel
def retry_timer(cfg, run, lock):
    """Find the timer of a lock's next retry in the heap, NONE without one."""
    loop = run.loop[0]
    owner = loop.holder[lock] // cfg.sub_requests
    for at in range(min(loop.timers, MOST_TIMERS)):
        if run.timer[at, 2] == owner and run.timer[at, 0] == loop.retry_due[lock]:
            return np.int64(at)
    return NONE


@small
def clock_of_retry(cfg, front, loop, due, number):
    """Find the clock that a retry at `due`, whose timer has a number of creation, sees of the channels."""
    if loop.pending == 0:
        return max(front.ticks, -(-due // cfg.tck_ps))
    comes_later = due < loop.tick_due or (due == loop.tick_due and number < loop.tick_number)
    return front.ticks + 1 - np.int64(comes_later)


@kernel
def quiet_clocks(state, run):
    """Count the next ticks in which no read can return, MOST_CLOCKS at most."""
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    clocks = np.int64(MOST_CLOCKS)
    if loop.pending == 0:
        return clocks
    for number in range(cfg.channels):
        channel = state.channels[number]
        if channel.reads_left > 0:
            advance(cfg, run, number, channel, front.ticks)
            clocks = min(clocks, channel.clk + cfg.read_latency - front.ticks)
        index = loop.return_front[number]
        if index != NONE:
            clocks = min(clocks, run.sub_request[index].return_tick - 1 - front.ticks)
    return clocks


@small
def has_room(cfg, run, state, lock):
    """Tell whether the channel that refused the holder of a lock would take its request now."""
    channel = state.channels[run.loop[0].retry_channel[lock]]
    return channel.queued[lock] <= cfg.queue_capacity[lock]


@kernel
def may_forward(state, run):
    """Tell whether a queued write holds the address of the read that waits: it arrived since the read was refused."""
    cfg, loop = state.config[0], run.loop[0]
    channel = state.channels[loop.retry_channel[READ]]
    if channel.queued[WRITE] == 0:
        return False
    owner, sub_request = loop.holder[READ] // cfg.sub_requests, loop.holder[READ] % cfg.sub_requests
    place = place_of(cfg, run.address[owner]) ^ cfg.sub_request_place[sub_request]
    return writes_to(channel, place & BANK_MASK, sub_request_address(cfg, run.address[owner], sub_request))


@kernel
def run_until_room(state, run, reads, writes, clk, limit):
    """Run the channels that refused retries from clock `clk` on until one has room, at most to clock `limit`.

    `reads` and `writes` tell which of the locks' holders wait. Two channels go clock by clock, so that neither is
    ahead when the other has room.

    Returns the clock from which one has room, `limit` + 1 without any.
    """
    cfg, loop = state.config[0], run.loop[0]
    first = loop.retry_channel[READ] if reads else loop.retry_channel[WRITE]
    last = loop.retry_channel[WRITE] if writes else first
    advance(cfg, run, first, state.channels[first], clk)
    advance(cfg, run, last, state.channels[last], clk)
    while clk <= limit:
        if first == last:
            channel = state.channels[first]
            clk = max(clk, channel.clk)
        else:
            advance(cfg, run, first, state.channels[first], clk)
            advance(cfg, run, last, state.channels[last], clk)
        if (reads and has_room(cfg, run, state, READ)) or (writes and has_room(cfg, run, state, WRITE)):
            return clk
        if first != last or clk == limit:
            clk += 1
            continue
        channel = state.channels[first]
        index = step(cfg, channel, limit)
        if index != NONE:
            add_return(run, first, channel, index)
    return clk


@kernel
def pass_refused_retries(state, run):
    """Pass over the next clocks in which nothing happens but retries that are refused (§4.9)."""
    cfg, front, loop = state.config[0], state.front[0], run.loop[0]
    reads, writes = is_retrying(run, READ), is_retrying(run, WRITE)
    if not (reads or writes) or loop.timers > MOST_TIMERS:
        return
    read_at = retry_timer(cfg, run, READ) if reads else NONE
    write_at = retry_timer(cfg, run, WRITE) if writes else NONE
    if (reads and read_at == NONE) or (writes and write_at == NONE) or (reads and may_forward(state, run)):
        return
    one = read_at if reads else write_at
    other = write_at if writes else read_at
    last, others = max(run.timer[one, 0], run.timer[other, 0]), NEVER
    clk = clock_of_retry(cfg, front, loop, run.timer[one, 0], run.timer[one, 1])
    if clk != clock_of_retry(cfg, front, loop, run.timer[other, 0], run.timer[other, 1]):
        return  # one of them sees a tick that the other does not
    if loop.pending > 0:
        last = max(last, loop.tick_due)
        oldest = min(run.timer[one, 1], run.timer[other, 1])
        newest = max(run.timer[one, 1], run.timer[other, 1])
        if oldest < loop.tick_number < newest:
            return  # the tick moves behind both; from then on their order stays
    elif front.ticks * cfg.tck_ps > run.timer[one, 0]:
        return
    for at in range(loop.timers):
        if at != read_at and at != write_at:
            others = min(others, run.timer[at, 0])
    clocks = min(quiet_clocks(state, run), (others - 1 - last) // cfg.tck_ps)
    if clocks <= 0:
        return
    clocks = run_until_room(state, run, reads, writes, front.ticks, clk + clocks - 1) - clk
    if clocks <= 0:
        return
    for lock in range(2):
        at = read_at if lock == READ else write_at
        if at != NONE:
            run.timer[at, 0] += clocks * cfg.tck_ps
            loop.retry_due[lock] += clocks * cfg.tck_ps
            state.channels[loop.retry_channel[lock]].count[REJECTED_SENDS] += clocks
    if loop.pending > 0:
        front.ticks += clocks
        loop.tick_due += clocks * cfg.tck_ps
