"""Board DDR: `SimpleTiming` with first-ready, first-come-first-served banks (spec §3.5, §4.10).

Between two memory instructions every semaphore is free, so all that a batch inherits is when each bank's pending
precharge ends. A batch is simulated in time relative to its start and depends on nothing but the pattern of
channels, banks and rows, the waits, the links and those precharge times.

All delays but the waits are constants, so timers of one delay expire in the order they were created: a ring for
each delay replaces the heap of an event loop. Of two timers that expire together the one with the longer delay was
created first.
"""

from typing import NamedTuple

import numpy as np

from .jit import entry, kernel

TCK = 833  # ps
CAS = TRCD = TRP = 16 * TCK
BURST = 4 * TCK

TIME_LIMIT = 2**62  # simulated picoseconds (53 days); beyond it a run is refused
NEVER = np.iinfo(np.int64).max
OVERFLOW = -1  # in place of a completion time
NOBODY = -1  # in place of a read

# Slots of `Ddr.geo`: geometry, constant for a run.
GEO_CHANNEL_MASK = 0
GEO_BANK_MASK = 1
GEO_READ_SHIFT = 2  # reads and writes find their bank in different bits
GEO_WRITE_SHIFT = 3
GEO_ROW_SHIFT = 4
GEO_ROW_MASK = 5
GEO_BANKS = 6  # banks a channel
GEO_RD = 7  # permits of `rd` a channel
GEO_CMD = 8  # permits of `cmd` and of `data` a channel
GEO_WIDTH = 9

# Rings of timers, by falling delay: the order in which timers that expire together were created.
RING_SWITCH, RING_ROW, RING_BURST, RING_TICK = range(4)
RINGS = 4
DELAYS = (TRP + TRCD, TRCD, BURST, TCK)

# Slots of `Ddr.q`.
WOKEN_HEAD, WOKEN_TAIL, READY_HEAD, READY_TAIL, WAIT_HEAD, WAIT_TAIL, ARMED, LAST, Q_WIDTH = range(9)

# Slots of a semaphore, a bank and a ring of timers: counters first, then the queue.
SEM_FREE, SEM_HEAD, SEM_TAIL, SEM_QUEUE = range(4)
BANK_IDLE, BANK_WAITING, BANK_DUE, BANK_TURN, BANK_QUEUE = range(5)
RING_HEAD, RING_TAIL, RING_QUEUE = range(3)

# Semaphores of a channel; the host link stands behind those of the last channel.
RD, CMD, DATA, PORT = range(4)

# What a read goes on with, in the low bits of what wakes it; the rest is the read (or bank).
WHAT_BITS = 4
WHAT = (1 << WHAT_BITS) - 1
START, LINKED, TRANSFERRED, ADMITTED, COMMANDED, TICKED, GRANTED, SENSED, ON_BUS, DONE = range(10)
PRECHARGED = 10  # a bank
GATHER = -1  # in the run queue: a turn of the gather task


class Ddr(NamedTuple):
    """One DDR memory with room for batches of up to `reads`.

    Attributes
    ----------
    geo : int64[GEO_WIDTH]
        Address mapping, banks, permits.
    q : int64[Q_WIDTH]
        Heads and tails of the queues; `ARMED`: 1 while the next wake makes the gather task ready; `LAST`: the last
        event of all so far, ps.
    woken : int64[power of two >= reads]
        The gather task's woken reads and what they go on with.
    ready : int64[power of two]
        Run queue: turns of the gather task and bank actions that are due.
    banks : int64[banks, BANK_QUEUE + reads in flight]
        1 while idle, reads that wait, instant of the last precharge's end (ps), order among precharges that end
        together; then the waiting reads, oldest first.
    sems : int64[semaphores, SEM_QUEUE + reads]
        Free permits, head and tail of the queue; then the queue.
    rings : int64[RINGS, RING_QUEUE + 2 * power of two]
        Head and tail; then timers, each when and what; `NEVER` is due behind the last one.
    waits : int64[reads + 1, 2]
        Host transfers in progress, when and which read, by (time, creation); `NEVER` is due behind the last one.
    """

    geo: np.ndarray
    q: np.ndarray
    woken: np.ndarray
    ready: np.ndarray
    banks: np.ndarray
    sems: np.ndarray
    rings: np.ndarray
    waits: np.ndarray


