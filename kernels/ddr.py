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

from .jit import kernel

TCK = 833  # ps
CAS = TRCD = TRP = 16 * TCK
BURST = 4 * TCK

TIME_LIMIT = 2**62  # simulated picoseconds (53 days); beyond it a run is refused
NEVER = np.iinfo(np.int64).max
OVERFLOW = -1  # in place of a completion time

# Rings, by falling delay: the order in which timers that expire together were created.
RING_SWITCH, RING_ROW, RING_BURST, RING_TICK = range(4)
DELAYS = (TRP + TRCD, TRCD, BURST, TCK)

# What a timer or a task does, in the low 2 bits; the rest is a read or a bank.
DO_WAKE = 0  # wakes a read
DO_GRANT = 1  # a bank action: grants the bank to a read
DO_PRECHARGED = 2  # a bank action: the precharge is over
DO_GATHER = 3  # the gather task's turn

# Stages of a read: what it waits for, or is about to do.
AT_START, AT_LINK, AT_ADMISSION, AT_COMMAND, AT_TICK, AT_BANK, AT_GRANT, AT_SENSE, AT_BURST, AT_END = range(10)

# Semaphores of a channel; the host link is the last semaphore of all.
SEM_RD, SEM_CMD, SEM_DATA = range(3)
SEMS = 3
SEM_FREE, SEM_HEAD, SEM_TAIL = range(3)

# Slots of `Ddr.geo`: geometry, constant for a run.
(GEO_CHANNEL_MASK, GEO_BANK_MASK, GEO_READ_SHIFT, GEO_WRITE_SHIFT, GEO_ROW_SHIFT, GEO_ROW_MASK,
 GEO_BANKS, GEO_RD, GEO_CMD, GEO_WIDTH) = range(10)  # fmt: skip

# Slots of `Ddr.reg`.
(T, LEFT, ARMED, INNER_HEAD, INNER_TAIL, READY_HEAD, READY_TAIL, WAIT_HEAD, WAIT_TAIL, BUDGET, LATE, LAST,
 REG_WIDTH) = range(13)  # fmt: skip


class Ddr(NamedTuple):
    """One DDR memory; `reads` is the largest batch, `ring` a power of two above the timers of one delay.

    Attributes
    ----------
    geo : int64[GEO_WIDTH]
        Address mapping, banks a channel, permits of `rd` and of `cmd` / `data`.
    reg : int64[REG_WIDTH]
        Scalars of the batch in progress; `LAST`: instant of the last event of all so far (ps).
    bank_due, bank_turn : int64[banks]
        Instant at which the bank is idle again (ps; in the past for an idle bank) and the order among equal ones.
    bank_idle, bank_waiting : int64[banks]
    bank_queue : int64[banks, reads in flight]
        Reads that wait for the bank, oldest first.
    sem : int64[semaphores, 3]
        Free permits, head and tail of the queue.
    sem_queue : int64[semaphores, reads]
    stage, bank, row, port : int64[reads]
        Of every read: progress, bank, row and first semaphore of its channel.
    inner : int64[power of two >= reads]
        The gather task's woken reads.
    ready : int64[power of two]
        Tasks that can run.
    ring_ends : int64[4, 2]
        Head and tail of every ring.
    ring_due, ring_do : int64[4, ring]
        Timers; `NEVER` stands behind the last one.
    wait_due, wait_read : int64[reads + 1]
        Host transfers in progress by (time, creation); `NEVER` stands behind the last one.
    """

    geo: np.ndarray
    reg: np.ndarray
    bank_due: np.ndarray
    bank_turn: np.ndarray
    bank_idle: np.ndarray
    bank_waiting: np.ndarray
    bank_queue: np.ndarray
    sem: np.ndarray
    sem_queue: np.ndarray
    stage: np.ndarray
    bank: np.ndarray
    row: np.ndarray
    port: np.ndarray
    inner: np.ndarray
    ready: np.ndarray
    ring_ends: np.ndarray
    ring_due: np.ndarray
    ring_do: np.ndarray
    wait_due: np.ndarray
    wait_read: np.ndarray


@kernel
def bank_of(geo, address, shift):
    """Bank of a block, counted over all channels; reads and writes shift differently (§3.5)."""
    channel = (address >> 6) & geo[GEO_CHANNEL_MASK]
    return channel * geo[GEO_BANKS] + ((address >> shift) & geo[GEO_BANK_MASK])


# --- wake-ups, timers, semaphores --------------------------------------------------------------


@kernel
def make_ready(d, what):
    """Append a task to the run queue."""
    tail = d.reg[READY_TAIL]
    d.ready[tail & (len(d.ready) - 1)] = what
    d.reg[READY_TAIL] = tail + 1


