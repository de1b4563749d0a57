"""Time of a batch of lines on a DRAM behind its controller (spec §7.4; general form §7.12).

All lines of a batch are read, or all are written. Each goes to its channels' admission queues at once, and no channel
waits for another, so a channel runs on its own until its queue has room for the next request. Here tick k is at
instant k * period (`channel.step` only counts ticks).

A full queue of 33 and 35 requests for one channel, submitted before tick 5: 33 are admitted with arrive = 4. If tick 9
is the first that frees a place, request 34 is admitted before tick 10 with arrive = 9.

Lines that wait for the host (a regime's decision) are submitted when their wait ends. Behind the host link one follows
the other: the next begins to wait when the one before has arrived.
"""

from ..compiler.jit import kernel, small
from ..dram.channel import send, step
from ..dram.front_end import channel_of, part_address, place_of
from ..dram.state import NONE, READ, WRITE
from ..limits import NEVER, OVERFLOW, TIME_LIMIT


@small
def first_tick(state, now):
    """Number of the first tick that sees lines submitted at `now` (k1 of §7.4)."""
    return max(-(-now // state.config[0].period), state.front[0].ticks + 1)


@kernel
def catch_up_channel(cfg, ch, clk):
    """Run the ticks up to `clk` that a channel still owes: its refreshes happen in idle ticks too."""
    while ch.clk < clk:
        step(cfg, ch, clk)


@small
def submit(state, address, queue, clk, begun):
    """Submit one line before tick `clk` + 1: the last channel record that it reaches.

    `begun` is the instant of the submission in clocks, for the read latencies.
    """
    cfg = state.config[0]
    block = place_of(cfg, address)
    number = 0
    for part in range(cfg.parts):
        place = block ^ cfg.part_place[part]
        number = channel_of(place)
        ch = state.channels[number]
        if ch.clk < clk:
            catch_up_channel(cfg, ch, clk)
        while ch.queued[queue] > cfg.limit[queue]:
            step(cfg, ch, NEVER)
        send(cfg, ch, queue, place, part_address(cfg, address, part), begun, begun, NONE)
    return number


@kernel
def finish(state, queue):
    """Run every channel until its requests are complete: the number of the tick of the last completion."""
    cfg, front = state.config[0], state.front[0]
    last = front.ticks
    for number in range(cfg.channels):
        ch = state.channels[number]
        if queue == READ:
            while ch.reads_left > 0:
                step(cfg, ch, NEVER)
            last = max(last, ch.last_return)
        elif ch.queued[WRITE] + ch.active > 0:
            while ch.queued[WRITE] + ch.active > 0:
                step(cfg, ch, NEVER)
            last = max(last, ch.clk + 1)
    front.ticks = last
    return last


@kernel
def run_lines(state, lines, count, queue, now):
    """Read or write (`queue`) `lines[:count]`, all submitted at `now`: the instant of the end."""
    if count == 0:
        return now
    front = state.front[0]
    clk = first_tick(state, now) - 1
    begun = now // state.config[0].period - 1
    for i in range(count):
        submit(state, lines[i], queue, clk, begun)
    if queue == READ:
        front.reads += count
    else:
        front.writes += count
    end = finish(state, queue) * state.config[0].period
    front.last_event = max(front.last_event, end)
    return end if end <= TIME_LIMIT else OVERFLOW


@kernel
def run_held_lines(state, lines, wait, link, count, now):
    """Read `lines[:count]`, of which some wait for the host or take its link: the instant of the end, or `OVERFLOW`.

    Lines that need not wait are submitted at `now`; then those that wait without the link in the order in which their
    waits end (equal waits in list order); then those behind the link, one after the other.
    """
    cfg, front = state.config[0], state.front[0]
    base = front.ticks
    for i in range(count):
        if wait[i] == 0 and link[i] == 0:
            submit(state, lines[i], READ, max(-(-now // cfg.period), base + 1) - 1, now // cfg.period - 1)
    shortest = 0
    while shortest < NEVER:
        following = NEVER
        for i in range(count):
            if link[i] == 0 and wait[i] > 0:
                if wait[i] == shortest:
                    at = now + shortest
                    submit(state, lines[i], READ, max(-(-at // cfg.period), base + 1) - 1, at // cfg.period - 1)
                elif wait[i] > shortest:
                    following = min(following, wait[i])
        if following < NEVER and following > TIME_LIMIT - now:
            return OVERFLOW
        shortest = following
    free, ticks = now, base
    for i in range(count):
        if link[i] == 1:
            if wait[i] > TIME_LIMIT - free:
                return OVERFLOW
            at = free + wait[i]
            submit(state, lines[i], READ, max(-(-at // cfg.period), ticks + 1) - 1, at // cfg.period - 1)
            ticks = max(ticks, finish_line(state, lines[i]))
            free = ticks * cfg.period
    front.reads += count
    end = max(finish(state, READ) * cfg.period, free)
    front.last_event = max(front.last_event, end)
    return end if end <= TIME_LIMIT else OVERFLOW


@kernel
def finish_line(state, address):
    """Run a line's channels until all their reads are complete: the tick of the last completion."""
    cfg = state.config[0]
    block = place_of(cfg, address)
    last = 0
    for part in range(cfg.parts):
        ch = state.channels[channel_of(block ^ cfg.part_place[part])]
        while ch.reads_left > 0:
            step(cfg, ch, NEVER)
        last = max(last, ch.last_return)
    return last
