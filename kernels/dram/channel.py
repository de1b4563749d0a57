"""One DRAM channel: queues, choice of the next command, timing registers (spec §4.3-§4.7).

`step` carries a channel to its next command and skips the ticks in which nothing can change (§4.11). Returns need
no queue: one leaves a tick in the order of insertion, so the tick of a return is known when it is inserted.
"""

import numpy as np

from ..compiler.jit import kernel, small
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
    WIN_AFTER,
    WIN_BANKS,
    WIN_BEFORE,
    WIN_CLOCKS,
    WIN_LENGTH,
    WINDOW,
    WINDOWED,
    WRITE,
)

# Where the next command of a channel comes from.
FROM_ACTIVE, FROM_QUEUE, FROM_REFRESH = range(3)
POSITION_BITS = 8  # of a bank in the order of active requests


from ..limits import NEVER

# --- timing registers ---------------------------------------------------------------------------


@small
def window_start(ch, row, node, window):
    """Clock of the node's `window`-th last command, the present one included; NONE if there were fewer."""
    count = ch.recent_count[row, node]
    ch.recent[row, node, count & (WINDOW - 1)] = ch.clk
    ch.recent_count[row, node] = count + 1
    if count + 1 < window:
        return NONE
    return ch.recent[row, node, (count + 1 - window) & (WINDOW - 1)]


@kernel
def record_window(cfg, ch, row, bank):
    """Registers after a command that rule `row` over a window counts."""
    rule = cfg.window[row]
    first = bank & -rule[WIN_BANKS]
    start = window_start(ch, row, first, rule[WIN_LENGTH])
    since, before = start + rule[WIN_CLOCKS], rule[WIN_BEFORE]
    if start == NONE or since <= ch.clk:
        return
    if before >= PREA:
        for rank in range(first >> cfg.rank_bits, ((first + rule[WIN_BANKS] - 1) >> cfg.rank_bits) + 1):
            ch.rank_ready[before - PREA, rank] = max(ch.rank_ready[before - PREA, rank], since)
        return
    now = np.int32(since - ch.epoch)
    for lane in range(first, first + rule[WIN_BANKS]):
        ch.ready[before, lane] = max(ch.ready[before, lane], now)


@kernel
def record_rank(cfg, ch, command, rank):
    """Clocks from which PREA and REF are allowed, after `command` on a bank of a rank."""
    for before in range(RANK_COMMANDS):
        for other in range(cfg.ranks):
            since = ch.clk + cfg.channel_by[command, before]
            ch.rank_ready[before, other] = max(ch.rank_ready[before, other], since)
        since = ch.clk + cfg.rank_by[command, before]
        ch.rank_ready[before, rank] = max(ch.rank_ready[before, rank], since)


@kernel
def record(cfg, ch, command, bank):
    """Registers after `command` at the channel's clock (§4.6); for a rank's command `bank` is its first."""
    now = np.int32(ch.clk - ch.epoch)
    ch.settled = max(ch.settled, ch.clk + cfg.longest[command])
    for row in range(cfg.raise_at[command], cfg.raise_at[command + 1]):
        raise_lanes(ch.ready, cfg.raised[row], now, cfg.raise_by, row, bank)
    for row in range(WINDOWED):
        if cfg.window[row, WIN_BANKS] > 0 and cfg.window[row, WIN_AFTER] == command:
            record_window(cfg, ch, row, bank)
    if cfg.interval > 0:
        record_rank(cfg, ch, command, bank >> cfg.rank_bits)


@kernel
def rebase(ch):
    """Count the int32 lanes from the present clock; what lies in the past stays in the past."""
    shift = ch.clk - ch.epoch
    for command in range(RD + 2):
        for lane in range(BANKS):
            ch.ready[command, lane] = max(ch.ready[command, lane] - shift, 0)
    ch.epoch = ch.clk


# --- queues and candidates ----------------------------------------------------------------------


@small
def key_of(ch, queue, slot):
    """Candidate key of the request in `slot`; EMPTY for NO_SLOT."""
    return ch.slot_key[queue, slot] if slot != NO_SLOT else np.int32(EMPTY)


@small
def first_hit(ch, queue, start, row):
    """First request from slot `start` on that wants the row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and ch.request[queue, slot, REQ_ROW] != row:
        slot = np.int64(ch.next[queue, slot])
    return slot


@small
def first_miss(ch, queue, start, row):
    """First request from slot `start` on that wants another row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and ch.request[queue, slot, REQ_ROW] == row:
        slot = np.int64(ch.next[queue, slot])
    return slot


