"""One DRAM channel: queues, choice of the next command, timing registers (spec §4.3-§4.7).

`step` carries a channel to its next command and skips the ticks in which nothing can change (§4.11). Returns need
no queue: one leaves a tick in the order of insertion, so the tick of a return is known when it is inserted.
"""

import numpy as np

from .dram_state import (
    ACT, AGES, BANK, BANK_MASK, BANKS, CHANNEL, COLUMN, EMPTY, EPOCH_LENGTH, FORWARDED, KEY_BITS, KINDS, LANE_BITS,
    LANES, LINEAR, NEVER, NO_SLOT, NONE, OCTAVE, OCTAVES, PLACE_ROW, PRE, PREA, QUEUED, RANK, RANKS, RD, READ, REF,
    REJECTED, RULE_BANKS, RULE_BEFORE, RULE_CLOCKS, RULE_LEVEL, RULE_RECENT, RULE_WINDOW, SLOT_BITS, SLOT_MASK, SLOTS,
    WINDOW, WRITE,
)  # fmt: skip
from .jit import kernel, small

LANE_MASK = LANES - 1

# Where the next command of a channel comes from.
FROM_ACTIVE, FROM_QUEUE, FROM_REFRESH = range(3)


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


@small
def node_of(level, bank, size):
    """Number of a bank's node; a bank group has that of its first bank."""
    if level == CHANNEL:
        return 0
    if level == RANK:
        return bank >> LANE_BITS
    return bank & -size


@small
def raise_ready(ch, command, bank, since):
    """The bank allows `command` from clock `since` (relative to the epoch) at the earliest."""
    rank, lane = bank >> LANE_BITS, bank & LANE_MASK
    if ch.ready[command, rank, lane] < since:
        ch.ready[command, rank, lane] = since


@kernel
def record(cfg, ch, command, bank):
    """Registers after `command` at the channel's clock (§4.6); for a rank's command `bank` is any of its banks."""
    for number in range(cfg.rule_at[command], cfg.rule_at[command + 1]):
        rule = cfg.rule[number]
        level, before, start = rule[RULE_LEVEL], rule[RULE_BEFORE], ch.clk
        if rule[RULE_WINDOW] > 1:
            node = node_of(level, bank, rule[RULE_BANKS])
            start = window_start(ch, rule[RULE_RECENT], node, rule[RULE_WINDOW])
            if start == NONE:
                continue
        since = start + rule[RULE_CLOCKS]
        if level == BANK:
            raise_ready(ch, before, bank, since - ch.epoch)
        elif level == RANK:
            ch.rank_ready[before, bank >> LANE_BITS] = max(ch.rank_ready[before, bank >> LANE_BITS], since)
        elif level == CHANNEL:
            ch.channel_ready[before] = max(ch.channel_ready[before], since)
        else:
            first = bank & -rule[RULE_BANKS]
            for other in range(first, first + rule[RULE_BANKS]):
                raise_ready(ch, before, other, since - ch.epoch)


@kernel
def rebase(ch):
    """Count the int32 lanes from the present clock; what lies in the past stays in the past."""
    shift = ch.clk - ch.epoch
    for command in range(RD + 2):
        for rank in range(RANKS):
            for lane in range(LANES):
                ch.ready[command, rank, lane] = max(ch.ready[command, rank, lane] - shift, 0)
    ch.epoch = ch.clk


# --- queues and candidates ----------------------------------------------------------------------


@small
def set_candidate(ch, queue, kind, bank, slot):
    """Make the request in `slot` (NO_SLOT for none) the bank's candidate for one thing."""
    rank, lane = bank >> LANE_BITS, bank & LANE_MASK
    old = ch.key[queue, kind, rank, lane]
    new = ch.slot_key[queue, slot] if slot != NO_SLOT else EMPTY
    if old == EMPTY:
        ch.candidates[queue, kind, rank] += 1
    if new == EMPTY:
        ch.candidates[queue, kind, rank] -= 1
    ch.key[queue, kind, rank, lane] = new


