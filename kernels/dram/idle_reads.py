"""Time a list of reads on an idle memory: what `front_end` and `channel` do, for the case that most prefetches are.

An idle channel has no writes, nothing is held back, and time counts from the start of the list. So a channel is little
here: its banks, its queue of reads, and the clocks from which commands are allowed. The memory itself is neither read
nor changed: what comes out is a *value* for the memo (`memo`), of any memory that shows the same pattern (`pattern`).

Reads of a channel are numbered in the order in which they are sent, which is the order of their ages (§4.5):

- a bank's reads form a list by number; those that have left the queue stay in it and are passed over (`taken`);
- a queued read has its number as *rank*, with `QUEUED` set; a smaller rank is an active read's, which orders by the
  clock of its arrival, then by its ACT (§4.5). A bank's active read hides its queued row hits, which are allowed from
  the same clock on and come later in any case;
- a candidate's key is its rank, then its bank and the command it wants, so that the search for the next command also
  tells what to do.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .bank_lanes import earliest_lane, offer_candidate, raise_kinds, raise_lanes, set_candidate, set_candidates
from .channel import latency_bin, window_start
from .front_end import channel_of
from .pattern import WIDEST
from .state import (
    ACT,
    BANK_MASK,
    BANKS,
    BUSY,
    COLUMN,
    COUNTS,
    EMPTY,
    FIRST_COMMANDS,
    KEY_BITS,
    KINDS,
    LATENCY_SUM,
    NONE,
    PLACE_ROW,
    PRE,
    RAISES,
    RD,
    READ,
    REJECTED_SENDS,
    WIN_BANKS,
    WIN_FOLLOWING,
    WIN_LENGTH,
    WIN_PRECEDING,
    WINDOW,
    WINDOWED,
    whole_lines,
)

QUEUED = WIDEST  # in the rank of a queued read
# A key: rank, bank, command.
COMMAND_BITS = 2
RANK_SHIFT = COMMAND_BITS + 5

_u1, _i2, _i4, _i8 = np.uint8, np.int16, np.int32, np.int64

IDLE = whole_lines(
    [
        ("ready", _i4, (RD + 1, BANKS)),  # clock from which the command is allowed
        ("key", _i4, (1, KINDS, BANKS)),
        ("clk", _i8),  # ticks since the list began
        ("next", _i8),  # clock and key of the next command, of all candidates that there are now; NEVER without any
        ("sent", _i8),  # reads sent so far
        ("queued", _i8),
        ("active", _i8),
        ("active_banks", _i8),  # bit of a bank
        ("last_return", _i8),
        ("quiescent_at", _i8),
        ("latency_max", _i8),
        ("burst", _i8),  # first read that was sent at the clock of the latest
        ("burst_clk", _i8),
        ("count", _i8, (COUNTS,)),
        ("open_row", _i2, (BANKS,)),  # number of the row in its bank, NONE
        # Reads of a bank, NONE without any: the oldest queued one, or one before it; the latest; the first row hit.
        ("head", _i2, (BANKS,)),
        ("tail", _i2, (BANKS,)),
        ("hit", _i2, (BANKS,)),
        ("recent", _i8, (WINDOWED, BANKS, WINDOW)),
        ("recent_count", _i8, (WINDOWED, BANKS)),
        # Of each read.
        ("taken", _u1, (WIDEST,)),  # 1: it has left the queue
        ("begun", _u1, (WIDEST,)),  # 1: a command was issued for it
        ("row", _i2, (WIDEST,)),
        ("later", _i2, (WIDEST,)),  # the next one of the same bank
        ("arrived", _i2, (WIDEST,)),  # first read that was sent at the same clock
        ("first", _i4, (WIDEST,)),  # clock of the first attempt, and of that in the other lockstep channels
        ("rest", _i4, (WIDEST,)),
        # Of the first read that was sent at a clock: reads sent then whose ACT was issued.
        ("acts", _i2, (WIDEST,)),
        ("active_read", _i2, (WIDEST,)),  # read of an active rank
    ]
)


# --- commands -----------------------------------------------------------------------------------


@small
def record(cfg, channel, command, bank):
    """Update the timing registers after `command` at the channel's clock (§4.6)."""
    channel.quiescent_at = max(channel.quiescent_at, channel.clk + cfg.longest[command])
    raise_kinds(channel.ready, np.int32(channel.clk), cfg.read_raise_by, command, bank)
    for rule in range(WINDOWED):
        if cfg.window[rule, WIN_BANKS] > 0 and cfg.window[rule, WIN_PRECEDING] == command:
            record_window(cfg, channel, rule, bank)


