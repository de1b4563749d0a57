"""Remember what prefetches and stores do to an idle DRAM, exactly (spec §4.11).

A quiescent channel is described by its open rows: nothing is queued and no command so far holds anything back. What a
list of accesses then does depends on its pattern alone (`pattern`). So the memo is a table: the key is a pattern, the
*value* is the time the list takes and the state in which it leaves the memory.

A value may only be used, or inserted, if the memory is quiescent again when the next list begins, and that is known
no sooner. So each list is *pending* until its successor arrives:

    list 1 arrives     a store that is not in the table: it is run and watched    pending: LEARNING 1
    list 2 arrives     quiescent by now? then the value of 1 is inserted
                       in the table: only its end is reported                     pending: RECALLED 2
    list 3 arrives     quiescent by the value of 2? then that value is applied,
                       else list 2 is run after all, from its own start
                       reads that are not in the table: `idle_reads` finds
                       their value, which is inserted at once                     pending: RECALLED 3
    end of a slice     a RECALLED list is run, as no list follows
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..memory.memo_table import (
    MEMO_HITS,
    MEMO_LOOKUPS,
    MEMO_ON,
    MEMO_WIDTH,
    insert,
    look_up,
    look_up_hash,
    make_room,
)
from .answers import A_BANKS, A_HASH, A_KEY, A_LENGTH, A_VALUE, A_WIDTH, A_WORDS, answer_to, holds
from .channel import catch_up, latency_bin, rebase
from .engine import dram_batch, dram_store
from .front_end import ticks_before
from .idle_reads import begin_channel, finish_reads, send_reads
from .pattern import WIDEST, Pattern, number_of, pattern_of, row_of
from .row_ledger import charge_rows, set_owner
from .state import BANKS, COUNTS, EPOCH_LENGTH, NONE

SLOTS = 1 << 12  # patterns, a power of two
ARENA = 1 << 20  # words of all keys and values
MOST_BINS = 1 << 12  # read latencies that a value tells apart; lines of a large tile have hundreds
TIMES_BITS = 32  # in a word of a value: a latency's bin, and how often
MOST_TIMES = (1 << TIMES_BITS) - 1
WARMUP_LOOKUPS = 256  # before the memo may give up
MIN_HIT_RATE_LOG2 = 4  # one hit in 16 look-ups

# Slots of `DramMemo.reg`, behind those of `memo_table`.
PENDING = MEMO_WIDTH  # state of the list before
PEND_STORE = MEMO_WIDTH + 1
PEND_COUNT = MEMO_WIDTH + 2  # its accesses
PEND_NOW = MEMO_WIDTH + 3  # instant and clock of its start
PEND_CLOCK = MEMO_WIDTH + 4
PEND_TICKS = MEMO_WIDTH + 5  # ticks of the front end before it
PEND_BANKS = MEMO_WIDTH + 6  # banks it touches
PEND_VALUE = MEMO_WIDTH + 7  # RECALLED: its value in the arena
PEND_WORDS = MEMO_WIDTH + 8  # LEARNING: words of its key, hash, end, ticks after it
PEND_HASH = MEMO_WIDTH + 9
PEND_END = MEMO_WIDTH + 10
PEND_TICKS_AFTER = MEMO_WIDTH + 11
PEND_OWNER = MEMO_WIDTH + 12  # memory event it belongs to
DRAM_MEMO_WIDTH = MEMO_WIDTH + 13

NOTHING, RECALLED, LEARNING = range(3)

# A value: ps from the clock of the start to the end; ticks from there to the front end's, and until everything is
# quiescent; longest latency; numbers of records, banks and bins. Then its records: which, last return, counts; the row
# number in which each bank is left; bins and how often.
END, TICKS, QUIESCENT, LONGEST, RECORDS, LATENCIES, HEADER = range(7)


class DramMemo(NamedTuple):
    """Remembered patterns of one memory.

    Attributes
    ----------
    reg : int64[DRAM_MEMO_WIDTH]
    table : int64[SLOTS, ENTRY_WIDTH] (`memo_table`)
    arena : int64[ARENA]
        Keys, each followed by its value.
    pattern : Pattern
        Of the pending list, then of the present one.
    address : int64[WIDEST]
        Accesses of a recalled list.
    nothing : int64[WIDEST]
        Zeros: none of them waits for the host.
    counts_before : int64[channel records, COUNTS]
        Statistics when a list that is being learned began.
    idle : IDLE[channel records]
        Room of `idle_reads`.
    bins : int64[BINS]
        Zeros between two lists: the latencies of one.
    """

    reg: np.ndarray
    table: np.ndarray
    arena: np.ndarray
    pattern: Pattern
    address: np.ndarray
    nothing: np.ndarray
    counts_before: np.ndarray
    idle: np.ndarray
    bins: np.ndarray


# --- the memory ---------------------------------------------------------------------------------


@kernel
def run_list(state, run, addr, wait, link, n, held, now, is_store):
    """Run a list of accesses.

    Returns the instant at which the core continues.
    """
    if is_store:
        return dram_store(state, addr, wait, link, n, now)
    return dram_batch(state, run, addr, wait, link, n, held, now)


@kernel
def is_idle(state, clk):
    """Tell whether every channel, caught up to `clk`, is quiescent."""
    idle = True
    for number in range(state.config[0].channels):
        channel = state.channels[number]
        waiting = channel.queued[0] + channel.queued[1] + channel.active + channel.refresh_due
        idle = idle and waiting == 0 and channel.write_mode == 1 and channel.quiescent_at <= clk + 1
    return idle


@kernel
def flush_latencies(state):
    """Move the latencies counted by the channels to the front end, so that a list's own can be told apart."""
    front = state.front[0]
    for number in range(state.config[0].channels):
        channel = state.channels[number]
        front.latency_max = max(front.latency_max, channel.latency_max)
        for at in range(latency_bin(channel.latency_max) + 1):
            front.latency_bins[at] += channel.latency_bins[at]
            channel.latency_bins[at] = 0
        channel.latency_max = 0