@kernel
def wake(d, read):
    """Append a read to the gather task's queue; the first one since its last turn makes the task ready."""
    tail = d.reg[INNER_TAIL]
    d.inner[tail & (len(d.inner) - 1)] = read
    d.reg[INNER_TAIL] = tail + 1
    if d.reg[ARMED] == 1:
        d.reg[ARMED] = 0
        make_ready(d, DO_GATHER)


@kernel
def start_timer(d, ring, what):
    """Create a timer of the ring's delay."""
    mask = d.ring_due.shape[1] - 1
    tail = d.ring_ends[ring, 1]
    d.ring_due[ring, tail & mask] = d.reg[T] + DELAYS[ring]
    d.ring_do[ring, tail & mask] = what
    d.ring_due[ring, (tail + 1) & mask] = NEVER
    d.ring_ends[ring, 1] = tail + 1


@kernel
def start_wait(d, read, picoseconds):
    """Create the timer of a host transfer; one past the time limit sets `LATE` and takes no time."""
    reg = d.reg
    if picoseconds > reg[BUDGET] - reg[T]:
        reg[LATE] = 1
        picoseconds = 0
    due = reg[T] + picoseconds
    at = reg[WAIT_TAIL]
    d.wait_due[at + 1] = NEVER
    while at > reg[WAIT_HEAD] and d.wait_due[at - 1] > due:
        d.wait_due[at], d.wait_read[at] = d.wait_due[at - 1], d.wait_read[at - 1]
        at -= 1
    d.wait_due[at], d.wait_read[at] = due, read
    reg[WAIT_TAIL] += 1


@kernel
def take(d, sem, read):
    """Take a permit (True) or join the queue (False)."""
    if d.sem[sem, SEM_FREE] > 0:
        d.sem[sem, SEM_FREE] -= 1
        return True
    tail = d.sem[sem, SEM_TAIL]
    d.sem_queue[sem, tail] = read
    d.sem[sem, SEM_TAIL] = tail + 1
    return False


@kernel
def give(d, sem):
    """Hand a permit to the longest waiter, or back."""
    head = d.sem[sem, SEM_HEAD]
    if head == d.sem[sem, SEM_TAIL]:
        d.sem[sem, SEM_FREE] += 1
    else:
        d.sem[sem, SEM_HEAD] = head + 1
        wake(d, d.sem_queue[sem, head])


# --- banks -------------------------------------------------------------------------------------


@kernel
def acquire(d, read):
    """Ask for the read's bank: granted after tRCD if it is idle, else queued."""
    bank = d.bank[read]
    if d.bank_idle[bank] == 1:
        d.bank_idle[bank] = 0
        start_timer(d, RING_ROW, read << 2 | DO_GRANT)
    else:
        d.bank_queue[bank, d.bank_waiting[bank]] = read
        d.bank_waiting[bank] += 1


@kernel
def leave_queue(d, bank, at):
    """Remove entry `at` of the bank's queue; returns its read."""
    read = d.bank_queue[bank, at]
    d.bank_waiting[bank] -= 1
    for k in range(at, d.bank_waiting[bank]):
        d.bank_queue[bank, k] = d.bank_queue[bank, k + 1]
    return read


@kernel
def release(d, bank, row):
    """Release a bank whose open row is `row`: first ready, then first come (§3.5)."""
    if d.bank_waiting[bank] == 0:
        start_timer(d, RING_ROW, bank << 2 | DO_PRECHARGED)
        return
    for at in range(d.bank_waiting[bank]):
        if d.row[d.bank_queue[bank, at]] == row:
            wake(d, leave_queue(d, bank, at))
            return
    start_timer(d, RING_SWITCH, leave_queue(d, bank, 0) << 2 | DO_GRANT)


@kernel
def precharged(d, bank):
    """The precharge of a bank without waiters is over; whoever came meanwhile gets it without tRCD."""
    if d.bank_waiting[bank] == 0:
        d.bank_idle[bank] = 1
    else:
        wake(d, leave_queue(d, bank, 0))


# --- one read, the gather task, the event loop --------------------------------------------------


