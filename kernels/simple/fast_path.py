"""Run batches in which no access waits for the host: two events an access instead of a dozen (spec §3.5, §4.10).

First for reads:

On the emulator's one channel almost all of the event loop of `event_loop` is known beforehand:

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

# An event is one word: instant, class (those of releases are rings), bank. Classes in the order of one instant: for
# writes TAKEN_OVER and OPENED change places, and an arrival has class 0 and is the first.
BANK_BITS = 4
TIME_SHIFT = 7
SWITCHED, TAKEN_OVER, OPENED, HIT, ARRIVED = range(5)
RINGS = 4

# Words of `SimpleState.plain`.
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
def is_plain(organisation):
    """Tell whether a memory is the emulator's own: one channel, 16 banks, 16 reads in flight."""
    return organisation[ORG_CHANNEL_MASK] == 0 and organisation[ORG_BANKS] == BANKS and organisation[ORG_RD] == PERMITS


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
def schedule_taken_over(scratch, bank, kind, sense):
    """Insert the release after a grant by a bank's precharge: by the end of the precharge, then by its order."""
    word = event(scratch[FREE + bank] + sense, kind, bank)
    ring = RING + kind * PLACES
    head, at = scratch[HEAD + kind], scratch[TAIL + kind]
    scratch[TAIL + kind] = at + 1
    scratch[ring + ((at + 1) & IN_RING)] = NEVER
    while at > head:
        earlier = scratch[ring + ((at - 1) & IN_RING)]
        same = earlier >> TIME_SHIFT == word >> TIME_SHIFT
        if scratch[TURN + (earlier & (BANKS - 1))] < scratch[TURN + bank] if same else earlier < word:
            break
        scratch[ring + (at & IN_RING)] = earlier
        at -= 1
    scratch[ring + (at & IN_RING)] = word
    scratch[FRONT + kind] = scratch[ring + (head & IN_RING)]


@small
def arrive(scratch, bank, row, instant, sense, write):
    """Let an access reach its bank: it opens it, takes it over from a precharge, or waits."""
    if scratch[BUSY + bank] == 1:
        hit = int(scratch[ROW + bank] == row)
        others = scratch[OTHERS + bank]
        scratch[QUEUE + bank * PERMITS + others] = row
        scratch[OTHERS + bank] = others + 1 - hit
        scratch[HITS + bank] += hit
        return
    scratch[BUSY + bank] = 1
    scratch[ROW + bank] = row
    if instant >= scratch[FREE + bank]:
        schedule(scratch, instant + TRCD + sense, OPENED - write, bank)
    else:
        schedule_taken_over(scratch, bank, TAKEN_OVER + write, sense)


@kernel
def switch_row(scratch, bank):
    """Open the row of the oldest read that waits for another row; reads of that row wait for a hit from now on."""
    first = QUEUE + bank * PERMITS
    row = scratch[first]
    others = 0
    for at in range(first + 1, first + scratch[OTHERS + bank]):
        scratch[first + others] = scratch[at]
        others += int(scratch[at] != row)
    scratch[ROW + bank] = row
    scratch[HITS + bank] = scratch[OTHERS + bank] - 1 - others
    scratch[OTHERS + bank] = others


@small
def release(scratch, bank, instant, turn, sense):
    """Release the bank of an access: first ready, then first come; precharge where nobody waits."""
    if scratch[HITS + bank] > 0:
        scratch[HITS + bank] -= 1
        schedule(scratch, instant + sense, HIT, bank)
    elif scratch[OTHERS + bank] > 0:
        switch_row(scratch, bank)
        schedule(scratch, instant + TRP + TRCD + sense, SWITCHED, bank)
    else:
        scratch[BUSY + bank] = 0
        scratch[FREE + bank] = instant + TRP
        scratch[TURN + bank] = turn


@small
def begin_plain(scratch, banks, n, now, arrived):
    """Set up empty rings, the first arrivals, and the banks as they are at `now`."""
    for ring in range(RINGS):
        scratch[HEAD + ring] = scratch[TAIL + ring] = 0
        scratch[FRONT + ring] = NEVER
    for k in range(min(n, PERMITS)):
        scratch[ARRIVALS + k] = event((k + 1) * TCK, arrived, 0)
    scratch[ARRIVALS + min(n, PERMITS)] = NEVER
    for bank in range(BANKS):
        scratch[BUSY + bank] = scratch[HITS + bank] = scratch[OTHERS + bank] = 0
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
def simulate_plain(state, addr, n, now, write):
    """Run `addr[:n]`, all issued at `now`: reads, or with `write` 1 writes.

    Returns the picoseconds until the last is done.
    """
    scratch, organisation = state.plain, state.organisation
    bank_shift, row_shift = organisation[ORG_WRITE_SHIFT if write else ORG_READ_SHIFT], organisation[ORG_ROW_SHIFT]
    row_mask = organisation[ORG_ROW_MASK]
    sense, arrival_class = (0, 0) if write else (CAS, ARRIVED)
    begin_plain(scratch, state.banks, n, now, arrival_class)
    arrived = bus = 0
    latest = min(n, PERMITS) * TCK  # the last arrival that has an instant
    for released in range(n):
        first = min(min(scratch[FRONT], scratch[FRONT + 1]), min(scratch[FRONT + 2], scratch[FRONT + 3]))
        arrival = scratch[ARRIVALS + (arrived & IN_RING)]
        while arrival <= first:
            bank = (addr[arrived] >> bank_shift) & (BANKS - 1)
            arrive(scratch, bank, (addr[arrived] >> row_shift) & row_mask, arrival >> TIME_SHIFT, sense, write)
            arrived += 1
            first = min(min(scratch[FRONT], scratch[FRONT + 1]), min(scratch[FRONT + 2], scratch[FRONT + 3]))
            arrival = scratch[ARRIVALS + (arrived & IN_RING)]
        ring = (first >> BANK_BITS) & (RINGS - 1)
        head = scratch[HEAD + ring] + 1
        scratch[HEAD + ring] = head
        scratch[FRONT + ring] = scratch[RING + ring * PLACES + (head & IN_RING)]
        instant = first >> TIME_SHIFT
        bus = max(instant, bus) + BURST
        admitted = released + PERMITS
        latest = max(bus, latest) + TCK
        scratch[ARRIVALS + (admitted & IN_RING)] = event(latest, arrival_class, 0) if admitted < n else NEVER
        scratch[ARRIVALS + ((admitted + 1) & IN_RING)] = NEVER
        release(scratch, first & (BANKS - 1), instant, released, sense)
    bequeath(scratch, state.banks, state.queues, now)
    return bus
