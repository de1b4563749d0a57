"""Time of a batch of lines on a DRAM behind its controller (spec §7.4; general form §7.12).

All lines of a batch are read, or all are written. Each goes to its channels' admission queues at once, and no channel
waits for another, so a channel runs on its own until its queue has room for the next request. Here tick k is at
instant k * period (`channel.step` only counts ticks).

A full queue of 33 and 35 requests for one channel, submitted before tick 5: 33 are admitted with arrive = 4. If tick 9
is the first that frees a place, request 34 is admitted before tick 10 with arrive = 9.

Lines that wait for the host (a regime's decision) are submitted when their wait ends. Behind the host link one follows
the other: the next begins to wait when the one before has arrived. That one is *watched*: `arrived`
(int64[SUB_REQUESTS]) has the tick in which each of its sub-requests arrives, 0 while that is not known.
"""

from ...compiler.jit import kernel, small
from ...dram.channel import send, step
from ...dram.front_end import channel_of, place_of, sub_request_address
from ...dram.state import NONE, READ, WRITE
from ...limits import NEVER, OVERFLOW, TIME_LIMIT


@small
def first_tick(state, now):
    """Number of the first tick that sees lines submitted at `now` (k1 of §7.4)."""
    return max(-(-now // state.config[0].tck_ps), state.front[0].ticks + 1)


@small
def run_to_command(cfg, channel, clk, arrived):
    """Run a channel to its next command, at most to clock `clk`."""
    sub_request = step(cfg, channel, clk)
    if sub_request != NONE:
        arrived[sub_request] = channel.last_return


@small
def submit(state, arrived, address, queue, clk, begun, watched):
    """Submit a line before tick `clk` + 1.

    `begun` is the instant of the submission in clocks, for the read latencies. A channel that lags runs the ticks it
    owes first: refreshes happen in idle ticks too.
    """
    cfg = state.config[0]
    block = place_of(cfg, address)
    if watched:
        arrived[:] = 0
    for sub_request in range(cfg.sub_requests):
        place = block ^ cfg.sub_request_place[sub_request]
        channel = state.channels[channel_of(place)]
        while channel.clk < clk:
            run_to_command(cfg, channel, clk, arrived)
        while channel.queued[queue] > cfg.queue_capacity[queue]:
            run_to_command(cfg, channel, NEVER, arrived)
        sent = sub_request_address(cfg, address, sub_request)
        tag = channel.owner if queue == WRITE else sub_request if watched else NONE  # `row_ledger`: one owner for all
        send(cfg, channel, queue, place, sent, begun, begun, tag)


@kernel
def finish(state, arrived, queue):
    """Run every channel until its requests are complete: the number of the tick of the last completion."""
    cfg, front = state.config[0], state.front[0]
    last = front.ticks
    for number in range(cfg.channels):
        channel = state.channels[number]
        if queue == READ:
            while channel.reads_left > 0:
                run_to_command(cfg, channel, NEVER, arrived)
            last = max(last, channel.last_return)
        elif channel.queued[WRITE] + channel.active > 0:
            while channel.queued[WRITE] + channel.active > 0:
                run_to_command(cfg, channel, NEVER, arrived)
            last = max(last, channel.clk + 1)
    return last


@small
def end_batch(state, arrived, queue, count):
    """Finish a batch of `count` lines: the instant of its end, or `OVERFLOW`."""
    front = state.front[0]
    front.ticks = finish(state, arrived, queue)
    if queue == READ:
        front.reads += count
    else:
        front.writes += count
    end = front.ticks * state.config[0].tck_ps
    front.last_event = max(front.last_event, end)
    return end if end <= TIME_LIMIT else OVERFLOW


@kernel
def run_lines(state, arrived, lines, count, queue, now):
    """Read or write (`queue`) `lines[:count]`, all submitted at `now`: the instant of the end, or `OVERFLOW`."""
    if count == 0:
        return now
    clk = first_tick(state, now) - 1
    begun = now // state.config[0].tck_ps - 1
    for i in range(count):
        submit(state, arrived, lines[i], queue, clk, begun, False)
    return end_batch(state, arrived, queue, count)


@small
def submit_at(state, arrived, address, at, ticks, watched):
    """Submit a line to be read at instant `at`, `ticks` being the last tick that is over by then."""
    period = state.config[0].tck_ps
    submit(state, arrived, address, READ, max(-(-at // period), ticks + 1) - 1, at // period - 1, watched)


@kernel
def run_held_lines(state, arrived, lines, wait, link, count, now):
    """Read `lines[:count]`, of which some wait for the host or take its link: the instant of the end, or `OVERFLOW`.

    Lines that need not wait are submitted at `now`; those that wait without the link in the order in which their
    waits end (equal waits in list order). The regimes never mix these with lines behind the link.
    """
    if count == 0:
        return now
    ticks = state.front[0].ticks
    shortest = 0
    while shortest < NEVER:
        if shortest > TIME_LIMIT - now:
            return OVERFLOW
        following = NEVER
        for i in range(count):
            if link[i] == 0 and wait[i] == shortest:
                submit_at(state, arrived, lines[i], now + shortest, ticks, False)
            elif link[i] == 0 and wait[i] > shortest:
                following = min(following, wait[i])
        shortest = following
    free = now
    for i in range(count):
        if link[i] == 1:
            if wait[i] > TIME_LIMIT - free:
                return OVERFLOW
            submit_at(state, arrived, lines[i], free + wait[i], ticks, True)
            ticks = max(ticks, finish_line(state, arrived, lines[i]))
            free = ticks * state.config[0].tck_ps
    return end_batch(state, arrived, READ, count)


@kernel
def finish_line(state, arrived, address):
    """Run the channels of the watched line until its sub-requests are on their way: the tick of the last arrival."""
    cfg = state.config[0]
    block = place_of(cfg, address)
    last = 0
    for sub_request in range(cfg.sub_requests):
        channel = state.channels[channel_of(block ^ cfg.sub_request_place[sub_request])]
        while arrived[sub_request] == 0:
            run_to_command(cfg, channel, NEVER, arrived)
        last = max(last, arrived[sub_request])
    return last
