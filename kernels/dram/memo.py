"""Exact memoisation of prefetches and stores that find the DRAM idle (spec §4.11).

An idle channel is described by its open rows: nothing is queued and no command so far holds anything back. What a list
of accesses then does depends on its pattern alone (`dram_pattern`), so the answer to a pattern is remembered.

Whether a memory is idle again is known only when the next list arrives, so an answer is applied, and a new one kept,
one list late: until then it is *pending*. A recalled list whose successor comes too soon is run after all.
"""

from typing import NamedTuple

import numpy as np

from ..compiler.jit import kernel, small
from ..memory.memo_table import MEMO_HITS, MEMO_LOOKUPS, MEMO_ON, MEMO_WIDTH, enter, look_up, make_room
from .channel import catch_up, latency_bin, rebase
from .engine import dram_batch, dram_store
from .front_end import ticks_before
from .pattern import NUMBER, ROW, WIDEST, Pattern, find_row, pattern_of
from .state import BANKS, COUNTS, EPOCH_LENGTH, NONE

SLOTS = 1 << 12  # patterns, a power of two
POOL = 1 << 20  # words of all keys and answers
MOST_BINS = 256  # read latencies that an answer tells apart
TRIAL = 256  # look-ups
FEW_BITS = 4  # one of 16

# Slots of `DramMemo.reg`, behind those of `memo_table`.
PENDING = MEMO_WIDTH  # state of the list before
PEND_STORE = MEMO_WIDTH + 1
PEND_COUNT = MEMO_WIDTH + 2  # its accesses
PEND_NOW = MEMO_WIDTH + 3  # instant and clock of its start
PEND_CLOCK = MEMO_WIDTH + 4
PEND_TICKS = MEMO_WIDTH + 5  # ticks of the front end before it
PEND_BANKS = MEMO_WIDTH + 6  # banks it touches
PEND_ANSWER = MEMO_WIDTH + 7  # RECALLED: its answer in the pool
PEND_WORDS = MEMO_WIDTH + 8  # LEARNING: words of its key, hash, end, ticks after it
PEND_HASH = MEMO_WIDTH + 9
PEND_END = MEMO_WIDTH + 10
PEND_TICKS_AFTER = MEMO_WIDTH + 11
DRAM_MEMO_WIDTH = MEMO_WIDTH + 12

NOTHING, RECALLED, LEARNING = range(3)

# An answer: ps from the clock of the start to the end; ticks from there to the front end's, and until everything is
# settled; longest latency; numbers of records, banks and bins. Then its records: which, last return, counts; the row
# number in which each bank is left; bins and how often.
END, TICKS, SETTLED, LONGEST, RECORDS, LATENCIES, HEADER = range(7)


class DramMemo(NamedTuple):
    """Remembered patterns of one memory.

    Attributes
    ----------
    reg : int64[DRAM_MEMO_WIDTH]
    table : int64[SLOTS, ENTRY_WIDTH] (`memo_table`)
    pool : int64[POOL]
        Keys, each followed by its answer.
    pattern : Pattern
        Of the pending list, then of the list in hand.
    address : int64[WIDEST]
        Accesses of a recalled list.
    nothing : int64[WIDEST]
        Zeros: none of them waits for the host.
    before : int64[channel records, COUNTS]
        Statistics when a list that is being learned began.
    """

    reg: np.ndarray
    table: np.ndarray
    pool: np.ndarray
    pattern: Pattern
    address: np.ndarray
    nothing: np.ndarray
    before: np.ndarray


# --- the memory ---------------------------------------------------------------------------------


@kernel
def run_list(state, run, addr, wait, link, n, held, now, is_store):
    """Run a list of accesses: the instant at which the core goes on."""
    if is_store:
        return dram_store(state, addr, wait, link, n, now)
    return dram_batch(state, run, addr, wait, link, n, held, now)


@kernel
def is_idle(state, clk):
    """Whether every channel, settled at `clk`, has nothing to do and holds nothing back."""
    idle = True
    for number in range(state.config[0].channels):
        ch = state.channels[number]
        waiting = ch.queued[0] + ch.queued[1] + ch.active + ch.refresh_due
        idle = idle and waiting == 0 and ch.write_mode == 1 and ch.settled <= clk + 1
    return idle