@kernel
def poll(d, read, wait, link):
    """Carry a woken read on until it has to wait again; True once it is done."""
    stage = d.stage[read]
    port = d.port[read]
    if stage == AT_START:
        d.stage[read] = stage = AT_LINK
        if link[read] == 1 and not take(d, len(d.sem) - 1, read):
            return False
    if stage == AT_LINK:
        d.stage[read] = stage = AT_ADMISSION
        if wait[read] > 0:
            start_wait(d, read, wait[read])
            return False
    if stage == AT_ADMISSION:
        d.stage[read] = stage = AT_COMMAND
        if not take(d, port + SEM_RD, read):
            return False
    if stage == AT_COMMAND:
        d.stage[read] = stage = AT_TICK
        if not take(d, port + SEM_CMD, read):
            return False
    if stage == AT_TICK:
        d.stage[read] = AT_BANK
        start_timer(d, RING_TICK, read << 2 | DO_WAKE)
    elif stage == AT_BANK:
        d.stage[read] = AT_GRANT
        give(d, port + SEM_CMD)
        acquire(d, read)
    elif stage == AT_GRANT:
        d.stage[read] = AT_SENSE
        start_timer(d, RING_ROW, read << 2 | DO_WAKE)
    elif stage == AT_SENSE:
        d.stage[read] = AT_BURST
        release(d, d.bank[read], d.row[read])
        if take(d, port + SEM_DATA, read):
            stage = AT_BURST
    if stage == AT_BURST:
        d.stage[read] = AT_END
        start_timer(d, RING_BURST, read << 2 | DO_WAKE)
    elif stage == AT_END:
        give(d, port + SEM_DATA)
        give(d, port + SEM_RD)
        if link[read] == 1:
            give(d, len(d.sem) - 1)
        return True
    return False


@kernel
def gather_turn(d, wait, link):
    """One turn of the gather task: polls woken reads until none is left or its turn is over (§4.10).

    The turn is over once as many reads were polled as there are, without one completing. (A read of this memory is
    never woken by its own poll, so the second case of §4.10 does not occur.)
    """
    reg = d.reg
    reg[ARMED] = 1
    polls = reg[LEFT]
    while reg[INNER_HEAD] != reg[INNER_TAIL]:
        read = d.inner[reg[INNER_HEAD] & (len(d.inner) - 1)]
        reg[INNER_HEAD] += 1
        if poll(d, read, wait, link):
            reg[LEFT] -= 1
            reg[ARMED] = 1
            polls = reg[LEFT]
        else:
            polls -= 1
            if polls == 0:
                make_ready(d, DO_GATHER)
                return


@kernel
def run_ready(d, wait, link):
    """Run tasks in wake order until none is left."""
    reg = d.reg
    while reg[READY_HEAD] != reg[READY_TAIL]:
        task = d.ready[reg[READY_HEAD] & (len(d.ready) - 1)]
        reg[READY_HEAD] += 1
        what = task & 3
        if what == DO_GATHER:
            gather_turn(d, wait, link)
        elif what == DO_GRANT:
            wake(d, task >> 2)
        else:
            precharged(d, task >> 2)


@kernel
def fire_waits(d, wait, longer_than):
    """Wake the reads whose host transfer ends now and took more than `longer_than`."""
    reg = d.reg
    head = reg[WAIT_HEAD]
    while d.wait_due[head] == reg[T] and wait[d.wait_read[head]] > longer_than:
        wake(d, d.wait_read[head])
        head += 1
    reg[WAIT_HEAD] = head


@kernel
def fire_ring(d, ring):
    """Act on the timers of one delay that expire now: wake reads, make bank actions ready."""
    mask = d.ring_due.shape[1] - 1
    head = d.ring_ends[ring, 0]
    while d.ring_due[ring, head & mask] == d.reg[T]:
        what = d.ring_do[ring, head & mask]
        if what & 3 == DO_WAKE:
            wake(d, what >> 2)
        else:
            make_ready(d, what)
        head += 1
    d.ring_ends[ring, 0] = head


@kernel
def next_instant(d):
    """Instant of the earliest timer."""
    mask = d.ring_due.shape[1] - 1
    t = d.wait_due[d.reg[WAIT_HEAD]]
    for ring in range(4):
        t = min(t, d.ring_due[ring, d.ring_ends[ring, 0] & mask])
    return t


@kernel
def simulate(d, wait, link):
    """Event loop of one batch (§4.10), from T = 0 to the instant at which the last read is done."""
    reg = d.reg
    make_ready(d, DO_GATHER)
    run_ready(d, wait, link)
    while reg[LEFT] > 0:
        reg[T] = next_instant(d)
        transfers = d.wait_due[reg[WAIT_HEAD]] == reg[T]
        for ring in range(4):
            if transfers:
                fire_waits(d, wait, DELAYS[ring])
            fire_ring(d, ring)
        run_ready(d, wait, link)


# --- a batch in the time of the run --------------------------------------------------------------


