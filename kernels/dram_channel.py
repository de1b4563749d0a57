"""One DRAM channel: queues, choice of the next command, timing registers (spec §4.3-§4.7).

`step` carries a channel to its next command and skips the ticks in which nothing can change (§4.11). Returns need
no queue: one leaves a tick in the order of insertion, so the tick of a return is known when it is inserted.
"""

import numpy as np

from .dram_state import (
    ACT, AGES, BANK, BANK_MASK, BLOCKS, CHANNEL, CLOSED, COLUMN, EMPTY, EPOCH_LENGTH, FORWARDED, GROUP, KEY_BITS,
    KINDS, LANES, LINEAR, NEVER, NONE, OCTAVE, OCTAVES, PLACE_ROW, PRE, PREA, QUEUED, RANK, RD, READ, REF, REJECTED,
    SLOT_BITS, SLOT_MASK, SLOTS, WINDOW, WRITE,
)  # fmt: skip
from .jit import kernel

LANE_BITS = 4
LANE_MASK = LANES - 1


# --- timing registers ---------------------------------------------------------------------------


@kernel
def raise_ready(ch, command, bank, since):
    """Bank `bank` allows `command` from clock `since` (relative to the epoch) at the earliest."""
    block, lane = bank >> LANE_BITS, bank & LANE_MASK
    if ch.ready[command, block, lane] < since:
        ch.ready[command, block, lane] = since


@kernel
def window_start(ch, row, node, window):
    """Clock of the `window`-th last command of the node, this one included; NONE if there were fewer."""
    count = ch.recent_count[row, node]
    ch.recent[row, node, count & (WINDOW - 1)] = ch.clk
    ch.recent_count[row, node] = count + 1
    if count + 1 < window:
        return NONE
    return ch.recent[row, node, (count + 1 - window) & (WINDOW - 1)]


@kernel
def node_of(cfg, level, rank, bank):
    """Number of the node of a level that a bank is in."""
    if level == CHANNEL:
        return 0
    if level == RANK:
        return rank
    if level == GROUP:
        return bank // cfg.group_banks
    return bank


@kernel
def record(cfg, ch, command, rank, bank):
    """Registers after `command` at the channel's clock (§4.6)."""
    for rule in range(cfg.rule_at[command], cfg.rule_at[command + 1]):
        level, before = cfg.rule[rule, 0], cfg.rule[rule, 1]
        start = ch.clk
        if cfg.rule[rule, 4] != NONE:
            start = window_start(ch, cfg.rule[rule, 4], node_of(cfg, level, rank, bank), cfg.rule[rule, 3])
            if start == NONE:
                continue
        since = start + cfg.rule[rule, 2]
        if level == BANK:
            raise_ready(ch, before, bank, since - ch.epoch)
        elif level == GROUP:
            first = bank - bank % cfg.group_banks
            for other in range(first, first + cfg.group_banks):
                raise_ready(ch, before, other, since - ch.epoch)
        elif level == RANK:
            ch.rank_ready[before, rank] = max(ch.rank_ready[before, rank], since)
        else:
            for other in range(cfg.ranks):
                ch.rank_ready[before, other] = max(ch.rank_ready[before, other], since)


@kernel
def rebase(ch):
    """Count the int32 lanes from the present clock; what lies in the past stays in the past."""
    shift = ch.clk - ch.epoch
    for command in range(RD + 2):
        for block in range(BLOCKS):
            for lane in range(LANES):
                ch.ready[command, block, lane] = max(ch.ready[command, block, lane] - shift, 0)
    ch.epoch = ch.clk


# --- queues and candidates ----------------------------------------------------------------------


@kernel
def set_candidate(ch, queue, kind, bank, key):
    """Make `key` (EMPTY for none) the bank's candidate for one thing."""
    block, lane = bank >> LANE_BITS, bank & LANE_MASK
    old = ch.key[queue, kind, block, lane]
    ch.candidates[queue, kind, block] += int(key != EMPTY) - int(old != EMPTY)
    ch.key[queue, kind, block, lane] = key