@kernel
def channel_of(geo, address):
    """Channel of a block (§3.5)."""
    return (address >> 6) & geo[GEO_CHANNEL_MASK]


@kernel
def bank_of(geo, address, shift):
    """Bank of a block, counted over all channels."""
    return channel_of(geo, address) * geo[GEO_BANKS] + ((address >> shift) & geo[GEO_BANK_MASK])


@kernel
def row_of(geo, address):
    """Row of a block."""
    return (address >> geo[GEO_ROW_SHIFT]) & geo[GEO_ROW_MASK]


# --- queues, semaphores, banks, timers ---------------------------------------------------------------


@kernel
def make_ready(q, ready, task):
    """Append a task to the run queue."""
    ready[q[READY_TAIL] & (len(ready) - 1)] = task
    q[READY_TAIL] += 1


@kernel
def wake(q, woken, ready, what):
    """Hand a read to the gather task; the first one since its last turn makes the task ready (§4.10)."""
    woken[q[WOKEN_TAIL] & (len(woken) - 1)] = what
    q[WOKEN_TAIL] += 1
    if q[ARMED] == 1:
        q[ARMED] = 0
        make_ready(q, ready, GATHER)


@kernel
def take(sems, sem, read):
    """Take a permit (True) or join the queue (False)."""
    if sems[sem, SEM_FREE] > 0:
        sems[sem, SEM_FREE] -= 1
        return True
    sems[sem, SEM_QUEUE + sems[sem, SEM_TAIL]] = read
    sems[sem, SEM_TAIL] += 1
    return False


@kernel
def give(sems, sem, q, woken, ready, what):
    """Hand a permit to the longest waiter, who goes on with `what`, or back."""
    head = sems[sem, SEM_HEAD]
    if head == sems[sem, SEM_TAIL]:
        sems[sem, SEM_FREE] += 1
    else:
        sems[sem, SEM_HEAD] = head + 1
        wake(q, woken, ready, sems[sem, SEM_QUEUE + head] << WHAT_BITS | what)


@kernel
def dequeue(banks, bank, at):
    """Remove entry `at` of a bank's queue; returns its read."""
    read = banks[bank, BANK_QUEUE + at]
    banks[bank, BANK_WAITING] -= 1
    for k in range(BANK_QUEUE + at, BANK_QUEUE + banks[bank, BANK_WAITING]):
        banks[bank, k] = banks[bank, k + 1]
    return read


@kernel
def find_row(geo, banks, addr, bank, row):
    """Place of the first read in a bank's queue that wants `row`, `NOBODY` where there is none."""
    for at in range(banks[bank, BANK_WAITING]):
        if row_of(geo, addr[banks[bank, BANK_QUEUE + at]]) == row:
            return at
    return NOBODY


@kernel
def ring_slot(rings, position):
    """Column of a ring's timer."""
    return RING_QUEUE + ((2 * position) & (rings.shape[1] - RING_QUEUE - 1))


@kernel
def start_timer(rings, ring, now, what):
    """Create a timer of the ring's delay."""
    tail = rings[ring, RING_TAIL]
    slot = ring_slot(rings, tail)
    rings[ring, slot], rings[ring, slot + 1] = now + DELAYS[ring], what
    rings[ring, ring_slot(rings, tail + 1)] = NEVER
    rings[ring, RING_TAIL] = tail + 1


@kernel
def start_transfer(q, waits, due, read):
    """Create the timer of a host transfer."""
    at = q[WAIT_TAIL]
    q[WAIT_TAIL] += 1
    waits[at + 1, 0] = NEVER
    while at > q[WAIT_HEAD] and waits[at - 1, 0] > due:
        waits[at, 0], waits[at, 1] = waits[at - 1, 0], waits[at - 1, 1]
        at -= 1
    waits[at, 0], waits[at, 1] = due, read


