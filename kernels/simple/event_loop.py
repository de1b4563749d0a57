"""Run any batch on the idealised banks, by an event loop (spec §3.5, §4.10).

All delays but the waits are constants, so timers of one delay expire in the order they were created: a ring for
each delay replaces the heap of an event loop. Of two timers that expire together the one with the longer delay was
created first.

A read passes through stages, some of them at once where no semaphore is taken:

    START  link  LINKED  wait  TRANSFERRED  rd  ADMITTED  cmd  COMMANDED  tCK  TICKED  bank  GRANTED  CAS  SENSED
    data bus  ON_BUS  burst  DONE

What wakes a read is one word, a *wakeup*: the read (for PRECHARGED the bank) above the stage in which it continues.
"""

from ..compiler.jit import kernel
from ..limits import NEVER, OVERFLOW
from .state import (
    ARMED,
    BANK_DUE,
    BANK_IDLE,
    BANK_QUEUE,
    BANK_TURN,
    BANK_WAITING,
    BURST,
    LAST_EVENT,
    ORG_CMD,
    ORG_RD,
    ORG_READ_SHIFT,
    ORG_WRITE_SHIFT,
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

# Rings of timers, by falling delay: the order in which timers that expire together were created.
RING_SWITCH, RING_ROW, RING_BURST, RING_TICK = range(4)
RINGS = 4
DELAYS = (TRP + TRCD, TRCD, BURST, TCK)

# Slots of a semaphore and a ring of timers: counters first, then the queue.
SEM_FREE, SEM_HEAD, SEM_TAIL, SEM_QUEUE = range(4)
RING_HEAD, RING_TAIL, RING_QUEUE = range(3)

# Semaphores of a channel; the host link stands behind those of the last channel.
RD, CMD, DATA, SEMS_PER_CHANNEL = range(4)

# Stages of a read, in the low bits of a wakeup.
STAGE_BITS = 4
STAGE_MASK = (1 << STAGE_BITS) - 1
START, LINKED, TRANSFERRED, ADMITTED, COMMANDED, TICKED, GRANTED, SENSED, ON_BUS, DONE = range(10)
PRECHARGED = 10  # a bank
GATHER = -1  # in the run queue: a turn of the gather task


# --- queues, semaphores, banks, timers ---------------------------------------------------------------


@kernel
def make_ready(queues, ready, task):
    """Append a task to the run queue."""
    ready[queues[READY_TAIL] & (len(ready) - 1)] = task
    queues[READY_TAIL] += 1


@kernel
def wake(queues, woken, ready, wakeup):
    """Hand a read to the gather task; the first one since its last turn makes the task ready (§4.10)."""
    woken[queues[WOKEN_TAIL] & (len(woken) - 1)] = wakeup
    queues[WOKEN_TAIL] += 1
    if queues[ARMED] == 1:
        queues[ARMED] = 0
        make_ready(queues, ready, GATHER)


@kernel
def take(sems, sem, read):
    """Take a permit, or join the queue.

    Returns True where a permit was free.
    """
    if sems[sem, SEM_FREE] > 0:
        sems[sem, SEM_FREE] -= 1
        return True
    sems[sem, SEM_QUEUE + sems[sem, SEM_TAIL]] = read
    sems[sem, SEM_TAIL] += 1
    return False


@kernel
def give(sems, sem, queues, woken, ready, stage):
    """Hand a permit to the longest waiter, who continues in `stage`, or back to the semaphore."""
    head = sems[sem, SEM_HEAD]
    if head == sems[sem, SEM_TAIL]:
        sems[sem, SEM_FREE] += 1
    else:
        sems[sem, SEM_HEAD] = head + 1
        wake(queues, woken, ready, sems[sem, SEM_QUEUE + head] << STAGE_BITS | stage)


@kernel
def dequeue(banks, bank, at):
    """Remove entry `at` of a bank's queue.

    Returns its read.
    """
    read = banks[bank, BANK_QUEUE + at]
    banks[bank, BANK_WAITING] -= 1
    for k in range(BANK_QUEUE + at, BANK_QUEUE + banks[bank, BANK_WAITING]):
        banks[bank, k] = banks[bank, k + 1]
    return read


@kernel
def find_row(organisation, banks, addr, bank, row):
    """Find the first read in a bank's queue that wants `row`.

    Returns its place in the queue, `NOBODY` where there is none.
    """
    for at in range(banks[bank, BANK_WAITING]):
        if row_of(organisation, addr[banks[bank, BANK_QUEUE + at]]) == row:
            return at
    return NOBODY


@kernel
def ring_slot(rings, position):
    """Find the column of a ring's timer."""
    return RING_QUEUE + ((2 * position) & (rings.shape[1] - RING_QUEUE - 1))


@kernel
def start_timer(rings, ring, now, wakeup):
    """Create a timer of the ring's delay."""
    tail = rings[ring, RING_TAIL]
    slot = ring_slot(rings, tail)
    rings[ring, slot], rings[ring, slot + 1] = now + DELAYS[ring], wakeup
    rings[ring, ring_slot(rings, tail + 1)] = NEVER
    rings[ring, RING_TAIL] = tail + 1


@kernel
def start_transfer(queues, waits, due, read):
    """Create the timer of a host transfer."""
    at = queues[WAIT_TAIL]
    queues[WAIT_TAIL] += 1
    waits[at + 1, 0] = NEVER
    while at > queues[WAIT_HEAD] and waits[at - 1, 0] > due:
        waits[at, 0], waits[at, 1] = waits[at - 1, 0], waits[at - 1, 1]
        at -= 1
    waits[at, 0], waits[at, 1] = due, read


# --- the event loop --------------------------------------------------------------------------------


@kernel
def first_due(rings, ring):
    """Look up the instant of a ring's earliest timer."""
    return rings[ring, ring_slot(rings, rings[ring, RING_HEAD])]


@kernel
def fire_transfers(queues, woken, ready, waits, wait, now, longer_than):
    """Wake the reads whose host transfer ends now and took more than `longer_than`."""
    while waits[queues[WAIT_HEAD], 0] == now and wait[waits[queues[WAIT_HEAD], 1]] > longer_than:
        wake(queues, woken, ready, waits[queues[WAIT_HEAD], 1] << STAGE_BITS | TRANSFERRED)
        queues[WAIT_HEAD] += 1


@kernel
def fire(queues, woken, ready, rings, ring, now):
    """Act on the timers of one ring that expire now: bank actions become ready, reads are woken."""
    slot = ring_slot(rings, rings[ring, RING_HEAD])
    while rings[ring, slot] == now:
        wakeup = rings[ring, slot + 1]
        if wakeup & STAGE_MASK == GRANTED or wakeup & STAGE_MASK == PRECHARGED:
            make_ready(queues, ready, wakeup)
        else:
            wake(queues, woken, ready, wakeup)
        rings[ring, RING_HEAD] += 1
        slot = ring_slot(rings, rings[ring, RING_HEAD])


@kernel
def act(queues, woken, ready, banks, task):
    """Run a bank action: grant the bank, or end a precharge that was begun without waiters.

    Whoever came while it precharged gets the bank without tRCD (§3.5).
    """
    if task & STAGE_MASK == GRANTED:
        wake(queues, woken, ready, task)
        return
    bank = task >> STAGE_BITS
    if banks[bank, BANK_WAITING] == 0:
        banks[bank, BANK_IDLE] = 1
    else:
        wake(queues, woken, ready, dequeue(banks, bank, 0) << STAGE_BITS | GRANTED)


@kernel
def acquire(banks, rings, bank, read, now):
    """Ask for a bank: granted after tRCD if it is idle, else queued."""
    if banks[bank, BANK_IDLE] == 1:
        banks[bank, BANK_IDLE] = 0
        start_timer(rings, RING_ROW, now, read << STAGE_BITS | GRANTED)
    else:
        banks[bank, BANK_QUEUE + banks[bank, BANK_WAITING]] = read
        banks[bank, BANK_WAITING] += 1


@kernel
def release(organisation, banks, rings, queues, woken, ready, addr, address, shift, now):
    """Release the bank of an access to `address`: first ready, then first come; precharge where nobody waits."""
    bank = bank_of(organisation, address, shift)
    hit = find_row(organisation, banks, addr, bank, row_of(organisation, address))
    if hit != NOBODY:
        wake(queues, woken, ready, dequeue(banks, bank, hit) << STAGE_BITS | GRANTED)
    elif banks[bank, BANK_WAITING] > 0:
        start_timer(rings, RING_SWITCH, now, dequeue(banks, bank, 0) << STAGE_BITS | GRANTED)
    else:
        start_timer(rings, RING_ROW, now, bank << STAGE_BITS | PRECHARGED)


@kernel
def simulate(state, addr, wait, link, n, budget, write):
    """Run the event loop of one batch (§4.10).

    With `write` 1 all are writes, which find their bank in other bits and release it as soon as they are granted it.

    Until no read is left, it runs the ready tasks, moves on to the next instant that has a timer and acts on the
    timers of that instant. The cases of the gather task's turn are the stages of a read (§3.5, §3.7). A turn is over
    once as many reads were polled as there are, without one completing; as no poll wakes its own read, the second
    case of §4.10 does not occur.

    Returns the picoseconds until its last read is done, `OVERFLOW` beyond `budget`.
    """
    organisation, queues, woken, ready = state.organisation, state.queues, state.woken, state.ready
    banks, sems, rings, waits = state.banks, state.sems, state.rings, state.waits
    host_link = len(sems) - 1
    shift = organisation[ORG_READ_SHIFT] if write == 0 else organisation[ORG_WRITE_SHIFT]
    now, left, late = 0, n, False
    while True:
        while queues[READY_HEAD] != queues[READY_TAIL]:
            task = ready[queues[READY_HEAD] & (len(ready) - 1)]
            queues[READY_HEAD] += 1
            if task != GATHER:
                act(queues, woken, ready, banks, task)
                continue
            queues[ARMED] = 1
            polls = left
            while polls > 0 and queues[WOKEN_HEAD] != queues[WOKEN_TAIL]:
                wakeup = woken[queues[WOKEN_HEAD] & (len(woken) - 1)]
                queues[WOKEN_HEAD] += 1
                read, stage = wakeup >> STAGE_BITS, wakeup & STAGE_MASK
                first_sem = SEMS_PER_CHANNEL * channel_of(organisation, addr[read])
                polls -= 1
                if stage == START and (link[read] == 0 or take(sems, host_link, read)):
                    stage = LINKED
                if stage == LINKED:
                    if wait[read] == 0:
                        stage = TRANSFERRED
                    else:
                        late = late or wait[read] > budget - now
                        start_transfer(queues, waits, now if late else now + wait[read], read)
                if stage == TRANSFERRED and take(sems, first_sem + RD, read):
                    stage = ADMITTED
                if stage == ADMITTED and take(sems, first_sem + CMD, read):
                    stage = COMMANDED
                if stage == COMMANDED:
                    start_timer(rings, RING_TICK, now, read << STAGE_BITS | TICKED)
                elif stage == TICKED:
                    give(sems, first_sem + CMD, queues, woken, ready, COMMANDED)
                    acquire(banks, rings, bank_of(organisation, addr[read], shift), read, now)
                elif stage == GRANTED and write == 0:
                    start_timer(rings, RING_ROW, now, read << STAGE_BITS | SENSED)
                elif stage == SENSED or stage == GRANTED:
                    release(organisation, banks, rings, queues, woken, ready, addr, addr[read], shift, now)
                    if take(sems, first_sem + DATA, read):
                        stage = ON_BUS
                if stage == ON_BUS:
                    start_timer(rings, RING_BURST, now, read << STAGE_BITS | DONE)
                elif stage == DONE:
                    give(sems, first_sem + DATA, queues, woken, ready, ON_BUS)
                    give(sems, first_sem + RD, queues, woken, ready, ADMITTED)
                    if link[read] == 1:
                        give(sems, host_link, queues, woken, ready, LINKED)
                    left -= 1
                    queues[ARMED] = 1
                    polls = left
                if polls == 0 and left > 0:
                    make_ready(queues, ready, GATHER)
        if left == 0:
            return OVERFLOW if late or now > budget else now
        host = waits[queues[WAIT_HEAD], 0]
        switch, row = first_due(rings, RING_SWITCH), first_due(rings, RING_ROW)
        burst, tick = first_due(rings, RING_BURST), first_due(rings, RING_TICK)
        now = min(host, min(min(switch, row), min(burst, tick)))
        for ring, due in ((RING_SWITCH, switch), (RING_ROW, row), (RING_BURST, burst), (RING_TICK, tick)):
            if host == now:
                fire_transfers(queues, woken, ready, waits, wait, now, DELAYS[ring])
            if due == now:
                fire(queues, woken, ready, rings, ring, now)


# --- a batch in the time of the run ----------------------------------------------------------------


@kernel
def begin(organisation, queues, woken, ready, sems, rings, waits, n):
    """Reset queues, semaphores and timers; all reads are queued for the gather task's first turn."""
    for slot in range(LAST_EVENT):
        queues[slot] = 0
    for ring in range(RINGS):
        rings[ring, RING_HEAD] = rings[ring, RING_TAIL] = 0
        rings[ring, RING_QUEUE] = NEVER
    waits[0, 0] = NEVER
    links = len(sems) - 1
    for sem in range(links + 1):
        if sem == links:
            sems[sem, SEM_FREE] = 1
        else:
            sems[sem, SEM_FREE] = organisation[ORG_RD if sem % SEMS_PER_CHANNEL == RD else ORG_CMD]
        sems[sem, SEM_HEAD] = sems[sem, SEM_TAIL] = 0
    for i in range(n):
        woken[i] = i << STAGE_BITS | START
    queues[WOKEN_TAIL] = n
    make_ready(queues, ready, GATHER)


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
        rings[RING_ROW, at], rings[RING_ROW, at + 1] = due, bank << STAGE_BITS | PRECHARGED
        end += 2
    rings[RING_ROW, end] = NEVER
    rings[RING_ROW, RING_TAIL] = (end - RING_QUEUE) >> 1


@kernel
def comes_before(banks, due, bank, other_due, other_wakeup):
    """Tell whether a bank's precharge ends, or was created, before another one."""
    if due != other_due:
        return due < other_due
    return banks[bank, BANK_TURN] < banks[other_wakeup >> STAGE_BITS, BANK_TURN]


@kernel
def bequeath(queues, banks, rings, now):
    """Keep the precharges that are still pending when a batch that began at `now` is done."""
    for at in range(rings[RING_ROW, RING_HEAD], rings[RING_ROW, RING_TAIL]):
        slot = ring_slot(rings, at)
        bank = rings[RING_ROW, slot + 1] >> STAGE_BITS
        banks[bank, BANK_DUE] = now + rings[RING_ROW, slot]
        banks[bank, BANK_TURN] = at
        queues[LAST_EVENT] = max(queues[LAST_EVENT], banks[bank, BANK_DUE])


@kernel
def simulate_loop(state, addr, wait, link, n, now, budget, write):
    """Run `addr[:n]`, all issued at `now`: reads, or with `write` 1 writes.

    Returns the picoseconds until the last is done, `OVERFLOW` beyond `budget`.
    """
    begin(state.organisation, state.queues, state.woken, state.ready, state.sems, state.rings, state.waits, n)
    inherit(state.banks, state.rings, now)
    took = simulate(state, addr, wait, link, n, budget, write)
    if took != OVERFLOW:
        bequeath(state.queues, state.banks, state.rings, now)
    return took