@small
def record_window(cfg, channel, rule, bank):
    """Update the registers after a command that a rule over a window counts."""
    following = cfg.window[rule, WIN_FOLLOWING]
    start = window_start(channel, rule, bank & -cfg.window[rule, WIN_BANKS], cfg.window[rule, WIN_LENGTH])
    if start != NONE and following <= RD:
        raise_lanes(channel.ready, following, np.int32(start), cfg.raise_by, RAISES + rule, bank)


@small
def begin_read(channel, read, kind):
    """Count the first command issued for a read."""
    channel.count[FIRST_COMMANDS + kind] += 1 - channel.begun[read]
    channel.begun[read] = 1


@small
def queued_key(read, bank, command):
    """Compute the key of a queued read; EMPTY for none."""
    return np.int32((QUEUED | read) << RANK_SHIFT | bank << COMMAND_BITS | command if read != NONE else EMPTY)


@small
def activate(cfg, channel, read, bank):
    """Issue ACT for the oldest read of a closed bank, which becomes its active read."""
    record(cfg, channel, ACT, bank)
    begin_read(channel, read, ACT)
    row, arrived = channel.row[read], np.int64(channel.arrived[read])
    hit, miss = NONE, NONE
    at = np.int64(channel.later[read])
    while at != NONE and (hit == NONE or miss == NONE):
        if channel.taken[at] == 0:
            if channel.row[at] == row:
                hit = at if hit == NONE else hit
            else:
                miss = at if miss == NONE else miss
        at = np.int64(channel.later[at])
    rank = arrived + channel.acts[arrived]
    channel.acts[arrived] += 1
    channel.active_read[rank] = read
    channel.taken[read] = 1
    channel.open_row[bank] = row
    channel.hit[bank] = hit
    column = np.int32(rank << RANK_SHIFT | bank << COMMAND_BITS | COLUMN)
    set_candidates(channel.key, bank, np.int32(EMPTY), queued_key(miss, bank, PRE), column)
    channel.active_banks |= np.int64(1) << bank
    channel.active += 1
    channel.queued -= 1


@small
def precharge(cfg, channel, read, bank):
    """Issue PRE for a read that wants another row; the tick is lost while the bank has an active read (§4.5 d)."""
    if channel.active_banks >> bank & 1 == 1:
        return
    record(cfg, channel, PRE, bank)
    begin_read(channel, read, PRE)
    head = np.int64(channel.head[bank])
    while channel.taken[head] == 1:
        head = np.int64(channel.later[head])
    channel.head[bank] = head
    channel.open_row[bank] = NONE
    set_candidates(channel.key, bank, queued_key(head, bank, ACT), np.int32(EMPTY), np.int32(EMPTY))


@small
def end_read(cfg, channel, read, bins):
    """Insert the return of a read whose RD was issued, and count its latencies."""
    twins = cfg.lockstep_channels - 1
    channel.last_return = max(channel.clk + cfg.read_latency, channel.last_return + 1)
    latency = channel.last_return - 1 - channel.first[read]
    others = channel.last_return - 1 - channel.rest[read]
    channel.count[LATENCY_SUM] += latency + twins * others
    channel.latency_max = max(channel.latency_max, latency)
    bins[latency_bin(latency)] += 1
    bins[latency_bin(others)] += twins


@small
def read_hit(cfg, channel, read, bank, bins):
    """Issue RD for a queued read of the open row."""
    record(cfg, channel, RD, bank)
    begin_read(channel, read, COLUMN)
    row, at = channel.row[read], np.int64(channel.later[read])
    while at != NONE and channel.row[at] != row:
        at = np.int64(channel.later[at])
    channel.taken[read] = 1
    channel.hit[bank] = at
    set_candidate(channel.key, COLUMN, bank, queued_key(at, bank, COLUMN))
    channel.queued -= 1
    end_read(cfg, channel, read, bins)


@small
def read_active(cfg, channel, read, bank, bins):
    """Issue RD for the active read of a bank."""
    record(cfg, channel, RD, bank)
    set_candidate(channel.key, COLUMN, bank, queued_key(np.int64(channel.hit[bank]), bank, COLUMN))
    channel.active_banks &= ~(np.int64(1) << bank)
    channel.active -= 1
    end_read(cfg, channel, read, bins)


# --- ticks --------------------------------------------------------------------------------------


@small
def run_to(channel, clk):
    """Let ticks pass in which no command is issued but, possibly, in the last."""
    if channel.queued + channel.active > 0:
        channel.count[BUSY] += clk - channel.clk
    else:
        channel.count[BUSY] += max(min(channel.last_return, clk) - channel.clk, 0)
    channel.clk = clk