@kernel
def begin(d, addr, n, now):
    """Reset the batch state, map the addresses and take over the precharges that are pending at `now`."""
    reg, geo = d.reg, d.geo
    for slot in range(LAST):
        reg[slot] = 0
    reg[LEFT] = reg[INNER_TAIL] = n
    reg[BUDGET] = TIME_LIMIT - now
    d.wait_due[0] = NEVER
    d.ring_ends[:] = 0
    d.ring_due[:, 0] = NEVER
    links = len(d.sem) - 1
    for sem in range(links + 1):
        d.sem[sem, SEM_HEAD] = d.sem[sem, SEM_TAIL] = 0
        d.sem[sem, SEM_FREE] = 1 if sem == links else geo[GEO_RD] if sem % SEMS == SEM_RD else geo[GEO_CMD]
    for i in range(n):
        d.inner[i] = i
        d.stage[i] = AT_START
        d.bank[i] = bank_of(geo, addr[i], geo[GEO_READ_SHIFT])
        d.row[i] = (addr[i] >> geo[GEO_ROW_SHIFT]) & geo[GEO_ROW_MASK]
        d.port[i] = SEMS * ((addr[i] >> 6) & geo[GEO_CHANNEL_MASK])
    inherit(d, now)


@kernel
def inherit(d, now):
    """Put the precharges that are pending at `now` into their ring, by (time, creation)."""
    pending = 0
    due, what = d.ring_due[RING_ROW], d.ring_do[RING_ROW]
    for bank in range(len(d.bank_due)):
        d.bank_waiting[bank] = 0
        d.bank_idle[bank] = 1 if d.bank_due[bank] <= now else 0
        if d.bank_idle[bank] == 0:
            at = pending
            while at > 0 and (due[at - 1], d.bank_turn[what[at - 1] >> 2]) > (d.bank_due[bank] - now, d.bank_turn[bank]):
                due[at], what[at] = due[at - 1], what[at - 1]
                at -= 1
            due[at], what[at] = d.bank_due[bank] - now, bank << 2 | DO_PRECHARGED
            pending += 1
    due[pending] = NEVER
    d.ring_ends[RING_ROW, 1] = pending


@kernel
def bequeath(d, now):
    """Keep the precharges that are still pending when a batch that began at `now` is done."""
    mask = d.ring_due.shape[1] - 1
    head, tail = d.ring_ends[RING_ROW, 0], d.ring_ends[RING_ROW, 1]
    for at in range(head, tail):
        bank = d.ring_do[RING_ROW, at & mask] >> 2
        due = now + d.ring_due[RING_ROW, at & mask]
        d.bank_due[bank], d.bank_turn[bank] = due, at
        d.reg[LAST] = max(d.reg[LAST], due)


@kernel
def ddr_batch(d, addr, wait, link, n, now):
    """Run the reads `addr[:n]` of one prefetch, all issued at `now`: completion time in ps, or `OVERFLOW`.

    A read with `link` takes the host link first and gives it back last; one with `wait` > 0 (whole nanoseconds, in
    ps) waits so long before the memory sees it.
    """
    if n == 0:
        return now
    begin(d, addr, n, now)
    simulate(d, wait, link)
    bequeath(d, now)
    if d.reg[LATE] == 1 or d.reg[T] > d.reg[BUDGET]:
        return OVERFLOW
    return now + d.reg[T]


# --- accesses one after the other ----------------------------------------------------------------


@kernel
def grant_alone(d, bank, t):
    """When a bank asked at `t` with nobody else about is granted: at the end of a pending precharge (without tRCD,
    §3.5), else after tRCD."""
    return d.bank_due[bank] if d.bank_due[bank] > t else t + TRCD


@kernel
def release_alone(d, bank, t):
    """Release a bank that nobody waits for."""
    d.bank_due[bank] = t + TRP
    d.reg[LAST] = max(d.reg[LAST], t + TRP)


@kernel
def read_alone(d, address, now):
    """Completion time of a read that starts at `now` while no other access is in flight."""
    bank = bank_of(d.geo, address, d.geo[GEO_READ_SHIFT])
    t = grant_alone(d, bank, now + TCK) + CAS
    release_alone(d, bank, t)
    return t + BURST


@kernel
def write_alone(d, address, now):
    """Completion time of a write that starts at `now` while no other access is in flight."""
    bank = bank_of(d.geo, address, d.geo[GEO_WRITE_SHIFT])
    t = grant_alone(d, bank, now + TCK)
    release_alone(d, bank, t)
    return t + BURST


@kernel
def ddr_store(d, addr, wait, link, n, now):
    """Read and write each block of a store in turn (§3.3): completion time in ps, or `OVERFLOW`.

    The host link is always free here, so `link` changes nothing; it is taken for the sake of one signature.
    """
    t = now
    for i in range(n):
        if wait[i] > TIME_LIMIT - t:
            return OVERFLOW
        t = write_alone(d, addr[i], read_alone(d, addr[i], t + wait[i]))
    return t if t <= TIME_LIMIT else OVERFLOW
