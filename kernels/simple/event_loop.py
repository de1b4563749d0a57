"""Board DDR, any batch: its event loop (spec §3.5, §4.10).

All delays but the waits are constants, so timers of one delay expire in the order they were created: a ring for
each delay replaces the heap of an event loop. Of two timers that expire together the one with the longer delay was
created first.
"""

from ..compiler.jit import kernel
from .state import (
    ARMED,
    BANK_DUE,
    BANK_IDLE,
    BANK_QUEUE,
    BANK_TURN,
    BANK_WAITING,
    BURST,
    GEO_CMD,
    GEO_RD,
    GEO_READ_SHIFT,
    GEO_WRITE_SHIFT,
    LAST,
    READY_HEAD,
    READY_TAIL,
    TCK,
    TRCD,
    TRP,
    WAIT_HEAD,
    WAIT_TAIL,
    WOKEN_HEAD,
    WOKEN_TAIL,
    bank_of,
    channel_of,
    row_of,
)

NOBODY = -1  # in place of a read

from ..limits import NEVER, OVERFLOW

# Rings of timers, by falling delay: the order in which timers that expire together were created.
RING_SWITCH, RING_ROW, RING_BURST, RING_TICK = range(4)
RINGS = 4
DELAYS = (TRP + TRCD, TRCD, BURST, TCK)

# Slots of a semaphore and a ring of timers: counters first, then the queue.
SEM_FREE, SEM_HEAD, SEM_TAIL, SEM_QUEUE = range(4)
RING_HEAD, RING_TAIL, RING_QUEUE = range(3)

# Semaphores of a channel; the host link stands behind those of the last channel.
RD, CMD, DATA, PORT = range(4)

# What a read goes on with, in the low bits of what wakes it; the rest is the read (or bank).
WHAT_BITS = 4
WHAT = (1 << WHAT_BITS) - 1
START, LINKED, TRANSFERRED, ADMITTED, COMMANDED, TICKED, GRANTED, SENSED, ON_BUS, DONE = range(10)
PRECHARGED = 10  # a bank
GATHER = -1  # in the run queue: a turn of the gather task


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
def release(geo, banks, rings, q, woken, ready, addr, address, shift, now):
    """Release the bank of an access to `address`: first ready, then first come; precharge where nobody waits."""
    bank = bank_of(geo, address, shift)
    hit = find_row(geo, banks, addr, bank, row_of(geo, address))
    if hit != NOBODY:
        wake(q, woken, ready, dequeue(banks, bank, hit) << WHAT_BITS | GRANTED)
    elif banks[bank, BANK_WAITING] > 0:
        start_timer(rings, RING_SWITCH, now, dequeue(banks, bank, 0) << WHAT_BITS | GRANTED)
    else:
        start_timer(rings, RING_ROW, now, bank << WHAT_BITS | PRECHARGED)


@kernel
def simulate(d, addr, wait, link, n, budget, write):
    """Event loop of one batch (§4.10): picoseconds until its last read is done, `OVERFLOW` beyond `budget`.

    With `write` 1 all are writes, which find their bank in other bits and release it as soon as they are granted it.

    Until no read is left, it runs the ready tasks, moves on to the next instant that has a timer and acts on the
    timers of that instant. The cases of the gather task's turn are the stages of a read (§3.5, §3.7). A turn is over
    once as many reads were polled as there are, without one completing; as no poll wakes its own read, the second
    case of §4.10 does not occur.
    """
    geo, q, woken, ready, banks, sems, rings, waits = d.geo, d.q, d.woken, d.ready, d.banks, d.sems, d.rings, d.waits
    host_link = len(sems) - 1
    shift = geo[GEO_READ_SHIFT] if write == 0 else geo[GEO_WRITE_SHIFT]
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
                    acquire(banks, rings, bank_of(geo, addr[read], shift), read, now)
                elif what == GRANTED and write == 0:
                    start_timer(rings, RING_ROW, now, read << WHAT_BITS | SENSED)
                elif what == SENSED or what == GRANTED:
                    release(geo, banks, rings, q, woken, ready, addr, addr[read], shift, now)
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


@kernel
def simulate_loop(d, addr, wait, link, n, now, budget, write):
    """Run `addr[:n]`, all issued at `now`: picoseconds until the last is done, `OVERFLOW` beyond `budget`.

    They are reads, or with `write` 1 writes.
    """
    begin(d.geo, d.q, d.woken, d.ready, d.sems, d.rings, d.waits, n)
    inherit(d.banks, d.rings, now)
    took = simulate(d, addr, wait, link, n, budget, write)
    if took != OVERFLOW:
        bequeath(d.q, d.banks, d.rings, now)
    return took