@kernel
def find_candidates(ch, bank):
    """Candidates of a bank that was just opened or closed."""
    row = ch.open_row[bank]
    for queue in range(2):
        if ch.queued[queue] == 0:
            ch.key[queue, ACT, bank] = ch.key[queue, PRE, bank] = ch.key[queue, COLUMN, bank] = EMPTY
            continue
        head = np.int64(ch.head[queue, bank])
        is_open = row != NONE
        ch.key[queue, ACT, bank] = key_of(ch, queue, NO_SLOT if is_open else head)
        ch.key[queue, PRE, bank] = key_of(ch, queue, first_miss(ch, queue, head, row) if is_open else NO_SLOT)
        ch.key[queue, COLUMN, bank] = key_of(ch, queue, first_hit(ch, queue, head, row) if is_open else NO_SLOT)


@kernel
def renumber(ch, queue):
    """Give the queue's requests the ages 0, 1, 2, ... in their order."""
    last = NONE
    for age in range(ch.queued[queue]):
        oldest = np.int64(EMPTY)
        for slot in range(SLOTS):
            key = np.int64(ch.slot_key[queue, slot])
            if last < key < oldest:
                oldest = key
        last = oldest
        ch.slot_key[queue, oldest & SLOT_MASK] = age << SLOT_BITS | oldest & SLOT_MASK
    for bank in range(BANKS):
        find_candidates(ch, bank)
    ch.age[queue] = ch.queued[queue]


@small
def push(ch, queue, place, address, first, rest, tag):
    """Append a request to a queue that has room."""
    if ch.queued[queue] == 0:
        ch.age[queue] = 0
    elif ch.age[queue] == AGES:
        renumber(ch, queue)
    bank, row = place & BANK_MASK, place >> PLACE_ROW
    slot = np.int64(ch.free[queue, ch.queued[queue]])
    key = np.int32(ch.age[queue] << SLOT_BITS | slot)
    ch.slot_key[queue, slot] = key
    ch.queued[queue] += 1
    ch.age[queue] += 1
    ch.fresh[queue] |= np.int64(1) << slot
    ch.request[queue, slot, REQ_ROW] = row
    ch.request[queue, slot, REQ_BANK] = bank
    ch.request[queue, slot, REQ_ARRIVE] = ch.clk
    ch.request[queue, slot, REQ_FIRST] = first
    ch.request[queue, slot, REQ_REST] = rest
    ch.request[queue, slot, REQ_TAG] = tag
    ch.request[queue, slot, REQ_ADDRESS] = address
    ch.request[queue, slot, REQ_COMMAND] = RD + queue
    ch.next[queue, slot] = NO_SLOT
    if ch.head[queue, bank] == NO_SLOT:
        ch.head[queue, bank] = slot
    else:
        ch.next[queue, ch.tail[queue, bank]] = slot
    ch.tail[queue, bank] = slot
    open_row = ch.open_row[bank]
    kind = ACT if open_row == NONE else (COLUMN if open_row == row else PRE)
    ch.key[queue, kind, bank] = min(ch.key[queue, kind, bank], key)


@small
def unlink(ch, queue, slot):
    """Remove a request from its queue."""
    bank = ch.request[queue, slot, REQ_BANK]
    after = ch.next[queue, slot]
    at = ch.head[queue, bank]
    if at == slot:
        ch.head[queue, bank] = after
    else:
        while ch.next[queue, at] != slot:
            at = ch.next[queue, at]
        ch.next[queue, at] = after
        if after == NO_SLOT:
            ch.tail[queue, bank] = at
    ch.slot_key[queue, slot] = EMPTY
    ch.queued[queue] -= 1
    ch.free[queue, ch.queued[queue]] = slot


@small
def writes_to(ch, bank, address):
    """True when a write to exactly this transfer is in the write queue."""
    slot = ch.head[WRITE, bank]
    while slot != NO_SLOT:
        if ch.request[WRITE, slot, REQ_ADDRESS] == address:
            return True
        slot = ch.next[WRITE, slot]
    return False


# --- returns ------------------------------------------------------------------------------------


@small
def latency_bin(clocks):
    """Bin of a read latency: one clock wide up to LINEAR, then OCTAVE bins for each doubling."""
    octave = 0
    while clocks >= LINEAR and octave < OCTAVES:
        clocks >>= 1
        octave += 1
    return min(clocks, LINEAR - 1) + OCTAVE * octave


@small
def insert_return(cfg, ch, departure, first, rest):
    """Put a read into the return queue: sets `last_return`, the tick in which its data leaves."""
    ch.last_return = max(departure, ch.last_return + 1)
    latency, others = ch.last_return - 1 - first, ch.last_return - 1 - rest
    ch.count[LATENCY_SUM] += latency + (cfg.twins - 1) * others
    ch.latency_max = max(ch.latency_max, latency)
    ch.latency_bins[latency_bin(latency)] += 1
    ch.latency_bins[latency_bin(others)] += cfg.twins - 1