@small
def choose(channel):
    """Choose the next command among all candidates (§4.5)."""
    if channel.queued + channel.active == 0:
        channel.next = NEVER
        return
    best = np.int64(earliest_lane(channel.ready, channel.key, READ, np.int32(channel.clk + 1)))
    channel.next = best + ((channel.clk + 1) << KEY_BITS)


@small
def offer(channel, read, bank, command):
    """Make a read that was just sent a candidate, unless an older one of its bank wants the same."""
    key = queued_key(read, bank, command)
    offer_candidate(channel.key, command, bank, key)
    clk = max(channel.ready[command, bank], channel.clk + 1)
    channel.next = min(channel.next, clk << KEY_BITS | key)


@kernel
def step(cfg, channel, limit, bins):
    """Run ticks up to the next command, at most to clock `limit` (> clk)."""
    when = channel.next >> KEY_BITS
    if when > limit:
        run_to(channel, limit)
        return
    run_to(channel, when)
    key = channel.next & ((1 << KEY_BITS) - 1)
    command, bank, rank = key & ((1 << COMMAND_BITS) - 1), key >> COMMAND_BITS & BANK_MASK, key >> RANK_SHIFT
    if command == PRE:
        precharge(cfg, channel, rank & (QUEUED - 1), bank)
    elif command == ACT:
        activate(cfg, channel, rank & (QUEUED - 1), bank)
    elif rank < QUEUED:
        read_active(cfg, channel, np.int64(channel.active_read[rank]), bank, bins)
    else:
        read_hit(cfg, channel, rank & (QUEUED - 1), bank, bins)
    choose(channel)


@small
def admit(channel, place, first, rest):
    """Append a read to the queue of its channel, which has room."""
    read, bank, row = channel.sent, place & BANK_MASK, place >> PLACE_ROW
    channel.sent += 1
    channel.queued += 1
    if channel.burst_clk != channel.clk:
        channel.burst_clk = channel.clk
        channel.burst = read
    channel.row[read], channel.later[read] = row, NONE
    channel.taken[read] = channel.begun[read] = channel.acts[read] = 0
    channel.arrived[read] = channel.burst
    channel.first[read], channel.rest[read] = first, rest
    if channel.tail[bank] == NONE:
        channel.head[bank] = read
    else:
        channel.later[channel.tail[bank]] = read
    channel.tail[bank] = read
    if channel.open_row[bank] == NONE:
        offer(channel, read, bank, ACT)
    elif channel.open_row[bank] != row:
        offer(channel, read, bank, PRE)
    elif channel.hit[bank] == NONE:
        channel.hit[bank] = read
        offer(channel, read, bank, COLUMN)


# --- lists --------------------------------------------------------------------------------------


@kernel
def begin_channel(channel):
    """Make a channel idle at clock 0, with every bank closed."""
    channel.next = NEVER
    channel.clk = channel.sent = channel.queued = channel.active = channel.active_banks = 0
    channel.last_return = channel.quiescent_at = channel.latency_max = 0
    channel.burst_clk = NONE
    channel.count[:] = 0
    channel.recent_count[:] = 0
    channel.ready[:] = 0
    channel.key[:] = EMPTY
    channel.open_row[:] = NONE
    channel.head[:] = NONE
    channel.tail[:] = NONE
    channel.hit[:] = NONE


@kernel
def send_reads(cfg, channels, place, n, aligned, bins):
    """Send `n` reads to their channels, as `front_end.send_reads` does.

    `place` is int64[>= n], with a row's number in its bank in place of the row.
    """
    clk = np.int64(0)
    clock = clk if aligned else clk - 1
    tick_follows, refused, yielded = aligned, False, 0
    for i in range(n):
        channel = channels[channel_of(place[i])]
        while channel.clk < clk:
            step(cfg, channel, clk, bins)
        first = clock
        if channel.queued > cfg.queue_capacity[READ]:
            while channel.queued > cfg.queue_capacity[READ]:
                step(cfg, channel, NEVER, bins)
            ticks = channel.clk - clk
            channel.count[REJECTED_SENDS] += ticks
            clk += ticks
            clock += ticks
            refused = True
            yielded = 0
        admit(channel, place[i], first, clock)
        yielded += refused and cfg.lockstep_channels > 1
        if tick_follows and yielded == 2:
            clk += 1
            tick_follows = False


@kernel
def finish_reads(cfg, channels, bins):
    """Run every channel until its reads have returned.

    Returns the tick of the last return.
    """
    last = 0
    for number in range(cfg.channels):
        channel = channels[number]
        while channel.queued + channel.active > 0:
            step(cfg, channel, NEVER, bins)
        run_to(channel, max(channel.last_return, channel.clk))
        last = max(last, channel.last_return)
    return last
