"""Run one DRAM channel: queues, the FR-FCFS choice of the next command, timing registers (spec §4.3-§4.7).

`step` carries a channel to its next command and skips the ticks in which nothing can change (§4.11). Reads return
without a queue: one leaves a tick in the order of insertion, so the tick of a return is known when it is inserted.
"""

import numpy as np

from ..compiler.jit import kernel, small
from ..limits import NEVER
from .bank_lanes import earliest_lane, raise_lanes
from .state import (
    ACT,
    AGES,
    BANK_MASK,
    BANKS,
    BUSY,
    COLUMN,
    EMPTY,
    EPOCH_LENGTH,
    FIRST_COMMANDS,
    FORWARDED,
    FORWARDED_READS,
    KEY_BITS,
    LATENCY_SUM,
    LINEAR,
    LOG_MASK,
    NO_SLOT,
    NONE,
    OCTAVE,
    OCTAVES,
    PLACE_ROW,
    PRE,
    PREA,
    QUEUED,
    RANK_COMMANDS,
    RD,
    READ,
    REF,
    REFRESHES,
    REJECTED,
    REJECTED_SENDS,
    REQ_ADDRESS,
    REQ_ARRIVE,
    REQ_BANK,
    REQ_COMMAND,
    REQ_FIRST,
    REQ_REST,
    REQ_ROW,
    REQ_TAG,
    REQ_WIDTH,
    SLOT_BITS,
    SLOT_MASK,
    SLOTS,
    WIN_BANKS,
    WIN_CLOCKS,
    WIN_FOLLOWING,
    WIN_LENGTH,
    WIN_PRECEDING,
    WINDOW,
    WINDOWED,
    WRITE,
)

# Where the next command of a channel comes from.
FROM_ACTIVE, FROM_QUEUE, FROM_REFRESH = range(3)
POSITION_BITS = 8  # of a bank in the order of active requests

# --- timing registers ---------------------------------------------------------------------------


@small
def window_start(channel, row, node, window):
    """Note a command of a node, and find the start of the window that ends with it.

    Returns the clock of the node's `window`-th last command, the present one included, NONE if there were fewer.
    """
    count = channel.recent_count[row, node]
    channel.recent[row, node, count & (WINDOW - 1)] = channel.clk
    channel.recent_count[row, node] = count + 1
    if count + 1 < window:
        return NONE
    return channel.recent[row, node, (count + 1 - window) & (WINDOW - 1)]


@kernel
def record_window(cfg, channel, row, bank):
    """Update the registers after a command that rule `row` over a window counts."""
    rule = cfg.window[row]
    first = bank & -rule[WIN_BANKS]
    start = window_start(channel, row, first, rule[WIN_LENGTH])
    since, following = start + rule[WIN_CLOCKS], rule[WIN_FOLLOWING]
    if start == NONE or since <= channel.clk:
        return
    if following >= PREA:
        for rank in range(first >> cfg.rank_bits, ((first + rule[WIN_BANKS] - 1) >> cfg.rank_bits) + 1):
            channel.rank_ready[following - PREA, rank] = max(channel.rank_ready[following - PREA, rank], since)
        return
    now = np.int32(since - channel.epoch)
    for lane in range(first, first + rule[WIN_BANKS]):
        channel.ready[following, lane] = max(channel.ready[following, lane], now)


@kernel
def record_rank(cfg, channel, command, rank):
    """Raise the clocks from which PREA and REF are allowed, after `command` on a bank of a rank."""
    for following in range(RANK_COMMANDS):
        for other in range(cfg.ranks):
            since = channel.clk + cfg.channel_by[command, following]
            channel.rank_ready[following, other] = max(channel.rank_ready[following, other], since)
        since = channel.clk + cfg.rank_by[command, following]
        channel.rank_ready[following, rank] = max(channel.rank_ready[following, rank], since)


@small
def record(cfg, channel, command, bank):
    """Update the timing registers after `command` at the channel's clock (§4.6).

    `bank` is the command's bank, or the first one of its rank where it addresses a rank.
    """
    now = np.int32(channel.clk - channel.epoch)
    channel.quiescent_at = max(channel.quiescent_at, channel.clk + cfg.longest[command])
    for row in range(cfg.raise_at[command], cfg.raise_at[command + 1]):
        raise_lanes(channel.ready, cfg.raised[row], now, cfg.raise_by, row, bank)
    for row in range(WINDOWED):
        if cfg.window[row, WIN_BANKS] > 0 and cfg.window[row, WIN_PRECEDING] == command:
            record_window(cfg, channel, row, bank)
    if cfg.t_refi > 0:
        record_rank(cfg, channel, command, bank >> cfg.rank_bits)