@kernel
def send(cfg, ch, queue, place, address, first, rest, tag):
    """Offer a request between two ticks (§4.3): REJECTED, QUEUED, or FORWARDED with its return inserted.

    `address` is the request's byte address, `first` the clock (instant / period) of its first attempt, `rest` that
    of its twins', `tag` what `step` returns when its data is on the way.
    """
    if queue == READ and ch.queued[WRITE] > 0 and writes_to(ch, place & BANK_MASK, address):
        insert_return(cfg, ch, ch.clk + 1, first, rest)
        ch.count[FORWARDED_READS] += 1
        return FORWARDED
    if ch.queued[queue] > cfg.limit[queue]:
        ch.count[REJECTED_SENDS] += 1
        return REJECTED
    push(ch, queue, place, address, first, rest, tag)
    ch.reads_left += 1 - queue
    return QUEUED


# --- choice -------------------------------------------------------------------------------------


@small
def best_active(ch, now):
    """Active request to serve next, at the first clock from `now` at which one is ready, then the oldest (§4.5 a).

    Returns clocks to wait << POSITION_BITS | position in their order.
    """
    best = NEVER
    for at in range(ch.active):
        bank = np.int64(ch.active_order[at])
        ready = np.int64(ch.ready[ch.active_request[bank, REQ_COMMAND], bank])
        best = min(best, max(ready - now, 0) << POSITION_BITS | at)
    return best


@small
def update_mode(cfg, ch):
    """Write mode with its hysteresis (§4.5 c)."""
    reads, writes = ch.queued[READ], ch.queued[WRITE]
    if ch.write_mode == 0:
        if writes >= cfg.enter or reads == 0:
            ch.write_mode = 1
    elif writes <= cfg.leave and reads > 0:
        ch.write_mode = 0


# --- issue --------------------------------------------------------------------------------------


@small
def run_to(ch, clk):
    """Let ticks pass in which no command is issued but, possibly, in the last."""
    if ch.queued[READ] + ch.queued[WRITE] + ch.active > 0:
        ch.count[BUSY] += clk - ch.clk
    else:
        ch.count[BUSY] += max(min(ch.last_return, clk) - ch.clk, 0)
    ch.clk = clk
    if clk - ch.epoch > EPOCH_LENGTH:
        rebase(ch)


@small
def open_bank(ch, queue, slot, bank):
    """After ACT for a queued request: it has left its queue and is the bank's active request."""
    ch.open_row[bank] = ch.request[queue, slot, REQ_ROW]
    ch.active_banks |= np.int64(1) << bank
    for column in range(REQ_WIDTH):
        ch.active_request[bank, column] = ch.request[queue, slot, column]
    at, arrive = ch.active, ch.request[queue, slot, REQ_ARRIVE]
    while at > 0 and ch.active_request[ch.active_order[at - 1], REQ_ARRIVE] > arrive:
        ch.active_order[at] = ch.active_order[at - 1]
        at -= 1
    ch.active_order[at] = bank
    ch.active += 1


@small
def end_active(ch, at, bank):
    """After RD or WR of the active request at a position."""
    ch.active_banks &= ~(np.int64(1) << bank)
    ch.active -= 1
    for later in range(at, ch.active):
        ch.active_order[later] = ch.active_order[later + 1]


@small
def wanted(ch, queue, slot, bank):
    """What a queued request wants: ACT, PRE or COLUMN."""
    row = ch.open_row[bank]
    if row == NONE:
        return ACT
    return COLUMN if row == ch.request[queue, slot, REQ_ROW] else PRE


@small
def serve_queued(cfg, ch, queue, slot, kind, bank):
    """After the command that a queued request wanted."""
    bit = np.int64(1) << slot
    if ch.fresh[queue] & bit != 0:
        ch.fresh[queue] &= ~bit
        ch.count[FIRST_COMMANDS + kind] += 1
    if kind == COLUMN:
        after, row = ch.next[queue, slot], ch.request[queue, slot, REQ_ROW]
        unlink(ch, queue, slot)
        ch.key[queue, COLUMN, bank] = key_of(ch, queue, first_hit(ch, queue, after, row))
        return
    if kind == ACT:
        unlink(ch, queue, slot)
        open_bank(ch, queue, slot, bank)
        ch.open_banks[bank >> cfg.rank_bits] += 1
    else:
        ch.open_row[bank] = NONE
        ch.open_banks[bank >> cfg.rank_bits] -= 1
    find_candidates(ch, bank)


@kernel
def serve_refresh(cfg, ch, command):
    """After PREA or REF of the rank whose turn it is."""
    rank = ch.refresh_rank
    if command == REF:
        ch.count[REFRESHES] += 1
        ch.refresh_due -= 1
        ch.refresh_rank = 0 if rank + 1 == cfg.ranks else rank + 1
        return
    ch.open_banks[rank] = 0
    for bank in range(rank << cfg.rank_bits, (rank + 1) << cfg.rank_bits):
        ch.open_row[bank] = NONE
        find_candidates(ch, bank)


