"""Time a list of reads on an idle memory: what `front_end` and `channel` do, for the case that most prefetches are.

An idle channel has no writes, nothing is held back, and time counts from the start of the list. So a channel is little
here: its banks, its queue of reads, and the clocks from which commands are allowed. The memory itself is neither read
nor changed: what comes out is a *value* for the memo (`memo`), of any memory that shows the same pattern (`pattern`).

Reads of a channel are numbered in the order in which they are sent, which is the order of their ages (§4.5):

- a bank's reads form a list by number; those that have left the queue stay in it and are passed over (R_TAKEN);
- a bank knows the oldest queued read of each kind (`oldest`): the one to open it for, the first row hit, the first one
  that wants another row. It follows from the one before wherever a command or a new read changes it;
- a queued read has its number as *rank*, with `QUEUED` set; a smaller rank is an active read's, which orders by the
  clock of its arrival, then by its ACT (§4.5). A bank's active read hides its queued row hits, which are allowed from
  the same clock on and come later in any case;
- a candidate's key is its rank, then the command it wants, so that the search for the next command also tells what to
  do.

Lanes hold clocks since `origin`, which follows the present clock where that runs away.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .channel import latency_bin, window_start
from .front_end import channel_of
from .pattern import WIDEST
from .read_lanes import EMPTY, LATER, WAIT_SHIFT, first_allowed, hold_lanes, issue, offer, oldest_allowed
from .state import (
    ACT,
    BANK_MASK,
    BANKS,
    BUSY,
    COLUMN,
    COUNTS,
    FIRST_COMMANDS,
    KINDS,
    LATENCY_SUM,
    NONE,
    PLACE_ROW,
    PRE,
    RD,
    READ,
    REJECTED_SENDS,
    WIN_BANKS,
    WIN_CLOCKS,
    WIN_FOLLOWING,
    WIN_LENGTH,
    WIN_PRECEDING,
    WINDOW,
    WINDOWED,
    whole_lines,
)

QUEUED = WIDEST  # in the rank of a queued read
COMMAND_BITS = 2  # of a key, below the rank
KEY_BITS = 16  # of the next command, below its clock
LONGEST_SPAN = 1 << 14  # clocks that the present clock may be ahead of `origin`; a rule adds less than 1 << 15

# Columns of a read. A rank of an active read is the number of the first read sent at the same clock (R_ARRIVED), and
# how many of those had been activated by then (R_ACTS); the read of that rank is R_ACTIVE of the read of that number.
R_ROW, R_BANK, R_LATER, R_TAKEN, R_BEGUN, R_ARRIVED, R_FIRST, R_REST, R_ACTS, R_ACTIVE, R_DONE = range(11)
R_WIDTH = 12

_u2, _i2, _i4, _i8 = np.uint16, np.int16, np.int32, np.int64

IDLE = whole_lines(
    [
        ("ready", _u2, (KINDS, BANKS)),  # clock since `origin` from which the command is allowed
        ("key", _u2, (KINDS, BANKS)),
        ("clk", _i8),  # ticks since the list began
        ("origin", _i8),
        ("next", _i8),  # clock and key of the next command, of all candidates that there are now; NEVER without any
        ("sent", _i8),  # reads sent so far
        ("queued", _i8),
        ("active", _i8),
        ("active_banks", _i8),  # bit of a bank
        ("last_return", _i8),
        ("latency_max", _i8),
        ("mixed_banks", _i8),  # bit of a bank: its reads want several rows
        ("quiescent_at", _i8),
        ("burst", _i8),  # first read that was sent at the clock of the latest
        ("burst_clk", _i8),
        ("count", _i8, (COUNTS,)),
        ("open_row", _i2, (BANKS,)),  # number of the row in its bank, NONE
        ("oldest", _i2, (KINDS, BANKS)),  # oldest queued read of a bank that wants the command, NONE without any
        ("tail", _i2, (BANKS,)),  # latest read of a bank, NONE without any
        ("recent", _i8, (WINDOWED, BANKS, WINDOW)),
        ("recent_count", _i8, (WINDOWED, BANKS)),
        ("read", _i4, (WIDEST, R_WIDTH)),
    ]
)


# --- commands -----------------------------------------------------------------------------------


@kernel
def hold_window(cfg, channel, rule, bank):
    """Note a command that a rule over a window counts, and hold back what the rule says."""
    following = cfg.window[rule, WIN_FOLLOWING]
    start = window_start(channel, rule, bank & -cfg.window[rule, WIN_BANKS], cfg.window[rule, WIN_LENGTH])
    since = start + cfg.window[rule, WIN_CLOCKS]
    if start != NONE and following <= RD and since > channel.clk + 1:
        hold_lanes(channel.ready, following, cfg.window_lanes, rule, bank, since - channel.origin)


@small
def choose_later(channel):
    """Choose the next command where none is allowed soon (§4.5)."""
    if channel.queued + channel.active == 0:
        channel.next = NEVER
        return
    at = max(first_allowed(channel.ready, channel.key), channel.clk + 1 - channel.origin)
    channel.next = (channel.origin + at) << KEY_BITS | oldest_allowed(channel.ready, channel.key, at)


@small
def queued_key(read, command):
    """Compute the key of a queued read; one of no candidate for NONE."""
    return (QUEUED | read) << COMMAND_BITS | command


@kernel
def find_next(channel, read):
    """Find the next queued reads of a bank behind `read`, where its reads want several rows.

    Returns (the first of the same row, the first of another row), NONE for none.
    """
    row, hit, miss = channel.read[read, R_ROW], NONE, NONE
    at = np.int64(channel.read[read, R_LATER])
    while at != NONE and (hit == NONE or miss == NONE):
        if channel.read[at, R_TAKEN] == 0:
            if channel.read[at, R_ROW] == row:
                hit = at if hit == NONE else hit
            else:
                miss = at if miss == NONE else miss
        at = np.int64(channel.read[at, R_LATER])
    return hit, miss


@small
def serve(cfg, channel, command, bank, act, pre, column):
    """Update clocks (§4.6) and candidates after a command for a bank, and choose the next one (§4.5).

    `act`, `pre` and `column` are the bank's oldest queued reads of each kind from now on, or a key for `column`.
    """
    channel.oldest[ACT, bank], channel.oldest[PRE, bank] = act, pre
    channel.quiescent_at = max(channel.quiescent_at, channel.clk + cfg.longest[command])
    for rule in range(WINDOWED):
        if cfg.window[rule, WIN_BANKS] > 0 and cfg.window[rule, WIN_PRECEDING] == command:
            hold_window(cfg, channel, np.int64(rule), bank)
    best = issue(channel.ready, channel.key, channel.clk - channel.origin, cfg.read_raise_by, cfg.lane, command, bank,
                 queued_key(act, ACT), queued_key(pre, PRE), column)
    if best < LATER << WAIT_SHIFT:
        channel.next = (channel.clk + 1 + (best >> WAIT_SHIFT)) << KEY_BITS | best & ((1 << WAIT_SHIFT) - 1)
    else:
        choose_later(channel)


@small
def begin_read(channel, read, kind):
    """Count the first command issued for a read."""
    channel.count[FIRST_COMMANDS + kind] += 1 - channel.read[read, R_BEGUN]
    channel.read[read, R_BEGUN] = 1


@small
def activate(cfg, channel, read, bank):
    """Issue ACT for the oldest read of a closed bank, which becomes its active read."""
    begin_read(channel, read, ACT)
    hit, miss = np.int64(channel.read[read, R_LATER]), NONE
    if channel.mixed_banks >> bank & 1 == 1:
        hit, miss = find_next(channel, read)
    arrived = np.int64(channel.read[read, R_ARRIVED])
    rank = arrived + channel.read[arrived, R_ACTS]
    channel.read[arrived, R_ACTS] += 1
    channel.read[rank, R_ACTIVE] = read
    channel.read[read, R_TAKEN] = 1
    channel.open_row[bank] = channel.read[read, R_ROW]
    channel.oldest[COLUMN, bank] = hit
    channel.active_banks |= np.int64(1) << bank
    channel.active += 1
    channel.queued -= 1
    serve(cfg, channel, ACT, bank, NONE, miss, rank << COMMAND_BITS | COLUMN)


@small
def precharge(cfg, channel, read, bank):
    """Issue PRE for a read that wants another row; the tick is lost while the bank has an active read (§4.5 d)."""
    if channel.active_banks >> bank & 1 == 1:
        choose_later(channel)
        return
    begin_read(channel, read, PRE)
    hit = np.int64(channel.oldest[COLUMN, bank])
    channel.open_row[bank] = NONE
    channel.oldest[COLUMN, bank] = NONE
    serve(cfg, channel, PRE, bank, read if hit == NONE else min(hit, read), NONE, queued_key(NONE, COLUMN))


@small
def read_queued(channel, read, bank):
    """Take a queued read of the open row out of the queue."""
    begin_read(channel, read, COLUMN)
    hit = np.int64(channel.read[read, R_LATER])
    if channel.mixed_banks >> bank & 1 == 1:
        row = channel.read[read, R_ROW]
        while hit != NONE and channel.read[hit, R_ROW] != row:
            hit = np.int64(channel.read[hit, R_LATER])
    channel.read[read, R_TAKEN] = 1
    channel.oldest[COLUMN, bank] = hit
    channel.queued -= 1


@small
def read_active(channel, bank):
    """End the active read of a bank."""
    channel.active_banks &= ~(np.int64(1) << bank)
    channel.active -= 1


# --- ticks --------------------------------------------------------------------------------------


@kernel
def move_origin(channel):
    """Count the lanes from the present clock; what lies in the past stays in the past."""
    shift = channel.clk - channel.origin
    for command in range(KINDS):
        for lane in range(BANKS):
            channel.ready[command, lane] = max(np.int64(channel.ready[command, lane]) - shift, 0)
    channel.origin = channel.clk


@small
def run_to(channel, clk):
    """Let ticks pass in which no command is issued but, possibly, in the last."""
    if channel.queued + channel.active > 0:
        channel.count[BUSY] += clk - channel.clk
    else:
        channel.count[BUSY] += max(min(channel.last_return, clk) - channel.clk, 0)
    channel.clk = clk
    if clk - channel.origin > LONGEST_SPAN:
        move_origin(channel)


@small
def offer_read(cfg, channel, read, bank, command):
    """Make a read that was just sent a candidate, unless an older one of its bank wants the same."""
    if channel.oldest[command, bank] != NONE:
        return
    channel.oldest[command, bank] = read
    if command == COLUMN and channel.active_banks >> bank & 1 == 1:
        return
    key = queued_key(read, command)
    offer(channel.key, cfg.lane, command, bank, key)
    clk = max(channel.origin + channel.ready[command, bank], channel.clk + 1)
    channel.next = min(channel.next, clk << KEY_BITS | key)


@kernel
def step(cfg, channel, limit):
    """Run ticks up to the next command, at most to clock `limit` (> clk)."""
    when = channel.next >> KEY_BITS
    if when > limit:
        run_to(channel, limit)
        return
    run_to(channel, when)
    command = channel.next & ((1 << COMMAND_BITS) - 1)
    rank = channel.next >> COMMAND_BITS & (2 * QUEUED - 1)
    read = rank & (QUEUED - 1) if rank >= QUEUED else np.int64(channel.read[rank, R_ACTIVE])
    bank = np.int64(channel.read[read, R_BANK])
    if command == PRE:
        precharge(cfg, channel, read, bank)
    elif command == ACT:
        activate(cfg, channel, read, bank)
    else:
        channel.read[read, R_DONE] = channel.clk
        channel.last_return = channel.clk + cfg.read_latency
        if rank >= QUEUED:
            read_queued(channel, read, bank)
        else:
            read_active(channel, bank)
        hit, miss = np.int64(channel.oldest[COLUMN, bank]), np.int64(channel.oldest[PRE, bank])
        serve(cfg, channel, RD, bank, NONE, miss, queued_key(hit, COLUMN))


@small
def admit(cfg, channel, place, first, rest):
    """Append a read to the queue of its channel, which has room."""
    read, bank, row = channel.sent, place & BANK_MASK, place >> PLACE_ROW
    channel.sent += 1
    channel.queued += 1
    if channel.burst_clk != channel.clk:
        channel.burst_clk = channel.clk
        channel.burst = read
    channel.read[read, R_ROW], channel.read[read, R_BANK], channel.read[read, R_LATER] = row, bank, NONE
    channel.read[read, R_TAKEN] = channel.read[read, R_BEGUN] = channel.read[read, R_ACTS] = 0
    channel.read[read, R_ARRIVED] = channel.burst
    channel.read[read, R_FIRST], channel.read[read, R_REST] = first, rest
    tail = np.int64(channel.tail[bank])
    if tail != NONE:
        channel.read[tail, R_LATER] = read
        channel.mixed_banks |= np.int64(channel.read[tail, R_ROW] != row) << bank
    channel.tail[bank] = read
    opened = channel.open_row[bank]
    offer_read(cfg, channel, read, bank, ACT if opened == NONE else (COLUMN if opened == row else PRE))


# --- lists --------------------------------------------------------------------------------------


@kernel
def begin_channel(channel):
    """Make a channel idle at clock 0, with every bank closed."""
    channel.next = NEVER
    channel.clk = channel.origin = channel.sent = channel.queued = channel.active = channel.active_banks = 0
    channel.last_return = channel.quiescent_at = channel.mixed_banks = 0
    channel.burst_clk = NONE
    channel.count[:] = 0
    channel.recent_count[:] = 0
    channel.ready[:] = 0
    channel.key[:] = EMPTY
    channel.open_row[:] = NONE
    channel.oldest[:] = NONE
    channel.tail[:] = NONE


@kernel
def send_reads(cfg, channels, place, n, aligned):
    """Send `n` reads to their channels, as `front_end.send_reads` does.

    `place` is int64[>= n], with a row's number in its bank in place of the row.
    """
    clk = np.int64(0)
    clock = clk if aligned else clk - 1
    tick_follows, refused, yielded = aligned, False, 0
    for i in range(n):
        channel = channels[channel_of(place[i])]
        while channel.clk < clk:
            step(cfg, channel, clk)
        first = clock
        if channel.queued > cfg.queue_capacity[READ]:
            while channel.queued > cfg.queue_capacity[READ]:
                step(cfg, channel, NEVER)
            ticks = channel.clk - clk
            channel.count[REJECTED_SENDS] += ticks
            clk += ticks
            clock += ticks
            refused = True
            yielded = 0
        admit(cfg, channel, place[i], first, clock)
        yielded += refused and cfg.lockstep_channels > 1
        if tick_follows and yielded == 2:
            clk += 1
            tick_follows = False


@kernel
def count_latencies(cfg, channel, bins):
    """Count the latencies of all reads of a channel."""
    twins, longest, total = cfg.lockstep_channels - 1, np.int64(0), np.int64(0)
    for read in range(channel.sent):
        end = channel.read[read, R_DONE] + cfg.read_latency - 1
        latency, others = end - channel.read[read, R_FIRST], end - channel.read[read, R_REST]
        total += latency + twins * others
        longest = max(longest, latency)
        bins[latency_bin(latency)] += 1
        bins[latency_bin(others)] += twins
    channel.count[LATENCY_SUM] = total
    channel.latency_max = longest


@kernel
def finish_reads(cfg, channels, bins):
    """Run every channel until its reads have returned, and count their latencies in `bins`.

    Returns the tick of the last return.
    """
    last = 0
    for number in range(cfg.channels):
        channel = channels[number]
        while channel.queued + channel.active > 0:
            step(cfg, channel, NEVER)
        run_to(channel, max(channel.last_return, channel.clk))
        count_latencies(cfg, channel, bins)
        last = max(last, channel.last_return)
    return last