@kernel
def flush_latencies(state):
    """Move the latencies counted by the channels to the front end, so that a list's own can be told apart."""
    front = state.front[0]
    for number in range(state.config[0].channels):
        ch = state.channels[number]
        front.latency_max = max(front.latency_max, ch.latency_max)
        for at in range(latency_bin(ch.latency_max) + 1):
            front.latency_bins[at] += ch.latency_bins[at]
            ch.latency_bins[at] = 0
        ch.latency_max = 0


# --- answers ------------------------------------------------------------------------------------


@kernel
def write_latencies(state, pool, at):
    """Write the bins of the list just run to pool[at:]: how many, or NONE when there are too many."""
    count, longest = 0, 0
    for number in range(state.config[0].channels):
        longest = max(longest, state.channels[number].latency_max)
    for value in range(latency_bin(longest) + 1):
        times = 0
        for number in range(state.config[0].channels):
            times += state.channels[number].latency_bins[value]
        if times > 0:
            if count == MOST_BINS:
                return NONE
            pool[at + 2 * count] = value
            pool[at + 2 * count + 1] = times
            count += 1
    return count


@kernel
def write_answer(memo, state, at):
    """Write the answer of the list just learned to pool[at:]: its words, or NONE when it has too many latencies."""
    reg, pool, pattern, clk = memo.reg, memo.pool, memo.pattern, memo.reg[PEND_CLOCK]
    start = at
    pool[start + END] = reg[PEND_END] - clk * state.config[0].period
    pool[start + TICKS] = reg[PEND_TICKS_AFTER] - clk
    pool[start + SETTLED] = pool[start + LONGEST] = pool[start + RECORDS] = 0
    at += HEADER
    for number in range(reg[PEND_BANKS]):
        bank = pattern.bank[number]
        row = state.channels[bank // BANKS].open_row[bank % BANKS]
        found = find_row(pattern, number, ROW, row)
        pool[at] = NONE if found == NONE else pattern.row[found, NUMBER]
        at += 1
    for number in range(reg[PEND_BANKS]):
        if pattern.first[number] == number:
            ch = state.channels[pattern.bank[number] // BANKS]
            pool[start + SETTLED] = max(pool[start + SETTLED], ch.settled - clk)
            pool[start + LONGEST] = max(pool[start + LONGEST], ch.latency_max)
            pool[start + RECORDS] += 1
            pool[at] = number
            pool[at + 1] = ch.last_return - clk
            for k in range(COUNTS):
                pool[at + 2 + k] = ch.count[k] - memo.before[pattern.bank[number] // BANKS, k]
            at += 2 + COUNTS
    pool[start + LATENCIES] = write_latencies(state, pool, at)
    if pool[start + LATENCIES] == NONE:
        return NONE
    return at + 2 * pool[start + LATENCIES] - start


@kernel
def keep(memo, state):
    """Keep the answer to the pattern that is being learned; every channel is idle again."""
    reg, words = memo.reg, memo.reg[PEND_WORDS]
    longest = HEADER + reg[PEND_BANKS] * (3 + COUNTS) + 2 * MOST_BINS
    at = make_room(reg, memo.table, memo.pool, words + longest) + words
    length = write_answer(memo, state, at)
    if length != NONE:
        enter(reg, memo.table, memo.pool, memo.pattern.key, words, reg[PEND_HASH], at + length)


@kernel
def apply_answer(memo, state, clk):
    """Bring the memory to `clk`, everything being settled by then, as the recalled list leaves it."""
    reg, pool, pattern, front = memo.reg, memo.pool, memo.pattern, state.front[0]
    start = reg[PEND_ANSWER]
    at = start + HEADER
    for number in range(reg[PEND_BANKS]):
        bank = pattern.bank[number]
        row = NONE if pool[at] == NONE else pattern.row[find_row(pattern, number, NUMBER, pool[at]), ROW]
        ch = state.channels[bank // BANKS]
        rank = bank % BANKS >> state.config[0].rank_bits
        ch.open_banks[rank] += np.int64(row != NONE) - np.int64(ch.open_row[bank % BANKS] != NONE)
        ch.open_row[bank % BANKS] = row
        at += 1
    for _ in range(pool[start + RECORDS]):
        ch = state.channels[pattern.bank[pool[at]] // BANKS]
        ch.clk = clk
        if clk - ch.epoch > EPOCH_LENGTH:
            rebase(ch)
        ch.last_return = reg[PEND_CLOCK] + pool[at + 1]
        for k in range(COUNTS):
            ch.count[k] += pool[at + 2 + k]
        at += 2 + COUNTS
    front.latency_max = max(front.latency_max, pool[start + LONGEST])
    for _ in range(pool[start + LATENCIES]):
        front.latency_bins[pool[at]] += pool[at + 1]
        at += 2


# --- lists --------------------------------------------------------------------------------------


@kernel
def run_recalled(memo, state, run):
    """Run the recalled list after all; the front end already counts it."""
    reg, front = memo.reg, state.front[0]
    n, is_store = reg[PEND_COUNT], reg[PEND_STORE]
    front.ticks = reg[PEND_TICKS]
    front.reads -= n
    front.writes -= n * is_store
    run_list(state, run, memo.address, memo.nothing, memo.nothing, n, 0, reg[PEND_NOW], is_store == 1)


@kernel
def finish_pending(memo, state, run, clk):
    """Be done with the list before, at `clk`: whether every channel is idle then."""
    reg = memo.reg
    if reg[PENDING] == RECALLED:
        if reg[PEND_CLOCK] + memo.pool[reg[PEND_ANSWER] + SETTLED] <= clk + 1:
            apply_answer(memo, state, clk)
        else:
            run_recalled(memo, state, run)
    catch_up(state, clk)
    idle = is_idle(state, clk)
    if reg[PENDING] == LEARNING and idle:
        keep(memo, state)
    reg[PENDING] = NOTHING
    return idle


@kernel
def recall(memo, state, addr, n, clk, answer):
    """Answer the list in hand from the pool: the instant of its end."""
    reg, front = memo.reg, state.front[0]
    reg[PENDING], reg[PEND_ANSWER], reg[PEND_TICKS] = RECALLED, answer, front.ticks
    for i in range(n):
        memo.address[i] = addr[i]
    end = clk * state.config[0].period + memo.pool[answer + END]
    front.ticks = clk + memo.pool[answer + TICKS]
    front.last_event = max(front.last_event, end)
    front.reads += n
    front.writes += n * reg[PEND_STORE]
    return end


@kernel
def learn(memo, state, run, addr, wait, link, n, now, words, h):
    """Run the list in hand and watch it: the instant of its end."""
    reg = memo.reg
    flush_latencies(state)
    for number in range(state.config[0].channels):
        for k in range(COUNTS):
            memo.before[number, k] = state.channels[number].count[k]
    end = run_list(state, run, addr, wait, link, n, 0, now, reg[PEND_STORE] == 1)
    reg[PENDING], reg[PEND_WORDS], reg[PEND_HASH] = LEARNING, words, h
    reg[PEND_END], reg[PEND_TICKS_AFTER] = end, state.front[0].ticks
    return end


@small
def is_hopeless(reg):
    """Whether so little repeated in `TRIAL` look-ups that more would cost more than they save."""
    return reg[MEMO_LOOKUPS] >= TRIAL and reg[MEMO_HITS] << FEW_BITS < reg[MEMO_LOOKUPS]


@kernel
def memo_list(memo, state, run, addr, wait, link, n, held, now, is_store):
    """Reads `addr[:n]` of a prefetch, or reads and writes of a store, through the memo: the instant of the end.

    `held` of the reads wait for the host or take its link.
    """
    reg, cfg = memo.reg, state.config[0]
    if reg[MEMO_ON] == 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    clk = ticks_before(cfg, state.front[0], now)
    idle = finish_pending(memo, state, run, clk) and (clk - 1) * cfg.period <= now
    if not idle or n == 0 or n > WIDEST or is_hopeless(reg) or held > 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    words, banks = pattern_of(state, memo.pattern, addr, n, is_store, clk * cfg.period == now)
    if words == 0:
        return run_list(state, run, addr, wait, link, n, held, now, is_store)
    reg[PEND_STORE], reg[PEND_COUNT], reg[PEND_NOW] = np.int64(is_store), n, now
    reg[PEND_CLOCK], reg[PEND_BANKS] = clk, banks
    h, answer = look_up(memo, memo.pattern.key, words)
    if answer > 0:
        return recall(memo, state, addr, n, clk, answer)
    return learn(memo, state, run, addr, wait, link, n, now, words, h)


@kernel
def finish_recalled(memo, state, run):
    """End of a slice: the channels and their statistics become those of this instant."""
    if memo.reg[PENDING] == RECALLED:
        run_recalled(memo, state, run)
        memo.reg[PENDING] = NOTHING