@small
def next_refresh_command(cfg, ch, clk):
    """(clock, command) of the first refresh request (§4.7); the clock is NEVER while active requests hold it up."""
    rank = ch.refresh_rank
    if ch.open_banks[rank] == 0:
        return max(ch.rank_ready[REF - PREA, rank], clk), REF
    banks = (np.int64(1) << (np.int64(1) << cfg.rank_bits)) - 1
    if ch.active_banks & banks << (rank << cfg.rank_bits) != 0:
        return NEVER, PREA
    return max(ch.rank_ready[PREA - PREA, rank], clk), PREA


# --- ticks --------------------------------------------------------------------------------------


@small
def end_column(cfg, ch, command, first, rest, tag):
    """After RD or WR of a request: a read's tag, its return inserted, or NONE."""
    if command != RD:
        return NONE
    ch.reads_left -= 1
    insert_return(cfg, ch, ch.clk + cfg.latency, first, rest)
    return tag


@small
def step_active(cfg, ch, at):
    """Issue RD or WR of the active request at a position; tag of a read, or NONE."""
    bank = np.int64(ch.active_order[at])
    command = ch.active_request[bank, REQ_COMMAND]
    record(cfg, ch, command, bank)
    end_active(ch, at, bank)
    first, rest = ch.active_request[bank, REQ_FIRST], ch.active_request[bank, REQ_REST]
    return end_column(cfg, ch, command, first, rest, ch.active_request[bank, REQ_TAG])


@small
def step_queued(cfg, ch, queue, slot):
    """Issue what a queued request wants; tag of a read whose RD it was, or NONE."""
    bank = ch.request[queue, slot, REQ_BANK]
    kind = wanted(ch, queue, slot, bank)
    if kind == PRE and ch.active_banks >> bank & 1 == 1:
        return NONE  # §4.5 d: the tick is lost
    record(cfg, ch, RD + queue if kind == COLUMN else kind, bank)
    serve_queued(cfg, ch, queue, slot, kind, bank)
    if kind != COLUMN:
        return NONE
    first, rest = ch.request[queue, slot, REQ_FIRST], ch.request[queue, slot, REQ_REST]
    return end_column(cfg, ch, RD + queue, first, rest, ch.request[queue, slot, REQ_TAG])


@kernel
def step(cfg, ch, limit):
    """Run ticks up to the next command, at most to clock `limit` (> clk); tag of the read whose RD it was, or NONE.

    After a tag, `last_return` is the tick in which that read's data leaves. While a refresh waits, only ready active
    requests and the refresh itself are served (§4.5 a, b); write mode is looked at only where §4.5 c is reached.
    """
    clk = ch.clk + 1
    if cfg.interval > 0:
        if clk == ch.next_refresh:
            ch.refresh_due += cfg.ranks
            ch.next_refresh += cfg.interval
        limit = min(limit, ch.next_refresh - 1)
    source, index, when = FROM_ACTIVE, NONE, NEVER
    now = np.int32(clk - ch.epoch)
    if ch.active > 0:
        best = best_active(ch, now)
        when, index = clk + (best >> POSITION_BITS), best & ((1 << POSITION_BITS) - 1)
    if ch.refresh_due > 0:
        due, command = next_refresh_command(cfg, ch, clk)
        if due < when:
            when, source, index = due, FROM_REFRESH, command
    elif when > clk:
        update_mode(cfg, ch)
        if ch.queued[ch.write_mode] > 0:
            best = np.int64(earliest_lane(ch.ready, ch.key, ch.write_mode, now))
            if clk + (best >> KEY_BITS) < when:
                when, source, index = clk + (best >> KEY_BITS), FROM_QUEUE, best & SLOT_MASK
    late = when > limit
    run_to(ch, limit if late else when)
    if late:
        return NONE
    if source == FROM_QUEUE:
        return step_queued(cfg, ch, ch.write_mode, index)
    if source == FROM_REFRESH:
        record(cfg, ch, index, ch.refresh_rank << cfg.rank_bits)
        serve_refresh(cfg, ch, index)
        return NONE
    return step_active(cfg, ch, index)


# --- bringing channels up to a clock ------------------------------------------------------------


@kernel
def catch_up(state, clk):
    """Run the ticks up to `clk` that channels still owe (spec §4.9); no read may be under way.

    Channels lag until a request reaches them, so this only does earlier what would be done anyway.
    """
    cfg = state.config[0]
    for number in range(cfg.channels):
        ch = state.channels[number]
        while ch.clk < clk:
            step(cfg, ch, clk)