@kernel
def rebase(channel):
    """Count the int32 lanes from the present clock; what lies in the past stays in the past."""
    shift = channel.clk - channel.epoch
    for command in range(RD + 2):
        for lane in range(BANKS):
            channel.ready[command, lane] = max(channel.ready[command, lane] - shift, 0)
    channel.epoch = channel.clk


# --- queues and candidates ----------------------------------------------------------------------


@small
def key_of(channel, queue, slot):
    """Look up the candidate key of the request in `slot`; EMPTY for NO_SLOT."""
    return channel.slot_key[queue, slot] if slot != NO_SLOT else np.int32(EMPTY)


@small
def first_hit(channel, queue, start, row):
    """Find the first request from slot `start` on that wants the row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and channel.request[queue, slot, REQ_ROW] != row:
        slot = np.int64(channel.next[queue, slot])
    return slot


@small
def first_miss(channel, queue, start, row):
    """Find the first request from slot `start` on that wants another row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and channel.request[queue, slot, REQ_ROW] == row:
        slot = np.int64(channel.next[queue, slot])
    return slot


@small
def find_candidates(channel, bank):
    """Find the candidates of a bank that was just opened or closed."""
    row = channel.open_row[bank]
    for queue in range(2):
        if channel.queued[queue] == 0:
            channel.key[queue, ACT, bank] = channel.key[queue, PRE, bank] = channel.key[queue, COLUMN, bank] = EMPTY
            continue
        head = np.int64(channel.head[queue, bank])
        is_open = row != NONE
        channel.key[queue, ACT, bank] = key_of(channel, queue, NO_SLOT if is_open else head)
        miss = first_miss(channel, queue, head, row) if is_open else NO_SLOT
        hit = first_hit(channel, queue, head, row) if is_open else NO_SLOT
        channel.key[queue, PRE, bank] = key_of(channel, queue, miss)
        channel.key[queue, COLUMN, bank] = key_of(channel, queue, hit)


@kernel
def renumber(channel, queue):
    """Give the queue's requests the ages 0, 1, 2, ... in their order."""
    last = NONE
    for age in range(channel.queued[queue]):
        oldest = np.int64(EMPTY)
        for slot in range(SLOTS):
            key = np.int64(channel.slot_key[queue, slot])
            if last < key < oldest:
                oldest = key
        last = oldest
        channel.slot_key[queue, oldest & SLOT_MASK] = age << SLOT_BITS | oldest & SLOT_MASK
    for bank in range(BANKS):
        find_candidates(channel, bank)
    channel.age[queue] = channel.queued[queue]


@small
def push(channel, queue, place, address, first, rest, tag):
    """Append a request to a queue that has room."""
    if channel.queued[queue] == 0:
        channel.age[queue] = 0
    elif channel.age[queue] == AGES:
        renumber(channel, queue)
    bank, row = place & BANK_MASK, place >> PLACE_ROW
    slot = np.int64(channel.free[queue, channel.queued[queue]])
    key = np.int32(channel.age[queue] << SLOT_BITS | slot)
    channel.slot_key[queue, slot] = key
    channel.queued[queue] += 1
    channel.age[queue] += 1
    channel.fresh[queue] |= np.int64(1) << slot
    channel.request[queue, slot, REQ_ROW] = row
    channel.request[queue, slot, REQ_BANK] = bank
    channel.request[queue, slot, REQ_ARRIVE] = channel.clk
    channel.request[queue, slot, REQ_FIRST] = first
    channel.request[queue, slot, REQ_REST] = rest
    channel.request[queue, slot, REQ_TAG] = tag
    channel.request[queue, slot, REQ_ADDRESS] = address
    channel.request[queue, slot, REQ_COMMAND] = RD + queue
    channel.next[queue, slot] = NO_SLOT
    if channel.head[queue, bank] == NO_SLOT:
        channel.head[queue, bank] = slot
    else:
        channel.next[queue, channel.tail[queue, bank]] = slot
    channel.tail[queue, bank] = slot
    open_row = channel.open_row[bank]
    kind = ACT if open_row == NONE else (COLUMN if open_row == row else PRE)
    channel.key[queue, kind, bank] = min(channel.key[queue, kind, bank], key)


