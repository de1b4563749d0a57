"""Board DDR, batches in which no read waits for the host: two events a read instead of a dozen (spec §3.5, §4.10).

On the emulator's one channel almost all of the event loop of `ddr_loop` is known beforehand:

- `rd` has 16 permits. The first 16 reads get their command slots one tCK after the other; every later one is
  admitted by the completion of the one 16 before it on the data bus. Completions are a burst (4 tCK) apart and the
  first comes after 21 tCK, so `cmd` is free by then: read k reaches its bank one tCK after completion k - 16.
- The data bus serves reads in the order in which they release their banks.
- A bank's grant and its holder's release are a constant time apart, and a grant's instant is known as soon as it is
  known who gets the bank: a precharge needs no event of its own, only the instant of its end.
- Which of two waiting reads of one row goes first makes no difference, and a bank serves all that want its open row
  before any other: waiting reads are the number of those, and the rows of the others, oldest first.

What is left are the arrivals of reads at their banks and the releases of banks, both in the order of time. At one
instant the event loop acts on ends of precharges first, then on releases, then on the arrival; on releases in the
order in which their timers were created: after row switches, after grants by a precharge, of banks that were idle,
after row hits. Within each of these classes releases are created in the order of time, so each is a ring; only a
grant by a precharge may be known before that of a precharge that ends earlier.
"""

from ..compiler.jit import kernel, small
from .state import (
    BANK_DUE,
    BANK_TURN,
    BANKS,
    BURST,
    CAS,
    GEO_BANKS,
    GEO_CHANNEL_MASK,
    GEO_RD,
    GEO_READ_SHIFT,
    GEO_ROW_MASK,
    GEO_ROW_SHIFT,
    LAST,
    TCK,
    TRCD,
    TRP,
)

PERMITS = 16

from ..limits import NEVER

# An event is one word: instant, class (those of releases are rings), bank.
BANK_BITS = 4
TIME_SHIFT = 7
SWITCHED, TAKEN_OVER, OPENED, HIT, ARRIVED = range(5)
RINGS = 4

# Words of `Ddr.plain`.
PLACES = 32  # of a ring: more than banks, and than reads in flight
IN_RING = PLACES - 1
FRONT = 0  # first event of each ring, `NEVER` where it is empty
HEAD = FRONT + RINGS
TAIL = HEAD + RINGS
RING = TAIL + RINGS  # a ring holds `NEVER` behind its last event
ARRIVALS = RING + RINGS * PLACES  # one more ring, of the arrivals to come that have an instant
BUSY = ARRIVALS + PLACES  # of each bank: whether a read holds it
ROW = BUSY + BANKS  # the row that it holds open
HITS = ROW + BANKS  # reads that wait for that row
OTHERS = HITS + BANKS  # reads that wait for other rows
FREE = OTHERS + BANKS  # end of its last precharge, ps
TURN = FREE + BANKS  # order among precharges that end together
QUEUE = TURN + BANKS  # rows of the others
PLAIN_WIDTH = QUEUE + BANKS * PERMITS


@kernel
def is_plain(geo):
    """Whether a memory is the emulator's own: one channel, 16 banks, 16 reads in flight."""
    return geo[GEO_CHANNEL_MASK] == 0 and geo[GEO_BANKS] == BANKS and geo[GEO_RD] == PERMITS


@small
def event(instant, kind, bank):
    """The word of an event."""
    return (instant << TIME_SHIFT) | (kind << BANK_BITS) | bank


@small
def schedule(w, instant, kind, bank):
    """Append a release to the ring of its class."""
    word = event(instant, kind, bank)
    ring = RING + kind * PLACES
    tail = w[TAIL + kind]
    w[ring + (tail & IN_RING)] = word
    w[ring + ((tail + 1) & IN_RING)] = NEVER
    w[TAIL + kind] = tail + 1
    w[FRONT + kind] = w[ring + (w[HEAD + kind] & IN_RING)]


@kernel
def schedule_taken_over(w, bank):
    """Insert the release after a grant by a bank's precharge: by the end of the precharge, then by its order."""
    word = event(w[FREE + bank] + CAS, TAKEN_OVER, bank)
    ring = RING + TAKEN_OVER * PLACES
    head, at = w[HEAD + TAKEN_OVER], w[TAIL + TAKEN_OVER]
    w[TAIL + TAKEN_OVER] = at + 1
    w[ring + ((at + 1) & IN_RING)] = NEVER
    while at > head:
        before = w[ring + ((at - 1) & IN_RING)]
        same = before >> TIME_SHIFT == word >> TIME_SHIFT
        if w[TURN + (before & (BANKS - 1))] < w[TURN + bank] if same else before < word:
            break
        w[ring + (at & IN_RING)] = before
        at -= 1
    w[ring + (at & IN_RING)] = word
    w[FRONT + TAKEN_OVER] = w[ring + (head & IN_RING)]


