"""Run batches in which no access waits for the host: one event an access instead of a dozen (spec §3.5, §4.10).

First for reads:

On the emulator's one channel almost all of the event loop of `event_loop` is known beforehand:

- `rd` has 16 permits. The first 16 reads get their command slots one tCK after the other; every later one is
  admitted by the completion of the one 16 before it on the data bus. Completions are a burst (4 tCK) apart and the
  first comes after 21 tCK, so `cmd` is free by then: read k reaches its bank one tCK after completion k - 16.
- The data bus serves reads in the order in which they release their banks.
- A bank's grant and its holder's release are a constant time apart, and a grant's instant is known as soon as it is
  known who gets the bank: a precharge needs no event of its own, only the instant of its end.
- The instant at which a read reaches its bank is known once it is admitted, and nothing else looks at it before that
  bank is released. So a bank gets its reads when they are admitted, each with its arrival, and a release passes over
  those that have not arrived: an arrival needs no event either.

What is left are the releases of banks, in the order of time. At one instant the event loop acts on them in the order in
which their timers were created: after row switches, after grants by a precharge, of banks that were idle, after row
hits. Within the first and the last of these classes releases are created in the order of time, so each is a ring; one
of the other two may be known before one that comes earlier, and is inserted. A read that arrives at the instant of a
release has not arrived for it.

A write releases its bank as soon as it is granted it. Three things differ:

- At one instant the arrival comes before the releases: both grants and arrivals wake their writes, and a grant is a
  bank action, which runs after the timers. For the same reason grants of banks that were idle come before those by a
  precharge. All that wait for the open row are released in one instant, one round of all banks after the other.
- A bank that is still precharging can be granted, and so a write completed, before all of the first 16 had their
  command slots: a write is admitted behind them.
- Reads and writes find their bank in different bits.
"""

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .state import (
    BANK_DUE,
    BANK_TURN,
    BANKS,
    BURST,
    CAS,
    LAST_EVENT,
    ORG_BANKS,
    ORG_CHANNEL_MASK,
    ORG_RD,
    ORG_READ_SHIFT,
    ORG_ROW_MASK,
    ORG_ROW_SHIFT,
    ORG_WRITE_SHIFT,
    TCK,
    TRCD,
    TRP,
)

PERMITS = 16

# An event is one word: instant, class (each has a ring), bank. Classes in the order of one instant: for writes
# TAKEN_OVER and OPENED change places. A waiting access is one word too: arrival, row.
BANK_BITS = 4
TIME_SHIFT = 7
SWITCHED, TAKEN_OVER, OPENED, HIT = range(4)
RINGS = 4
ROW_BITS = 16
ROW = (1 << ROW_BITS) - 1

# Words of `SimpleState.plain`.
PLACES = 32  # of a ring: more than banks
IN_RING = PLACES - 1
FRONT = 0  # first event of each ring, `NEVER` where it is empty
HEAD = FRONT + RINGS
TAIL = HEAD + RINGS
RING = TAIL + RINGS  # a ring holds `NEVER` behind its last event
BUSY = RING + RINGS * PLACES  # of each bank: whether an access holds it
OPEN_ROW = BUSY + BANKS  # the row that it holds open
FREE = OPEN_ROW + BANKS  # end of its last precharge, ps
TURN = FREE + BANKS  # order among precharges that end together
OLDEST = TURN + BANKS  # places in its queue: of the oldest that waits, and behind the youngest
YOUNGEST = OLDEST + BANKS
QUEUE = YOUNGEST + BANKS  # a ring of those that wait for it
IN_QUEUE = PERMITS - 1
PLAIN_WIDTH = QUEUE + BANKS * PERMITS


@kernel
def is_plain(organisation):
    """Tell whether a memory is the emulator's own: one channel, 16 banks, rows of 16 bits, 16 reads in flight."""
    if organisation[ORG_CHANNEL_MASK] != 0 or organisation[ORG_ROW_MASK] != ROW:
        return False
    return organisation[ORG_BANKS] == BANKS and organisation[ORG_RD] == PERMITS


@small
def event(instant, kind, bank):
    """Pack the word of an event."""
    return (instant << TIME_SHIFT) | (kind << BANK_BITS) | bank


@small
def schedule(scratch, instant, kind, bank):
    """Append a release to the ring of its class."""
    word = event(instant, kind, bank)
    ring = RING + kind * PLACES
    tail = scratch[TAIL + kind]
    scratch[ring + (tail & IN_RING)] = word
    scratch[ring + ((tail + 1) & IN_RING)] = NEVER
    scratch[TAIL + kind] = tail + 1
    scratch[FRONT + kind] = scratch[ring + (scratch[HEAD + kind] & IN_RING)]


@kernel
def insert_release(scratch, instant, kind, bank):
    """Insert a release into the ring of its class: by instant; after grants by a precharge, by the order of those."""
    word = event(instant, kind, bank)
    ring = RING + kind * PLACES
    head, at = scratch[HEAD + kind], scratch[TAIL + kind]
    scratch[TAIL + kind] = at + 1
    scratch[ring + ((at + 1) & IN_RING)] = NEVER
    while at > head:
        earlier = scratch[ring + ((at - 1) & IN_RING)]
        same = earlier >> TIME_SHIFT == instant
        if scratch[TURN + (earlier & (BANKS - 1))] < scratch[TURN + bank] if same else earlier < word:
            break
        scratch[ring + (at & IN_RING)] = earlier
        at -= 1
    scratch[ring + (at & IN_RING)] = word
    scratch[FRONT + kind] = scratch[ring + (head & IN_RING)]