@small
def unlink(channel, queue, slot):
    """Remove a request from its queue."""
    bank = channel.request[queue, slot, REQ_BANK]
    successor = channel.next[queue, slot]
    at = channel.head[queue, bank]
    if at == slot:
        channel.head[queue, bank] = successor
    else:
        while channel.next[queue, at] != slot:
            at = channel.next[queue, at]
        channel.next[queue, at] = successor
        if successor == NO_SLOT:
            channel.tail[queue, bank] = at
    channel.slot_key[queue, slot] = EMPTY
    channel.queued[queue] -= 1
    channel.free[queue, channel.queued[queue]] = slot


@small
def writes_to(channel, bank, address):
    """Tell whether the write queue holds a write to exactly this address."""
    slot = channel.head[WRITE, bank]
    while slot != NO_SLOT:
        if channel.request[WRITE, slot, REQ_ADDRESS] == address:
            return True
        slot = channel.next[WRITE, slot]
    return False


# --- returns ------------------------------------------------------------------------------------


@small
def latency_bin(clocks):
    """Find the bin of a read latency: one clock wide up to LINEAR, then OCTAVE bins for each doubling."""
    octave = 0
    while clocks >= LINEAR and octave < OCTAVES:
        clocks >>= 1
        octave += 1
    return min(clocks, LINEAR - 1) + OCTAVE * octave


@small
def insert_return(cfg, channel, departure, first, rest):
    """Put a read into the return queue: sets `last_return`, the tick in which its data leaves."""
    channel.last_return = max(departure, channel.last_return + 1)
    latency, others = channel.last_return - 1 - first, channel.last_return - 1 - rest
    channel.count[LATENCY_SUM] += latency + (cfg.lockstep_channels - 1) * others
    channel.latency_max = max(channel.latency_max, latency)
    channel.latency_bins[latency_bin(latency)] += 1
    channel.latency_bins[latency_bin(others)] += cfg.lockstep_channels - 1


@small
def send(cfg, channel, queue, place, address, first, rest, tag):
    """Offer a request between two ticks (§4.3).

    `address` is the request's byte address; `first` the clock (instant / tCK) of its first attempt, `rest` that of the
    other lockstep channels' requests; `tag` is what `step` returns when its data is on the way.

    Returns REJECTED, QUEUED, or FORWARDED with its return inserted.
    """
    if queue == READ and channel.queued[WRITE] > 0 and writes_to(channel, place & BANK_MASK, address):
        insert_return(cfg, channel, channel.clk + 1, first, rest)
        channel.count[FORWARDED_READS] += 1
        return FORWARDED
    if channel.queued[queue] > cfg.queue_capacity[queue]:
        channel.count[REJECTED_SENDS] += 1
        return REJECTED
    push(channel, queue, place, address, first, rest, tag)
    channel.reads_left += 1 - queue
    return QUEUED


# --- choice -------------------------------------------------------------------------------------


@small
def best_active(channel, now):
    """Choose the active request to serve next: the one ready first from clock `now` on, then the oldest (§4.5 a).

    Returns clocks to wait << POSITION_BITS | position in their order.
    """
    best = NEVER
    for at in range(channel.active):
        bank = np.int64(channel.active_order[at])
        ready = np.int64(channel.ready[channel.active_request[bank, REQ_COMMAND], bank])
        best = min(best, max(ready - now, 0) << POSITION_BITS | at)
        if ready <= now:
            break
    return best


@small
def update_mode(cfg, channel):
    """Begin or end write mode, with its hysteresis (§4.5 c)."""
    reads, writes = channel.queued[READ], channel.queued[WRITE]
    if channel.write_mode == 0:
        if writes >= cfg.high_watermark or reads == 0:
            channel.write_mode = 1
    elif writes <= cfg.low_watermark and reads > 0:
        channel.write_mode = 0


# --- issue --------------------------------------------------------------------------------------


@small
def run_to(channel, clk):
    """Let ticks pass in which no command is issued but, possibly, in the last."""
    if channel.queued[READ] + channel.queued[WRITE] + channel.active > 0:
        channel.count[BUSY] += clk - channel.clk
    else:
        channel.count[BUSY] += max(min(channel.last_return, clk) - channel.clk, 0)
    channel.clk = clk
    if clk - channel.epoch > EPOCH_LENGTH:
        rebase(channel)