# --- the event loop --------------------------------------------------------------------------------


@kernel
def first_due(rings, ring):
    """Instant of a ring's earliest timer."""
    return rings[ring, ring_slot(rings, rings[ring, RING_HEAD])]


@kernel
def fire_transfers(q, woken, ready, waits, wait, now, longer_than):
    """Wake the reads whose host transfer ends now and took more than `longer_than`."""
    while waits[q[WAIT_HEAD], 0] == now and wait[waits[q[WAIT_HEAD], 1]] > longer_than:
        wake(q, woken, ready, waits[q[WAIT_HEAD], 1] << WHAT_BITS | TRANSFERRED)
        q[WAIT_HEAD] += 1


@kernel
def fire(q, woken, ready, rings, ring, now):
    """Act on the timers of one ring that expire now: bank actions become ready, reads are woken."""
    slot = ring_slot(rings, rings[ring, RING_HEAD])
    while rings[ring, slot] == now:
        what = rings[ring, slot + 1]
        if what & WHAT == GRANTED or what & WHAT == PRECHARGED:
            make_ready(q, ready, what)
        else:
            wake(q, woken, ready, what)
        rings[ring, RING_HEAD] += 1
        slot = ring_slot(rings, rings[ring, RING_HEAD])


@kernel
def act(q, woken, ready, banks, task):
    """A bank action: grant the bank, or end a precharge that was begun without waiters.

    Whoever came while it precharged gets the bank without tRCD (§3.5).
    """
    if task & WHAT == GRANTED:
        wake(q, woken, ready, task)
        return
    bank = task >> WHAT_BITS
    if banks[bank, BANK_WAITING] == 0:
        banks[bank, BANK_IDLE] = 1
    else:
        wake(q, woken, ready, dequeue(banks, bank, 0) << WHAT_BITS | GRANTED)


@kernel
def acquire(banks, rings, bank, read, now):
    """Ask for a bank: granted after tRCD if it is idle, else queued."""
    if banks[bank, BANK_IDLE] == 1:
        banks[bank, BANK_IDLE] = 0
        start_timer(rings, RING_ROW, now, read << WHAT_BITS | GRANTED)
    else:
        banks[bank, BANK_QUEUE + banks[bank, BANK_WAITING]] = read
        banks[bank, BANK_WAITING] += 1


@kernel
def release(geo, banks, rings, q, woken, ready, addr, address, now):
    """Release the bank of a read of `address`: first ready, then first come; precharge where nobody waits."""
    bank = bank_of(geo, address, geo[GEO_READ_SHIFT])
    hit = find_row(geo, banks, addr, bank, row_of(geo, address))
    if hit != NOBODY:
        wake(q, woken, ready, dequeue(banks, bank, hit) << WHAT_BITS | GRANTED)
    elif banks[bank, BANK_WAITING] > 0:
        start_timer(rings, RING_SWITCH, now, dequeue(banks, bank, 0) << WHAT_BITS | GRANTED)
    else:
        start_timer(rings, RING_ROW, now, bank << WHAT_BITS | PRECHARGED)