# --- values -------------------------------------------------------------------------------------


@kernel
def write_latencies(state, arena, at):
    """Write the latency bins of the list just run to arena[at:].

    Returns how many there are, NONE when there are too many.
    """
    count, longest = 0, 0
    for number in range(state.config[0].channels):
        longest = max(longest, state.channels[number].latency_max)
    for number_of_bin in range(latency_bin(longest) + 1):
        times = 0
        for number in range(state.config[0].channels):
            times += state.channels[number].latency_bins[number_of_bin]
        if times > 0:
            if count == MOST_BINS:
                return NONE
            arena[at + count] = number_of_bin << TIMES_BITS | times
            count += 1
    return count


@kernel
def write_value(memo, state, at):
    """Write the value of the list just learned to arena[at:].

    Returns its words, or NONE when it has too many latencies.
    """
    reg, arena, pattern, clk = memo.reg, memo.arena, memo.pattern, memo.reg[PEND_CLOCK]
    start = at
    arena[start + END] = reg[PEND_END] - clk * state.config[0].tck_ps
    arena[start + TICKS] = reg[PEND_TICKS_AFTER] - clk
    arena[start + QUIESCENT] = arena[start + LONGEST] = arena[start + RECORDS] = 0
    at += HEADER
    for number in range(reg[PEND_BANKS]):
        bank = pattern.bank[number]
        arena[at] = number_of(pattern, bank, state.channels[bank // BANKS].open_row[bank % BANKS])
        at += 1
    for number in range(reg[PEND_BANKS]):
        if pattern.first[number] == number:
            channel = state.channels[pattern.bank[number] // BANKS]
            arena[start + QUIESCENT] = max(arena[start + QUIESCENT], channel.quiescent_at - clk)
            arena[start + LONGEST] = max(arena[start + LONGEST], channel.latency_max)
            arena[start + RECORDS] += 1
            arena[at] = number
            arena[at + 1] = channel.last_return - clk
            for k in range(COUNTS):
                arena[at + 2 + k] = channel.count[k] - memo.counts_before[pattern.bank[number] // BANKS, k]
            at += 2 + COUNTS
    arena[start + LATENCIES] = write_latencies(state, arena, at)
    if arena[start + LATENCIES] == NONE:
        return NONE
    return at + arena[start + LATENCIES] - start


@small
def longest_value(banks):
    """Count the words of the longest value of a list that touches `banks` banks."""
    return HEADER + banks * (3 + COUNTS) + MOST_BINS


@small
def value_length(arena, value, banks):
    """Count the words of a value."""
    return HEADER + banks + arena[value + RECORDS] * (2 + COUNTS) + arena[value + LATENCIES]


@kernel
def insert_learned(memo, state):
    """Insert the value of the pattern that is being learned; every channel is quiescent again."""
    reg, words = memo.reg, memo.reg[PEND_WORDS]
    at = make_room(reg, memo.table, memo.arena, words + longest_value(reg[PEND_BANKS])) + words
    length = write_value(memo, state, at)
    if length != NONE:
        insert(reg, memo.table, memo.arena, memo.pattern.key, words, reg[PEND_HASH], at + length)


@kernel
def take_latencies(bins, longest, arena, at):
    """Move the latencies counted in `bins`, none longer than `longest` clocks, to arena[at:].

    Returns how many there are, NONE when there are too many.
    """
    count = 0
    for number_of_bin in range(latency_bin(longest) + 1):
        times = bins[number_of_bin]
        bins[number_of_bin] = 0
        if times > 0 and count < MOST_BINS:
            arena[at + count] = number_of_bin << TIMES_BITS | times
        count += times > 0
    return count if count <= MOST_BINS else NONE


@kernel
def write_timed(memo, cfg, ticks, at):
    """Write the value of the reads that `idle_reads` just timed to arena[at:]; their last return is in tick `ticks`.

    Returns its words, or NONE when it has too many latencies.
    """
    arena, pattern, banks, start = memo.arena, memo.pattern, memo.reg[PEND_BANKS], at
    arena[start + END], arena[start + TICKS] = (ticks - 1) * cfg.tck_ps, ticks
    arena[start + QUIESCENT] = arena[start + LONGEST] = arena[start + RECORDS] = 0
    at += HEADER
    for number in range(banks):
        bank = pattern.bank[number]
        arena[at] = memo.idle[bank // BANKS].open_row[bank % BANKS]
        at += 1
    for number in range(banks):
        if pattern.first[number] == number:
            channel = memo.idle[pattern.bank[number] // BANKS]
            arena[start + QUIESCENT] = max(arena[start + QUIESCENT], channel.quiescent_at)
            arena[start + LONGEST] = max(arena[start + LONGEST], channel.latency_max)
            arena[start + RECORDS] += 1
            arena[at], arena[at + 1] = number, channel.last_return
            for k in range(COUNTS):
                arena[at + 2 + k] = channel.count[k]
            at += 2 + COUNTS
    arena[start + LATENCIES] = take_latencies(memo.bins, arena[start + LONGEST], arena, at)
    if arena[start + LATENCIES] == NONE:
        return NONE
    return at + arena[start + LATENCIES] - start


@kernel
def time_list(memo, state, n, aligned, words, key_hash):
    """Time reads that find the memory idle, and insert the value of their pattern, which is the present one.

    Returns the first word of the value in the arena, or NONE when it has too many latencies.
    """
    cfg, reg, pattern = state.config[0], memo.reg, memo.pattern
    for number in range(cfg.channels):
        begin_channel(memo.idle[number])
    for number in range(reg[PEND_BANKS]):
        bank = pattern.bank[number]
        if state.channels[bank // BANKS].open_row[bank % BANKS] != NONE:
            memo.idle[bank // BANKS].open_row[bank % BANKS] = 0
    send_reads(cfg, memo.idle, pattern.place, n, aligned)
    ticks = finish_reads(cfg, memo.idle, memo.bins)
    at = make_room(reg, memo.table, memo.arena, words + longest_value(reg[PEND_BANKS])) + words
    length = write_timed(memo, cfg, ticks, at)
    if length == NONE:
        return NONE
    insert(reg, memo.table, memo.arena, pattern.key, words, key_hash, at + length)
    return at


@kernel
def apply_value(memo, state, clk):
    """Bring the memory to `clk`, everything being quiescent by then, as the recalled list leaves it."""
    reg, arena, pattern, front = memo.reg, memo.arena, memo.pattern, state.front[0]
    start = reg[PEND_VALUE]
    for number in range(reg[PEND_BANKS]):
        bank, row = pattern.left_bank[number], pattern.left_row[number]
        channel = state.channels[bank // BANKS]
        rank = bank % BANKS >> state.config[0].rank_bits
        channel.open_banks[rank] += np.int64(row != NONE) - np.int64(channel.open_row[bank % BANKS] != NONE)
        channel.open_row[bank % BANKS] = row
    at = start + HEADER + reg[PEND_BANKS]
    for _ in range(arena[start + RECORDS]):
        channel = state.channels[pattern.left_bank[arena[at]] // BANKS]
        channel.clk = clk
        if clk - channel.epoch > EPOCH_LENGTH:
            rebase(channel)
        channel.last_return = reg[PEND_CLOCK] + arena[at + 1]
        for k in range(COUNTS):
            channel.count[k] += arena[at + 2 + k]
        at += 2 + COUNTS
    front.latency_max = max(front.latency_max, arena[start + LONGEST])
    for _ in range(arena[start + LATENCIES]):
        front.latency_bins[arena[at] >> TIMES_BITS] += arena[at] & MOST_TIMES
        at += 1


# --- lists --------------------------------------------------------------------------------------


@kernel
def run_recalled(memo, state, run):
    """Run the recalled list after all; the front end already counts it."""
    reg, front = memo.reg, state.front[0]
    n, is_store = reg[PEND_COUNT], reg[PEND_STORE]
    front.ticks = reg[PEND_TICKS]
    front.reads -= n
    front.writes -= n * is_store
    set_owner(state, reg[PEND_OWNER])
    run_list(state, run, memo.address, memo.nothing, memo.nothing, n, 0, reg[PEND_NOW], is_store == 1)


@kernel
def finish_pending(memo, state, run, ledger, clk):
    """Finish the pending list at `clk`, when its successor begins.

    Returns whether every channel is quiescent then.
    """
    reg = memo.reg
    if reg[PENDING] == RECALLED:
        if reg[PEND_CLOCK] + memo.arena[reg[PEND_VALUE] + QUIESCENT] <= clk + 1:
            apply_value(memo, state, clk)
        else:
            run_recalled(memo, state, run)
        charge_rows(state, ledger, reg[PEND_OWNER])
    catch_up(state, clk)
    idle = is_idle(state, clk)
    if reg[PENDING] == LEARNING and idle:
        insert_learned(memo, state)
    reg[PENDING] = NOTHING
    return idle


@kernel
def leave_rows(memo, value):
    """Note which rows a value leaves open where the present list is."""
    pattern = memo.pattern
    for number in range(memo.reg[PEND_BANKS]):
        bank = pattern.bank[number]
        pattern.left_bank[number] = bank
        pattern.left_row[number] = row_of(pattern, bank, memo.arena[value + HEADER + number])


@kernel
def take_answer(memo, answers, at):
    """Look an answered list up as any other; where the memo does not know it, the answer's value is inserted.

    Returns the first word of its value in the arena.
    """
    reg, text, pattern = memo.reg, answers.text, memo.pattern
    words, key, length = text[at + A_WORDS], text[at + A_KEY], text[at + A_LENGTH]
    for i in range(words):
        pattern.key[i] = answers.arena[key + i]
    reg[PEND_BANKS] = text[at + A_BANKS]
    for number in range(reg[PEND_BANKS]):
        pattern.left_bank[number] = text[at + A_WIDTH + 3 * number]
        pattern.left_row[number] = text[at + A_WIDTH + 3 * number + 2]
    value = look_up_hash(memo, pattern.key, words, text[at + A_HASH])
    if value > 0:
        return value
    value = make_room(reg, memo.table, memo.arena, words + longest_value(reg[PEND_BANKS])) + words
    for i in range(length):
        memo.arena[value + i] = answers.arena[text[at + A_VALUE] + i]
    insert(reg, memo.table, memo.arena, pattern.key, words, text[at + A_HASH], value + length)
    return value


@kernel
def recall(memo, state, addr, n, clk, value):
    """Take the end of the present list from its value; the list becomes pending.

    Returns the instant of its end.
    """
    reg, front = memo.reg, state.front[0]
    reg[PENDING], reg[PEND_VALUE], reg[PEND_TICKS] = RECALLED, value, front.ticks
    for i in range(n):
        memo.address[i] = addr[i]
    end = clk * state.config[0].tck_ps + memo.arena[value + END]
    front.ticks = clk + memo.arena[value + TICKS]
    front.last_event = max(front.last_event, end)
    front.reads += n
    front.writes += n * reg[PEND_STORE]
    return end


@kernel
def learn(memo, state, run, addr, wait, link, n, now, words, key_hash):
    """Run the present list and watch it; it becomes pending.

    Returns the instant of its end.
    """
    reg = memo.reg
    flush_latencies(state)
    for number in range(state.config[0].channels):
        for k in range(COUNTS):
            memo.counts_before[number, k] = state.channels[number].count[k]
    end = run_list(state, run, addr, wait, link, n, 0, now, reg[PEND_STORE] == 1)
    reg[PENDING], reg[PEND_WORDS], reg[PEND_HASH] = LEARNING, words, key_hash
    reg[PEND_END], reg[PEND_TICKS_AFTER] = end, state.front[0].ticks
    return end


@small
def is_hopeless(reg):
    """Tell whether WARMUP_LOOKUPS look-ups hit so rarely that more of them would cost more than they save."""
    return reg[MEMO_LOOKUPS] >= WARMUP_LOOKUPS and reg[MEMO_HITS] << MIN_HIT_RATE_LOG2 < reg[MEMO_LOOKUPS]


@kernel
def memo_list(memo, state, run, ledger, owner, answers, event, addr, wait, link, n, held, now, is_store):
    """Run reads `addr[:n]` of a prefetch, or reads and writes of a store, through the memo.

    `held` of the reads wait for the host or take its link. `owner` is charged for their row hits in `ledger`. `event`
    is the number of the list in its slice, for which there may be one of `answers`.

    Returns the instant of the end.
    """
    reg, cfg = memo.reg, state.config[0]
    set_owner(state, owner)
    if reg[MEMO_ON] == 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    clk = ticks_before(cfg, state.front[0], now)
    idle = finish_pending(memo, state, run, ledger, clk) and (clk - 1) * cfg.tck_ps <= now
    set_owner(state, owner)
    if not idle or n == 0 or n > WIDEST or held > 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    reg[PEND_STORE], reg[PEND_COUNT], reg[PEND_NOW] = np.int64(is_store), n, now
    reg[PEND_CLOCK], reg[PEND_OWNER] = clk, owner
    aligned = clk * cfg.tck_ps == now
    at = answer_to(answers, event)
    if at != NONE and holds(state, answers, at, aligned):
        return recall(memo, state, addr, n, clk, take_answer(memo, answers, at))
    words, banks = pattern_of(state, memo.pattern, addr, n, is_store, aligned)
    if words == 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    reg[PEND_BANKS] = banks
    key_hash, value = look_up(memo, memo.pattern.key, words)
    if value == 0 and not is_store:
        value = time_list(memo, state, n, aligned, words, key_hash)
    if value > 0:
        leave_rows(memo, value)
        return recall(memo, state, addr, n, clk, value)
    if value == NONE:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    return learn(memo, state, run, addr, wait, link, n, now, words, key_hash)


@kernel
def finish_recalled(memo, state, run, ledger):
    """Run a recalled list at the end of a slice: the channels and their statistics become those of this instant."""
    if memo.reg[PENDING] == RECALLED:
        run_recalled(memo, state, run)
        charge_rows(state, ledger, memo.reg[PEND_OWNER])
        memo.reg[PENDING] = NOTHING