@small
def open_bank(channel, queue, slot, bank):
    """Open a bank after ACT for a queued request, which has left its queue and becomes the bank's active request."""
    channel.open_row[bank] = channel.request[queue, slot, REQ_ROW]
    channel.active_banks |= np.int64(1) << bank
    for column in range(REQ_WIDTH):
        channel.active_request[bank, column] = channel.request[queue, slot, column]
    at, arrive = channel.active, channel.request[queue, slot, REQ_ARRIVE]
    while at > 0 and channel.active_request[channel.active_order[at - 1], REQ_ARRIVE] > arrive:
        channel.active_order[at] = channel.active_order[at - 1]
        at -= 1
    channel.active_order[at] = bank
    channel.active += 1


@small
def end_active(channel, at, bank):
    """Remove the active request at a position, after its RD or WR."""
    channel.active_banks &= ~(np.int64(1) << bank)
    channel.active -= 1
    for later in range(at, channel.active):
        channel.active_order[later] = channel.active_order[later + 1]


@small
def wanted(channel, queue, slot, bank):
    """Find what a queued request wants: ACT, PRE or COLUMN."""
    row = channel.open_row[bank]
    if row == NONE:
        return ACT
    return COLUMN if row == channel.request[queue, slot, REQ_ROW] else PRE


@small
def serve_queued(cfg, channel, queue, slot, kind, bank):
    """Update queue and bank after the command that a queued request wanted."""
    bit = np.int64(1) << slot
    if channel.fresh[queue] & bit != 0:
        channel.fresh[queue] &= ~bit
        channel.count[FIRST_COMMANDS + kind] += 1
        if queue == WRITE and channel.request[queue, slot, REQ_TAG] != channel.owner:
            # At most those that were queued when the owner changed; a trace has no owners, and nobody reads its log.
            channel.write_log[channel.write_logged & LOG_MASK] = channel.request[queue, slot, REQ_TAG] << 2 | kind
            channel.write_logged += 1
    if kind == COLUMN:
        successor, row = channel.next[queue, slot], channel.request[queue, slot, REQ_ROW]
        unlink(channel, queue, slot)
        channel.key[queue, COLUMN, bank] = key_of(channel, queue, first_hit(channel, queue, successor, row))
        return
    if kind == ACT:
        unlink(channel, queue, slot)
        open_bank(channel, queue, slot, bank)
        channel.open_banks[bank >> cfg.rank_bits] += 1
    else:
        channel.open_row[bank] = NONE
        channel.open_banks[bank >> cfg.rank_bits] -= 1
    find_candidates(channel, bank)


@kernel
def serve_refresh(cfg, channel, command):
    """Update the rank whose turn it is after PREA or REF."""
    rank = channel.refresh_rank
    if command == REF:
        channel.count[REFRESHES] += 1
        channel.refresh_due -= 1
        channel.refresh_rank = 0 if rank + 1 == cfg.ranks else rank + 1
        return
    channel.open_banks[rank] = 0
    for bank in range(rank << cfg.rank_bits, (rank + 1) << cfg.rank_bits):
        channel.open_row[bank] = NONE
        find_candidates(channel, bank)


@small
def next_refresh_command(cfg, channel, clk):
    """Find what the first refresh request waits for (§4.7).

    Returns (clock, command); the clock is NEVER while active requests hold the refresh up.
    """
    rank = channel.refresh_rank
    if channel.open_banks[rank] == 0:
        return max(channel.rank_ready[REF - PREA, rank], clk), REF
    banks = (np.int64(1) << (np.int64(1) << cfg.rank_bits)) - 1
    if channel.active_banks & banks << (rank << cfg.rank_bits) != 0:
        return NEVER, PREA
    return max(channel.rank_ready[PREA - PREA, rank], clk), PREA


# --- ticks --------------------------------------------------------------------------------------


@small
def end_column(cfg, channel, command, first, rest, tag):
    """Finish a request after its RD or WR; a read's return is inserted.

    Returns the tag of a read, NONE for a write.
    """
    if command != RD:
        return NONE
    channel.reads_left -= 1
    insert_return(cfg, channel, channel.clk + cfg.read_latency, first, rest)
    return tag


@small
def step_active(cfg, channel, at):
    """Issue RD or WR of the active request at a position.

    Returns the tag of a read, or NONE.
    """
    bank = np.int64(channel.active_order[at])
    command = channel.active_request[bank, REQ_COMMAND]
    record(cfg, channel, command, bank)
    end_active(channel, at, bank)
    first, rest = channel.active_request[bank, REQ_FIRST], channel.active_request[bank, REQ_REST]
    return end_column(cfg, channel, command, first, rest, channel.active_request[bank, REQ_TAG])


