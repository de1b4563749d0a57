"""The front end while one task is alone: 64-byte accesses split, sent, retried and awaited (spec §4.9, §4.10).

No event loop is needed then. Of the simultaneous events of §4.10 only this is left: the tick of an instant comes
before a retry of that instant, unless the batch began at an instant whose tick was still to come; then the retry's
timer is the older one until a turn of the gather task ends early and lets the tick pass. Every channel runs on its
own until a request reaches it.

`access` takes the instants of accesses that are asked about; it has length 0 when nobody asks.
"""

from ..compiler.jit import kernel, small
from ..limits import ACCESS_BYTES, NEVER
from .channel import send, step
from .state import CHANNEL_MASK, FORWARDED, NONE, PLACE_BANK_BITS, READ, REJECTED, REJECTED_SENDS, WRITE

BLOCK_MASK = ~(ACCESS_BYTES - 1)  # of the address of an access' block


@small
def place_of(cfg, address):
    """Channel, bank and row of a byte address in one integer (§4.2)."""
    place = 0
    for byte in range(8):
        place ^= cfg.place[byte, (address >> (8 * byte)) & 255]
    return place


@small
def part_address(cfg, address, part):
    """Byte address of request `part` of the 64-byte block that holds `address`."""
    return (address & BLOCK_MASK) + part * cfg.part_bytes


@small
def channel_of(place):
    """Channel record of a place."""
    return (place >> PLACE_BANK_BITS) & CHANNEL_MASK


@small
def ticks_before(cfg, front, now):
    """Ticks done when a request is sent at `now` and no read is under way (§4.9, step 1)."""
    return max(front.ticks, -(-now // cfg.period))


@small
def note(cfg, ch, tag, access):
    """Enter the return just inserted for read `tag`, unless nobody asks (NONE)."""
    if tag != NONE:
        access[tag].done = max(access[tag].done, (ch.last_return - 1) * cfg.period)


@kernel
def advance(cfg, ch, clk, access):
    """Run the channel's ticks up to `clk`."""
    while ch.clk < clk:
        note(cfg, ch, step(cfg, ch, clk), access)


@kernel
def wait_for_room(cfg, ch, queue, access):
    """Run the channel until its full queue takes a request again: the number of ticks."""
    start = ch.clk
    while ch.queued[queue] > cfg.limit[queue]:
        note(cfg, ch, step(cfg, ch, NEVER), access)
    return ch.clk - start


@kernel
def finish_reads(state, access):
    """Run every channel until its reads have returned: the instant of the last return."""
    cfg, front = state.config[0], state.front[0]
    last = 0
    for number in range(cfg.channels):
        ch = state.channels[number]
        while ch.reads_left > 0:
            note(cfg, ch, step(cfg, ch, NEVER), access)
        last = max(last, ch.last_return)
    front.ticks = last
    end = (last - 1) * cfg.period
    front.last_event = max(front.last_event, end)
    return end


@kernel
def read_alone(state, addr, start, stop, now, access):
    """A gather task of reads `addr[start:stop]` (start < stop) spawned at `now`: the instant of its last data.

    A turn ends early when two reads were woken by their own polls: after the first rejection every accepted transfer
    hands the lock to the next of the same read.
    """
    cfg, front = state.config[0], state.front[0]
    clk = ticks_before(cfg, front, now)
    tick_follows = clk * cfg.period == now
    clock = now // cfg.period
    refused = False
    yielded = 0
    for i in range(start, stop):
        block = place_of(cfg, addr[i])
        tag = i if len(access) > 0 else NONE
        woken = False
        for part in range(cfg.parts):
            place = block ^ cfg.part_place[part]
            ch = state.channels[channel_of(place)]
            advance(cfg, ch, clk, access)
            first = clock
            sent = send(cfg, ch, READ, place, part_address(cfg, addr[i], part), first, first, tag)
            if sent == REJECTED:
                ticks = wait_for_room(cfg, ch, READ, access)
                ch.count[REJECTED_SENDS] += ticks - 1
                clk += ticks
                clock += ticks
                now += ticks * cfg.period
                sent = send(cfg, ch, READ, place, part_address(cfg, addr[i], part), first, clock, tag)
                refused = True
                woken = False
                yielded = 0
            if sent == FORWARDED:
                note(cfg, ch, tag, access)
            woken = woken or (refused and (cfg.twins > 1 or part < cfg.parts - 1))
        if tag != NONE:
            access[tag].accept = now
        yielded += woken
        if tick_follows and yielded == 2:
            clk += 1
            tick_follows = False
    front.reads += stop - start
    return finish_reads(state, access)


@kernel
def write_alone(state, address, now):
    """A 64-byte write sent at `now` while no read is under way: the instant at which its last part was taken.

    With no read under way the clock is caught up only to ticks before the attempt, so a retry sees the ticks of all
    instants before its own.
    """
    cfg, front = state.config[0], state.front[0]
    clk = ticks_before(cfg, front, now)
    block = place_of(cfg, address)
    for part in range(cfg.parts):
        place = block ^ cfg.part_place[part]
        ch = state.channels[channel_of(place)]
        advance(cfg, ch, clk, state.unasked)
        if send(cfg, ch, WRITE, place, part_address(cfg, address, part), clk, clk, NONE) == REJECTED:
            wait_for_room(cfg, ch, WRITE, state.unasked)
            clk = ch.clk
            retries = clk - -(-now // cfg.period)
            ch.count[REJECTED_SENDS] += retries - 1
            now += retries * cfg.period
            send(cfg, ch, WRITE, place, part_address(cfg, address, part), clk, clk, NONE)
    front.ticks = clk
    front.writes += 1
    front.last_event = max(front.last_event, now)
    return now