@kernel
def first_of_row(ch, queue, slot, row, same):
    """Key of the first request from `slot` on whose row is `row` (`same`) or is not; EMPTY if none."""
    while slot != NONE:
        if (ch.row[queue, slot] == row) == same:
            return ch.slot_key[queue, slot]
        slot = ch.next[queue, slot]
    return EMPTY


@kernel
def candidates_after_act(ch, queue, bank):
    """Candidates of a bank that was just opened."""
    head, row = ch.head[queue, bank], ch.open_row[bank]
    set_candidate(ch, queue, ACT, bank, EMPTY)
    set_candidate(ch, queue, PRE, bank, first_of_row(ch, queue, head, row, False))
    set_candidate(ch, queue, COLUMN, bank, first_of_row(ch, queue, head, row, True))


@kernel
def candidates_after_close(ch, queue, bank):
    """Candidates of a bank that was just closed: its oldest request wants ACT."""
    head = ch.head[queue, bank]
    set_candidate(ch, queue, ACT, bank, ch.slot_key[queue, head] if head != NONE else EMPTY)
    set_candidate(ch, queue, PRE, bank, EMPTY)
    set_candidate(ch, queue, COLUMN, bank, EMPTY)


@kernel
def wanted(ch, queue, slot):
    """What a request wants now: ACT, PRE or COLUMN (§4.5)."""
    row = ch.open_row[ch.bank[queue, slot]]
    if row == CLOSED:
        return ACT
    return COLUMN if row == ch.row[queue, slot] else PRE


@kernel
def renumber(ch, queue):
    """Give the queue's requests the ages 0, 1, 2, ... in their order."""
    old = ch.slot_key[queue].copy()
    for slot in range(SLOTS):
        if ch.bank[queue, slot] == NONE:
            continue
        age = 0
        for other in range(SLOTS):
            if ch.bank[queue, other] != NONE and old[other] < old[slot]:
                age += 1
        ch.slot_key[queue, slot] = age << SLOT_BITS | slot
    for kind in range(KINDS):
        for block in range(BLOCKS):
            for lane in range(LANES):
                key = ch.key[queue, kind, block, lane]
                if key != EMPTY:
                    ch.key[queue, kind, block, lane] = ch.slot_key[queue, key & SLOT_MASK]
    ch.age[queue] = ch.queued[queue]


@kernel
def push(ch, queue, place, address, first, tag):
    """Append a request to a queue that has room."""
    if ch.queued[queue] == 0:
        ch.age[queue] = 0
    elif ch.age[queue] == AGES:
        renumber(ch, queue)
    bank, row = place & BANK_MASK, place >> PLACE_ROW
    slot = ch.free[queue, ch.queued[queue]]
    key = ch.age[queue] << SLOT_BITS | slot
    ch.queued[queue] += 1
    ch.age[queue] += 1
    ch.next[queue, slot] = NONE
    ch.bank[queue, slot] = bank
    ch.row[queue, slot] = row
    ch.slot_key[queue, slot] = key
    ch.arrive[queue, slot] = ch.clk
    ch.first[queue, slot] = first
    ch.tag[queue, slot] = tag
    ch.address[queue, slot] = address
    ch.fresh[queue, slot] = 1
    if ch.head[queue, bank] == NONE:
        ch.head[queue, bank] = slot
    else:
        ch.next[queue, ch.tail[queue, bank]] = slot
    ch.tail[queue, bank] = slot
    kind = wanted(ch, queue, slot)
    if ch.key[queue, kind, bank >> LANE_BITS, bank & LANE_MASK] == EMPTY:
        set_candidate(ch, queue, kind, bank, key)