@small
def step_queued(cfg, channel, queue, slot):
    """Issue what a queued request wants.

    Returns the tag of a read whose RD it was, or NONE.
    """
    bank = channel.request[queue, slot, REQ_BANK]
    kind = wanted(channel, queue, slot, bank)
    if kind == PRE and channel.active_banks >> bank & 1 == 1:
        return NONE  # §4.5 d: the tick is lost
    record(cfg, channel, RD + queue if kind == COLUMN else kind, bank)
    serve_queued(cfg, channel, queue, slot, kind, bank)
    if kind != COLUMN:
        return NONE
    first, rest = channel.request[queue, slot, REQ_FIRST], channel.request[queue, slot, REQ_REST]
    return end_column(cfg, channel, RD + queue, first, rest, channel.request[queue, slot, REQ_TAG])


@kernel
def skip_idle_refreshes(cfg, channel, limit):
    """Pass over refresh intervals of a channel that has nothing to do, in closed form (§4.7, §4.11).

    Once every row is closed and nothing is held back, all intervals are alike: each rank refreshes as soon as it is
    due. The last two before clock `limit` are left to be simulated; what they enter in the registers is later than
    all that those passed over would have entered.
    """
    waiting = channel.queued[READ] + channel.queued[WRITE] + channel.active + channel.refresh_due
    if waiting > 0 or channel.write_mode == 0 or channel.last_return > channel.clk:
        return
    for rank in range(cfg.ranks):
        if channel.open_banks[rank] > 0:
            return
    intervals = (limit - channel.next_refresh) // cfg.t_refi - 1
    if intervals > 0 and channel.quiescent_at <= channel.next_refresh:
        channel.count[REFRESHES] += intervals * cfg.ranks
        channel.next_refresh += intervals * cfg.t_refi
        run_to(channel, channel.clk + intervals * cfg.t_refi)


@kernel
def step(cfg, channel, limit):
    """Run ticks up to the next command, at most to clock `limit` (> clk).

    While a refresh waits, only ready active requests and the refresh itself are served (§4.5 a, b); write mode is
    looked at only where §4.5 c is reached.

    Returns the tag of the read whose RD it was, or NONE. After a tag, `last_return` is the tick in which that read's
    data leaves.
    """
    if cfg.t_refi > 0 and channel.reads_left == 0 and limit - channel.next_refresh >= 2 * cfg.t_refi:
        skip_idle_refreshes(cfg, channel, limit)
    clk = channel.clk + 1
    if cfg.t_refi > 0:
        if clk == channel.next_refresh:
            channel.refresh_due += cfg.ranks
            channel.next_refresh += cfg.t_refi
        limit = min(limit, channel.next_refresh - 1)
    source, index, when = FROM_ACTIVE, NONE, NEVER
    now = np.int32(clk - channel.epoch)
    if channel.active > 0:
        best = best_active(channel, now)
        when, index = clk + (best >> POSITION_BITS), best & ((1 << POSITION_BITS) - 1)
    if channel.refresh_due > 0:
        due, command = next_refresh_command(cfg, channel, clk)
        if due < when:
            when, source, index = due, FROM_REFRESH, command
    elif when > clk:
        update_mode(cfg, channel)
        if channel.queued[channel.write_mode] > 0:
            best = np.int64(earliest_lane(channel.ready, channel.key, channel.write_mode, now))
            if clk + (best >> KEY_BITS) < when:
                when, source, index = clk + (best >> KEY_BITS), FROM_QUEUE, best & SLOT_MASK
    late = when > limit
    run_to(channel, limit if late else when)
    if late:
        return NONE
    if source == FROM_QUEUE:
        return step_queued(cfg, channel, channel.write_mode, index)
    if source == FROM_REFRESH:
        record(cfg, channel, index, channel.refresh_rank << cfg.rank_bits)
        serve_refresh(cfg, channel, index)
        return NONE
    return step_active(cfg, channel, index)


# --- bringing channels up to a clock ------------------------------------------------------------


@kernel
def catch_up(state, clk):
    """Run the ticks up to `clk` that channels still owe (spec §4.9); no read may be under way.

    Channels lag until a request reaches them, so this only does earlier what would be done anyway.
    """
    cfg = state.config[0]
    for number in range(cfg.channels):
        channel = state.channels[number]
        while channel.clk < clk:
            step(cfg, channel, clk)