@small
def first_hit(ch, queue, start, row):
    """First request from slot `start` on that wants the row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and ch.row[queue, slot] != row:
        slot = ch.next[queue, slot]
    return slot


@small
def first_miss(ch, queue, start, row):
    """First request from slot `start` on that wants another row, or NO_SLOT."""
    slot = np.int64(start)
    while slot != NO_SLOT and ch.row[queue, slot] == row:
        slot = ch.next[queue, slot]
    return slot


@kernel
def find_candidates(ch, bank):
    """Candidates of a bank that was just opened or closed."""
    row = ch.open_row[bank]
    for queue in range(2):
        head = np.int64(ch.head[queue, bank])
        if row == NONE:
            set_candidate(ch, queue, ACT, bank, head)
            set_candidate(ch, queue, PRE, bank, NO_SLOT)
            set_candidate(ch, queue, COLUMN, bank, NO_SLOT)
        else:
            set_candidate(ch, queue, ACT, bank, NO_SLOT)
            set_candidate(ch, queue, PRE, bank, first_miss(ch, queue, head, row))
            set_candidate(ch, queue, COLUMN, bank, first_hit(ch, queue, head, row))


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
    ch.slot_key[queue, slot] = ch.age[queue] << SLOT_BITS | slot
    ch.queued[queue] += 1
    ch.age[queue] += 1
    ch.next[queue, slot] = NO_SLOT
    ch.bank[queue, slot] = bank
    ch.fresh[queue, slot] = 1
    ch.row[queue, slot] = row
    ch.arrive[queue, slot] = ch.clk
    ch.first[queue, slot] = first
    ch.rest[queue, slot] = rest
    ch.tag[queue, slot] = tag
    ch.address[queue, slot] = address
    if ch.head[queue, bank] == NO_SLOT:
        ch.head[queue, bank] = slot
    else:
        ch.next[queue, ch.tail[queue, bank]] = slot
    ch.tail[queue, bank] = slot
    open_row = ch.open_row[bank]
    kind = ACT if open_row == NONE else (COLUMN if open_row == row else PRE)
    if ch.key[queue, kind, bank >> LANE_BITS, bank & LANE_MASK] == EMPTY:
        set_candidate(ch, queue, kind, bank, slot)


@small
def unlink(ch, queue, slot):
    """Remove a request from its queue."""
    bank = ch.bank[queue, slot]
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
        if ch.address[WRITE, slot] == address:
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
    ch.latency_sum += latency + (cfg.twins - 1) * others
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
        ch.forwarded += 1
        return FORWARDED
    if ch.queued[queue] > cfg.limit[queue]:
        ch.rejected += 1
        return REJECTED
    push(ch, queue, place, address, first, rest, tag)
    ch.reads_left += 1 - queue
    return QUEUED


# --- choice -------------------------------------------------------------------------------------


@small
def earliest_lane(ch, queue, kind, command, rank, since, now, best):
    """Smaller of `best` and the rank's best candidate: clocks to wait above its key (all int32).

    `since` is the clock from which channel and rank allow the command, `now` the clock of the coming tick.
    """
    for lane in range(LANES):
        ready = ch.ready[command, rank, lane]
        ready = ready if ready > since else since
        value = np.int32(np.int32(np.int32(ready - now) << np.int32(KEY_BITS)) | ch.key[queue, kind, rank, lane])
        best = value if value < best else best
    return best


@small
def rank_since(ch, command, rank, clk):
    """First clock from `clk` at which channel and rank allow a command."""
    return max(max(ch.channel_ready[command], ch.rank_ready[command, rank]), clk)


@small
def best_queued(cfg, ch, clk):
    """First ready request of the queue in turn, at the first clock from `clk` at which there is one (§4.5).

    Returns (clocks to wait << KEY_BITS | key, what the request wants); EMPTY for an empty queue.
    """
    queue = ch.write_mode
    best, wanted_kind = np.int32(EMPTY), ACT
    now = np.int32(clk - ch.epoch)
    for kind in range(KINDS):
        command = kind if kind < COLUMN else RD + queue
        for rank in range(cfg.ranks):
            if ch.candidates[queue, kind, rank] > 0:
                since = rank_since(ch, command, rank, clk)
                if since - clk <= best >> KEY_BITS:
                    value = earliest_lane(ch, queue, kind, command, rank, np.int32(since - ch.epoch), now, best)
                    if value < best:
                        best, wanted_kind = value, kind
    return np.int64(best), wanted_kind


@small
def is_older(ch, a, b):
    """True when active request `a` arrived before `b`, or with it and had its ACT first."""
    if ch.act_arrive[a] != ch.act_arrive[b]:
        return ch.act_arrive[a] < ch.act_arrive[b]
    return ch.act_since[a] < ch.act_since[b]


@small
def best_active(cfg, ch, clk):
    """(clock, position) of the active request to serve next: ready first, then older (§4.5 a)."""
    when, position = NEVER, NONE
    for at in range(ch.active):
        bank, command = ch.act_bank[at], ch.act_command[at]
        ready = ch.epoch + ch.ready[command, bank >> LANE_BITS, bank & LANE_MASK]
        ready = max(ready, rank_since(ch, command, bank >> LANE_BITS, clk))
        if ready < when or (ready == when and is_older(ch, at, position)):
            when, position = ready, at
    return when, position


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
        ch.busy += clk - ch.clk
    else:
        ch.busy += max(min(ch.last_return, clk) - ch.clk, 0)
    ch.clk = clk
    if clk - ch.epoch > EPOCH_LENGTH:
        rebase(ch)


@small
def open_bank(ch, queue, slot, bank):
    """After ACT for a queued request: it has left its queue and is the bank's active request."""
    at = ch.active
    ch.open_row[bank] = ch.row[queue, slot]
    ch.open_banks[bank >> LANE_BITS] += 1
    ch.active_bank[bank] = 1
    ch.active = at + 1
    ch.act_bank[at] = bank
    ch.act_command[at] = RD + queue
    ch.act_arrive[at] = ch.arrive[queue, slot]
    ch.act_since[at] = ch.clk
    ch.act_first[at] = ch.first[queue, slot]
    ch.act_rest[at] = ch.rest[queue, slot]
    ch.act_tag[at] = ch.tag[queue, slot]