@small
def open_bank(scratch, bank, row, arrival, sense, write):
    """Give an idle bank to an access: it opens it, or takes it over from a precharge that ends after it arrives."""
    scratch[BUSY + bank] = 1
    scratch[OPEN_ROW + bank] = row
    free = scratch[FREE + bank]
    if arrival >= free:
        insert_release(scratch, arrival + TRCD + sense, OPENED - write, bank)
    else:
        insert_release(scratch, free + sense, TAKEN_OVER + write, bank)


@small
def admit(state, address, arrival, sense, write):
    """Admit an access, which reaches its bank at `arrival`: it gets the bank, or waits for it."""
    scratch, organisation = state.plain, state.organisation
    bank = (address >> organisation[ORG_WRITE_SHIFT if write else ORG_READ_SHIFT]) & (BANKS - 1)
    row = (address >> organisation[ORG_ROW_SHIFT]) & ROW
    if scratch[BUSY + bank] == 0:
        open_bank(scratch, bank, row, arrival, sense, write)
    else:
        youngest = scratch[YOUNGEST + bank]
        scratch[QUEUE + bank * PERMITS + (youngest & IN_QUEUE)] = arrival << ROW_BITS | row
        scratch[YOUNGEST + bank] = youngest + 1


@small
def precharge(scratch, bank, instant, turn):
    """Let a bank that nobody waits for precharge from `instant` on."""
    scratch[BUSY + bank] = 0
    scratch[FREE + bank] = instant + TRP
    scratch[TURN + bank] = turn


@small
def release(scratch, bank, instant, turn, sense, write):
    """Release the bank of an access: first ready, then first come, of those that have arrived; else it precharges."""
    oldest, past = scratch[OLDEST + bank], scratch[YOUNGEST + bank]
    if oldest == past:
        precharge(scratch, bank, instant, turn)
        return
    queue = QUEUE + bank * PERMITS
    arrived = (instant + write) << ROW_BITS  # words of accesses that have arrived are less
    first = scratch[queue + (oldest & IN_QUEUE)]
    scratch[OLDEST + bank] = oldest + 1
    if first >= arrived:
        precharge(scratch, bank, instant, turn)
        open_bank(scratch, bank, first & ROW, first >> ROW_BITS, sense, write)
        return
    at, word = oldest, first
    while word < arrived and word & ROW != scratch[OPEN_ROW + bank]:
        at += 1
        word = NEVER if at == past else scratch[queue + (at & IN_QUEUE)]
    if word < arrived:
        for k in range(at, oldest, -1):
            scratch[queue + (k & IN_QUEUE)] = scratch[queue + ((k - 1) & IN_QUEUE)]
        schedule(scratch, instant + sense, HIT, bank)
    else:
        scratch[OPEN_ROW + bank] = first & ROW
        schedule(scratch, instant + TRP + TRCD + sense, SWITCHED, bank)


@small
def begin_plain(scratch, banks, now):
    """Set up empty rings and queues, and the banks as they are at `now`."""
    for ring in range(RINGS):
        scratch[HEAD + ring] = scratch[TAIL + ring] = 0
        scratch[FRONT + ring] = NEVER
    for bank in range(BANKS):
        scratch[BUSY + bank] = scratch[OLDEST + bank] = scratch[YOUNGEST + bank] = 0
        scratch[FREE + bank] = banks[bank, BANK_DUE] - now
        scratch[TURN + bank] = banks[bank, BANK_TURN]


@small
def bequeath(scratch, banks, queues, now):
    """Leave the banks as a batch that began at `now` leaves them."""
    for bank in range(BANKS):
        banks[bank, BANK_DUE] = now + scratch[FREE + bank]
        banks[bank, BANK_TURN] = scratch[TURN + bank]
        queues[LAST_EVENT] = max(queues[LAST_EVENT], banks[bank, BANK_DUE])


@small
def take_first(scratch):
    """Take the first release of all; returns its event."""
    first = min(min(scratch[FRONT], scratch[FRONT + 1]), min(scratch[FRONT + 2], scratch[FRONT + 3]))
    ring = (first >> BANK_BITS) & (RINGS - 1)
    head = scratch[HEAD + ring] + 1
    scratch[HEAD + ring] = head
    scratch[FRONT + ring] = scratch[RING + ring * PLACES + (head & IN_RING)]
    return first


@small
def simulate_plain(state, addr, n, now, write):
    """Run `addr[:n]`, all issued at `now`: reads, or with `write` 1 writes.

    Returns the picoseconds until the last is done.
    """
    scratch = state.plain
    sense = 0 if write else CAS
    begin_plain(scratch, state.banks, now)
    for k in range(min(n, PERMITS)):
        admit(state, addr[k], (k + 1) * TCK, sense, write)
    bus = 0
    latest = min(n, PERMITS) * TCK  # the last arrival so far
    for released in range(n):
        first = take_first(scratch)
        instant = first >> TIME_SHIFT
        bus = max(instant, bus) + BURST
        release(scratch, first & (BANKS - 1), instant, released, sense, write)
        if released + PERMITS < n:
            latest = max(bus, latest) + TCK
            admit(state, addr[released + PERMITS], latest, sense, write)
    bequeath(scratch, state.banks, state.queues, now)
    return bus