@kernel
def simulate(d, addr, wait, link, n, budget):
    """Event loop of one batch (§4.10): picoseconds until its last read is done, `OVERFLOW` beyond `budget`.

    Until no read is left, it runs the ready tasks, moves on to the next instant that has a timer and acts on the
    timers of that instant. The cases of the gather task's turn are the stages of a read (§3.5, §3.7). A turn is over
    once as many reads were polled as there are, without one completing; as no poll wakes its own read, the second
    case of §4.10 does not occur.
    """
    geo, q, woken, ready, banks, sems, rings, waits = d.geo, d.q, d.woken, d.ready, d.banks, d.sems, d.rings, d.waits
    host_link = len(sems) - 1
    now, left, late = 0, n, False
    while True:
        while q[READY_HEAD] != q[READY_TAIL]:
            task = ready[q[READY_HEAD] & (len(ready) - 1)]
            q[READY_HEAD] += 1
            if task != GATHER:
                act(q, woken, ready, banks, task)
                continue
            q[ARMED] = 1
            polls = left
            while polls > 0 and q[WOKEN_HEAD] != q[WOKEN_TAIL]:
                what = woken[q[WOKEN_HEAD] & (len(woken) - 1)]
                q[WOKEN_HEAD] += 1
                read, what = what >> WHAT_BITS, what & WHAT
                port = PORT * channel_of(geo, addr[read])
                polls -= 1
                if what == START and (link[read] == 0 or take(sems, host_link, read)):
                    what = LINKED
                if what == LINKED:
                    if wait[read] == 0:
                        what = TRANSFERRED
                    else:
                        late = late or wait[read] > budget - now
                        start_transfer(q, waits, now if late else now + wait[read], read)
                if what == TRANSFERRED and take(sems, port + RD, read):
                    what = ADMITTED
                if what == ADMITTED and take(sems, port + CMD, read):
                    what = COMMANDED
                if what == COMMANDED:
                    start_timer(rings, RING_TICK, now, read << WHAT_BITS | TICKED)
                elif what == TICKED:
                    give(sems, port + CMD, q, woken, ready, COMMANDED)
                    acquire(banks, rings, bank_of(geo, addr[read], geo[GEO_READ_SHIFT]), read, now)
                elif what == GRANTED:
                    start_timer(rings, RING_ROW, now, read << WHAT_BITS | SENSED)
                elif what == SENSED:
                    release(geo, banks, rings, q, woken, ready, addr, addr[read], now)
                    if take(sems, port + DATA, read):
                        what = ON_BUS
                if what == ON_BUS:
                    start_timer(rings, RING_BURST, now, read << WHAT_BITS | DONE)
                elif what == DONE:
                    give(sems, port + DATA, q, woken, ready, ON_BUS)
                    give(sems, port + RD, q, woken, ready, ADMITTED)
                    if link[read] == 1:
                        give(sems, host_link, q, woken, ready, LINKED)
                    left -= 1
                    q[ARMED] = 1
                    polls = left
                if polls == 0 and left > 0:
                    make_ready(q, ready, GATHER)
        if left == 0:
            return OVERFLOW if late or now > budget else now
        host = waits[q[WAIT_HEAD], 0]
        switch, row = first_due(rings, RING_SWITCH), first_due(rings, RING_ROW)
        burst, tick = first_due(rings, RING_BURST), first_due(rings, RING_TICK)
        now = min(host, min(min(switch, row), min(burst, tick)))
        for ring, due in ((RING_SWITCH, switch), (RING_ROW, row), (RING_BURST, burst), (RING_TICK, tick)):
            if host == now:
                fire_transfers(q, woken, ready, waits, wait, now, DELAYS[ring])
            if due == now:
                fire(q, woken, ready, rings, ring, now)


# --- a batch in the time of the run ----------------------------------------------------------------


@kernel
def begin(geo, q, woken, ready, sems, rings, waits, n):
    """Reset queues, semaphores and timers; all reads are queued for the gather task's first turn."""
    for slot in range(LAST):
        q[slot] = 0
    for ring in range(RINGS):
        rings[ring, RING_HEAD] = rings[ring, RING_TAIL] = 0
        rings[ring, RING_QUEUE] = NEVER
    waits[0, 0] = NEVER
    links = len(sems) - 1
    for sem in range(links + 1):
        sems[sem, SEM_FREE] = 1 if sem == links else geo[GEO_RD] if sem % PORT == RD else geo[GEO_CMD]
        sems[sem, SEM_HEAD] = sems[sem, SEM_TAIL] = 0
    for i in range(n):
        woken[i] = i << WHAT_BITS | START
    q[WOKEN_TAIL] = n
    make_ready(q, ready, GATHER)


