"""Board DDR, batches in which no read waits for the host: bank by bank instead of event by event (spec §3.5, §4.10).

With one channel the event loop of `ddr` has few outcomes, and all of a read's steps but three need no event:

- `rd` has 16 permits. The first 16 reads get their command slots one tCK after the other; every later one is
  admitted by the completion of the one 16 before it on the data bus. Completions are a burst (4 tCK) apart and the
  first comes after 21 tCK, so `cmd` is free by then: read k reaches its bank one tCK after completion k - 16.
- The data bus serves reads in the order in which they release their banks.
- A bank's grant and its holder's release are a constant time apart.

What is left are the arrivals of reads at their banks (a queue, in time order by construction), and one event a
busy bank: its holder's release, or the end of its precharge. At one instant the event loop acts on ends of
precharges first, then on releases, then on the arrival; releases in the order in which their timers were created:
row switches, grants by a precharge, grants of idle banks, row hits. So an event is one word, instant, then class,
then bank, and events of one class keep the order of their creation.
"""

from .ddr_state import (
    BANK_DUE, BANK_TURN, BURST, CAS, GEO_BANKS, GEO_CHANNEL_MASK, GEO_RD, GEO_READ_SHIFT, GEO_ROW_MASK, GEO_ROW_SHIFT,
    LAST, NEVER, TCK, TRCD, TRP,
)
from .jit import kernel, small

BANKS = 16
PERMITS = 16
EVENTS = 32  # places of the rings: at least one more than banks, and than reads in flight

# Words of `Ddr.plain`: rings of events and arrivals, then for each bank the row it holds open, its count of waiting
# reads (`IDLE`: none holds it) and their rows, oldest first.
ARRIVALS = EVENTS
ROWS = ARRIVALS + EVENTS
WAITING = ROWS + BANKS
QUEUES = WAITING + BANKS
PLAIN_WIDTH = QUEUES + BANKS * PERMITS
IDLE = -1

# Classes of events at one instant.
BANK_BITS = 4
CLASS_BITS = 3
TIME_SHIFT = BANK_BITS + CLASS_BITS
CLASS = ((1 << CLASS_BITS) - 1) << BANK_BITS
PRECHARGED, SWITCHED, TAKEN_OVER, OPENED, HIT, ARRIVED = range(6)


@kernel
def is_plain(geo):
    """Whether a memory is the emulator's own: one channel, 16 banks, 16 reads in flight."""
    return geo[GEO_CHANNEL_MASK] == 0 and geo[GEO_BANKS] == BANKS and geo[GEO_RD] == PERMITS


@small
def event(instant, kind, bank):
    """The word of an event."""
    return (instant << TIME_SHIFT) | (kind << BANK_BITS) | bank


@small
def schedule(w, head, tail, word):
    """Insert an event behind those of its instant and class; returns the new tail. A guard stays behind the last."""
    at = tail
    w[(at + 1) & (EVENTS - 1)] = NEVER
    before = word | (BANKS - 1)
    while at > head and w[(at - 1) & (EVENTS - 1)] > before:
        w[at & (EVENTS - 1)] = w[(at - 1) & (EVENTS - 1)]
        at -= 1
    w[at & (EVENTS - 1)] = word
    return tail + 1


@small
def take_row(w, bank, at):
    """Remove entry `at` of a bank's queue, whose row the bank then holds open."""
    waiting = w[WAITING + bank] - 1
    w[WAITING + bank] = waiting
    first = QUEUES + bank * PERMITS
    w[ROWS + bank] = w[first + at]
    for k in range(first + at, first + waiting):
        w[k] = w[k + 1]


@small
def find_open_row(w, bank):
    """Place of the first read in a bank's queue that wants the open row, or the queue's length."""
    first = QUEUES + bank * PERMITS
    waiting = w[WAITING + bank]
    row = w[ROWS + bank]
    at = 0
    while at < waiting and w[first + at] != row:
        at += 1
    return at


