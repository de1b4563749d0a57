"""Split, send, retry and await the 64-byte accesses of a task that is alone (spec §4.9, §4.10).

Then no event loop is needed. Of the order of simultaneous events (§4.10) one question is left: does the tick of an
instant come before or after a retry of that instant? The tick comes first, with one exception. A batch that begins at
an instant whose tick is still to come has created its retry timer before the tick's, so its retries come first; that
lasts until a turn of the gather task ends early and lets the tick pass. With t = tCK:

    instant        begin          begin + t      begin + 2 t, a turn ends early     begin + 3 t
    usual order    sends          tick, retry    tick, retry                        tick, retry
    exception      sends, tick    retry, tick    retry, tick, rest of the turn      tick, retry

Every channel runs on its own until a request reaches it.

`access` takes the instants of accesses that are asked about; it has length 0 when nobody asks.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import ACCESS_BYTES, NEVER
from .channel import send, step
from .state import CHANNEL_MASK, FORWARDED, NONE, PLACE_BANK_BITS, READ, REJECTED, REJECTED_SENDS, WRITE

BLOCK_MASK = ~(ACCESS_BYTES - 1)  # of the address of an access' block


@small
def place_of(cfg, address):
    """Decode a byte address (§4.2).

    Returns channel record, bank and row in one integer.
    """
    place = np.int64(0)
    for byte in range(8):
        rest = address >> (8 * byte)
        if rest == 0:  # no bit, no change
            break
        place ^= cfg.place[byte, rest & 255]
    return place


@small
def sub_request_address(cfg, address, sub_request):
    """Compute the byte address of a sub-request of the 64-byte block that holds `address`."""
    return (address & BLOCK_MASK) + sub_request * cfg.sub_request_bytes


@small
def channel_of(place):
    """Extract the channel record of a place."""
    return (place >> PLACE_BANK_BITS) & CHANNEL_MASK


@small
def ticks_before(cfg, front, now):
    """Count the ticks done when a request is sent at `now` and no read is under way (§4.9, step 1)."""
    return max(front.ticks, -(-now // cfg.tck_ps))


@small
def note(cfg, channel, tag, access):
    """Note when the return just inserted for read `tag` leaves, unless nobody asks (NONE)."""
    if tag != NONE:
        access[tag].done = max(access[tag].done, (channel.last_return - 1) * cfg.tck_ps)


@kernel
def advance(cfg, channel, clk, access):
    """Run the channel's ticks up to `clk`."""
    while channel.clk < clk:
        note(cfg, channel, step(cfg, channel, clk), access)


@kernel
def wait_for_room(cfg, channel, queue, access):
    """Run the channel until its full queue takes a request again.

    Returns the number of ticks.
    """
    start = channel.clk
    while channel.queued[queue] > cfg.queue_capacity[queue]:
        note(cfg, channel, step(cfg, channel, NEVER), access)
    return channel.clk - start


@kernel
def finish_reads(state, access):
    """Run every channel until its reads have returned.

    Returns the instant of the last return.
    """
    cfg, front = state.config[0], state.front[0]
    last = 0
    for number in range(cfg.channels):
        channel = state.channels[number]
        while channel.reads_left > 0:
            note(cfg, channel, step(cfg, channel, NEVER), access)
        last = max(last, channel.last_return)
    front.ticks = last
    end = (last - 1) * cfg.tck_ps
    front.last_event = max(front.last_event, end)
    return end


@kernel
def begin_reads(state, now):
    """Spawn a gather task at `now` that is alone; `send_reads` sends its reads, `finish_reads` waits for them."""
    cfg, front = state.config[0], state.front[0]
    front.turn_now = now
    front.turn_clk = ticks_before(cfg, front, now)
    front.tick_follows = np.int64(front.turn_clk * cfg.tck_ps == now)
    front.refused = front.own_wakes = 0


@kernel
def send_reads(state, addr, start, stop, access):
    """Send reads `addr[start:stop]` of the gather task that `begin_reads` spawned, after those before.

    A turn ends early when two reads were woken by their own polls: after the first rejection every accepted sub-request
    hands the lock to the next of the same read.
    """
    cfg, front = state.config[0], state.front[0]
    now, clk = front.turn_now, front.turn_clk
    tick_follows, refused, yielded = front.tick_follows == 1, front.refused == 1, front.own_wakes
    clock = now // cfg.tck_ps
    for i in range(start, stop):
        block = place_of(cfg, addr[i])
        tag = i if len(access) > 0 else NONE
        woken = False
        for sub_request in range(cfg.sub_requests):
            place = block ^ cfg.sub_request_place[sub_request]
            channel = state.channels[channel_of(place)]
            advance(cfg, channel, clk, access)
            first = clock
            address = sub_request_address(cfg, addr[i], sub_request)
            sent = send(cfg, channel, READ, place, address, first, first, tag)
            if sent == REJECTED:
                ticks = wait_for_room(cfg, channel, READ, access)
                channel.count[REJECTED_SENDS] += ticks - 1
                clk += ticks
                clock += ticks
                now += ticks * cfg.tck_ps
                sent = send(cfg, channel, READ, place, address, first, clock, tag)
                refused = True
                woken = False
                yielded = 0
            if sent == FORWARDED:
                note(cfg, channel, tag, access)
            woken = woken or (refused and (cfg.lockstep_channels > 1 or sub_request < cfg.sub_requests - 1))
        if tag != NONE:
            access[tag].accept = now
        yielded += woken
        if tick_follows and yielded == 2:
            clk += 1
            tick_follows = False
    front.turn_now, front.turn_clk = now, clk
    front.tick_follows, front.refused, front.own_wakes = np.int64(tick_follows), np.int64(refused), yielded
    front.reads += stop - start


@kernel
def read_alone(state, addr, start, stop, now, access):
    """Run a gather task of reads `addr[start:stop]` (start < stop) spawned at `now`.

    Returns the instant of its last data.
    """
    begin_reads(state, now)
    send_reads(state, addr, start, stop, access)
    return finish_reads(state, access)


@kernel
def write_alone(state, address, now):
    """Write 64 bytes, sent at `now` while no read is under way.

    With no read under way the clock is caught up only to ticks before the attempt, so a retry sees the ticks of all
    instants before its own.

    Returns the instant at which the last sub-request was taken.
    """
    cfg, front = state.config[0], state.front[0]
    clk = ticks_before(cfg, front, now)
    block = place_of(cfg, address)
    for sub_request in range(cfg.sub_requests):
        place = block ^ cfg.sub_request_place[sub_request]
        channel = state.channels[channel_of(place)]
        advance(cfg, channel, clk, state.unasked)
        sub_address = sub_request_address(cfg, address, sub_request)
        if send(cfg, channel, WRITE, place, sub_address, clk, clk, channel.owner) == REJECTED:
            wait_for_room(cfg, channel, WRITE, state.unasked)
            clk = channel.clk
            retries = clk - -(-now // cfg.tck_ps)
            channel.count[REJECTED_SENDS] += retries - 1
            now += retries * cfg.tck_ps
            send(cfg, channel, WRITE, place, sub_address, clk, clk, channel.owner)
    front.ticks = clk
    front.writes += 1
    front.last_event = max(front.last_event, now)
    return now