@small
def end_active(ch, at):
    """After RD or WR of an active request; the last one takes its position."""
    last = ch.active - 1
    ch.active = last
    ch.active_bank[ch.act_bank[at]] = 0
    ch.act_bank[at] = ch.act_bank[last]
    ch.act_command[at] = ch.act_command[last]
    ch.act_arrive[at] = ch.act_arrive[last]
    ch.act_since[at] = ch.act_since[last]
    ch.act_first[at] = ch.act_first[last]
    ch.act_rest[at] = ch.act_rest[last]
    ch.act_tag[at] = ch.act_tag[last]


@small
def serve_queued(ch, queue, slot, kind, bank):
    """After the command that a queued request wanted."""
    if ch.fresh[queue, slot] == 1:
        ch.fresh[queue, slot] = 0
        ch.first_commands[kind] += 1
    after = ch.next[queue, slot]
    if kind != PRE:
        unlink(ch, queue, slot)
    if kind == COLUMN:
        set_candidate(ch, queue, kind, bank, first_hit(ch, queue, after, ch.row[queue, slot]))
        return
    if kind == ACT:
        open_bank(ch, queue, slot, bank)
    else:
        ch.open_row[bank] = NONE
        ch.open_banks[bank >> LANE_BITS] -= 1
    find_candidates(ch, bank)


@kernel
def serve_refresh(cfg, ch, command):
    """After PREA or REF of the rank whose turn it is."""
    rank = ch.refresh_rank
    if command == REF:
        ch.refreshes += 1
        ch.refresh_due -= 1
        ch.refresh_rank = 0 if rank + 1 == cfg.ranks else rank + 1
        return
    ch.open_banks[rank] = 0
    for bank in range(rank << LANE_BITS, (rank + 1) << LANE_BITS):
        ch.open_row[bank] = NONE
        find_candidates(ch, bank)


@small
def next_refresh_command(cfg, ch, clk):
    """(clock, command) of the first refresh request (§4.7); the clock is NEVER while active requests hold it up."""
    rank = ch.refresh_rank
    if ch.open_banks[rank] == 0:
        return rank_since(ch, REF, rank, clk), REF
    for at in range(ch.active):
        if ch.act_bank[at] >> LANE_BITS == rank:
            return NEVER, PREA
    return rank_since(ch, PREA, rank, clk), PREA


# --- ticks --------------------------------------------------------------------------------------


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
    source, kind = FROM_ACTIVE, ACT
    when, index = best_active(cfg, ch, clk)
    if ch.refresh_due > 0:
        due, command = next_refresh_command(cfg, ch, clk)
        if due < when:
            when, source, index = due, FROM_REFRESH, command
    elif when > clk:
        update_mode(cfg, ch)
        best, kind = best_queued(cfg, ch, clk)
        if best != EMPTY and clk + (best >> KEY_BITS) < when:
            when, source, index = clk + (best >> KEY_BITS), FROM_QUEUE, best & SLOT_MASK
    late = when > limit
    run_to(ch, limit if late else when)
    if late:
        return NONE
    queue = ch.write_mode
    if source == FROM_ACTIVE:
        bank, command = np.int64(ch.act_bank[index]), ch.act_command[index]
        first, rest, tag = ch.act_first[index], ch.act_rest[index], ch.act_tag[index]
    elif source == FROM_QUEUE:
        bank, command = np.int64(ch.bank[queue, index]), kind if kind < COLUMN else RD + queue
        first, rest, tag = ch.first[queue, index], ch.rest[queue, index], ch.tag[queue, index]
        if kind == PRE and ch.active_bank[bank] == 1:
            return NONE  # §4.5 d: the tick is lost
    else:
        bank, command = ch.refresh_rank << LANE_BITS, index
        first, rest, tag = NONE, NONE, NONE
    record(cfg, ch, command, bank)
    if source == FROM_ACTIVE:
        end_active(ch, index)
    elif source == FROM_QUEUE:
        serve_queued(ch, queue, index, kind, bank)
    else:
        serve_refresh(cfg, ch, command)
    if command != RD:
        return NONE
    ch.reads_left -= 1
    insert_return(cfg, ch, ch.clk + cfg.latency, first, rest)
    return tag