@kernel
def inherit(banks, rings, now):
    """Take over the precharges that are pending at `now`, by (time, creation)."""
    end = RING_QUEUE
    for bank in range(len(banks)):
        banks[bank, BANK_WAITING] = 0
        banks[bank, BANK_IDLE] = 1
        due = banks[bank, BANK_DUE] - now
        if due <= 0:
            continue
        banks[bank, BANK_IDLE] = 0
        at = end
        while at > RING_QUEUE and comes_before(banks, due, bank, rings[RING_ROW, at - 2], rings[RING_ROW, at - 1]):
            rings[RING_ROW, at], rings[RING_ROW, at + 1] = rings[RING_ROW, at - 2], rings[RING_ROW, at - 1]
            at -= 2
        rings[RING_ROW, at], rings[RING_ROW, at + 1] = due, bank << WHAT_BITS | PRECHARGED
        end += 2
    rings[RING_ROW, end] = NEVER
    rings[RING_ROW, RING_TAIL] = (end - RING_QUEUE) >> 1


@kernel
def comes_before(banks, due, bank, other_due, other_what):
    """Whether a bank's precharge ends, or was created, before another one."""
    if due != other_due:
        return due < other_due
    return banks[bank, BANK_TURN] < banks[other_what >> WHAT_BITS, BANK_TURN]


@kernel
def bequeath(q, banks, rings, now):
    """Keep the precharges that are still pending when a batch that began at `now` is done."""
    for at in range(rings[RING_ROW, RING_HEAD], rings[RING_ROW, RING_TAIL]):
        slot = ring_slot(rings, at)
        bank = rings[RING_ROW, slot + 1] >> WHAT_BITS
        banks[bank, BANK_DUE] = now + rings[RING_ROW, slot]
        banks[bank, BANK_TURN] = at
        q[LAST] = max(q[LAST], banks[bank, BANK_DUE])


@entry
def ddr_batch(d, addr, wait, link, n, now):
    """Run the reads `addr[:n]` of one prefetch, all issued at `now`: completion time in ps, or `OVERFLOW`.

    A read with `link` takes the host link first and gives it back last; one with `wait` > 0 (whole nanoseconds, in
    ps) waits so long before the memory sees it.
    """
    if n == 0:
        return now
    begin(d.geo, d.q, d.woken, d.ready, d.sems, d.rings, d.waits, n)
    inherit(d.banks, d.rings, now)
    took = simulate(d, addr, wait, link, n, TIME_LIMIT - now)
    if took == OVERFLOW:
        return OVERFLOW
    bequeath(d.q, d.banks, d.rings, now)
    return now + took


# --- accesses one after the other -------------------------------------------------------------------


@kernel
def access_alone(geo, banks, address, shift, sense, now):
    """Completion time of an access that starts at `now` with no other in flight and holds its bank for `sense`.

    A bank that is still precharging is granted at the end of that, without tRCD (§3.5).
    """
    bank = bank_of(geo, address, shift)
    asked = now + TCK
    granted = banks[bank, BANK_DUE] if banks[bank, BANK_DUE] > asked else asked + TRCD
    banks[bank, BANK_DUE] = granted + sense + TRP
    return granted + sense + BURST


@entry
def ddr_store(d, addr, wait, link, n, now):
    """Read and write each block of a store in turn (§3.3): completion time in ps, or `OVERFLOW`.

    The host link is always free here, so `link` changes nothing; it is taken for the sake of one signature.
    """
    geo, banks = d.geo, d.banks
    for i in range(n):
        if wait[i] > TIME_LIMIT - now:
            return OVERFLOW
        now = access_alone(geo, banks, addr[i], geo[GEO_READ_SHIFT], CAS, now + wait[i])
        now = access_alone(geo, banks, addr[i], geo[GEO_WRITE_SHIFT], 0, now)
        # The precharge after a write ends later than any before it.
        d.q[LAST] = max(d.q[LAST], now - BURST + TRP)
    return now if now <= TIME_LIMIT else OVERFLOW