@small
def arrive(w, bank, row, instant):
    """A read reaches its bank: opens it, takes it over from a precharge, or waits."""
    if w[BUSY + bank] == 1:
        hit = int(w[ROW + bank] == row)
        others = w[OTHERS + bank]
        w[QUEUE + bank * PERMITS + others] = row
        w[OTHERS + bank] = others + 1 - hit
        w[HITS + bank] += hit
        return
    w[BUSY + bank] = 1
    w[ROW + bank] = row
    if instant >= w[FREE + bank]:
        schedule(w, instant + TRCD + CAS, OPENED, bank)
    else:
        schedule_taken_over(w, bank)


@kernel
def switch_row(w, bank):
    """Open the row of the oldest read that waits for another row; reads of that row wait for a hit from now on."""
    first = QUEUE + bank * PERMITS
    row = w[first]
    others = 0
    for at in range(first + 1, first + w[OTHERS + bank]):
        w[first + others] = w[at]
        others += int(w[at] != row)
    w[ROW + bank] = row
    w[HITS + bank] = w[OTHERS + bank] - 1 - others
    w[OTHERS + bank] = others


@small
def release(w, bank, instant, turn):
    """A read releases its bank: first ready, then first come; precharge where nobody waits."""
    if w[HITS + bank] > 0:
        w[HITS + bank] -= 1
        schedule(w, instant + CAS, HIT, bank)
    elif w[OTHERS + bank] > 0:
        switch_row(w, bank)
        schedule(w, instant + TRP + TRCD + CAS, SWITCHED, bank)
    else:
        w[BUSY + bank] = 0
        w[FREE + bank] = instant + TRP
        w[TURN + bank] = turn


@small
def begin_plain(w, banks, n, now):
    """Empty rings, the first arrivals, and the banks as they are at `now`."""
    for ring in range(RINGS):
        w[HEAD + ring] = w[TAIL + ring] = 0
        w[FRONT + ring] = NEVER
    for k in range(min(n, PERMITS)):
        w[ARRIVALS + k] = event((k + 1) * TCK, ARRIVED, 0)
    w[ARRIVALS + min(n, PERMITS)] = NEVER
    for bank in range(BANKS):
        w[BUSY + bank] = w[HITS + bank] = w[OTHERS + bank] = 0
        w[FREE + bank] = banks[bank, BANK_DUE] - now
        w[TURN + bank] = banks[bank, BANK_TURN]


@small
def bequeath(w, banks, q, now):
    """Leave the banks as a batch that began at `now` leaves them."""
    for bank in range(BANKS):
        banks[bank, BANK_DUE] = now + w[FREE + bank]
        banks[bank, BANK_TURN] = w[TURN + bank]
        q[LAST] = max(q[LAST], banks[bank, BANK_DUE])


@small
def simulate_plain(d, addr, n, now):
    """Run the reads `addr[:n]`, all issued at `now`: picoseconds until the last is done."""
    w, geo = d.plain, d.geo
    bank_shift, row_shift, row_mask = geo[GEO_READ_SHIFT], geo[GEO_ROW_SHIFT], geo[GEO_ROW_MASK]
    begin_plain(w, d.banks, n, now)
    arrived = bus = 0
    for released in range(n):
        first = min(min(w[FRONT], w[FRONT + 1]), min(w[FRONT + 2], w[FRONT + 3]))
        arrival = w[ARRIVALS + (arrived & IN_RING)]
        while arrival < first:
            bank = (addr[arrived] >> bank_shift) & (BANKS - 1)
            arrive(w, bank, (addr[arrived] >> row_shift) & row_mask, arrival >> TIME_SHIFT)
            arrived += 1
            first = min(min(w[FRONT], w[FRONT + 1]), min(w[FRONT + 2], w[FRONT + 3]))
            arrival = w[ARRIVALS + (arrived & IN_RING)]
        ring = (first >> BANK_BITS) & (RINGS - 1)
        head = w[HEAD + ring] + 1
        w[HEAD + ring] = head
        w[FRONT + ring] = w[RING + ring * PLACES + (head & IN_RING)]
        instant = first >> TIME_SHIFT
        bus = max(instant, bus) + BURST
        admitted = released + PERMITS
        w[ARRIVALS + (admitted & IN_RING)] = event(bus + TCK, ARRIVED, 0) if admitted < n else NEVER
        w[ARRIVALS + ((admitted + 1) & IN_RING)] = NEVER
        release(w, first & (BANKS - 1), instant, released)
    bequeath(w, d.banks, d.q, now)
    return bus