@kernel
def begin_plain(w, banks, n, now):
    """Idle banks, the first arrivals, and the precharges that are pending at `now`; returns how many there are."""
    for k in range(min(n, PERMITS)):
        w[ARRIVALS + k] = event((k + 1) * TCK, ARRIVED, 0)
    w[ARRIVALS + min(n, PERMITS)] = NEVER
    w[0] = NEVER
    tail = 0
    for bank in range(BANKS):
        due = banks[bank, BANK_DUE] - now
        w[WAITING + bank] = IDLE
        if due <= 0:
            continue
        w[WAITING + bank] = 0
        word = event(due, PRECHARGED, bank)
        at = tail
        while at > 0 and comes_before(banks, word, w[at - 1]):
            w[at] = w[at - 1]
            at -= 1
        w[at] = word
        tail += 1
        w[tail] = NEVER
    return tail


@kernel
def comes_before(banks, word, other):
    """Whether a pending precharge ends, or was created, before another one."""
    if word >> TIME_SHIFT != other >> TIME_SHIFT:
        return word < other
    return banks[word & (BANKS - 1), BANK_TURN] < banks[other & (BANKS - 1), BANK_TURN]


@kernel
def bequeath(w, banks, q, head, tail, now):
    """Keep the precharges that end after the last read of a batch that began at `now`."""
    for k in range(head, tail):
        word = w[k & (EVENTS - 1)]
        bank = word & (BANKS - 1)
        banks[bank, BANK_DUE] = now + (word >> TIME_SHIFT)
        banks[bank, BANK_TURN] = k
        q[LAST] = max(q[LAST], banks[bank, BANK_DUE])


@kernel
def simulate_plain(d, addr, n, now):
    """Run the reads `addr[:n]`, all issued at `now`: picoseconds until the last is done."""
    w, geo = d.plain, d.geo
    bank_shift, row_shift, row_mask = geo[GEO_READ_SHIFT], geo[GEO_ROW_SHIFT], geo[GEO_ROW_MASK]
    tail = begin_plain(w, d.banks, n, now)
    head = arrived = released = bus = 0
    while released < n:
        word = w[head & (EVENTS - 1)]
        arrival = w[ARRIVALS + (arrived & (EVENTS - 1))]
        if arrival < word:
            bank = (addr[arrived] >> bank_shift) & (BANKS - 1)
            row = (addr[arrived] >> row_shift) & row_mask
            arrived += 1
            waiting = w[WAITING + bank]
            if waiting == IDLE:
                w[WAITING + bank] = 0
                w[ROWS + bank] = row
                tail = schedule(w, head, tail, event((arrival >> TIME_SHIFT) + TRCD + CAS, OPENED, bank))
            else:
                w[QUEUES + bank * PERMITS + waiting] = row
                w[WAITING + bank] = waiting + 1
            continue
        head += 1
        at = word >> TIME_SHIFT
        bank = word & (BANKS - 1)
        waiting = w[WAITING + bank]
        if word & CLASS == PRECHARGED << BANK_BITS:
            if waiting == 0:
                w[WAITING + bank] = IDLE
            else:
                take_row(w, bank, 0)
                tail = schedule(w, head, tail, event(at + CAS, TAKEN_OVER, bank))
            continue
        bus = max(at, bus) + BURST
        admitted = released + PERMITS
        w[ARRIVALS + ((admitted + 1) & (EVENTS - 1))] = NEVER
        w[ARRIVALS + (admitted & (EVENTS - 1))] = event(bus + TCK, ARRIVED, 0) if admitted < n else NEVER
        released += 1
        place = find_open_row(w, bank)
        if waiting == 0:
            tail = schedule(w, head, tail, event(at + TRP, PRECHARGED, bank))
        elif place < waiting:
            take_row(w, bank, place)
            tail = schedule(w, head, tail, event(at + CAS, HIT, bank))
        else:
            take_row(w, bank, 0)
            tail = schedule(w, head, tail, event(at + TRP + TRCD + CAS, SWITCHED, bank))
    bequeath(w, d.banks, d.q, head, tail, now)
    return bus