@kernel
def unlink(ch, queue, slot):
    """Remove a request from its queue."""
    bank = ch.bank[queue, slot]
    before, at = NONE, ch.head[queue, bank]
    while at != slot:
        before, at = at, ch.next[queue, at]
    after = ch.next[queue, slot]
    if before == NONE:
        ch.head[queue, bank] = after
    else:
        ch.next[queue, before] = after
    if after == NONE:
        ch.tail[queue, bank] = before
    ch.queued[queue] -= 1
    ch.free[queue, ch.queued[queue]] = slot
    ch.bank[queue, slot] = NONE


@kernel
def writes_to(ch, bank, address):
    """True when a write to exactly this transfer is in the write queue."""
    slot = ch.head[WRITE, bank]
    while slot != NONE:
        if ch.address[WRITE, slot] == address:
            return True
        slot = ch.next[WRITE, slot]
    return False


# --- returns ------------------------------------------------------------------------------------


@kernel
def latency_bin(clocks):
    """Bin of a read latency: one clock wide up to LINEAR, then OCTAVE bins for each doubling."""
    octave = 0
    while clocks >= LINEAR and octave < OCTAVES:
        clocks >>= 1
        octave += 1
    return min(clocks, LINEAR - 1) + OCTAVE * octave


@kernel
def insert_return(cfg, ch, departure, first):
    """Put a read into the return queue: sets `last_return`, the tick in which its data leaves."""
    ch.last_return = max(departure, ch.last_return + 1)
    latency = (ch.last_return - 1) * cfg.period - first
    ch.latency_sum += latency
    ch.latency_max = max(ch.latency_max, latency)
    ch.latency_bins[latency_bin(latency // cfg.period)] += 1


@kernel
def send(cfg, ch, queue, place, address, first, tag):
    """Offer a request between two ticks (§4.3): REJECTED, QUEUED, or FORWARDED with its return inserted.

    `address` is the transfer's byte address, `first` the instant of its first attempt, `tag` what `step` returns when
    its data is on the way.
    """
    if queue == READ and ch.queued[WRITE] > 0 and writes_to(ch, place & BANK_MASK, address):
        insert_return(cfg, ch, ch.clk + 1, first)
        ch.forwarded += 1
        return FORWARDED
    if ch.queued[queue] > cfg.limit[queue]:
        ch.rejected += 1
        return REJECTED
    push(ch, queue, place, address, first, tag)
    if queue == READ:
        ch.reads_left += 1
    return QUEUED


# --- choice -------------------------------------------------------------------------------------


@kernel
def earliest_lane(ch, queue, kind, command, block, since, now, best):
    """Smaller of `best` and the block's best candidate: clocks to wait above its key (all int32).

    `since` is the clock from which channel and rank allow the command, `now` the clock of the coming tick.
    """
    for lane in range(LANES):
        ready = ch.ready[command, block, lane]
        ready = ready if ready > since else since
        value = np.int32(np.int32(ready - now) << np.int32(KEY_BITS)) | ch.key[queue, kind, block, lane]
        best = value if value < best else best
    return best


@kernel
def best_queued(cfg, ch, queue, clk):
    """First ready request of a queue at the first clock from `clk` at which there is one (§4.5).

    Returns clocks to wait << KEY_BITS | key, or EMPTY for an empty queue.
    """
    now = np.int32(clk - ch.epoch)
    best = np.int32(EMPTY)
    for kind in range(KINDS):
        command = kind if kind < COLUMN else RD + queue
        for block in range(cfg.ranks * cfg.rank_blocks):
            if ch.candidates[queue, kind, block] == 0:
                continue
            since = max(ch.rank_ready[command, block // cfg.rank_blocks] - ch.epoch, np.int64(now))
            if since - now <= best >> KEY_BITS:
                best = earliest_lane(ch, queue, kind, command, block, np.int32(since), now, best)
    return np.int64(best)


@kernel
def rank_of(cfg, bank):
    """Rank of a bank number."""
    return (bank >> LANE_BITS) // cfg.rank_blocks


@kernel
def best_active(cfg, ch, clk):
    """(clock, position) of the active request to serve next: ready first, then older (§4.5 a)."""
    when, position = NEVER, NONE
    for at in range(ch.active):
        bank, command = ch.act_bank[at], ch.act_command[at]
        ready = max(clk, ch.rank_ready[command, rank_of(cfg, bank)])
        ready = max(ready, ch.epoch + ch.ready[command, bank >> LANE_BITS, bank & LANE_MASK])
        if ready < when or (ready == when and ch.act_arrive[at] < ch.act_arrive[position]):
            when, position = ready, at
    return when, position


@kernel
def update_mode(cfg, ch):
    """Write mode with its hysteresis (§4.5 c)."""
    reads, writes = ch.queued[READ], ch.queued[WRITE]
    if ch.write_mode == 0:
        if writes >= cfg.enter or reads == 0:
            ch.write_mode = 1
    elif writes <= cfg.leave and reads > 0:
        ch.write_mode = 0


# --- issue --------------------------------------------------------------------------------------


@kernel
def run_to(ch, clk):
    """Let ticks pass in which no command is issued but, possibly, in the last."""
    if ch.queued[READ] + ch.queued[WRITE] + ch.active > 0:
        ch.busy += clk - ch.clk
    else:
        ch.busy += max(min(ch.last_return, clk) - ch.clk, 0)
    ch.clk = clk
    if clk - ch.epoch > EPOCH_LENGTH:
        rebase(ch)


@kernel
def open_bank(cfg, ch, queue, slot):
    """ACT for a queued request: it becomes the bank's active request."""
    bank, at = ch.bank[queue, slot], ch.active
    ch.open_row[bank] = ch.row[queue, slot]
    ch.open_banks[rank_of(cfg, bank)] += 1
    ch.active_bank[bank] = 1
    ch.active = at + 1
    ch.act_bank[at] = bank
    ch.act_command[at] = RD + queue
    ch.act_arrive[at] = ch.arrive[queue, slot]
    ch.act_first[at] = ch.first[queue, slot]
    ch.act_tag[at] = ch.tag[queue, slot]
    unlink(ch, queue, slot)
    candidates_after_act(ch, READ, bank)
    candidates_after_act(ch, WRITE, bank)


@kernel
def close_bank(cfg, ch, bank):
    """The bank's row is closed, by PRE or PREA."""
    ch.open_row[bank] = CLOSED
    ch.open_banks[rank_of(cfg, bank)] -= 1
    candidates_after_close(ch, READ, bank)
    candidates_after_close(ch, WRITE, bank)


@kernel
def return_read(cfg, ch, first, tag):
    """RD was issued: its data is on the way; returns the tag."""
    insert_return(cfg, ch, ch.clk + cfg.latency, first)
    ch.reads_left -= 1
    return tag


@kernel
def issue_queued(cfg, ch, queue, slot):
    """Issue what a queued request wants, at the channel's clock; returns its tag for RD, else NONE."""
    kind, bank = wanted(ch, queue, slot), ch.bank[queue, slot]
    if kind == PRE and ch.active_bank[bank] == 1:
        return NONE  # §4.5 d: the tick is lost
    record(cfg, ch, kind if kind < COLUMN else RD + queue, rank_of(cfg, bank), bank)
    if ch.fresh[queue, slot] == 1:
        ch.fresh[queue, slot] = 0
        ch.hits += kind == COLUMN
        ch.misses += kind == ACT
        ch.conflicts += kind == PRE
    if kind == ACT:
        open_bank(cfg, ch, queue, slot)
    elif kind == PRE:
        close_bank(cfg, ch, bank)
    else:
        after = ch.next[queue, slot]
        unlink(ch, queue, slot)
        set_candidate(ch, queue, COLUMN, bank, first_of_row(ch, queue, after, ch.open_row[bank], True))
        if queue == READ:
            return return_read(cfg, ch, ch.first[queue, slot], ch.tag[queue, slot])
    return NONE


@kernel
def issue_active(cfg, ch, position):
    """Issue RD or WR of an active request; returns its tag for RD, else NONE."""
    bank, command = ch.act_bank[position], ch.act_command[position]
    first, tag = ch.act_first[position], ch.act_tag[position]
    record(cfg, ch, command, rank_of(cfg, bank), bank)
    ch.active_bank[bank] = 0
    ch.active -= 1
    for at in range(position, ch.active):
        ch.act_bank[at] = ch.act_bank[at + 1]
        ch.act_command[at] = ch.act_command[at + 1]
        ch.act_arrive[at] = ch.act_arrive[at + 1]
        ch.act_first[at] = ch.act_first[at + 1]
        ch.act_tag[at] = ch.act_tag[at + 1]
    if command == RD:
        return return_read(cfg, ch, first, tag)
    return NONE


@kernel
def refresh_when(cfg, ch, rank, command, clk):
    """Clock at which the first refresh request's command can be issued (§4.7); NEVER while active requests hold it."""
    if command == PREA:
        for at in range(ch.active):
            if rank_of(cfg, ch.act_bank[at]) == rank:
                return NEVER
    return max(clk, ch.rank_ready[command, rank])


@kernel
def issue_refresh(cfg, ch, rank, command):
    """PREA or REF of a rank."""
    record(cfg, ch, command, rank, NONE)
    if command == PREA:
        first = rank * cfg.rank_blocks * LANES
        for bank in range(first, first + cfg.rank_blocks * LANES):
            if ch.open_row[bank] != CLOSED:
                close_bank(cfg, ch, bank)
    else:
        ch.refreshes += 1
        ch.refresh_due -= 1
        ch.refresh_rank = (rank + 1) % cfg.ranks


# --- ticks --------------------------------------------------------------------------------------


@kernel
def step_refresh(cfg, ch, limit):
    """`step` while a refresh waits: only ready active requests and the refresh itself are served (§4.5 a, b)."""
    clk = ch.clk + 1
    rank = ch.refresh_rank
    command = PREA if ch.open_banks[rank] > 0 else REF
    active_when, position = best_active(cfg, ch, clk)
    when = refresh_when(cfg, ch, rank, command, clk)
    if min(active_when, when) > limit:
        run_to(ch, limit)
        return NONE
    if active_when <= when:
        run_to(ch, active_when)
        return issue_active(cfg, ch, position)
    run_to(ch, when)
    issue_refresh(cfg, ch, rank, command)
    return NONE


@kernel
def step(cfg, ch, limit):
    """Run ticks up to the next command, at most to clock `limit` (> clk); tag of the read whose RD it was, or NONE.

    After a tag, `last_return` is the tick in which that read's data leaves.
    """
    clk = ch.clk + 1
    if cfg.interval > 0:
        if clk == ch.next_refresh:
            ch.refresh_due += cfg.ranks
            ch.next_refresh += cfg.interval
        limit = min(limit, ch.next_refresh - 1)
        if ch.refresh_due > 0:
            return step_refresh(cfg, ch, limit)
    when, position = best_active(cfg, ch, clk)
    best = EMPTY
    queued_when = NEVER
    if when > clk:
        update_mode(cfg, ch)
        best = best_queued(cfg, ch, ch.write_mode, clk)
        if best != EMPTY:
            queued_when = clk + (best >> KEY_BITS)
    if min(when, queued_when) > limit:
        run_to(ch, limit)
        return NONE
    if when <= queued_when:
        run_to(ch, when)
        return issue_active(cfg, ch, position)
    run_to(ch, queued_when)
    return issue_queued(cfg, ch, ch.write_mode, best & SLOT_MASK)
